import { expect, test } from 'vitest';
import { createLogThrottle } from '../../../src/ingest/health/log-throttle.ts';

test('a failure is logged at first and at its 2nd, 4th, 8th occurrence', () => {
  const { record } = createLogThrottle();
  const decisions = Array.from({ length: 20 }, () => record('support', 'login_refused'));
  expect(decisions.filter(({ shouldLog }) => shouldLog).map(({ count }) => count)).toEqual([1, 2, 4, 8, 16]);
  expect(decisions.map(({ count }) => count)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
});

test('a changed failure is logged at once, and the count continues', () => {
  const { record } = createLogThrottle();
  for (let time = 0; time < 5; time++) record('support', 'login_refused');
  expect(record('support', 'connect_refused')).toEqual({ shouldLog: true, count: 6 });
  expect(record('support', 'login_refused')).toEqual({ shouldLog: true, count: 7 });
});

test.each([
  ['two', ['a', 'b']],
  ['two, one of them twice', ['a', 'a', 'b']],
  ['many', Array.from({ length: 40 }, (_, index) => `state ${index}`)],
])('flapping between %s failures is logged at growing intervals too', (_title, states) => {
  const { record } = createLogThrottle();
  const logged = Array.from(
    { length: 20_000 },
    (_, time) => record('support', states[time % states.length] ?? '').shouldLog,
  );
  const until = (time: number): number => logged.slice(0, time).filter(Boolean).length;
  expect(until(20)).toBeGreaterThan(8);
  // The times in a row and the changes each grow by doubling, which is 15 times in 20,000.
  expect(until(20_000)).toBeLessThanOrEqual(8 + 15 + 15);
  expect(until(20_000) - until(10_000)).toBeLessThanOrEqual(2);
});

test('a failure after a recovery is logged like a new one', () => {
  const { record } = createLogThrottle();
  for (let time = 0; time < 3; time++) record('support', 'a');
  record('support', null);
  expect(record('support', 'a')).toEqual({ shouldLog: true, count: 1 });
});

test('a recovery is logged once, with the number of failures before it', () => {
  const { record } = createLogThrottle();
  expect(record('support', null)).toEqual({ shouldLog: false, count: 0 });
  for (let time = 0; time < 3; time++) record('support', 'login_refused');
  expect(record('support', null)).toEqual({ shouldLog: true, count: 3 });
  expect(record('support', null)).toEqual({ shouldLog: false, count: 0 });
  expect(record('support', 'login_refused')).toEqual({ shouldLog: true, count: 1 });
});

test('keys are throttled separately', () => {
  const { record } = createLogThrottle();
  record('support', 'login_refused');
  record('support', 'login_refused');
  record('support', 'login_refused');
  expect(record('sales', 'login_refused')).toEqual({ shouldLog: true, count: 1 });
  expect(record('sales', null)).toEqual({ shouldLog: true, count: 1 });
  expect(record('support', 'login_refused')).toEqual({ shouldLog: true, count: 4 });
});

test('the floating point logarithm is exact, however long the failure lasts', () => {
  const { record } = createLogThrottle();
  let lines = 0;
  for (let time = 1; time <= 1 << 17; time++) if (record('support', 'x').shouldLog) lines++;
  expect(lines).toBe(18);
});
