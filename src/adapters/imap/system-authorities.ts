/**
 * The authorities that this machine trusts, as they are now: with a new one in its store no restart is needed.
 *
 * The store is one file (what `update-ca-certificates` or `update-ca-trust` writes); whether it changed is asked for each
 * connection. Node reads it once a process, so it is read here. Those that Node carries are trusted as well, so that a
 * machine without a store works too, and those that it finds elsewhere (SSL_CERT_FILE, SSL_CERT_DIR), as they were then.
 */
import { readFileSync, statSync } from 'node:fs';
import tls, { type SecureContext } from 'node:tls';
import { causeCode } from '../../errors.ts';

/** Debian and Ubuntu; Fedora and RHEL; Alpine and openSUSE. */
const stores = ['/etc/ssl/certs/ca-certificates.crt', '/etc/pki/tls/certs/ca-bundle.crt', '/etc/ssl/ca-bundle.pem'];
const certificateForm = /-----BEGIN CERTIFICATE-----[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
const minVersion = 'TLSv1.2';

/** Gives the context of now. Sharing it matters: one takes 30 KiB outside the heap, and there are a thousand sessions. */
export function systemAuthorities(files: readonly string[] = stores): () => SecureContext {
  let context: SecureContext | null = null;
  let mark: string | null = null;
  let elsewhere: readonly string[] | null = null;
  return () => {
    const [file, now] = markOf(files);
    if (context !== null && now === mark) return context;
    const stored = file === null ? [] : pemsIn(file);
    elsewhere ??= without(stored, tls.getCACertificates('system'));
    const ca = new Set([...tls.getCACertificates('default'), ...elsewhere, ...stored]);
    context = tls.createSecureContext({ minVersion, ca: [...ca] });
    mark = now;
    return context;
  };
}

/** The first file that is there, and what changes with it. */
function markOf(files: readonly string[]): readonly [file: string | null, mark: string] {
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
function without(some: readonly string[], all: readonly string[]): readonly string[] {
  const bare = (pem: string): string => pem.replace(/\s/g, '');
  const known = new Set(some.map(bare));
  return all.filter((pem) => !known.has(bare(pem)));
}
