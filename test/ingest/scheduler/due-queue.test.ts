import { describe, expect, test } from 'vitest';
import { createDueQueue, selectRunnable } from '../../../src/ingest/scheduler/due-queue.ts';
import type { PollInProgress } from '../../../src/ingest/scheduler/long-polls.ts';
import { dueMailbox, handClock } from '../samples.ts';

const limits = { concurrencyMax: 4, concurrencyPerHostMax: 2 };
const rules = { isPreferredHere: () => true, allowsServer: () => true, openCircuits: [] };
const usual = { isRetry: false, isIdling: false, isLong: false, hasCommitted: false, isEnding: false };
const poll = (host: string, isIdling = false): PollInProgress => ({ ...usual, host, isIdling });
const runnable = (...args: Parameters<typeof selectRunnable>) => selectRunnable(...args).runnable;

describe('the concurrency limits', () => {
  test('no more polls at a time than allowed, those in progress included', () => {
    const due = ['a', 'b', 'c', 'd', 'e'].map((name) => dueMailbox(name, name));
    const chosen = runnable(due, new Map([['x', poll('x')]]), limits, rules);
    expect(chosen.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  });

  test('one host with many mailboxes leaves room for the others', () => {
    const due = [dueMailbox('a1', 'a'), dueMailbox('a2', 'a'), dueMailbox('a3', 'a'), dueMailbox('b1', 'b')];
    expect(runnable(due, new Map(), limits, rules).map(({ name }) => name)).toEqual(['a1', 'a2', 'b1']);
  });

  test('a mailbox whose poll is in progress is not polled a second time', () => {
    expect(runnable([dueMailbox('a')], new Map([['a', poll('elsewhere', true)]]), limits, rules)).toEqual([]);
  });

  test('polls that idle use no slot', () => {
    const idling = new Map(['r1', 'r2', 'r3', 'r4', 'r5'].map((id) => [id, poll('a', true)]));
    expect(runnable([dueMailbox('a', 'a')], idling, limits, rules)).toHaveLength(1);
  });

  test('a server with an open circuit is probed by one mailbox', () => {
    const due = [dueMailbox('a1', 'a'), dueMailbox('a2', 'a')];
    const open = [due[0]?.connection ?? { host: '', port: 0, tls: 'none' as const }];
    expect(runnable(due, new Map(), limits, { ...rules, openCircuits: open })).toHaveLength(1);
    expect(runnable(due, new Map(), limits, { ...rules, allowsServer: () => false })).toEqual([]);
  });
});

describe('mailboxes that fail', () => {
  test('use at most half of the slots, however long they have waited', () => {
    const failing = ['a', 'b', 'c', 'd'].map((name) => dueMailbox(name, name, { failures: 1 }));
    const due = [...failing, dueMailbox('e', 'e'), dueMailbox('f', 'f')];
    const names = (inProgress: ReadonlyMap<string, PollInProgress>) =>
      runnable(due, inProgress, limits, rules).map(({ name }) => name);
    expect(names(new Map())).toEqual(['a', 'b', 'e', 'f']);
    expect(names(new Map([['x', { ...usual, host: 'x', isRetry: true }]]))).toEqual(['a', 'e', 'f']);
  });

  test('a server with an open circuit is probed by the mailbox with fewest failures', () => {
    const due = [dueMailbox('typo', 'a', { failures: 9 }), dueMailbox('good', 'a', { failures: 1 })];
    const open = [due[0]?.connection ?? { host: '', port: 0, tls: 'none' as const }];
    expect(runnable(due, new Map(), limits, { ...rules, openCircuits: open }).map(({ name }) => name)).toEqual([
      'good',
    ]);
  });
});

test('a server with an open circuit is probed by a mailbox that a person asked for', () => {
  const asked = dueMailbox('asked', 'a', { failures: 9, retryRequestedMs: 0 });
  const due = [dueMailbox('first', 'a', { failures: 1 }), asked, dueMailbox('last', 'a', { failures: 1 })];
  expect(runnable(due, new Map(), limits, { ...rules, openCircuits: [asked.connection] })).toEqual([asked]);
});

describe('the preferred worker', () => {
  const away = { ...rules, isPreferredHere: () => false };

  test('polls its mailbox within some seconds, then any worker does', () => {
    expect(runnable([dueMailbox('a', 'a', { overdueMs: 1000 })], new Map(), limits, away)).toEqual([]);
    expect(runnable([dueMailbox('a', 'a', { overdueMs: 3001 })], new Map(), limits, away)).toHaveLength(1);
  });

  test('does not matter for a mailbox whose last poll failed', () => {
    expect(runnable([dueMailbox('a', 'a', { failures: 1 })], new Map(), limits, away)).toHaveLength(1);
  });
});

test('a mailbox that a person asked for is polled by its preferred worker first, also one that failed', () => {
  const away = { ...rules, isPreferredHere: () => false };
  const asked = (overdueMs: number) => dueMailbox('a', 'a', { failures: 3, overdueMs, retryRequestedMs: overdueMs });
  expect(runnable([asked(1000)], new Map(), limits, away)).toEqual([]);
  expect(runnable([asked(3001)], new Map(), limits, away)).toHaveLength(1);
});

/** A due queue, and polls that run until the test ends them. */
function queueScene(limits = { concurrencyMax: 2, concurrencyPerHostMax: 2 }) {
  const at = {
    clock: handClock(),
    diskFails: false,
    open: new Set<string>(),
    ended: [] as PollInProgress[],
    requestedAtMs: [] as unknown[],
  };
  const inProgress = new Map<string, PollInProgress>();
  const order: string[] = [];
  const queue = createDueQueue(
    {
      clock: at.clock,
      workers: { isPreferredHere: () => true, refresh: () => Promise.resolve(), check: () => ({}) as never },
      circuitBreaker: {
        allows: ({ host }, requestedAtMs) => {
          at.requestedAtMs.push(requestedAtMs);
          return !at.open.has(host);
        },
        ...{ attemptStarted: () => undefined, attemptEnded: () => null, openCircuits: () => [] },
      },
      disk: {
        get isFailing() {
          return at.diskFails;
        },
        ...{
          refresh: () => Promise.resolve(),
          confirm: () => Promise.resolve(),
          check: () => ({}) as never,
          confirmPollFailure: () => Promise.resolve(false),
        },
      },
    },
    () => limits,
    {
      inProgress,
      start: ({ id, connection }) => {
        order.push(id);
        inProgress.set(id, { ...usual, host: connection.host });
      },
      end: (poll) => void at.ended.push(poll),
    },
  );
  return { at, inProgress, order, queue };
}

const three = () => ['a', 'b', 'c'].map((name, index) => dueMailbox(name, 'mail', { overdueMs: 3000 - index * 1000 }));

test('as many polls start as there are free slots, and the next as soon as one ends', () => {
  const { inProgress, order, queue } = queueScene();
  queue.replace(three(), true);
  queue.startRunnable();
  expect(order).toEqual(['a', 'b']);
  expect(queue.waiting()).toEqual({ due: 1, dueMs: 1000 });
  inProgress.delete('a');
  queue.startRunnable();
  expect(order).toEqual(['a', 'b', 'c']);
  expect(queue.waiting()).toEqual({ due: 0, dueMs: 0 });
});

test('the time of a request counts from the query that found it', () => {
  const { at, order, queue } = queueScene();
  queue.replace([dueMailbox('a', 'mail', { retryRequestedMs: 300 })], true);
  at.clock.at.ms += 900;
  at.requestedAtMs = [];
  queue.startRunnable();
  expect([order, at.requestedAtMs]).toEqual([['a'], [at.clock.at.ms - 1200]]);
});

test('a long poll that a due mailbox waits for ends', () => {
  const { at, inProgress, queue } = queueScene();
  const long = { ...poll('mail'), isLong: true, hasCommitted: true };
  inProgress
    .set('x', poll('mail'))
    .set('y', long)
    .set('z', { ...long });
  queue.replace(three(), true);
  queue.startRunnable();
  expect(at.ended).toEqual([long]);
});

test('a poll in progress is not in the queue, and a tick replaces the queue', () => {
  const { inProgress, order, queue } = queueScene();
  inProgress.set('a', poll('mail', true));
  queue.replace(three(), true);
  expect(queue.waiting().due).toBe(2);
  queue.replace([dueMailbox('d')], true);
  queue.startRunnable();
  expect(order).toEqual(['d']);
});

test('while the disk fails no poll starts, and the queue stays', () => {
  const { at, order, queue } = queueScene();
  at.diskFails = true;
  queue.replace(three(), true);
  queue.startRunnable();
  expect([order, queue.waiting().due]).toEqual([[], 3]);
  at.diskFails = false;
  queue.startRunnable();
  expect(order).toEqual(['a', 'b']);
});

test('mailboxes of a server with an open circuit stay in the queue, the others are polled', () => {
  const { at, order, queue } = queueScene();
  at.open.add('mail');
  queue.replace([...three(), dueMailbox('d', 'other')], true);
  queue.startRunnable();
  expect(order).toEqual(['d']);
  expect(queue.waiting().due).toBe(3);
});

test('an empty queue needs a refill only where more mailboxes are due than the query returned', () => {
  const { queue } = queueScene();
  queue.replace([], true);
  expect(queue.needsRefill()).toBe(false);
  queue.replace([dueMailbox('a')], false);
  expect(queue.needsRefill()).toBe(false);
  queue.startRunnable();
  expect(queue.needsRefill()).toBe(true);
});
