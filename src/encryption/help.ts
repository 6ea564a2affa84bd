/**
 * Help texts about encryption: threat model, backup advice, and where plain-text passwords may remain (data remanence).
 *
 * Lines of plain text. Commands in them can be copied as they are.
 */
import { dirname, relative } from 'node:path';
import { shellArg } from '../text/shell.ts';

/** The database that contains the passwords. */
export type DatabaseLocation = { readonly kind: 'sqlite'; readonly path: string } | { readonly kind: 'mysql' };

/** Only a running daemon may still have the key in memory. */
export const recoverAdvice =
  'Or, if ticketmaild status shows orphaned, let the running daemon write it: ticketmaild key recover';

export const plaintextAdvice =
  'A running worker seals them within a second; without one: ticketmaild encryption reseal';

/** A command line with the configuration file of this run; null: none was given. */
export function commandLine(words: string, configFile: string | null): string {
  return `ticketmaild ${words}${configFile === null ? '' : ` --config ${shellArg(configFile)}`}`;
}

export function encryptionExplanation(keyFile: string, database: DatabaseLocation): readonly string[] {
  return [
    `Encryption seals the mailbox passwords in the database under a key in ${keyFile}.`,
    'It protects against read access to the database, its dumps and its backups.',
    'It does not protect against access to both the key file and the database: never put both into the same backup.',
    'Running workers pick it up within a second: no restart, and no poll is interrupted.',
    ...preparationAdvice(database),
    ...sharedBackupAdvice(keyFile, database),
  ];
}

/** An SQLite database below the folder of the key file, as by default: one backup holds both. Else empty. */
export function sharedBackupAdvice(keyFile: string, database: DatabaseLocation): readonly string[] {
  const folder = dirname(keyFile);
  if (database.kind !== 'sqlite' || relative(folder, database.path).startsWith('..')) return [];
  return [
    `Key file and SQLite database are both in ${folder}: one backup of it holds both, and reveals every password.`,
    'Protect the key file by a passphrase (ticketmaild key protect), or move the database ([database] url) to a folder',
    'with backups of its own, and leave encryption-key.bin out of those of this folder.',
  ];
}

/** Preparation of the database before encryption is enabled; empty: none. */
export function preparationAdvice({ kind }: Pick<DatabaseLocation, 'kind'>): readonly string[] {
  return kind === 'mysql' ? scrubAdvice : [];
}

/** Clears undo pages as they are freed; nothing clears them afterwards. */
const scrubAdvice = [
  'With MariaDB, let its administrator run this first:',
  '  SET GLOBAL innodb_immediate_scrub_data_uncompressed = ON;',
];

/** Where that variable is off. */
export const scrubWarning = `warning: plain text may remain in files of the database. ${scrubAdvice.map((line) => line.trim()).join(' ')}`;

export const questions = {
  keyLoss: 'If the key file is lost, all sealed passwords are lost with it. Do you accept that?',
  backup: 'Is a safe place for the backup of the key file prepared, apart from the backups of the database?',
} as const;

/** Next steps once there is a new key. The date in the name keeps the backup of the key before. */
export function backupAdvice(configFile: string | null, nowMs: number): readonly string[] {
  const copy = `/PATH/encryption-key-${new Date(nowMs).toISOString().slice(0, 10)}.bin`;
  return [
    'Back the key file up now, apart from the backups of the database, and verify the copy:',
    `  ${commandLine(`key backup ${copy}`, configFile)}`,
    `  ${commandLine(`key verify ${copy}`, configFile)}`,
    `Switching it off again needs this file system: ${commandLine('encryption disable', configFile)}, run on this host.`,
  ];
}

/**
 * Places that may still contain plain-text passwords, with what clears each: in this order, since sealing writes logs
 * too.
 */
export function plaintextRemnants(database: DatabaseLocation, configFile: string | null): readonly string[] {
  return [
    'The passwords that were stored in plain text until now may still be found in:',
    ...(database.kind === 'sqlite' ? sqliteRemnants(database.path) : mysqlRemnants),
    '- snapshots and freed blocks of the file systems below',
    'The safest remedy is to change them at the provider. To list them:',
    `  ${commandLine('encryption status', configFile)}`,
  ];
}

/** Measured with MariaDB 10.11: neither a restart nor a slow shutdown clears these. */
const mysqlRemnants: readonly string[] = [
  '- older dumps and backups of the database: delete them, or protect them like the passwords themselves',
  '- the tablespace and undo files, until changed pages are written. At once, with the former values afterwards:',
  "    wait until SHOW STATUS LIKE 'Innodb_history_list_length' shows 0 (no transaction from before is open)",
  '    SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0; SET GLOBAL innodb_max_dirty_pages_pct = 0;',
  "    wait until SHOW STATUS LIKE 'Innodb_buffer_pool_pages_dirty' shows 0",
  '- the redo log, until it is overwritten. At once (MariaDB 10.9 or later), then the former size again:',
  '    SET GLOBAL innodb_log_file_size = ANOTHER SIZE;',
  '- binary logs, on replicas first. Repeat until SHOW BINARY LOGS shows one:',
  "    FLUSH BINARY LOGS; PURGE BINARY LOGS TO 'THE NEWEST ONE';",
  '- the general or slow query log, if one was on: delete those files',
];

function sqliteRemnants(path: string): readonly string[] {
  return [`- older copies and backups of ${path}: delete them, or protect them like the passwords themselves`];
}
