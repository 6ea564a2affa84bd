/**
 * PEM files (RFC 7468) of certificate authorities and of a server's RSA public key: nothing damaged, no private key.
 */

import { createPublicKey, type KeyObject, X509Certificate } from 'node:crypto';
import { causeCode } from '../errors.ts';

type InvalidFile = { readonly kind: 'invalid'; readonly why: string };
type CertificateFile = { readonly kind: 'certificates'; readonly pem: string } | InvalidFile;
type PublicKeyFile = { readonly kind: 'key'; readonly pem: string } | InvalidFile;

const block = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;

/** The certificates in `text`, concatenated, without anything around them. */
export function readCertificates(text: string): CertificateFile {
  const blocks = [...text.matchAll(block)];
  if (blocks.some(([, label]) => label?.endsWith('PRIVATE KEY'))) return invalid('holds a private key');
  const certificates = blocks.filter(([, label]) => label === 'CERTIFICATE').map(([pem]) => pem);
  if (certificates.length === 0) return invalid('holds no certificate (PEM)');
  if (!certificates.every(isReadable)) return invalid('holds a damaged certificate');
  return { kind: 'certificates', pem: `${certificates.join('\n')}\n` };
}

/** notAfter of the first certificate in `text`, in milliseconds since 1970; null without one. */
export function certificateEnd(text: string): number | null {
  const pem = [...text.matchAll(block)].find(([, label]) => label === 'CERTIFICATE')?.[0];
  return pem === undefined ? null : readOrNull(() => new X509Certificate(pem).validToDate.getTime());
}

function isReadable(pem: string): boolean {
  return readOrNull(() => new X509Certificate(pem)) !== null;
}

const rsaBitsMin = 2048;

/** The only key in `text`: a SubjectPublicKeyInfo (RFC 5280 section 4.1) or an RSAPublicKey (RFC 8017). */
export function readRsaPublicKey(text: string): PublicKeyFile {
  const blocks = [...text.matchAll(block)];
  if (blocks.some(([, label]) => label?.endsWith('PRIVATE KEY'))) return invalid('holds a private key');
  const keys = blocks.filter(([, label]) => label?.endsWith('PUBLIC KEY')).map(([pem]) => pem);
  const [pem] = keys;
  if (pem === undefined) return invalid('holds no public key (PEM)');
  if (keys.length > 1) return invalid('holds several keys');
  const key: KeyObject | null = readOrNull(() => createPublicKey(pem));
  if (key === null) return invalid('holds a damaged key');
  const bits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  if (key.asymmetricKeyType !== 'rsa') return invalid('holds a key of another kind');
  if (bits < rsaBitsMin) return invalid(`holds a key of ${bits} bits, fewer than ${rsaBitsMin}`);
  return { kind: 'key', pem: `${pem}\n` };
}

/** null for what OpenSSL cannot decode. */
function readOrNull<T>(read: () => T): T | null {
  try {
    return read();
  } catch (error) {
    if (causeCode(error).startsWith('ERR_OSSL_')) return null;
    throw error;
  }
}

function invalid(why: string): InvalidFile {
  return { kind: 'invalid', why };
}
