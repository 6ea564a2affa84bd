/**
 * Polls to an empty mailbox, again and again, and the CPU time that one costs: connect, TLS, login, select, search,
 * logout.
 *
 * `bare` is imapflow alone, `session` the program's own session, `whole` a whole poll with lease and database. Reads
 * one JSON object from standard input and prints one. The environment names data folder and database, and the mailbox
 * is set up there. Anything that goes wrong ends it with exit code 1.
 */
import { json } from 'node:stream/consumers';
import { type App, compose } from '../../../src/compose/compose.ts';
import { loadConfig } from '../../../src/config/load.ts';
import type { Connection } from '../../../src/ingest/model.ts';
import { createLog } from '../../../src/log.ts';
import { SecretBytes } from '../../../src/secret/secret-bytes.ts';
import { type Account, clientOf } from './fetch-and-drop.ts';

export type PollKind = 'bare' | 'session' | 'whole';

export type PollsOrder = {
  readonly kind: PollKind;
  readonly account: Account;
  readonly mailbox: string;
  readonly warmUps: number;
  readonly polls: number;
};

export type PollsAnswer = { readonly cpu_ms: number; readonly wall_ms: number };

const signal = new AbortController().signal;

async function measure(order: PollsOrder): Promise<PollsAnswer> {
  if (order.kind === 'bare') return await repeat(order, () => pollBare(order.account));
  await using app = await compose(loadConfig({ file: null }), quietLog());
  if (order.kind === 'session') return await repeat(order, () => pollWithSession(order.account, app));
  await app.vault.refresh();
  const mailbox = await app.store.mailboxByName(order.mailbox);
  return await repeat(order, async () => {
    const { failure } = await app.pollOnce(mailbox, signal);
    if (failure !== null) throw failure;
  });
}

/** CPU and wall time of one poll. */
async function repeat({ warmUps, polls }: PollsOrder, poll: () => Promise<void>): Promise<PollsAnswer> {
  for (let done = 0; done < warmUps; done++) await poll();
  const cpuBefore = process.cpuUsage();
  const startedAtMs = performance.now();
  for (let done = 0; done < polls; done++) await poll();
  const { user, system } = process.cpuUsage(cpuBefore);
  return { cpu_ms: (user + system) / 1000 / polls, wall_ms: (performance.now() - startedAtMs) / polls };
}

async function pollBare(account: Account): Promise<void> {
  const client = clientOf(account);
  await client.connect();
  const lock = await client.getMailboxLock('INBOX');
  await client.search({ uid: '1:*' }, { uid: true });
  lock.release();
  await client.logout();
}

async function pollWithSession({ host, port, caPem, user, password: text }: Account, app: App): Promise<void> {
  const connection: Connection = {
    ...{ host, port, caPem, user },
    ...{ tls: 'implicit', fingerprint: null, allowPlaintext: false, folder: 'INBOX' },
  };
  using secret = SecretBytes.take(Buffer.from(text));
  await using session = await app.sessions.open(connection, { kind: 'password', secret }, signal);
  await session.listAbove(0);
}

function quietLog(): ReturnType<typeof createLog> {
  return createLog({ level: 'error', pretty: false, destination: { write: () => undefined } });
}

if (import.meta.main) {
  const order = (await json(process.stdin)) as PollsOrder;
  process.stdout.write(`${JSON.stringify(await measure(order))}\n`);
}
