/**
 * How often the folders were numbered anew within a day, as far as this worker saw it.
 *
 * A server that forgets its numbering again and again has every mail fetched again and again. Nothing is lost or stored
 * twice by that; it only costs, so such a mailbox is visited more rarely, and somebody is told.
 */
import type { Clock } from '../async/clock.ts';

/** More often than that within a day is no rebuilding but a fault of the server. */
export const renumberingsMax = 3;
/** A mailbox whose folder is unstable is visited after so long. */
export const unstableMs = 60 * 60_000;

const dayMs = 86_400_000;
const keptMax = 100;

export interface Renumberings {
  /** One more of that mailbox; tells how many there were within a day. */
  note(mailboxId: string): number;
  count(mailboxId: string): number;
}

export function createRenumberings(clock: Pick<Clock, 'monotonicMs'>): Renumberings {
  const times = new Map<string, readonly number[]>();
  const recent = (id: string) => (times.get(id) ?? []).filter((atMs) => clock.monotonicMs() - atMs < dayMs);
  return {
    note(id) {
      const noted = [...recent(id), clock.monotonicMs()].slice(-keptMax);
      times.set(id, noted);
      return noted.length;
    },
    count: (id) => recent(id).length,
  };
}
