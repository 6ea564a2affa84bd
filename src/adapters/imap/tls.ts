/**
 * TLS trust of mail servers: system authorities, given authorities (PEM), or one pinned certificate (SHA-256).
 *
 * A pinned fingerprint replaces all other checks: name, issuer and dates do not matter, and authorities do not help.
 * The transport checks it right after the handshake, before any IMAP data. Without a pin the handshake itself fails for
 * an untrusted certificate; nothing here disables verification.
 *
 * System authorities are reloaded without a restart: the store file (written by `update-ca-certificates` or
 * `update-ca-trust`) is checked for a change at each connection, since Node reads it once per process. The authorities
 * bundled with Node are trusted too, so that a machine without a store works, and those that Node finds in
 * SSL_CERT_FILE or SSL_CERT_DIR at the first connection.
 */
import { readFileSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import tls, { type ConnectionOptions, type SecureContext, TLSSocket } from 'node:tls';
import { causeCode, Failure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';

/** SSL_OP_CLEANSE_PLAINTEXT of OpenSSL, for which Node has no name: decrypted bytes are wiped once they were read. */
const cleansePlaintext = 2;
const settings = { minVersion: 'TLSv1.2', secureOptions: cleansePlaintext } as const;
const givenContextsMax = 64;

/** Debian and Ubuntu; Fedora and RHEL; Alpine and openSUSE. */
const systemStoreFiles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
];
const certificateForm = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/** Contexts are shared: one takes 30 KiB outside the heap, and a process has up to a thousand sessions. */
const systemContext = systemAuthorities();
let pinnedContext: SecureContext | null = null;
/** LRU cache by PEM, the latest last. */
const caPemContexts = new Map<string, SecureContext>();

/** Options for `tls.connect` without host and socket. Throws `tls_untrusted` for a PEM without certificate. */
export function tlsOptions(connection: Connection): ConnectionOptions {
  if (connection.fingerprint !== null) {
    pinnedContext ??= tls.createSecureContext(settings);
    return { secureContext: pinnedContext, rejectUnauthorized: false };
  }
  const secureContext = connection.caPem === null ? systemContext() : contextForCaPem(connection.caPem);
  return { secureContext, rejectUnauthorized: true };
}

function contextForCaPem(caPem: string): SecureContext {
  const context = caPemContexts.get(caPem) ?? newGivenContext(caPem);
  caPemContexts.delete(caPem);
  caPemContexts.set(caPem, context);
  const [oldest] = caPemContexts.keys();
  if (caPemContexts.size > givenContextsMax && oldest !== undefined) caPemContexts.delete(oldest);
  return context;
}

function newGivenContext(caPem: string): SecureContext {
  try {
    return tls.createSecureContext({ ...settings, ca: caPem });
  } catch (error) {
    throw new Failure('tls_untrusted', 'The CA file contains no readable certificate.', {
      cause: error,
      hint: 'Provide a PEM file with the certificate of the authority: --ca-file FILE',
    });
  }
}

/** null: accepted. Call it once the handshake is complete, before anything is sent. */
export function certificateRefusal(socket: TLSSocket, connection: Connection): Failure | null {
  if (connection.fingerprint === null) {
    return socket.authorized ? null : new Failure('tls_untrusted', 'The certificate of the server is not trusted.');
  }
  const shown = fingerprintOf(socket);
  if (shown === connection.fingerprint) return null;
  return new Failure('tls_pin_mismatch', 'The server presents another certificate than the pinned one.', {
    fields: { pinned: connection.fingerprint, shown },
  });
}

/** SHA-256 fingerprint of the peer certificate, 64 lower-case hex digits. */
function fingerprintOf(socket: TLSSocket): string | null {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? null : certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** Expiry (notAfter) of the server certificate; null without TLS. */
export function certificateNotAfterMs(socket: Socket | null): number | null {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  return certificate?.validToDate.getTime() ?? null;
}

/** The certificate in readable form; null without TLS. */
export function describeCertificate(socket: TLSSocket): ProbeReport['certificate'] {
  const certificate = socket.getPeerX509Certificate();
  if (certificate === undefined) return null;
  return {
    subject: certificate.subject.replaceAll('\n', ', '),
    issuer: certificate.issuer.replaceAll('\n', ', '),
    validUntilMs: certificate.validToDate.getTime(),
    fingerprint: certificate.fingerprint256.replaceAll(':', '').toLowerCase(),
  };
}

/** Returns the current context at each call; rebuilds it when the store file has changed. */
export function systemAuthorities(files: readonly string[] = systemStoreFiles): () => SecureContext {
  let context: SecureContext | null = null;
  let mark: string | null = null;
  let elsewhere: readonly string[] | null = null;
  return () => {
    const [file, now] = storeVersion(files);
    if (context !== null && now === mark) return context;
    const stored = file === null ? [] : pemsIn(file);
    elsewhere ??= certificatesNotIn(stored, tls.getCACertificates('system'));
    const ca = new Set([...tls.getCACertificates('default'), ...elsewhere, ...stored]);
    context = tls.createSecureContext({ ...settings, ca: [...ca] });
    mark = now;
    return context;
  };
}

/** The first existing store file, and its version. */
function storeVersion(files: readonly string[]): readonly [file: string | null, mark: string] {
  for (const file of files) {
    const found = statSync(file, { throwIfNoEntry: false });
    if (found !== undefined) return [file, `${file} ${found.ino} ${found.size} ${found.mtimeMs}`];
  }
  return [null, 'none'];
}

function pemsIn(file: string): readonly string[] {
  try {
    return readFileSync(file, 'latin1').match(certificateForm) ?? [];
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return [];
    throw error;
  }
}

/** Compares without white space: line lengths differ. */
function certificatesNotIn(some: readonly string[], all: readonly string[]): readonly string[] {
  const bare = (pem: string): string => pem.replace(/\s/g, '');
  const known = new Set(some.map(bare));
  return all.filter((pem) => !known.has(bare(pem)));
}
