/**
 * What a visit leaves behind however it ends: on the signal to stop, in the schedule, and in what is known of its server.
 */
import { getEventListeners } from 'node:events';
import { setImmediate as settled } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import type { PollResult } from '../../../src/ingest/model.ts';
import { noMeter } from '../../../src/ingest/ports.ts';
import { createHosts } from '../../../src/ingest/scheduler/circuit-breaker.ts';
import type { SchedulerPorts, SchedulerSettings } from '../../../src/ingest/scheduler/poll-runner.ts';
import { createVisits } from '../../../src/ingest/scheduler/poll-runner.ts';
import { dueMailbox, handClock } from '../samples.ts';

const settings: SchedulerSettings = {
  ...{ intervalMs: 1000, backOffMsMax: 1000, leaseMs: 60_000, loginRefusalsMax: 3, loginPauseMs: 1 },
  ...{ concurrencyMax: 4, concurrencyPerHostMax: 4, push: { connectionsMax: 0, connectionsPerHostMax: 0 } },
  limits: { messageBytesMax: 1, window: { messagesMax: 1, bytesMax: 1 }, windowMs: 1 },
  desk: { senderPerHourMax: null, senderExempt: [], reopenMs: null },
};
const mail = { host: 'mail', port: 993 };
const refused = new Failure('connect_refused', 'nobody there');

/** How a login goes: well for null, else it fails; `stopped` waits for its signal. */
type Login = Failure | 'stopped' | null;

/** Visits to mailboxes of one server; an open session goes on until `end` is called. */
function scene(loginOf: (user: string) => Login) {
  const clock = handClock();
  const stop = new AbortController();
  const lost = new AbortController();
  const seen = { events: [] as string[], released: [] as (PollResult | null)[], hurried: [] as unknown[] };
  const ends = new Map<string, (failure: Failure) => void>();
  const folder = { uidValidity: 1, uidNext: 1, messageCount: 0 };
  const session = { folder, certificateEndsAtMs: null, canWatch: false, [Symbol.asyncDispose]: async () => undefined };
  const open = (user: string, signal: AbortSignal) => {
    const login = loginOf(user);
    if (login instanceof Failure) return Promise.reject(login);
    if (login === null) return Promise.resolve(session);
    return new Promise((_, reject) => {
      signal.addEventListener('abort', () => reject(new Failure('interrupted', 'stopped')));
    });
  };
  const log = (_: unknown, event: string) => void seen.events.push(event);
  const hosts = createHosts(clock, () => 0);
  const ports = {
    ...{ clock, hosts, meter: noMeter, random: () => 0, newId: () => 'p1', workers: { me: 'me' } },
    store: {
      takeLease: async (id: string) => ({ mailboxId: id, owner: 'me', epoch: 1 }),
      releaseLease: async (_: unknown, result: PollResult | null) => void seen.released.push(result),
      readPlace: (id: string) => new Promise((_, reject) => ends.set(id, reject)),
      hurry: async (codes: readonly string[], host: string) => void seen.hurried.push(...codes, host),
    },
    leases: { keep: () => ({ lost: lost.signal, [Symbol.dispose]: () => undefined }) },
    passwords: { lend: (_: unknown, use: (password: null) => unknown) => use(null) },
    sessions: { open: ({ user }: { user: string }, _: unknown, signal: AbortSignal) => open(user, signal) },
    log: { debug: log, info: log, warn: log },
    teller: { failed: () => undefined },
  } as unknown as SchedulerPorts;
  const visits = createVisits(
    ports,
    () => settings,
    stop.signal,
    () => undefined,
  );
  const visit = async (name: string) => {
    visits.start(dueMailbox(name, mail.host));
    await settled();
  };
  const end = async (name: string, failure: Failure) => {
    ends.get(name)?.(failure);
    await settled();
  };
  return { clock, stop, lost, seen, hosts, visits, visit, end };
}

test('a visit that fails before its session is open leaves nothing on the signal to stop', async () => {
  const { stop, visit, visits, seen } = scene(() => new Failure('login_refused', 'no'));
  for (const name of ['a', 'b', 'c']) await visit(name);
  await visits.idle();
  expect(seen.released).toHaveLength(3);
  expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
});

test('a session that is open is out of reach of the signal to stop; a lost lease ends a login, too', async () => {
  const { stop, lost, visit, visits, end, seen } = scene((user) => (user === 'open' ? null : 'stopped'));
  await visit('open');
  expect(getEventListeners(stop.signal, 'abort')).toEqual([]);
  await visit('login');
  lost.abort();
  await end('open', new Failure('lease_lost', 'taken over'));
  await visits.idle();
  expect(seen.released).toMatchObject([{ error: { code: 'interrupted' } }, { error: { code: 'lease_lost' } }]);
});

test('a stop during the login is no failure of the mailbox', async () => {
  const { stop, visit, visits, seen } = scene(() => 'stopped');
  await visit('a');
  stop.abort();
  await visits.idle();
  expect(seen.released).toEqual([null]);
});

test('a password that is refused while the daemon stops counts all the same', async () => {
  const { stop, visit, visits, seen } = scene(() => new Failure('login_refused', 'no'));
  stop.abort();
  await visit('a');
  await visits.idle();
  expect(seen.released).toMatchObject([{ ok: false, error: { code: 'login_refused' }, refusedVersion: '1' }]);
});

test('sessions that were open as the server went do not bring it back by their end, nor keep it from being left alone', async () => {
  const { hosts, visit, end, seen } = scene((user) => (user.startsWith('old') ? null : refused));
  const cut = new Failure('server_timeout', 'silent while fetching mails');
  for (const name of ['old-1', 'old-2', 'old-3', 'a']) await visit(name);
  await end('old-1', cut);
  await visit('b');
  expect(hosts.admits(mail)).toBe(false);
  await end('old-2', cut);
  await end('old-3', cut);
  expect(hosts.admits(mail)).toBe(false);
  expect(seen).toMatchObject({ events: ['host.held'], hurried: [] });
});

test('when a server is back, those that may have failed for its sake are hurried, and nobody whom it asks for rest', async () => {
  let isUp = false;
  const { clock, visit, seen, end } = scene(() => (isUp ? null : refused));
  await visit('a');
  await visit('b');
  isUp = true;
  clock.at.ms += 2000;
  await visit('c');
  await end('c', new Failure('server_busy', 'slow down'));
  expect(seen.events).toEqual(['host.held', 'host.recovered']);
  expect(seen.hurried.at(-1)).toBe('mail');
  expect(seen.hurried).toEqual(
    expect.arrayContaining(['connect_refused', 'connection_lost', 'server_timeout', 'tls_failed']),
  );
  for (const code of ['server_busy', 'login_refused']) expect(seen.hurried).not.toContain(code);
});
