/**
 * TLS contexts of outgoing connections: system authorities, or given ones (PEM). TLS 1.2 or later.
 *
 * System authorities are reloaded without a restart: the store file (written by `update-ca-certificates` or
 * `update-ca-trust`) is checked for a change at each connection, since Node reads it once per process. The authorities
 * bundled with Node are trusted too, so that a machine without a store works, and those that Node finds in
 * SSL_CERT_FILE or SSL_CERT_DIR at the first connection.
 */
import { readFileSync, statSync } from 'node:fs';
import tls, { type SecureContext, type TLSSocket } from 'node:tls';
import { causeCode } from '../../errors.ts';

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
let emptyContext: SecureContext | null = null;
/** LRU cache by PEM, the latest last. */
const caPemContexts = new Map<string, SecureContext>();

/** Trusts `caPem`, or the system's authorities for null. Throws an error of OpenSSL for a PEM without certificate. */
export function trustingContext(caPem: string | null): SecureContext {
  return caPem === null ? systemContext() : contextForCaPem(caPem);
}

/** For a peer that is checked in another way: trusts no authority. */
export function untrustingContext(): SecureContext {
  emptyContext ??= tls.createSecureContext(settings);
  return emptyContext;
}

/** SHA-256 fingerprint of the peer certificate, 64 lower-case hex digits; null: none was shown. */
export function peerFingerprint(socket: TLSSocket): string | null {
  return socket.getPeerX509Certificate()?.fingerprint256.replaceAll(':', '').toLowerCase() ?? null;
}

function contextForCaPem(caPem: string): SecureContext {
  const context = caPemContexts.get(caPem) ?? tls.createSecureContext({ ...settings, ca: caPem });
  caPemContexts.delete(caPem);
  caPemContexts.set(caPem, context);
  const [oldest] = caPemContexts.keys();
  if (caPemContexts.size > givenContextsMax && oldest !== undefined) caPemContexts.delete(oldest);
  return context;
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
