/**
 * What a command is given beside its options. `main.ts` makes it of the process, a test of whatever it likes.
 */
import type { Terminal } from '../adapters/terminal/terminal.ts';
import type { App } from '../compose.ts';
import type { Config } from '../config.ts';

export type Context = {
  readonly terminal: Terminal;
  /** Fires when the process is asked to stop. */
  readonly signal: AbortSignal;
  readonly nowMs: () => number;
  /** Reads the configuration; `file` is the option `--config`. Throws `config_invalid`. */
  readonly loadConfig: (file: string | null) => Promise<Config>;
  /** Bytes of a file that an option names. */
  readonly readFile: (path: string) => Uint8Array;
  /** Writes a file for its owner alone; throws an error with the code EEXIST when there is one of that name. */
  readonly writeNewFile: (path: string, bytes: Uint8Array) => void;
  /** Builds the application; `log` says where its log lines go. */
  readonly compose: (config: Config, log: LogChoice) => Promise<App>;
};

/** `daemon`: lines of JSON on standard output; `daemon_pretty`: for people; `quiet`: warnings on standard error. */
export type LogChoice = 'daemon' | 'daemon_pretty' | 'quiet';

/** Options of every command. */
export type CommonOptions = { readonly config?: string; readonly json?: boolean };

/** Runs `work` with an application and takes that down again, whatever happens. */
export async function withApp<T>(
  options: CommonOptions,
  context: Context,
  work: (app: App, config: Config) => Promise<T>,
): Promise<T> {
  const config = await context.loadConfig(options.config ?? null);
  await using app = await context.compose(config, 'quiet');
  return await work(app, config);
}

/** Brings the tables up to date first, unless the configuration leaves that to `ticketmaild migrate`. */
export async function migrateFirst(app: App, config: Config): Promise<void> {
  if (config.migrateOnStart) await app.migrations.apply();
}
