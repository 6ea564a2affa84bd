/**
 * Signing in to the admin page, staying signed in, and signing out.
 *
 * What a browser holds is a random token; the database has its SHA-256 alone, so nobody who reads the database is anybody.
 * An attempt is counted before its password is looked at, so that many at once get no further than many in a row, and when
 * its turn has come, so that none is used up by being sent away; a name that does not exist costs the same and gets the
 * same answer. Rejects with `database_*` alone.
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
  /** An admin session ends when nothing is asked for so long. */
  readonly idleMs: () => number;
  readonly actor: AuditActor;
  readonly log: Log;
};

export type SignIn = Pick<AdminService, 'signIn' | 'session' | 'signOut' | 'hasNoAccount'>;

const minuteMs = 60_000;
/** Those who wait cost next to nothing, and are answered in time. */
const hashes = { runningMax: 2, waitingMax: 32 };
/** However busy somebody is: so long after it began an admin session is over. */
const sessionMsMax = 12 * 60 * minuteMs;
const tokenBytes = 32;
const tokenForm = /^[A-Za-z0-9_-]{43}$/;

type Parts = SignInPorts & {
  readonly limits: AttemptLimits;
  readonly turns: FairSemaphore;
  readonly decoy: string;
  /** Of the buckets of names. */
  readonly bucketKey: Uint8Array;
};

export function createSignIn(ports: SignInPorts): SignIn {
  const parts = {
    ...ports,
    limits: createAttemptLimits(ports),
    turns: createFairSemaphore(hashes),
    decoy: decoyHash(ports.random),
    bucketKey: ports.random(new Uint8Array(tokenBytes)),
  };
  const { store } = ports;
  return {
    async signIn(name, password, address) {
      using secret = password;
      return await signIn(parts, name, address, secret);
    },
    session: (token, isUse) => sessionOf(ports, token, isUse),
    async signOut(token) {
      if (tokenForm.test(token)) await store.removeSession(hashOf(token));
    },
    hasNoAccount: async () => (await store.countAccounts()) === 0,
  };
}

async function signIn(parts: Parts, name: string, address: string, password: SecretBytes): Promise<SignInResult> {
  const { limits, turns } = parts;
  const restS = limits.blockedForS(address);
  if (restS !== null) return { kind: 'limited', retryAfterS: restS };
  const looked = await turns.run(addressGroup(address), () => verifyAttempt(parts, name, address, password));
  if (looked === null) return { kind: 'busy' };
  if ('retryAfterS' in looked) return { kind: 'limited', ...looked };
  const { account, attempt, verified } = looked;
  const answer = account !== null && verified.ok ? await openSession(parts, account, address) : null;
  if (account === null || answer === null) return await recordFailure(parts, account, address);
  await limits.recordSuccess(attempt);
  if (verified.isOutdated) await upgradeHash(parts, account, address, password);
  return answer;
}

type VerifiedAttempt = {
  readonly account: AdminAccount | null;
  readonly attempt: SignInAttempt;
  readonly verified: Awaited<ReturnType<typeof verifyAdminPassword>>;
};

/** Counts the attempt and, within the limits, looks at the password. */
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

/** Null: the password was changed, or the account removed, while this one was looked at. */
async function openSession(parts: Parts, account: AdminAccount, address: string): Promise<SignInResult | null> {
  const { store, clock, actor, log, idleMs } = parts;
  const nowMs = clock.nowMs();
  const token = base64url(parts.random(new Uint8Array(tokenBytes)));
  await store.removeSessionsBefore(nowMs - idleMs(), nowMs - sessionMsMax);
  const audit = adminAudit({ ...actor, who: pageActor(account.name) }, 'admin.signed_in', address);
  if (!(await store.addSession(hashOf(token), account, nowMs, audit))) return null;
  log.info({ who: account.name, address }, events.adminSignedIn);
  return { kind: 'signed_in', token, session: sessionFrom(token, account, nowMs) };
}

/** The hash under the parameters of now. Whoever is in stays in when it cannot be had: the next sign-in tries again. */
async function upgradeHash(
  { store, turns, random }: Parts,
  account: AdminAccount,
  address: string,
  password: SecretBytes,
): Promise<void> {
  const salt = random(new Uint8Array(adminSaltBytes));
  const hash = await turns.run(addressGroup(address), () => hashAdminPassword(password, salt));
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
  return sessionFrom(token, stored.account, stored.createdAtMs);
}

/** A write for each page would be too many; the shortest of idle times is a minute. */
function touchAfterMs(idleMs: number): number {
  return Math.min(minuteMs, idleMs / 10);
}

function sessionFrom(token: string, account: AdminAccount, signedInAtMs: number): AdminSession {
  return { accountId: account.id, name: account.name, csrf: csrfOf(token), signedInAtMs };
}

/** Whoever knows it knows nothing of the token. */
function csrfOf(token: string): string {
  return createHash('sha256').update('ticketmaild csrf\0').update(token).digest('base64url');
}

function hashOf(token: string): string {
  return createHash('sha256').update(token).digest('hex');
}

function base64url(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('base64url');
}
