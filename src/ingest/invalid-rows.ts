/**
 * Tells of rows that others wrote wrongly: no visit meets them, so somebody has to hear of them, once.
 */

import type { Clock } from '../async/clock.ts';
import { events, type Log } from '../events.ts';
import { isInvalid } from './mailbox.ts';
import type { MailboxStore } from './mailbox-ports.ts';

export type InvalidRowPorts = {
  readonly store: Pick<MailboxStore, 'listMailboxes'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  readonly log: Log;
};

const lookEveryMs = 30_000;

/** Called at every wake, it looks now and then; a row is told again only after it was right meanwhile. */
export function createInvalidTeller({ store, clock, log }: InvalidRowPorts): () => Promise<void> {
  let told: ReadonlySet<string> = new Set();
  let nextAtMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (clock.monotonicMs() < nextAtMs) return;
    nextAtMs = clock.monotonicMs() + lookEveryMs;
    const invalid = (await store.listMailboxes()).filter(isInvalid);
    for (const { id, name, health } of invalid) {
      const { code, message, hint } = health.lastError ?? { code: '', message: '', hint: '' };
      if (!told.has(id)) log.warn({ mailbox: name, code, reason: message, hint }, events.mailboxInvalid);
    }
    told = new Set(invalid.map(({ id }) => id));
  };
}
