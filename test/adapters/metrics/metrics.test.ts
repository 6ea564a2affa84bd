/**
 * Metrics: the text format is valid, counters count, gauges follow the readiness, and no error text becomes a label.
 */
import fc from 'fast-check';
import { expect, test } from 'vitest';
import { createMetrics } from '../../../src/adapters/metrics/metrics.ts';
import { findProgram, runProgram } from '../../support/servers/programs.ts';
import { readExposition, valuesOf } from './exposition.ts';
import { announced, fine, fullRender, mailboxCheck, refusedMailbox, sampleReadiness } from './samples.ts';

const mailboxes = (list: ReturnType<typeof mailboxCheck>[]) =>
  sampleReadiness({ mailboxes: { ...fine, ok: list.length, failing: 0, waiting: 0, paused: 0, list } });

test('the text is valid, and every metric has a line when everything is known', async () => {
  const text = await fullRender();
  const samples = readExposition(text);
  const withLines = samples.map(({ name }) => name);
  for (const [name, kind] of announced(text)) {
    expect(withLines).toContain(kind === 'histogram' ? `${name}_count` : name);
    expect(name.endsWith('_total')).toBe(kind === 'counter');
    if (kind === 'histogram') expect(name).toMatch(/_seconds$/);
  }
  expect([...announced(text).keys()].filter((name) => !/^(ticketmaild|process|nodejs)_[a-z0-9_]+$/.test(name))).toEqual(
    [],
  );
  expect(announced(text).size).toBeGreaterThan(40);
});

test.skipIf(findProgram('promtool') === null)('promtool accepts the text', async () => {
  expect(await runProgram('promtool', ['check', 'metrics'], { input: await fullRender() })).toBe('');
});

test('polls, refused logins, messages and IDLE deliveries are counted', async () => {
  using metrics = createMetrics({ version: '1.2.3' });
  const poll = { mailbox: 'support', host: 'mx1', result: 'ok', durationMs: 300, lagMs: 2_000 } as const;
  metrics.poll(poll);
  metrics.poll({ ...poll, durationMs: 700, lagMs: null });
  metrics.poll({ ...poll, result: 'login_refused' });
  metrics.poll({ ...poll, host: 'mx2', result: 'connect_timeout', durationMs: 20_000 });
  metrics.poll({ ...poll, host: 'mx2', result: 'server_busy' });
  metrics.outcome('support', 'ticket_opened');
  metrics.outcome('support', 'ticket_opened');
  metrics.outcome('sales', 'quarantined');
  metrics.idleDelivery(1_200);
  const text = await metrics.render(sampleReadiness());
  expect(valuesOf(text, 'ticketmaild_polls_total')).toEqual({
    'mx1 ok': 2,
    'mx1 login_refused': 1,
    'mx2 connect_timeout': 1,
    'mx2 server_busy': 1,
  });
  expect(valuesOf(text, 'ticketmaild_login_failures_total')).toEqual({ 'mx1 login_refused': 1 });
  expect(valuesOf(text, 'ticketmaild_poll_duration_seconds_sum')['']).toBeCloseTo(21.6);
  expect(valuesOf(text, 'ticketmaild_messages_total')).toEqual({ 'support ticket_opened': 2, 'sales quarantined': 1 });
  expect(valuesOf(text, 'ticketmaild_poll_duration_seconds_bucket')).toMatchObject({ '0.25': 0, '0.5': 3, '1': 4 });
  expect(valuesOf(text, 'ticketmaild_poll_lag_seconds_count')).toEqual({ '': 4 });
  expect(valuesOf(text, 'ticketmaild_idle_latency_seconds_sum')).toEqual({ '': 1.2 });
});

test('a duration that is not finite does not fail the poll', async () => {
  using metrics = createMetrics({ version: '1.2.3' });
  for (const ms of [Number.NaN, -5, Number.POSITIVE_INFINITY]) {
    metrics.poll({ mailbox: 'support', host: 'mx1', result: 'ok', durationMs: ms, lagMs: ms });
    metrics.idleDelivery(ms);
  }
  const text = await metrics.render(sampleReadiness());
  expect(valuesOf(text, 'ticketmaild_poll_duration_seconds_sum')).toEqual({ '': 0 });
});

