import { expect, test } from 'vitest';
import { createRepetition } from '../../../src/ingest/health/log-throttle.ts';

test('a failure that repeats is news at first and at its 2nd, 4th, 8th time', () => {
  const { tell } = createRepetition();
  const told = Array.from({ length: 20 }, () => tell('support', 'login_refused'));
  expect(told.filter(({ isNews }) => isNews).map(({ count }) => count)).toEqual([1, 2, 4, 8, 16]);
  expect(told.map(({ count }) => count)).toEqual(Array.from({ length: 20 }, (_, index) => index + 1));
});

test('another failure is news at once, and the count goes on', () => {
  const { tell } = createRepetition();
  for (let time = 0; time < 5; time++) tell('support', 'login_refused');
  expect(tell('support', 'connect_refused')).toEqual({ isNews: true, count: 6 });
  expect(tell('support', 'login_refused')).toEqual({ isNews: true, count: 7 });
});

test.each([
  ['two', ['a', 'b']],
  ['two, one of them twice', ['a', 'a', 'b']],
  ['many', Array.from({ length: 40 }, (_, index) => `state ${index}`)],
])('failures of %s kinds in turn are told at growing intervals too', (_title, states) => {
  const { tell } = createRepetition();
  const news = Array.from({ length: 20_000 }, (_, time) => tell('support', states[time % states.length] ?? '').isNews);
  const until = (time: number): number => news.slice(0, time).filter(Boolean).length;
  expect(until(20)).toBeGreaterThan(8);
  // The times in a row and the changes each grow by doubling, which is 15 times in 20,000.
  expect(until(20_000)).toBeLessThanOrEqual(8 + 15 + 15);
  expect(until(20_000) - until(10_000)).toBeLessThanOrEqual(2);
});

test('a failure that comes back after a recovery is told like a new one', () => {
  const { tell } = createRepetition();
  for (let time = 0; time < 3; time++) tell('support', 'a');
  tell('support', null);
  expect(tell('support', 'a')).toEqual({ isNews: true, count: 1 });
});

test('a recovery is news once, says how often it failed, and is forgotten', () => {
  const { tell } = createRepetition();
  expect(tell('support', null)).toEqual({ isNews: false, count: 0 });
  for (let time = 0; time < 3; time++) tell('support', 'login_refused');
  expect(tell('support', null)).toEqual({ isNews: true, count: 3 });
  expect(tell('support', null)).toEqual({ isNews: false, count: 0 });
  expect(tell('support', 'login_refused')).toEqual({ isNews: true, count: 1 });
});

test('one failing thing says nothing about another', () => {
  const { tell } = createRepetition();
  tell('support', 'login_refused');
  tell('support', 'login_refused');
  tell('support', 'login_refused');
  expect(tell('sales', 'login_refused')).toEqual({ isNews: true, count: 1 });
  expect(tell('sales', null)).toEqual({ isNews: true, count: 1 });
  expect(tell('support', 'login_refused')).toEqual({ isNews: true, count: 4 });
});

test('a floating point logarithm does not blur the rule, however long it fails', () => {
  const { tell } = createRepetition();
  let news = 0;
  for (let time = 1; time <= 1 << 17; time++) if (tell('support', 'x').isNews) news++;
  expect(news).toBe(18);
});
