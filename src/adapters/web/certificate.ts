/**
 * TLS certificate with hot reload: reads certificate and key from their files, and again when the files change.
 *
 * A certificate and a key that do not match (one of them is just being renewed) are refused like a file that cannot be
 * read, and the former pair stays in use. The minimum is TLS 1.2 (RFC 8996).
 */

import { readFile, stat } from 'node:fs/promises';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls';
import type { AdminConfig } from '../../config/config.ts';
import { asFailure, causeCode, Failure } from '../../errors.ts';

type TlsFiles = NonNullable<AdminConfig['tls']>;

export type WatchedCertificate = Disposable & {
  /** The server side of TLS over `socket`, with the certificate of now. */
  secure(socket: Socket): Socket;
};

type Certificate = {
  readonly context: SecureContext;
  /** Differs once a file was changed. */
  readonly fingerprint: string;
};

const bytesMax = 1024 * 1024;
/** SSL_OP_CLEANSE_PLAINTEXT of OpenSSL, for which Node has no name: decrypted bytes are wiped once they were read. */
const cleansePlaintext = 2;

/**
 * `report` gets each failed reload, and null after a check that went well. Throws `config_invalid` if the first read
 * fails.
 */
export async function watchCertificate(
  files: TlsFiles,
  everyMs: number,
  report: (failure: Failure | null) => void,
): Promise<WatchedCertificate> {
  let current = await readCertificate(files);
  let isChecking = false;
  const check = async (): Promise<void> => {
    if (isChecking) return;
    isChecking = true;
    try {
      if ((await fingerprintOf(files)) !== current.fingerprint) current = await readCertificate(files);
      report(null);
    } catch (error) {
      report(asFailure(error));
    } finally {
      isChecking = false;
    }
  };
  const timer = setInterval(() => void check(), everyMs);
  return {
    secure: (socket) => new TLSSocket(socket, { isServer: true, secureContext: current.context }),
    [Symbol.dispose]: () => clearInterval(timer),
  };
}

/** Throws `config_invalid` with the name of the file, never its content. */
async function readCertificate(files: TlsFiles): Promise<Certificate> {
  // First: a file that changes while it is read is read again.
  const fingerprint = await fingerprintOf(files);
  const cert = await read(files.certificateFile);
  const key = await read(files.keyFile);
  try {
    return {
      context: createSecureContext({ cert, key, minVersion: 'TLSv1.2', secureOptions: cleansePlaintext }),
      fingerprint,
    };
  } catch (error) {
    const what = `cannot be used together (${causeCode(error)})`;
    throw refused(`${files.certificateFile} and ${files.keyFile} ${what}`, error);
  } finally {
    key.fill(0);
  }
}

/** Throws `config_invalid`. */
async function fingerprintOf({ certificateFile, keyFile }: TlsFiles): Promise<string> {
  const parts: string[] = [];
  for (const path of [certificateFile, keyFile]) {
    try {
      const { dev, ino, size, mtimeNs, ctimeNs } = await stat(path, { bigint: true });
      parts.push([dev, ino, size, mtimeNs, ctimeNs].join(' '));
    } catch (error) {
      throw unreadable(path, error);
    }
  }
  return parts.join(', ');
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
