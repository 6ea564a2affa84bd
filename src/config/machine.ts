/**
 * Who this process is to the system: the user who was refused a file.
 *
 * A command that root runs becomes the user of the service, who cannot read all that root can.
 */

import { X509Certificate } from 'node:crypto';
import { isIPv4 } from 'node:net';
import { userInfo } from 'node:os';
import { causeCode } from '../errors.ts';

/** The name of the user; `uid 995` for one without a name. */
export function thisUser(): string {
  try {
    return userInfo().username;
  } catch (error) {
    // The number has no entry in the list of users, as in many containers.
    if (causeCode(error) === 'ERR_SYSTEM_ERROR' || causeCode(error) === 'ENOENT') return `uid ${process.getuid?.()}`;
    throw error;
  }
}

/** What to do about a file that could not be read; null where it is not for want of a right. */
export function unreadableHint(error: unknown): string | null {
  const code = causeCode(error);
  if (code !== 'EACCES' && code !== 'EPERM') return null;
  return `The user ${thisUser()} tried to read it: let that user read the file and enter the folders above it.`;
}

/**
 * Which addresses never leave this machine (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3, RFC 6761 section 6.3).
 */

/** True for `localhost`, 127.0.0.0/8 and `::1`. Any other name is not, wherever it may resolve to. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  return name === 'localhost' || name === '::1' || (isIPv4(name) && name.startsWith('127.'));
}

/**
 * Files of certificate authorities (PEM, RFC 7468).
 *
 * Takes a text that has at least one certificate and nothing broken. A private key is refused: it has no business in
 * a file that is read in order to trust somebody.
 */

const block = /-----BEGIN ([A-Z0-9 ]+)-----[\s\S]*?-----END \1-----/g;

type CertificateFile =
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
