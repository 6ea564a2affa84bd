/**
 * age file (age-encryption.org/v1) that protects the keys of a key file with a passphrase (recipient type scrypt).
 *
 * The age library (typage) makes and checks the header. Scrypt and payload are done here, in place of the library's
 * own: it takes a passphrase as a string only, which cannot be wiped, and its streams leave copies of the keys behind.
 * All of the header is checked, the work factor first, before a passphrase is asked for and time and memory are spent.
 * The library is loaded when the first file is wrapped or opened. Errors: `key_file_refused` for a file that is damaged
 * or contains no keys, `key_file_locked` for a missing or wrong passphrase.
 */
import {
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  hkdfSync,
  type KeyObject,
  randomBytes,
  type ScryptOptions,
  scrypt,
} from 'node:crypto';
import { open } from 'node:fs/promises';
import { promisify } from 'node:util';
import type { Decrypter, Encrypter, Identity, Recipient, Stanza } from 'age-encryption';
import { unreadableHint } from '../../config/machine.ts';
import { causeCode, Failure, isFailure } from '../../errors.ts';
import { checkKeyFileSize, type KeySet, parseKeySet, serializeKeySet } from '../../secret/key.ts';
import { copySecret, SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';
import { shellArg } from '../../text/shell.ts';

/** Base-2 logarithm of scrypt's N. 18 takes 256 MiB of memory and about a second; 20 four times as much. */
export const workFactorDefault = 18;
const workFactorMax = 20;
/** 16 MiB and about 50 ms: the interactive parameters of the scrypt paper. The age tool uses 18. */
const workFactorMin = 14;

/** Upper limit of a key file; one with 8 protected keys has about 470 bytes. */
export const wrappedBytesMax = 8192;

const stanzaType = 'scrypt';
const saltLabel = 'age-encryption.org/v1/scrypt';
const saltBytes = 16;
const derivedBytes = 32;
const blockSize = 8;
const fileKeyBytes = 16;
const tagBytes = 16;
const sealedBytes = fileKeyBytes + tagBytes;
const cipher = 'chacha20-poly1305';
const cipherOptions = { authTagLength: tagBytes };
/** Fixed nonce: each derived key is used once. */
const zeroNonce = new Uint8Array(12);

/** Binary and armored format. Armor is not supported, and reported as such. */
const ageFilePrefixes = ['age-encryption.org/v1', '-----BEGIN AGE'].map((text) => Buffer.from(text));
const macLineStart = '\n--- ';
const nonceBytes = 16;
const emptyPayloadBytes = nonceBytes + tagBytes;

/** STREAM nonce: an 11-byte chunk counter, then 1 for the last chunk. */
const onlyChunk = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** True when `content` begins like an age file. */
export function isWrapped(content: Uint8Array): boolean {
  return ageFilePrefixes.some((beginning) => beginning.equals(content.subarray(0, beginning.length)));
}

/**
 * Wraps `keys` as an age file, which the age tool opens too; borrows `passphrase`. `workFactor`: base-2 logarithm of
 * scrypt's cost, 14 to 20. Throws `password_missing` for an empty passphrase.
 */
export async function wrapKeys(
  keys: KeySet,
  passphrase: SecretBytes,
  workFactor: number = workFactorDefault,
): Promise<Uint8Array> {
  if (passphrase.length === 0) throw new Failure('password_missing', 'the passphrase is empty');
  if (!(workFactor >= workFactorMin && workFactor <= workFactorMax))
    throw new Error(`a work factor is ${workFactorMin} to ${workFactorMax}`);
  const age = await import('age-encryption');
  const fileKey = secretBuffer(fileKeyBytes);
  using content = serializeKeySet(keys);
  try {
    const header = await makeHeader(new age.Encrypter(), passphraseRecipient(age, passphrase, workFactor), fileKey);
    return content.use((plain) => Buffer.concat([header, sealPayload(plain, fileKey)]));
  } finally {
    fileKey.fill(0);
  }
}

/** The header of an encrypted empty file. Copies the file key that the library generated into `fileKey`. */
async function makeHeader(encrypter: Encrypter, recipient: Recipient, fileKey: Uint8Array): Promise<Uint8Array> {
  let made: Uint8Array | null = null;
  encrypter.addRecipient({
    wrapFileKey: (generated) => {
      made = generated;
      copySecret(generated, fileKey);
      return recipient.wrapFileKey(generated);
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

/** Unwraps the keys in an age file. Calls `passphrase` only once header and size are valid. */
export async function unwrapKeys(wrapped: Uint8Array, passphrase: () => Promise<SecretBytes>): Promise<KeySet> {
  const { header, payload } = splitAgeFile(wrapped);
  // The plaintext size is known beforehand: the payload adds only nonce and tag.
  checkKeyFileSize(payload.length - emptyPayloadBytes);
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

/** Splits at the end of the MAC line, the one header line that begins with `---`. */
function splitAgeFile(wrapped: Uint8Array): { header: Uint8Array; payload: Uint8Array } {
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
    // Errors of the library itself have no code: a malformed line or a wrong MAC.
    if (isFailure(error) || (error instanceof Error && 'code' in error)) throw error;
    throw damaged();
  }
}

/** Decrypts the payload. The caller wipes the result. */
function openPayload(payload: Uint8Array, fileKey: Uint8Array): Uint8Array {
  const key = payloadKey(fileKey, payload.subarray(0, nonceBytes));
  const opener = createDecipheriv(cipher, key, onlyChunk, cipherOptions);
  opener.setAuthTag(payload.subarray(-tagBytes));
  const opened = opener.update(payload.subarray(nonceBytes, -tagBytes));
  const content = secretBuffer(opened.length);
  copySecret(opened, content);
  opened.fill(0);
  try {
    opener.final();
    return content;
  } catch {
    // final() only compares the tag.
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
  const hint = 'Restore it from its backup. Armored age files (age -a) are not supported: use the binary format.';
  return new Failure('key_file_refused', 'the key file cannot be used: the age file is damaged', { hint });
}

// The scrypt stanza of the header (age-encryption.org/v1, "The scrypt recipient type").

type PassphraseStanza = { readonly salt: Uint8Array; readonly workFactor: number; readonly body: Uint8Array };

const deriveWith: (
  passphrase: Uint8Array,
  salt: Uint8Array,
  sizeBytes: number,
  options: ScryptOptions,
) => Promise<Buffer> = promisify(scrypt);

/** Recipient that wraps the file key with `passphrase`, which it borrows. `age`: the library, loaded by the caller. */
function passphraseRecipient(
  age: Pick<typeof import('age-encryption'), 'Stanza'>,
  passphrase: SecretBytes,
  workFactor: number,
): Recipient {
  return {
    wrapFileKey: async (fileKey) => {
      const salt = randomBytes(saltBytes);
      const derived = await deriveStanzaKey(passphrase, salt, workFactor);
      try {
        const sealer = createCipheriv(cipher, derived, zeroNonce, cipherOptions);
        const body = Buffer.concat([sealer.update(fileKey), sealer.final(), sealer.getAuthTag()]);
        return [new age.Stanza([stanzaType, base64NoPadding(salt), String(workFactor)], body)];
      } finally {
        derived.fill(0);
      }
    },
  };
}

/** Identity that unwraps the file key, which the caller wipes. Calls `passphrase` only for a valid stanza. */
function passphraseIdentity(passphrase: () => Promise<SecretBytes>): Identity {
  return {
    unwrapFileKey: async (stanzas) => {
      const stanza = checkStanza(stanzas);
      const derived = await deriveStanzaKey(await passphrase(), stanza.salt, stanza.workFactor);
      try {
        return openFileKey(stanza.body, derived);
      } finally {
        derived.fill(0);
      }
    },
  };
}

function checkStanza(stanzas: readonly Stanza[]): PassphraseStanza {
  const [stanza] = stanzas;
  if (stanza === undefined || stanza.args[0] !== stanzaType)
    throw refused('the age file is not protected by a passphrase');
  // Another recipient could open the file without the passphrase; the format forbids it.
  if (stanzas.length !== 1) throw refused('the age file has another recipient beside the passphrase');
  const [, saltText = '', workFactorText = ''] = stanza.args;
  const salt = Buffer.from(saltText, 'base64');
  const isWellFormed =
    stanza.args.length === 3 &&
    salt.length === saltBytes &&
    base64NoPadding(salt) === saltText &&
    /^[1-9][0-9]*$/.test(workFactorText) &&
    stanza.body.length === sealedBytes;
  if (!isWellFormed) throw refused('the header of the age file is damaged');
  return { salt, workFactor: checkWorkFactor(Number(workFactorText)), body: stanza.body };
}

function checkWorkFactor(workFactor: number): number {
  if (workFactor >= workFactorMin && workFactor <= workFactorMax) return workFactor;
  throw new Failure(
    'key_file_refused',
    `the key file cannot be used: its work factor is ${workFactor}, and ${workFactorMin} to ${workFactorMax} are accepted`,
    {
      hint: 'Rewrap it with the age tool, which uses 18, on a machine that can open it: age -d FILE | age -p -o NEWFILE',
    },
  );
}

/** Base64 without padding (RFC 4648 section 4), as age writes it. */
function base64NoPadding(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replaceAll('=', '');
}

/** 32 bytes, which the caller wipes. */
async function deriveStanzaKey(passphrase: SecretBytes, salt: Uint8Array, workFactor: number): Promise<Buffer> {
  const N = 2 ** workFactor;
  const options = { N, r: blockSize, p: 1, maxmem: 128 * blockSize * (N + 16) };
  try {
    return await passphrase.use((bytes) => deriveWith(bytes, labelledSalt(salt), derivedBytes, options));
  } catch (error) {
    if (!/^ERR_(OSSL|CRYPTO)_/.test(causeCode(error))) throw error;
    const why = `its work factor of ${workFactor} needs ${N / 1024} MiB of memory, which are not available`;
    const hint = 'Free memory, or raise the limit of the service: systemctl set-property ticketmaild MemoryMax=2G';
    throw new Failure('key_file_refused', `the key file cannot be used: ${why}`, { cause: error, hint });
  }
}

function labelledSalt(salt: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(saltLabel), salt]);
}

function openFileKey(body: Uint8Array, derived: Uint8Array): Uint8Array {
  const opener = createDecipheriv(cipher, derived, zeroNonce, cipherOptions);
  opener.setAuthTag(body.subarray(fileKeyBytes));
  const opened = opener.update(body.subarray(0, fileKeyBytes));
  const fileKey = secretBuffer(fileKeyBytes);
  copySecret(opened, fileKey);
  opened.fill(0);
  try {
    opener.final();
    return fileKey;
  } catch {
    // final() only compares the tag.
    fileKey.fill(0);
    throw new Failure('key_file_locked', 'the key file cannot be opened: the passphrase is wrong');
  }
}

function refused(why: string): Failure {
  const hint = 'A protected key file has a passphrase as its only recipient: age -p -o FILE KEYS';
  return new Failure('key_file_refused', `the key file cannot be used: ${why}`, { hint });
}

// Passphrase sources.

/** Asks for the passphrase; null: there is none. The caller wipes it. */
export type PassphraseSource = () => Promise<SecretBytes | null>;

type CachedPassphrase = Disposable & {
  /** Asks at the first call. Throws `key_file_locked` when there is none. */
  passphrase(): Promise<SecretBytes>;
  /** True once a passphrase was given. */
  readonly isGiven: boolean;
};

/** Asks the source at most once per operation; disposing wipes the passphrase. */
export function cachePassphrase(source: PassphraseSource): CachedPassphrase {
  let given: SecretBytes | null = null;
  return {
    passphrase: async () => {
      given ??= await source();
      if (given !== null) return given;
      throw new Failure(
        'key_file_locked',
        'the key file cannot be opened: it is protected by a passphrase, and no passphrase is given',
      );
    },
    get isGiven() {
      return given !== null;
    },
    [Symbol.dispose]: () => given?.wipe(),
  };
}

const passphraseBytesMax = 4096;
const otherUsersBits = 0o007;

/**
 * The passphrase in a file, without one trailing line end; null: no path, no file, or an empty one. Reads the file at
 * each call, so a change takes effect. Refuses a file that others can read (a systemd credential is readable by its
 * service alone). Throws `key_file_locked`.
 */
export async function readPassphraseFile(path: string | null): Promise<SecretBytes | null> {
  if (path === null) return null;
  try {
    await using file = await open(path, 'r');
    const { mode } = await file.stat();
    if ((mode & otherUsersBits) !== 0) {
      const hint = `Change its mode: chmod o-rwx ${shellArg(path)}; and change the passphrase if it may have been read.`;
      throw new Failure('key_file_locked', `the passphrase file ${path} is readable by all users`, { hint });
    }
    const content = secretBuffer(passphraseBytesMax + 2);
    const { bytesRead } = await file.read(content, 0, content.length, 0);
    const length = withoutLineEnd(content.subarray(0, bytesRead));
    return length === 0 ? null : SecretBytes.take(content.subarray(0, length));
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    if (error instanceof Failure) throw error;
    const hint = unreadableHint(error);
    throw new Failure('key_file_locked', `the passphrase file ${path} cannot be read (${causeCode(error)})`, {
      cause: error,
      ...(hint === null ? {} : { hint }),
    });
  }
}

function withoutLineEnd(content: Uint8Array): number {
  if (content.at(-1) !== 10) return content.length;
  return content.at(-2) === 13 ? content.length - 2 : content.length - 1;
}
