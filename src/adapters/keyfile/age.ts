/**
 * The passphrase stanza of an age file (age-encryption.org/v1, recipient type scrypt), done with bytes.
 *
 * The age library takes a passphrase as a string only, which cannot be wiped; so it is given a recipient and an identity
 * of ours, and makes and checks the rest of the header. Everything is checked, the work factor first of all, before the
 * passphrase is asked for and time and memory are spent. Errors: `key_file_refused` for a stanza that is not to be
 * opened, `key_file_locked` for a passphrase that is missing or wrong.
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
import { SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';
import { shellArg } from '../../text/shell.ts';

/** The base-2 logarithm of scrypt's N. 18 costs 256 MiB of memory and about a second; 20 four times as much. */
export const workFactorDefault = 18;
const workFactorMax = 20;

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
/** The derived key is used once, so the nonce may be fixed. */
const zeroNonce = new Uint8Array(12);

type PassphraseStanza = { readonly salt: Uint8Array; readonly workFactor: number; readonly body: Uint8Array };

const deriveWith: (
  passphrase: Uint8Array,
  salt: Uint8Array,
  sizeBytes: number,
  options: ScryptOptions,
) => Promise<Buffer> = promisify(scrypt);

/** Protects the file key with `passphrase`, which is only lent. `age` is the library, which whoever needs it loads. */
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

/** Opens the file key, which the caller wipes. `passphrase` is asked for only when the stanza is one to be opened. */
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
    throw refused('it is an age file, but not for a passphrase');
  // A second recipient would open the file without the passphrase; the format forbids it.
  if (stanzas.length !== 1) throw refused('it is an age file with another recipient beside the passphrase');
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
  if (workFactor <= workFactorMax) return workFactor;
  throw new Failure(
    'key_file_refused',
    `the key file cannot be used: its work factor is ${workFactor}, and more than ${workFactorMax} is not tried`,
    { hint: 'Protect it anew with the age tool on a machine that can open it: age -d FILE | age -p. age writes 18.' },
  );
}

/** Text of base64 without padding (RFC 4648 section 4), as age writes it. */
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
    const why = `its work factor of ${workFactor} takes ${N / 1024} MiB of memory, which there is not`;
    const hint = 'Free memory, or allow more of it: systemctl set-property ticketmaild MemoryMax=2G.';
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
  fileKey.set(opened);
  opened.fill(0);
  try {
    opener.final();
    return fileKey;
  } catch {
    // The one thing that final does here is to compare the tag.
    fileKey.fill(0);
    throw new Failure('key_file_locked', 'the key file cannot be opened: the passphrase is wrong');
  }
}

function refused(why: string): Failure {
  const hint = 'A protected key file is made with a passphrase and nothing else: age -p -o FILE KEYS.';
  return new Failure('key_file_refused', `the key file cannot be used: ${why}`, { hint });
}

/**
 * The keys of a key file, wrapped with a passphrase as an age file (age-encryption.org/v1), and taken out of one again.
 *
 * The age library makes and checks the header. The payload, one chunk of ChaCha20-Poly1305 under a key derived from the
 * file key, is done here, because the library's streams leave copies of the keys behind. The library is loaded when the first
 * file is wrapped or opened: most starts do without. Errors: `key_file_refused` for a file that is damaged or holds no keys,
 * `key_file_locked` for a passphrase that is missing or wrong.
 */

/** A protected key file with 8 keys has about 470 bytes. */
export const wrappedBytesMax = 8192;

/** An age file begins so; its form of text is not read, and is told as such. */
const ageFilePrefixes = ['age-encryption.org/v1', '-----BEGIN AGE'].map((text) => Buffer.from(text));
const macLineStart = '\n--- ';
const nonceBytes = 16;
const emptyPayloadBytes = nonceBytes + tagBytes;

/** Eleven bytes count the chunks, from 0; the last byte marks the last chunk. */
const onlyChunk = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1);

/** True when `content` begins as an age file does. */
export function isWrapped(content: Uint8Array): boolean {
  return ageFilePrefixes.some((beginning) => beginning.equals(content.subarray(0, beginning.length)));
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
  const fileKey = secretBuffer(fileKeyBytes);
  using content = serializeKeySet(keys);
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
  const { header, payload } = splitAgeFile(wrapped);
  // Known before anything is opened, since this cipher adds nothing but nonce and tag.
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

/** The header ends with the line of its MAC, the one line that begins with three dashes. */
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
  const content = secretBuffer(opened.length);
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

/** Where the passphrase of a protected key file comes from, asked at most once for each piece of work, then wiped. */

/** null: there is none. What it gives is wiped by whoever asked. */
export type PassphraseSource = () => Promise<SecretBytes | null>;

type CachedPassphrase = Disposable & {
  /** Asks when nobody has yet. Throws `key_file_locked` when there is none. */
  passphrase(): Promise<SecretBytes>;
  /** True once there was one. */
  readonly isGiven: boolean;
};

/** Disposing it wipes the passphrase. */
export function cachePassphrase(source: PassphraseSource): CachedPassphrase {
  let given: SecretBytes | null = null;
  return {
    passphrase: async () => {
      given ??= await source();
      if (given !== null) return given;
      throw new Failure(
        'key_file_locked',
        'the key file cannot be opened: it is protected, and no passphrase is given',
      );
    },
    get isGiven() {
      return given !== null;
    },
    [Symbol.dispose]: () => given?.wipe(),
  };
}

/**
 * The passphrase of a protected key file, from a file: read anew each time, so that a change of it is picked up.
 *
 * A file that others can read is refused, as a key file is; a systemd credential is readable by its service alone. One line
 * end at its end is left off. No such file, or an empty one, is no passphrase.
 */

const lengthMax = 4096;
const readableByOthers = 0o007;

/** null when there is none. Throws `key_file_locked` when the file cannot be used. */
export async function readPassphraseFile(path: string | null): Promise<SecretBytes | null> {
  if (path === null) return null;
  try {
    await using file = await open(path, 'r');
    const { mode } = await file.stat();
    if ((mode & readableByOthers) !== 0) {
      const hint = `Close it: chmod o-rwx ${shellArg(path)}; and choose another passphrase if somebody may have read it.`;
      throw new Failure('key_file_locked', `the passphrase file ${path} can be read by everybody`, { hint });
    }
    const content = new Uint8Array(new ArrayBuffer(2 * lengthMax), 0, lengthMax + 2);
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
