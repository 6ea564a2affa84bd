/**
 * Sealed password: JWE compact serialization (RFC 7516 section 7.1), direct encryption with AES-256-GCM.
 *
 * The protected header names the key and contains a hash of the context (`ctx`): mailbox, server and user. The tag
 * authenticates the header (AAD), so a sealed password that is copied to another mailbox, or whose mailbox is pointed
 * at another server, does not open. Whether a command or the page chose that server is not part of it: the settings
 * seal says so. Only exactly this header is accepted, byte for byte: no other algorithm, no compression, no further
 * member reaches the decryption. Any doubt fails closed with `password_damaged`. The plaintext is never a string, and
 * every copy made here is wiped.
 *
 * The cipher runs in this thread. Web Crypto, which the JWE libraries use, runs in a thread pool: the vector registers
 * of an idle thread retain the last block, and a core dump shows them. Here they are overwritten at once.
 */
import { createCipheriv, createDecipheriv, createHash, randomFillSync } from 'node:crypto';
import { causeCode, Failure } from '../errors.ts';
import { type Key, type KeyId, type KeySet, keyById } from './key.ts';
import { SecretBytes } from './secret-bytes.ts';

/** The context that a sealed password is bound to; it opens in no other. */
export type SealContext = {
  readonly mailboxId: string;
  readonly connection: {
    readonly host: string;
    readonly port: number;
    readonly tls: string;
    readonly caPem: string | null;
    readonly fingerprint: string | null;
    readonly allowPlaintext: boolean;
    readonly user: string;
  };
};

/** A parsed sealed password; nothing of it is authenticated yet. */
type ParsedJwe = {
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
/** Upper limit for an IMAP login; a NUL is not allowed either (RFC 4616). */
export const passwordBytesMax = 1024;
const sealedBytesMax = 4096;
/** A longer run of the cipher on zeros also overwrites what is left in the registers. */
const overwriteBytes = 4096;
const contextTag = 'ticketmaild password context 1';

/** Five parts: header, empty encrypted key, 12-byte IV, ciphertext, 16-byte tag. */
const compactPattern = /^([A-Za-z0-9_-]+)\.\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{22})$/;
/** The header exactly as written here: no hostile JSON is ever parsed, and no member can occur twice. */
const headerPattern = /^\{"alg":"dir","enc":"A256GCM","kid":"([0-9a-f]{16})","ctx":"([A-Za-z0-9_-]{43})"\}$/;
/** Prefix of every sealed password: base64url of the header up to the key id, a multiple of 3 bytes. */
const jwePrefix = Buffer.from(Buffer.from(`{"alg":"${alg}","enc":"${enc}","kid":"`).toString('base64url'));

/**
 * Returns the ASCII bytes of the JWE; borrows the password. Throws `password_damaged` unless it is 1 to 1024 bytes
 * without NUL.
 */
export function sealPassword(password: SecretBytes, key: Key, context: SealContext): Uint8Array {
  return password.use((plaintext) => {
    if (!isValidPassword(plaintext)) throw notSealable();
    const header = base64url(Buffer.from(JSON.stringify({ alg, enc, kid: key.id, ctx: hashContext(context) })));
    const iv = randomFillSync(Buffer.alloc(ivBytes));
    const overwriteRegisters = prepareOverwrite(plaintext.length);
    const sealing = createCipheriv(cipher, key.object, iv, { authTagLength: tagBytes }).setAAD(Buffer.from(header));
    const first = sealing.update(plaintext);
    overwriteRegisters();
    const ciphertext = Buffer.concat([first, sealing.final()]);
    return Buffer.from([header, '', base64url(iv), base64url(ciphertext), base64url(sealing.getAuthTag())].join('.'));
  });
}

