/**
 * Scene of the cases: a Dovecot and a MariaDB for each file, the program on them, messages, and what
 * became of them.
 *
 * Each message has a sender and a Message-ID of its own unless set otherwise, so that no rule about senders or
 * replies joins what a test keeps apart.
 */
import { existsSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll } from 'vitest';
import type { Mailbox, TicketSummary } from '../../src/ingest/model.ts';
import type { RoundReport } from '../../src/ingest/poll/poll-context.ts';
import { pollOnce, type TestApp, testApp } from '../support/app.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import type { AppendOptions } from '../support/servers/maildir.ts';
import { type Mariadb, startMariadb, type TestDatabase } from '../support/servers/mariadb.ts';

/** The program in this process. */
export type On = { readonly on: Pick<TestApp, 'app'> };

const never = new AbortController().signal;

/** There once the tests of the file begin. */
export type Scene = {
  readonly dovecot: Dovecot;
  readonly mariadb: Mariadb;
  /** The program in this process, on `database`. */
  readonly on: TestApp;
  readonly database: TestDatabase;
};

export type Env = Readonly<Record<string, string>>;

/** Starts everything before the tests of the file that calls it, and ends it after them. */
export function sceneOfFile(env: Env = {}): Scene {
  const stack = new AsyncDisposableStack();
  const scene: { -readonly [Part in keyof Scene]?: Scene[Part] } = {};
  beforeAll(async () => {
    [scene.dovecot, scene.mariadb] = await Promise.all([startDovecot(), startMariadb()]);
    stack.use(scene.dovecot);
    stack.use(scene.mariadb);
    scene.database = await scene.mariadb.createDatabase();
    scene.on = stack.use(await testApp(scene.database.config, env));
  });
  afterAll(() => stack.disposeAsync());
  // A caller that reads a part before the tests begin gets undefined, and fails at once.
  return scene as Scene;
}

export type MailOptions = {
  /** null: without the field. */
  readonly id?: string | null;
  readonly from?: string | null;
  readonly to?: string;
  readonly subject?: string;
  /** More lines of the header, without their ends. */
  readonly headers?: readonly string[];
  readonly body?: string;
};

let messages = 0;

/** One message, plain text unless `headers` say something else. Line ends are CRLF. */
export function mail({ id, from, to, subject, headers = [], body = 'It does not print.' }: MailOptions = {}): Buffer {
  messages += 1;
  const name = `${process.pid}-${messages}`;
  const lines = [
    ...(from === null ? [] : [`From: ${from ?? `Ada <ada-${name}@example.test>`}`]),
    `To: ${to ?? 'support@example.test'}`,
    `Subject: ${subject ?? `The printer ${name}`}`,
    'Date: Tue, 24 Nov 2026 10:00:00 +0000',
    ...(id === null ? [] : [`Message-ID: <${id ?? `${name}@example.test`}>`]),
    ...headers,
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body.replaceAll(/\r?\n/g, '\r\n')}\r\n`);
}

export function newMessages(count: number, options: MailOptions = {}): Buffer[] {
  return Array.from({ length: count }, () => mail(options));
}

export type Part = { readonly type: string; readonly name?: string; readonly content: Uint8Array };

/** A message with parts, each in base64. */
export function mailWith(parts: readonly Part[], options: MailOptions = {}): Buffer {
  const boundary = 'part-of-a-mail';
  const encoded = parts.map(({ type, name, content }) => {
    const file = name === undefined ? '' : `Content-Disposition: attachment; filename="${name}"\r\n`;
    const lines = Buffer.from(content).toString('base64').replaceAll(/.{76}/g, '$&\r\n');
    return `--${boundary}\r\nContent-Type: ${type}\r\n${file}Content-Transfer-Encoding: base64\r\n\r\n${lines}\r\n`;
  });
  const headers = [
    ...(options.headers ?? []),
    'MIME-Version: 1.0',
    `Content-Type: multipart/mixed; boundary=${boundary}`,
  ];
  const head = mail({ ...options, headers, body: '' });
  return Buffer.concat([head, Buffer.from(`${encoded.join('')}--${boundary}--\r\n`)]);
}

/** A mailbox of a new user with `sources` in it, not polled yet. */
export async function boxWith(
  { dovecot, on }: Pick<Scene, 'dovecot' | 'on'>,
  sources: readonly Uint8Array[],
  given: Partial<Mailbox> = {},
  options: AppendOptions = {},
): Promise<{ readonly user: string; readonly mailbox: Mailbox }> {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', sources, options);
  return { user, mailbox: await on.addMailbox(dovecot, user, given) };
}

/** To the test server through a port of this machine, in clear. */
export function inClear(port: number, user: string): Pick<Mailbox, 'connection'> {
  const trust = { caPem: null, fingerprint: null, allowPlaintext: true };
  return { connection: { host: '127.0.0.1', port, tls: 'none', ...trust, user, folder: 'INBOX' } };
}

export function poll({ on }: On, mailbox: Mailbox): Promise<RoundReport> {
  return pollOnce(on.app, mailbox, never);
}

export async function ticketsOf({ on }: On, mailbox: Mailbox): Promise<TicketSummary[]> {
  return (await on.app.store.listTickets(100_000)).filter(({ mailbox: name }) => name === mailbox.name);
}

/** UIDs in `folder` with `flag`. */
export async function flagged({ dovecot }: Scene, user: string, flag = '\\Seen', folder = 'INBOX'): Promise<number[]> {
  const flags = await dovecot.listFlags(user, folder);
  return [...flags].filter(([, set]) => set.has(flag)).map(([uid]) => uid);
}

/** SQL that the helpdesk, or its database administrator, runs beside the program. */
export async function sql({ mariadb, database }: Pick<Scene, 'mariadb' | 'database'>, text: string): Promise<string> {
  return (await mariadb.query(`USE ${database.name}; ${text}`)).trim();
}

/** What every count of the tables says when nothing is lost or doubled. */
export const healthy = {
  outcomesWithoutMessage: 0,
  messagesWithoutOutcome: 0,
  ticketsWithoutMessage: 0,
  outcomesAboveCursor: 0,
} as const;

/** The database refuses the last rows of every commit until `work` is done. */
export async function whileNothingIsStored(
  scene: Pick<Scene, 'mariadb' | 'database'>,
  work: () => Promise<void>,
): Promise<void> {
  await sql(scene, "CREATE TRIGGER refusal BEFORE INSERT ON outcome FOR EACH ROW SIGNAL SQLSTATE '45000'");
  try {
    await work();
  } finally {
    await sql(scene, 'DROP TRIGGER refusal');
  }
}

/** Bytes of all files below a folder; 0 where there is none. */
export async function bytesBelow(folder: string): Promise<number> {
  if (!existsSync(folder)) return 0;
  const files = (await readdir(folder, { recursive: true, withFileTypes: true })).filter((entry) => entry.isFile());
  const sizes = await Promise.all(files.map(async ({ parentPath, name }) => (await stat(join(parentPath, name))).size));
  return sizes.reduce((sum, size) => sum + size, 0);
}
