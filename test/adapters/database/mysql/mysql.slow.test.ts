/**
 * MySQL faults: a server that is down, hangs, refuses, disconnects, or is not the expected one.
 */
import { createServer, connect as dial } from 'node:net';
import { dirname, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import type { Failure } from '../../../../src/errors.ts';
import { SecretBytes } from '../../../../src/secret/secret-bytes.ts';
import { startFaultProxy } from '../../../support/faults/proxy.ts';
import { failureOf } from '../../../support/promises.ts';
import { type Mariadb, type MysqlConfig, startMariadb, type TestDatabase } from '../../../support/servers/mariadb.ts';
import { batchOf, batchWith, by, opened, plain, sampleMailbox, secret } from '../samples.ts';
import { hostsOf } from './hosts-scene.ts';

const minuteMs = 60_000;
const packetBytesMax = 1_048_576;

const stack = new AsyncDisposableStack();
let mariadb: Mariadb;
let database: TestDatabase;
let config: MysqlConfig;

beforeAll(async () => {
  mariadb = stack.use(await startMariadb({ args: [`--max-allowed-packet=${packetBytesMax}`] }));
  database = await mariadb.createDatabase();
  config = database.config;
  await using db = await openDatabase(config);
  await db.migrations.apply();
});
afterAll(() => stack.disposeAsync());

async function leasedMailbox(db: Database) {
  const mailbox = sampleMailbox();
  await db.addMailbox(mailbox, plain('x'), null, by);
  const lease = await db.acquireLease(mailbox.id, 'me', minuteMs, null);
  if (lease === null) throw new Error('not taken');
  return { mailbox, lease };
}

describe('a server that is down', () => {
  test('a broken connection ends the statement in progress immediately, not at its timeout', async () => {
    await using proxy = await startFaultProxy(mariadb);
    await using db = await openDatabase({ ...config, ...hostsOf(proxy) });
    for (let round = 0; round < 150; round += 1) {
      const statements = Promise.allSettled([db.ping(), db.listMailboxes(), db.listTickets(5)]);
      await sleep(Math.random() * 3);
      proxy.kill(round % 2 === 0 ? 'reset' : 'close');
      const ended = await Promise.race([statements.then(() => true), sleep(3000).then(() => false)]);
      expect(ended, `round ${round}`).toBe(true);
    }
  });

  test('opening works, statements fail, and they work again once it is back, without reopening', async () => {
    await using db = await openDatabase(config);
    const { lease } = await leasedMailbox(db);
    await mariadb.kill();
    const failures = await Promise.all(Array.from({ length: 15 }, () => failureOf(db.ping())));
    expect(new Set(failures.map(({ code }) => code))).toEqual(new Set(['database_unavailable']));
    await using late = await openDatabase(config);
    expect((await failureOf(late.ping())).message).toContain(`127.0.0.1:${mariadb.port}`);
    await expect(db.commitBatch(lease, batchOf(1, [opened(1)]))).rejects.toMatchObject({
      code: 'database_unavailable',
    });
    await mariadb.restart();
    await db.commitBatch(lease, batchOf(1, [opened(1)]));
    await late.ping();
  });

  test('after an orderly stop between two statements a new connection is opened', async () => {
    await using db = await openDatabase(config);
    await Promise.all(Array.from({ length: 10 }, () => db.ping()));
    await mariadb.restart();
    await Promise.all(Array.from({ length: 10 }, () => db.ping()));
  });

  test('a connection that breaks within a batch leaves nothing of the batch', async () => {
    await using proxy = await startFaultProxy(mariadb);
    await using db = await openDatabase({ ...config, ...hostsOf(proxy), connectionsMax: 1 });
    const { mailbox, lease } = await leasedMailbox(db);
    proxy.fault = { kind: 'latency', delayMs: 20 };
    const work = failureOf(db.commitBatch(lease, batchOf(1, [opened(1)])));
    setTimeout(() => proxy.kill('reset'), 60);
    expect((await work).code).toBe('database_unavailable');
    proxy.fault = { kind: 'none' };
    expect(await Array.fromAsync(db.outcomes(mailbox.id, false))).toEqual([]);
  });
});

describe('a server that hangs', () => {
  test('a statement that waits for a table lock ends at its timeout, and the next one works', async () => {
    await using db = await openDatabase(config, { statementTimeoutMs: 400 });
    await db.ping();
    const lock = mariadb.query(`use ${database.name}; lock tables mailboxes write; select sleep(1.2)`);
    await expect.poll(async () => (await failureOrNull(db.ping()))?.fields.cause, { timeout: 3000 }).toBe('deadline');
    await lock;
    await db.ping();
  });

  test('a server that accepts and stays silent is abandoned after the connect timeout', async () => {
    await using proxy = await startFaultProxy(mariadb);
    proxy.fault = { kind: 'blackhole' };
    await using db = await openDatabase({ ...config, ...hostsOf(proxy) }, { connectTimeoutMs: 150 });
    expect(await failureOf(db.ping())).toMatchObject({ code: 'database_unavailable', fields: { cause: 'ETIMEDOUT' } });
    proxy.fault = { kind: 'none' };
    await db.ping();
  });

  test('an open connection that becomes silent is cut at the timeout', async () => {
    await using proxy = await startFaultProxy(mariadb);
    await using db = await openDatabase({ ...config, ...hostsOf(proxy) }, { statementTimeoutMs: 150 });
    await db.ping();
    proxy.fault = { kind: 'blackhole' };
    expect((await failureOf(db.ping())).fields.cause).toBe('deadline');
    proxy.fault = { kind: 'none' };
    await db.ping();
  });

  test('a wait for a free connection ends at the statement timeout', async () => {
    await using db = await openDatabase({ ...config, connectionsMax: 1 }, { statementTimeoutMs: 300 });
    await db.ping();
    const lock = mariadb.query(`use ${database.name}; lock tables mailboxes write; select sleep(1)`);
    await expect.poll(async () => (await failureOrNull(db.ping()))?.fields.cause, { timeout: 3000 }).toBe('deadline');
    const causes = await Promise.all(
      [db.ping(), db.ping(), db.ping()].map(async (ping) => (await failureOf(ping)).code),
    );
    expect(new Set(causes)).toEqual(new Set(['database_unavailable']));
    await lock;
    await db.ping();
  });

  async function failureOrNull(work: Promise<unknown>): Promise<Failure | null> {
    return work.then(
      () => null,
      (error: unknown) => error as Failure,
    );
  }
});

describe('a server that refuses', () => {
  test('a row above max_allowed_packet is refused, the connection stays, and smaller rows are inserted', async () => {
    await using db = await openDatabase({ ...config, connectionsMax: 1 });
    const { lease } = await leasedMailbox(db);
    const large = batchOf(1, [opened(1, { html: 'x'.repeat(packetBytesMax) })]);
    const failure = await failureOf(db.commitBatch(lease, large));
    expect(failure).toMatchObject({ code: 'row_refused', domain: 'message', fields: { errno: 1153 } });
    const messages = Array.from({ length: 40 }, (_, index) => opened(index + 1, { html: '"é'.repeat(40_000) }));
    await db.commitBatch(lease, batchOf(1, messages));
    const nearly = batchOf(1, [opened(100, { html: 'é'.repeat(packetBytesMax / 2 - 2000) })]);
    await db.commitBatch(lease, nearly);
  });

  test('a wrong password, an unknown user and an unknown database are distinguished from a fault', async () => {
    await using wrong = await openDatabase({ ...config, password: secret('wrong') });
    expect((await failureOf(wrong.ping())).code).toBe('database_denied');
    await using unknown = await openDatabase({ ...config, user: 'nobody', password: null });
    expect((await failureOf(unknown.ping())).code).toBe('database_denied');
    await using elsewhere = await openDatabase({ ...config, database: 'app_missing' });
    expect((await failureOf(elsewhere.ping())).code).toBe('database_unavailable');
  });

  test('a read-only server is unavailable for writes, and its connections are closed', async () => {
    await using proxy = await startFaultProxy(mariadb);
    await using db = await openDatabase({ ...config, ...hostsOf(proxy) });
    await mariadb.query('set global read_only = 1');
    try {
      const failure = await failureOf(db.addMailbox(sampleMailbox(), plain('x'), null, by));
      expect(failure).toMatchObject({ code: 'database_unavailable', fields: { errno: 1290 } });
    } finally {
      await mariadb.query('set global read_only = 0');
    }
    await db.addMailbox(sampleMailbox(), plain('x'), null, by);
    expect(proxy.accepted).toBe(2);
  });

  test('too many connections means unavailable, not broken', async () => {
    const before = await mariadb.query('select @@max_connections');
    await mariadb.query('set global max_connections = 10');
    try {
      const databases = await Promise.all([1, 2].map(() => openDatabase(config)));
      const pings = databases.flatMap((db) => Array.from({ length: 10 }, () => db.ping()));
      const codes = (await Promise.allSettled(pings)).flatMap((end) =>
        end.status === 'rejected' ? [end.reason.code] : [],
      );
      expect(new Set(codes)).toEqual(new Set(['database_unavailable']));
      await Promise.all(databases.map((db) => db[Symbol.asyncDispose]()));
    } finally {
      await mariadb.query(`set global max_connections = ${before}`);
    }
  });

  test('rows are inserted also at the limit of prepared statements', async () => {
    await mariadb.query('set global max_prepared_stmt_count = 0');
    try {
      await using db = await openDatabase(config);
      const { mailbox, lease } = await prepared(db);
      await db.commitBatch(lease, batchOf(1, [opened(1), opened(2, { text: `it's "quoted" \\ ? 😀` })]));
      expect((await Array.fromAsync(db.outcomes(mailbox.id, true)))[1]?.message?.text).toBe(`it's "quoted" \\ ? 😀`);
    } finally {
      await mariadb.query('set global max_prepared_stmt_count = 16382');
    }
  });

  /** The password itself is never sent as text, so the mailbox is made while that is still possible. */
  async function prepared(db: Database) {
    await mariadb.query('set global max_prepared_stmt_count = 16382');
    await using other = await openDatabase(config);
    const { mailbox } = await leasedMailbox(other);
    await mariadb.query('set global max_prepared_stmt_count = 0');
    const lease = await db.acquireLease(mailbox.id, 'second', minuteMs, 'me');
    if (lease === null) throw new Error('not taken');
    return { mailbox, lease };
  }

  test('a batch rolled back by a deadlock is retried and committed', async () => {
    await using db = await openDatabase(config);
    const { mailbox, lease } = await leasedMailbox(db);
    const mail = opened(1);
    await db.commitBatch(lease, batchOf(1, [mail]));
    const before = await deadlocks();
    // Heavier than the batch, so that the batch is the one to go. It takes the ticket first and then, once the batch
    // waits for that, the mailbox.
    const other = mariadb.query(
      `use ${database.name}; begin;
       insert into schema_migration select 100000 + seq, 0, now() from seq_1_to_2000;
       update ticket set status = 'held' where id = '${mail.ticket.id}'; select get_lock('heavy', 0);
       delimiter //
       begin not atomic
         while (select variable_value from information_schema.global_status
           where variable_name = 'innodb_row_lock_current_waits') = 0 do do sleep(0.02); end while;
       end //
       delimiter ;
       update mailbox_state set failures = 7 where mailbox_id = '${mailbox.id}'; rollback;`,
    );
    await expect.poll(() => mariadb.query(`select is_free_lock('heavy')`), { timeout: 5000 }).toBe('0\n');
    const reply = opened(2);
    const message = { ...reply.message, ticketId: mail.ticket.id };
    const cursor = { folderEpoch: 1, uid: 2 };
    await db.commitBatch(lease, batchWith({ cursor, messages: [message], outcomes: [reply.outcome] }));
    await other;
    expect((await db.ticketByRef(mail.ticket.ref)).messages).toHaveLength(2);
    expect((await deadlocks()) - before).toBe(1);
  });

  const deadlocks = async () => Number((await mariadb.query(`show status like 'Innodb_deadlocks'`)).split('\t')[1]);

  test('replies of several workers to the same tickets are serialized and all committed', async () => {
    await using db = await openDatabase(config);
    const workers = await Promise.all(Array.from({ length: 6 }, () => leasedMailbox(db)));
    const shared = Array.from({ length: 20 }, (_, index) => opened(index + 1));
    const [first] = workers;
    if (first !== undefined) await db.commitBatch(first.lease, batchOf(1, shared));
    const commits = workers.map(({ lease }, worker) => {
      const replies = shared.map((mail, index) => {
        const fresh = opened(100 + index);
        const message = { ...fresh.message, ticketId: mail.ticket.id };
        return { message, outcome: { ...fresh.outcome, ticketId: mail.ticket.id } };
      });
      const order = worker % 2 === 0 ? replies : replies.toReversed();
      const cursor = { folderEpoch: 1, uid: 200 };
      const messages = order.map((mail) => mail.message);
      return db.commitBatch(lease, batchWith({ cursor, messages, outcomes: order.map((mail) => mail.outcome) }));
    });
    await Promise.all(commits);
  });

  test('a failure contains no value of a statement in any form', async () => {
    await using db = await openDatabase(config);
    const { lease } = await leasedMailbox(db);
    const mail = opened(1, { subject: 'very-private' });
    await db.commitBatch(lease, batchOf(1, [mail]));
    const other = opened(2, { subject: 'very-private' });
    const clash = { ...other, ticket: { ...other.ticket, ref: mail.ticket.ref } };
    const failure = await failureOf(db.commitBatch(lease, batchOf(1, [clash])));
    const shown = `${inspect(failure, { depth: 9, showHidden: true })}${JSON.stringify(failure)}`;
    expect(shown).not.toContain('very-private');
    expect(shown).not.toContain(mail.ticket.ref);
    expect(failure.code).toBe('database_conflict');
  });
});

describe('TLS', () => {
  const verified = (): MysqlConfig => ({ ...config, tls: 'verify', caPem: mariadb.caPem });

  test('a certificate of the given authority for the host is accepted, by name and by address', async () => {
    for (const host of ['localhost', '127.0.0.1']) {
      await using db = await openDatabase({ ...verified(), ...hostsOf({ host, port: mariadb.port }) });
      await db.ping();
    }
  });

  test('a certificate of an unknown authority is refused', async () => {
    await using db = await openDatabase({ ...verified(), caPem: null });
    const failure = await failureOf(db.ping());
    expect(failure).toMatchObject({ code: 'database_unavailable', fields: { cause: 'HANDSHAKE_SSL_ERROR' } });
    expect(failure.hint).toContain('certificate');
    expect(failure.hint).toContain('[database] ca_file');
  });

  test('an account that requires TLS is refused without it, and the hint names tls and ca_file', async () => {
    await mariadb.query("CREATE USER tlsonly@localhost IDENTIFIED BY 'pw' REQUIRE SSL;");
    const account = { user: 'tlsonly', password: SecretBytes.take(Buffer.from('pw')) };
    await using db = await openDatabase({ ...config, ...account, tls: 'off' });
    const failure = await failureOf(db.ping());
    expect(failure.code).toBe('database_denied');
    expect(failure.hint).toMatch(/REQUIRE SSL.+tls = "verify" in \[database\], and ca_file/);
  });

  test('a certificate for another address is refused, though it is one for localhost', async () => {
    await using between = await startForwarder('127.0.0.2', (bytes) => bytes);
    await using db = await openDatabase({ ...verified(), ...hostsOf({ host: '127.0.0.2', port: between.port }) });
    expect((await failureOf(db.ping())).message).toContain('127.0.0.2');
    await using open = await openDatabase({ ...config, ...hostsOf({ host: '127.0.0.2', port: between.port }) });
    await open.ping();
  });

  test('each of several hosts needs a certificate for its own name', async () => {
    await using between = await startForwarder('127.0.0.2', (bytes) => bytes);
    const wrong = { host: '127.0.0.2', port: between.port };
    await using db = await openDatabase({
      ...verified(),
      ...hostsOf(wrong, { host: 'localhost', port: mariadb.port }),
    });
    await db.ping();
    await using bad = await openDatabase({ ...verified(), ...hostsOf(wrong, wrong) });
    expect((await failureOf(bad.ping())).message).toContain('127.0.0.2');
  });

  test('a server whose TLS offer was stripped on the way gets no login', async () => {
    await using between = await startForwarder('127.0.0.1', withoutTlsOffer);
    await using db = await openDatabase({ ...verified(), ...hostsOf({ host: '127.0.0.1', port: between.port }) });
    expect((await failureOf(db.ping())).fields.cause).toBe('HANDSHAKE_NO_SSL_SUPPORT');
    await using open = await openDatabase({ ...config, ...hostsOf({ host: '127.0.0.1', port: between.port }) });
    await open.ping();
  });

  /** Passes everything on, what the server says first through `change`. */
  async function startForwarder(host: string, change: (greeting: Buffer) => Buffer) {
    const listener = createServer((client) => {
      const server = dial(mariadb.port, '127.0.0.1');
      server.once('data', (greeting: Buffer) => {
        client.write(change(greeting));
        server.pipe(client);
      });
      client.pipe(server);
      for (const [one, other] of [[client, server] as const, [server, client] as const]) {
        one.on('error', () => other.destroy());
        one.on('close', () => other.destroy());
      }
    });
    await new Promise<void>((resolve) => listener.listen(0, host, resolve));
    const { port } = listener.address() as { port: number };
    return { port, [Symbol.asyncDispose]: () => new Promise<void>((resolve) => listener.close(() => resolve())) };
  }

  /**
   * Protocol::HandshakeV10: the low half of the capabilities follows version, connection id, 8 bytes of salt and a 0.
   */
  function withoutTlsOffer(greeting: Buffer): Buffer {
    const capabilitiesAt = greeting.indexOf(0, 5) + 1 + 4 + 8 + 1;
    const tlsOffer = 0x0800;
    greeting.writeUInt16LE(greeting.readUInt16LE(capabilitiesAt) & ~tlsOffer, capabilitiesAt);
    return greeting;
  }
});

test('a unix socket works like a port', async () => {
  await using db = await openDatabase({ ...config, socketPath: mariadb.socketPath });
  await db.ping();
  await using none = await openDatabase({ ...config, socketPath: join(dirname(mariadb.socketPath), 'nothing') });
  expect((await failureOf(none.ping())).code).toBe('database_unavailable');
});

test('escapes, times and emoji are correct with any SQL mode and time zone of the server', async () => {
  await mariadb.query(`set global sql_mode = 'NO_BACKSLASH_ESCAPES,ANSI_QUOTES'; set global time_zone = '+05:00'`);
  try {
    await using db = await openDatabase(config);
    const { mailbox, lease } = await leasedMailbox(db);
    await db.commitBatch(lease, batchWith({ cursor: { folderEpoch: 1, uid: 1 } }));
    const error = { code: 'x', message: `it's \\' "here" 😀`, hint: '\\' };
    await db.releaseLease(lease, { ok: false, nextPollAfterMs: 1000, error, refusedVersion: null });
    const health = (await db.listMailboxes()).find(({ id }) => id === mailbox.id)?.health;
    expect(health?.lastError).toMatchObject({ ...error, hint: '' });
    expect(Math.abs((health?.lastError?.atMs ?? 0) - Date.now())).toBeLessThan(5000);
  } finally {
    await mariadb.query(`set global sql_mode = default; set global time_zone = 'SYSTEM'`);
  }
});
