/**
 * Sign-in with Argon2id passwords and random session tokens, of which the database stores the SHA-256 only.
 *
 * An attempt is counted before its password is verified, so parallel attempts gain nothing; and only once a hashing
 * slot is free, so that a rejected one costs none. An unknown name takes the same time and gets the same result.
 * Rejects with `database_*` only.
 */
import { createHash } from 'node:crypto';
import type { Clock } from '../../async/clock.ts';
import { createFairSemaphore, type FairSemaphore } from '../../async/semaphore.ts';
import type { EncryptionStore } from '../../encryption/ports.ts';
import { events, type Log } from '../../events.ts';
import type { AuditActor } from '../../ingest/model.ts';
import { adminSaltBytes, decoyHash, hashAdminPassword, verifyAdminPassword } from '../../secret/admin-password.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import type { AdminAccount, AdminStore } from '../ports.ts';
import { adminAudit, isAdminName, pageActor } from '../ports.ts';
import type { AdminService, AdminSession, SignInResult } from '../service.ts';
import { type AttemptLimits, addressGroup, createAttemptLimits, nameBucket, type SignInAttempt } from './limits.ts';

export type SignInPorts = {
  readonly store: AdminStore & Pick<EncryptionStore, 'audit'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  /** Fills bytes, as randomFillSync of node:crypto does. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
  /** Idle timeout of a session. */
  readonly idleMs: () => number;
  readonly actor: AuditActor;
  readonly log: Log;
};

/** The result of a password that an admin gave again, in a session that is open. */
export type PasswordVerdict = 'right' | 'wrong' | 'limited';

export type SignIn = Pick<AdminService, 'signIn' | 'session' | 'signOut' | 'hasNoAccount'> & {
  /** Step-up authentication: under the limits of a sign-in. Borrows the password. */
  verifyPassword(name: string, password: SecretBytes, address: string): Promise<PasswordVerdict>;
};

const minuteMs = 60_000;
/** A hash takes 64 MiB and a good part of a second of a core. */
const hashing = { runningMax: 2, waitingMax: 32 };
/** Absolute lifetime of a session. */
const sessionMsMax = 12 * 60 * minuteMs;
const tokenBytes = 32;
const tokenForm = /^[A-Za-z0-9_-]{43}$/;

type Parts = SignInPorts & {
  readonly limits: AttemptLimits;
  readonly hashSlots: FairSemaphore;
  readonly decoy: string;
  /** HMAC key for the buckets of names. */
  readonly bucketKey: Uint8Array;
};

export function createSignIn(ports: SignInPorts): SignIn {
  const parts = {
    ...ports,
    limits: createAttemptLimits(ports),
    hashSlots: createFairSemaphore(hashing),
    decoy: decoyHash(ports.random),
    bucketKey: ports.random(new Uint8Array(tokenBytes)),
  };
  const { store } = ports;
  return {
    async signIn(name, password, address) {
      using secret = password;
      return await signIn(parts, name, address, secret);
    },
    verifyPassword: (name, password, address) => verifyAgain(parts, name, address, password),
    session: (token, isUse) => sessionOf(ports, token, isUse),
    async signOut(token) {
      if (tokenForm.test(token)) await store.removeSession(hashOf(token));
    },
    hasNoAccount: async () => (await store.countAccounts()) === 0,
  };
}

async function signIn(parts: Parts, name: string, address: string, password: SecretBytes): Promise<SignInResult> {
  const { limits, hashSlots } = parts;
  const blockedS = limits.blockedForS(address);
  if (blockedS !== null) return { kind: 'limited', retryAfterS: blockedS };
  const checked = await hashSlots.run(addressGroup(address), () => verifyAttempt(parts, name, address, password));
  if (checked === null) return { kind: 'busy' };
  if ('retryAfterS' in checked) return { kind: 'limited', ...checked };
  const { account, attempt, verified } = checked;
  const result = account !== null && verified.ok ? await openSession(parts, account, address) : null;
  if (account === null || result === null) return await recordFailure(parts, account, address);
  await limits.recordSuccess(attempt);
  if (verified.isOutdated) await upgradeHash(parts, account, address, password);
  return result;
}

type VerifiedAttempt = {
  readonly account: AdminAccount | null;
  readonly attempt: SignInAttempt;
  readonly verified: Awaited<ReturnType<typeof verifyAdminPassword>>;
};

