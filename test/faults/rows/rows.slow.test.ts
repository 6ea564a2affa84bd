/**
 * A writer of the database changes rows while mail keeps coming: each change shows and is gone after it is undone, no
 * message is lost or doubled, and no password reaches the stranger that a row names. The long form is
 * `npm run faults -- --rows`.
 */
import { expect, test } from 'vitest';
import { type FaultOptions, runFaults } from '../run.ts';

const options: FaultOptions = {
  seed: 18,
  minutes: 0,
  workers: 2,
  mailboxes: 8,
  messagesPerS: 4,
  rows: true,
  once: true,
  lastS: 4,
  only: [
    'another server or user',
    'row of a stranger',
    'refused password',
    'switch forged',
    'outcomes without their messages',
    'heartbeats',
    'schedule changed',
  ],
  stop: new AbortController().signal,
};

const silent = {
  now: () => undefined,
  meanwhile: () => undefined,
  news: () => undefined,
  counting: () => ({ [Symbol.dispose]: () => undefined }),
  [Symbol.dispose]: () => undefined,
};

test('rows that a writer of the database changed cost no message and no password, show, and are mended by the advice', async () => {
  const report = await runFaults(options, silent);
  expect(report.violations, JSON.stringify(report.traces, null, 2)).toEqual([]);
  expect(report.faults.map(({ kind }) => kind).toSorted()).toEqual([...(options.only ?? [])].toSorted());
  expect(report.faults.filter(({ visibleAfterMs }) => visibleAfterMs === null)).toEqual([]);
  expect(report.verification.sent).toBeGreaterThan(20);
}, 120_000);
