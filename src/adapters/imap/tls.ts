/**
 * Which certificate is trusted: one of the authorities, one of the given ones (PEM), or exactly one by fingerprint.
 *
 * A pinned fingerprint stands alone: name, issuer and dates do not matter then, and authorities do not help. The pin
 * is checked by the transport right after the handshake, before it lets a byte of IMAP through. Nothing here
 * switches the check off: without a pin the handshake itself fails on what is not trusted.
 */

import { readFileSync, statSync } from 'node:fs';
import type { Socket } from 'node:net';
import tls, { type ConnectionOptions, type SecureContext, TLSSocket } from 'node:tls';
import { causeCode, Failure } from '../../errors.ts';
import type { Connection } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';

const minVersion = 'TLSv1.2';
const givenContextsMax = 64;

/**
 * The authorities that this machine trusts, as they are now: with a new one in its store no restart is needed.
 *
 * The store is one file (what `update-ca-certificates` or `update-ca-trust` writes); whether it changed is asked for each
 * connection. Node reads it once a process, so it is read here. Those that Node carries are trusted as well, so that a
 * machine without a store works too, and those that it finds elsewhere (SSL_CERT_FILE, SSL_CERT_DIR), as they were then.
 */

/** Debian and Ubuntu; Fedora and RHEL; Alpine and openSUSE. */
const systemStoreFiles = [
  '/etc/ssl/certs/ca-certificates.crt',
  '/etc/pki/tls/certs/ca-bundle.crt',
  '/etc/ssl/ca-bundle.pem',
];
const certificateForm = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;

/**
 * Which certificate is trusted: one of the authorities, one of the given ones (PEM), or exactly one by fingerprint.
 *
 * A pinned fingerprint stands alone: name, issuer and dates do not matter then, and authorities do not help. The pin
 * is checked by the transport right after the handshake, before it lets a byte of IMAP through. Nothing here
 * switches the check off: without a pin the handshake itself fails on what is not trusted.
 */

/** Contexts are shared: one takes 30 KiB outside the heap, and a process holds up to a thousand sessions. */
const systemContext = systemAuthorities();
let pinnedContext: SecureContext | null = null;
/** By PEM, the latest last. */
const caPemContexts = new Map<string, SecureContext>();

function contextForCaPem(caPem: string): SecureContext {
  const context = caPemContexts.get(caPem) ?? newGivenContext(caPem);
  caPemContexts.delete(caPem);
  caPemContexts.set(caPem, context);
  const [eldest] = caPemContexts.keys();
  if (caPemContexts.size > givenContextsMax && eldest !== undefined) caPemContexts.delete(eldest);
  return context;
}

function newGivenContext(caPem: string): SecureContext {
  try {
    return tls.createSecureContext({ minVersion, ca: caPem });
  } catch (error) {
    throw new Failure('tls_untrusted', 'The given CA file holds no certificate that can be read.', {
      cause: error,
      hint: 'Give a PEM file with the certificate of the authority.',
    });
  }
}

/** Options for `tls.connect` without host and socket. `Failure` `tls_untrusted` when the given PEM is no certificate. */
export function tlsOptions(connection: Connection): ConnectionOptions {
  if (connection.fingerprint !== null) {
    pinnedContext ??= tls.createSecureContext({ minVersion });
    return { secureContext: pinnedContext, rejectUnauthorized: false };
  }
  const secureContext = connection.caPem === null ? systemContext() : contextForCaPem(connection.caPem);
  return { secureContext, rejectUnauthorized: true };
}

/** SHA-256 of the certificate that the server proved to own in this handshake, 64 lower-case hex digits. */
function fingerprintOf(socket: TLSSocket): string | null {
  const certificate = socket.getPeerX509Certificate();
  return certificate === undefined ? null : certificate.fingerprint256.replaceAll(':', '').toLowerCase();
}

/** null when the certificate may be talked to. To be called once the handshake is complete, before anything is sent. */
export function certificateRefusal(socket: TLSSocket, connection: Connection): Failure | null {
  if (connection.fingerprint === null) {
    return socket.authorized ? null : new Failure('tls_untrusted', 'The certificate of the server is not trusted.');
  }
  const shown = fingerprintOf(socket);
  if (shown === connection.fingerprint) return null;
  return new Failure('tls_pin_mismatch', 'The server shows another certificate than the pinned one.', {
    fields: { pinned: connection.fingerprint, shown },
  });
}

/** When the certificate of the server ends; null without TLS. */
export function certificateNotAfterMs(socket: Socket | null): number | null {
  const certificate = socket instanceof TLSSocket ? socket.getPeerX509Certificate() : undefined;
  return certificate?.validToDate.getTime() ?? null;
}

/** The certificate of a connection for people; null without TLS. */
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

/** Gives the context of now. Sharing it matters: one takes 30 KiB outside the heap, and there are a thousand sessions. */
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
    context = tls.createSecureContext({ minVersion, ca: [...ca] });
    mark = now;
    return context;
  };
}

/** The first file that is there, and what changes with it. */
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

/** Lines may be of another length. */
function certificatesNotIn(some: readonly string[], all: readonly string[]): readonly string[] {
  const bare = (pem: string): string => pem.replace(/\s/g, '');
  const known = new Set(some.map(bare));
  return all.filter((pem) => !known.has(bare(pem)));
}
