/**
 * One installation of the program for a benchmark: data folder, database with its tables, environment, and its commands
 * as processes of their own.
 *
 * A command that was expected to succeed and does not throws with what it printed.
 */
import { join } from 'node:path';
import { serviceEnv } from '../support/processes/child.ts';
import { type Daemon, type DaemonOptions, type Ended, runCommand, startDaemon } from '../support/processes/daemon.ts';
import type { Mariadb } from '../support/servers/mariadb.ts';
import { temporaryFolder } from '../support/temporary.ts';

export type Setting = {
  /** Holds everything of this installation; the data folder and an embedded database are in it. */
  readonly folder: string;
  readonly dataDir: string;
  readonly databaseUrl: string;
  /** The whole environment of a command. */
  readonly env: Readonly<Record<string, string>>;
  run(args: readonly string[], options?: DaemonOptions): Promise<Ended>;
  /** The same, and throws unless the exit code is 0. */
  succeed(args: readonly string[], options?: DaemonOptions): Promise<Ended>;
  start(args: readonly string[], options?: DaemonOptions): Daemon;
} & AsyncDisposable;

export const enable = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'] as const;
export const rotate = ['encryption', 'rotate'] as const;
export const disable = ['encryption', 'disable', '--yes'] as const;

/** `mariadb` null: SQLite in a file. `more` is the environment beside folder and database. */
export async function openSetting(
  mariadb: Mariadb | null,
  more: Readonly<Record<string, string>> = {},
): Promise<Setting> {
  await using building = new AsyncDisposableStack();
  const folder = building.use(await temporaryFolder('setting'));
  const dataDir = join(folder.path, 'data');
  const databaseUrl =
    mariadb === null ? `sqlite:${join(folder.path, 'bench.db')}` : (await mariadb.createDatabase()).url;
  const env = {
    ...serviceEnv,
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_DATABASE_URL: databaseUrl,
    TICKETMAILD_HTTP_LISTEN: 'off',
    ...mariadb?.environment,
    ...more,
  };
  const withEnv = (options: DaemonOptions): DaemonOptions => ({ ...options, env: { ...env, ...options.env } });
  const run: Setting['run'] = (args, options = {}) => runCommand(args, withEnv(options));
  const succeed: Setting['succeed'] = async (args, options = {}) => {
    const ended = await run(args, options);
    if (ended.code === 0) return ended;
    throw new Error(`${args.join(' ')} ended with ${ended.code}:\n${ended.stdout}${ended.stderr}`);
  };
  await succeed(['migrate']);
  const undo = building.move();
  return {
    folder: folder.path,
    dataDir,
    databaseUrl,
    env,
    run,
    succeed,
    start: (args, options = {}) => startDaemon(args, withEnv(options)),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}
