/**
 * Rate limits for sign-in: 20 attempts per address and 50 per name in 15 minutes, counted in the database.
 *
 * An address counts for all workers of the database, a name for each worker alone. Each attempt is counted before its
 * outcome is known; a successful one is subtracted. A blocked address is cached here: the database is asked about it
 * every 3 s only, which also shows when an admin on the host cleared the counters.
 */
import { createHash, createHmac } from 'node:crypto';
import type { Clock } from '../../async/clock.ts';
import type { EncryptionStore } from '../../encryption/ports.ts';
import { events, type Log } from '../../events.ts';
import type { AuditActor } from '../../ingest/model.ts';
import { type AdminStore, adminAudit, pageActor } from '../ports.ts';

export type SignInAttempt = { readonly address: string; readonly nameBucket: string };

type AttemptPorts = {
  readonly store: Pick<AdminStore, 'countAttempt' | 'uncountAttempt' | 'clearAttempts'> &
    Pick<EncryptionStore, 'audit'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly actor: AuditActor;
  readonly log: Log;
};

/** Rejects with `database_*` only. */
export type AttemptLimits = {
  /** Seconds until a blocked address may try again, from the cache; null: the database has to be asked. */
  blockedForS(address: string): number | null;
  /** Counts the attempt. Returns the seconds to wait, or null within the limits. */
  count(attempt: SignInAttempt): Promise<number | null>;
  /** Clears the counter of the name, and subtracts one from that of the address. */
  recordSuccess(attempt: SignInAttempt): Promise<void>;
};

export const attemptLimits = { windowMs: 15 * 60_000, perAddress: 20, perName: 50, recheckMs: 3_000 } as const;
const blockedMax = 1000;

export function createAttemptLimits(ports: AttemptPorts): AttemptLimits {
  const { perAddress, perName, recheckMs } = attemptLimits;
  const { clock, store } = ports;
  /** Blocked buckets of addresses; the database is asked again from `recheckAtMs` on. */
  const blocked = new Map<string, { readonly untilMs: number; readonly recheckAtMs: number }>();
  const block = (bucket: string, untilMs: number): void => {
    const [oldest] = blocked.keys();
    if (blocked.size >= blockedMax && oldest !== undefined) blocked.delete(oldest);
    blocked.set(bucket, { untilMs, recheckAtMs: clock.nowMs() + recheckMs });
  };
  return {
    blockedForS(address) {
      const bucket = addressBucket(address);
      const { untilMs = 0, recheckAtMs = 0 } = blocked.get(bucket) ?? {};
      const nowMs = clock.nowMs();
      // A clock that was set back prolongs nothing.
      if (nowMs < untilMs && nowMs < recheckAtMs && recheckAtMs - nowMs <= recheckMs) return seconds(untilMs - nowMs);
      blocked.delete(bucket);
      // Of concurrent attempts, one asks the database.
      if (nowMs < untilMs) block(bucket, untilMs);
      return null;
    },
    async count({ nameBucket, address }) {
      const bucket = addressBucket(address);
      const ofAddress = await count(ports, bucket, { max: perAddress, about: 'address', address });
      if (ofAddress !== null) {
        block(bucket, clock.nowMs() + ofAddress);
        return seconds(ofAddress);
      }
      blocked.delete(bucket);
      // A blocked address does not use up the limit of the name.
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

/** Milliseconds until the bucket is free; null: it is. */
async function count(ports: AttemptPorts, bucket: string, limit: Limit): Promise<number | null> {
  const { count: tries, endsInMs } = await ports.store.countAttempt(bucket, attemptLimits.windowMs);
  // Counters increase one by one: exactly one attempt is the first above the limit, and it alone is reported.
  if (tries === limit.max + 1) await reportLimited(ports, limit);
  return tries > limit.max ? endsInMs : null;
}

async function reportLimited({ store, actor, log }: AttemptPorts, { about, address }: Limit): Promise<void> {
  const who = pageActor(null);
  log.warn({ reason: 'sign_in_limited', who: null, address, about }, events.adminRefused);
  await store.audit([adminAudit({ ...actor, who }, 'admin.sign_in_limited', `limit of the ${about}, ${address}`)]);
}

// Buckets: the key of a counter, one for the address and one for the typed name. People type passwords into the name
// field, so the bucket of a name is an HMAC under a key of this process, and reveals nothing to a reader of the
// database.

/** 64 hex digits, for the group of the address. */
export function addressBucket(address: string): string {
  return createHash('sha256')
    .update(`address:${addressGroup(address).toWellFormed()}`)
    .digest('hex');
}

/**
 * 64 hex digits; independent of case. A changed password starts a new bucket: the way out for an admin whose name
 * strangers have blocked. `changedAtMs` null: there is no such account.
 */
export function nameBucket(key: Uint8Array, name: string, changedAtMs: number | null): string {
  const text = name.normalize('NFC').toLowerCase().toWellFormed();
  return createHmac('sha256', key)
    .update(`name:${changedAtMs ?? 0}:${text}`)
    .digest('hex');
}

/**
 * Addresses that belong to one client: the /64 of IPv6 (RFC 6177); `loopback` for 127.0.0.0/8 (RFC 1122 section
 * 3.2.1.3) and ::1 (RFC 4291 section 2.5.3); an IPv4 address itself, also when it is mapped (RFC 4291 section 2.5.5.2).
 */
export function addressGroup(address: string): string {
  const ipv6 = address.includes(':') ? groupsOf(address) : null;
  const ipv4 = ipv6 === null ? address : mappedIn(ipv6);
  if (ipv4 !== null) return /^127(?:\.\d{1,3}){3}$/.test(ipv4) ? loopback : ipv4;
  const text = (ipv6 ?? []).join(':');
  return text === '0:0:0:0:0:0:0:1' ? loopback : `${text.split(':', 4).join(':')}::/64`;
}

const loopback = 'loopback';

/** The eight 16-bit groups of an IPv6 address, in hex without leading zeros. The URL parser makes it canonical. */
function groupsOf(address: string): readonly string[] {
  const canonical = URL.parse(`http://[${address.split('%', 1)}]`)?.hostname.slice(1, -1) ?? '';
  const [first = [], last = []] = canonical.split('::').map((part) => part.split(':').filter((group) => group !== ''));
  return [...first, ...Array.from({ length: 8 - first.length - last.length }, () => '0'), ...last];
}

/** The dotted IPv4 address in `::ffff:0:0/96`; null: another address. */
function mappedIn(ipv6: readonly string[]): string | null {
  const [, high = '', low = ''] = /^(?:0:){5}ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(ipv6.join(':')) ?? [];
  if (high === '') return null;
  const bytes = [high, low].map((group) => Number.parseInt(group, 16)).flatMap((number) => [number >> 8, number & 255]);
  return bytes.join('.');
}