/** Throws `password_damaged`, `password_binding_mismatch`, `key_unknown` (field `key_id`). */
export function unsealPassword(sealed: Uint8Array, keys: KeySet, context: SealContext): SecretBytes {
  const parts = parseJwe(sealed);
  const { keyId, contextHash: boundTo } = parts;
  const key = keyById(keys, keyId);
  if (key === null) throw keyUnknown(keyId);
  if (boundTo !== hashContext(context)) throw boundElsewhere();
  const plaintext = decrypt(parts, key);
  if (isValidPassword(plaintext)) return SecretBytes.take(plaintext);
  plaintext.fill(0);
  throw damaged('its content is not a valid password');
}

/** The key that the header names. Throws `password_damaged`. */
export function keyIdOfSealed(sealed: Uint8Array): KeyId {
  return parseJwe(sealed).keyId;
}

/** Makes a string only of bytes with the JWE prefix: the column may contain a plain password by mistake. */
function parseJwe(sealed: Uint8Array): ParsedJwe {
  if (sealed.length > sealedBytesMax) throw damaged(`it is larger than ${sealedBytesMax} bytes`);
  if (!jwePrefix.equals(sealed.subarray(0, jwePrefix.length)))
    throw damaged('it does not begin like a sealed password');
  const text = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length).toString('latin1');
  const [, header = '', iv = '', ciphertext = '', tag = ''] = compactPattern.exec(text) ?? [];
  if (header === '') throw damaged('it does not have the five parts of a JWE');
  if (![header, iv, ciphertext, tag].every(isCanonical)) throw damaged('one of its parts is not base64url');
  const [, keyId = '', boundTo = ''] = headerPattern.exec(Buffer.from(header, 'base64url').toString('latin1')) ?? [];
  if (keyId === '') throw damaged('its header is not one that this program writes');
  const bytes = (part: string) => Buffer.from(part, 'base64url');
  return { header, iv: bytes(iv), ciphertext: bytes(ciphertext), tag: bytes(tag), keyId, contextHash: boundTo };
}

/** Canonical base64url: no missing characters, no stray bits (RFC 4648 section 3.5). */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part;
}

/** The plaintext has a buffer of its own, outside the heap. Throws `password_damaged` for a wrong tag. */
function decrypt({ header, iv, ciphertext, tag }: ParsedJwe, key: Key): Uint8Array {
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
    throw damaged('its authentication tag is wrong', causeCode(error));
  }
}

/**
 * Returns a function that runs the cipher on zeros: overwrites the vector registers, which still contain the password.
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
function hashContext({ mailboxId, connection }: SealContext): string {
  const { host, port, tls, caPem, fingerprint, allowPlaintext, user } = connection;
  const pin = fingerprint === null ? null : asciiLowerCase(fingerprint);
  const bound = [contextTag, mailboxId, asciiLowerCase(host), port, tls, caPem, pin, allowPlaintext, user, 'password'];
  return createHash('sha256').update(JSON.stringify(bound)).digest('base64url');
}

/** ASCII only: toLowerCase maps some different names to one. */
export function asciiLowerCase(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** 1 to 1024 bytes without NUL. Byte by byte, for the reason of `copySecret`. */
export function isValidPassword(bytes: Uint8Array): boolean {
  return bytes.length >= 1 && bytes.length <= passwordBytesMax && bytes.every((byte) => byte !== 0);
}

/** `cause`: the code of the cipher's error, without the error itself. */
function damaged(why: string, cause?: string): Failure {
  const more = cause === undefined ? {} : { fields: { cause } };
  return new Failure('password_damaged', `the sealed password cannot be opened: ${why}`, more);
}

function notSealable(): Failure {
  const message = `the password cannot be sealed: it must have 1 to ${passwordBytesMax} bytes and no NUL`;
  return new Failure('password_damaged', message, { hint: 'Set the password: ticketmaild mailbox set-password NAME.' });
}

function keyUnknown(keyId: KeyId): Failure {
  const message = `the password is sealed under key ${keyId}, which is not available here`;
  return new Failure('key_unknown', message, { fields: { key_id: keyId } });
}

function boundElsewhere(): Failure {
  return new Failure('password_binding_mismatch', 'the password was sealed for another mailbox, server or user');
}
