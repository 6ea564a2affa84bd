/**
 * Data remanence: the places of a database server that may still hold plain-text passwords, and the statements that
 * clear each, for the server that is there.
 *
 * Measured with MariaDB 10.11 and MySQL 9.7 (`npm run bench -- database-files`): neither a restart nor a slow shutdown
 * clears these alone. A line that begins with four spaces is run as it is, in this order: sealing and clearing write
 * logs too.
 */
import { commandLine, type DatabaseLocation } from './help.ts';

/** A server by its version, with the values that clearing changes for a while. */
export type DatabaseServer = {
  readonly product: 'mariadb' | 'mysql';
  /** False: freed undo pages keep the plain text in them until they are reused. MariaDB can be set to clear them. */
  readonly isUndoScrubbed: boolean;
  /** `log_bin` is on. */
  readonly hasBinaryLog: boolean;
  /** `innodb_redo_log_capacity` of MySQL, `innodb_log_file_size` of MariaDB. */
  readonly redoLogBytes: number;
  readonly dirtyPagesPct: string;
  readonly dirtyPagesPctLwm: string;
};

/** Preparation of the database before encryption is enabled; empty: none. */
export function preparationAdvice(server: DatabaseServer | null): readonly string[] {
  return keepsUndoPages(server) ? scrubAdvice : [];
}

/** Clears undo pages as they are freed; nothing clears them afterwards. */
const scrubAdvice = [
  'With MariaDB, let its administrator run this first:',
  '  SET GLOBAL innodb_immediate_scrub_data_uncompressed = ON;',
];

/** True where freed undo pages of the server keep plain text, and no line of `plaintextRemnants` clears them. */
export function keepsUndoPages(server: DatabaseServer | null): boolean {
  return server?.product === 'mariadb' && !server.isUndoScrubbed;
}

/** What is accepted with `--accept-plaintext-remnants`. */
export const undoRemnants = 'passwords remain readable in freed undo pages of MariaDB, which nothing clears afterwards';

/** Places that may still contain plain-text passwords, with what clears each. `server` null: SQLite. */
export function plaintextRemnants(
  database: DatabaseLocation,
  server: DatabaseServer | null,
  configFile: string | null,
): readonly string[] {
  return [
    'The passwords that were stored in plain text until now may still be found in:',
    ...(database.kind === 'sqlite' ? sqliteRemnants(database.path) : []),
    ...(server === null ? [] : serverRemnants(server)),
    '- snapshots and freed blocks of the file systems below',
    'The safest remedy is to change them at the provider. To list them:',
    `  ${commandLine('encryption status', configFile)}`,
  ];
}

function sqliteRemnants(path: string): readonly string[] {
  return [`- older copies and backups of ${path}: delete them, or protect them like the passwords themselves`];
}

function serverRemnants(server: DatabaseServer): readonly string[] {
  return [
    '- older dumps and backups of the database: delete them, or protect them like the passwords themselves',
    ...(server.product === 'mysql' ? mysqlFiles(server) : mariadbFiles(server)),
    ...(server.hasBinaryLog ? binaryLogs : []),
    '- the general or slow query log, if one was on: delete those files, empty mysql.general_log and mysql.slow_log',
    ...(server.product === 'mysql' ? mysqlRestart : []),
    ...(server.hasBinaryLog ? ['- the same on each replica, before the binary logs of this server'] : []),
    `These need the rights ${rights(server)}.`,
    'A managed server gives them to its provider alone: then change the passwords, as below.',
  ];
}

const binaryLogs = [
  '- binary logs. Repeat both until SHOW BINARY LOGS shows one:',
  '    FLUSH BINARY LOGS;',
  "    PURGE BINARY LOGS TO 'THE NEWEST ONE';",
];

function rights({ product, hasBinaryLog }: DatabaseServer): string {
  const files = { mysql: 'CREATE TABLESPACE, PROCESS, SYSTEM_VARIABLES_ADMIN', mariadb: 'SUPER' }[product];
  const logs = { mysql: 'RELOAD, REPLICATION CLIENT, BINLOG_ADMIN', mariadb: 'RELOAD, BINLOG MONITOR, BINLOG ADMIN' };
  return (hasBinaryLog ? `${files}, ${logs[product]}` : files).replace(/, ([^,]+)$/, ' and $1');
}

