import { describe, expect, test } from 'vitest';
import type { PollInProgress } from '../../../src/ingest/scheduler/long-polls.ts';
import { longPollMs, pollsToEnd, slotHolders } from '../../../src/ingest/scheduler/long-polls.ts';
import { dueMailbox } from '../samples.ts';

const limits = { concurrencyMax: 4, concurrencyPerHostMax: 4 };
const poll = (host: string, more: Partial<PollInProgress> = {}): PollInProgress => ({
  ...{ host, isRetry: false, isIdling: false, isLong: false, hasCommitted: false, isEnding: false },
  ...more,
});
const long = (host: string, more: Partial<PollInProgress> = {}) => poll(host, { isLong: true, ...more });

test('a poll is long after half an interval, 5 to 30 s', () => {
  expect([1000, 20_000, 60_000, 3_600_000].map(longPollMs)).toEqual([5000, 10_000, 30_000, 30_000]);
});

describe('the pool', () => {
  test('takes as many long polls as there are slots, and of one host half as many', () => {
    const quick = poll('a');
    expect(slotHolders([quick, long('a'), long('b'), long('c'), long('d')], limits)).toEqual([quick]);
    expect(
      slotHolders(
        ['a', 'b', 'c', 'd', 'e'].map((host) => long(host)),
        limits,
      ),
    ).toHaveLength(1);
    expect(slotHolders([long('a'), long('a'), long('a')], limits)).toHaveLength(1);
    expect(slotHolders([long('a'), long('a')], { ...limits, concurrencyMax: 1 })).toHaveLength(1);
  });
});

describe('a mailbox that waits', () => {
  const waiting = [dueMailbox('w', 'w')];
  const stuck = ['a', 'b', 'c', 'd', 'e', 'f', 'g', 'h'];

  test('for a slot ends a long poll, of the host that has most, once all places are taken', () => {
    const polls = stuck.map((host) => long(host));
    expect(pollsToEnd(waiting, polls.slice(0, 7), limits)).toEqual([]);
    expect(pollsToEnd(waiting, [...polls.slice(1), long('h', { isRetry: true })], limits)).toEqual([polls[7]]);
    expect(pollsToEnd([], polls, limits)).toEqual([]);
  });

  test('ends no second one while one ends, and none that is not long', () => {
    const polls = stuck.map((host) => long(host, { isEnding: host === 'a' }));
    expect(pollsToEnd(waiting, polls, limits)).toEqual([]);
    expect(pollsToEnd(waiting, [poll('a'), poll('a'), poll('b'), poll('b')], limits)).toEqual([]);
  });

  test('for a connection to its host ends a long poll of it, while these hold more than half', () => {
    const [first, second, third] = [long('w'), long('w', { hasCommitted: true }), long('w', { hasCommitted: true })];
    const waits = { ...limits, concurrencyMax: 8 };
    expect(pollsToEnd(waiting, [first, second, third, poll('w')], waits)).toEqual([second]);
    expect(pollsToEnd(waiting, [first, second, poll('w'), poll('w')], waits)).toEqual([]);
    expect(pollsToEnd(waiting, [first, second, third], waits)).toEqual([]);
    expect(pollsToEnd(waiting, [first], { ...waits, concurrencyPerHostMax: 1 })).toEqual([first]);
  });
});
