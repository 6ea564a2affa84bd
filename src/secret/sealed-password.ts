/**
 * A sealed password: a JWE in compact form (RFC 7516 section 7.1), direct encryption with AES-256-GCM.
 *
 * Its protected header names the key and holds a hash of what the password is for (`ctx`): the mailbox, the server and
 * the user. The tag covers the header, so a sealed password that was copied to another mailbox, or whose mailbox was
 * pointed at another server, is refused. It also marks one that came readable out of the table while encryption was on
 * (`"from":"table"`): whoever wrote it there has chosen the server that it is bound to. Exactly this header is taken, in
 * exactly the form in which it is written: no other algorithm, no compression, no further member ever reaches the
 * decryption. Whatever is in doubt fails closed with `password_damaged`; the plaintext is never a string, and every copy
 * of it that is made here is wiped.
 *
 * The cipher runs in this thread. In a pool of threads, as Web Crypto has it, the vector registers of a resting thread
 * keep the last block that it worked on, and a core dump shows them; here they are written over at once.
 */
import { createCipheriv, createDecipheriv, createHash, randomFillSync } from 'node:crypto';
import { causeCode, Failure } from '../errors.ts';
import { type Key, type KeyId, type KeySet, keyById } from './key.ts';
import { SecretBytes } from './secret-bytes.ts';

/** What a sealed password is bound to: opened for anything else, it is refused. */
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

/**
 * Who gave the password: a command, or what stood in the table before encryption was on (`command`); or somebody who wrote
 * it into the table while encryption was on (`table`). It stays so under every other key.
 */
export type PasswordOrigin = 'command' | 'table';

/** A sealed password, taken apart; nothing of it is believed yet. */
type ParsedJwe = {
  readonly header: string;
  readonly iv: Buffer;
  readonly ciphertext: Buffer;
  readonly tag: Buffer;
  readonly keyId: KeyId;
  readonly contextHash: string;
  readonly origin: PasswordOrigin;
};

const alg = 'dir';
const enc = 'A256GCM';
const cipher = 'aes-256-gcm';
const ivBytes = 12;
const tagBytes = 16;
/** No IMAP login carries more, nor a NUL (RFC 4616). */
export const passwordBytesMax = 1024;
const sealedBytesMax = 4096;
/** V8 keeps small typed arrays on its moving heap, unless they look into a buffer that was made on its own. */
const scratchBytes = 4096;
const contextTag = 'ticketmaild password context 1';

/** Five parts: header, no encrypted key, IV of 12 bytes, ciphertext, tag of 16 bytes. */
const compactPattern = /^([A-Za-z0-9_-]+)\.\.([A-Za-z0-9_-]{16})\.([A-Za-z0-9_-]+)\.([A-Za-z0-9_-]{22})$/;
/** The header in the form in which it is written; so nothing hostile is ever parsed, and no member can be there twice. */
const headerPattern =
  /^\{"alg":"dir","enc":"A256GCM","kid":"([0-9a-f]{16})","ctx":"([A-Za-z0-9_-]{43})"(,"from":"table")?\}$/;
/** What every sealed password begins with: base64url of the header up to the key id, a multiple of 3 bytes. */
const jwePrefix = Buffer.from(Buffer.from(`{"alg":"${alg}","enc":"${enc}","kid":"`).toString('base64url'));

/**
 * ASCII bytes of a JWE in compact form (RFC 7516 section 7.1); the password is only lent. Throws `password_damaged` when it
 * is not 1 to 1024 bytes without NUL.
 */