function mariadbFiles(server: DatabaseServer): readonly string[] {
  const { redoLogBytes } = server;
  return [
    '- the tablespace and undo files, until changed pages are written. At once (no transaction from before is open):',
    "    wait until SHOW STATUS LIKE 'Innodb_history_list_length' shows 0",
    ...writtenPages(server),
    '- the redo log, until it is overwritten. At once, if another size can be set (MariaDB 10.9 or later):',
    `    SET GLOBAL innodb_log_file_size = ${2 * redoLogBytes};`,
    `    wait until SELECT @@innodb_log_file_size shows ${2 * redoLogBytes}`,
    `    SET GLOBAL innodb_log_file_size = ${redoLogBytes};`,
    `    wait until SELECT @@innodb_log_file_size shows ${redoLogBytes}`,
  ];
}

/**
 * Every changed page is written; then the former limits again, the upper one first. The count is near 0 in a quiet
 * server before the limits act, which takes a second; a running daemon changes a few pages each second.
 */
function writtenPages({ dirtyPagesPct, dirtyPagesPctLwm }: DatabaseServer): readonly string[] {
  return [
    '    SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0;',
    '    SET GLOBAL innodb_max_dirty_pages_pct = 0;',
    "    wait 10 seconds, and until SHOW STATUS LIKE 'Innodb_buffer_pool_pages_dirty' shows 10 or fewer",
    `    SET GLOBAL innodb_max_dirty_pages_pct = ${dirtyPagesPct};`,
    `    SET GLOBAL innodb_max_dirty_pages_pct_lwm = ${dirtyPagesPctLwm};`,
  ];
}

/** The least that MySQL takes. */
const redoLogBytesMin = 8 * 1024 ** 2;
const spare = 'ticketmaild_spare';

/**
 * The redo log is resized down and up, which drops its spare files: these are reused with their content otherwise. The
 * current file keeps its tail until the undo tablespaces, which log some MB as they are made, move on from it; it has
 * another size then than new ones, so it is dropped as well. From the least size it is up and down, twice: what was not
 * yet written to the tables at the first time down is spare at the second.
 */
function mysqlFiles(server: DatabaseServer): readonly string[] {
  const isLeast = server.redoLogBytes <= redoLogBytesMin;
  const meanwhile = isLeast ? 2 * redoLogBytesMin : server.redoLogBytes;
  return [
    '- the redo log and the undo tablespaces, until they are overwritten. At once (no transaction from before is open):',
    ...(isLeast ? [] : resizedTo(redoLogBytesMin)),
    ...resizedTo(meanwhile),
    `    CREATE UNDO TABLESPACE ${spare} ADD DATAFILE '${spare}.ibu';`,
    ...['innodb_undo_001', 'innodb_undo_002'].flatMap((name) => [
      ...emptied(name),
      `    ALTER UNDO TABLESPACE ${name} SET ACTIVE;`,
    ]),
    ...emptied(spare),
    `    DROP UNDO TABLESPACE ${spare};`,
    ...writtenPages(server),
    ...(isLeast ? [redoLogBytesMin, meanwhile, redoLogBytesMin].flatMap(resizedTo) : []),
    '  Empty any other undo tablespace in the same way, before the spare one:',
    "    SELECT NAME FROM INFORMATION_SCHEMA.INNODB_TABLESPACES WHERE SPACE_TYPE = 'Undo';",
  ];
}

function resizedTo(bytes: number): readonly string[] {
  return [
    `    SET GLOBAL innodb_redo_log_capacity = ${bytes};`,
    `    wait until SHOW STATUS LIKE 'Innodb_redo_log_capacity_resized' shows ${bytes}`,
  ];
}

function emptied(name: string): readonly string[] {
  return [
    `    ALTER UNDO TABLESPACE ${name} SET INACTIVE;`,
    `    wait until SELECT STATE FROM INFORMATION_SCHEMA.INNODB_TABLESPACES WHERE NAME = '${name}' shows empty`,
  ];
}

/** MySQL makes the files again as it starts; nothing else clears them all. */
const mysqlRestart = [
  '- the doublewrite files, until other pages overwrite them, and statements in the memory of the server. At once:',
  '    shut the server down, delete #ib_*.dblwr in its data folder, start it',
];
