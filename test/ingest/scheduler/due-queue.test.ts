import { describe, expect, test } from 'vitest';
import { admitted } from '../../../src/ingest/scheduler/due-queue.ts';
import type { UnderWay } from '../../../src/ingest/scheduler/poll-runner.ts';
import { homeOf } from '../../../src/ingest/scheduler/workers.ts';
import { dueMailbox } from '../samples.ts';

const limits = { concurrencyMax: 4, concurrencyPerHostMax: 2 };
const ours = { isHome: () => true, admitsServer: () => true, held: [] };
const visit = (host: string, isResting = false): UnderWay => ({ host, isRetry: false, isResting });

describe('the limits of a wake', () => {
  test('no more visits at a time than allowed, those under way included', () => {
    const due = ['a', 'b', 'c', 'd', 'e'].map((name) => dueMailbox(name, name));
    const chosen = admitted(due, new Map([['x', visit('x')]]), limits, ours);
    expect(chosen.map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  });

  test('one host with many mailboxes leaves room for the others', () => {
    const due = [dueMailbox('a1', 'a'), dueMailbox('a2', 'a'), dueMailbox('a3', 'a'), dueMailbox('b1', 'b')];
    expect(admitted(due, new Map(), limits, ours).map(({ name }) => name)).toEqual(['a1', 'a2', 'b1']);
  });

  test('a mailbox whose visit is still under way is not visited a second time', () => {
    expect(admitted([dueMailbox('a')], new Map([['a', visit('elsewhere', true)]]), limits, ours)).toEqual([]);
  });

  test('visits that rest take no place', () => {
    const resting = new Map(['r1', 'r2', 'r3', 'r4', 'r5'].map((id) => [id, visit('a', true)]));
    expect(admitted([dueMailbox('a', 'a')], resting, limits, ours)).toHaveLength(1);
  });

  test('a server that is left alone is tried by one mailbox', () => {
    const due = [dueMailbox('a1', 'a'), dueMailbox('a2', 'a')];
    const held = [due[0]?.connection ?? { host: '', port: 0 }];
    expect(admitted(due, new Map(), limits, { ...ours, held })).toHaveLength(1);
    expect(admitted(due, new Map(), limits, { ...ours, admitsServer: () => false })).toEqual([]);
  });
});

describe('mailboxes that fail', () => {
  test('get half of the places at most, whoever has waited longer', () => {
    const failing = ['a', 'b', 'c', 'd'].map((name) => dueMailbox(name, name, { failures: 1 }));
    const due = [...failing, dueMailbox('e', 'e'), dueMailbox('f', 'f')];
    const names = (underWay: ReadonlyMap<string, UnderWay>) =>
      admitted(due, underWay, limits, ours).map(({ name }) => name);
    expect(names(new Map())).toEqual(['a', 'b', 'e', 'f']);
    expect(names(new Map([['x', { host: 'x', isRetry: true, isResting: false }]]))).toEqual(['a', 'e', 'f']);
  });

  test('a server that is left alone is tried by the mailbox that has failed least', () => {
    const due = [dueMailbox('typo', 'a', { failures: 9 }), dueMailbox('good', 'a', { failures: 1 })];
    const held = [due[0]?.connection ?? { host: '', port: 0 }];
    expect(admitted(due, new Map(), limits, { ...ours, held }).map(({ name }) => name)).toEqual(['good']);
  });
});

describe('whose mailbox it is', () => {
  const away = { ...ours, isHome: () => false };

  test("a mailbox waits some seconds for its home, then it is anybody's", () => {
    expect(admitted([dueMailbox('a', 'a', { overdueMs: 1000 })], new Map(), limits, away)).toEqual([]);
    expect(admitted([dueMailbox('a', 'a', { overdueMs: 3001 })], new Map(), limits, away)).toHaveLength(1);
  });

  test('one that fails is tried from anywhere', () => {
    expect(admitted([dueMailbox('a', 'a', { failures: 1 })], new Map(), limits, away)).toHaveLength(1);
  });

  const ids = Array.from(
    { length: 4000 },
    (_, index) => `01a20d92-573e-7e7d-b241-${index.toString(16).padStart(12, '0')}`,
  );
  const workers = [1, 2, 3, 4].map((pid) => `desk/1234abcd/4026531836/10${pid}/5554443${pid}`);

  test('mailboxes spread evenly over four workers', () => {
    const counts = Map.groupBy(ids, (id) => homeOf(id, workers));
    for (const worker of workers) expect(counts.get(worker)?.length).toBeGreaterThan(900);
    for (const worker of workers) expect(counts.get(worker)?.length).toBeLessThan(1100);
  });

  test('when a worker goes only its own mailboxes move, and every worker sees it alike', () => {
    const rest = workers.slice(1);
    for (const id of ids) {
      const before = homeOf(id, workers);
      const after = homeOf(id, rest.toReversed());
      if (before !== workers[0]) expect(after).toBe(before);
      expect(after).toBe(homeOf(id, rest));
    }
  });
});
