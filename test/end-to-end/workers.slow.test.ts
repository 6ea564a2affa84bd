/**
 * Failover of several workers on one database: they share the mailboxes evenly and take over from one that dies or is
 * suspended; no message is lost or doubled, whatever a suspended one does when it resumes.
 */

import { hostname } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { preferredWorker } from '../../src/ingest/scheduler/workers.ts';
import { type Instance, mail, openInstance, readiness } from '../support/instance.ts';
import type { Daemon, LogLine } from '../support/processes/daemon.ts';
import { named } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';

const mailboxCount = 40;
const leaseMs = 5000;

const stack = new AsyncDisposableStack();
let dovecot: Dovecot;
let mariadb: Mariadb;

beforeAll(async () => {
  [dovecot, mariadb] = await Promise.all([startDovecot(), startMariadb()]);
  stack.use(dovecot);
  stack.use(mariadb);
});
afterAll(() => stack.disposeAsync());

type Worker = { readonly name: string; readonly daemon: Daemon };
type Box = { readonly id: string; readonly name: string; readonly user: string };

/** Daemons as on separate hosts: each has its own data folder. */
async function startWorkers(instance: Instance, count: number): Promise<readonly Worker[]> {
  const daemons = Array.from({ length: count }, (_, index) =>
    instance.start({ TICKETMAILD_DATA_DIR: join(instance.folder, `host${index + 1}`) }),
  );
  return Promise.all(
    daemons.map(async (daemon) => ({
      daemon,
      name: String((await daemon.waitFor(named('daemon.starting')))['worker']),
    })),
  );
}

async function addBoxes(instance: Instance): Promise<readonly Box[]> {
  const users = Array.from({ length: mailboxCount }, () => dovecot.newUser());
  return Promise.all(
    users.map(async (user) => {
      await dovecot.createFolder(user, 'INBOX');
      const { id, name } = await instance.add(dovecot, user);
      return { id, name, user };
    }),
  );
}

/** Messages that keep arriving until they are stopped, each with a subject of its own. */
function mailFlow(boxes: readonly Box[], everyMs: number) {
  const sent: string[] = [];
  const stopped = new AbortController();
  const send = async (box: Box | undefined, count: number): Promise<void> => {
    const subjects = Array.from({ length: count }, (_, index) => `mail-${sent.length + index}`);
    sent.push(...subjects);
    await dovecot.append(
      box?.user ?? '',
      'INBOX',
      subjects.map((subject) => mail(subject)),
    );
  };
  const flow = (async () => {
    while (!stopped.signal.aborted) {
      await send(boxes[sent.length % boxes.length], 1);
      await sleep(everyMs);
    }
  })();
  const stop = async () => {
    stopped.abort();
    await flow;
  };
  return { sent, send, stop };
}

/** When each mailbox was first polled after a moment, by any of `workers`; those that were not are left out. */
function pollsAfter(workers: readonly Worker[], atMs: number): ReadonlyMap<string, number> {
  const first = new Map<string, number>();
  for (const { daemon } of workers) {
    for (const line of daemon.lines.filter(named('poll.started'))) {
      const [mailbox, startedAtMs] = [String(line['mailbox']), Date.parse(String(line['time']))];
      if (startedAtMs >= atMs) first.set(mailbox, Math.min(startedAtMs, first.get(mailbox) ?? startedAtMs));
    }
  }
  return first;
}

/** Waits until others have polled all of `boxes`; the longest time that one of them was not polled, in milliseconds. */
async function takenOver(boxes: readonly Box[], others: readonly Worker[], sinceMs: number): Promise<number> {
  const polls = await until('every mailbox is polled by another worker', () => {
    const seen = pollsAfter(others, sinceMs);
    return boxes.every(({ name }) => seen.has(name)) ? seen : null;
  });
  return Math.max(...boxes.map(({ name }) => (polls.get(name) ?? 0) - sinceMs));
}

const sharedEnv = {
  TICKETMAILD_LOG_LEVEL: 'debug',
  TICKETMAILD_POLL_INTERVAL_S: '2',
  TICKETMAILD_POLL_LEASE_S: `${leaseMs / 1000}`,
  TICKETMAILD_POLL_COMMAND_TIMEOUT_S: `${leaseMs / 1000}`,
  TICKETMAILD_POLL_CONCURRENCY_PER_HOST_MAX: '8',
  TICKETMAILD_IDLE_CONNECTIONS_MAX: '100',
  TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '5',
};

