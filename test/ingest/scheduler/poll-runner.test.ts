/**
 * The effects of a poll however it ends: on the stop signal, the schedule and the circuit breaker.
 */
import { getEventListeners } from 'node:events';
import { setImmediate as settled } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import type { Connection, Mailbox, PollResult } from '../../../src/ingest/model.ts';
import { noMeter } from '../../../src/ingest/ports.ts';
import { createCircuitBreaker } from '../../../src/ingest/scheduler/circuit-breaker.ts';
import type { SchedulerPorts, SchedulerSettings } from '../../../src/ingest/scheduler/poll-runner.ts';
import { createPollRunner } from '../../../src/ingest/scheduler/poll-runner.ts';
import { createServerSilence } from '../../../src/ingest/scheduler/server-silence.ts';
import { dueMailbox, handClock } from '../samples.ts';

const settings: SchedulerSettings = {
  ...{ intervalMs: 1000, backoffMsMax: 1000, leaseMs: 60_000, loginFailuresMax: 3, loginSuspendMs: 1 },
  ...{ concurrencyMax: 4, concurrencyPerHostMax: 4, idle: { connectionsMax: 0, connectionsPerHostMax: 0 } },
  limits: { messageBytesMax: 1, batch: { messagesMax: 1, bytesMax: 1 }, batchTimeoutMs: 1 },
  rules: { senderPerHourMax: null, senderExempt: [], reopenMs: null },
};
const mail = { host: 'mail', port: 993, tls: 'implicit' } as const;
const refused = new Failure('connect_refused', 'nobody there');

/** The result of a login: null for success, else its failure; `stopped` waits for its signal. */
type Login = Failure | 'stopped' | null;

/** Polls of mailboxes of one server; an open session lasts until `end` is called. */
function scene(loginOf: (user: string) => Login) {
  const clock = handClock();
  const stop = new AbortController();
  const lost = new AbortController();
  const seen = {
    ...{ events: [] as string[], reports: [] as string[], released: [] as (PollResult | null)[] },
    ...{ madeDue: [] as unknown[], dueAgain: [] as number[], certificates: [] as unknown[][] },
  };
  const disk = { isFailing: false, confirmPollFailure: () => Promise.resolve(false) };
  const leases = { left: [] as string[], areRevoked: false };
  const ends = new Map<string, (failure: Failure) => void>();
  const session = {
    folder: { uidValidity: 1, uidNext: 1, messageCount: 0 },
    certificateEndsAtMs: null,
    endsInMs: null,
    supportsIdle: false,
    [Symbol.asyncDispose]: async () => undefined,
  };
  const open = (user: string, signal: AbortSignal) => {
    const login = loginOf(user);
    if (login instanceof Failure) return Promise.reject(login);
    if (login === null) return Promise.resolve(session);
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(new Failure('interrupted', 'stopped')));
    });
  };
  const log = (_: unknown, event: string) => void seen.events.push(event);
  const circuitBreaker = createCircuitBreaker(clock, () => 0);
  const ports = {
    ...{ clock, circuitBreaker, meter: noMeter, random: () => 0, newId: () => 'p1', disk },
    worker: { name: 'me', isDead: () => false },
    store: {
      acquireLease: async (id: string) => ({ mailboxId: id, owner: 'me', epoch: 1 }),
      isLeaseRevoked: async () => leases.areRevoked,
      releaseLease: async (_: unknown, result: PollResult | null) => void seen.released.push(result),
      readFolderProgress: (id: string) => new Promise((_, reject) => ends.set(id, reject)),
      leasedMailboxes: async () => leases.left.map((id) => ({ id, name: id, owner: 'me' })),
      reclaimLease: async (_: string, id: string) => {
        leases.left = leases.left.filter((other) => other !== id);
      },
      makeDue: async (codes: readonly string[], host: string) => void seen.madeDue.push(...codes, host),
    },
    leases: { autoRenew: () => ({ lost: lost.signal, [Symbol.dispose]: () => undefined }) },
    credentials: {
      withCredential: ({ connection }: Mailbox, use: (credential: null, connection: Connection) => unknown) =>
        use(null, connection),
    },
    sessions: { open: ({ user }: { user: string }, _: unknown, signal: AbortSignal) => open(user, signal) },
    log: { debug: log, info: log, warn: log },
    reporter: { pollFailed: (_: unknown, { message }: Failure) => void seen.reports.push(message) },
    health: { recordCertificate: (...seenNow: unknown[]) => seen.certificates.push(seenNow), changed: () => undefined },
    silence: createServerSilence(clock, { changed: () => undefined, serverChanged: () => undefined }),
  } as unknown as SchedulerPorts;
  const runner = createPollRunner(
    ports,
    () => settings,
    stop.signal,
    () => undefined,
    (afterMs) => void seen.dueAgain.push(afterMs),
  );
  const poll = async (name: string) => {
    runner.start(dueMailbox(name, mail.host));
    await settled();
  };
  const end = async (name: string, failure: Failure) => {
    ends.get(name)?.(failure);
    await settled();
  };
  return { clock, stop, lost, seen, circuitBreaker, disk, leases, runner, poll, end };
}

