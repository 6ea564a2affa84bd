/**
 * A mailbox on a real Dovecot, in a database of its own on a real MariaDB, with commands and daemons as processes.
 *
 * Nothing runs yet, and encryption is off. Where a command may fail, its exit code tells.
 */
import { join } from 'node:path';
import { type Daemon, type LogLine, runCommand, startDaemon } from './processes/daemon.ts';
import type { Dovecot } from './servers/dovecot.ts';
import type { Mariadb } from './servers/mariadb.ts';
import { temporaryFolder } from './temporary.ts';

export type Ran = { readonly code: number | string; readonly stderr: string; readonly json: LogLine };

export type Setting = AsyncDisposable & {
  readonly dataDir: string;
  readonly keyFile: string;
  readonly env: Readonly<Record<string, string>>;
  /** Name of the database. */
  readonly database: string;
  /** The user on the mail server, who is also the name of the mailbox. */
  readonly user: string;
  /** Runs a command; its one JSON object where it prints one. */
  command(args: readonly string[], input?: string): Promise<Ran>;
  start(): Daemon;
};

/** `password` is that of every user of the mail server. */
export async function openSetting(
  mariadb: Mariadb,
  dovecot: Dovecot,
  password: Uint8Array = Buffer.from('pw'),
): Promise<Setting> {
  const folder = await temporaryFolder('encryption');
  const { url, name: database } = await mariadb.createDatabase();
  const dataDir = join(folder.path, 'data');
  const env = {
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_DATABASE_URL: url,
    TICKETMAILD_HTTP_LISTEN: '127.0.0.1:0',
    TICKETMAILD_POLL_INTERVAL_S: '1',
    ...mariadb.environment,
  };
  const user = dovecot.newUser();
  const command: Setting['command'] = async (args, input = '') => {
    const { code, stdout, stderr } = await runCommand(args, { env, input });
    return { code, stderr, json: stdout.startsWith('{') ? JSON.parse(stdout) : {} };
  };
  const setting = { dataDir, keyFile: join(dataDir, 'encryption-key.bin'), env, database, user, command };
  const server = ['--host', 'localhost', '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile, '--since', 'all'];
  const add = ['mailbox', 'add', '--name', user, '--user', user, '--password-stdin', ...server];
  const added = await command(add, Buffer.from(password).toString());
  if (added.code !== 0) throw new Error(added.stderr);
  return {
    ...setting,
    start: () => startDaemon(['run'], { env }),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** Switches encryption on. */
export async function enabled(setting: Setting): Promise<void> {
  const { code, stderr } = await setting.command(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
  if (code !== 0) throw new Error(stderr);
}
