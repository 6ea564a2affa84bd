/**
 * Plain-text passwords that remain in the files of the database after `encryption enable` and after each
 * clean-up that could be recommended: a canary is counted in the files of each kind, step by step.
 *
 * The server syncs every commit, has its binary log on, and runs while its files are read, as with a copy of its disk.
 * In the courses `mariadb` and `mysql` the lines that `enable` prints are run as they are, and every file must end at
 * nothing, twice: after `disable` and `enable` again. The course `others` shows what a slow shutdown, a restart and
 * writing over do to MariaDB without them. SQLite gets `enable` alone. Fails when a command or a statement fails.
 */

import { type Connection, createConnection } from 'mysql2/promise';
import { newCanary } from '../../support/leaks/canary.ts';
import { type FileKind, hitsByKind, searchFiles } from '../../support/leaks/files-search.ts';
import {
  flushPages,
  loggingArgs,
  purgeBinaryLogs,
  resizeRedoLog,
  scrub,
  untilPurged,
} from '../../support/leaks/mariadb-purge.ts';
import { createAdministrator, printedSteps, runPrinted } from '../../support/leaks/printed-steps.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { startMysql } from '../../support/servers/mysql.ts';
import { addMailboxes, type NewRow } from '../many-mailboxes.ts';
import { disable, enable, openSetting, type Setting } from '../setting.ts';

export type Course = 'mariadb' | 'mysql' | 'others' | 'sqlite';

export type StepHits = {
  readonly step: string;
  readonly hits: readonly { readonly kind: FileKind; readonly count: number }[];
};

export type FilesReport = {
  readonly course: Course;
  readonly steps: readonly StepHits[];
  /** Nothing is left after the last step, nor after the last one before `disable`. */
  readonly isClean: boolean;
};

type Place = { readonly setting: Setting; readonly mariadb: Mariadb; readonly snapshot: Connection };
type Step = readonly [name: string, act: (place: Place) => Promise<void>];

/** More than the redo log holds, and than undo and the doublewrite buffer do. */
const overwrittenRows = 40_000;

const enableStep: Step = ['encryption enable', async ({ setting }) => void (await setting.succeed(enable))];
/** As a backup or a report does: while it is open, the server keeps every former value. */
const openSnapshot: Step = [
  'a snapshot is opened',
  async ({ snapshot }) => void (await snapshot.query('START TRANSACTION WITH CONSISTENT SNAPSHOT')),
];
const closeSnapshot: Step = ['the snapshot is closed', async ({ snapshot }) => void (await snapshot.query('COMMIT'))];
const purge: Step = ['purge has caught up (history list 0)', ({ mariadb }) => untilPurged(mariadb)];
const flush: Step = ['changed pages written (innodb_max_dirty_pages_pct 0)', ({ mariadb }) => flushPages(mariadb)];
const redo: Step = ['SET GLOBAL innodb_log_file_size', ({ mariadb }) => resizeRedoLog(mariadb)];
const binaryLogs: Step = [
  'FLUSH BINARY LOGS, PURGE BINARY LOGS TO the newest',
  ({ mariadb }) => purgeBinaryLogs(mariadb),
];

const others: readonly Step[] = [
  openSnapshot,
  enableStep,
  flush,
  closeSnapshot,
  purge,
  flush,
  ['slow shutdown (innodb_fast_shutdown 0) and restart', ({ mariadb }) => restartSlowly(mariadb)],
  [
    'OPTIMIZE TABLE mailboxes',
    async ({ setting, mariadb }) => void (await mariadb.query(`OPTIMIZE TABLE ${tableOf(setting)}`)),
  ],
  ['PURGE BINARY LOGS BEFORE NOW(), once', ({ mariadb }) => purgeOnce(mariadb)],
  ['another table written and dropped, not in the binary log', ({ setting, mariadb }) => overwrite(setting, mariadb)],
  purge,
  flush,
  redo,
  binaryLogs,
];

export type FilesOptions = {
  readonly mailboxes: number;
  /** Of MySQL; 100 is its default. */
  readonly redoCapacityMb?: number;
  progress(line: string): void;
};

export async function filesRun(course: Course, options: FilesOptions): Promise<FilesReport> {
  const canary = newCanary();
  const rows = rowsWith(canary, options.mailboxes);
  const steps: StepHits[] = [];
  const look = async (step: string, folder: string): Promise<boolean> => {
    options.progress(`${course}: ${step}`);
    const found = hitsByKind(await searchFiles(folder, canary));
    steps.push({ step, hits: [...found].map(([kind, count]) => ({ kind, count })) });
    return [...found.values()].every((count) => count === 0);
  };
  const isClean = await runCourse(course, rows, look, options);
  return { course, steps, isClean };
}

