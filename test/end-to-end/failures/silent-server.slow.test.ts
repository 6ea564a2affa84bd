/**
 * Failure detection with a real mail server that hangs (SIGSTOP: the kernel accepts connections, nothing answers) or is
 * dead: `/readyz`, sampled each second, with 50 mailboxes in IDLE and with polled ones.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { count, mail, opened, openInstance, readiness, untilWell } from '../../support/instance.ts';
import type { Daemon } from '../../support/processes/daemon.ts';
import { named } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';

type Sample = { readonly atMs: number; readonly status: number; readonly ok: number; readonly reason: string | null };

type Outage = {
  /** Seconds until no mailbox is ok, and until all are again. */
  readonly seenAfterS: number;
  readonly goneAfterS: number;
  /** Seconds in which a mailbox was ok although its server was away. */
  readonly falseOkS: number;
  readonly samples: readonly Sample[];
};

async function sample(daemon: Daemon): Promise<Sample> {
  const { status, body } = await readiness(daemon);
  const { ok, reason } = body.checks.mailboxes;
  return { atMs: Date.now(), status, ok, reason };
}

async function sampled(daemon: Daemon, seconds: number, isOver: (one: Sample) => boolean = () => false) {
  const samples: Sample[] = [];
  for (const endMs = Date.now() + seconds * 1000; Date.now() < endMs; await sleep(1000)) {
    samples.push(await sample(daemon));
    if (samples.at(-1) !== undefined && isOver(samples.at(-1) as Sample)) break;
  }
  return samples;
}

/** Breaks the server for so long, and prints what was seen. */
async function outage(name: string, daemon: Daemon, seconds: number, server: { away(): unknown; back(): unknown }) {
  const { ok: all } = await sample(daemon);
  await server.away();
  const fromMs = Date.now();
  const during = await sampled(daemon, seconds);
  await server.back();
  const backMs = Date.now();
  const after = await sampled(daemon, 90, ({ ok }) => ok === all);
  const seen = during.find(({ ok }) => ok === 0);
  const result: Outage = {
    seenAfterS: seen === undefined ? Number.POSITIVE_INFINITY : (seen.atMs - fromMs) / 1000,
    goneAfterS: ((after.findLast(({ ok }) => ok === all)?.atMs ?? Number.POSITIVE_INFINITY) - backMs) / 1000,
    falseOkS: during.filter(({ ok }) => ok > 0).length,
    samples: during,
  };
  const { seenAfterS, goneAfterS, falseOkS } = result;
  process.stdout.write(
    `${name}: seen after ${seenAfterS} s, gone after ${goneAfterS} s, ok falsely for ${falseOkS} s\n`,
  );
  return result;
}

async function scene(mailboxes: number, env: Readonly<Record<string, string>>) {
  await using building = new AsyncDisposableStack();
  const dovecot = building.use(await startDovecot());
  const usual = { TICKETMAILD_POLL_INTERVAL_S: '60', TICKETMAILD_POLL_BACKOFF_MAX_S: '900' };
  const instance = building.use(await openInstance({ env: { ...usual, ...env } }));
  const users = Array.from({ length: mailboxes }, () => dovecot.newUser());
  for (const user of users) await instance.add(dovecot, user);
  const daemon = instance.start();
  const undo = building.move();
  return { dovecot, daemon, users, [Symbol.asyncDispose]: () => undo.disposeAsync() };
}

const hang = (dovecot: Dovecot) => ({
  away: () => dovecot.signal('SIGSTOP'),
  back: () => dovecot.signal('SIGCONT'),
});

const logLines = (daemon: Daemon) => daemon.lines.filter(({ level }) => level !== 'debug');

test('50 mailboxes in IDLE: a hung and a dead server are seen within ten seconds, and idle they log nothing', async () => {
  await using at = await scene(50, { TICKETMAILD_IDLE_CONNECTIONS_MAX: '100' });
  const { dovecot, daemon, users } = at;
  await until('all idle', async () => (await readiness(daemon)).body.checks.push.open === 50, 120_000);
  await sleep(2000);
  const before = logLines(daemon).length;
  await sleep(20_000);
  expect(logLines(daemon)).toHaveLength(before);
  const hung = await outage('hangs, 50 in IDLE', daemon, 25, hang(dovecot));
  expect(hung.seenAfterS).toBeLessThanOrEqual(10.5);
  expect(hung.samples.at(-1)).toMatchObject({ status: 503 });
  expect(hung.samples.at(-1)?.reason).toMatch(
    /^50 of 50 fail: server localhost:\d+ with implicit TLS \(server_timeout\)$/,
  );
  expect(hung.goneAfterS).toBeLessThanOrEqual(5);
  const dead = await outage('dead, 50 in IDLE', daemon, 25, { away: dovecot.stop, back: () => dovecot.restart() });
  expect(dead.seenAfterS).toBeLessThanOrEqual(10.5);
  expect(dead.samples.at(-1)?.reason).toMatch(/^50 of 50 fail: server localhost:\d+ with implicit TLS \(connect_/);
  await untilWell(daemon);
  for (const [index, user] of users.entries()) await dovecot.append(user, 'INBOX', [mail(`after-${index}`)]);
  await until('each message once', () => opened(daemon) === 50, 60_000);
  const ofMessages = daemon.lines.filter(
    ({ event }) => `${event}`.startsWith('message.') || event === 'poll.finished' || event === 'folder.initialized',
  );
  expect(logLines(daemon).length - ofMessages.length - before).toBeLessThanOrEqual(25);
}, 400_000);

test('a long hang: connections time out as failures, the circuit breaker opens, and no mailbox is ok in between', async () => {
  await using at = await scene(10, {
    TICKETMAILD_IDLE_CONNECTIONS_MAX: '100',
    TICKETMAILD_POLL_COMMAND_TIMEOUT_S: '10',
    TICKETMAILD_POLL_CONNECT_TIMEOUT_S: '3',
  });
  const { dovecot, daemon } = at;
  await until('all idle', async () => (await readiness(daemon)).body.checks.push.open === 10, 60_000);
  const long = await outage('hangs for long, 10 in IDLE', daemon, 75, hang(dovecot));
  const first = long.samples.findIndex(({ ok }) => ok === 0);
  expect(long.seenAfterS).toBeLessThanOrEqual(10.5);
  expect(long.samples.slice(first).filter(({ ok }) => ok > 0)).toEqual([]);
  expect(daemon.lines.some(named('server.circuit_open'))).toBe(true);
  expect(count(daemon, 'server.silent')).toBe(1);
  expect(count(daemon, 'server.answering')).toBe(1);
  await untilWell(daemon);
}, 240_000);

test('polled mailboxes: a hung server is seen within an interval, and all of a server together', async () => {
  await using at = await scene(20, { TICKETMAILD_IDLE_CONNECTIONS_MAX: '0', TICKETMAILD_POLL_INTERVAL_S: '20' });
  const { dovecot, daemon } = at;
  await untilWell(daemon);
  await sleep(5000);
  const hung = await outage('hangs, 20 polled every 20 s', daemon, 40, hang(dovecot));
  expect(hung.seenAfterS).toBeLessThanOrEqual(30);
}, 200_000);
