import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import type { Log } from '../../../src/events.ts';
import type { HealthRecorder } from '../../../src/ingest/health/health.ts';
import { createReporter } from '../../../src/ingest/health/reporter.ts';
import type { Mailbox } from '../../../src/ingest/model.ts';
import type { RoundReport } from '../../../src/ingest/poll/poll-context.ts';
import { noMeter } from '../../../src/ingest/ports.ts';
import type { DueMailbox } from '../../../src/ingest/stores.ts';

type Line = { readonly level: string; readonly event: string; readonly failures: unknown };

function recording(hasDiskAsCause = () => false) {
  const lines: Line[] = [];
  const at = (level: string) => (fields: object, event: string) =>
    void lines.push({ level, event, failures: 'failures' in fields ? fields.failures : null });
  const log = { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } as Log;
  const quiet = { recordPoll: () => undefined, recordDatabase: () => true, changed: () => undefined };
  const health = quiet as unknown as HealthRecorder;
  const reporter = createReporter({ log, health, meter: noMeter, hasDiskAsCause });
  return {
    reporter,
    all: (): readonly Line[] => lines,
    logged: (): readonly Line[] => lines.filter(({ level }) => level === 'warn' || level === 'error'),
  };
}

const mailbox = { id: 'a', name: 'a', connection: { host: 'h' } } as Mailbox;

test('an action that every poll is refused is logged at growing intervals, and again after a successful round', () => {
  const { reporter, logged } = recording();
  const refusal = { roundId: 'p', action: 'move' as const, count: 1, failure: new Failure('server_refused', 'no') };
  for (let poll = 0; poll < 10; poll += 1) reporter.actionRefused(mailbox, refusal);
  expect(logged().map(({ failures }) => failures)).toEqual([1, 2, 4, 8]);
  const report = { roundId: 'p', mailbox: 'a', outcomes: {}, durationMs: 1 } as unknown as RoundReport;
  reporter.roundFinished(mailbox, report, null);
  reporter.actionRefused(mailbox, refusal);
  expect(logged().map(({ failures }) => failures)).toEqual([1, 2, 4, 8, 1]);
});

test('a poll that fails unexpectedly is logged as an error, at growing intervals', () => {
  const { reporter, logged } = recording();
  const poll = { durationMs: 1, roundId: 'p', isReported: false };
  for (let polls = 0; polls < 10; polls += 1) reporter.pollFailed(mailbox, new Failure('unexpected', 'x'), poll);
  expect(logged()).toEqual([1, 2, 4, 8].map((failures) => ({ level: 'error', event: 'poll.failed', failures })));
});

test('a poll that restarts for another folder of its account is no failure', () => {
  const { reporter, all } = recording();
  const revoked = new Failure('lease_revoked', 'another folder was added');
  reporter.pollFailed(mailbox, revoked, { durationMs: 1, roundId: 'p', isReported: false });
  expect(all()).toMatchObject([{ level: 'info', event: 'poll.restarted' }]);
});

test('while the disk fails its line is the only one: none about the database, a defect or a mailbox', () => {
  let isFailing = true;
  const { reporter, logged } = recording(() => isFailing);
  const full = new Failure('disk_full', 'no room');
  reporter.diskState(full);
  for (let times = 0; times < 3; times += 1) {
    reporter.databaseState(full);
    reporter.databaseState(new Failure('unexpected', 'x'));
    reporter.pollFailed(mailbox, full, { durationMs: 1, roundId: 'p', isReported: true });
  }
  expect(logged()).toEqual([{ level: 'error', event: 'disk.failed', failures: null }]);
  isFailing = false;
  reporter.databaseState(new Failure('database_unavailable', 'down'));
  expect(logged().map(({ event }) => event)).toEqual(['disk.failed', 'database.unavailable']);
});

test('a server that is away is logged once for all its mailboxes, and so is its return', () => {
  const { reporter, logged, all } = recording();
  const server = { host: 'h', port: 993, tls: 'implicit' } as const;
  const silent = new Failure('server_timeout', 'no answer');
  reporter.serverSilence(server, silent);
  const poll = { durationMs: 1, roundId: 'p', isReported: true };
  const report = { roundId: 'p', mailbox: 'a', outcomes: {}, durationMs: 1 } as unknown as RoundReport;
  for (let polls = 0; polls < 50; polls += 1) reporter.pollFailed(mailbox, silent, poll);
  reporter.serverSilence(server, null);
  reporter.roundFinished(mailbox, report, null);
  expect(logged()).toMatchObject([{ level: 'warn', event: 'server.silent' }]);
  expect(all().filter(({ level }) => level === 'info')).toMatchObject([{ event: 'server.answering' }]);
});

test('a suspension of logins is logged every time', () => {
  const { reporter, logged } = recording();
  const refused = { ...mailbox, due: { loginFailures: 2 } } as DueMailbox;
  for (let times = 0; times < 3; times += 1) reporter.loginsSuspended(refused, 6 * 3_600_000);
  expect(logged()).toHaveLength(3);
  expect(logged()[0]).toMatchObject({ level: 'warn', event: 'login.suspended' });
});
