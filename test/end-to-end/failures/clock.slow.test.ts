/**
 * Clock steps of the daemon and of the database, forward and back: polling continues, the check `clock` reports the
 * difference, and no step is taken for a hang or a dead worker.
 *
 * libfaketime (Debian's package `faketime`) sets the time of day of a process; without it these tests are skipped.
 */

import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  clockVariables,
  createFakedClock,
  type FakedClock,
  findFaketime,
  setClock,
} from '../../support/faults/faked-clock.ts';
import {
  checkOf,
  count,
  type Instance,
  mail,
  metrics,
  opened,
  openInstance,
  readiness,
} from '../../support/instance.ts';
import { named } from '../../support/processes/daemon.ts';

import { until } from '../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const library = findFaketime();
const hourS = 3600;
const stack = new AsyncDisposableStack();
let dovecot: Dovecot;
let mariadb: Mariadb;
let timedMariadb: Mariadb;
let databaseClock: FakedClock;

beforeAll(async () => {
  dovecot = stack.use(await startDovecot());
  if (library === null) return;
  const folder = stack.use(await temporaryFolder('clock'));
  databaseClock = await createFakedClock(library, join(folder.path, 'database'));
  mariadb = stack.use(await startMariadb());
  timedMariadb = stack.use(await databaseClock.inherited(() => startMariadb()));
});

afterAll(() => stack.disposeAsync());

type Daemon = ReturnType<Instance['start']>;

const clockCheck = async (daemon: Daemon) => (await readiness(daemon)).body.checks.clock;

async function untilClock(daemon: Daemon, what: string, pattern: RegExp | null): Promise<void> {
  await until(`clock: ${what}`, async () => {
    const { status, reason } = await clockCheck(daemon);
    return pattern === null ? status === 'ok' : status === 'warning' && pattern.test(reason ?? '');
  });
}

async function fetches(daemon: Daemon, user: string, id: string): Promise<void> {
  const before = opened(daemon);
  await dovecot.append(user, 'INBOX', [mail(id)]);
  await until(`mail ${id}`, () => opened(daemon) === before + 1 || null);
}

const inClear = {
  host: '127.0.0.1',
  tls: 'none',
  allowPlaintext: true,
  caPem: null,
  fingerprint: null,
  folder: 'INBOX',
} as const;

/** A daemon whose own clock can be set. */
async function timedDesk(database: Parameters<typeof openInstance>[0]) {
  const instance = await openInstance(database);
  const clockFile = join(instance.folder, 'clock');
  await setClock(clockFile, 0);
  const user = dovecot.newUser();
  // An hour ago the certificates of these tests did not exist.
  await instance.add(dovecot, user, { connection: { ...inClear, port: dovecot.port, user } });
  const start = () => instance.start(clockVariables(library ?? '', clockFile));
  return { instance, user, start, set: (offsetS: number) => setClock(clockFile, offsetS) };
}

