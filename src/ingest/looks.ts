/**
 * When it was last looked whether the folder of a mailbox without new mail is still the one that was handled.
 *
 * A folder that was restored from a backup, and has just as many new mails as the backup lacked, looks as if nothing had
 * happened. To find out costs two questions, so it is asked once an hour, and once in each session that stays.
 */
import type { Clock } from '../async/clock.ts';

const everyMs = 3_600_000;

export interface Looks {
  isDue(mailboxId: string): boolean;
  note(mailboxId: string): void;
}

export function createLooks(clock: Pick<Clock, 'monotonicMs'>): Looks {
  const times = new Map<string, number>();
  return {
    isDue: (id) => clock.monotonicMs() - (times.get(id) ?? Number.NEGATIVE_INFINITY) >= everyMs,
    note: (id) => void times.set(id, clock.monotonicMs()),
  };
}
