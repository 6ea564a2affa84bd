/**
 * JWE compact serialization (RFC 7516 section 7.1) of one secret: direct encryption with AES-256-GCM, bound to a
 * context.
 *
 * The protected header names the key and contains a hash of the context (`ctx`). The tag authenticates the header
 * (AAD). Only exactly this header is accepted, byte for byte: no other algorithm, no compression, no further member
 * reaches the decryption. Any doubt fails closed, with the code of the kind of secret. The plaintext is never a string,
 * and every copy made here is wiped.
 *
 * The cipher runs in this thread. Web Crypto, which the JWE libraries use, runs in a thread pool: the vector registers
 * of an idle thread retain the last block, and a core dump shows them. Here they are overwritten at once.
 */
import { createCipheriv, createDecipheriv, createHash, randomFillSync } from 'node:crypto';
import { causeCode, Failure } from '../errors.ts';
import { type Key, type KeyId, type KeySet, keyById } from './key.ts';

/** Kind of secret: its name in messages, its failure, and the limit of its sealed form. */
export type SealedKind = {
  readonly noun: 'password' | 'token';
  readonly damagedCode: 'password_damaged' | 'token_damaged';
  readonly sealedBytesMax: number;
};

/** A parsed JWE; nothing of it is authenticated yet. */
export type ParsedJwe = {
  readonly header: string;
  readonly iv: Buffer;
  readonly ciphertext: Buffer;
  readonly tag: Buffer;
  readonly keyId: KeyId;
  readonly contextHash: string;
};

const alg = 'dir';
const enc = 'A256GCM';
const cipher = 'aes-256-gcm';
const ivBytes = 12;
const tagBytes = 16;
/** A longer run of the cipher on zeros also overwrites what is left in the registers. */
const overwriteBytes = 4096;

/** Five parts: header, empty encrypted key, 12-byte IV, ciphertext, 16-byte tag. */
const compactPattern = /^([A-Za-z0-9_-]+)\.\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{22})$/;
/** The header exactly as written here: no hostile JSON is ever parsed, and no member can occur twice. */
const headerPattern = /^\{"alg":"dir","enc":"A256GCM","kid":"([0-9a-f]{16})","ctx":"([A-Za-z0-9_-]{43})"\}$/;
/** Prefix of every JWE made here: base64url of the header up to the key id, a multiple of 3 bytes. */
const jwePrefix = Buffer.from(Buffer.from(`{"alg":"${alg}","enc":"${enc}","kid":"`).toString('base64url'));

/** Returns the ASCII bytes of the JWE; borrows the plaintext. */
export function encryptJwe(plaintext: Uint8Array, key: Key, contextHash: string): Uint8Array {
  const header = base64url(Buffer.from(JSON.stringify({ alg, enc, kid: key.id, ctx: contextHash })));
  const iv = randomFillSync(Buffer.alloc(ivBytes));
  const overwriteRegisters = prepareOverwrite(plaintext.length);
  const sealing = createCipheriv(cipher, key.object, iv, { authTagLength: tagBytes }).setAAD(Buffer.from(header));
  const first = sealing.update(plaintext);
  overwriteRegisters();
  const ciphertext = Buffer.concat([first, sealing.final()]);
  return Buffer.from([header, '', base64url(iv), base64url(ciphertext), base64url(sealing.getAuthTag())].join('.'));
}

/**
 * Makes a string only of bytes with the JWE prefix: the column may contain a plain secret by mistake. Throws the
 * failure of the kind.
 */
export function parseJwe(sealed: Uint8Array, kind: SealedKind): ParsedJwe {
  if (sealed.length > kind.sealedBytesMax) throw damagedSeal(kind, `it is larger than ${kind.sealedBytesMax} bytes`);
  if (!jwePrefix.equals(sealed.subarray(0, jwePrefix.length)))
    throw damagedSeal(kind, `it does not begin like a sealed ${kind.noun}`);
  const text = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length).toString('latin1');
  const [, header = '', iv = '', ciphertext = '', tag = ''] = compactPattern.exec(text) ?? [];
  if (header === '') throw damagedSeal(kind, 'it does not have the five parts of a JWE');
  if (![header, iv, ciphertext, tag].every(isCanonical)) throw damagedSeal(kind, 'one of its parts is not base64url');
  const [, keyId = '', boundTo = ''] = headerPattern.exec(Buffer.from(header, 'base64url').toString('latin1')) ?? [];
  if (keyId === '') throw damagedSeal(kind, 'its header is not one that this program writes');
  const bytes = (part: string) => Buffer.from(part, 'base64url');
  return { header, iv: bytes(iv), ciphertext: bytes(ciphertext), tag: bytes(tag), keyId, contextHash: boundTo };
}

/** Canonical base64url: no missing characters, no stray bits (RFC 4648 section 3.5). */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part;
}

/** The key that the header names. Throws `key_unknown` (field `key_id`). */
export function keyOfJwe({ keyId }: ParsedJwe, keys: KeySet, { noun }: SealedKind): Key {
  const key = keyById(keys, keyId);
  if (key !== null) return key;
  const message = `the ${noun} is sealed under key ${keyId}, which is not available here`;
  throw new Failure('key_unknown', message, { fields: { key_id: keyId } });
}

/** The plaintext has a buffer of its own, outside the heap. Throws the failure of the kind for a wrong tag. */
export function decryptJwe({ header, iv, ciphertext, tag }: ParsedJwe, key: Key, kind: SealedKind): Uint8Array {
  const overwriteRegisters = prepareOverwrite(ciphertext.length);
  const decipher = createDecipheriv(cipher, key.object, iv, { authTagLength: tagBytes })
    .setAAD(Buffer.from(header))
    .setAuthTag(tag);
  const plaintext = decipher.update(ciphertext);
  overwriteRegisters();
  try {
    decipher.final();
    return plaintext;
  } catch (error) {
    plaintext.fill(0);
    throw damagedSeal(kind, 'its authentication tag is wrong', causeCode(error));
  }
}

/**
 * Returns a function that runs the cipher on zeros: overwrites the vector registers, which still contain the secret.
 * All else is prepared here: between the cipher and the overwrite nothing may run that V8 could deoptimize.
 */
function prepareOverwrite(lengthBytes: number): () => void {
  const zeros = Buffer.alloc(Math.max(lengthBytes, overwriteBytes));
  const nothing = createCipheriv(cipher, zeros.subarray(0, 32), zeros.subarray(0, ivBytes), {
    authTagLength: tagBytes,
  });
  const asLong = zeros.subarray(0, lengthBytes);
  return () => {
    nothing.update(asLong);
    nothing.update(zeros);
  };
}

function base64url(bytes: Buffer): string {
  return bytes.toString('base64url');
}

/** Base64url of SHA-256 over a JSON array, an injective encoding of the context. */
export function contextHashOf(bound: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(bound)).digest('base64url');
}

/** `cause`: the code of the cipher's error, without the error itself. */
export function damagedSeal({ noun, damagedCode }: SealedKind, why: string, cause?: string): Failure {
  const more = cause === undefined ? {} : { fields: { cause } };
  return new Failure(damagedCode, `the sealed ${noun} cannot be opened: ${why}`, more);
}