test.skipIf(library === null).concurrent(
  'the clock of the daemon steps an hour ahead, then an hour back',
  async () => {
    const at = await timedDesk({ database: await mariadb.createDatabase() });
    await using _instance = at.instance;
    const encrypted = await at.instance.add(dovecot, dovecot.newUser());
    const daemon = at.start();
    await fetches(daemon, at.user, 'right');
    await untilClock(daemon, 'right', null);
    await at.set(hourS);
    await fetches(daemon, at.user, 'ahead');
    await untilClock(daemon, 'ahead', /^the clock of this machine is 3(599|600|601) s ahead of the database's$/);
    expect(await metrics(daemon)).toMatch(/^ticketmaild_clock_offset_seconds 3(599|600)(\.\d+)?$/m);
    await at.set(-hourS);
    await fetches(daemon, at.user, 'behind');
    await untilClock(daemon, 'behind', /^the clock of this machine is 3(599|600|601) s behind the database's$/);
    const { status, body } = await readiness(daemon);
    // A wrong clock is a warning: the work continues, and the wakes are not taken for lost.
    expect([status, body.checks.scheduler.status]).toEqual([200, 'ok']);
    const early = await until('a certificate of a time to come', async () => {
      const check = await checkOf(daemon, encrypted.name);
      return check?.status === 'failing' ? check : null;
    });
    expect(early).toMatchObject({ reason: 'tls_expired: The certificate of the server is not valid yet.' });
    expect(early.hint).toMatch(/clock of this machine/);
    await at.set(0);
    await fetches(daemon, at.user, 'right-again');
    await untilClock(daemon, 'right again', null);
    await until('it is ready', async () => (await checkOf(daemon, encrypted.name))?.status === 'ok');
    expect(count(daemon, 'database.clock_stepped')).toBe(0);
  },
  90_000,
);

test.skipIf(library === null).concurrent(
  'the clock of the database steps an hour ahead, then two hours back',
  async () => {
    await using instance = await openInstance({ database: await timedMariadb.createDatabase() });
    const [user, failing] = [dovecot.newUser(), dovecot.newUser()];
    await instance.add(dovecot, user);
    const box = await instance.add(dovecot, failing);
    await instance.add(dovecot, failing, { name: 'no-folder', connection: { ...box.connection, folder: 'Later' } });
    const daemon = instance.start();
    await fetches(daemon, user, 'right');
    await daemon.waitFor(named('poll.failed'));
    await sleep(2500);
    await databaseClock.set(hourS);
    try {
      await fetches(daemon, user, 'ahead');
      const ahead = await daemon.waitFor(named('database.clock_stepped'));
      expect(Math.abs(Number(ahead['stepped_ms']) - hourS * 1000)).toBeLessThan(5000);
      await untilClock(daemon, 'behind', /behind the database's$/);
      await databaseClock.set(-hourS);
      await fetches(daemon, user, 'behind');
      const isBack = (line: Readonly<Record<string, unknown>>) => Number(line['stepped_ms']) < 0;
      const back = await daemon.waitFor((line) => named('database.clock_stepped')(line) && isBack(line));
      expect(Math.abs(Number(back['stepped_ms']) + 2 * hourS * 1000)).toBeLessThan(5000);
      // The one that fails is not put off for the two hours either.
      await dovecot.createFolder(failing, 'Later');
      await daemon.waitFor((line) => named('poll.recovered')(line) && line['mailbox'] === 'no-folder');
    } finally {
      await databaseClock.set(0);
    }
    await fetches(daemon, user, 'right-again');
    await untilClock(daemon, 'right again', null);
    await until('it is ready', async () => (await readiness(daemon)).body.checks.mailboxes.status === 'ok' || null);
  },
  90_000,
);

test
  .skipIf(library === null)
  .concurrent(
    'with the embedded database both clocks are one, and its steps are detected all the same',
    { timeout: 60_000, tags: ['long'] },
    async () => {
      const at = await timedDesk({});
      await using _instance = at.instance;
      const daemon = at.start();
      await fetches(daemon, at.user, 'right');
      await untilClock(daemon, 'compared', null);
      await at.set(-hourS);
      await daemon.waitFor(named('database.clock_stepped'));
      await fetches(daemon, at.user, 'behind');
      expect(await clockCheck(daemon)).toMatchObject({ status: 'ok' });
      await at.set(hourS);
      await fetches(daemon, at.user, 'ahead');
    },
  );

describe.skipIf(library === null).concurrent.each([
  { offsetsS: [48 * hourS], tags: [] },
  { offsetsS: [hourS / 2, 9000 * hourS], tags: ['long'] },
])('a daemon whose clock was ahead at a power failure', ({ offsetsS, tags }) => {
  test.each(offsetsS)('by %i s begins at once with the right time', { timeout: 60_000, tags }, async (aheadS) => {
    const at = await timedDesk({});
    await using _instance = at.instance;
    await at.set(aheadS);
    const before = at.start();
    await fetches(before, at.user, 'ahead');
    // The poll ends, and the time of the next one is written.
    await sleep(400);
    before.signal('SIGKILL');
    await before.exit;
    await at.set(0);
    const daemon = at.start();
    await fetches(daemon, at.user, 'right');
    daemon.signal('SIGTERM');
    expect((await daemon.exit).code).toBe(0);
  });
});

/** How the clocks step: that of the daemon, that of the database, or both, which are one with the embedded one. */
const steps = [{ whose: 'of the daemon' }, { whose: 'of the database' }, { whose: 'of both' }] as const;

test.skipIf(library === null).concurrent.for(steps)(
  'the clock $whose steps an hour ahead, then back: it is ready all the time, whether polled or idle',
  { timeout: 120_000 },
  async ({ whose }) => {
    await using stepped = new AsyncDisposableStack();
    const folder = stepped.use(await temporaryFolder('step'));
    const ofDatabase = await createFakedClock(library ?? '', join(folder.path, 'database'));
    const server =
      whose === 'of the database' ? stepped.use(await ofDatabase.inherited(() => startMariadb())) : mariadb;
    const database = whose === 'of both' ? null : await server.createDatabase();
    const env = { TICKETMAILD_POLL_INTERVAL_S: '30', TICKETMAILD_IDLE_CONNECTIONS_MAX: '1' };
    const at = await timedDesk({ database, env });
    stepped.use(at.instance);
    const polled = dovecot.newUser();
    await at.instance.add(dovecot, polled, { connection: { ...inClear, port: dovecot.port, user: polled } });
    const set = whose === 'of the database' ? ofDatabase.set : at.set;
    const daemon = at.start();
    await untilClock(daemon, 'right', null);
    await until('ready', async () => (await readiness(daemon)).body.checks.mailboxes.ok === 2);
    await until('one idles', async () => (await readiness(daemon)).body.checks.push.open === 1);
    for (const offsetS of [hourS, 0]) {
      await set(offsetS);
      const seen = await sampled(daemon, 14_000);
      expect({ offsetS, seen }).toEqual({ offsetS, seen: [] });
      await fetches(daemon, at.user, `at-${offsetS}`);
    }
  },
);

/** What `/readyz` said within `ms` other than ready, each once. */
async function sampled(daemon: Daemon, ms: number): Promise<readonly string[]> {
  const seen = new Set<string>();
  let answers = 0;
  for (const untilMs = performance.now() + ms; performance.now() < untilMs; await sleep(200)) {
    // The server may end a kept connection just when it is used again.
    const answer = await readiness(daemon).catch(() => null);
    if (answer === null) continue;
    const { status, body } = answer;
    const { mailboxes, scheduler, workers } = body.checks;
    answers += 1;
    if (status !== 200 || mailboxes.ok !== 2) seen.add(`${status} ${mailboxes.reason} ${mailboxes.list[0]?.reason}`);
    if (scheduler.status !== 'ok') seen.add(`scheduler: ${scheduler.reason}`);
    if (workers.list.length > 1) seen.add(`workers: ${workers.reason}`);
  }
  expect(answers).toBeGreaterThan(10);
  return [...seen];
}
