/**
 * Help texts about encryption: threat model and backup advice.
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

/** `preparation`: that of the database, see `preparationAdvice`. */
export function encryptionExplanation(
  keyFile: string,
  database: DatabaseLocation,
  preparation: readonly string[],
): readonly string[] {
  return [
    `Encryption seals the mailbox passwords in the database under a key in ${keyFile}.`,
    'It protects against read access to the database, its dumps and its backups.',
    'It does not protect against access to both the key file and the database: never put both into the same backup.',
    'Running workers pick it up within a second: no restart, and no poll is interrupted.',
    ...preparation,
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