test('four workers share the mailboxes; a killed one and a suspended one cost seconds and no message', async () => {
  const database = await mariadb.createDatabase();
  await using instance = await openInstance({
    database,
    env: sharedEnv,
  });
  const boxes = await addBoxes(instance);
  const workers = await startWorkers(instance, 4);
  const flow = mailFlow(boxes, 50);
  const query = (sql: string) => mariadb.query(`use ${database.name}; ${sql}`);
  const owners = async () => {
    const rows = await query('select mailbox_id, lease_owner from mailbox_state where lease_owner is not null');
    return new Map(rows.split('\n').flatMap((row) => (row === '' ? [] : [row.split('\t') as [string, string]])));
  };
  /** All of them idle at their preferred worker. */
  const settled = async (live: readonly Worker[]) => {
    const [names, held] = [live.map(({ name }) => name), await owners()];
    return boxes.every(({ id }) => held.get(id) === preferredWorker(id, names)) ? held : null;
  };
  const boxesOf = async ({ name }: Worker) => {
    const held = await owners();
    return boxes.filter(({ id }) => held.get(id) === name);
  };

  const shares = Map.groupBy(
    [...(await until('all are at their preferred worker', () => settled(workers))).values()],
    (owner) => owner,
  );
  // The names of workers are random here; workers.test.ts shows that the shares of many mailboxes are even.
  expect(Math.min(...workers.map(({ name }) => shares.get(name)?.length ?? 0))).toBeGreaterThanOrEqual(1);
  const [first, second, ...rest] = workers as [Worker, Worker, ...Worker[]];

  const ofFirst = await boxesOf(first);
  const killedAtMs = Date.now();
  first.daemon.signal('SIGKILL');
  const killCostsMs = await takenOver(ofFirst, [second, ...rest], killedAtMs);
  expect(killCostsMs).toBeLessThan(8000);
  await until('all are at the three', () => settled([second, ...rest]));

  // In the middle of a long poll, with a lease that expires meanwhile.
  const ofSecond = await boxesOf(second);
  const [long] = ofSecond as [Box];
  const isOfLong = (line: LogLine) => line['mailbox'] === long.name;
  const before = second.daemon.lines.filter(isOfLong).length;
  await flow.send(long, 200);
  await until('the poll is in progress', () => second.daemon.lines.filter(isOfLong).length >= before + 8);
  second.daemon.signal('SIGSTOP');
  const stoodStillAtMs = Date.now();
  const stillCostsMs = await takenOver(ofSecond, rest, stoodStillAtMs);
  expect(stillCostsMs).toBeLessThan(leaseMs + 10_000);
  await sleep(Math.max(0, leaseMs + 2000 - (Date.now() - stoodStillAtMs)));
  second.daemon.signal('SIGCONT');
  await second.daemon.waitFor((line) => isOfLong(line) && isCutOff(line));
  await until('all are at the three again', () => settled([second, ...rest]));

  await flow.stop();
  const subjects = async () => (await query('select subject from ticket')).split('\n').filter((line) => line !== '');
  await until('all messages', async () => (await subjects()).length >= flow.sent.length);
  expect((await subjects()).sort()).toEqual([...flow.sent].sort());
  const outcomes = await query('select count(*), count(distinct mailbox_id, folder_epoch, uid) from outcome');
  expect(outcomes).toBe(`${flow.sent.length}\t${flow.sent.length}\n`);
  expect(repeated(workers)).toEqual([]);
  expect(await instance.command('reconcile')).toMatchObject({ code: 0 });
  await readOnlyForAWhile([second, ...rest], () => flow.send(long, 1), subjects, flow.sent);
  await endInOrder([second, ...rest]);
});

async function endInOrder(workers: readonly Worker[]): Promise<void> {
  for (const { daemon } of workers) daemon.signal('SIGTERM');
  for (const { daemon } of workers) expect((await daemon.exit).code).toBe(0);
}

/** Another worker has the mailbox; or the database has cut off the transaction that it was suspended in. */
function isCutOff(line: LogLine): boolean {
  const code = String(Reflect.get(Object(line['error']), 'code'));
  return named('poll.failed')(line) && ['lease_lost', 'database_unavailable'].includes(code);
}

/** Messages that more than one poll of all workers reports as stored. */
function repeated(workers: readonly Worker[]): readonly string[] {
  const lines = workers.flatMap(({ daemon }) => daemon.lines.filter(named('message.ticket_opened')));
  const keys = lines.map((line) => [line['mailbox'], line['uid_validity'], line['uid']].join(' '));
  return keys.filter((key, index) => keys.indexOf(key) !== index);
}

/**
 * A server that becomes a read-only replica is reported with its reason; what arrived meanwhile is stored afterwards.
 */
