/**
 * The checks of one database, with messages from Dovecot: each returns the cell of the table, or throws with what is
 * wrong.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { until } from '../support/promises.ts';
import type { ImapServer } from '../support/servers/imap/imap-server.ts';
import { openClient } from '../support/servers/imap/imap-server.ts';
import { runSql } from '../support/sql.ts';
import { mainUser, users } from './accounts.ts';
import { addMailbox } from './mailboxes.ts';
import { type MatrixMessage, matrixMessages } from './messages.ts';
import { expectExact, openProgram, type Program } from './program.ts';

export type DatabaseScene = {
  readonly program: Program;
  readonly mail: ImapServer;
  readonly sent: readonly MatrixMessage[];
  /** An empty database of the same server; null: SQLite. */
  readonly target: DatabaseTarget | null;
};

export type DatabaseTarget = {
  readonly url: string;
  /** The environment of the program that uses it. */
  readonly env: Readonly<Record<string, string>>;
  readonly caFile: string | null;
};

export type DatabaseCheck = { readonly name: string; readonly run: (scene: DatabaseScene) => Promise<string> };

const messageCount = 400;
const kills = 3;

export const databaseMessages = (): readonly MatrixMessage[] => matrixMessages('database', messageCount);

export const databaseChecks: readonly DatabaseCheck[] = [
  { name: 'migrate', run: migrate },
  { name: 'add', run: add },
  { name: 'enable', run: enable },
  { name: 'ingest, kill -9', run: ingestKilled },
  { name: 'copy', run: copy },
  { name: 'disable', run: disable },
];

async function migrate({ program }: DatabaseScene): Promise<string> {
  await program.run(['migrate']);
  return 'ok';
}

async function add({ program, mail }: DatabaseScene): Promise<string> {
  await addMailbox({ server: mail, program }, { name: 'inbox', user: mainUser });
  return 'ok';
}

/** A password that was readable is not any more. */
async function enable({ program }: DatabaseScene): Promise<string> {
  await program.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared', '--accept-plaintext-remnants']);
  if ((await readablePasswords(program)) !== 0) throw new Error('a password is readable');
  return 'sealed';
}

/** The mailbox is filled here, so that no check before polls it. */
async function ingestKilled({ program, mail, sent }: DatabaseScene): Promise<string> {
  await using client = await openClient(mail, users, mainUser);
  await client.empty('INBOX');
  await client.append(
    'INBOX',
    sent.map(({ bytes }) => bytes),
  );
  const env = {
    TICKETMAILD_POLL_LEASE_S: '5',
    TICKETMAILD_POLL_COMMAND_TIMEOUT_S: '5',
    TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '20',
  };
  for (let kill = 0; kill < kills; kill += 1) {
    await using daemon = program.start(env);
    const goal = Math.floor((sent.length * (kill + 1)) / (kills + 2));
    await until(`${goal} messages`, async () => (await storedMessages(program)) >= goal);
    daemon.signal('SIGKILL');
    await daemon.exit;
  }
  const unfinished = await storedMessages(program);
  await using daemon = program.start(env);
  await until('all messages', async () => (await storedMessages(program)) >= sent.length);
  daemon.signal('SIGTERM');
  const { code } = await daemon.exit;
  if (code !== 0) throw new Error(`the daemon ended with ${code}`);
  if (unfinished >= sent.length) throw new Error('every kill came too late');
  const { messages } = await expectExact(program, sent);
  await program.run(['reconcile', 'inbox']);
  await program.run(['reconcile', '--files']);
  return `${messages} of ${sent.length}, exact`;
}

/** From SQLite, as it is meant; SQLite to another file. */
async function copy({ program, target, mail }: DatabaseScene): Promise<string> {
  await using source = await openProgram();
  const sent = matrixMessages('copy', 8);
  {
    await using client = await openClient(mail, users, mainUser);
    await client.empty('INBOX');
    await client.append(
      'INBOX',
      sent.map(({ bytes }) => bytes),
    );
  }
  await addMailbox({ server: mail, program: source }, { name: 'inbox' });
  await source.run(['poll', 'inbox']);
  const url = target?.url ?? `sqlite:${source.dataDir}/copy.db`;
  await source.run(['database', 'copy', ...(await targetArguments(source, url, target))]);
  const copied = source.withDatabase(url, target?.env);
  await expectExact(copied, sent);
  await copied.run(['reconcile', 'inbox']);
  if (target === null) return 'to another file';
  // The program of the other checks is not concerned.
  await program.run(['reconcile']);
  return 'from SQLite, exact';
}

/** The password of the URL is for a file. */
async function targetArguments(
  { dataDir }: Program,
  url: string,
  target: DatabaseTarget | null,
): Promise<readonly string[]> {
  if (target === null) return ['--to', url];
  const { password } = new URL(url);
  const file = join(dataDir, 'target-password');
  await writeFile(file, password, { mode: 0o600 });
  const trust = target.caFile === null ? [] : ['--to-ca-file', target.caFile, '--to-tls', 'verify'];
  return ['--to', url.replace(`:${password}@`, '@'), '--to-password-file', file, ...trust];
}

async function disable({ program }: DatabaseScene): Promise<string> {
  const ended = await program.attempt(['encryption', 'disable', '--yes', '--json']);
  if (ended.code !== 0) throw new Error(ended.stderr.trim().slice(0, 300));
  if ((await readablePasswords(program)) !== 1) throw new Error('the password is not readable');
  return 'readable again';
}

async function readablePasswords({ databaseUrl }: Program): Promise<number> {
  const rows = await runSql<{ readonly password: unknown }>(databaseUrl, 'SELECT password FROM mailboxes');
  return rows.filter(({ password }) => Buffer.from(password as Uint8Array).toString() === users.get(mainUser)).length;
}

async function storedMessages({ databaseUrl }: Program): Promise<number> {
  const [row] = await runSql<{ readonly count: number }>(databaseUrl, 'SELECT COUNT(*) AS count FROM message');
  return Number(row?.count);
}
