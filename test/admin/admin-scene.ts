/**
 * A helpdesk with its admin page for end-to-end tests: mailboxes on a real Dovecot, a real MariaDB, an admin created by
 * the command, daemons as processes, and a minimal HTTP client that can send anything.
 *
 * The page has the same address after every restart. Polls run every few seconds and IDLE is off, so that each poll
 * logs in again with the password of its mailbox.
 */
import { join } from 'node:path';
import { type Browser, browser, csrfIn, type Got } from '../adapters/web/page-client.ts';
import type { Env } from '../support/instance.ts';

import { type Daemon, type Ended, type LogLine, named, runCommand, startDaemon } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { type Dovecot, type DovecotOptions, startDovecot } from '../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';
import { freePort } from '../support/servers/programs.ts';
import { temporaryFolder } from '../support/temporary.ts';

export type AdminScene = AsyncDisposable & {
  readonly dovecot: Dovecot;
  readonly mariadb: Mariadb;
  /** Name of the database. */
  readonly database: string;
  readonly folder: string;
  readonly dataDir: string;
  readonly keyFile: string;
  readonly env: Env;
  /** Origin of the admin page, `http://127.0.0.1:PORT`. */
  readonly address: string;
  /** Of mailboxes that are polled; each is the name of its mailbox too. */
  readonly users: readonly string[];
  command(args: readonly string[], input?: string | Uint8Array): Promise<Ended>;
  /** Runs a command that prints an object a line. */
  json(args: readonly string[]): Promise<readonly LogLine[]>;
  /** A daemon that serves the page. */
  start(more?: Env): Promise<Daemon>;
  /** Rows of the database, the columns of each separated by tabs. */
  rows(sql: string): Promise<readonly string[]>;
};

export type AdminSceneOptions = {
  readonly mailboxes?: number;
  /** Of those mailboxes, where they are not to be called as their users. */
  readonly names?: readonly string[];
  /** More of them that are paused, so that only an operation on the switch touches their passwords. */
  readonly resting?: number;
  readonly pollIntervalS?: number;
  readonly dovecot?: DovecotOptions;
  /** Of every user of the mail server, and of the mailboxes. */
  readonly password?: Uint8Array;
  readonly adminPassword?: Uint8Array;
  readonly env?: Env;
};

export const adminName = 'ada';
const usualPassword = 'correct horse 9 battery';
export const adminPassword = usualPassword;

export async function openAdminScene(options: AdminSceneOptions = {}): Promise<AdminScene> {
  const { mailboxes = 2, resting = 0, pollIntervalS = 1, password = Buffer.from('pw') } = options;
  await using building = new AsyncDisposableStack();
  const [dovecot, mariadb] = await Promise.all([
    startDovecot({ ...options.dovecot, ...(options.password === undefined ? {} : { password }) }),
    startMariadb(),
  ]);
  building.use(dovecot);
  building.use(mariadb);
  const { path: folder } = building.use(await temporaryFolder('admin'));
  const { url, name: database } = await mariadb.createDatabase();
  const dataDir = join(folder, 'data');
  const address = `http://127.0.0.1:${await freePort()}`;
  const env = {
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_DATABASE_URL: url,
    TICKETMAILD_HTTP_LISTEN: '127.0.0.1:0',
    TICKETMAILD_ADMIN_LISTEN: new URL(address).host,
    TICKETMAILD_POLL_INTERVAL_S: `${pollIntervalS}`,
    TICKETMAILD_IDLE_CONNECTIONS_MAX: '0',
    ...options.env,
  };
  const command: AdminScene['command'] = (args, input = '') => runCommand(args, { env, input: `${input}` });
  const rows = async (sql: string): Promise<readonly string[]> => {
    const text = (await mariadb.query(`use ${database}; ${sql}`)).trimEnd();
    return text === '' ? [] : text.split('\n');
  };
  const users = Array.from({ length: mailboxes }, () => dovecot.newUser());
  await addMailboxes({ command, rows, dovecot, users, resting, password });
  for (const [index, name] of (options.names ?? []).entries())
    await rows(`update mailboxes set name = '${name}' where name = '${users[index]}'`);
  await mustRun(command(['admin', 'add', adminName, '--password-stdin'], asText(options.adminPassword)));
  const undo = building.move();
  return {
    ...{
      dovecot,
      mariadb,
      database,
      folder,
      dataDir,
      keyFile: join(dataDir, 'encryption-key.bin'),
      env,
      address,
      users,
    },
    ...{ command, rows },
    json: async (args) => jsonLines((await mustRun(command(args))).stdout),
    start: async (more = {}) => {
      const daemon = undo.use(startDaemon(['run'], { env: { ...env, ...more } }));
      await daemon.waitFor(named('admin.listening'));
      return daemon;
    },
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

function asText(password: Uint8Array | undefined): string {
  return password === undefined ? usualPassword : Buffer.from(password).toString();
}

function jsonLines(text: string): readonly LogLine[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line));
}

/** Throws with what a command printed that fails. */
export async function mustRun(running: Promise<Ended>): Promise<Ended> {
  const ended = await running;
  if (ended.code !== 0) throw new Error(`a command ended with ${ended.code}:\n${ended.stdout}${ended.stderr}`);
  return ended;
}

type Adding = Pick<AdminScene, 'command' | 'rows' | 'dovecot' | 'users'> & {
  readonly resting: number;
  readonly password: Uint8Array;
};

