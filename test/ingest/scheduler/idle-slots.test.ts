import { describe, expect, test } from 'vitest';
import type { Log } from '../../../src/events.ts';
import type { IdleSlot } from '../../../src/ingest/poll/poll-context.ts';
import { createIdleSlots, type IdleSlots } from '../../../src/ingest/scheduler/idle-slots.ts';
import type { MailboxVersion } from '../../../src/ingest/stores.ts';
import { handClock, mailbox } from '../samples.ts';

const active: MailboxVersion = { version: '1', isActive: true, isRetried: false };

type Scene = {
  readonly clock: ReturnType<typeof handClock>;
  readonly rows: Map<string, MailboxVersion>;
  readonly foreign: Set<string>;
  readonly slots: IdleSlots;
  readonly request: (name: string, hadMessages?: boolean, host?: string) => IdleSlot | null;
  readonly refresh: () => Promise<void>;
  /** Events above level debug, with their mailboxes. */
  readonly logged: readonly string[];
};

function scene(limits = { connectionsMax: 2, connectionsPerHostMax: 2, rounds: { max: 1, perGroupMax: 1 } }): Scene {
  const clock = handClock();
  const rows = new Map<string, MailboxVersion>();
  const foreign = new Set<string>();
  const store = { mailboxVersions: () => Promise.resolve(rows) };
  const logged: string[] = [];
  const record = (fields: object, event: string) =>
    void logged.push(`${event} ${'mailbox' in fields && fields.mailbox}`);
  const log = { debug: () => undefined, info: record, warn: record } as unknown as Log;
  const workers = { isPreferredHere: (id: string) => !foreign.has(id) };
  const slots = createIdleSlots({ store, clock, workers, log }, () => limits);
  const request = (name: string, hadMessages = false, host = 'mail') => {
    rows.set(name, active);
    return slots.request(mailbox(name, host), '1', { hadMessages, isOffered: true });
  };
  const refresh = async () => {
    clock.at.ms += 2000;
    await slots.refresh();
  };
  return { clock, rows, foreign, slots, request, refresh, logged };
}

describe('IDLE slots', () => {
  test('are limited in all and for each server, and are reused', () => {
    const { slots, request } = scene({
      connectionsMax: 3,
      connectionsPerHostMax: 2,
      rounds: { max: 1, perGroupMax: 1 },
    });
    const first = request('a');
    expect(request('b')).not.toBeNull();
    expect(request('c')).toBeNull();
    expect(request('d', false, 'other')).not.toBeNull();
    expect(request('e', false, 'third')).toBeNull();
    expect(slots.usage()).toEqual({ open: 3, max: 3 });
    first?.[Symbol.dispose]();
    expect(request('c')).not.toBeNull();
  });

  test('do not exist when the limit is 0', () => {
    expect(
      scene({ connectionsMax: 0, connectionsPerHostMax: 0, rounds: { max: 1, perGroupMax: 1 } }).request('a'),
    ).toBeNull();
  });

  test('go to a mailbox with new messages from the one without for longest', () => {
    const { clock, request } = scene();
    const busy = request('a', true);
    const silent = request('b');
    expect(request('c')).toBeNull();
    expect(request('c', true)).not.toBeNull();
    expect(silent?.end.aborted).toBe(true);
    expect(silent?.isDueAtOnce()).toBe(false);
    expect(busy?.end.aborted).toBe(false);
    expect(request('d', true)).toBeNull();
    clock.at.ms += 11 * 60_000;
    expect(request('d', true)).not.toBeNull();
  });
});

describe('a slot ends, and the mailbox is due,', () => {
  test.each<[string, (scene: Scene) => void]>([
    ['when its row changed', ({ rows }) => void rows.set('a', { ...active, version: '2' })],
    ['when it was paused', ({ rows }) => void rows.set('a', { ...active, isActive: false })],
    ['when a person asked for a poll', ({ rows }) => void rows.set('a', { ...active, isRetried: true })],
    ['when it is gone', ({ rows }) => void rows.delete('a')],
    ['when another worker has become the preferred one', ({ foreign }) => void foreign.add('a')],
  ])('%s', async (_, change) => {
    const at = scene();
    const slot = at.request('a');
    await at.refresh();
    expect(slot?.end.aborted).toBe(false);
    change(at);
    await at.refresh();
    expect(slot?.end.aborted).toBe(true);
    expect(slot?.isDueAtOnce()).toBe(true);
  });
});

test('rounds are limited by a semaphore, so that a thousand announcements at once are no flood', async () => {
  const { request } = scene();
  const [a, b] = [request('a'), request('b')];
  const order: string[] = [];
  const { promise: gate, resolve: open } = Promise.withResolvers<void>();
  const first = a?.runRound(async () => {
    order.push('a begins');
    await gate;
    order.push('a ends');
    return { hadMessages: true };
  });
  const second = b?.runRound(async () => {
    order.push('b begins');
    return { hadMessages: false };
  });
  await Promise.resolve();
  open();
  await Promise.all([first, second]);
  expect(order).toEqual(['a begins', 'a ends', 'b begins']);
});