async function readOnlyForAWhile(
  workers: readonly Worker[],
  send: () => Promise<void>,
  subjects: () => Promise<readonly string[]>,
  sent: readonly string[],
): Promise<void> {
  const databaseChecks = () =>
    Promise.all(workers.map(async ({ daemon }) => (await readiness(daemon)).body.checks.database));
  await mariadb.query('set global read_only = 1');
  try {
    const checks = await until('all report it', async () => {
      const said = await databaseChecks();
      return said.every(({ status }) => status === 'failing') ? said : null;
    });
    for (const { reason } of checks) expect(reason).toMatch(/^database_unavailable: .*--read-only/);
    await send();
    await sleep(1000);
    expect(await subjects()).toHaveLength(sent.length - 1);
  } finally {
    await mariadb.query('set global read_only = 0');
  }
  await until('all have recovered', async () => (await databaseChecks()).every(({ status }) => status === 'ok'));
  await until('the messages', async () => (await subjects()).length === sent.length);
}

test('a worker whose heartbeats fail reports that and continues to poll', {
  timeout: 120_000,
  tags: ['long'],
}, async () => {
  const database = await mariadb.createDatabase();
  await using instance = await openInstance({
    database,
    env: { TICKETMAILD_LOG_LEVEL: 'debug', TICKETMAILD_IDLE_CONNECTIONS_MAX: '10' },
  });
  const user = dovecot.newUser();
  await dovecot.createFolder(user, 'INBOX');
  await instance.add(dovecot, user);
  const daemon = instance.start();
  await daemon.waitFor(named('idle.started'));
  const trigger = "create trigger no_reports before update on workers for each row signal sqlstate '45000'";
  await mariadb.query(`use ${database.name}; ${trigger}`);
  await daemon.waitFor(named('worker.heartbeat_failed'));
  const check = await until('it counts as dead', async () => {
    const { workers } = (await readiness(daemon)).body.checks;
    return workers.status === 'warning' ? workers : null;
  });
  expect(check.reason).toBe('the heartbeats of this worker do not reach the database');
  // Three reads of the heartbeats.
  await sleep(6000);
  expect(daemon.lines.filter((line) => named('lease.reclaimed')(line) || named('poll.failed')(line))).toEqual([]);
  await dovecot.append(user, 'INBOX', [mail('all-the-same')]);
  await daemon.waitFor(named('message.ticket_opened'));
  await mariadb.query(`use ${database.name}; drop trigger no_reports`);
  await until(
    'its heartbeats arrive again',
    async () => (await readiness(daemon)).body.checks.workers.status === 'ok' || null,
  );
});

test('after a reboot the workers of the former boot are removed, and those of other hosts are shown', async () => {
  const database = await mariadb.createDatabase();
  await using instance = await openInstance({ database });
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('waits')]);
  const { id } = await instance.add(dovecot, user);
  const query = (sql: string) => mariadb.query(`use ${database.name}; ${sql}`);
  const before = `${hostname().slice(0, 64)}/00000000/1/1/1`;
  const since = 'utc_timestamp(3) - interval 1 minute';
  await query(`insert into workers (worker, host, pid, key_ids, vault, revision, started_at, heartbeat_at) values
    ('${before}', 'here', 1, '', 'closed', 0, ${since}, ${since}), ('far/00000000/1/1/1', 'far', 1, '', 'closed', 0, ${since}, ${since})`);
  await query(`update mailbox_state set lease_owner = '${before}', lease_until = utc_timestamp(3) + interval 1 hour
    where mailbox_id = '${id}'`);
  const daemon = instance.start();
  await daemon.waitFor(named('message.ticket_opened'));
  await until('it is removed', async () => {
    const { list } = (await readiness(daemon)).body.checks.workers;
    return list.length === 2 && list.every(({ host }) => host !== 'here') ? list : null;
  });
  expect((await query('select worker from workers')).split('\n')).not.toContain(before);
});

test('a second daemon on a SQLite file is refused with a hint, and takes over when the first has ended', async () => {
  await using instance = await openInstance();
  const first = instance.start();
  await first.waitFor(named('daemon.ready'));
  const second = instance.start();
  const refused = await second.exit;
  expect(refused.code).toBe(3);
  expect(refused.stderr).toMatch(/^ticketmaild: another daemon uses [^\n]+\nhint: [^\n]*MySQL or MariaDB[^\n]*\n$/);
  first.signal('SIGKILL');
  await first.exit;
  const third = instance.start();
  await third.waitFor(named('daemon.ready'));
  third.signal('SIGTERM');
  expect((await third.exit).code).toBe(0);
});
