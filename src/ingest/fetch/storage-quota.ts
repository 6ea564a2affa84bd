/**
 * Admission control for the disk under data_dir: while free space is below the reserve, a mailbox that stored more than
 * its quota within the hour rests, so that a flood from one server leaves room for the others.
 *
 * The quota is an eighth of what is free, from 1 MB to 100 MB: it shrinks with the reserve, and several floods cannot
 * use that up either. What was stored since the last measurement counts as used. A mailbox may exceed its quota by one
 * batch. Nothing is lost: messages stay on the server, above the cursor. Counts are in memory: a restart forgets them.
 */
import type { Clock } from '../../async/clock.ts';
import { Failure } from '../../errors.ts';
import { bytesText } from '../../text/units.ts';
import type { Mailbox } from '../model.ts';

export interface StorageQuota {
  /** Free space now. Returns true when there is room again: mailboxes that rest may be polled. */
  measured(freeBytes: number): boolean;
  of(mailbox: Pick<Mailbox, 'id' | 'name'>): MailboxQuota;
}

export interface MailboxQuota {
  /** Throws `mailbox_flooding`, with the time until the mailbox is below its quota. */
  admit(): void;
  stored(bytes: number): void;
}

/** Less free space is low. */
export const reserveBytes = 512 * 1024 * 1024;
const megabyte = 1024 * 1024;
const quotaBytes = { min: megabyte, max: 100 * megabyte };
const shareOfFree = 1 / 8;
const windowMs = 3_600_000;
/** Amounts are added up for so long. */
const bucketMs = 60_000;

/** Bytes by minute, oldest first. */
type Amounts = Map<number, number>;

export function createStorageQuota({ monotonicMs }: Pick<Clock, 'monotonicMs'>): StorageQuota {
  const byMailbox = new Map<string, Amounts>();
  let freeBytes = Number.POSITIVE_INFINITY;
  let isLow = false;

  const refuse = (name: string, total: number, amounts: Amounts, quota: number): never => {
    let [left, endMs] = [total, 0];
    for (const [minute, bytes] of amounts) {
      if (left <= quota) break;
      [left, endMs] = [left - bytes, (minute + 1) * bucketMs + windowMs];
    }
    const message = `Mailbox ${name} stored ${bytesText(total)} within the hour, and only ${bytesText(freeBytes)} are free under data_dir: it rests so that others are stored.`;
    throw new Failure('mailbox_flooding', message, {
      fields: { retry_after_ms: Math.max(bucketMs, endMs - monotonicMs()) },
    });
  };

  return {
    measured: (bytes) => {
      const wasLow = isLow;
      freeBytes = bytes;
      isLow = bytes < reserveBytes;
      for (const id of byMailbox.keys()) recentOf(byMailbox, id, monotonicMs());
      return wasLow && !isLow;
    },
    of: ({ id, name }) => ({
      admit: () => {
        isLow ||= freeBytes < reserveBytes;
        if (!isLow) return;
        const amounts = recentOf(byMailbox, id, monotonicMs());
        const total = amounts.values().reduce((sum, bytes) => sum + bytes, 0);
        const quota = Math.min(Math.max(freeBytes * shareOfFree, quotaBytes.min), quotaBytes.max);
        if (total > quota) refuse(name, total, amounts, quota);
      },
      stored: (bytes) => {
        if (bytes === 0) return;
        freeBytes = Math.max(0, freeBytes - bytes);
        const amounts = recentOf(byMailbox, id, monotonicMs());
        const minute = Math.floor(monotonicMs() / bucketMs);
        byMailbox.set(id, amounts.set(minute, (amounts.get(minute) ?? 0) + bytes));
      },
    }),
  };
}

/** What a mailbox stored within the window; what is older is dropped. */
function recentOf(byMailbox: Map<string, Amounts>, id: string, nowMs: number): Amounts {
  const amounts = byMailbox.get(id) ?? new Map<number, number>();
  for (const minute of amounts.keys()) if ((minute + 1) * bucketMs + windowMs <= nowMs) amounts.delete(minute);
  if (amounts.size === 0) byMailbox.delete(id);
  return amounts;
}
