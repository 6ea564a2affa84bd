/**
 * What a command is given beside its options. `main.ts` makes it of the process, a test of whatever it likes.
 */
import type { Terminal } from '../adapters/terminal/terminal.ts';
import type { App } from '../compose/compose.ts';
import type { Config } from '../config/config.ts';
import { isFailure } from '../errors.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';

export type Context = {
  readonly terminal: Terminal;
  /** True when somebody sits at standard input, who can be asked. */
  readonly isAttended: boolean;
  /** Fires when the process is asked to stop. */
  readonly signal: AbortSignal;
  /** Calls `listener` whenever the process is asked to read its configuration again, until that is disposed. */
  readonly onReload: (listener: () => void) => Disposable;
  readonly nowMs: () => number;
  /** Reads the configuration; `file` is the option `--config`. Throws `config_invalid`. */
  readonly loadConfig: (file: string | null) => Promise<Config>;
  /** Bytes of a file that an option names. */
  readonly readFile: (path: string) => Uint8Array;
  /** Writes a file for its owner alone; throws an error with the code EEXIST when there is one of that name. */
  readonly writeNewFile: (path: string, bytes: Uint8Array) => void;
  readonly outside: Outside;
  /** Builds the application; `log` says where its log lines go. */
  readonly compose: (config: Config, log: LogChoice, people?: People) => Promise<App>;
};

/** What `status` and `logs` reach beyond the data folder. */
export type Outside = {
  /** GET of JSON. Throws `daemon_unreachable`. */
  readonly fetchJson: (url: string, timeoutMs: number) => Promise<Answer>;
  /** Standard input. */
  readonly inputPieces: () => Promise<Pieces>;
  /** A file; with `follow` also what is added to it, until `stop` fires. Throws `usage`. */
  readonly filePieces: (path: string, follow: boolean, stop: AbortSignal) => Promise<Pieces>;
  /** What a program prints. Throws `usage` where there is none of that name, `check_failed` when it fails. */
  readonly programPieces: (name: string, args: readonly string[], stop: AbortSignal) => Promise<Pieces>;
};

/** `askPassphrase` asks for the passphrase of the key file; null: nobody gave one. */
export type People = { readonly askPassphrase?: () => Promise<SecretBytes | null> };

/** `daemon`: lines of JSON on standard output; `daemon_pretty`: for people; `quiet`: nowhere. */
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
  await using app = await composeFor(config, context);
  return await work(app, config);
}

/** The application of a command, with somebody to ask for a passphrase where there is one. */
export async function composeFor(config: Config, context: Context, log: LogChoice = 'quiet'): Promise<App> {
  if (!context.isAttended) return await context.compose(config, log);
  const person = askOnce(() => askPassphrase(context));
  const app = await context.compose(config, log, { askPassphrase: person.ask });
  const end = async (): Promise<void> => {
    person[Symbol.dispose]();
    await app[Symbol.asyncDispose]();
  };
  return { ...app, [Symbol.asyncDispose]: end };
}

/** Each asking gets a copy of the first answer: a rotation opens the key file several times. Disposing wipes it. */
function askOnce(question: () => Promise<SecretBytes | null>): Disposable & {
  readonly ask: () => Promise<SecretBytes | null>;
} {
  let answer: Promise<SecretBytes | null> | null = null;
  let given: SecretBytes | null = null;
  return {
    async ask() {
      answer ??= question();
      given = await answer;
      return given?.use(copyOf) ?? null;
    },
    [Symbol.dispose]: () => given?.wipe(),
  };
}

function copyOf(bytes: Uint8Array): SecretBytes {
  const copy = new Uint8Array(new ArrayBuffer(4096), 0, bytes.length);
  copy.set(bytes);
  return SecretBytes.take(copy);
}

/** Nothing typed is no passphrase; what needs the key then says that it is locked. */
async function askPassphrase({ terminal }: Context): Promise<SecretBytes | null> {
  try {
    return await terminal.askPassword('Passphrase of the key file: ');
  } catch (error) {
    if (isFailure(error, 'password_missing')) return null;
    throw error;
  }
}

/** Brings the tables up to date first, unless the configuration leaves that to `ticketmaild migrate`. */
export async function migrateFirst(app: App, config: Config): Promise<void> {
  if (config.migrateOnStart) await app.migrations.apply();
}

/**
 * Where `logs` reads from: a file, which may grow and be rotated, or a program.
 *
 * Pieces of bytes as they come, never the whole. Where something goes on, `null` says once that all there was so far has
 * been read. What cannot be read is `usage`.
 */

export type Pieces = AsyncIterable<Uint8Array | null>;

/**
 * One question to the HTTP side of a running daemon, and where that listens.
 *
 * The answer is limited in time and size. Whatever keeps it away is `daemon_unreachable`, with the hint that helps: the
 * daemon does not run, it listens elsewhere, or something else listens there.
 */

export type Answer = { readonly status: number; readonly body: unknown };
