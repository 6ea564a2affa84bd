/**
 * How often somebody may try to sign in: from one address, and under one name from wherever.
 *
 * The database counts, an address for all workers of it together, a name for each worker by itself; each attempt is counted
 * before it is known what becomes of it, and one that succeeds is given back. An address that is over its limit is
 * remembered here: however fast it goes on, the database hears of it every few seconds only, which is often enough to
 * notice that somebody on the host made it forget.
 */

import { createHash, createHmac } from 'node:crypto';
import type { Clock } from '../../async/clock.ts';
import type { EncryptionStore } from '../../encryption/ports.ts';
import { events, type Log } from '../../events.ts';
import type { AuditActor } from '../../ingest/model.ts';
import { type AdminStore, adminAudit, pageActor } from '../ports.ts';

/** `nameBucket`: see attempt-buckets.ts. */
export type SignInAttempt = { readonly address: string; readonly nameBucket: string };

type AttemptPorts = {
  readonly store: Pick<AdminStore, 'countAttempt' | 'uncountAttempt' | 'clearAttempts'> &
    Pick<EncryptionStore, 'audit'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly actor: AuditActor;
  readonly log: Log;
};

/** What rejects does so with `database_*`. */
export type AttemptLimits = {
  /** The seconds that an address has to wait, without asking the database; null: it must be asked. */
  blockedForS(address: string): number | null;
  /** Counts it. Gives the seconds to wait, or null within the limits. */
  count(attempt: SignInAttempt): Promise<number | null>;
  /** It succeeded: its name begins anew, and its address has one more. */
  recordSuccess(attempt: SignInAttempt): Promise<void>;
};

export const attemptLimits = { windowMs: 15 * 60_000, perAddress: 20, perName: 50, recheckMs: 3_000 } as const;
const rememberedMax = 1000;

export function createAttemptLimits(ports: AttemptPorts): AttemptLimits {
  const { perAddress, perName, recheckMs: askAgainMs } = attemptLimits;
  const { clock, store } = ports;
  /** Until when the address of a bucket has to wait, and from when on it is asked again whether that is still so. */
  const resting = new Map<string, { readonly untilMs: number; readonly askFromMs: number }>();
  const remember = (bucket: string, untilMs: number): void => {
    const [oldest] = resting.keys();
    if (resting.size >= rememberedMax && oldest !== undefined) resting.delete(oldest);
    resting.set(bucket, { untilMs, askFromMs: clock.nowMs() + askAgainMs });
  };
  return {
    blockedForS(address) {
      const bucket = addressBucket(address);
      const { untilMs = 0, askFromMs = 0 } = resting.get(bucket) ?? {};
      const nowMs = clock.nowMs();
      // A clock that was set back makes nothing longer.
      if (nowMs < untilMs && nowMs < askFromMs && askFromMs - nowMs <= askAgainMs) return seconds(untilMs - nowMs);
      resting.delete(bucket);
      // Of many at once one asks.
      if (nowMs < untilMs) remember(bucket, untilMs);
      return null;
    },
    async count({ nameBucket, address }) {
      const bucket = addressBucket(address);
      const ofAddress = await count(ports, bucket, { max: perAddress, about: 'address', address });
      if (ofAddress !== null) {
        remember(bucket, clock.nowMs() + ofAddress);
        return seconds(ofAddress);
      }
      resting.delete(bucket);
      // An address that is over its limit does not use up that of the name.
      const ofName = await count(ports, nameBucket, { max: perName, about: 'name', address });
      return ofName === null ? null : seconds(ofName);
    },
    async recordSuccess({ nameBucket, address }) {
      await store.clearAttempts(nameBucket);
      await store.uncountAttempt(addressBucket(address));
    },
  };
}

function seconds(ms: number): number {
  return Math.max(1, Math.ceil(ms / 1000));
}

type Limit = { readonly max: number; readonly about: 'address' | 'name'; readonly address: string };

