import { expect, test } from 'vitest';
import type { EventName, LogFields } from '../../../src/events.ts';
import { createRowReporter } from '../../../src/ingest/health/reporter.ts';
import type { MailboxStore } from '../../../src/ingest/stores.ts';

type Listed = Awaited<ReturnType<MailboxStore['listMailboxes']>>[number];

test('an invalid row is logged once, and again after it was valid meanwhile', async () => {
  const lastError = { code: 'mailbox_invalid', message: 'tls_mode is unknown', hint: 'correct it', atMs: 1 };
  const row = (error: typeof lastError | null) =>
    ({ id: '1', name: 'desk', health: { lastError: error } }) as unknown as Listed;
  const logged: { event: EventName; fields: LogFields }[] = [];
  const record = (fields: LogFields, event: EventName) => void logged.push({ event, fields });
  const at = { nowMs: 0, rows: [row(lastError)] };
  const report = createRowReporter({
    postActionGuard: { isUnconfirmed: () => false },
    store: { listMailboxes: async () => at.rows },
    clock: { monotonicMs: () => at.nowMs },
    log: { debug: record, info: record, warn: record, error: record },
  });
  for (at.nowMs = 0; at.nowMs < 120_000; at.nowMs += 1000) await report();
  expect(logged).toEqual([
    { event: 'mailbox.invalid', fields: expect.objectContaining({ mailbox: 'desk', hint: 'correct it' }) },
  ]);
  at.rows = [row(null)];
  for (; at.nowMs < 180_000; at.nowMs += 1000) await report();
  at.rows = [row(lastError)];
  for (; at.nowMs < 240_000; at.nowMs += 1000) await report();
  expect(logged).toHaveLength(2);
});
