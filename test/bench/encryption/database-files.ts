/**
 * Plain-text passwords that remain in the files of the database after `encryption enable` and after each
 * clean-up that could be recommended: a canary is counted in the files of each kind, step by step.
 *
 * MariaDB syncs every commit, has its binary log on, and runs while its files are read, as with a copy of its disk. In
 * the course `recommended` the steps are those that `enable` names, in its order, and every file must end at nothing.
 * The course `others` shows what a slow shutdown, a restart and writing over do without the first of them. SQLite gets
 * `enable` alone. Fails when a command or a statement fails.
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
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';
import { addMailboxes, type NewRow } from '../many-mailboxes.ts';
import { enable, openSetting, type Setting } from '../setting.ts';

export type Course = 'recommended' | 'others' | 'sqlite';

export type StepHits = {
  readonly step: string;
  readonly hits: readonly { readonly kind: FileKind; readonly count: number }[];
};

export type FilesReport = {
  readonly course: Course;
  readonly steps: readonly StepHits[];
  /** Nothing is left after the last step. */
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

const recommended: readonly Step[] = [
  ['SET GLOBAL innodb_immediate_scrub_data_uncompressed = ON', ({ mariadb }) => scrub(mariadb)],
  openSnapshot,
  enableStep,
  flush,
  closeSnapshot,
  purge,
  flush,
  redo,
  binaryLogs,
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

export async function filesRun(
  course: Course,
  mailboxes: number,
  progress: (line: string) => void,
): Promise<FilesReport> {
  const canary = newCanary();
  const rows = rowsWith(canary, mailboxes);
  const steps: StepHits[] = [];
  const look = async (step: string, folder: string): Promise<void> => {
    progress(`${course}: ${step}`);
    const found = hitsByKind(await searchFiles(folder, canary));
    steps.push({ step, hits: [...found].map(([kind, count]) => ({ kind, count })) });
  };
  if (course === 'sqlite') await sqliteCourse(rows, look);
  else await mariadbCourse(course === 'recommended' ? recommended : others, rows, look);
  const isClean = steps.at(-1)?.hits.every(({ count }) => count === 0) === true;
  return { course, steps, isClean };
}

type Look = (step: string, folder: string) => Promise<void>;

async function sqliteCourse(rows: readonly NewRow[], look: Look): Promise<void> {
  await using setting = await openSetting(null);
  await addMailboxes(setting.databaseUrl, rows);
  await look('passwords stored readable', setting.folder);
  await setting.succeed(enable);
  await look('encryption enable', setting.folder);
}

async function mariadbCourse(course: readonly Step[], rows: readonly NewRow[], look: Look): Promise<void> {
  await using mariadb = await startMariadb({ durable: true, args: loggingArgs });
  await using setting = await openSetting(mariadb);
  const snapshot = await createConnection(setting.databaseUrl);
  await addMailboxes(setting.databaseUrl, rows);
  await flushPages(mariadb);
  await look('passwords stored readable', mariadb.dataFolder);
  for (const [name, act] of course) {
    await act({ setting, mariadb, snapshot });
    await look(name, mariadb.dataFolder);
  }
  snapshot.destroy();
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
