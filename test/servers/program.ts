/**
 * The program under test with a data folder and a database of its own: each command is a process, as an operator runs
 * it, and passwords come by standard input.
 */
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { type Daemon, type Ended, runCommand, startDaemon } from '../support/processes/daemon.ts';
import { temporaryFolder } from '../support/temporary.ts';
import { findingCounts, isExact, type SentMessage, verifyStored } from '../support/verification.ts';

type Env = Readonly<Record<string, string>>;

export type Program = {
  readonly dataDir: string;
  readonly databaseUrl: string;
  /** Of a command that ends with 0; throws with its last words otherwise. */
  run(args: readonly string[], input?: string): Promise<string>;
  /** The same whatever its exit code is. */
  attempt(args: readonly string[], input?: string): Promise<Ended>;
  start(env?: Env): Daemon;
  /** The same data folder with another database. */
  withDatabase(url: string, env?: Env): Program;
} & AsyncDisposable;

/** `url` null: SQLite in its data folder. */
export async function openProgram(url: string | null = null, env: Env = {}): Promise<Program> {
  const folder = await temporaryFolder('matrix');
  const dataDir = join(folder.path, 'data');
  await mkdir(dataDir, { mode: 0o700 });
  return programOn(dataDir, url, env, async () => await folder[Symbol.asyncDispose]());
}

function programOn(dataDir: string, url: string | null, more: Env, dispose: () => Promise<void>): Program {
  const databaseUrl = url ?? `sqlite:${join(dataDir, 'ticketmaild.db')}`;
  const env = {
    TICKETMAILD_DATA_DIR: dataDir,
    TICKETMAILD_DATABASE_URL: databaseUrl,
    TICKETMAILD_HTTP_LISTEN: '127.0.0.1:0',
    TICKETMAILD_POLL_CONNECT_TIMEOUT_S: '5',
    // A daemon that starts after a command has no minute to wait.
    TICKETMAILD_POLL_INTERVAL_S: '1',
    ...more,
  };
  const attempt = (args: readonly string[], input = ''): Promise<Ended> => runCommand(args, { env, input });
  return {
    dataDir,
    databaseUrl,
    attempt,
    run: async (args, input) => {
      const ended = await attempt(args, input);
      if (ended.code !== 0)
        throw new Error(`${args.slice(0, 2).join(' ')} ended with ${ended.code}: ${lastWords(ended)}`);
      return ended.stdout;
    },
    start: (also = {}) => startDaemon(['run'], { env: { ...env, ...also } }),
    withDatabase: (other, also = {}) => programOn(dataDir, other, also, async () => undefined),
    [Symbol.asyncDispose]: dispose,
  };
}

/** The sentence and the hint of a failure, in one line. */
export function lastWords({ stdout, stderr }: Ended): string {
  return (stderr.trim() === '' ? stdout : stderr).trim().split('\n').slice(-3).join(' / ').slice(0, 600);
}

/** The code of the failure that a command with `--json` ended with; null: none. */
export function failureCode({ stdout }: Ended): string | null {
  const last = stdout.trim().split('\n').at(-1) ?? '';
  if (!last.startsWith('{')) return null;
  const { error } = JSON.parse(last) as { readonly error?: { readonly code: string } };
  return error?.code ?? null;
}

export type Polled = {
  readonly mailbox: string;
  readonly ok: boolean;
  readonly outcomes: Readonly<Record<string, number>>;
};

/** Polls one mailbox, or all; one result each. */
export async function poll(program: Program, name: string | null = null): Promise<readonly Polled[]> {
  const text = await program.run(['poll', ...(name === null ? [] : [name]), '--json']);
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as Polled);
}

/** What is stored is exactly what was sent, with its attachments; throws with what differs. Returns their number. */
export async function expectExact(
  { databaseUrl, dataDir }: Program,
  sent: Iterable<SentMessage>,
): Promise<{ readonly messages: number; readonly attachments: number }> {
  const verification = await verifyStored({ sent, databaseUrl, dataDir, identify: ({ subject }) => subject });
  if (!isExact(verification)) {
    const counts = Object.entries(findingCounts(verification)).filter(([, count]) => count > 0);
    const some = Object.values(verification.findings).flat().slice(0, 5);
    throw new Error(`${counts.map(([name, count]) => `${count} ${name}`).join(', ')} (${some.join(' ')})`);
  }
  return { messages: verification.messages, attachments: verification.attachmentsIdentical };
}
