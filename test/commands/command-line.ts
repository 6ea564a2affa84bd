/**
 * Commands in this process: streams that are collected, a terminal of a given size or none; with `openCommandLine` also
 * a real application on a SQLite file of its own.
 *
 * Input is a pipe, or a person at a terminal who answers questions. All that commands print is stored, so that a test
 * can search it for secrets.
 */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { PassThrough, Readable, Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { CommanderError } from 'commander';
import { expect } from 'vitest';
import { readKeyBackup } from '../../src/adapters/keyfile/backup.ts';
import { createNewFile, createNewFolder } from '../../src/adapters/process/new-file.ts';
import { openTerminal } from '../../src/adapters/terminal/terminal.ts';
import type { Context, ExternalInputs } from '../../src/commands/context.ts';
import { fileChunks, programChunks } from '../../src/commands/logs.ts';
import { asksForJson, failureJson } from '../../src/commands/output.ts';
import { buildProgram } from '../../src/commands/program.ts';
import { type App, compose } from '../../src/compose/compose.ts';
import { askStatus } from '../../src/compose/control-socket.ts';
import { inspectConfig } from '../../src/config/inspect.ts';
import { findDataDir, loadConfig } from '../../src/config/load.ts';
import { isFailure } from '../../src/errors.ts';
import { createLog } from '../../src/log.ts';
import { temporaryFolder } from '../support/temporary.ts';

export type Ran = {
  readonly code: number;
  readonly out: string;
  readonly err: string;
  /** The objects that `--json` printed. */
  readonly json: readonly Record<string, unknown>[];
};

/** Keys typed once the question is shown; a function gets what was shown since the last ones. */
export type Answers = readonly (readonly [question: string, keys: string | ((shown: string) => Promise<string>)])[];

export type CommandLine = AsyncDisposable & {
  readonly folder: string;
  readonly dataDir: string;
  readonly env: Readonly<Record<string, string>>;
  /**
   * Runs one command line; failures end as in `main.ts`: message and hint on standard error, with `--json` an object.
   */
  run(args: readonly string[], input?: string): Promise<Ran>;
  /** The same at a terminal. */
  typed(args: readonly string[], answers: Answers): Promise<Ran>;
  /** Changes the tables as another program does. */
  sql(...statements: readonly string[]): void;
  /** The application itself, as another process would have it. */
  open(): Promise<App>;
  /** Fails when anything printed so far has one of `secrets`, or one of the keys in the key file, in any usual form. */
  expectNothingLeaked(secrets: readonly string[]): void;
};

/** The time that commands see. */
export const nowMs = Date.UTC(2026, 0, 31, 8, 30);

export async function openCommandLine(env: Record<string, string> = {}): Promise<CommandLine> {
  const folder = await temporaryFolder('desk');
  const dataDir = join(folder.path, 'data');
  const environment = { TICKETMAILD_DATA_DIR: dataDir, TICKETMAILD_HTTP_LISTEN: 'off', ...env };
  const printed: string[] = [];
  const ran = async (args: readonly string[], more: CommandOptions): Promise<Ran> => {
    const ended = await runInProcess(args, { env: environment, nowMs: () => nowMs, ...more });
    printed.push(ended.out, ended.err);
    return ended;
  };
  return {
    folder: folder.path,
    dataDir,
    env: environment,
    run: (args, input = '') => ran(args, { input }),
    typed: (args, answers) => ran(args, { input: null, answers }),
    sql: (...statements) => {
      using database = new DatabaseSync(join(dataDir, 'ticketmaild.db'));
      for (const statement of statements) database.exec(statement);
    },
    open: () => compose(configOf(null, environment), createLog({ level: 'error', pretty: false, destination: silent })),
    expectNothingLeaked: (secrets) =>
      expectNothingLeaked(printed.join('\n'), [...secrets.map(Buffer.from), ...keys(dataDir)]),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const silent = { write: () => undefined };

function configOf(file: string | null, env: Readonly<Record<string, string>>) {
  return loadConfig({ file, env, systemFile: '/nowhere' });
}

export type CommandOptions = {
  readonly env?: Readonly<Record<string, string>>;
  readonly nowMs?: () => number;
  /** The warning about the running Node. */
  readonly outdatedNode?: string;
  /** Standard input; null: a terminal, at which `answers` are typed. */
  readonly input?: string | Readable | null;
  readonly answers?: Answers;
  /** Size of the terminal at standard output; null: it is a pipe. */
  readonly size?: { readonly columns: number; readonly rows: number } | null;
  readonly colours?: boolean;
  readonly inputs?: Partial<ExternalInputs>;
  readonly stop?: AbortSignal;
};

/** A running command; `out` and `err` are its output so far. */
export type RunningCommand = { readonly out: () => string; readonly err: () => string; readonly end: Promise<Ran> };

/** Runs one command line in this process to its end. */
export async function runInProcess(args: readonly string[], options: CommandOptions = {}): Promise<Ran> {
  return await startInProcess(args, options).end;
}

export function startInProcess(args: readonly string[], options: CommandOptions = {}): RunningCommand {
  const { input = '', answers = [], size = null } = options;
  const stdin = input === null ? keyboard() : typeof input === 'string' ? Readable.from([Buffer.from(input)]) : input;
  const out = collector(size === null ? {} : { isTTY: true, ...size });
  const err = collector({}, typist(stdin, answers));
  return {
    out: out.text,
    err: err.text,
    end: run(args, contextOf(options, { stdin, stdout: out.stream, stderr: err.stream }), out, err),
  };
}

type Streams = { readonly stdin: Readable & { readonly isTTY?: boolean } } & Record<'stdout' | 'stderr', Writable>;

function contextOf(options: CommandOptions, streams: Streams): Context {
  const { env = {}, nowMs = Date.now, colours = false } = options;
  return {
    terminal: openTerminal({ ...streams, colours, nowMs }),
    isAttended: streams.stdin.isTTY === true,
    signal: options.stop ?? AbortSignal.timeout(20_000),
    onReload: () => ({ [Symbol.dispose]: () => undefined }),
    nowMs,
    outdatedNode: async () => options.outdatedNode ?? null,
    readFile: (path) => readFileSync(path),
    readKeyBackup,
    createFile: createNewFile,
    createFolder: createNewFolder,
    inputs: {
      askStatus,
      stdinKind: async () => 'data',
      hasUnit: async () => true,
      stdinChunks: async () => streams.stdin,
      fileChunks: async (...args) => fileChunks(...args),
      programChunks: async (...args) => programChunks(...args),
      ...options.inputs,
    },
    loadConfig: async (file) => configOf(file, env),
    inspectConfig: async (file) => inspectConfig({ file, env, systemFile: '/nowhere' }),
    findDataDir: async (file) => findDataDir({ file, env }),
    compose: (config, _, people) =>
      compose(config, createLog({ level: 'error', pretty: false, destination: silent }), people),
  };
}

type Collector = ReturnType<typeof collector>;

async function run(args: readonly string[], context: Context, out: Collector, err: Collector): Promise<Ran> {
  let code = 0;
  const program = buildProgram(async (command) => {
    code = await command(context);
  }, out.stream.write.bind(out.stream));
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (error instanceof CommanderError && error.exitCode === 0)
      return { code: 0, out: out.text(), err: err.text(), json: [] };
    if (!isFailure(error)) throw error;
    if (asksForJson(args)) out.stream.write(`${JSON.stringify(failureJson(error))}\n`);
    err.stream.write(`${error.message}\nhint: ${error.hint}\n`);
    code = error.exitCode;
  }
  return { code, out: out.text(), err: err.text(), json: jsonLines(out.text()) };
}

function keyboard(): PassThrough & { readonly isTTY: boolean } {
  return Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined });
}

