import { describe, expect, test } from 'vitest';
import type { PushPlace } from '../../../src/ingest/poll/poll-context.ts';
import { createPush, type Push } from '../../../src/ingest/scheduler/idle-slots.ts';
import type { WatchedRow } from '../../../src/ingest/stores.ts';
import { handClock, mailbox } from '../samples.ts';

type Scene = {
  readonly clock: ReturnType<typeof handClock>;
  readonly rows: Map<string, WatchedRow>;
  readonly foreign: Set<string>;
  readonly push: Push;
  readonly admit: (name: string, hadMail?: boolean, host?: string) => PushPlace | null;
  readonly look: () => Promise<void>;
};

function scene(limits = { connectionsMax: 2, connectionsPerHostMax: 2, rounds: { max: 1, perHostMax: 1 } }): Scene {
  const clock = handClock();
  const rows = new Map<string, WatchedRow>();
  const foreign = new Set<string>();
  const store = { watchedRows: () => Promise.resolve(rows) };
  const push = createPush({ store, clock, fleet: { isHome: (id) => !foreign.has(id) } }, () => limits);
  const admit = (name: string, hadMail = false, host = 'mail') => {
    rows.set(name, { version: '1', isActive: true });
    return push.admit(mailbox(name, host), '1', hadMail);
  };
  const look = async () => {
    clock.at.ms += 2000;
    await push.refresh();
  };
  return { clock, rows, foreign, push, admit, look };
}

describe('places for visits that stay', () => {
  test('are bounded in all and for each server, and come back', () => {
    const { push, admit } = scene({ connectionsMax: 3, connectionsPerHostMax: 2, rounds: { max: 1, perHostMax: 1 } });
    const first = admit('a');
    expect(admit('b')).not.toBeNull();
    expect(admit('c')).toBeNull();
    expect(admit('d', false, 'other')).not.toBeNull();
    expect(admit('e', false, 'third')).toBeNull();
    expect(push.open()).toEqual({ open: 3, max: 3 });
    first?.[Symbol.dispose]();
    expect(admit('c')).not.toBeNull();
  });

  test('none, when there may be none', () => {
    expect(
      scene({ connectionsMax: 0, connectionsPerHostMax: 0, rounds: { max: 1, perHostMax: 1 } }).admit('a'),
    ).toBeNull();
  });

  test('a mailbox that has mail takes the place of one that has had none for long', () => {
    const { clock, admit } = scene();
    const busy = admit('a', true);
    const silent = admit('b');
    expect(admit('c')).toBeNull();
    expect(admit('c', true)).not.toBeNull();
    expect(silent?.end.aborted).toBe(true);
    expect(silent?.isDueAfter()).toBe(false);
    expect(busy?.end.aborted).toBe(false);
    expect(admit('d', true)).toBeNull();
    clock.at.ms += 11 * 60_000;
    expect(admit('d', true)).not.toBeNull();
  });
});

describe('a visit that stays ends, and the mailbox is due,', () => {
  test.each<[string, (scene: Scene) => void]>([
    ['when its row changed', ({ rows }) => void rows.set('a', { version: '2', isActive: true })],
    ['when it was paused', ({ rows }) => void rows.set('a', { version: '1', isActive: false })],
    ['when it is gone', ({ rows }) => void rows.delete('a')],
    ['when another worker has become its home', ({ foreign }) => void foreign.add('a')],
  ])('%s', async (_, change) => {
    const at = scene();
    const place = at.admit('a');
    await at.look();
    expect(place?.end.aborted).toBe(false);
    change(at);
    await at.look();
    expect(place?.end.aborted).toBe(true);
    expect(place?.isDueAfter()).toBe(true);
  });
});

test('rounds take turns, so that a thousand announcements at once are no flood', async () => {
  const { admit } = scene();
  const [a, b] = [admit('a'), admit('b')];
  const order: string[] = [];
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const first = a?.round(async () => {
    order.push('a begins');
    await gate;
    order.push('a ends');
    return { hadMail: true };
  });
  const second = b?.round(async () => {
    order.push('b begins');
    return { hadMail: false };
  });
  await Promise.resolve();
  open();
  await Promise.all([first, second]);
  expect(order).toEqual(['a begins', 'a ends', 'b begins']);
});

test('where a server ends resting connections again and again, the mailbox is polled only, for an hour', () => {
  const { clock, admit } = scene();
  for (let time = 1; time <= 3; time += 1) {
    const place = admit('a');
    clock.at.ms += 5000;
    expect(place?.broke()).toBe(time < 3);
    place?.[Symbol.dispose]();
  }
  expect(admit('a')).toBeNull();
  clock.at.ms += 3_600_001;
  const place = admit('a');
  clock.at.ms += 61_000;
  expect(place?.broke()).toBe(true);
});

describe('short rests', () => {
  const month = 30 * 86_400_000;
  const rest = ({ clock, admit }: Scene, ms: number) => {
    const place = admit('a');
    clock.at.ms += ms;
    const mayRest = place?.broke();
    place?.[Symbol.dispose]();
    return mayRest;
  };

  test('of which each comes more than an hour after the one before are forgotten', () => {
    const at = scene();
    for (let time = 0; time < 5; time += 1) {
      expect(rest(at, 5000)).toBe(true);
      at.clock.at.ms += month;
    }
  });

  test('are forgotten with the first long one', () => {
    const at = scene();
    for (let time = 0; time < 5; time += 1) {
      expect(rest(at, 5000)).toBe(true);
      expect(rest(at, 5000)).toBe(true);
      expect(rest(at, 600_000)).toBe(true);
    }
    expect([1, 2, 3].map(() => rest(at, 5000))).toEqual([true, true, false]);
  });
});

test('a server that will not let a connection rest is not asked again for an hour', () => {
  const { admit } = scene();
  const place = admit('a');
  expect(place?.broke(true)).toBe(false);
  place?.[Symbol.dispose]();
  expect(admit('a')).toBeNull();
});
