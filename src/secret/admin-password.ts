/**
 * Password hashing for admins: Argon2id (RFC 9106), in the PHC format `$argon2id$v=19$m=…,t=…,p=…$SALT$TAG`.
 *
 * The hash contains its parameters, so they can be raised later; a hash with lower ones is outdated. Parsing is strict:
 * a hash that costs more than the current parameters is rejected, since this program did not write it. No hash makes a
 * function here throw. Node computes the hash in its thread pool and wipes its copy of the password.
 */
import { argon2, timingSafeEqual } from 'node:crypto';
import type { SecretBytes } from './secret-bytes.ts';

type Argon2Parameters = { readonly memoryKib: number; readonly passes: number; readonly lanes: number };
type ParsedHash = Argon2Parameters & { readonly salt: Uint8Array; readonly tag: Uint8Array };

/** Second recommendation of RFC 9106 section 4: 64 MiB, 3 passes, 4 lanes, 16-byte salt, 32-byte tag. */
const current: Argon2Parameters = { memoryKib: 65_536, passes: 3, lanes: 4 };
const tagBytes = 32;

export const adminSaltBytes = 16;
export const adminPasswordBytesMin = 12;
const adminPasswordBytesMax = 1024;

const hashPattern =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d?),p=([1-9]\d?)\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43,86})$/;

/** Why a new password is not accepted, as one sentence; null: it is. Lengths are in bytes as typed. */
export function adminPasswordProblem({ length }: SecretBytes): string | null {
  if (length < adminPasswordBytesMin) return `the password is too short: at least ${adminPasswordBytesMin} bytes`;
  return length > adminPasswordBytesMax ? `the password is too long: at most ${adminPasswordBytesMax} bytes` : null;
}

/** The hash to store. `salt`: 16 random bytes, used for this hash only. */
export async function hashAdminPassword(password: SecretBytes, salt: Uint8Array): Promise<string> {
  if (salt.length !== adminSaltBytes) throw new Error(`a salt has ${adminSaltBytes} bytes`);
  return formatHash({ ...current, salt, tag: await tagOf(password, { ...current, salt }, tagBytes) });
}

/**
 * `isOutdated`: hashed with lower parameters than the current ones. A malformed hash is `ok: false`, without any work.
 */
export async function verifyAdminPassword(
  password: SecretBytes,
  hash: string,
): Promise<{ readonly ok: boolean; readonly isOutdated: boolean }> {
  const parsed = parseHash(hash);
  if (parsed === null) return { ok: false, isOutdated: false };
  const tag = await tagOf(password, parsed, parsed.tag.length);
  return { ok: timingSafeEqual(tag, parsed.tag), isOutdated: isOutdated(parsed) };
}

/** Decoy hash with random salt and tag: verifying it takes as long as a real one, and no password matches. */
export function decoyHash(random: (bytes: Uint8Array) => Uint8Array): string {
  const salt = random(new Uint8Array(adminSaltBytes));
  return formatHash({ ...current, salt, tag: random(new Uint8Array(tagBytes)) });
}

function tagOf(
  password: SecretBytes,
  { memoryKib, passes, lanes, salt }: Argon2Parameters & { readonly salt: Uint8Array },
  tagLength: number,
): Promise<Uint8Array> {
  const { promise, resolve, reject } = Promise.withResolvers<Uint8Array>();
  password.use((message) => {
    const parameters = { message, nonce: salt, parallelism: lanes, memory: memoryKib, passes, tagLength };
    argon2('argon2id', parameters, (error, tag) => (error === null ? resolve(tag) : reject(error)));
  });
  return promise;
}

/** null: not a hash that this program writes. RFC 9106 section 3.1: at least 8 KiB of memory per lane. */
function parseHash(hash: string): ParsedHash | null {
  const [, memory, passes, lanes, salt, tag] = hashPattern.exec(hash) ?? [];
  if (salt === undefined || tag === undefined) return null;
  const parameters = { memoryKib: Number(memory), passes: Number(passes), lanes: Number(lanes) };
  if (parameters.memoryKib < 8 * parameters.lanes || !isAtMost(parameters, current)) return null;
  const parsed = { ...parameters, salt: Buffer.from(salt, 'base64'), tag: Buffer.from(tag, 'base64') };
  // Canonical base64 only: no stray bits in the last character.
  return formatHash(parsed) === hash ? parsed : null;
}

function isAtMost(one: Argon2Parameters, other: Argon2Parameters): boolean {
  return one.memoryKib <= other.memoryKib && one.passes <= other.passes && one.lanes <= other.lanes;
}

function isOutdated(parsed: ParsedHash): boolean {
  return !isAtMost(current, parsed) || parsed.salt.length < adminSaltBytes || parsed.tag.length < tagBytes;
}

function formatHash({ memoryKib, passes, lanes, salt, tag }: ParsedHash): string {
  return `$argon2id$v=19$m=${memoryKib},t=${passes},p=${lanes}$${base64(salt)}$${base64(tag)}`;
}

function base64(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64').replace(/=+$/, '');
}