test('the gauges show the readiness', async () => {
  const text = await fullRender();
  const value = (name: string) => valuesOf(text, `ticketmaild_${name}`);
  expect(value('ready')).toEqual({ '': 1 });
  expect(value('check_status')).toMatchObject({ 'database ok': 1, 'database failing': 0, 'switch failing': 1 });
  expect(value('check_reason')).toEqual({ 'switch switch_forged': 1 });
  expect(value('vault_state')).toEqual({ closed: 0, open: 1, missing: 0, refused: 0, orphaned: 0 });
  expect(value('switch_state')).toEqual({ off: 0, enabling: 0, on: 1, rotating: 0, disabling: 0 });
  expect(value('switch_revision')).toEqual({ '': 12 });
  expect(value('secrets_readable')).toEqual({ password: 3, refresh_token: 1 });
  const pool = ['open', 'busy', 'waiting', 'max'].map((name) => value(`database_connections_${name}`)['']);
  expect(pool).toEqual([4, 3, 2, 10]);
  expect(value('disk_free_bytes')).toEqual({ '': 5e9 });
  expect([value('scheduler_lag_seconds'), value('polls_in_progress')]).toEqual([{ '': 0.4 }, { '': 5 }]);
  expect([value('mailboxes_due'), value('due_oldest_age_seconds')]).toEqual([{ '': 6 }, { '': 1.5 }]);
  expect([value('idle_connections_open'), value('idle_connections_max')]).toEqual([{ '': 7 }, { '': 200 }]);
  expect([value('workers_live'), value('workers_lost')]).toEqual([{ '': 2 }, { '': 1 }]);
  expect(value('server_circuit_open')).toEqual({ 'down.example.org connect_refused': 1 });
  const end = Date.parse('2026-03-31T00:00:00Z') / 1000;
  expect(value('certificate_not_after_timestamp_seconds')).toEqual({ 'imap.example.org 993': end });
  expect(value('clock_offset_seconds')).toEqual({ '': -0.25 });
  expect(value('quarantine_messages')).toMatchObject({ too_large: 2, parse_failed: 0 });
  expect(value('quarantine_oldest_timestamp_seconds')).toEqual({ '': Date.parse('2026-02-01T00:00:00Z') / 1000 });
  expect(value('build_info')).toEqual({ [`1.2.3 ${process.versions.node}`]: 1 });
});

test('mailboxes are counted by state, each with its failures and its last success', async () => {
  const text = await fullRender();
  const value = (name: string) => valuesOf(text, `ticketmaild_${name}`);
  expect(value('mailboxes')).toEqual({ ok: 1, failing: 1, waiting: 0, paused: 3 });
  expect(value('mailboxes_push')).toEqual({ idling: 1, polled: 0, suspended: 1 });
  expect(value('mailbox_push_suspended')).toEqual({ 'sales imap.example.org idle_refused': 1 });
  expect(value('mailbox_failures')).toEqual({ sales: 3, support: 0 });
  const success = Date.parse('2026-03-01T10:00:00Z') / 1000;
  expect(value('mailbox_last_success_timestamp_seconds')).toEqual({ support: success });
  expect(value('mailbox_trouble')).toEqual({ 'sales imap.example.org failing login_refused': 1 });
});

test('an unknown value has no sample', async () => {
  using metrics = createMetrics({ version: '1.2.3' });
  const unknown = { ...fine, status: 'unknown' } as const;
  const blind = sampleReadiness({
    database: { ...fine, status: 'failing', pool: null, ping_ms: null },
    disk: { ...unknown, free_bytes: null },
    scheduler: { ...unknown, lag_ms: null, polls: 0, polls_long: 0, due: 0, due_oldest_age_ms: 0 },
    workers: { ...unknown, live: 0, list: [] },
    clock: { ...unknown, offset_ms: null },
    quarantine: { ...unknown, count: 0, oldest: null, reasons: [] },
    mailboxes: { ...unknown, ok: 0, failing: 0, waiting: 0, paused: 0, list: [] },
  });
  const names = async (readiness = sampleReadiness()) =>
    new Set(readExposition(await metrics.render(readiness)).map(({ name }) => name.replace('ticketmaild_', '')));
  const mayBeMissing = [
    ...['open', 'busy', 'waiting', 'max'].map((name) => `database_connections_${name}`),
    'disk_free_bytes',
    'scheduler_lag_seconds',
    'workers_live',
    'clock_offset_seconds',
    'quarantine_messages',
    'quarantine_oldest_timestamp_seconds',
    'mailboxes',
    'mailboxes_push',
    'mailbox_failures',
  ];
  const [first, missing, again] = [await names(), await names(blind), await names()];
  expect(mayBeMissing.filter((name) => !first.has(name) || missing.has(name) || !again.has(name))).toEqual([]);
});

test('a removed mailbox has no sample', async () => {
  using metrics = createMetrics({ version: '1.2.3' });
  const trouble = { ...refusedMailbox, mailbox: 'old' };
  expect(await metrics.render(mailboxes([trouble, mailboxCheck('new')]))).toContain('mailbox="old"');
  const text = await metrics.render(mailboxes([mailboxCheck('new')]));
  expect(text).toContain('mailbox="new"');
  expect(text).not.toContain('mailbox="old"');
});

