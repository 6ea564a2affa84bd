/**
 * UIDVALIDITY changes of each folder, counted; and the schedule of the check for a restore that did not change it.
 *
 * Counted by this worker, in memory. A server that changes UIDVALIDITY again and again has every message fetched again
 * and again. Nothing is lost or stored twice, but it costs, so such a mailbox is polled less often and a warning is
 * shown.
 */
import type { Clock } from '../../async/clock.ts';

/** More changes than that within a day are a fault of the server. */
export const uidValidityChangesMax = 3;

const dayMs = 86_400_000;
const storedTimesMax = 100;

export interface UidValidityChanges {
  /** Records a change. Returns how many there were within a day. */
  note(mailboxId: string): number;
  count(mailboxId: string): number;
}

/** True for a mailbox that is polled less often, and does not idle. */
export function isUnstable({
  mailbox: { id },
  options: { uidValidityChanges },
}: {
  readonly mailbox: { readonly id: string };
  readonly options: { readonly uidValidityChanges?: Pick<UidValidityChanges, 'count'> | undefined };
}): boolean {
  return (uidValidityChanges?.count(id) ?? 0) > uidValidityChangesMax;
}

export function createUidValidityChanges(clock: Pick<Clock, 'monotonicMs'>): UidValidityChanges {
  const times = new Map<string, readonly number[]>();
  const recent = (id: string) => (times.get(id) ?? []).filter((atMs) => clock.monotonicMs() - atMs < dayMs);
  return {
    note(id) {
      const noted = [...recent(id), clock.monotonicMs()].slice(-storedTimesMax);
      times.set(id, noted);
      return noted.length;
    },
    count: (id) => recent(id).length,
  };
}

/**
 * Checking whether a quiet folder was restored from a backup takes two commands: once an hour, and once per session.
 */
const checkIntervalMs = 3_600_000;

/** By Message-ID or source, or by size and date alone. */
export type FolderComparison = 'content' | 'size';

export interface FolderCheckSchedule {
  isDue(mailboxId: string): boolean;
  /**
   * How to compare now: by size for an hour after a comparison by content that did not end, since a server may fail at
   * one message whose content is asked for.
   */
  begin(mailboxId: string): FolderComparison;
  /** The comparison ended. */
  note(mailboxId: string, comparison: FolderComparison): void;
}

export function createFolderCheckSchedule(clock: Pick<Clock, 'monotonicMs'>): FolderCheckSchedule {
  const times = new Map<string, number>();
  const unended = new Map<string, number>();
  const isOlder = (atMs: number | undefined) =>
    clock.monotonicMs() - (atMs ?? Number.NEGATIVE_INFINITY) >= checkIntervalMs;
  return {
    isDue: (id) => isOlder(times.get(id)),
    begin(id) {
      if (!isOlder(unended.get(id))) return 'size';
      unended.set(id, clock.monotonicMs());
      return 'content';
    },
    note(id, comparison) {
      times.set(id, clock.monotonicMs());
      if (comparison === 'content') unended.delete(id);
    },
  };
}
