/**
 * Changes under open connections: frozen and slow servers, limits, killed connections, and a commit without an answer.
 */
import type { Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import { testApp } from '../../../support/app.ts';
import { reset, startFaultProxy } from '../../../support/faults/proxy.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Dovecot, startDovecot } from '../../../support/servers/dovecot.ts';
import { type Mariadb, type MysqlConfig, startMariadb } from '../../../support/servers/mariadb.ts';
import { batchOf, by, opened, plain, sampleMailbox } from '../samples.ts';
import { type ChunkProxy, type Host, hostsOf, type OnChunk, startChunkProxy } from './hosts-scene.ts';

const minuteMs = 60_000;

const stack = new AsyncDisposableStack();
let mariadb: Mariadb;
let dovecot: Dovecot;
let config: MysqlConfig;

beforeAll(async () => {
  [mariadb, dovecot] = await Promise.all([startMariadb(), startDovecot()]);
  stack.use(mariadb);
  stack.use(dovecot);
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

async function leasedMailbox(db: Database) {
  const mailbox = sampleMailbox();
  await db.addMailbox(mailbox, plain('x'), null, by);
  const lease = await db.acquireLease(mailbox.id, 'me', minuteMs, null);
  if (lease === null) throw new Error('not taken');
  return { mailbox, lease };
}

/** Locks a whole table for that time; resolves once it is locked, with a promise of the end. */
async function holdTable(name: string, seconds: number): Promise<{ readonly ended: Promise<string> }> {
  const ended = mariadb.query(`use ${config.database}; lock tables ${name} write; select sleep(${seconds})`);
  await expect.poll(() => mariadb.query('show open tables where in_use > 0')).toContain(name);
  return { ended };
}

describe('a missing answer', () => {
  const limits = { probeAfterMs: 150, connectTimeoutMs: 200, statementTimeoutMs: 20_000 };

  test('of a frozen server ends before the timeout, and the next host is used', async () => {
    await using first = await startFaultProxy(mariadb);
    await using second = await startFaultProxy(mariadb);
    await using db = await openDatabase(at(first, second), limits);
    await Promise.all(Array.from({ length: 4 }, () => db.ping()));
    first.fault = { kind: 'blackhole' };
    const startedAtMs = performance.now();
    const failures = await Promise.all(Array.from({ length: 3 }, () => failureOf(db.ping())));
    expect(performance.now() - startedAtMs).toBeLessThan(2000);
    for (const failure of failures)
      expect(failure).toMatchObject({ code: 'database_unavailable', fields: { cause: 'silent' } });
    // The fourth was not in use.
    expect(db.pool()?.open).toBe(0);
    await db.ping();
    // Four connections and the question.
    expect([first.accepted, second.accepted]).toEqual([5, 1]);
  });

  test('of a busy server is waited for', async () => {
    await using proxy = await startFaultProxy(mariadb);
    await using db = await openDatabase(at(proxy), limits);
    await db.ping();
    const { ended } = await holdTable('mailboxes', 0.8);
    await db.ping();
    await ended;
    // It was probed more than once meanwhile, and the connection stayed.
    expect(proxy.accepted).toBeGreaterThan(2);
    await expect.poll(() => proxy.open).toBe(1);
    await db.ping();
    expect(proxy.open).toBe(1);
  });

  test('of a server without free connections for a probe is waited for', async () => {
    await mariadb.query(`grant usage on *.* to app@'127.0.0.1' with max_user_connections 1`);
    try {
      await using proxy = await startFaultProxy(mariadb);
      await using db = await openDatabase({ ...at(proxy), connectionsMax: 1 }, limits);
      await db.ping();
      const { ended } = await holdTable('mailboxes', 0.8);
      await db.ping();
      await ended;
      expect(proxy.accepted).toBeGreaterThan(1);
    } finally {
      await mariadb.query(`grant usage on *.* to app@'127.0.0.1' with max_user_connections 0`);
    }
  });
});

test('failback to the first host once it works, without waiting for it before', async () => {
  await using first = await startFaultProxy(mariadb);
  await using second = await startFaultProxy(mariadb);
  await using db = await openDatabase(at(first, second), {
    connectTimeoutMs: 400,
    pingAfterIdleMs: 10 * minuteMs,
    pingIntervalMs: 10 * minuteMs,
  });
  await db.ping();
  first.fault = { kind: 'blackhole' };
  first.kill('reset');
  await expect.poll(() => db.pool()?.open).toBe(0);
  await Promise.all(Array.from({ length: 4 }, () => db.ping()));
  const toFirst = first.accepted;
  const now = performance.now.bind(performance);
  let aheadMs = 61_000;
  vi.spyOn(performance, 'now').mockImplementation(() => now() + aheadMs);
  const askedAtMs = now();
  await db.ping();
  expect(now() - askedAtMs).toBeLessThan(300);
  await expect.poll(() => first.accepted).toBe(toFirst + 1);
  await expect.poll(() => first.open).toBe(0);
  expect(second.open).toBe(4);
  first.fault = { kind: 'none' };
  await db.ping();
  expect(first.accepted).toBe(toFirst + 1);
  aheadMs = 122_000;
  await db.ping();
  await expect.poll(() => [first.open, second.open]).toEqual([1, 0]);
  await db.ping();
  expect(db.pool()).toMatchObject({ open: 1, busy: 0 });
});

test('a raised max_allowed_packet applies without a restart', async () => {
  const before = (await mariadb.query('select @@global.max_allowed_packet')).trim();
  await mariadb.query('set global max_allowed_packet = 1048576');
  try {
    await using db = await openDatabase(config, { pingIntervalMs: 300 });
    const { lease } = await leasedMailbox(db);
    const large = batchOf(1, [opened(1, { html: 'x'.repeat(2_000_000) })]);
    expect(await failureOf(db.commitBatch(lease, large))).toMatchObject({ code: 'row_refused' });
    await mariadb.query('set global max_allowed_packet = 16777216');
    await sleep(300);
    await db.commitBatch(lease, large);
    // Lowered, it is the limit of new connections alone; the next question finds that out.
    await mariadb.query('set global max_allowed_packet = 1048576');
    await sleep(300);
    const other = batchOf(1, [opened(2, { html: 'x'.repeat(2_000_000) })]);
    expect(await failureOf(db.commitBatch(lease, other))).toMatchObject({ code: 'row_refused' });
    await db.commitBatch(lease, batchOf(1, [opened(2)]));
  } finally {
    await mariadb.query(`set global max_allowed_packet = ${before}`);
  }
});

test('connections ended by the server are detected before use', async () => {
  await using db = await openDatabase(config);
  for (let round = 0; round < 10; round += 1) {
    await Promise.all(Array.from({ length: 6 }, () => db.ping()));
    await endConnections(round % 2 === 0 ? 99 : 3);
    await sleep(50);
    await Promise.all(Array.from({ length: 6 }, () => db.ping()));
  }
});

test('a statement whose connection is killed at the server fails immediately, and the next one works', async () => {
  await using db = await openDatabase(config);
  await db.ping();
  const { ended } = await holdTable('mailboxes', 1);
  const failure = failureOf(db.ping());
  await sleep(100);
  const startedAtMs = performance.now();
  await endConnections(99);
  expect((await failure).code).toBe('database_unavailable');
  expect(performance.now() - startedAtMs).toBeLessThan(700);
  await ended;
  await db.ping();
});

async function endConnections(count: number): Promise<void> {
  const list = await mariadb.query(`select id from information_schema.processlist where user = 'app' limit ${count}`);
  const kills = list.split('\n').flatMap((id) => (id === '' ? [] : [`kill connection ${id};`]));
  // Where one of them breaks, the others to that server are closed by ourselves, and gone before we come to them.
  await mariadb.query(kills.join('\n')).catch((error: Error) => expect(error.message).toContain('Unknown thread id'));
}

describe('a commit without an answer', () => {
  test('is not repeated: its rows hold, and the next poll continues after it', async () => {
    const losing = { isOn: false, lost: 0 };
    const commits = new WeakSet<Socket>();
    const batches = new WeakSet<Socket>();
    await using way = await startWay(
      (piece, pass, client) => {
        if (piece.includes('insert into `outcome`')) batches.add(client);
        if (losing.isOn && batches.has(client) && piece.includes('\x03commit')) commits.add(client);
        pass();
      },
      (_piece, pass, client) => {
        if (!commits.has(client)) return pass();
        losing.lost += 1;
        reset(client);
      },
    );
    const { config: to } = await mariadb.createDatabase();
    await using app = await testApp({ ...to, ...at(way), database: to.database });
    const user = dovecot.newUser();
    await dovecot.append(user, 'INBOX', ['one', 'two', 'three'].map(mail));
    const mailbox = await app.addMailbox(dovecot, user);
    const never = new AbortController().signal;
    losing.isOn = true;
    const failure = await failureOf(app.pollOnce(mailbox, never));
    expect(failure).toMatchObject({ code: 'database_unavailable', domain: 'database' });
    expect(losing.lost).toBe(1);
    losing.isOn = false;
    const { outcomes } = await app.pollOnce(mailbox, never);
    expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0)).toBe(0);
    const stored = await Array.fromAsync(app.app.store.outcomes(mailbox.id, false));
    expect(stored.map(({ uid, outcome }) => [uid, outcome])).toEqual([1, 2, 3].map((uid) => [uid, 'ticket_opened']));
    expect(await app.app.store.listTickets(9)).toHaveLength(3);
    expect((await app.app.store.reconcile()).outcomesWithoutMessage).toBe(0);
    // Marking as seen follows the commit.
    const flags = [...(await dovecot.listFlags(user, 'INBOX')).values()];
    expect(flags.every((set) => set.has('\\Seen'))).toBe(true);
  });

  const mail = (id: string): Buffer =>
    Buffer.from(`From: a@x.test\r\nTo: b@x.test\r\nSubject: ${id}\r\nMessage-ID: <${id}@x>\r\n\r\nHello\r\n`);
});

test('row locks of a worker frozen within a transaction are released some seconds later', async () => {
  let isStill = false;
  await using way = await startWay((piece, pass) => {
    isStill ||= piece.includes('insert into `ticket`');
    if (!isStill) pass();
  });
  await using still = await openDatabase(at(way), { probeAfterMs: minuteMs, statementTimeoutMs: minuteMs });
  await using other = await openDatabase(config);
  const { mailbox, lease } = await leasedMailbox(still);
  const work = failureOf(still.commitBatch(lease, batchOf(1, [opened(1)])));
  await expect.poll(() => isStill).toBe(true);
  const startedAtMs = performance.now();
  const taken = await other.acquireLease(mailbox.id, 'other', minuteMs, 'me');
  expect(taken?.epoch).toBe(2);
  expect(performance.now() - startedAtMs).toBeLessThan(9000);
  expect((await work).code).toBe('database_unavailable');
  expect((await other.readFolderProgress(mailbox.id)).cursor).toBeNull();
});

/** A proxy to the database that decides about each chunk in both directions. */
function startWay(toServer: OnChunk, toClient?: OnChunk): Promise<ChunkProxy> {
  return startChunkProxy(mariadb.port, () => ({ toServer, ...(toClient === undefined ? {} : { toClient }) }));
}
