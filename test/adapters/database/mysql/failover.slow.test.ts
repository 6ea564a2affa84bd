/**
 * Failover between database hosts: order, failback, suspension, and the error when no host works.
 */
import { CompiledQuery } from 'kysely';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { openDatabase } from '../../../../src/adapters/database/database.ts';
import { MysqlConnection } from '../../../../src/adapters/database/mysql/connection.ts';
import { MysqlFailover } from '../../../../src/adapters/database/mysql/failover.ts';
import { serversOf } from '../../../../src/adapters/database/mysql/options.ts';
import { startFaultProxy } from '../../../support/faults/proxy.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Mariadb, type MysqlConfig, startMariadb } from '../../../support/servers/mariadb.ts';
import { freePort } from '../../../support/servers/programs.ts';
import { by, plain, sampleMailbox, secret } from '../samples.ts';
import { type Host, hostsOf } from './hosts-scene.ts';

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
afterEach(() => vi.restoreAllMocks());

/** The configuration with these hosts instead. */
function at(...hosts: readonly Host[]): MysqlConfig {
  return { ...config, ...hostsOf(...hosts) };
}

const closedPort = async (): Promise<Host> => ({ host: '127.0.0.1', port: await freePort() });

describe('the order', () => {
  const [a, b, c] = ['a', 'b', 'c'].map((host) => ({ host, port: 3306, socketPath: null }));
  if (a === undefined || b === undefined || c === undefined) throw new Error('three were made');
  const names = (hosts: MysqlFailover, nowMs = 0) => hosts.order(nowMs).map(({ host }) => host);

  test('is that of the configuration, then the host that worked is first', () => {
    const hosts = new MysqlFailover([a, b, c]);
    expect(names(hosts)).toEqual(['a', 'b', 'c']);
    hosts.connected(c, 0, 0);
    expect(names(hosts)).toEqual(['c', 'a', 'b']);
  });

  test('continues with the next host after a failure, and from the last to the first', () => {
    const hosts = new MysqlFailover([a, b, c]);
    hosts.connectFailed(b, 0);
    expect(names(hosts)).toEqual(['a', 'b', 'c']);
    hosts.connectFailed(a, 0);
    expect(names(hosts)).toEqual(['b', 'c', 'a']);
    hosts.connectFailed(b, 0);
    hosts.connectFailed(c, 0);
    expect(names(hosts)).toEqual(['a', 'b', 'c']);
    const alone = new MysqlFailover([a]);
    alone.connectFailed(a, 0);
    expect([names(alone), alone.failbackCandidate(90_000)]).toEqual([['a'], null]);
  });

  test('tries a failback to the first host once a minute while another one is in use', () => {
    const hosts = new MysqlFailover([a, b, c]);
    expect(hosts.failbackCandidate(1_000_000)).toBeNull();
    hosts.connected(b, 1000, 1000);
    expect(
      [60_999, 61_000, 61_001, 120_999, 121_000].map((nowMs) => hosts.failbackCandidate(nowMs)?.host ?? null),
    ).toEqual([...[null, 'a', null, null, 'a']]);
    hosts.connected(a, 121_001, 121_001);
    expect([names(hosts), hosts.failbackCandidate(1_000_000)]).toEqual([['a', 'b', 'c'], null]);
  });

  const minuteMs = 60_000;
  const deadlineMs = 30_000;

  test('suspends a server after statement timeouts, each time for longer, until a write commits', () => {
    const hosts = new MysqlFailover([a, b]);
    let nowMs = 0;
    const restAfterDeadline = (): number => {
      hosts.timedOut(a, nowMs, nowMs + deadlineMs);
      const sinceMs = nowMs + deadlineMs;
      expect(names(hosts, sinceMs)).toEqual(['b', 'a']);
      nowMs = sinceMs;
      while (hosts.failbackCandidate(nowMs) === null) nowMs += minuteMs / 4;
      const restMs = nowMs - sinceMs;
      expect(hosts.connected(a, nowMs, nowMs)).toBe(true);
      return restMs / minuteMs;
    };
    expect(Array.from({ length: 6 }, restAfterDeadline)).toEqual([2, 4, 8, 15, 15, 15]);
    nowMs += 600 * minuteMs;
    expect(restAfterDeadline()).toBe(15);
    hosts.committed(a, nowMs);
    nowMs += minuteMs;
    expect(restAfterDeadline()).toBe(2);
  });

  test('counts concurrent timeouts as one', () => {
    const hosts = new MysqlFailover([a, b]);
    for (const sinceMs of [0, 10, 20_000]) hosts.timedOut(a, sinceMs, sinceMs + deadlineMs);
    expect([2, 2.5].map((minutes) => hosts.failbackCandidate(minutes * minuteMs))).toEqual([null, a]);
  });

  test('stays where a write committed before the timeout, and where there is no other server', () => {
    const hosts = new MysqlFailover([a, b]);
    hosts.committed(a, 10);
    hosts.timedOut(a, 5, 5 + deadlineMs);
    expect(names(hosts)).toEqual(['a', 'b']);
    hosts.timedOut(a, 11, 11 + deadlineMs);
    expect(names(hosts)).toEqual(['b', 'a']);
    const alone = new MysqlFailover([a]);
    alone.timedOut(a, 0, deadlineMs);
    expect([names(alone), alone.failbackCandidate(90 * minuteMs), alone.connected(a, 0, deadlineMs)]).toEqual([
      ['a'],
      null,
      true,
    ]);
  });

  test('has suspended servers last, also while another one fails', () => {
    const hosts = new MysqlFailover([a, b, c]);
    hosts.timedOut(a, 0, deadlineMs);
    expect(names(hosts, deadlineMs)).toEqual(['b', 'c', 'a']);
    hosts.connectFailed(c, deadlineMs);
    hosts.connectFailed(b, deadlineMs);
    expect(names(hosts, deadlineMs)).toEqual(['c', 'b', 'a']);
    hosts.connectFailed(c, deadlineMs);
    expect(names(hosts, deadlineMs)).toEqual(['b', 'c', 'a']);
    hosts.connectFailed(b, deadlineMs);
    expect(names(hosts, deadlineMs + 2 * minuteMs)).toEqual(['c', 'a', 'b']);
    // What works is used first, resting or not.
    hosts.connected(a, deadlineMs + 1, deadlineMs + 2);
    expect(names(hosts, deadlineMs + 2)).toEqual(['a', 'b', 'c']);
  });

  test('ignores a login that began before the suspension', () => {
    const hosts = new MysqlFailover([a, b]);
    hosts.timedOut(a, 0, deadlineMs);
    expect([hosts.connected(a, deadlineMs - 1, deadlineMs + 1), names(hosts)]).toEqual([false, ['b', 'a']]);
    expect([hosts.connected(a, deadlineMs + 1, deadlineMs + 2), names(hosts)]).toEqual([true, ['a', 'b']]);
  });
});