test('where a server keeps ending idle connections, the mailbox is only polled for an hour', () => {
  const { clock, request } = scene();
  for (let time = 1; time <= 3; time += 1) {
    const slot = request('a');
    clock.at.ms += 5000;
    expect(slot?.connectionEnded()).toBe(time < 3);
    slot?.[Symbol.dispose]();
  }
  expect(request('a')).toBeNull();
  clock.at.ms += 3_600_001;
  const slot = request('a');
  clock.at.ms += 61_000;
  expect(slot?.connectionEnded()).toBe(true);
});

test("a person's request ends that hour", () => {
  const { request, slots } = scene();
  const slot = request('a');
  expect(slot?.connectionEnded(true)).toBe(false);
  slot?.[Symbol.dispose]();
  expect(request('a')).toBeNull();
  slots.endSuspension('a');
  expect(request('a')).not.toBeNull();
});

describe('short IDLEs', () => {
  const month = 30 * 86_400_000;
  const idle = ({ clock, request }: Scene, ms: number) => {
    const slot = request('a');
    clock.at.ms += ms;
    const mayIdle = slot?.connectionEnded();
    slot?.[Symbol.dispose]();
    return mayIdle;
  };

  test('more than an hour apart are not counted', () => {
    const at = scene();
    for (let time = 0; time < 5; time += 1) {
      expect(idle(at, 5000)).toBe(true);
      at.clock.at.ms += month;
    }
  });

  test('are cleared by the first long one', () => {
    const at = scene();
    for (let time = 0; time < 5; time += 1) {
      expect(idle(at, 5000)).toBe(true);
      expect(idle(at, 5000)).toBe(true);
      expect(idle(at, 600_000)).toBe(true);
    }
    expect([1, 2, 3].map(() => idle(at, 5000))).toEqual([true, true, false]);
  });
});

test('a server that refuses IDLE is not asked again for an hour', () => {
  const { request } = scene();
  const slot = request('a');
  expect(slot?.connectionEnded(true)).toBe(false);
  slot?.[Symbol.dispose]();
  expect(request('a')).toBeNull();
});

describe('the push state of a mailbox', () => {
  const stateOf = ({ slots }: Scene, name: string, host = 'mail') => slots.pushStates()(mailbox(name, host));
  const breakOff = (at: Scene, name: string, times = 3) => {
    for (let time = 1; time <= times; time += 1) {
      const slot = at.request(name);
      at.clock.at.ms += 5000;
      slot?.connectionEnded();
      slot?.[Symbol.dispose]();
    }
  };

  test('says why a mailbox does not idle', () => {
    const at = scene();
    expect(stateOf(at, 'a')).toEqual({ state: 'polled', code: 'not_connected', until: null });
    at.request('a');
    expect(stateOf(at, 'a')).toEqual({ state: 'idling', code: null, until: null });
    at.slots.request(mailbox('plain', 'mail'), '1', { hadMessages: true, isOffered: false });
    expect(stateOf(at, 'plain')).toMatchObject({ state: 'polled', code: 'idle_unsupported' });
    at.request('plain');
    expect(stateOf(at, 'plain')).toMatchObject({ state: 'idling' });
    expect(stateOf(at, 'c')).toMatchObject({ code: 'idle_slots_taken' });
    at.foreign.add('c');
    expect(stateOf(at, 'c')).toMatchObject({ code: 'other_worker' });
    expect(
      stateOf(scene({ connectionsMax: 0, connectionsPerHostMax: 0, rounds: { max: 1, perGroupMax: 1 } }), 'a'),
    ).toMatchObject({ code: 'idle_off' });
  });

  test('is suspended for an hour after three short sessions, or a refused IDLE, and says until when', () => {
    const at = scene();
    breakOff(at, 'a', 2);
    expect(stateOf(at, 'a')).toMatchObject({ state: 'polled' });
    breakOff(at, 'a', 1);
    const until = new Date(at.clock.at.ms + 3_600_000).toISOString();
    expect(stateOf(at, 'a')).toEqual({ state: 'suspended', code: 'idle_broken_off', until });
    const slot = at.request('b');
    slot?.connectionEnded(true);
    slot?.[Symbol.dispose]();
    expect(stateOf(at, 'b')).toEqual({ state: 'suspended', code: 'idle_refused', until });
    at.clock.at.ms += 3_600_000;
    expect(stateOf(at, 'a')).toMatchObject({ state: 'polled', code: 'not_connected' });
  });

  test('is logged when it is suspended and when it has idled for a minute again', async () => {
    const at = scene();
    breakOff(at, 'a');
    expect(at.logged).toEqual(['push.suspended a']);
    at.clock.at.ms += 3_600_001;
    at.request('a');
    at.clock.at.ms += 50_000;
    await at.refresh();
    expect(at.logged).toHaveLength(1);
    at.clock.at.ms += 10_000;
    await at.refresh();
    await at.refresh();
    expect(at.logged).toEqual(['push.suspended a', 'push.resumed a']);
  });

  test('of fifty mailboxes of one server fills no log', async () => {
    const names = Array.from({ length: 50 }, (_, index) => `m${index}`);
    const at = scene({ connectionsMax: 50, connectionsPerHostMax: 50, rounds: { max: 1, perGroupMax: 1 } });
    for (const name of names) breakOff(at, name);
    expect(at.logged).toHaveLength(6);
    at.clock.at.ms += 3_600_001;
    for (const name of names) at.request(name);
    at.clock.at.ms += 60_000;
    await at.refresh();
    expect(at.logged).toHaveLength(7);
  });
});
