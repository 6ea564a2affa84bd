import { expect, test } from 'vitest';
import { createWaiting } from '../../../src/ingest/scheduler/due-queue.ts';
import type { UnderWay } from '../../../src/ingest/scheduler/poll-runner.ts';
import { dueMailbox } from '../samples.ts';

/** A list of mailboxes that wait, and visits that go on until they are ended by hand. */
function scene(limits = { concurrencyMax: 2, concurrencyPerHostMax: 2 }) {
  const at = { diskFails: false, held: new Set<string>() };
  const underWay = new Map<string, UnderWay>();
  const order: string[] = [];
  const waiting = createWaiting(
    {
      fleet: { isHome: () => true, refresh: () => Promise.resolve(), check: () => ({}) as never },
      hosts: { admits: ({ host }) => !at.held.has(host), began: () => undefined, ended: () => null, list: () => [] },
      disk: {
        get isFailing() {
          return at.diskFails;
        },
        ...{ refresh: () => Promise.resolve(), suspect: () => undefined, check: () => ({}) as never },
      },
    },
    () => limits,
    {
      inProgress: underWay,
      start: ({ id, connection }) => {
        order.push(id);
        underWay.set(id, { host: connection.host, isRetry: false, isResting: false });
      },
    },
  );
  return { at, underWay, order, waiting };
}

const three = () => ['a', 'b', 'c'].map((name, index) => dueMailbox(name, 'mail', { overdueMs: 3000 - index * 1000 }));

test('as many visits begin as there is room for, and the next as soon as one ends', () => {
  const { underWay, order, waiting } = scene();
  waiting.put(three(), true);
  waiting.begin();
  expect(order).toEqual(['a', 'b']);
  expect(waiting.count()).toEqual({ due: 1, dueMs: 1000 });
  underWay.delete('a');
  waiting.begin();
  expect(order).toEqual(['a', 'b', 'c']);
  expect(waiting.count()).toEqual({ due: 0, dueMs: 0 });
});

test('what is under way is not in the list, and a new list takes the place of the old one', () => {
  const { underWay, order, waiting } = scene();
  underWay.set('a', { host: 'mail', isRetry: false, isResting: true });
  waiting.put(three(), true);
  expect(waiting.count().due).toBe(2);
  waiting.put([dueMailbox('d')], true);
  waiting.begin();
  expect(order).toEqual(['d']);
});

test('while nothing can be written no visit begins, and the list stays', () => {
  const { at, order, waiting } = scene();
  at.diskFails = true;
  waiting.put(three(), true);
  waiting.begin();
  expect([order, waiting.count().due]).toEqual([[], 3]);
  at.diskFails = false;
  waiting.begin();
  expect(order).toEqual(['a', 'b']);
});

test('mailboxes of a server that is left alone stay in the list, the others go', () => {
  const { at, order, waiting } = scene();
  at.held.add('mail');
  waiting.put([...three(), dueMailbox('d', 'other')], true);
  waiting.begin();
  expect(order).toEqual(['d']);
  expect(waiting.count().due).toBe(3);
});

test('it runs dry only where there are more than the list could hold', () => {
  const { waiting } = scene();
  waiting.put([], true);
  expect(waiting.isDry()).toBe(false);
  waiting.put([dueMailbox('a')], false);
  expect(waiting.isDry()).toBe(false);
  waiting.begin();
  expect(waiting.isDry()).toBe(true);
});