test('a host that refuses connections is skipped, and the one that worked is first from then on', async () => {
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

test('a silent host is abandoned after the connect timeout', async () => {
  await using first = await startFaultProxy(mariadb);
  await using second = await startFaultProxy(mariadb);
  first.fault = { kind: 'blackhole' };
  await using db = await openDatabase(at(first, second), { connectTimeoutMs: 200 });
  await db.ping();
  first.fault = { kind: 'none' };
  await Promise.all(Array.from({ length: 4 }, () => db.ping()));
  expect([first.accepted, second.accepted]).toEqual([1, 4]);
});

test('an idle connection is pinged before use, and all others to a dead host are retired with it', async () => {
  await using first = await startFaultProxy(mariadb);
  await using second = await startFaultProxy(mariadb);
  const limits = { connectTimeoutMs: 200, pingAfterIdleMs: 100, pingTimeoutMs: 150 };
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

test('a host that becomes read-only is abandoned with all its idle connections', async () => {
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

describe('a host that accepts logins', () => {
  test('and commits nothing is abandoned at the timeout, without failback after the usual minute', async () => {
    await using other = await startMariadb();
    await other.query(`create database ${config.database}`);
    await using there = await openDatabase(at(other));
    await there.migrations.apply();
    await using first = await startFaultProxy(other);
    await using second = await startFaultProxy(mariadb);
    await using db = await openDatabase(at(first, second), { statementTimeoutMs: 800 });
    await db.addMailbox(sampleMailbox(), plain('x'), null, by);
    const undo = await holdCommits(other);
    expect((await failureOf(db.addMailbox(sampleMailbox(), plain('x'), null, by))).fields.cause).toBe('deadline');
    const mailbox = sampleMailbox();
    await db.addMailbox(mailbox, plain('x'), null, by);
    await using here = await openDatabase(config);
    expect(await here.mailboxById(mailbox.id)).not.toBeNull();
    await expect.poll(() => [first.open, second.open]).toEqual([0, 1]);
    const now = performance.now.bind(performance);
    let aheadMs = 61_000;
    vi.spyOn(performance, 'now').mockImplementation(() => now() + aheadMs);
    const toFirst = first.accepted;
    await db.ping();
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect([first.accepted, first.open, second.open]).toEqual([toFirst, 0, 1]);
    await undo();
    aheadMs = 122_000;
    await db.ping();
    await expect.poll(() => [first.open, second.open]).toEqual([1, 0]);
    const again = sampleMailbox();
    await db.addMailbox(again, plain('x'), null, by);
    expect(await there.mailboxById(again.id)).not.toBeNull();
  });

  test('stays in use after a timeout when the others cannot do the work', async () => {
    await using replica = await startMariadb();
    await replica.query(`create database ${config.database}`);
    await using there = await openDatabase(at(replica));
    await there.migrations.apply();
    await replica.query('set global read_only = 1');
    await using first = await startFaultProxy(mariadb);
    await using second = await startFaultProxy(replica);
    await using db = await openDatabase(at(first, second), { statementTimeoutMs: 400 });
    await db.ping();
    const { ended } = await holdTable('ticket', 1);
    expect((await failureOf(db.listTickets(1))).fields.cause).toBe('deadline');
    await db.addMailbox(sampleMailbox(), plain('x'), null, by);
    await db.addMailbox(sampleMailbox(), plain('x'), null, by);
    await ended;
    // The other one was asked once, and refused.
    await expect.poll(() => [first.open, second.open, second.accepted]).toEqual([1, 0, 1]);
    expect(db.pool()).toMatchObject({ open: 1, busy: 0 });
  });

  test('is not abandoned for one slow statement while others commit', async () => {
    await using first = await startFaultProxy(mariadb);
    await using second = await startFaultProxy(mariadb);
    await using db = await openDatabase(at(first, second), { statementTimeoutMs: 800 });
    await Promise.all([db.ping(), db.ping()]);
    const { ended } = await holdTable('ticket', 1.5);
    const slow = failureOf(db.listTickets(1));
    await db.addMailbox(sampleMailbox(), plain('x'), null, by);
    expect((await slow).fields.cause).toBe('deadline');
    await db.ping();
    expect(second.accepted).toBe(0);
    await ended;
  });
});

describe('a connection notifies its owner', () => {
  /** One of its own, and what it has notified so far. */
  async function openLink(deadlineMs: number) {
    const [place] = serversOf(config);
    if (place === undefined) throw new Error('there is one');
    const notified: string[] = [];
    const limits = {
      ...{
        connectTimeoutMs: 5000,
        statementTimeoutMs: deadlineMs,
        schemaChangeTimeoutMs: deadlineMs,
        probeAfterMs: 5000,
      },
      ...{ pingAfterIdleMs: 5000, pingTimeoutMs: 5000, pingIntervalMs: 5000 },
    };
    const link = await MysqlConnection.open(config, place, limits);
    link.setOwner({
      broken: () => notified.push('broken'),
      slow: () => notified.push('slow'),
      timedOut: () => notified.push('timed out'),
      committed: () => notified.push('committed'),
    });
    /** The notifications during these statements. */
    const notifiedBy = async (...steps: readonly string[]): Promise<readonly string[]> => {
      for (const step of steps) {
        if (step === 'begin' || step === 'commit' || step === 'rollback') await link[step]();
        else await link.executeQuery(CompiledQuery.raw(step));
      }
      return notified.splice(0);
    };
    return { link, notified, notifiedBy };
  }

  test('of a write after its commit, and not of a statement that changes nothing', async () => {
    const { link, notifiedBy } = await openLink(5000);
    await notifiedBy('create table probe (a int primary key, b int)');
    expect(await notifiedBy('insert into probe values (1, 1), (2, 2)')).toEqual(['committed']);
    expect(await notifiedBy('select * from probe', 'update probe set b = 9 where a = 3')).toEqual([]);
    expect(await notifiedBy('update probe set b = 1 where a = 1')).toEqual([]);
    expect(await notifiedBy('begin', 'update probe set b = 5 where a = 1', 'select 1')).toEqual([]);
    expect(await notifiedBy('commit')).toEqual(['committed']);
    expect(await notifiedBy('begin', 'delete from probe', 'rollback')).toEqual([]);
    expect(await notifiedBy('begin', 'select * from probe', 'commit', 'drop table probe')).toEqual([]);
    await link.close();
  });

  test('of a statement timeout before it breaks, but not of a DDL timeout', async () => {
    const { ended } = await holdTable('ticket', 1.5);
    for (const [sql, expected] of [
      ['select count(*) from ticket', ['timed out', 'broken']],
      [`alter table ticket comment 'x'`, ['broken']],
    ] as const) {
      const { notified, notifiedBy } = await openLink(300);
      expect((await failureOf(notifiedBy(sql))).fields.cause).toBe('deadline');
      expect(notified).toEqual(expected);
    }
    await ended;
  });
});

/** Blocks all commits until it ends, like a hanging disk; reads and logins continue. */
async function holdCommits(server: Mariadb): Promise<() => Promise<void>> {
  const stages = ['start', 'flush', 'block_ddl', 'block_commit'].map((stage) => `backup stage ${stage};`);
  const ended = server.query(`${stages.join(' ')} select sleep(60)`).catch(String);
  const holder = () => server.query(`select id from information_schema.processlist where info = 'select sleep(60)'`);
  await expect.poll(holder).not.toBe('');
  return async () => {
    await server.query(`kill ${await holder()}`);
    await ended;
  };
}

/** Locks a whole table for that time; resolves once it is locked, with a promise of the end. */
async function holdTable(name: string, seconds: number): Promise<{ readonly ended: Promise<string> }> {
  const ended = mariadb.query(`use ${config.database}; lock tables ${name} write; select sleep(${seconds})`);
  await expect.poll(() => mariadb.query('show open tables where in_use > 0')).toContain(name);
  return { ended };
}

test('a connection in use when another one breaks is closed on release', async () => {
  await using proxy = await startFaultProxy(mariadb);
  await using db = await openDatabase(at(proxy), { statementTimeoutMs: 400 });
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

test('when no host works, the error names each with its reason, in the same words each time', async () => {
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

test('a host that refuses the password is named, and the others are not tried', async () => {
  await using second = await startFaultProxy(mariadb);
  await using db = await openDatabase({ ...at(mariadb, second), password: secret('wrong') });
  const failure = await failureOf(db.ping());
  expect(failure.code).toBe('database_denied');
  expect(failure.message).toContain(`127.0.0.1:${mariadb.port}`);
  expect(second.accepted).toBe(0);
});