export function sealPassword(
  password: SecretBytes,
  key: Key,
  context: SealContext,
  origin: PasswordOrigin,
): Uint8Array {
  return password.use((plaintext) => {
    if (!isValidPassword(plaintext)) throw notSealable();
    const mark = origin === 'table' ? { from: origin } : {};
    const members = { alg, enc, kid: key.id, ctx: hashContext(context), ...mark };
    const header = base64url(Buffer.from(JSON.stringify(members)));
    const iv = randomFillSync(Buffer.alloc(ivBytes));
    const sealing = createCipheriv(cipher, key.object, iv, { authTagLength: tagBytes }).setAAD(Buffer.from(header));
    const ciphertext = Buffer.concat([sealing.update(plaintext), sealing.final()]);
    overwriteRegisters(plaintext.length);
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
  throw damaged('what is in it is no password');
}

/** The key that its header names. Throws `password_damaged`. */
export function keyIdOfSealed(sealed: Uint8Array): KeyId {
  return parseJwe(sealed).keyId;
}

/** What its header says: to be believed of one that `unsealPassword` opens. Throws `password_damaged`. */
export function originOfSealed(sealed: Uint8Array): PasswordOrigin {
  return parseJwe(sealed).origin;
}

/** Only what begins as a sealed password does becomes a string: a plain password may stand here by mistake. */
function parseJwe(sealed: Uint8Array): ParsedJwe {
  if (sealed.length > sealedBytesMax) throw damaged(`it is larger than ${sealedBytesMax} bytes`);
  if (!jwePrefix.equals(sealed.subarray(0, jwePrefix.length)))
    throw damaged('it does not begin as sealed passwords do');
  const text = Buffer.from(sealed.buffer, sealed.byteOffset, sealed.length).toString('latin1');
  const [, header = '', iv = '', ciphertext = '', tag = ''] = compactPattern.exec(text) ?? [];
  if (header === '') throw damaged('it does not have the five parts of a JWE');
  if (![header, iv, ciphertext, tag].every(isCanonical)) throw damaged('one of its parts is no base64url');
  const [, keyId = '', boundTo = '', mark] =
    headerPattern.exec(Buffer.from(header, 'base64url').toString('latin1')) ?? [];
  if (keyId === '') throw damaged('its header is not the one that this program writes');
  const bytes = (part: string) => Buffer.from(part, 'base64url');
  const origin = mark === undefined ? 'command' : 'table';
  return { header, iv: bytes(iv), ciphertext: bytes(ciphertext), tag: bytes(tag), keyId, contextHash: boundTo, origin };
}

/** False when characters are missing, or bits are set that belong to no byte (RFC 4648 section 3.5). */
function isCanonical(part: string): boolean {
  return Buffer.from(part, 'base64url').toString('base64url') === part;
}

/** The bytes are in a buffer of their own, outside the heap. Throws `password_damaged` when the tag does not fit. */
function decrypt({ header, iv, ciphertext, tag }: ParsedJwe, key: Key): Uint8Array {
  const decipher = createDecipheriv(cipher, key.object, iv, { authTagLength: tagBytes })
    .setAAD(Buffer.from(header))
    .setAuthTag(tag);
  const plaintext = decipher.update(ciphertext);
  overwriteRegisters(ciphertext.length);
  try {
    decipher.final();
    return plaintext;
  } catch (error) {
    plaintext.fill(0);
    throw damaged('its tag does not fit', causeCode(error));
  }
}

/** The same work on zeros: it leaves zeros where the cipher has left a password. */
function overwriteRegisters(lengthBytes: number): void {
  const zeros = Buffer.alloc(Math.max(lengthBytes, scratchBytes));
  const nothing = createCipheriv(cipher, zeros.subarray(0, 32), zeros.subarray(0, ivBytes), {
    authTagLength: tagBytes,
  });
  nothing.update(zeros.subarray(0, lengthBytes));
  nothing.update(zeros);
  nothing.final();
}

function base64url(bytes: Buffer): string {
  return bytes.toString('base64url');
}

/** Base64url of SHA-256 over a JSON array, in which no two contexts look the same. */
function hashContext({ mailboxId, connection }: SealContext): string {
  const { host, port, tls, caPem, fingerprint, allowPlaintext, user } = connection;
  const pin = fingerprint === null ? null : asciiLowerCase(fingerprint);
  const bound = [contextTag, mailboxId, asciiLowerCase(host), port, tls, caPem, pin, allowPlaintext, user, 'password'];
  return createHash('sha256').update(JSON.stringify(bound)).digest('base64url');
}

/** Of ASCII letters alone: toLowerCase makes one of some names that are two. */
function asciiLowerCase(text: string): string {
  return text.replace(/[A-Z]/g, (letter) => letter.toLowerCase());
}

/** What can be a password at all: 1 to 1024 bytes without NUL. */
export function isValidPassword(bytes: Uint8Array): boolean {
  return bytes.length >= 1 && bytes.length <= passwordBytesMax && !bytes.includes(0);
}

/** The error of the cipher stays behind: `cause` is its code alone. */
function damaged(why: string, cause?: string): Failure {
  const more = cause === undefined ? {} : { fields: { cause } };
  return new Failure('password_damaged', `the sealed password cannot be opened: ${why}`, more);
}

function notSealable(): Failure {
  const message = `the password cannot be sealed: it is not 1 to ${passwordBytesMax} bytes without NUL`;
  return new Failure('password_damaged', message, { hint: 'Set it anew with mailbox set-password.' });
}

function keyUnknown(keyId: KeyId): Failure {
  const message = `the sealed password needs the key ${keyId}, which is not open here`;
  return new Failure('key_unknown', message, { fields: { key_id: keyId } });
}

function boundElsewhere(): Failure {
  return new Failure(
    'password_binding_mismatch',
    'the sealed password was sealed for another mailbox, server or user than it is to be used for',
  );
}
