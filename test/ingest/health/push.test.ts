import { expect, test } from 'vitest';
import { describeChecks } from '../../../src/ingest/health/describe.ts';
import { pushCheck, pushText } from '../../../src/ingest/health/push.ts';
import type { PushState } from '../../../src/ingest/readiness.ts';
import { mailboxCheck, sampleReadiness } from '../../adapters/metrics/samples.ts';

const nowMs = Date.parse('2026-03-01T10:00:00Z');
const until = (minutes: number) => new Date(nowMs + minutes * 60_000).toISOString();
const suspended = (minutes: number): PushState => ({
  ...{ state: 'suspended', code: 'idle_broken_off', until: until(minutes) },
});
const connections = { open: 1, max: 200 };

test('a suspended push is a warning that names the mailboxes, the first to end first', () => {
  const list = [
    mailboxCheck('late', { push: suspended(50) }),
    mailboxCheck('soon', { push: suspended(20) }),
    mailboxCheck('other'),
  ];
  const check = pushCheck({ status: 'ok', list }, connections);
  expect(check).toMatchObject({ status: 'warning', suspended: 2, list: [{ mailbox: 'soon' }, { mailbox: 'late' }] });
  expect(check.reason).toBe(
    'idle_broken_off: push is suspended for 2 of 3 mailboxes, as the server ended three idle connections within a minute each',
  );
  const described = describeChecks({ ...sampleReadiness().checks, push: check }).find(({ name }) => name === 'push');
  expect(described?.code).toBe('idle_broken_off');
  expect(described?.facts(nowMs)).toBe(
    '1 of 200 connections open, suspended for 2 (soon, again in 20 min; late, again in 50 min)',
  );
});

test('a mailbox that is only polled is no warning', () => {
  const list = [
    mailboxCheck('a'),
    mailboxCheck('b', { push: { state: 'polled', code: 'idle_slots_taken', until: null } }),
  ];
  expect(pushCheck({ status: 'ok', list }, connections)).toMatchObject({ status: 'ok', suspended: 0, list: [] });
  expect(pushCheck({ status: 'unknown', list: [] }, connections)).toMatchObject({ status: 'unknown' });
});

test('each check that is not ok has a code, and one that is ok has none', () => {
  const { checks } = sampleReadiness();
  const quiet = { status: 'warning', reason: 'a sentence' } as const;
  const worse = { ...checks, disk: { ...checks.disk, ...quiet }, clock: { ...checks.clock, ...quiet } };
  const codes = new Map(describeChecks(worse).map(({ name, code }) => [name, code]));
  expect([codes.get('disk'), codes.get('clock'), codes.get('workers')]).toEqual(['disk_low', 'clock_off', null]);
  expect(codes.get('switch')).toBe('switch_forged');
});

test('each state reads as words', () => {
  expect(pushText({ state: 'idling', code: null, until: null }, nowMs)).toBe('idling');
  expect(pushText({ state: 'polled', code: 'idle_unsupported', until: null }, nowMs)).toBe(
    'polled (its server does not offer IDLE)',
  );
  expect(pushText(suspended(43), nowMs)).toBe(
    'suspended for another 43 min (the server ended three idle connections within a minute each)',
  );
});