/** The first by the command, the others as a helpdesk writes them. Those that rest come last by their ids. */
async function addMailboxes({ command, rows, dovecot, users, resting, password }: Adding): Promise<void> {
  const [first = '', ...others] = users;
  for (const user of users) await dovecot.createFolder(user, 'INBOX');
  const server = ['--host', '127.0.0.1', '--port', `${dovecot.port}`, '--tls', 'none', '--since', 'all'];
  const add = ['mailbox', 'add', '--name', first, '--user', first, '--password-stdin', ...server];
  await mustRun(command(add, Buffer.from(password).toString()));
  const columns = 'host, port, tls_mode, allow_plaintext, folder, since_kind, on_success, password';
  const copies = [
    ...others.map((user) => ({ id: 'uuid()', user, state: 'active' })),
    ...Array.from({ length: resting }, (_, index) => {
      const number = `${index + 1}`.padStart(4, '0');
      return { id: `'zz-${number}'`, user: `resting-${number}@example.test`, state: 'paused' };
    }),
  ];
  const statements = copies.map(
    ({ id, user, state }) =>
      `insert into mailboxes (id, name, username, state, ${columns}) select ${id}, '${user}', '${user}', '${state}', ${columns} from mailboxes where name = '${first}';`,
  );
  if (statements.length > 0) await rows(`start transaction; ${statements.join('\n')} commit;`);
}

export type SignedIn = Browser & {
  /** What the forms of this admin session carry. */
  readonly csrf: string;
  /** Sends a form of the admin page with everything that it needs; `path` below /admin/. */
  form(path: string, fields?: Readonly<Record<string, string>>): Promise<Got>;
  /** The page that a form led to. */
  formThenPage(path: string, fields?: Readonly<Record<string, string>>): Promise<Got>;
};

export const encryptionPath = '/admin/server/encryption';
export const bothBoxes = { accept_key_loss: 'yes', backup_prepared: 'yes' } as const;

/** One attempt to sign in; the cookies are in `client` if it is let in. */
export async function attempt(client: Browser, name: string, password: string): Promise<Got> {
  const { text } = await client.get('/admin/sign-in');
  return await client.post('/admin/sign-in', { csrf: csrfIn(text), name, password });
}

export async function signIn(
  { address }: Pick<AdminScene, 'address'>,
  { name = adminName, password = usualPassword } = {},
): Promise<SignedIn> {
  const client = browser({ address });
  const got = await attempt(client, name, password);
  if (got.status !== 303) throw new Error(`not signed in: ${got.status} ${got.text.slice(0, 2_000)}`);
  const csrf = csrfIn((await client.get('/admin/overview')).text);
  const form: SignedIn['form'] = (path, fields = {}) => client.post(`/admin/${path}`, { csrf, ...fields });
  return {
    ...client,
    csrf,
    form,
    formThenPage: async (path, fields) => {
      const { headers, ...rest } = await form(path, fields);
      return rest.status === 303 ? await client.get(headers.location ?? '') : { headers, ...rest };
    },
  };
}

/** Waits until the row of the switch has this state; returns what `encryption status` then says, which must agree. */
export async function untilSwitch(scene: Pick<AdminScene, 'json' | 'rows'>, state: string): Promise<LogLine> {
  await until(
    `the switch is ${state}`,
    async () => (await scene.rows('select state from encryption_switch'))[0] === state,
    90_000,
  );
  const [status = {}] = await scene.json(['encryption', 'status', '--json']);
  if (status['state'] !== state) throw new Error(`encryption status says ${JSON.stringify(status)}`);
  return status;
}

export type MailStream = AsyncDisposable & {
  /** Subjects of the messages that were delivered so far. */
  readonly sent: readonly string[];
  stop(): Promise<void>;
};

/** Delivers a mail every `everyMs` to one mailbox after the other, until it is stopped. */
export function streamMail({ dovecot, users }: Pick<AdminScene, 'dovecot' | 'users'>, everyMs: number): MailStream {
  const sent: string[] = [];
  let isOver = false;
  const run = async (): Promise<void> => {
    while (!isOver) {
      const subject = `stream-${sent.length + 1}`;
      const user = users[sent.length % users.length] ?? '';
      await dovecot.append(user, 'INBOX', [streamedMail(subject, user)]);
      sent.push(subject);
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  };
  const running = run();
  const stop = async (): Promise<void> => {
    isOver = true;
    await running;
  };
  return { sent, stop, [Symbol.asyncDispose]: stop };
}

function streamedMail(subject: string, to: string): Buffer {
  const head = `From: Ada <${subject}@example.test>\r\nTo: ${to}\r\nSubject: ${subject}\r\nMessage-ID: <${subject}@example.test>\r\n`;
  return Buffer.from(`${head}\r\nHello\r\n`);
}

/** Every subject is that of exactly one ticket, and there is no other one. Waits for those that are still to come. */
export async function oneTicketEach(scene: Pick<AdminScene, 'rows'>, subjects: readonly string[]): Promise<void> {
  const count = `select count(*), count(distinct subject) from ticket where subject like 'stream-%'`;
  const wanted = `${subjects.length}\t${subjects.length}`;
  await until(`${wanted} tickets`, async () => (await scene.rows(count))[0] === wanted, 60_000);
}
