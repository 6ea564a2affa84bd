/**
 * Failover on a real Galera cluster: one winner of each lease, and no message is lost or doubled while nodes crash and
 * freeze, the quorum is lost, and workers die or are suspended. No worker is restarted. Long form of
 * `workers.slow.test.ts`.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../src/adapters/database/database.ts';
import type { Readiness } from '../../src/ingest/readiness.ts';
import { batchOf, batchWith, by, opened, plain, sampleMailbox } from '../adapters/database/samples.ts';
import { testApp } from '../support/app.ts';
import { mail } from '../support/instance.ts';
import { type Daemon, type LogLine, runCommand, startDaemon } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type ClusterDatabase, type Galera, type GaleraNode, startGalera } from '../support/servers/galera.ts';
import { temporaryFolder } from '../support/temporary.ts';

const minuteMs = 60_000;
const mailboxes = 30;

const stack = new AsyncDisposableStack();
let galera: Galera;
let dovecot: Dovecot;

beforeAll(async () => {
  galera = stack.use(await startGalera());
  dovecot = stack.use(await startDovecot());
});
afterAll(() => stack.disposeAsync());

/** A migrated database, and one way into it through each node. */
async function openStores(undo: AsyncDisposableStack): Promise<readonly Database[]> {
  const database = await galera.createDatabase();
  const stores = await Promise.all([0, 1, 2].map((node) => openDatabase(database.config(node))));
  for (const store of stores) undo.use(store);
  await stores[0]?.migrations.apply();
  return stores;
}

async function addSample(store: Database | undefined): Promise<string> {
  const mailbox = sampleMailbox();
  await store?.addMailbox(mailbox, plain('x'), null, by);
  return mailbox.id;
}

test('of three workers that reach for a mailbox through three nodes at once, exactly one gets it', {
  tags: ['long'],
}, async () => {
  await using undo = new AsyncDisposableStack();
  const stores = await openStores(undo);
  const id = await addSample(stores[0]);
  // What was written through one node is read through another at once.
  for (const store of stores) expect(await store.mailboxById(id)).not.toBeNull();
  for (let round = 1; round <= 50; round += 1) {
    const taken = await Promise.all(
      stores.map((store, index) => store.acquireLease(id, `worker${index}`, minuteMs, null)),
    );
    const won = taken.filter((lease) => lease !== null);
    expect(won, `round ${round}`).toHaveLength(1);
    expect(won[0]?.epoch).toBe(round);
    await stores[round % 3]?.reclaimLease(won[0]?.owner ?? '', id);
  }
});

test('replies that are added to the same ticket through three nodes at once all go in', {
  tags: ['long'],
}, async () => {
  await using undo = new AsyncDisposableStack();
  const stores = await openStores(undo);
  const workers = await Promise.all(
    stores.map(async (store, index) => {
      const id = await addSample(store);
      const lease = await store.acquireLease(id, `worker${index}`, minuteMs, null);
      if (lease === null) throw new Error('not taken');
      return { store, lease };
    }),
  );
  const first = opened(1);
  await workers[0]?.store.commitBatch(workers[0].lease, batchOf(1, [first]));
  for (let uid = 2; uid <= 11; uid += 1) {
    await Promise.all(
      workers.map(({ store, lease }) => {
        const reply = opened(uid);
        const message = { ...reply.message, ticketId: first.ticket.id };
        const outcome = { ...reply.outcome, ticketId: first.ticket.id };
        return store.commitBatch(
          lease,
          batchWith({ cursor: { folderEpoch: 1, uid }, messages: [message], outcomes: [outcome] }),
        );
      }),
    );
  }
  expect((await stores[2]?.ticketByRef(first.ticket.ref))?.messages).toHaveLength(31);
});

type Worker = { readonly daemon: Daemon; readonly env: Readonly<Record<string, string>> };

/** Three daemons as on three hosts: each has its own data folder, and its own node first. */
async function startWorkers(undo: AsyncDisposableStack, database: ClusterDatabase): Promise<readonly Worker[]> {
  const workers: Worker[] = [];
  for (const index of [0, 1, 2]) {
    const folder = undo.use(await temporaryFolder(`host${index + 1}`));
    const env = {
      TICKETMAILD_DATA_DIR: join(folder.path, 'data'),
      TICKETMAILD_DATABASE_URL: database.url(index),
      TICKETMAILD_HTTP_LISTEN: '127.0.0.1:0',
      TICKETMAILD_POLL_INTERVAL_S: '2',
      TICKETMAILD_POLL_BACKOFF_MAX_S: '2',
      TICKETMAILD_POLL_LEASE_S: '5',
      TICKETMAILD_POLL_COMMAND_TIMEOUT_S: '5',
      TICKETMAILD_MESSAGE_PARSE_THREADS: '1',
    };
    workers.push({ daemon: undo.use(startDaemon(['run'], { env })), env });
  }
  return workers;
}

/** A mailbox for each new user, on the cluster's database. */
async function addMailboxes(database: ClusterDatabase): Promise<readonly string[]> {
  await using on = await testApp(database.config(0));
  const users = Array.from({ length: mailboxes }, () => dovecot.newUser());
  for (const user of users) {
    await dovecot.createFolder(user, 'INBOX');
    await on.addMailbox(dovecot, user);
  }
  return users;
}

