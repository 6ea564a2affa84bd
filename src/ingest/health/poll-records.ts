/**
 * Poll records: how the last poll of a mailbox by this worker ended, where the rows read last may say otherwise.
 *
 * A failure is remembered until a success: it may not have been stored. A success is remembered only after a failure,
 * for a while: the row follows a moment later. Times are on the monotonic clock, as the time of the machine may be
 * wrong.
 */
import type { Clock } from '../../async/clock.ts';
import type { Failure } from '../../errors.ts';
import type { MailboxHealth } from '../model.ts';

/** `failure` null: the poll succeeded. `sinceMs`: since when it has ended so. */
export type PollRecord = { readonly failure: Failure | null; readonly sinceMs: number; readonly atMs: number };

type PollRecords = {
  /** Returns true when the verdict on the mailbox changes. */
  record(mailboxId: string, failure: Failure | null): boolean;
  rowsRead(rows: readonly { readonly id: string; readonly health: MailboxHealth }[]): void;
  /** With `shiftMs` added to their times. */
  records(shiftMs: number): ReadonlyMap<string, PollRecord>;
};

/** A row is written within the time that the database may take. */
const successMsMax = 60_000;

export function createPollRecords(clock: Pick<Clock, 'monotonicMs'>): PollRecords {
  const records = new Map<string, PollRecord>();
  let failingRows: ReadonlySet<string> = new Set();
  return {
    record: (mailboxId, failure) => {
      const atMs = clock.monotonicMs();
      const before = records.get(mailboxId);
      const wasFailing = before === undefined ? failingRows.has(mailboxId) : before.failure !== null;
      if (failure === null && !wasFailing) return false;
      const isSame = before !== undefined && before.failure?.code === failure?.code;
      const isContinued = before !== undefined && (before.failure === null) === (failure === null);
      records.set(mailboxId, { failure, sinceMs: isContinued ? before.sinceMs : atMs, atMs });
      return !isSame;
    },
    rowsRead: (rows) => {
      failingRows = new Set(rows.filter(({ health }) => health.failures > 0).map(({ id }) => id));
      const pastMs = clock.monotonicMs() - successMsMax;
      for (const [id, { failure, atMs }] of records) if (failure === null && atMs < pastMs) records.delete(id);
    },
    records: (shiftMs) => new Map([...records].map(([id, record]) => [id, shifted(record, shiftMs)])),
  };
}

/** The same at another clock. */
export function shifted<T extends { readonly sinceMs: number; readonly atMs: number }>(one: T, shiftMs: number): T {
  return { ...one, sinceMs: one.sinceMs + shiftMs, atMs: one.atMs + shiftMs };
}
