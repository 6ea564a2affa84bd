/**
 * Pool accounting: every connection is in use, idle or closed, whatever happens while it opens.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openDatabase } from '../../../../src/adapters/database/database.ts';
import { Failure } from '../../../../src/errors.ts';
import { startFaultProxy } from '../../../support/faults/proxy.ts';
import { type Mariadb, type MysqlConfig, startMariadb } from '../../../support/servers/mariadb.ts';
import { type ChunkProxy, type Host, hostsOf, startChunkProxy } from './hosts-scene.ts';

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

/** The configuration with these hosts instead. */
function at(...hosts: readonly Host[]): MysqlConfig {
  return { ...config, ...hostsOf(...hosts) };
}

async function causeOf(work: Promise<unknown>): Promise<unknown> {
  return work.then(
    () => 'done',
    (error: unknown) => (error instanceof Failure ? (error.fields.cause ?? error.code) : error),
  );
}

/** A way to the database that can hold everything back and let it arrive later. */
const startLink = () => startFaultProxy(mariadb);

/** No liveness probes, and logins have all the time of the test. */
const patient = { connectTimeoutMs: 20_000, probeAfterMs: 60_000, statementTimeoutMs: 2000 };

test('a connection that opens after its waiter timed out goes to the next waiter', async () => {
  await using link = await startLink();
  await using db = await openDatabase({ ...at(link), connectionsMax: 1 }, patient);
  await db.ping();
  link.fault = { kind: 'hold' };
  const ping = db.ping();
  const message = ping.catch((error: Error) => error.message);
  const first = causeOf(ping);
  await sleep(1000);
  const second = causeOf(db.ping());
  expect(await first).toBe('deadline');
  expect(await message).toMatch(/did not answer a statement within 2 s\.$/);
  expect(await second).toBe('pool_busy');
  link.fault = { kind: 'none' };
  await expect.poll(() => db.pool(), { timeout: 3000 }).toEqual({ open: 1, busy: 0, waiting: 0, max: 1 });
  expect(await causeOf(db.ping())).toBe('done');
});

test('a waiter that times out while its connection opens leaves it, and the queue, to the others', async () => {
  await using link = await startLink();
  await using db = await openDatabase({ ...at(link), connectionsMax: 1 }, patient);
  await db.ping();
  link.fault = { kind: 'hold' };
  const first = causeOf(db.ping());
  await sleep(700);
  const second = causeOf(db.ping());
  await sleep(700);
  const [third, fourth] = [causeOf(db.ping()), causeOf(db.ping())];
  expect([await first, await second]).toEqual(['deadline', 'pool_busy']);
  expect(db.pool()).toMatchObject({ open: 0, waiting: 2 });
  link.fault = { kind: 'none' };
  expect([await third, await fourth]).toEqual(['done', 'done']);
  await expect.poll(() => db.pool()).toEqual({ open: 1, busy: 0, waiting: 0, max: 1 });
});

test('a connection that opens after the pool was closed is closed too', async () => {
  await using link = await startLink();
  await using db = await openDatabase({ ...at(link), connectionsMax: 1 }, patient);
  await expect.poll(connections).toBe('0\n');
  await db.ping();
  link.fault = { kind: 'hold' };
  const first = causeOf(db.ping());
  await sleep(1000);
  const second = causeOf(db.ping());
  expect([await first, await second]).toEqual(['deadline', 'pool_busy']);
  await db[Symbol.asyncDispose]();
  link.fault = { kind: 'none' };
  await expect.poll(connections, { timeout: 3000 }).toBe('0\n');
});

async function connections(): Promise<string> {
  return mariadb.query(`select count(*) from information_schema.processlist where user = 'app'`);
}

test('a waiter is served immediately when a connection breaks as it opens', async () => {
  await using way = await startShortWay();
  await using db = await openDatabase({ ...at(way), connectionsMax: 1 }, { statementTimeoutMs: 5000 });
  const startedAtMs = performance.now();
  const ended = await Promise.all([causeOf(db.ping()), causeOf(db.ping())]);
  expect(ended).toEqual(['database_unavailable', 'done']);
  expect(performance.now() - startedAtMs).toBeLessThan(3000);
  expect(db.pool()).toEqual({ open: 1, busy: 0, waiting: 0, max: 1 });
});

/** ERR_Packet, out of turn: 1927, the connection was killed. */
const killed = Buffer.from('\x0e\x00\x00\x00\xff\x87\x07#70100Killed', 'latin1');

/** A way to the database on which the first connection is ended in the same piece as the last answer to its login. */
function startShortWay(): Promise<ChunkProxy> {
  let ends = 1;
  return startChunkProxy(mariadb.port, () => {
    let isLast = false;
    return {
      toServer: (chunk, pass) => {
        isLast = ends > 0 && chunk.includes('idle_transaction_timeout = ');
        pass();
      },
      toClient: (chunk, pass) => {
        if (isLast) ends -= 1;
        pass(isLast ? Buffer.concat([chunk, killed]) : chunk);
        isLast = false;
      },
    };
  });
}

test('after a period with silent hosts and many waiters every connection is free again', async () => {
  await using link = await startLink();
  const limits = {
    connectTimeoutMs: 250,
    statementTimeoutMs: 1500,
    probeAfterMs: 100,
    pingAfterIdleMs: 500,
    pingTimeoutMs: 100,
    pingIntervalMs: 3000,
  };
  await using db = await openDatabase({ ...at(link, link, link), connectionsMax: 4 }, limits);
  await Promise.all(Array.from({ length: 4 }, () => db.ping()));
  link.fault = { kind: 'hold' };
  const pings = Array.from({ length: 20 }, () => causeOf(db.ping()));
  await sleep(1625);
  link.fault = { kind: 'none' };
  await Promise.all(pings);
  await expect.poll(() => db.pool(), { timeout: 5000 }).toMatchObject({ busy: 0, waiting: 0 });
  await Promise.all(Array.from({ length: 8 }, () => db.ping()));
});