/** How long the bucket has to wait; null: not at all. */
async function count(ports: AttemptPorts, bucket: string, limit: Limit): Promise<number | null> {
  const { count: tries, endsInMs } = await ports.store.countAttempt(bucket, attemptLimits.windowMs);
  // Counted one by one, so exactly one is the first that is too many: it is told, the others are not.
  if (tries === limit.max + 1) await tellLimited(ports, limit);
  return tries > limit.max ? endsInMs : null;
}

async function tellLimited({ store, actor, log }: AttemptPorts, { about, address }: Limit): Promise<void> {
  const who = pageActor(null);
  log.warn({ reason: 'sign_in_limited', who: null, address, about }, events.adminRefused);
  await store.audit([adminAudit({ ...actor, who }, 'admin.sign_in_limited', `limit of the ${about}, ${address}`)]);
}

/**
 * Under which bucket an attempt to sign in is counted: one of the client's address, one of the name that was typed.
 *
 * What people type into the field of a name may be a password, so its bucket says nothing to whoever reads the database: it is
 * an HMAC under a key that this process alone knows.
 */

/** 64 hex digits, of the group of the address. */
export function addressBucket(address: string): string {
  return createHash('sha256')
    .update(`address:${addressGroup(address).toWellFormed()}`)
    .digest('hex');
}

/**
 * 64 hex digits; the same for every case of the letters. A name whose password was changed since begins anew: that is the way
 * out for somebody whose name others have used up. `changedAtMs` null: there is no such account.
 */
export function nameBucket(key: Uint8Array, name: string, changedAtMs: number | null): string {
  const text = name.normalize('NFC').toLowerCase().toWellFormed();
  return createHmac('sha256', key)
    .update(`name:${changedAtMs ?? 0}:${text}`)
    .digest('hex');
}

/**
 * Addresses that one client may choose from: of IPv6 the /64, which one has as a whole (RFC 6177); all of this machine
 * (127.0.0.0/8, RFC 1122 section 3.2.1.3; ::1, RFC 4291 section 2.5.3) as `loopback`; an IPv4 address as it is, however
 * it is written (mapped ones: RFC 4291 section 2.5.5.2).
 */
export function addressGroup(address: string): string {
  const ipv6 = address.includes(':') ? groupsOf(address) : null;
  const ipv4 = ipv6 === null ? address : mappedIn(ipv6);
  if (ipv4 !== null) return /^127(?:\.\d{1,3}){3}$/.test(ipv4) ? loopback : ipv4;
  const text = (ipv6 ?? []).join(':');
  return text === '0:0:0:0:0:0:0:1' ? loopback : `${text.split(':', 4).join(':')}::/64`;
}

const loopback = 'loopback';

/** The eight groups of 16 bits of an IPv6 address, in hex without leading zeros. */
function groupsOf(address: string): readonly string[] {
  const [head = '', tail] = (address.split('%')[0] ?? '').toLowerCase().split('::');
  const first = groups(head);
  const last = tail === undefined ? [] : groups(tail);
  const zeros = Array.from({ length: Math.max(0, 8 - first.length - last.length) }, () => '0');
  return [...first, ...zeros, ...last];
}

/** A dotted end is two of them. */
function groups(text: string): readonly string[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [group.replace(/^0+(?=.)/, '')];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [a * 256 + b, c * 256 + d].map((number) => number.toString(16));
  });
}

/** The IPv4 address in `::ffff:0:0/96`, with dots; null: it is no such address. */
function mappedIn(ipv6: readonly string[]): string | null {
  const [, high = '', low = ''] = /^(?:0:){5}ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(ipv6.join(':')) ?? [];
  if (high === '') return null;
  const bytes = [high, low].map((group) => Number.parseInt(group, 16)).flatMap((number) => [number >> 8, number & 255]);
  return bytes.join('.');
}
