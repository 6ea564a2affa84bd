/**
 * Dependency injection for commands: terminal, clock, signals, files and the application. `main.ts` provides those of
 * the process, tests provide their own.
 */

import { timingSafeEqual } from 'node:crypto';
import type { Terminal } from '../adapters/terminal/terminal.ts';
import type { App } from '../compose/compose.ts';
import type { StatusReply } from '../compose/control-socket.ts';
import type { Config } from '../config/config.ts';
import type { ConfigInspection } from '../config/inspect.ts';
import type { KeyBackup } from '../encryption/ports.ts';
import { Failure, isFailure } from '../errors.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import { namesMailbox, withMailboxName } from '../text/hints.ts';
import { withSuggestion } from './help/suggestion.ts';

export type Context = {
  readonly terminal: Terminal;
  /** True when standard input is a terminal, so that questions can be asked. */
  readonly isAttended: boolean;
  /** Fires when the process is asked to stop. */
  readonly signal: AbortSignal;
  /** Calls `listener` whenever the process is asked to read its configuration again, until that is disposed. */
  readonly onReload: (listener: () => void) => Disposable;
  readonly nowMs: () => number;
  /** Why the running Node is too old, one sentence; null: it is not. */
  readonly outdatedNode: () => Promise<string | null>;
  /** Reads the configuration; `file` is the option `--config`. Throws `config_invalid`. */
  readonly loadConfig: (file: string | null) => Promise<Config>;
  /** Every value in force with its origin, and every problem; nothing is opened, and root stays root. */
  readonly inspectConfig: (file: string | null) => Promise<ConfigInspection>;
  /** The data folder of an invalid configuration, as far as it can be read; else the one of the service. */
  readonly findDataDir: (file: string | null) => Promise<string>;
  /**
   * Reads a file that an option names; a secret only if no other user can read it. As the two below, for root only
   * before the configuration is loaded.
   */
  readonly readFile: (path: string, content?: 'public' | 'secret') => Uint8Array;
  /** Reads a copy of the key file, with its place. Throws `not_found`, `key_file_refused`. */
  readonly readKeyBackup: (path: string) => Promise<KeyBackup>;
  /** Creates a file that its owner alone can read. Throws `already_exists`, `disk_full`, `disk_failed`, `refused`. */
  readonly createFile: (path: string) => Promise<NewFile>;
  /** Creates a folder for such files, or takes an existing one. Throws as `createFile`. */
  readonly createFolder: (path: string) => Promise<NewFolder>;
  readonly inputs: ExternalInputs;
  /** Builds the application; `log` selects where its log lines are written. */
  readonly compose: (config: Config, log: LogChoice, people?: Prompts) => Promise<App>;
};

/** A new file. It may be written once; disposing removes it otherwise. */
export type NewFile = AsyncDisposable & { write(content: Uint8Array): Promise<void> };

export type NewFolder = AsyncDisposable & { write(name: string, content: Uint8Array): Promise<void> };

/** `none`: closed, or a device such as /dev/null; `socket`: of another process, such as that of an SSH session. */
export type StdinKind = 'data' | 'socket' | 'none';

/** Inputs of `status` and `logs` outside the data folder. */
export type ExternalInputs = {
  /** Asks the workers that run on a data folder. Throws `daemon_unreachable`, `refused`. */
  readonly askStatus: (dataDir: string) => Promise<readonly StatusReply[]>;
  readonly stdinKind: () => Promise<StdinKind>;
  /** True where a unit of the daemon is installed. */
  readonly hasUnit: () => Promise<boolean>;
  /** Standard input. */
  readonly stdinChunks: () => Promise<ByteChunks>;
  /** Reads a file; with `follow` also what is appended, until `stop` fires. Throws `usage`. */
  readonly fileChunks: (path: string, follow: boolean, stop: AbortSignal) => Promise<ByteChunks>;
  /** Reads the output of a program. Throws `usage` if there is no such program, `check_failed` when it fails. */
  readonly programChunks: (name: string, args: readonly string[], stop: AbortSignal) => Promise<ByteChunks>;
};

/** `askPassphrase` asks for the passphrase of the key file; null: none was given. */
export type Prompts = { readonly askPassphrase?: () => Promise<SecretBytes | null> };

/** `daemon`: lines of JSON on standard output; `daemon_pretty`: for people; `quiet`: nowhere. */
export type LogChoice = 'daemon' | 'daemon_pretty' | 'quiet';

/** Bytes as they arrive. `null` follows, once, what was there before the wait for more. */
export type ByteChunks = AsyncIterable<Uint8Array | null>;

/** Options of every command. */
export type CommonOptions = { readonly config?: string; readonly json?: boolean };

/** Runs `work` with an application and disposes of it afterwards, also after an error. */
export async function withApp<T>(
  options: CommonOptions,
  context: Context,
  work: (app: App, config: Config) => Promise<T>,
): Promise<T> {
  const config = await context.loadConfig(options.config ?? null);
  await using app = await composeFor(config, context);
  try {
    return await work(app, config);
  } catch (error) {
    throw await named(await withSuggestion(error, app), options, app);
  }
}

/** With the stored mailbox that the command is about in the commands of the hint. Never throws. */
async function named(error: unknown, options: object, { store }: App): Promise<unknown> {
  if (!isFailure(error) || !namesMailbox(error.hint)) return error;
  const values: Readonly<Record<string, unknown>> = { ...options };
  const name = values['mailbox'] ?? values['name'];
  const mailboxes = await store.listMailboxes().catch(() => []);
  const mailbox = mailboxes.find((one) => one.name === name);
  if (mailbox === undefined) return error;
  const { code, message, fields, cause } = error;
  return new Failure(code, message, { fields, cause, hint: withMailboxName(error.hint, mailbox.name) });
}

/** Composes the application; at a terminal it can ask for the passphrase of the key file. */
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

/** Asks once and returns a copy to each caller: a rotation opens the key file several times. Disposing wipes it. */
function askOnce(question: () => Promise<SecretBytes | null>): Disposable & {
  readonly ask: () => Promise<SecretBytes | null>;
} {
  let answer: Promise<SecretBytes | null> | null = null;
  let given: SecretBytes | null = null;
  return {
    async ask() {
      answer ??= question();
      given = await answer;
      return given?.copy() ?? null;
    },
    [Symbol.dispose]: () => given?.wipe(),
  };
}

/** An empty passphrase counts as none; operations that need the key then report it as locked. */
async function askPassphrase({ terminal }: Context): Promise<SecretBytes | null> {
  try {
    return await terminal.askPassword('Passphrase of the key file: ');
  } catch (error) {
    if (isFailure(error, 'password_missing')) return null;
    throw error;
  }
}

/** Asks for a secret twice; `check` runs after the first time. Throws its failures, and `usage` for two that differ. */
export async function askTwice(
  terminal: Terminal,
  question: string,
  what: 'passwords' | 'passphrases',
  check: (secret: SecretBytes) => void = () => undefined,
): Promise<SecretBytes> {
  const first = await terminal.askPassword(question);
  try {
    check(first);
    using second = await terminal.askPassword('Repeat it: ');
    if (first.length === second.length && first.use((a) => second.use((b) => timingSafeEqual(a, b)))) return first;
    throw new Failure('usage', `the two ${what} are not the same`, { hint: 'Nothing was changed: try again.' });
  } catch (error) {
    first.wipe();
    throw error;
  }
}

/** Applies pending migrations, unless the configuration leaves that to `ticketmaild migrate`. */
export async function migrateFirst(app: App, config: Config): Promise<void> {
  if (config.migrateOnStart) await app.migrations.apply();
}