test('names of mailboxes and hosts survive as labels, except for their length and control characters', async () => {
  const odd = 'a"b\\c\nd{e="f"} 1 # é 漢 🦊,\\n';
  const name = fc.oneof(fc.string({ unit: 'binary', maxLength: 300 }), fc.constant(odd), fc.constant('\uD83E\r\0'));
  await fc.assert(
    fc.asyncProperty(name, name, async (mailbox, host) => {
      using metrics = createMetrics({ version: '1.2.3' });
      metrics.outcome(mailbox, 'recorded');
      metrics.poll({ mailbox, host, result: 'ok', durationMs: 1, lagMs: 1 });
      const text = await metrics.render(mailboxes([{ ...refusedMailbox, mailbox, host }]));
      const samples = readExposition(text);
      const values = samples.map(({ labels }) => labels['mailbox']).filter((value) => value !== undefined);
      const shown = mailbox
        .slice(0, 255)
        .replace(/[\uD800-\uDBFF]$/, '')
        .toWellFormed();
      const expected = shown.replace(/[\0-\x09\x0B-\x1F\x7F]/g, '\uFFFD');
      expect(new Set(values)).toEqual(new Set([expected]));
      expect(samples.every(({ labels }) => Object.values(labels).every((value) => value.length <= 255))).toBe(true);
    }),
    {
      numRuns: 50,
      examples: [
        [odd, odd],
        ['', ''],
        [`${'x'.repeat(254)}🦊`, 'h'],
      ],
    },
  );
});

test('of a reason only its code becomes a label, and nothing of a hint', async () => {
  const secret = 'hunter2-canary';
  const check = { ...fine, status: 'failing', reason: `database_denied: ${secret}`, hint: secret } as const;
  const bare = { ...check, reason: secret };
  const text = await fullRender(
    sampleReadiness({
      database: { ...check, pool: null, ping_ms: null },
      disk: { ...bare, free_bytes: 1 },
      vault: { ...check, state: 'open', key_ids: [secret] },
      servers: { ...check, list: [{ ...check, host: 'mx', port: 993, tls: 'implicit', next_attempt: secret }] },
      mailboxes: {
        ...check,
        ok: 0,
        failing: 2,
        waiting: 0,
        paused: 0,
        list: [mailboxCheck('a', check), mailboxCheck('b', { ...bare, last_success: secret, next_poll: secret })],
      },
    }),
  );
  expect(text).toContain('database_denied');
  expect(text).not.toContain(secret);
});

test('a blocked event loop shows in one scrape only', async () => {
  using metrics = createMetrics({ version: '1.2.3' });
  const longest = async () =>
    valuesOf(await metrics.render(sampleReadiness()), 'nodejs_eventloop_lag_max_seconds')[''] ?? 0;
  const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));
  await pause(30);
  await longest();
  await pause(30);
  const until = performance.now() + 400;
  while (performance.now() < until);
  await pause(30);
  expect(await longest()).toBeGreaterThan(0.3);
  await pause(30);
  expect(await longest()).toBeLessThan(0.3);
});

test('the process metrics have their usual names', async () => {
  const text = await fullRender();
  const value = (name: string) => valuesOf(text, name)[''] ?? -1;
  expect(value('process_cpu_seconds_total')).toBeGreaterThan(0);
  expect(value('process_resident_memory_bytes')).toBeGreaterThan(1e7);
  expect(value('process_open_fds')).toBeGreaterThan(2);
  expect(value('process_max_fds')).toBeGreaterThan(value('process_open_fds'));
  expect(Math.abs(value('process_start_time_seconds') - (Date.now() / 1000 - process.uptime()))).toBeLessThan(5);
});

test('ten thousand mailboxes render within three seconds, also for two concurrent scrapes', async () => {
  using metrics = createMetrics({ version: '1.2.3' });
  const list = Array.from({ length: 10_000 }, (_, index) => mailboxCheck(`team-${index}@example.org`));
  for (const { mailbox } of list) metrics.outcome(mailbox, 'ticket_opened');
  const started = performance.now();
  const [first = '', second = ''] = await Promise.all([
    metrics.render(mailboxes(list)),
    metrics.render(mailboxes(list.slice(1))),
  ]);
  expect(performance.now() - started).toBeLessThan(3_000);
  expect(Object.keys(valuesOf(first, 'ticketmaild_mailbox_failures'))).toHaveLength(10_000);
  expect(Object.keys(valuesOf(second, 'ticketmaild_mailbox_failures'))).toHaveLength(9_999);
});
