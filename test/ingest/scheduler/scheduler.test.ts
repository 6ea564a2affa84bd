import { describe, expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import type { EventName } from '../../../src/events.ts';
import { createReporter } from '../../../src/ingest/health/reporter.ts';
import { createSchedulerLiveness } from '../../../src/ingest/health/scheduler-liveness.ts';
import { createHandledCounts } from '../../../src/ingest/poll/late-messages.ts';
import { createFolderCheckSchedule, createUidValidityChanges } from '../../../src/ingest/poll/uidvalidity-changes.ts';
import { noMeter } from '../../../src/ingest/ports.ts';
import { type CircuitBreaker, createCircuitBreaker } from '../../../src/ingest/scheduler/circuit-breaker.ts';
import type { SchedulerPorts, SchedulerSettings } from '../../../src/ingest/scheduler/poll-runner.ts';
import { createScheduler } from '../../../src/ingest/scheduler/scheduler.ts';
import type { DueMailbox, IngestStore } from '../../../src/ingest/stores.ts';
import { dueMailbox, handClock } from '../samples.ts';

type Line = { readonly level: string; readonly event: EventName; readonly fields: Readonly<Record<string, unknown>> };

const settings: SchedulerSettings = {
  ...{ intervalMs: 1000, backoffMsMax: 1000, leaseMs: 60_000, loginFailuresMax: 3, loginSuspendMs: 1 },
  ...{ concurrencyMax: 4, concurrencyPerHostMax: 4, idle: { connectionsMax: 0, connectionsPerHostMax: 0 } },
  limits: { messageBytesMax: 1, batch: { messagesMax: 1, bytesMax: 1 }, batchTimeoutMs: 1 },
  rules: { senderPerHourMax: null, senderExempt: [], reopenMs: null },
};

type Answer = (...asked: Parameters<IngestStore['dueMailboxes']>) => Promise<readonly DueMailbox[]>;

/** A scheduler with a fake database: `due` answers every tick, or throws. Every login is refused. */
function schedulerOn(due: Answer, given: { diskFails?: boolean; circuitBreaker?: CircuitBreaker } = {}) {
  const clock = handClock();
  const lines: Line[] = [];
  const polled: string[] = [];
  const write = (level: string) => (fields: Readonly<Record<string, unknown>>, event: EventName) =>
    void lines.push({ level, event, fields });
  const log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  let before: string | null = 'ok';
  const health = {
    liveness: createSchedulerLiveness(clock),
    recordDatabase: (failure: Failure | null) => {
      const state = failure?.code ?? 'ok';
      const isChange = state !== before;
      before = state;
      return isChange;
    },
    recordClockOffset: () => undefined,
    changed: () => undefined,
    recordPoll: (id: string) => polled.push(id) > 0,
    recordCertificate: () => undefined,
    uidValidityChanges: createUidValidityChanges(clock),
    folderCheckSchedule: createFolderCheckSchedule(clock),
    handledCounts: createHandledCounts(clock),
    recordDatabasePing: () => undefined,
  };
  const store = {
    dueMailboxes: due,
    listMailboxes: () => Promise.resolve([]),
    leasedMailboxes: () => Promise.resolve([]),
    makeStrandedDue: () => Promise.resolve(),
    databaseNowMs: () => Promise.resolve(clock.nowMs()),
    leaseOwner: () => Promise.resolve(null),
    acquireLease: () => Promise.resolve({ mailboxId: 'a', owner: 'me', epoch: 1 }),
    scheduleNewMailboxes: () => Promise.resolve(0),
    releaseLease: () => Promise.resolve(),
    pool: () => null,
  };
  const ports = {
    ...{ store, health, log, clock, meter: noMeter },
    reporter: createReporter({ log, health, meter: noMeter, hasDiskAsCause: () => false }),
    credentials: { withCredential: () => Promise.reject(new Failure('login_refused', 'refused')), keyIds: () => [] },
    leases: { autoRenew: () => ({ lost: new AbortController().signal, [Symbol.dispose]: () => undefined }) },
    workers: { refresh: () => Promise.resolve(), isPreferredHere: () => true },
    circuitBreaker: given.circuitBreaker ?? createCircuitBreaker(clock, () => 0),
    idleSlots: { refresh: () => Promise.resolve() },
    silence: {
      watch: () => ({ [Symbol.dispose]: () => undefined }),
      isServerSilent: () => false,
      verifyAll: () => undefined,
    },
    disk: {
      ...{ refresh: () => Promise.resolve(), confirm: () => Promise.resolve() },
      ...{ confirmPollFailure: () => Promise.resolve(false), isFailing: given.diskFails ?? false },
    },
    prepare: () => Promise.resolve(),
    worker: { name: 'me', isDead: () => false },
    newId: () => 'p1',
    random: () => 0,
  } as unknown as SchedulerPorts;
  return { scheduler: createScheduler(ports, () => settings, new AbortController().signal), lines, polled };
}

describe('the log', () => {
  test('has an unreachable database once, and its return once', async () => {
    let isUp = true;
    const { scheduler, lines } = schedulerOn(() =>
      isUp ? Promise.resolve([]) : Promise.reject(new Failure('database_unavailable', 'down')),
    );
    await scheduler.tick();
    isUp = false;
    for (let ticks = 0; ticks < 5; ticks += 1) await scheduler.tick();
    isUp = true;
    await scheduler.tick();
    expect(lines.map(({ event }) => event)).toEqual(['database.unavailable', 'database.recovered']);
  });

  test('has a mailbox that keeps failing at its 1st, 2nd, 4th and 8th failure', async () => {
    const { scheduler, lines } = schedulerOn(() => Promise.resolve([dueMailbox('a')]));
    for (let ticks = 0; ticks < 10; ticks += 1) {
      await scheduler.tick();
      await scheduler.drained();
    }
    const logged = lines.filter(({ event, level }) => event === 'poll.failed' && level === 'warn');
    expect(logged.map(({ fields }) => fields['failures'])).toEqual([1, 2, 4, 8]);
    expect(logged.every(({ fields }) => fields['poll'] === 'p1')).toBe(true);
  });
});

test('while the disk fails no poll starts, and the waiting mailboxes are counted', async () => {
  const due = [dueMailbox('a', 'a', { overdueMs: 5000 }), dueMailbox('b')];
  const { scheduler, polled } = schedulerOn(() => Promise.resolve(due), { diskFails: true });
  await scheduler.tick();
  await scheduler.drained();
  expect(polled).toEqual([]);
  expect(scheduler.load()).toEqual({ polls: 0, pollsLong: 0, due: 2, dueMs: 5000 });
});

test('mailboxes of a server with an open circuit are queried only when one of them may probe', async () => {
  const clock = handClock();
  const circuitBreaker = createCircuitBreaker(clock, () => 0);
  const server = { host: 'away.example', port: 993, tls: 'implicit' } as const;
  for (const id of ['a', 'b']) circuitBreaker.attemptEnded(server, id, new Failure('connect_refused', 'nobody'));
  const asked: unknown[] = [];
  const answer: Answer = async (...[, , , closed]) => {
    asked.push(closed?.map(({ host, port, tls }) => ({ host, port, tls })));
    return [];
  };
  const { scheduler } = schedulerOn(answer, { circuitBreaker });
  await scheduler.tick();
  clock.at.ms += 2000;
  await scheduler.tick();
  circuitBreaker.attemptStarted(server, 'a');
  await scheduler.tick();
  expect(asked).toEqual([[server], [], [server]]);
});
