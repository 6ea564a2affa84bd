/**
 * The certificate of the admin page: read from its files, and again when they change.
 *
 * A certificate and a key that do not belong together (one of them is just being renewed) are refused like a file that
 * cannot be read. TLS 1.2 is the least that is spoken (RFC 8996).
 */
import { readFile, stat } from 'node:fs/promises';
import { createSecureContext, type SecureContext } from 'node:tls';
import type { AdminConfig } from '../../config/config.ts';
import { causeCode, Failure } from '../../errors.ts';

type Files = NonNullable<AdminConfig['tls']>;

export type Certificate = {
  readonly context: SecureContext;
  /** Tells whether the files were changed since. */
  readonly mark: string;
};

const bytesMax = 1024 * 1024;
/** SSL_OP_CLEANSE_PLAINTEXT of OpenSSL, for which Node has no name: what was deciphered is wiped once it was read. */
const cleansePlaintext = 2;

/** Throws `config_invalid`, naming the file and never what is in it. */
export async function readCertificate(files: Files): Promise<Certificate> {
  // Looked at first: what changes while it is read is read again.
  const mark = await markOf(files);
  const cert = await read(files.certificateFile);
  const key = await read(files.keyFile);
  try {
    return {
      context: createSecureContext({ cert, key, minVersion: 'TLSv1.2', secureOptions: cleansePlaintext }),
      mark,
    };
  } catch (error) {
    const what = `cannot be used together (${causeCode(error)})`;
    throw refused(`${files.certificateFile} and ${files.keyFile} ${what}`, error);
  } finally {
    key.fill(0);
  }
}

/** Throws `config_invalid`. */
export async function markOf({ certificateFile, keyFile }: Files): Promise<string> {
  const marks: string[] = [];
  for (const path of [certificateFile, keyFile]) {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      marks.push([dev, ino, size, mtimeNs, ctimeNs].join(' '));
    } catch (error) {
      throw unreadable(path, error);
    }
  }
  return marks.join(', ');
}

async function read(path: string): Promise<Buffer> {
  try {
    const found = await stat(path);
    if (!found.isFile() || found.size > bytesMax) throw Object.assign(new Error('no such file'), { code: 'EINVAL' });
    return await readFile(path);
  } catch (error) {
    throw unreadable(path, error);
  }
}

function unreadable(path: string, error: unknown): Failure {
  return refused(`${path} cannot be read (${causeCode(error)})`, error);
}

function refused(message: string, cause: unknown): Failure {
  const hint = 'See [admin] tls_certificate_file and tls_key_file: PEM, of one pair, readable for the daemon.';
  return new Failure('config_invalid', message, { cause, hint });
}
