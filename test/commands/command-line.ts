/**
 * Commands in this process: a real application on a SQLite file of its own, streams that are collected.
 *
 * Input is a pipe, or a person at a terminal who answers questions. All that commands print is kept, so that a test can
 * search it for what must never be printed.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { expect } from 'vitest';
import { openTerminal } from '../../src/adapters/terminal/terminal.ts';
import type { Context } from '../../src/commands/context.ts';
import { fileChunks, programChunks } from '../../src/commands/logs.ts';
import { buildProgram } from '../../src/commands/program.ts';
import { fetchJson } from '../../src/commands/status/client.ts';
import { type App, compose } from '../../src/compose/compose.ts';
import { loadConfig } from '../../src/config/load.ts';
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

/** Keys typed once the question is shown. */
export type Answers = readonly (readonly [question: string, keys: string])[];

export type CommandLine = AsyncDisposable & {
  readonly folder: string;
  readonly dataDir: string;
  readonly env: Readonly<Record<string, string>>;
  /** Runs one command line; failures end as their message and hint on standard error, as `main.ts` has it. */
  run(args: readonly string[], input?: string): Promise<Ran>;
  /** The same at a terminal. */
  typed(args: readonly string[], answers: Answers): Promise<Ran>;
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
  const seat = { env: environment, printed };
  return {
    folder: folder.path,
    dataDir,
    env: environment,
    run: (args, input) => run(args, { ...seat, stdin: piped(input ?? null), answers: [] }),
    typed: (args, answers) => run(args, { ...seat, stdin: keyboard(), answers }),
    open: () => compose(configOf(null, environment), createLog({ level: 'error', pretty: false, destination: silent })),
    expectNothingLeaked: (secrets) =>
      expectNothingLeaked(printed.join('\n'), [...secrets.map(Buffer.from), ...keys(dataDir)]),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

const silent = { write: () => undefined };

function configOf(file: string | null, env: Record<string, string>) {
  return loadConfig({ file, env, systemFile: '/nowhere' });
}

type Seat = {
  readonly env: Record<string, string>;
  readonly printed: string[];
  readonly stdin: Readable & { readonly isTTY?: boolean };
  readonly answers: Answers;
};

async function run(args: readonly string[], seat: Seat): Promise<Ran> {
  const out = collector();
  const err = collector(typist(seat));
  const context: Context = {
    terminal: openTerminal({
      stdin: seat.stdin,
      stdout: out.stream,
      stderr: err.stream,
      colours: false,
      nowMs: Date.now,
    }),
    isAttended: seat.stdin.isTTY === true,
    signal: AbortSignal.timeout(20_000),
    onReload: () => ({ [Symbol.dispose]: () => undefined }),
    nowMs: () => nowMs,
    readFile: readFileSync,
    writeNewFile: (path, bytes) => writeFileSync(path, bytes, { flag: 'wx', mode: 0o600 }),
    inputs: {
      fetchJson,
      stdinChunks: async () => seat.stdin,
      fileChunks: async (...args) => fileChunks(...args),
      programChunks: async (...args) => programChunks(...args),
    },
    loadConfig: async (file) => configOf(file, seat.env),
    compose: (config, _, people) =>
      compose(config, createLog({ level: 'error', pretty: false, destination: silent }), people),
  };
  let code = 0;
  const program = buildProgram(async (command) => {
    code = await command(context);
  }, out.stream.write.bind(out.stream));
  try {
    await program.parseAsync(args, { from: 'user' });
  } catch (error) {
    if (!isFailure(error)) throw error;
    err.stream.write(`${error.message}\nhint: ${error.hint}\n`);
    code = error.exitCode;
  }
  seat.printed.push(out.text(), err.text());
  return { code, out: out.text(), err: err.text(), json: jsonLines(out.text()) };
}

function piped(input: string | null): Readable {
  return input === null ? new PassThrough().end() : Readable.from([Buffer.from(input)]);
}

function keyboard(): PassThrough & { readonly isTTY: boolean } {
  return Object.assign(new PassThrough(), { isTTY: true, setRawMode: () => undefined });
}

/** Types each answer when its question is seen, in their order. */
function typist({ stdin, answers }: Seat): (text: string) => void {
  let answered = 0;
  let seen = '';
  return (text) => {
    seen += text;
    const next = answers[answered];
    if (next === undefined || !seen.includes(next[0])) return;
    answered += 1;
    seen = '';
    if (stdin instanceof PassThrough) stdin.write(Buffer.from(next[1]));
  };
}

function collector(told: (text: string) => void = () => undefined): { stream: Writable; text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk, _, done) {
      text += String(chunk);
      told(String(chunk));
      done();
    },
  });
  return { stream, text: () => text };
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
