import { expect, test } from 'vitest';
import type { EventName, LogFields } from '../../../src/events.ts';
import { createInvalidTeller } from '../../../src/ingest/health/reporter.ts';
import type { MailboxStore } from '../../../src/ingest/stores.ts';

type Listed = Awaited<ReturnType<MailboxStore['listMailboxes']>>[number];

test('a row that cannot be understood is told once, and again after it was right meanwhile', async () => {
  const lastError = { code: 'mailbox_invalid', message: 'tls_mode is unknown', hint: 'correct it', atMs: 1 };
  const row = (error: typeof lastError | null) =>
    ({ id: '1', name: 'desk', health: { lastError: error } }) as unknown as Listed;
  const told: { event: EventName; fields: LogFields }[] = [];
  const tell = (fields: LogFields, event: EventName) => void told.push({ event, fields });
  const at = { nowMs: 0, rows: [row(lastError)] };
  const look = createInvalidTeller({
    store: { listMailboxes: async () => at.rows },
    clock: { monotonicMs: () => at.nowMs },
    log: { debug: tell, info: tell, warn: tell, error: tell },
  });
  for (at.nowMs = 0; at.nowMs < 120_000; at.nowMs += 1000) await look();
  expect(told).toEqual([
    { event: 'mailbox.invalid', fields: expect.objectContaining({ mailbox: 'desk', hint: 'correct it' }) },
  ]);
  at.rows = [row(null)];
  for (; at.nowMs < 180_000; at.nowMs += 1000) await look();
  at.rows = [row(lastError)];
  for (; at.nowMs < 240_000; at.nowMs += 1000) await look();
  expect(told).toHaveLength(2);
});