/** Mail that continues arriving until it is reported to stop; each message has a subject of its own. */
function mailFlow(users: readonly string[], everyMs: number) {
  const sent: string[] = [];
  const stopped = new AbortController();
  const flow = (async () => {
    while (!stopped.signal.aborted) {
      const user = users[sent.length % users.length] ?? '';
      const subject = `mail-${sent.length}`;
      await dovecot.append(user, 'INBOX', [mail(subject)]);
      sent.push(subject);
      await sleep(everyMs);
    }
  })();
  const stop = async () => {
    stopped.abort();
    await flow;
  };
  return { sent, stop };
}

/** The subjects of all tickets, in order; throws while that node cannot answer. */
async function ticketSubjects(database: ClusterDatabase, node: number): Promise<readonly string[]> {
  const sql = `set session wsrep_sync_wait = 1; select subject from ${database.name}.ticket`;
  const lines = await galera.nodes[node]?.query(sql);
  return (lines ?? '').split('\n').filter((line) => line !== '');
}

const byNumber = (one: string, other: string): number => Number(one.slice(5)) - Number(other.slice(5));

/** What `/readyz` says of the database, and why; `silent` when the answer takes too long. */
async function databaseCheck(daemon: Daemon) {
  const { address } = await daemon.waitFor((line) => line['event'] === 'http.listening');
  const response = await fetch(`${address}/readyz`);
  const { checks } = (await response.json()) as Partial<Readiness>;
  return { status: checks?.database.status ?? 'silent', reason: checks?.database.reason ?? '' };
}

async function allSay(workers: readonly Worker[], status: string, reason = /^/): Promise<boolean> {
  const said = await Promise.all(workers.map(({ daemon }) => databaseCheck(daemon)));
  return said.every((one) => one.status === status && reason.test(one.reason));
}

/** Waits until each worker has stored message since; the longest that one of them took, in milliseconds. */
async function allStore(workers: readonly Worker[], sinceMs: number): Promise<number> {
  const isStored = (line: LogLine) =>
    line['event'] === 'message.ticket_opened' && Date.parse(String(line['time'])) > sinceMs;
  const lines = await Promise.all(workers.map(({ daemon }) => daemon.waitFor(isStored)));
  return Math.max(...lines.map((line) => Date.parse(String(line['time'])) - sinceMs));
}

/** Messages that more than one poll of all workers says it has stored. */
function repeated(workers: readonly Worker[]): readonly string[] {
  const lines = workers.flatMap(({ daemon }) => daemon.lines.filter(({ event }) => event === 'message.ticket_opened'));
  const keys = lines.map((line) => [line['mailbox'], line['uid_validity'], line['uid']].join(' '));
  return keys.filter((key, index) => keys.indexOf(key) !== index);
}

test('nodes that crash or freeze, a lost quorum, and workers that die or stand still cost seconds and no message', {
  timeout: 120_000,
  tags: ['long'],
}, async () => {
  await using undo = new AsyncDisposableStack();
  const database = await galera.createDatabase();
  const users = await addMailboxes(database);
  const workers = await startWorkers(undo, database);
  const [one, two, three] = galera.nodes;
  await until('all are ready', () => allSay(workers, 'ok'), 20_000);
  const flow = mailFlow(users, 100);
  await allStore(workers, 0);

  await one.kill();
  await allStore(workers, Date.now());
  await one.restart();

  two.freeze();
  await allStore(workers, Date.now());
  await until('all work without it', () => allSay(workers, 'ok'), 5000);
  two.thaw();
  await until('it is back among them', async () => (await clusterSize(three)) === 3, 20_000);
  await two.untilReady();

  // Of the two that are left then, one alone is no quorum.
  await one.kill();
  await until('two are left', async () => (await clusterSize(three)) === 2, 20_000);
  two.freeze();
  const isLost = () => allSay(workers, 'failing', /^database_unavailable: .*(WSREP|wsrep)/);
  await until('the lost quorum is reported', isLost, 20_000);
  const heldBack = await ticketCount(three);
  await sleep(1000);
  expect(await ticketCount(three)).toBe(heldBack);
  two.thaw();
  await until('the quorum is back', () => allSay(workers, 'ok'), 20_000);
  await one.restart();
  await allStore(workers, Date.now());

  const [first, second, last] = workers;
  first?.daemon.signal('SIGKILL');
  second?.daemon.signal('SIGSTOP');
  await sleep(500);
  await flow.stop();
  // The mailboxes of both continue with the third.
  const subjects = () => ticketSubjects(database, 2);
  await until('all mail of dead workers', async () => (await subjects()).length >= flow.sent.length, 20_000);
  second?.daemon.signal('SIGCONT');
  await sleep(1000);

  expect([...(await ticketSubjects(database, 0))].sort(byNumber)).toEqual(flow.sent);
  const reconciled = await runCommand(['reconcile'], { env: last?.env ?? {} });
  expect(reconciled, reconciled.stdout).toMatchObject({ code: 0 });
  const state = `select count(*), count(distinct mailbox_id, folder_epoch, uid) from ${database.name}.outcome`;
  expect(await three.query(state)).toBe(`${flow.sent.length}\t${flow.sent.length}\n`);
  expect(repeated(workers)).toEqual([]);
  for (const worker of [second, last]) {
    worker?.daemon.signal('SIGTERM');
    expect((await worker?.daemon.exit)?.code).toBe(0);
  }

  async function clusterSize(node: GaleraNode): Promise<number> {
    return Number((await node.query(`show status like 'wsrep_cluster_size'`)).split('\t')[1]);
  }

  /** As it is on this node alone, quorum or not. */
  async function ticketCount(node: GaleraNode): Promise<number> {
    return Number(await node.query(`set session wsrep_dirty_reads = 1; select count(*) from ${database.name}.ticket`));
  }
});