async function runCourse(
  course: Course,
  rows: readonly NewRow[],
  look: Look,
  { redoCapacityMb = 100 }: FilesOptions,
): Promise<boolean> {
  if (course === 'sqlite') return await sqliteCourse(rows, look);
  if (course === 'mysql') {
    await using mysql = await startMysql({ durable: true, binaryLog: true, redoCapacityMb });
    return await printedCourse(mysql, rows, look);
  }
  await using mariadb = await startMariadb({ durable: true, args: loggingArgs });
  if (course === 'others') return await otherCourse(mariadb, rows, look);
  await scrub(mariadb);
  return await printedCourse(mariadb, rows, look);
}

type Look = (step: string, folder: string) => Promise<boolean>;

async function sqliteCourse(rows: readonly NewRow[], look: Look): Promise<boolean> {
  await using setting = await openSetting(null);
  await addMailboxes(setting.databaseUrl, rows);
  await look('passwords stored readable', setting.folder);
  await setting.succeed(enable);
  return await look('encryption enable', setting.folder);
}

/** What `enable` prints, twice; while it runs, a snapshot is open and every changed page is written. */
async function printedCourse(server: Mariadb, rows: readonly NewRow[], look: Look): Promise<boolean> {
  await using setting = await openSetting(server);
  await addMailboxes(setting.databaseUrl, rows);
  const clean: boolean[] = [];
  for (const time of ['first', 'second']) {
    if (time === 'second') await setting.succeed(disable);
    await flushPages(server);
    await look(`passwords stored readable, the ${time} time`, server.dataFolder);
    const snapshot = await createConnection(setting.databaseUrl);
    await snapshot.query('START TRANSACTION WITH CONSISTENT SNAPSHOT');
    const { stdout } = await setting.succeed(enable);
    await flushPages(server);
    await look('encryption enable, with a snapshot open', server.dataFolder);
    await snapshot.query('COMMIT');
    snapshot.destroy();
    const { steps, rights } = printedSteps(stdout);
    await createAdministrator(server, rights);
    let isClean = false;
    for (const step of steps) {
      await runPrinted(server, step);
      isClean = await look(`printed: ${step.place.split(/[,.:]/)[0]}`, server.dataFolder);
    }
    clean.push(isClean);
  }
  return clean.every((isClean) => isClean);
}

async function otherCourse(mariadb: Mariadb, rows: readonly NewRow[], look: Look): Promise<boolean> {
  await using setting = await openSetting(mariadb);
  const snapshot = await createConnection(setting.databaseUrl);
  await addMailboxes(setting.databaseUrl, rows);
  await flushPages(mariadb);
  let isClean = await look('passwords stored readable', mariadb.dataFolder);
  for (const [name, act] of others) {
    await act({ setting, mariadb, snapshot });
    isClean = await look(name, mariadb.dataFolder);
  }
  snapshot.destroy();
  return isClean;
}

function rowsWith(password: Uint8Array, count: number): readonly NewRow[] {
  const server = { host: 'mail.example.test', port: 993, tls: 'implicit' as const, caPem: null };
  return Array.from({ length: count }, (_, index) => ({
    name: `box-${index}`,
    ...server,
    user: `user-${index}`,
    password,
  }));
}

function databaseOf({ databaseUrl }: Setting): string {
  return new URL(databaseUrl).pathname.slice(1);
}

function tableOf(setting: Setting): string {
  return `${databaseOf(setting)}.mailboxes`;
}

async function purgeOnce(mariadb: Mariadb): Promise<void> {
  await mariadb.query('FLUSH BINARY LOGS; PURGE BINARY LOGS BEFORE NOW()');
}

async function restartSlowly(mariadb: Mariadb): Promise<void> {
  await mariadb.query('SET GLOBAL innodb_fast_shutdown = 0');
  await mariadb.restart();
}

async function overwrite(setting: Setting, mariadb: Mariadb): Promise<void> {
  const fill = `SET sql_log_bin = 0; USE ${databaseOf(setting)}`;
  const rows = `SELECT REPEAT('x', 1000) FROM seq_1_to_${overwrittenRows}`;
  const table = 'CREATE TABLE overwriting (id INT AUTO_INCREMENT PRIMARY KEY, filling VARBINARY(4096)) ENGINE=InnoDB';
  await mariadb.query(`${fill}; ${table}; INSERT INTO overwriting (filling) ${rows}`);
  for (const letter of 'abcd')
    await mariadb.query(`${fill}; UPDATE overwriting SET filling = REPEAT('${letter}', 1000)`);
  await mariadb.query(`${fill}; DROP TABLE overwriting`);
}