/** Types each answer when its question is seen, in their order. */
function typist(stdin: Readable, answers: Answers): (text: string) => void {
  let answered = 0;
  let seen = '';
  return (text) => {
    seen += text;
    const next = answers[answered];
    if (next === undefined || !seen.includes(next[0])) return;
    answered += 1;
    const [, keys] = next;
    const type = (text: string): void => void (stdin instanceof PassThrough && stdin.write(Buffer.from(text)));
    if (typeof keys === 'string') type(keys);
    else void keys(seen).then(type, (error: unknown) => stdin.destroy(asError(error)));
    seen = '';
  };
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}

function collector(
  properties: object,
  written: (text: string) => void = () => undefined,
): { readonly stream: Writable; readonly text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk, _, done) {
      text += String(chunk);
      written(String(chunk));
      done();
    },
  });
  return { stream: Object.assign(stream, properties), text: () => text };
}

/** The lines without colours and other escape sequences. */
export function plainLines(text: string): readonly string[] {
  return stripVTControlCharacters(text).trimEnd().split('\n');
}

function jsonLines(text: string): readonly Record<string, unknown>[] {
  if (!text.startsWith('{')) return [];
  return text
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));
}

/** The keys of a bare key file. */
function keys(dataDir: string): readonly Buffer[] {
  try {
    const content = readFileSync(join(dataDir, 'encryption-key.bin'));
    return Array.from({ length: content.length / 32 }, (_, index) => content.subarray(index * 32, index * 32 + 32));
  } catch {
    return [];
  }
}

function expectNothingLeaked(text: string, secrets: readonly Buffer[]): void {
  for (const secret of secrets) {
    for (const form of ['latin1', 'utf8', 'hex', 'base64', 'base64url'] as const)
      expect(text.includes(secret.toString(form))).toBe(false);
  }
}