/** Counts the attempt and, within the limits, verifies the password. */
async function verifyAttempt(
  { store, bucketKey, limits, decoy }: Parts,
  name: string,
  address: string,
  password: SecretBytes,
): Promise<VerifiedAttempt | { readonly retryAfterS: number }> {
  const account = isAdminName(name.normalize('NFC')) ? await store.accountByName(name) : null;
  const attempt = { address, nameBucket: nameBucket(bucketKey, name, account?.passwordChangedAtMs ?? null) };
  const retryAfterS = await limits.count(attempt);
  if (retryAfterS !== null) return { retryAfterS };
  return { account, attempt, verified: await verifyAdminPassword(password, account?.passwordHash ?? decoy) };
}

/** A wrong one is recorded as a refused sign-in is. */
async function verifyAgain(
  parts: Parts,
  name: string,
  address: string,
  password: SecretBytes,
): Promise<PasswordVerdict> {
  const { limits, hashSlots } = parts;
  if (limits.blockedForS(address) !== null) return 'limited';
  const checked = await hashSlots.run(addressGroup(address), () => verifyAttempt(parts, name, address, password));
  if (checked === null || 'retryAfterS' in checked) return 'limited';
  const { account, attempt, verified } = checked;
  if (account !== null && verified.ok) {
    await limits.recordSuccess(attempt);
    return 'right';
  }
  await recordFailure(parts, account, address);
  return 'wrong';
}

async function recordFailure(
  { store, actor, log }: Parts,
  account: AdminAccount | null,
  address: string,
): Promise<SignInResult> {
  const name = account?.name ?? null;
  log.warn({ reason: 'sign_in_refused', who: name, address, about: 'sign-in' }, events.adminRefused);
  await store.audit([adminAudit({ ...actor, who: pageActor(name) }, 'admin.sign_in_refused', address)]);
  return { kind: 'refused' };
}

/** null: the password was changed or the account removed during verification. */
async function openSession(parts: Parts, account: AdminAccount, address: string): Promise<SignInResult | null> {
  const { store, clock, actor, log, idleMs } = parts;
  const nowMs = clock.nowMs();
  const token = Buffer.from(parts.random(new Uint8Array(tokenBytes))).toString('base64url');
  await store.removeSessionsBefore(nowMs - idleMs(), nowMs - sessionMsMax);
  const audit = adminAudit({ ...actor, who: pageActor(account.name) }, 'admin.signed_in', address);
  if (!(await store.addSession(hashOf(token), account, nowMs, audit))) return null;
  log.info({ who: account.name, address }, events.adminSignedIn);
  return { kind: 'signed_in', token, session: sessionFrom(token, account) };
}

/** Stores a hash with the current parameters. When there is no hashing slot, the next sign-in tries again. */
async function upgradeHash(
  { store, hashSlots, random }: Parts,
  account: AdminAccount,
  address: string,
  password: SecretBytes,
): Promise<void> {
  const salt = random(new Uint8Array(adminSaltBytes));
  const hash = await hashSlots.run(addressGroup(address), () => hashAdminPassword(password, salt));
  if (hash !== null) await store.upgradePasswordHash(account.id, account.passwordHash, hash);
}

async function sessionOf(
  { store, clock, idleMs }: SignInPorts,
  token: string,
  isUse: boolean,
): Promise<AdminSession | null> {
  if (!tokenForm.test(token)) return null;
  const tokenHash = hashOf(token);
  const stored = await store.readSession(tokenHash);
  if (stored === null) return null;
  const nowMs = clock.nowMs();
  const unseenMs = nowMs - stored.seenAtMs;
  if (unseenMs >= idleMs() || nowMs - stored.createdAtMs >= sessionMsMax) {
    await store.removeSession(tokenHash);
    return null;
  }
  if (isUse && unseenMs >= touchAfterMs(idleMs())) await store.touchSession(tokenHash, nowMs);
  return sessionFrom(token, stored.account);
}

/** Limits writes to one per interval, well below the idle timeout (at least a minute). */
function touchAfterMs(idleMs: number): number {
  return Math.min(minuteMs, idleMs / 10);
}

/** The CSRF token is derived from the session token, which it does not reveal. */
function sessionFrom(token: string, { name }: AdminAccount): AdminSession {
  return { name, csrf: createHash('sha256').update('ticketmaild csrf\0').update(token).digest('base64url') };
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}
