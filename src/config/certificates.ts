/**
 * Files of certificate authorities (PEM, RFC 7468).
 *
 * Takes a text that has at least one certificate and nothing broken. A private key is refused: it has no business in
 * a file that is read in order to trust somebody.
 */
import { X509Certificate } from 'node:crypto';
import { causeCode } from '../errors.ts';

const block = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;

export type CertificateFile =
  | { readonly kind: 'certificates'; readonly pem: string }
  | { readonly kind: 'wrong'; readonly why: string };

/** The certificates in `text`, and only these, one after the other. */
export function readCertificates(text: string): CertificateFile {
  const blocks = [...text.matchAll(block)];
  if (blocks.some(([, label]) => label?.endsWith('PRIVATE KEY'))) return wrong('holds a private key');
  const certificates = blocks.filter(([, label]) => label === 'CERTIFICATE').map(([pem]) => pem);
  if (certificates.length === 0) return wrong('holds no certificate (PEM)');
  if (!certificates.every(isReadable)) return wrong('holds a damaged certificate');
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

function wrong(why: string): CertificateFile {
  return { kind: 'wrong', why };
}
