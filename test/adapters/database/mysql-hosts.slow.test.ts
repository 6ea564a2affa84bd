/**
 * Several database hosts: which one is used, when another one, and what is said when none works.
 */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { openDatabase } from '../../../src/adapters/database/database.ts';
import { MysqlHosts } from '../../../src/adapters/database/mysql-hosts.ts';
import { Failure } from '../../../src/errors.ts';
import { startFaultProxy } from '../../support/fault-proxy.ts';
import { type Mariadb, type MysqlConfig, startMariadb } from '../../support/mariadb.ts';
import { freePort } from '../../support/programs.ts';
import { by, plain, sampleMailbox, secret } from './samples.ts';

const stack = new AsyncDisposableStack();
let mariadb: Mariadb;
let config: MysqlConfig;

beforeAll(async () => {
  mariadb = stack.use(await startMariadb());
  config = (await mariadb.createDatabase()).config;
  await using db = await openDatabase(config);
  await db.migrations.apply();
});
afterAll(() => stack.disposeAsync());

type Host = { readonly host: string; readonly port: number };

/** The configuration with these hosts instead. */
function at(...hosts: readonly Host[]): MysqlConfig {
  return { ...config, hosts: hosts.map(({ host, port }) => ({ host, port })) };
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (error instanceof Failure) return error;
  throw new Error('expected a failure', { cause: error });
}

const closedPort = async (): Promise<Host> => ({ host: '127.0.0.1', port: await freePort() });

describe('the order', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((host) => ({ host, port: 3306, socketPath: null }));
  if (a === undefined || b === undefined || c === undefined) throw new Error('three were made');
  const names = (hosts: MysqlHosts) => hosts.order().map(({ host }) => host);

  test('is that of the configuration, then the one that worked comes first', () => {
    const hosts = new MysqlHosts([a, b, c]);
    expect(names(hosts)).toEqual(['a', 'b', 'c']);
    hosts.worked(c, 0);
    expect(names(hosts)).toEqual(['c', 'a', 'b']);
  });

  test('goes on with the next one when the one in use fails, and from the last one to the first', () => {
    const hosts = new MysqlHosts([a, b, c]);
    hosts.failed(b, 0);
    expect(names(hosts)).toEqual(['a', 'b', 'c']);
    hosts.failed(a, 0);
    expect(names(hosts)).toEqual(['b', 'c', 'a']);
    hosts.failed(b, 0);
    hosts.failed(c, 0);
    expect(names(hosts)).toEqual(['a', 'b', 'c']);
    const alone = new MysqlHosts([a]);
    alone.failed(a, 0);
    expect([names(alone), alone.wayBack(90_000)]).toEqual([['a'], null]);
  });

  test('has a way back to the first once a minute, as long as another one is in use', () => {
    const hosts = new MysqlHosts([a, b, c]);
    expect(hosts.wayBack(1_000_000)).toBeNull();
    hosts.worked(b, 1000);
    expect([60_999, 61_000, 61_001, 120_999, 121_000].map((nowMs) => hosts.wayBack(nowMs)?.host ?? null)).toEqual([
      ...[null, 'a', null, null, 'a'],
    ]);
    hosts.worked(a, 121_001);
    expect([names(hosts), hosts.wayBack(1_000_000)]).toEqual([['a', 'b', 'c'], null]);
  });
});

test('a host that refuses is passed over, and what worked is asked first from then on', async () => {
  await using first = await startFaultProxy(mariadb);
  await using second = await startFaultProxy(mariadb);
  await using db = await openDatabase(at(first, second));
  await db.ping();
  expect([first.accepted, second.accepted]).toEqual([1, 0]);
  first.fault = { kind: 'refuse' };
  first.kill('reset');
  await expect.poll(() => db.pool()?.open).toBe(0);
  await db.ping();
  await Promise.all(Array.from({ length: 6 }, () => db.ping()));
  expect([first.accepted, second.accepted]).toEqual([2, 6]);
});

test('a host that says nothing is given up after the time for connecting', async () => {
  await using first = await startFaultProxy(mariadb);
  await using second = await startFaultProxy(mariadb);
  first.fault = { kind: 'blackhole' };
  await using db = await openDatabase(at(first, second), { connectMs: 200 });
  await db.ping();
  first.fault = { kind: 'none' };
  await Promise.all(Array.from({ length: 4 }, () => db.ping()));
  expect([first.accepted, second.accepted]).toEqual([1, 4]);
});

