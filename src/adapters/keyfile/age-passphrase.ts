/**
 * The passphrase stanza of an age file (age-encryption.org/v1, recipient type scrypt), done with bytes.
 *
 * The age library takes a passphrase as a string only, which cannot be wiped; so it is given a recipient and an identity
 * of ours, and makes and checks the rest of the header. Everything is checked, the work factor first of all, before the
 * passphrase is asked for and time and memory are spent. Errors: `key_file_refused` for a stanza that is not to be
 * opened, `key_file_locked` for a passphrase that is missing or wrong.
 */
import { createCipheriv, createDecipheriv, randomBytes, type ScryptOptions, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import type { Identity, Recipient, Stanza } from 'age-encryption';
import { causeCode, Failure } from '../../errors.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { scratch } from '../../secret/secret-bytes.ts';

/** The base-2 logarithm of scrypt's N. 18 costs 256 MiB of memory and about a second; 20 four times as much. */
export const workFactorDefault = 18;
export const workFactorMax = 20;

const kind = 'scrypt';
const saltLabel = 'age-encryption.org/v1/scrypt';
const saltBytes = 16;
const derivedBytes = 32;
const blockSize = 8;
export const fileKeyBytes = 16;
export const tagBytes = 16;
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
export function passphraseRecipient(
  age: Pick<typeof import('age-encryption'), 'Stanza'>,
  passphrase: SecretBytes,
  workFactor: number,
): Recipient {
  return {
    wrapFileKey: async (fileKey) => {
      const salt = randomBytes(saltBytes);
      const derived = await derive(passphrase, salt, workFactor);
      try {
        const sealer = createCipheriv(cipher, derived, zeroNonce, cipherOptions);
        const body = Buffer.concat([sealer.update(fileKey), sealer.final(), sealer.getAuthTag()]);
        return [new age.Stanza([kind, encode(salt), String(workFactor)], body)];
      } finally {
        derived.fill(0);
      }
    },
  };
}

/** Opens the file key, which the caller wipes. `passphrase` is asked for only when the stanza is one to be opened. */
export function passphraseIdentity(passphrase: () => Promise<SecretBytes>): Identity {
  return {
    unwrapFileKey: async (stanzas) => {
      const stanza = checkStanza(stanzas);
      const derived = await derive(await passphrase(), stanza.salt, stanza.workFactor);
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
  if (stanza === undefined || stanza.args[0] !== kind) throw refused('it is an age file, but not for a passphrase');
  // A second recipient would open the file without the passphrase; the format forbids it.
  if (stanzas.length !== 1) throw refused('it is an age file with another recipient beside the passphrase');
  const [, saltText = '', workFactorText = ''] = stanza.args;
  const salt = Buffer.from(saltText, 'base64');
  const isWellFormed =
    stanza.args.length === 3 &&
    salt.length === saltBytes &&
    encode(salt) === saltText &&
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
function encode(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replaceAll('=', '');
}

/** 32 bytes, which the caller wipes. */
async function derive(passphrase: SecretBytes, salt: Uint8Array, workFactor: number): Promise<Buffer> {
  const N = 2 ** workFactor;
  const options = { N, r: blockSize, p: 1, maxmem: 128 * blockSize * (N + 16) };
  try {
    return await passphrase.use((bytes) => deriveWith(bytes, labelled(salt), derivedBytes, options));
  } catch (error) {
    if (!/^ERR_(OSSL|CRYPTO)_/.test(causeCode(error))) throw error;
    const why = `its work factor of ${workFactor} takes ${N / 1024} MiB of memory, which there is not`;
    const hint = 'Free memory, or allow more of it: systemctl set-property ticketmaild MemoryMax=2G.';
    throw new Failure('key_file_refused', `the key file cannot be used: ${why}`, { cause: error, hint });
  }
}

function labelled(salt: Uint8Array): Uint8Array {
  return Buffer.concat([Buffer.from(saltLabel), salt]);
}

function openFileKey(body: Uint8Array, derived: Uint8Array): Uint8Array {
  const opener = createDecipheriv(cipher, derived, zeroNonce, cipherOptions);
  opener.setAuthTag(body.subarray(fileKeyBytes));
  const opened = opener.update(body.subarray(0, fileKeyBytes));
  const fileKey = scratch(fileKeyBytes);
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
