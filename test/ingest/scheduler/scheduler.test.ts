import { describe, expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import type { EventName } from '../../../src/events.ts';
import { turning } from '../../../src/ingest/health/checks.ts';
import { createTeller } from '../../../src/ingest/health/reporter.ts';
import { createLooks, createRenumberings } from '../../../src/ingest/poll/cursor.ts';
import { noMeter } from '../../../src/ingest/ports.ts';
import { createHosts, type Hosts } from '../../../src/ingest/scheduler/circuit-breaker.ts';
import type { SchedulerPorts, SchedulerSettings } from '../../../src/ingest/scheduler/poll-runner.ts';
import { createScheduler } from '../../../src/ingest/scheduler/scheduler.ts';
import type { DueMailbox, IngestStore } from '../../../src/ingest/stores.ts';
import { dueMailbox, handClock } from '../samples.ts';

type Line = { readonly level: string; readonly event: EventName; readonly fields: Readonly<Record<string, unknown>> };

const settings: SchedulerSettings = {
  ...{ intervalMs: 1000, backOffMsMax: 1000, leaseMs: 60_000, loginRefusalsMax: 3, loginPauseMs: 1 },
  ...{ concurrencyMax: 4, concurrencyPerHostMax: 4, push: { connectionsMax: 0, connectionsPerHostMax: 0 } },
  limits: { messageBytesMax: 1, window: { messagesMax: 1, bytesMax: 1 }, windowMs: 1 },
  desk: { senderPerHourMax: null, senderExempt: [], reopenMs: null },
};

type Answer = (...asked: Parameters<IngestStore['dueMailboxes']>) => Promise<readonly DueMailbox[]>;

/** A loop on a database of our making: `due` answers every wake, or throws. Every login is refused. */
function loopOn(due: Answer, given: { diskFails?: boolean; hosts?: Hosts } = {}) {
  const clock = handClock();
  const lines: Line[] = [];
  const visited: string[] = [];
  const write = (level: string) => (fields: Readonly<Record<string, unknown>>, event: EventName) =>
    void lines.push({ level, event, fields });
  const log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  let before: string | null = 'ok';
  const vitals = {
    turning: turning(clock),
    database: (failure: Failure | null) => {
      const state = failure?.code ?? 'ok';
      const isNews = state !== before;
      before = state;
      return isNews;
    },
    clockOffset: () => undefined,
    visited: (id: string) => void visited.push(id),
    certificate: () => undefined,
    renumberings: createRenumberings(clock),
    looks: createLooks(clock),
    answered: () => undefined,
  };
  const store = {
    dueMailboxes: due,
    listMailboxes: () => Promise.resolve([]),
    leasedMailboxes: () => Promise.resolve([]),
    hurryStranded: () => Promise.resolve(),
    databaseNowMs: () => Promise.resolve(clock.nowMs()),
    leaseOwner: () => Promise.resolve(null),
    takeLease: () => Promise.resolve({ mailboxId: 'a', owner: 'me', epoch: 1 }),
    adoptMailboxes: () => Promise.resolve(0),
    releaseLease: () => Promise.resolve(),
  };
  const ports = {
    ...{ store, vitals, log, clock, meter: noMeter },
    teller: createTeller({ log, vitals, meter: noMeter }),
    passwords: { lend: () => Promise.reject(new Failure('login_refused', 'refused')), keyIds: () => [] },
    leases: { keep: () => ({ lost: new AbortController().signal, [Symbol.dispose]: () => undefined }) },
    fleet: { refresh: () => Promise.resolve(), isHome: () => true },
    hosts: given.hosts ?? createHosts(clock, () => 0),
    push: { refresh: () => Promise.resolve() },
    disk: { refresh: () => Promise.resolve(), isFailing: given.diskFails ?? false },
    prepare: () => Promise.resolve(),
    workers: { me: 'me', isDead: () => false },
    newId: () => 'p1',
    random: () => 0,
  } as unknown as SchedulerPorts;
  return { loop: createScheduler(ports, () => settings, new AbortController().signal), lines, visited };
}

describe('what the log hears of trouble', () => {
  test('a database that goes is told once, and once when it comes back', async () => {
    let isUp = true;
    const { loop, lines } = loopOn(() =>
      isUp ? Promise.resolve([]) : Promise.reject(new Failure('database_unavailable', 'down')),
    );
    await loop.wake();
    isUp = false;
    for (let wake = 0; wake < 5; wake += 1) await loop.wake();
    isUp = true;
    await loop.wake();
    expect(lines.map(({ event }) => event)).toEqual(['database.unavailable', 'database.recovered']);
  });

  test('a mailbox that keeps failing is told at its 1st, 2nd, 4th and 8th failure', async () => {
    const { loop, lines } = loopOn(() => Promise.resolve([dueMailbox('a')]));
    for (let wake = 0; wake < 10; wake += 1) {
      await loop.wake();
      await loop.idle();
    }
    const told = lines.filter(({ event, level }) => event === 'poll.failed' && level === 'warn');
    expect(told.map(({ fields }) => fields['failures'])).toEqual([1, 2, 4, 8]);
    expect(told.every(({ fields }) => fields['poll'] === 'p1')).toBe(true);
  });
});

test('while nothing can be written no visit begins, and the mailboxes that wait are counted', async () => {
  const due = [dueMailbox('a', 'a', { overdueMs: 5000 }), dueMailbox('b')];
  const { loop, visited } = loopOn(() => Promise.resolve(due), { diskFails: true });
  await loop.wake();
  await loop.idle();
  expect(visited).toEqual([]);
  expect(loop.busy()).toEqual({ visits: 0, due: 2, dueMs: 5000 });
});

test('the mailboxes of a server that is left alone are asked for when one of them may try, and not before', async () => {
  const clock = handClock();
  const hosts = createHosts(clock, () => 0);
  const server = { host: 'away.example', port: 993 };
  for (const id of ['a', 'b']) hosts.ended(server, id, new Failure('connect_refused', 'nobody'));
  const asked: unknown[] = [];
  const answer: Answer = async (...[, , , closed]) => {
    asked.push(closed?.map(({ host, port }) => ({ host, port })));
    return [];
  };
  const { loop } = loopOn(answer, { hosts });
  await loop.wake();
  clock.at.ms += 2000;
  await loop.wake();
  hosts.began(server, 'a');
  await loop.wake();
  expect(asked).toEqual([[server], [], [server]]);
});
