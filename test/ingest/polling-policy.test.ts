/** Polling policy: the wait after each kind of poll, and the longest wait of a mailbox at a start. */
import { expect, test } from 'vitest';
import {
  intervalOf,
  longestWaitMs,
  type PollEnd,
  waitAfterFailureMs,
  waitAfterPollMs,
} from '../../src/ingest/polling-policy.ts';

const minute = 60_000;
const hour = 60 * minute;
const settings = { intervalMs: minute };
const usual = { pollIntervalMs: null };
const rare = { pollIntervalMs: 24 * hour };

test('the interval of a mailbox comes before the configured one', () => {
  expect([usual, rare].map((mailbox) => intervalOf(mailbox, settings))).toEqual([minute, 24 * hour]);
});

test.each<[PollEnd, number, number]>([
  ['finished', minute, 24 * hour],
  ['folder_unstable', hour, 24 * hour],
  ['message_given_up', 0, 0],
  ['idle_slot_ended', 0, 0],
  ['idle_connection_ended', 1000, 1000],
  ['token_ending', 0, 0],
  ['token_ended', 1000, 1000],
])('after a poll that ended as %s', (end, usualMs, rareMs) => {
  expect([usual, rare].map((mailbox) => waitAfterPollMs(end, mailbox, settings))).toEqual([usualMs, rareMs]);
});

test('after a failed poll the wait is its backoff, and within the bound', () => {
  const suspendMs = 30 * 24 * hour;
  for (const mailbox of [usual, rare]) {
    expect(waitAfterFailureMs(suspendMs, mailbox, settings)).toBe(suspendMs);
    expect(longestWaitMs({ ...mailbox, failures: 1 }, settings, true)).toBeGreaterThan(suspendMs);
  }
});

test('at a start a mailbox waits for its interval at most, and one that failed for the longest suspension and a day', () => {
  expect(longestWaitMs({ ...usual, failures: 0 }, settings, true)).toBe(minute);
  expect(longestWaitMs({ ...rare, failures: 0 }, settings, true)).toBe(24 * hour);
  expect(longestWaitMs({ ...usual, failures: 1 }, settings, true)).toBe(31 * 24 * hour);
});
