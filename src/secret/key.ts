/**
 * Encryption keys (AES-256), their ids, and the key set that a key file contains.
 *
 * A key is 32 random bytes in a Node KeyObject: outside the JavaScript heap, and never printed. A key file is 1 to 8
 * keys, concatenated. The key id is a truncated hash of the key and is shown as its fingerprint. Errors:
 * `key_file_refused`.
 */
import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { Failure } from '../errors.ts';
import { keyWeakness } from './key-weakness.ts';
import { copySecret, SecretBytes, secretBuffer } from './secret-bytes.ts';

/** First 16 lower-case hex digits of SHA-256("ticketmaild key id\0" || key). */
export type KeyId = string;

/** `weakness`: why it is plainly not random (key-weakness.ts); such a key opens, and is not taken into use. */
export type Key = { readonly id: KeyId; readonly object: KeyObject; readonly weakness: string | null };

/** Distinct keys in the order of their file. */
export type KeySet = readonly Key[];

const keyBytes = 32;
export const keysMax = 8;

const idPrefix = 'ticketmaild key id\0';
const idHexDigits = 16;

/** Imports 32 raw bytes; always wipes them. */
export function importKey(bytes: Uint8Array): Key {
  try {
    if (bytes.length !== keyBytes) throw new Error(`a key has ${keyBytes} bytes`);
    const id = createHash('sha256').update(idPrefix).update(bytes).digest('hex').slice(0, idHexDigits);
    return { id, object: createSecretKey(bytes), weakness: keyWeakness(bytes) };
  } finally {
    bytes.fill(0);
  }
}

/** A new random key. `random` fills bytes, as randomFillSync of node:crypto does. */
export function generateKey(random: (bytes: Uint8Array) => Uint8Array): Key {
  return importKey(random(secretBuffer(keyBytes)));
}

/** Parses the content of a key file; always wipes it. Throws `key_file_refused`. */
export function parseKeySet(content: Uint8Array): KeySet {
  try {
    checkKeyFileSize(content.length);
    const keys: Key[] = [];
    for (let at = 0; at < content.length; at += keyBytes) {
      const bytes = content.subarray(at, at + keyBytes);
      if (bytes.every((byte) => byte === bytes[0]))
        throw refused('one of its keys is not random: all its bytes are equal');
      const key = importKey(bytes);
      if (!keys.some(({ id }) => id === key.id)) keys.push(key);
    }
    return Object.freeze(keys);
  } finally {
    content.fill(0);
  }
}

/** Size check before any key is parsed. Throws `key_file_refused`. */
export function checkKeyFileSize(sizeBytes: number): void {
  const isWhole = sizeBytes > 0 && sizeBytes % keyBytes === 0 && sizeBytes <= keyBytes * keysMax;
  if (!isWhole) {
    throw refused(`it has ${sizeBytes} bytes; a key file has ${keyBytes} bytes per key, 1 to ${keysMax} keys`);
  }
}

function refused(why: string): Failure {
  return new Failure('key_file_refused', `the key file cannot be used: ${why}`);
}

/** The content of a key file with these keys. Throws `key_file_refused` for no key or more than 8. */
export function serializeKeySet(keys: KeySet): SecretBytes {
  checkKeyFileSize(keys.length * keyBytes);
  const content = secretBuffer(keys.length * keyBytes);
  for (const [index, key] of keys.entries()) {
    const bytes = key.object.export();
    copySecret(bytes, content, index * keyBytes);
    bytes.fill(0);
  }
  return SecretBytes.take(content);
}

/** A weak key that is about to be used, or in use. `where`: the file. `hint`: how to replace it. */
export function weakKeyFailure(where: string, { id, weakness }: Key, hint: string): Failure {
  const message = `${where}: key ${id} is not random: it ${weakness}, so that it can be guessed`;
  return new Failure('key_file_refused', message, { hint, fields: { key_id: id } });
}

/** Remedy for a weak key in use. */
export const weakKeyRemedy =
  'Replace it, while the daemon runs: ticketmaild encryption rotate. Then back the key file up again.';

export function isKeyId(value: unknown): value is KeyId {
  return typeof value === 'string' && /^[0-9a-f]{16}$/.test(value);
}

export function keyById(keys: KeySet, id: KeyId | null): Key | null {
  return keys.find((key) => key.id === id) ?? null;
}

export function keyIds(keys: KeySet): readonly KeyId[] {
  return keys.map(({ id }) => id);
}
