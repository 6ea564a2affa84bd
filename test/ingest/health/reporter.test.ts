import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import type { Log } from '../../../src/events.ts';
import type { Vitals } from '../../../src/ingest/health/health.ts';
import { createTeller, type Teller } from '../../../src/ingest/health/reporter.ts';
import type { Mailbox } from '../../../src/ingest/model.ts';
import type { PollReport } from '../../../src/ingest/poll/poll-context.ts';
import { noMeter } from '../../../src/ingest/ports.ts';
import type { DueMailbox } from '../../../src/ingest/stores.ts';

type Line = { readonly level: string; readonly event: string; readonly failures: unknown };

function listening(): { teller: Teller; told: () => readonly Line[] } {
  const lines: Line[] = [];
  const at = (level: string) => (fields: object, event: string) =>
    void lines.push({ level, event, failures: 'failures' in fields ? fields.failures : null });
  const log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } as Log;
  const vitals = { visited: () => undefined } as unknown as Vitals;
  const teller = createTeller({ log, vitals, meter: noMeter });
  return { teller, told: () => lines.filter(({ level }) => level === 'warn' || level === 'error') };
}

const mailbox = { id: 'a', name: 'a', connection: { host: 'h' } } as Mailbox;

test('an action that is refused at every visit is told at growing intervals, and anew after a visit that went well', () => {
  const { teller, told } = listening();
  const refusal = { poll: 'p', action: 'move', count: 1, failure: new Failure('server_refused', 'no') };
  for (let visit = 0; visit < 10; visit += 1) teller.refused(mailbox, refusal);
  expect(told().map(({ failures }) => failures)).toEqual([1, 2, 4, 8]);
  const report = { poll: 'p', mailbox: 'a', outcomes: {}, durationMs: 1 } as unknown as PollReport;
  teller.round(mailbox, report, null);
  teller.refused(mailbox, refusal);
  expect(told().map(({ failures }) => failures)).toEqual([1, 2, 4, 8, 1]);
});

test('a visit that fails in a way that nobody expected is an error, at growing intervals', () => {
  const { teller, told } = listening();
  for (let visit = 0; visit < 10; visit += 1) teller.failed(mailbox, new Failure('unexpected', 'x'), 1, 'p');
  expect(told()).toEqual([1, 2, 4, 8].map((failures) => ({ level: 'error', event: 'poll.failed', failures })));
});

test('that a mailbox is left alone after refused logins is told every time', () => {
  const { teller, told } = listening();
  const refused = { ...mailbox, due: { loginRefusals: 2 } } as DueMailbox;
  for (let times = 0; times < 3; times += 1) teller.paused(refused, 6 * 3_600_000);
  expect(told()).toHaveLength(3);
  expect(told()[0]).toMatchObject({ level: 'warn', event: 'login.paused' });
});
