/**
 * A key that seals passwords, its id, and the set of keys that a key file holds.
 *
 * A key is 32 random bytes; they live in a KeyObject of Node, outside the JavaScript heap, which prints nothing of
 * itself. A key file is 1 to 8 of them, one after the other. The key id commits to the key and is shown everywhere as its
 * fingerprint. Errors: `key_file_refused`.
 */
import { createHash, createSecretKey, type KeyObject } from 'node:crypto';
import { Failure } from '../errors.ts';
import { SecretBytes } from './secret-bytes.ts';

/** 16 lower-case hex digits: the first of SHA-256("ticketmaild key id\0" || key). */
export type KeyId = string;

export type Key = { readonly id: KeyId; readonly object: KeyObject };

/** Distinct keys in the order of their file. */
export type KeySet = readonly Key[];

const keyBytes = 32;
export const keysMax = 8;

const idPrefix = 'ticketmaild key id\0';
const idHexDigits = 16;

/** The key of `bytes` (32); wipes them, whatever they are. */
export function importKey(bytes: Uint8Array): Key {
  try {
    if (bytes.length !== keyBytes) throw new Error(`a key has ${keyBytes} bytes`);
    const id = createHash('sha256').update(idPrefix).update(bytes).digest('hex').slice(0, idHexDigits);
    return { id, object: createSecretKey(bytes) };
  } finally {
    bytes.fill(0);
  }
}

/** `random` fills bytes, as randomFillSync of node:crypto does. */
export function generateKey(random: (bytes: Uint8Array) => Uint8Array): Key {
  return importKey(random(new Uint8Array(new ArrayBuffer(4096), 0, keyBytes)));
}

/** The keys in the content of a key file; wipes it. Throws `key_file_refused`. */
export function parseKeySet(content: Uint8Array): KeySet {
  try {
    checkKeyFileSize(content.length);
    const keys: Key[] = [];
    for (let at = 0; at < content.length; at += keyBytes) {
      const bytes = content.subarray(at, at + keyBytes);
      if (bytes.every((byte) => byte === bytes[0]))
        throw refused('one of its keys is not random: all bytes are the same');
      const key = importKey(bytes);
      if (!keys.some(({ id }) => id === key.id)) keys.push(key);
    }
    return Object.freeze(keys);
  } finally {
    content.fill(0);
  }
}

/** Checked before anything is read. Throws `key_file_refused`. */
export function checkKeyFileSize(sizeBytes: number): void {
  const isWhole = sizeBytes > 0 && sizeBytes % keyBytes === 0 && sizeBytes <= keyBytes * keysMax;
  if (!isWhole) {
    throw refused(`its size is ${sizeBytes} bytes, and a key file has ${keyBytes} for each of 1 to ${keysMax} keys`);
  }
}

function refused(why: string): Failure {
  return new Failure('key_file_refused', `the key file cannot be used: ${why}`);
}

/** The content of a key file with these keys. Throws `key_file_refused` when there are none, or more than 8. */
export function serializeKeySet(keys: KeySet): SecretBytes {
  checkKeyFileSize(keys.length * keyBytes);
  const content = new Uint8Array(new ArrayBuffer(4096), 0, keys.length * keyBytes);
  for (const [index, key] of keys.entries()) {
    const bytes = key.object.export();
    content.set(bytes, index * keyBytes);
    bytes.fill(0);
  }
  return SecretBytes.take(content);
}

export function isKeyId(value: unknown): value is KeyId {
  return typeof value === 'string' && /^[0-9a-f]{16}$/.test(value);
}

export function keyById(keys: KeySet, id: KeyId | null): Key | null {
  return keys.find((key) => key.id === id) ?? null;
}

export function keyIds(keys: KeySet): readonly KeyId[] {
  return keys.map(({ id }) => id);
}
