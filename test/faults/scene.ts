/**
 * Everything that the fault campaign runs against: a real Dovecot and MariaDB, mailboxes with sealed passwords, and
 * workers whose way to either server is a link of their own.
 *
 * Passwords are canaries: random, and searched for in all that was printed. Without root there are no own file systems
 * and names, so one link leads to the mail server for all workers; without libfaketime clocks stay right. `limits` says
 * so.
 */
import { spawnSync } from 'node:child_process';
import { chmod, copyFile, mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { createFakedClock, type FakedClock, findFaketime } from '../support/faults/faked-clock.ts';
import { startFaultProxy } from '../support/faults/proxy.ts';
import { newCanary } from '../support/leaks/canary.ts';
import { childrenNamed, signalGroup } from '../support/processes/proc.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';
import { findProgram, freePort, runProgram } from '../support/servers/programs.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { mailMbMax } from './mail.ts';
import { prepareWorker, type Worker } from './worker.ts';

export type Mailbox = { readonly name: string; readonly user: string };

export type Scene = {
  readonly dovecot: Dovecot;
  readonly mariadb: Mariadb;
  /** Crashes apart, the database server is started again with this. */
  restartMariadb(): Promise<void>;
  readonly database: string;
  /** For the verification: past all links. */
  readonly databaseUrl: string;
  /** null: the clock of the database is the machine's. */
  readonly databaseClock: FakedClock | null;
  readonly mailboxes: readonly Mailbox[];
  readonly mailPassword: Uint8Array;
  readonly workers: readonly Worker[];
  /** What must not stand in any log, by name. */
  readonly secrets: ReadonlyMap<string, Uint8Array>;
  readonly isRoot: boolean;
  /** What this machine cannot do, one sentence each. */
  readonly limits: readonly string[];
} & AsyncDisposable;

export type SceneOptions = {
  readonly workers: number;
  readonly mailboxes: number;
  /** Of each worker's data folder. */
  readonly dataMb: number;
  /** More settings of the workers. */
  readonly env?: Readonly<Record<string, string>>;
  /** SQL for the tables before encryption is enabled. */
  readonly sqlBeforeEnable?: string;
};

const leaseS = 6;
const commandTimeoutS = 5;
const pollIntervalS = 2;

export async function openScene(options: SceneOptions): Promise<Scene> {
  await using building = new AsyncDisposableStack();
  const isRoot = process.getuid?.() === 0;
  const faketime = findFaketime();
  const folder = building.use(await temporaryFolder('faults'));
  building.use(atExit(killServers));
  const databaseClock =
    faketime === null ? null : await createFakedClock(faketime, join(folder.path, 'database-clock'));
  const [mailPassword, databasePassword] = [newCanary(), newCanary()];
  const dovecot = building.use(
    await startDovecot({ certificate: isRoot ? 'other_name' : 'good', password: mailPassword }),
  );
  const mariadb = building.use(await underClock(databaseClock, () => startMariadb()));
  const { name: database } = await mariadb.createDatabase();
  const account = `faults:${Buffer.from(databasePassword).toString()}`;
  await mariadb.query(
    `CREATE USER faults@'127.0.0.1' IDENTIFIED BY '${Buffer.from(databasePassword)}'; GRANT ALL ON ${database}.* TO faults@'127.0.0.1';`,
  );
  const urlAt = (port: number): string => `mysql://${account}@127.0.0.1:${port}/${database}`;
  const plan: Plan = { options, folder: folder.path, isRoot, faketime, dovecot, mariadb, urlAt };
  const workers = await prepareWorkers(plan, building);
  const mailboxes = await addMailboxes(plan, workers, { database, mailPassword });
  const key = await shareKey(workers);
  const undo = building.move();
  return {
    ...{ dovecot, mariadb, database, databaseClock, mailboxes, mailPassword, workers, isRoot },
    databaseUrl: urlAt(mariadb.port),
    restartMariadb: () => underClock(databaseClock, () => mariadb.restart()),
    secrets: new Map([
      ['the password of the mailboxes', mailPassword],
      ['the password of the database', databasePassword],
      ['the key', key],
    ]),
    limits: limitsOf(isRoot, faketime),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

type Plan = {
  readonly options: SceneOptions;
  readonly folder: string;
  readonly isRoot: boolean;
  readonly faketime: string | null;
  readonly dovecot: Dovecot;
  readonly mariadb: Mariadb;
  readonly urlAt: (port: number) => string;
};

function limitsOf(isRoot: boolean, faketime: string | null): readonly string[] {
  return [
    ...(isRoot ? [] : ['not root: no faults of disks and names, and mail links are shared by all workers']),
    ...(faketime === null ? ['libfaketime is not installed (Debian: libfaketime): no faults of clocks'] : []),
  ];
}

async function underClock<T>(clock: FakedClock | null, start: () => Promise<T>): Promise<T> {
  return clock === null ? start() : clock.inherited(start);
}

async function prepareWorkers(plan: Plan, building: AsyncDisposableStack): Promise<readonly Worker[]> {
  const { dovecot, mariadb, isRoot, folder, options } = plan;
  const toMail = { host: '127.0.0.1', port: dovecot.tlsPort };
  const shared = isRoot ? null : building.use(await startFaultProxy(toMail));
  const workers: Worker[] = [];
  let mailPort = 0;
  for (let index = 0; index < options.workers; index += 1) {
    const dataDir = join(folder, `data-${index + 1}`);
    await mkdir(dataDir, { mode: 0o700 });
    if (isRoot) await mountSmall(dataDir, options.dataMb, building);
    const own = { host: `127.0.1.${index + 11}`, port: mailPort };
    const mailLink = shared ?? building.use(await startFaultProxy(toMail, own));
    mailPort = mailLink.port;
    const toDatabase = { host: '127.0.0.1', port: mariadb.port };
    const databaseLink = building.use(await startFaultProxy(toDatabase));
    workers.push(await oneWorker(plan, { index, dataDir, mailLink, databaseLink }));
  }
  building.defer(async () => void (await Promise.all(workers.map((worker) => worker.kill()))));
  return workers;
}

type Own = Pick<Worker, 'index' | 'dataDir' | 'mailLink' | 'databaseLink'>;

async function oneWorker(plan: Plan, own: Own): Promise<Worker> {
  const httpPort = await freePort();
  const env = {
    TICKETMAILD_DATA_DIR: own.dataDir,
    TICKETMAILD_DATABASE_URL: plan.urlAt(own.databaseLink.port),
    TICKETMAILD_HTTP_LISTEN: `127.0.0.1:${httpPort}`,
    TICKETMAILD_ADMIN_LISTEN: 'off',
    TICKETMAILD_POLL_INTERVAL_S: String(pollIntervalS),
    TICKETMAILD_POLL_LEASE_S: String(leaseS),
    TICKETMAILD_POLL_CONNECT_TIMEOUT_S: String(commandTimeoutS),
    TICKETMAILD_POLL_COMMAND_TIMEOUT_S: String(commandTimeoutS),
    TICKETMAILD_POLL_BACKOFF_MAX_S: '5',
    TICKETMAILD_MESSAGE_MAX_SIZE_MB: String(mailMbMax),
    ...plan.options.env,
  };
  const mailHost = plan.isRoot ? 'mail.example.test' : 'localhost';
  const folder = join(plan.folder, `worker-${own.index + 1}`);
  const { isRoot, faketime } = plan;
  return prepareWorker({ ...own, folder, httpPort, env, mailHost, isRoot, faketime });
}

async function mountSmall(path: string, megabytes: number, building: AsyncDisposableStack): Promise<void> {
  await runProgram('mount', ['-t', 'tmpfs', '-o', `size=${megabytes}m,mode=0700`, 'faults', path]);
  const unmount = findProgram('umount');
  const exiting = atExit(() => unmount !== null && spawnSync(unmount, ['-l', path]));
  building.defer(async () => {
    await runProgram('umount', ['-l', path]);
    exiting[Symbol.dispose]();
  });
}

/** For a process that ends before its time; comes before the temporary folder is removed. */
function atExit(act: () => unknown): Disposable {
  process.prependListener('exit', act);
  return { [Symbol.dispose]: () => void process.off('exit', act) };
}

/** One that is stopped does not hear that its parent has ended. */
function killServers(): void {
  for (const program of ['dovecot', 'mariadbd']) for (const pid of childrenNamed(program)) signalGroup(pid, 'SIGKILL');
}

/** Rows as a helpdesk would write them, sealed by `encryption enable`. */
async function addMailboxes(
  { options, dovecot, mariadb, isRoot }: Plan,
  [first]: readonly Worker[],
  { database, mailPassword }: { readonly database: string; readonly mailPassword: Uint8Array },
): Promise<readonly Mailbox[]> {
  if (first === undefined) throw new RangeError('no worker');
  const mailboxes = Array.from({ length: options.mailboxes }, (_, index) => ({
    name: `box-${index + 1}`,
    user: dovecot.newUser(),
  }));
  await succeed(first, ['migrate']);
  const host = isRoot ? 'mail.example.test' : 'localhost';
  const password = Buffer.from(mailPassword).toString('hex');
  const rows = mailboxes.map(
    ({ name, user }) =>
      `('${name}', '${host}', ${first.mailLink.port}, '${dovecot.caPem}', '${user}', x'${password}', 'all')`,
  );
  const columns = 'name, host, port, ca_pem, username, password, since_kind';
  await mariadb.query(`USE ${database}; INSERT INTO mailboxes (${columns}) VALUES ${rows.join(',')};`);
  if (options.sqlBeforeEnable !== undefined) await mariadb.query(`USE ${database}; ${options.sqlBeforeEnable}`);
  // The folders are there before the first poll.
  for (const { user } of mailboxes) await dovecot.append(user, 'INBOX', []);
  await succeed(first, ['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
  return mailboxes;
}

async function succeed(worker: Worker, args: readonly string[]): Promise<void> {
  const { code, output } = await worker.command(args);
  if (code !== 0) throw new Error(`${args.join(' ')} ended with ${code}:\n${output}`);
}

/** Copies the first worker's key file to the others, and gives what is in it. */
async function shareKey([first, ...others]: readonly Worker[]): Promise<Uint8Array> {
  if (first === undefined) throw new RangeError('no worker');
  for (const { keyFile } of others) {
    await copyFile(first.keyFile, keyFile);
    await chmod(keyFile, 0o600);
  }
  return readFile(first.keyFile);
}
