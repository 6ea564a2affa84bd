/** Durations, ages, byte counts and plurals as text. */
import { expect, test } from 'vitest';
import { ageText, agoText, bytesText, countText, durationText, inText, spanText } from '../../src/text/units.ts';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const nowMs = Date.parse('2026-01-31T08:30:00Z');
const at = (ms: number) => new Date(nowMs + ms).toISOString();

test.each([
  [Number.NaN, '?'],
  [-5, '0 s'],
  [59_999, '59 s'],
  [12 * minute, '12 min'],
  [3 * hour, '3 h'],
  [3 * hour + 5 * minute, '3 h 5 min'],
  [99 * hour, '4 d 3 h'],
])('a span of %d ms is %s', (ms, text) => expect(spanText(ms)).toBe(text));

test.each([
  [314, '0.3 s'],
  [12_400, '12 s'],
  [5 * minute, '5 min'],
])('a duration of %d ms is %s', (ms, text) => expect(durationText(ms)).toBe(text));

test('times relative to now', () => {
  expect([at(-12 * minute), null, 'garbage'].map((time) => ageText(time, nowMs))).toEqual(['12 min', '-', '-']);
  expect([at(-12 * minute), null].map((time) => agoText(time, nowMs))).toEqual(['12 min ago', 'never']);
  expect([at(40 * second), at(-1), null].map((time) => inText(time, nowMs))).toEqual(['in 40 s', 'now', '-']);
});

test('bytes, in powers of 1000', () => {
  expect([0, 512, 1400, 41.2e9, 150.4e6].map(bytesText)).toEqual(['0 B', '512 B', '1.4 kB', '41.2 GB', '150 MB']);
});

test('plurals', () => {
  expect([countText(1, 'mailbox', 'mailboxes'), countText(2, 'mailbox', 'mailboxes')]).toEqual([
    ...['1 mailbox', '2 mailboxes'],
  ]);
  expect([countText(0, 'password'), countText(Number.NaN, 'password')]).toEqual(['0 passwords', '? passwords']);
});
