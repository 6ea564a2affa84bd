/**
 * What people are told about encryption: what it protects, what is theirs to do, and where readable passwords may remain.
 *
 * Lines of plain text. Commands in them can be copied as they are.
 */
import { shellArg } from '../text/shell.ts';

/** Where the passwords are stored. */
export type DatabaseLocation = { readonly kind: 'sqlite'; readonly path: string } | { readonly kind: 'mysql' };

/** A command never held the key itself; whether a daemon does, that daemon alone knows. */
export const orRecover =
  'Or, where ticketmaild status says orphaned, the running daemon writes it: ticketmaild key recover.';

/** A command of this program with the configuration file that was given to this one; null: none was. */
export function commandLine(words: string, configFile: string | null): string {
  return `ticketmaild ${words}${configFile === null ? '' : ` --config ${shellArg(configFile)}`}`;
}

export function encryptionExplanation(keyFile: string, database: Pick<DatabaseLocation, 'kind'>): readonly string[] {
  return [
    `Encryption seals the mailbox passwords in the database under a key that lies in ${keyFile}.`,
    'It protects the database, its dumps and its backups: whoever has only those has no password.',
    'It does not protect from whoever has both the key file and the database: never put both into the same backup.',
    'Workers that run take it up within a second; nothing is restarted, and no poll is cut off.',
    ...preparationAdvice(database),
  ];
}

/** What to have done on the database before encryption is switched on, the line to run set in; empty: nothing. */
export function preparationAdvice({ kind }: Pick<DatabaseLocation, 'kind'>): readonly string[] {
  return kind === 'mysql' ? scrubAdvice : [];
}

/** It clears undo pages as they are freed, which nothing does afterwards. */
const scrubAdvice = [
  'With MariaDB, have its administrator run this first:',
  '  SET GLOBAL innodb_immediate_scrub_data_uncompressed = ON;',
];

export const questions = {
  keyLoss: 'If data/encryption-key.bin is lost, all sealed passwords are lost with it. Do you accept that?',
  backup: 'Is a safe way of backing the key file up prepared, apart from the backups of the database?',
} as const;

/** What to do once encryption is on. */
export function backupAdvice(configFile: string | null): readonly string[] {
  return [
    'Back the key file up now, apart from the backups of the database, and verify the copy:',
    `  ${commandLine('key backup /PATH/encryption-key.bin', configFile)}`,
    `  ${commandLine('key verify /PATH/encryption-key.bin', configFile)}`,
    `Switching it off again needs this file system: ${commandLine('encryption disable', configFile)}, run on this host.`,
  ];
}

/** Where passwords may still be found that stood readable, with what clears it: in that order, as sealing writes logs too. */
export function plaintextRemnants(database: DatabaseLocation, configFile: string | null): readonly string[] {
  return [
    'The passwords that stood readable until now may still be found in:',
    ...(database.kind === 'sqlite' ? sqliteRemnants(database.path) : mysqlRemnants),
    '- snapshots and freed blocks of the file systems below',
    'Surest is to change them at the provider. Which ones those are:',
    `  ${commandLine('encryption status', configFile)}`,
  ];
}

/** Measured with MariaDB 10.11: a restart or a slow shutdown clears none of these. */
const mysqlRemnants: readonly string[] = [
  '- older dumps and backups of the database: delete them, or guard them as the passwords themselves',
  '- the files of the tables and of undo, until changed pages are written. At once, with the former values afterwards:',
  "    wait until SHOW STATUS LIKE 'Innodb_history_list_length' shows 0 (no transaction from before is open)",
  '    SET GLOBAL innodb_max_dirty_pages_pct_lwm = 0; SET GLOBAL innodb_max_dirty_pages_pct = 0;',
  "    wait until SHOW STATUS LIKE 'Innodb_buffer_pool_pages_dirty' shows 0",
  '- the redo log, until it is written over. At once (MariaDB 10.9 or later), then the former size again:',
  '    SET GLOBAL innodb_log_file_size = ANOTHER SIZE;',
  '- binary logs, on replicas first. Again and again, until SHOW BINARY LOGS shows one:',
  "    FLUSH BINARY LOGS; PURGE BINARY LOGS TO 'THE NEWEST ONE';",
  '- the general or slow query log, if one was on: delete those files',
];

function sqliteRemnants(path: string): readonly string[] {
  return [`- older copies and backups of ${path}: delete them, or guard them as the passwords themselves`];
}
