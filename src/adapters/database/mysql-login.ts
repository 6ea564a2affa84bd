/**
 * Login to MySQL and MariaDB without the password ever being a string.
 *
 * mysql2 wants a string and keeps it in every connection. It gets instead the SHA-1 of the password, which is all that
 * `mysql_native_password` needs, and a plugin of our own for `caching_sha2_password` (the default of MySQL 8 and
 * later), which borrows the bytes for the moment. The whole password leaves only through TLS, through a unix socket, or
 * encrypted with the server's RSA key. Other methods are refused: `sha256_password`, `mysql_clear_password`.
 */
import { constants, createHash, publicEncrypt } from 'node:crypto';
import type { SecretBytes } from '../../secret/secret-bytes.ts';

const requestServerKey = Buffer.from([2]);
const fastLoginDone = 3;
const fullLoginWanted = 4;
const scrambleBytes = 20;

/** SHA-1 of the password; empty when there is none. */
export function passwordSha1(password: SecretBytes): Buffer {
  return password.use((bytes) => createHash('sha1').update(bytes).digest());
}

export type LoginStep = (data: Buffer) => Buffer | null;

/** One login by `caching_sha2_password`. `isPrivate`: what we write cannot be read on its way. */
export function cachingSha2Login(password: SecretBytes | null, isPrivate: boolean): LoginStep {
  let scramble: Buffer | null = null;
  let keyWanted = false;
  return (data) => {
    if (scramble === null) {
      scramble = Buffer.from(data.subarray(0, scrambleBytes));
      return withPassword(password, (bytes) => token(bytes, scramble ?? data));
    }
    if (keyWanted) return withPassword(password, (bytes) => encrypted(bytes, scramble ?? data, data));
    if (data[0] === fastLoginDone) return null;
    if (data[0] !== fullLoginWanted) throw new Error('The server sent an unknown step of caching_sha2_password');
    if (isPrivate) return withPassword(password, terminated);
    keyWanted = true;
    return requestServerKey;
  };
}

function withPassword(password: SecretBytes | null, make: (bytes: Uint8Array) => Buffer): Buffer {
  return password === null || password.length === 0 ? Buffer.alloc(0) : password.use(make);
}

/** SHA256(password) XOR SHA256(SHA256(SHA256(password)) + scramble). */
function token(password: Uint8Array, scramble: Buffer): Buffer {
  const first = createHash('sha256').update(password).digest();
  const second = createHash('sha256').update(first).digest();
  const third = createHash('sha256').update(second).update(scramble).digest();
  return Buffer.from(first.map((byte, at) => byte ^ (third[at] ?? 0)));
}

function terminated(password: Uint8Array): Buffer {
  const bytes = Buffer.alloc(password.length + 1);
  bytes.set(password);
  return bytes;
}

function encrypted(password: Uint8Array, scramble: Buffer, serverKeyPem: Buffer): Buffer {
  const masked = terminated(password);
  for (let at = 0; at < masked.length; at += 1) masked[at] = (masked[at] ?? 0) ^ (scramble[at % scramble.length] ?? 0);
  const padding = constants.RSA_PKCS1_OAEP_PADDING;
  const result = publicEncrypt({ key: serverKeyPem, padding, oaepHash: 'sha1' }, masked);
  masked.fill(0);
  return result;
}
