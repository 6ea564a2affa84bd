/**
 * A helpdesk with real daemons for the tests of what fails outside: mailboxes are written straight into its database,
 * the daemons run as processes, and `/readyz` is asked as an operator would.
 *
 * Polls come every second and push is off, unless a test says otherwise.
 */
import { join } from 'node:path';
import type { DatabaseConfig } from '../../src/config/config.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import type { Readiness } from '../../src/ingest/readiness.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { allSettings } from '../../src/secret/settings-seal.ts';
import { type TestApp, testApp } from './app.ts';
import { type Daemon, type Ended, type LogLine, named, runCommand, startDaemon } from './processes/daemon.ts';
import { until } from './promises.ts';
import type { Dovecot } from './servers/dovecot.ts';
import { temporaryFolder } from './temporary.ts';

export type Env = Readonly<Record<string, string>>;

export type Instance = {
  readonly folder: string;
  readonly dataDir: string;
  readonly env: Env;
  readonly app: TestApp['app'];
  /** A mailbox for a user; of a new one, with an empty INBOX, unless named. */
  add(server: Pick<Dovecot, 'host' | 'tlsPort' | 'caPem'>, user: string, given?: Partial<Mailbox>): Promise<Mailbox>;
  setPassword(mailbox: Mailbox, password: string): Promise<void>;
  start(more?: Env): Daemon;
  command(...args: readonly string[]): Promise<Ended>;
} & AsyncDisposable;

export type InstanceOptions = {
  /** null: the embedded default. */
  readonly database?: { readonly url: string; readonly config: DatabaseConfig } | null;
  readonly dataDir?: string;
  readonly env?: Env;
};

export async function openInstance({
  database = null,
  dataDir: given,
  env: more,
}: InstanceOptions = {}): Promise<Instance> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('desk'));
  const dataDir = given ?? join(folder.path, 'data');
  const env: Env = {
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_HTTP_LISTEN: '127.0.0.1:0',
    TICKETMAILD_POLL_INTERVAL_S: '1',
    TICKETMAILD_POLL_BACKOFF_MAX_S: '1',
    TICKETMAILD_IDLE_CONNECTIONS_MAX: '0',
    ...(database === null ? {} : { TICKETMAILD_DATABASE_URL: database.url }),
    ...more,
  };
  const instance = building.use(await testApp(database?.config ?? null, { TICKETMAILD_DATA_DIR: dataDir }));
  const undo = building.move();
  return {
    folder: folder.path,
    dataDir,
    env,
    app: instance.app,
    add: (server, user, mailbox) => instance.addMailbox(server, user, mailbox),
    setPassword: (mailbox, password) => setPassword(instance, mailbox, password),
    start: (also = {}) => undo.use(startDaemon(['run'], { env: { ...env, ...also } })),
    command: (...args) => runCommand(args, { env }),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

async function setPassword({ app }: TestApp, mailbox: Mailbox, text: string): Promise<void> {
  using password = SecretBytes.take(Buffer.from(text));
  await app.passwords.store(mailbox, password, allSettings, (prepared) =>
    app.store.setPassword(mailbox.id, prepared, app.actor),
  );
}

/** `headers`: more of them, each with its line end. */
export const mail = (id: string, more = '', headers = ''): Buffer =>
  Buffer.from(
    `From: Ada <ada-${id}@example.test>\r\nTo: support@example.test\r\nSubject: ${id}\r\n` +
      `Message-ID: <${id}@x>\r\n${headers}\r\nHello\r\n${more}`,
  );

export function count(daemon: Daemon, event: string): number {
  return daemon.lines.filter(named(event)).length;
}

/** How many messages became tickets, by the log. */
export function opened(daemon: Daemon, mailbox?: string): number {
  const isOf = (line: LogLine) => mailbox === undefined || line['mailbox'] === mailbox;
  return daemon.lines.filter((line) => named('message.ticket_opened')(line) && isOf(line)).length;
}

export async function readiness(daemon: Daemon): Promise<{ readonly status: number; readonly body: Readiness }> {
  const { address } = await daemon.waitFor(named('http.listening'));
  const response = await fetch(`${address}/readyz`);
  return { status: response.status, body: (await response.json()) as Readiness };
}

export async function metrics(daemon: Daemon): Promise<string> {
  const { address } = await daemon.waitFor(named('http.listening'));
  return await (await fetch(`${address}/metrics`)).text();
}

/** What `/readyz` says of one mailbox. */
export async function checkOf(daemon: Daemon, mailbox: string) {
  return (await readiness(daemon)).body.checks.mailboxes.list.find((check) => check.mailbox === mailbox);
}

/** Ready, and every check of the outside is ok: what failed has left nothing behind. */
export function untilWell(daemon: Daemon): Promise<unknown> {
  return until('everything is ok', async () => {
    const { status, body } = await readiness(daemon);
    const { database, scheduler, servers, mailboxes } = body.checks;
    return status === 200 && [database, scheduler, servers, mailboxes].every((check) => check.status === 'ok');
  });
}