test('a poll that fails before its session is open leaves no listener on the stop signal', async () => {
  const { stop, poll, runner, seen } = scene(() => new Failure('login_refused', 'no'));
  for (const name of ['a', 'b', 'c']) await poll(name);
  await runner.drained();
  expect(seen.released).toHaveLength(3);
  expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
});

test('the stop signal does not end an open session; a lost lease ends a login as well', async () => {
  const { stop, lost, poll, runner, end, seen } = scene((user) => (user === 'open' ? null : 'stopped'));
  await poll('open');
  expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  await poll('login');
  lost.abort();
  await end('open', new Failure('lease_lost', 'taken over'));
  await runner.drained();
  expect(seen.released).toMatchObject([{ error: { code: 'interrupted' } }, { error: { code: 'lease_lost' } }]);
});

test('a lost lease names the mailbox; one that was revoked for another folder of the account restarts the poll at once', async () => {
  const { leases, poll, runner, end, seen } = scene(() => null);
  await poll('a');
  await end('a', new Failure('lease_lost', 'another worker has acquired the lease of mailbox 01a2'));
  leases.areRevoked = true;
  await poll('b');
  await end('b', new Failure('lease_lost', 'another worker has acquired the lease of mailbox 01b2'));
  await runner.drained();
  expect(seen.reports).toEqual([
    'another worker has acquired the lease of mailbox a',
    'the poll of mailbox b ended, since another folder of its account was added',
  ]);
  expect(seen.dueAgain).toEqual([0]);
});

test('a stop during the login is no failure of the mailbox', async () => {
  const { stop, poll, runner, seen } = scene(() => 'stopped');
  await poll('a');
  stop.abort();
  await runner.drained();
  expect(seen.released).toEqual([null]);
});

test('a password that is refused while the daemon stops counts as a failure', async () => {
  const { stop, poll, runner, seen } = scene(() => new Failure('login_refused', 'no'));
  stop.abort();
  await poll('a');
  await runner.drained();
  expect(seen.released).toMatchObject([{ ok: false, error: { code: 'login_refused' }, refusedVersion: '1' }]);
});

test('the end of a token ends an open session without a failure, but not a login', async () => {
  const ended = new Failure('session_expired', 'the token ended');
  const { poll, runner, end, seen } = scene((user) => (user === 'open' ? null : ended));
  await poll('open');
  await end('open', ended);
  await poll('login');
  await runner.drained();
  expect(seen.released).toMatchObject([
    { ok: true, nextPollAfterMs: 1000 },
    { ok: false, error: { code: 'session_expired' } },
  ]);
});

test('the end of sessions from before an outage neither closes the circuit nor keeps it from opening', async () => {
  const { circuitBreaker, poll, end, seen } = scene((user) => (user.startsWith('old') ? null : refused));
  const cut = new Failure('server_timeout', 'silent while fetching messages');
  for (const name of ['old-1', 'old-2', 'old-3', 'a']) await poll(name);
  await end('old-1', cut);
  await poll('b');
  expect(circuitBreaker.allows(mail)).toBe(false);
  await end('old-2', cut);
  await end('old-3', cut);
  expect(circuitBreaker.allows(mail)).toBe(false);
  expect(seen).toMatchObject({ events: ['server.circuit_open'], madeDue: [] });
});

test('when the circuit closes, mailboxes that may have failed because of the server are due, except throttled ones', async () => {
  let isUp = false;
  const { clock, poll, seen, end } = scene(() => (isUp ? null : refused));
  await poll('a');
  await poll('b');
  isUp = true;
  clock.at.ms += 2000;
  await poll('c');
  await end('c', new Failure('server_busy', 'slow down'));
  expect(seen.events).toEqual(['server.circuit_open', 'server.circuit_closed']);
  expect(seen.madeDue.at(-1)).toBe('mail');
  expect(seen.madeDue).toEqual(
    expect.arrayContaining(['connect_refused', 'connection_lost', 'server_timeout', 'tls_failed']),
  );
  for (const code of ['server_busy', 'login_refused']) expect(seen.madeDue).not.toContain(code);
});

test('a lease that a full disk left behind is reclaimed as soon as files can be written again', async () => {
  const { runner, poll, end, disk, leases, seen } = scene(() => null);
  await runner.reclaimUnusedLeases();
  await poll('a');
  await end('a', new Failure('disk_full', 'no space left'));
  await runner.drained();
  leases.left = ['a'];
  disk.isFailing = true;
  await runner.reclaimUnusedLeases();
  expect(leases.left).toEqual(['a']);
  disk.isFailing = false;
  await runner.reclaimUnusedLeases();
  expect(leases.left).toEqual([]);
  expect(seen.events).toContain('lease.reclaimed');
});

test('the end of a refused certificate replaces that of the former one', async () => {
  const fields = { valid_until: '2021-01-02T00:00:00.000Z' };
  const { poll, runner, seen } = scene(() => new Failure('tls_expired', 'no', { fields }));
  await poll('a');
  await runner.drained();
  expect(seen.certificates).toEqual([[mail.host, mail.port, Date.UTC(2021, 0, 2)]]);
});