test('a connection that rested is asked before it is used, and all others to a dead host go with it', async () => {
  await using first = await startFaultProxy(mariadb);
  await using second = await startFaultProxy(mariadb);
  const limits = { connectMs: 200, idleMs: 100, answerMs: 150 };
  await using db = await openDatabase(at(first, second), limits);
  await Promise.all(Array.from({ length: 8 }, () => db.ping()));
  expect(db.pool()).toEqual({ open: 8, busy: 0, waiting: 0, max: 10 });
  first.fault = { kind: 'blackhole' };
  await new Promise((resolve) => setTimeout(resolve, 120));
  const startedAtMs = performance.now();
  await Promise.all(Array.from({ length: 8 }, () => db.ping()));
  expect(performance.now() - startedAtMs).toBeLessThan(1500);
  expect(db.pool()).toMatchObject({ open: 8, busy: 0 });
  expect(second.accepted).toBe(8);
});

test('a host that becomes read-only is left, with all the connections that rest there', async () => {
  await using other = await startMariadb();
  await using first = await startFaultProxy(other);
  await using second = await startFaultProxy(mariadb);
  const name = config.database;
  await other.query(`create database ${name}`);
  await using there = await openDatabase(at(other));
  await there.migrations.apply();
  await using db = await openDatabase(at(first, second));
  await Promise.all(Array.from({ length: 5 }, () => db.ping()));
  await other.query('set global read_only = 1');
  const failure = await failureOf(db.addMailbox(sampleMailbox(), plain('x'), null, by));
  expect(failure).toMatchObject({ code: 'database_unavailable', fields: { errno: 1290 } });
  expect(failure.message).toContain(`127.0.0.1:${first.port}`);
  expect(db.pool()?.open).toBe(0);
  await expect.poll(() => first.open).toBe(0);
  const mailbox = sampleMailbox();
  await db.addMailbox(mailbox, plain('x'), null, by);
  await using here = await openDatabase(config);
  expect(await here.mailboxById(mailbox.id)).not.toBeNull();
});

test('a connection that is in use when another one breaks is closed once it comes back', async () => {
  await using proxy = await startFaultProxy(mariadb);
  await using db = await openDatabase(at(proxy), { statementMs: 400 });
  await Promise.all([db.ping(), db.ping()]);
  const [lockSeconds, { database }] = [1.5, config];
  const lock = mariadb.query(`use ${database}; lock tables ticket write; select sleep(${lockSeconds})`);
  await expect.poll(async () => (await mariadb.query('show open tables where in_use > 0')).length).toBeGreaterThan(0);
  const slow = failureOf(db.listTickets(1));
  const pings = Array.from({ length: 3 }, () => db.ping());
  await Promise.all(pings);
  expect((await slow).fields.cause).toBe('deadline');
  await lock;
  await expect.poll(() => proxy.open).toBe(0);
  await db.ping();
  expect(db.pool()).toMatchObject({ open: 1, busy: 0, waiting: 0 });
});

test('when no host works, each of them is named with its reason, again and again in the same words', async () => {
  const [one, other] = [await closedPort(), await closedPort()];
  await using db = await openDatabase(at(one, other));
  for (let round = 0; round < 3; round += 1) {
    const { code, message } = await failureOf(db.ping());
    expect({ code, message }).toEqual({
      code: 'database_unavailable',
      message:
        `None of the database hosts can be used right now: ` +
        `127.0.0.1:${one.port} (ECONNREFUSED), 127.0.0.1:${other.port} (ECONNREFUSED).`,
    });
  }
});

test('a host that refuses the password is named, and the others are not asked', async () => {
  await using second = await startFaultProxy(mariadb);
  await using db = await openDatabase({ ...at(mariadb, second), password: secret('wrong') });
  const failure = await failureOf(db.ping());
  expect(failure.code).toBe('database_denied');
  expect(failure.message).toContain(`127.0.0.1:${mariadb.port}`);
  expect(second.accepted).toBe(0);
});
