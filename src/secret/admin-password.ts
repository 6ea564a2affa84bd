/**
 * Passwords of admins, one way: Argon2id (RFC 9106), as `$argon2id$v=19$m=…,t=…,p=…$SALT$TAG` (the PHC string format).
 *
 * The parameters stand in the hash, so that they can be raised: what was made with less is outdated. A hash is read
 * strictly, and one that would cost more than those of now is no hash: its row was not written by us. Nothing is thrown
 * for any hash; the work is done on a thread of Node's, which wipes its copy of the password.
 */
import { argon2, timingSafeEqual } from 'node:crypto';
import type { SecretBytes } from './secret-bytes.ts';

type Argon2Parameters = { readonly memoryKib: number; readonly passes: number; readonly lanes: number };
type ParsedHash = Argon2Parameters & { readonly salt: Uint8Array; readonly tag: Uint8Array };

/** The second recommendation of RFC 9106 section 4: 64 MiB, 3 passes, 4 lanes, a salt of 16 bytes, a tag of 32. */
const current: Argon2Parameters = { memoryKib: 65_536, passes: 3, lanes: 4 };
const tagBytes = 32;

export const adminSaltBytes = 16;
const adminPasswordBytesMin = 12;
const adminPasswordBytesMax = 1024;

const hashPattern =
  /^\$argon2id\$v=19\$m=([1-9]\d{0,6}),t=([1-9]\d?),p=([1-9]\d?)\$([A-Za-z0-9+/]{11,86})\$([A-Za-z0-9+/]{43,86})$/;

/** What is wrong with a new password, as one sentence; null: nothing. Bytes count as they were typed. */
export function adminPasswordProblem({ length }: SecretBytes): string | null {
  if (length < adminPasswordBytesMin) return `the password is too short: at least ${adminPasswordBytesMin} bytes`;
  return length > adminPasswordBytesMax ? `the password is too long: at most ${adminPasswordBytesMax} bytes` : null;
}

/** The hash to store. `salt`: 16 random bytes, for this hash alone. */
export async function hashAdminPassword(password: SecretBytes, salt: Uint8Array): Promise<string> {
  if (salt.length !== adminSaltBytes) throw new Error(`a salt has ${adminSaltBytes} bytes`);
  return formatHash({ ...current, salt, tag: await tagOf(password, { ...current, salt }, tagBytes) });
}

/** `isOutdated`: the parameters were raised since. A hash that is not ours is not ok, at once. */
export async function verifyAdminPassword(
  password: SecretBytes,
  hash: string,
): Promise<{ readonly ok: boolean; readonly isOutdated: boolean }> {
  const parsed = parseHash(hash);
  if (parsed === null) return { ok: false, isOutdated: false };
  const tag = await tagOf(password, parsed, parsed.tag.length);
  return { ok: timingSafeEqual(tag, parsed.tag), isOutdated: isOutdated(parsed) };
}

/** A hash that costs what a new one costs and that no password has: both its halves are random. */
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

/** RFC 9106 section 3.1: the memory is 8 KiB for each lane at least. Null: not a hash of ours. */
function parseHash(hash: string): ParsedHash | null {
  const [, memory, passes, lanes, salt, tag] = hashPattern.exec(hash) ?? [];
  if (salt === undefined || tag === undefined) return null;
  const parameters = { memoryKib: Number(memory), passes: Number(passes), lanes: Number(lanes) };
  if (parameters.memoryKib < 8 * parameters.lanes || !isAtMost(parameters, current)) return null;
  const parsed = { ...parameters, salt: Buffer.from(salt, 'base64'), tag: Buffer.from(tag, 'base64') };
  // Only the one spelling of the bytes: nothing may hang over at the end.
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
