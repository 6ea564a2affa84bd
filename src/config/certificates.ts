/**
 * PEM files of certificate authorities (RFC 7468): at least one certificate, none damaged, no private key.
 */

import { X509Certificate } from 'node:crypto';
import { causeCode } from '../errors.ts';

type CertificateFile =
  | { readonly kind: 'certificates'; readonly pem: string }
  | { readonly kind: 'invalid'; readonly why: string };

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

function isReadable(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch (error) {
    if (causeCode(error).startsWith('ERR_OSSL_')) return false;
    throw error;
  }
}

function invalid(why: string): CertificateFile {
  return { kind: 'invalid', why };
}
