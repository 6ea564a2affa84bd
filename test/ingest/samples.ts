/** Mailboxes and clocks for the tests of the scheduler. */

import type { Clock } from '../../src/async/clock.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import type { DueMailbox } from '../../src/ingest/stores.ts';

/** A clock that is set by hand; sleeping takes no time. */
export function handClock(startMs = 1_800_000_000_000): Clock & { at: { ms: number } } {
  const at = { ms: startMs };
  return { at, nowMs: () => at.ms, monotonicMs: () => at.ms, sleep: () => Promise.resolve() };
}

export function mailbox(name: string, host = 'mail.example.test'): Mailbox {
  return {
    id: name,
    name,
    connection: {
      host,
      port: 993,
      tls: 'implicit',
      caPem: null,
      fingerprint: null,
      user: name,
      folder: 'INBOX',
      allowPlaintext: false,
    },
    start: { from: 'all' },
    postAction: { kind: 'seen' },
    pollIntervalMs: null,
    grant: null,
    addresses: [],
    state: 'active',
  };
}

/** Due since `overdueMs`. */
export function dueMailbox(name: string, host?: string, due: Partial<DueMailbox['due']> = {}): DueMailbox {
  return {
    ...mailbox(name, host),
    due: { overdueMs: 0, retryRequestedMs: null, failures: 0, loginFailures: 0, version: '1', epoch: 0, ...due },
  };
}
