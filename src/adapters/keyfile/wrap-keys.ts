/**
 * The keys of a key file, wrapped with a passphrase as an age file (age-encryption.org/v1), and taken out of one again.
 *
 * The age library makes and checks the header. The payload, one chunk of ChaCha20-Poly1305 under a key derived from the
 * file key, is done here, because the library's streams leave copies of the keys behind. The library is loaded when the first
 * file is wrapped or opened: most starts do without. Errors: `key_file_refused` for a file that is damaged or holds no keys,
 * `key_file_locked` for a passphrase that is missing or wrong.
 */
import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync, type KeyObject, randomBytes } from 'node:crypto';
import type { Decrypter, Encrypter, Recipient } from 'age-encryption';
import { Failure, isFailure } from '../../errors.ts';
import { checkSize, type KeySet, keySetContent, parseKeySet } from '../../secret/key.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { scratch } from '../../secret/secret-bytes.ts';
import {
  fileKeyBytes,
  passphraseIdentity,
  passphraseRecipient,
  tagBytes,
  workFactorDefault,
  workFactorMax,
} from './age-passphrase.ts';

/** A protected key file with 8 keys has about 470 bytes. */
export const wrappedBytesMax = 8192;

/** An age file begins so; its form of text is not read, and is told as such. */
const beginnings = ['age-encryption.org/v1', '-----BEGIN AGE'].map((text) => Buffer.from(text));
const macLineStart = '\n--- ';
const nonceBytes = 16;
const emptyPayloadBytes = nonceBytes + tagBytes;
const cipher = 'chacha20-poly1305';
const cipherOptions = { authTagLength: tagBytes };
/** Eleven bytes count the chunks, from 0; the last byte marks the last chunk. */
const onlyChunk = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** True when `content` begins as an age file does. */
export function isWrapped(content: Uint8Array): boolean {
  return beginnings.some((beginning) => beginning.equals(content.subarray(0, beginning.length)));
}

/**
 * A whole age file with `keys`, which the age tool opens too. `passphrase` is only lent. `workFactor` is the base-2
 * logarithm of scrypt's cost, 1 to 20. Throws `password_missing` for an empty passphrase.
 */
export async function wrapKeys(
  keys: KeySet,
  passphrase: SecretBytes,
  workFactor: number = workFactorDefault,
): Promise<Uint8Array> {
  if (passphrase.length === 0) throw new Failure('password_missing', 'the passphrase is empty');
  if (!(workFactor >= 1 && workFactor <= workFactorMax)) throw new Error(`a work factor is 1 to ${workFactorMax}`);
  const age = await import('age-encryption');
  const fileKey = scratch(fileKeyBytes);
  using content = keySetContent(keys);
  try {
    const header = await makeHeader(new age.Encrypter(), passphraseRecipient(age, passphrase, workFactor), fileKey);
    return content.use((plain) => Buffer.concat([header, sealPayload(plain, fileKey)]));
  } finally {
    fileKey.fill(0);
  }
}

/** An age file without content is header and empty payload. Puts the file key that the library made into `fileKey`. */
async function makeHeader(encrypter: Encrypter, recipient: Recipient, fileKey: Uint8Array): Promise<Uint8Array> {
  let made: Uint8Array | null = null;
  encrypter.addRecipient({
    wrapFileKey: (its) => {
      made = its;
      fileKey.set(its);
      return recipient.wrapFileKey(its);
    },
  });
  try {
    return (await encrypter.encrypt(new Uint8Array(0))).slice(0, -emptyPayloadBytes);
  } finally {
    (made as Uint8Array | null)?.fill(0);
  }
}

function sealPayload(plain: Uint8Array, fileKey: Uint8Array): Uint8Array {
  const nonce = randomBytes(nonceBytes);
  const sealer = createCipheriv(cipher, payloadKey(fileKey, nonce), onlyChunk, cipherOptions);
  return Buffer.concat([nonce, sealer.update(plain), sealer.final(), sealer.getAuthTag()]);
}

/** The keys in an age file. `passphrase` is asked for when the header and the size are right. */
export async function unwrapKeys(wrapped: Uint8Array, passphrase: () => Promise<SecretBytes>): Promise<KeySet> {
  const { header, payload } = split(wrapped);
  // Known before anything is opened, since this cipher adds nothing but nonce and tag.
  checkSize(payload.length - emptyPayloadBytes);
  const age = await import('age-encryption');
  const decrypter = new age.Decrypter();
  decrypter.addIdentity(passphraseIdentity(passphrase));
  const fileKey = await openHeader(decrypter, header);
  try {
    return parseKeySet(openPayload(payload, fileKey));
  } finally {
    fileKey.fill(0);
  }
}

/** The header ends with the line of its MAC, the one line that begins with three dashes. */
function split(wrapped: Uint8Array): { header: Uint8Array; payload: Uint8Array } {
  const bytes = Buffer.from(wrapped.buffer, wrapped.byteOffset, wrapped.byteLength);
  const macLineAt = bytes.indexOf(macLineStart);
  const end = macLineAt === -1 ? -1 : bytes.indexOf('\n', macLineAt + 1);
  if (end === -1) throw damaged();
  return { header: bytes.subarray(0, end + 1), payload: bytes.subarray(end + 1) };
}

async function openHeader(decrypter: Decrypter, header: Uint8Array): Promise<Uint8Array> {
  try {
    return await decrypter.decryptHeader(header);
  } catch (error) {
    // What the library itself finds wrong has no code: a line that is none, or a MAC that does not fit.
    if (isFailure(error) || (error instanceof Error && 'code' in error)) throw error;
    throw damaged();
  }
}

/** The content, which the caller wipes. */
function openPayload(payload: Uint8Array, fileKey: Uint8Array): Uint8Array {
  const key = payloadKey(fileKey, payload.subarray(0, nonceBytes));
  const opener = createDecipheriv(cipher, key, onlyChunk, cipherOptions);
  opener.setAuthTag(payload.subarray(-tagBytes));
  const opened = opener.update(payload.subarray(nonceBytes, -tagBytes));
  const content = scratch(opened.length);
  content.set(opened);
  opened.fill(0);
  try {
    opener.final();
    return content;
  } catch {
    // The one thing that final does here is to compare the tag.
    content.fill(0);
    throw damaged();
  }
}

function payloadKey(fileKey: Uint8Array, nonce: Uint8Array): KeyObject {
  const derived = new Uint8Array(hkdfSync('sha256', fileKey, nonce, 'payload', 32));
  const key = createSecretKey(derived);
  derived.fill(0);
  return key;
}

function damaged(): Failure {
  const hint = 'Put it back from its backup. An age file is binary: age -a makes another kind, which is not read.';
  return new Failure('key_file_refused', 'the key file cannot be used: it is an age file, and it is damaged', { hint });
}
