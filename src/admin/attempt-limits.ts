/**
 * How often somebody may try to sign in: from one address, and under one name from wherever.
 *
 * The database counts, an address for all workers of it together, a name for each worker by itself; each attempt is counted
 * before it is known what becomes of it, and one that succeeds is given back. An address that is over its limit is
 * remembered here: however fast it goes on, the database hears of it every few seconds only, which is often enough to
 * notice that somebody on the host made it forget.
 */

import type { Clock } from '../async/clock.ts';
import type { EncryptionStore } from '../encryption/ports.ts';
import { events, type Log } from '../events.ts';
import type { Author } from '../ingest/model.ts';
import { addressBucket } from './attempt-buckets.ts';
import { adminAudit, whoOnPage } from './names.ts';
import type { AdminStore } from './ports.ts';

/** `nameBucket`: see attempt-buckets.ts. */
export type Attempt = { readonly address: string; readonly nameBucket: string };

export type AttemptPorts = {
  readonly store: Pick<AdminStore, 'countAttempt' | 'returnAttempt' | 'forgetAttempts'> &
    Pick<EncryptionStore, 'audit'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly author: Author;
  readonly log: Log;
};

/** What rejects does so with `database_*`. */
export type AttemptLimits = {
  /** The seconds that an address has to wait, without asking the database; null: it must be asked. */
  restOf(address: string): number | null;
  /** Counts it. Gives the seconds to wait, or null within the limits. */
  count(attempt: Attempt): Promise<number | null>;
  /** It succeeded: its name begins anew, and its address has one more. */
  succeed(attempt: Attempt): Promise<void>;
};

export const attemptLimits = { windowMs: 15 * 60_000, perAddress: 20, perName: 50, askAgainMs: 3_000 } as const;
const rememberedMax = 1000;

export function createAttemptLimits(ports: AttemptPorts): AttemptLimits {
  const { perAddress, perName, askAgainMs } = attemptLimits;
  const { clock, store } = ports;
  /** Until when the address of a bucket has to wait, and from when on it is asked again whether that is still so. */
  const resting = new Map<string, { readonly untilMs: number; readonly askFromMs: number }>();
  const remember = (bucket: string, untilMs: number): void => {
    const [oldest] = resting.keys();
    if (resting.size >= rememberedMax && oldest !== undefined) resting.delete(oldest);
    resting.set(bucket, { untilMs, askFromMs: clock.nowMs() + askAgainMs });
  };
  return {
    restOf(address) {
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
    async succeed({ nameBucket, address }) {
      await store.forgetAttempts(nameBucket);
      await store.returnAttempt(addressBucket(address));
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

async function tellLimited({ store, author, log }: AttemptPorts, { about, address }: Limit): Promise<void> {
  const who = whoOnPage(null);
  log.warn({ reason: 'sign_in_limited', who: null, address, about }, events.adminRefused);
  await store.audit([adminAudit({ ...author, who }, 'admin.sign_in_limited', `limit of the ${about}, ${address}`)]);
}
