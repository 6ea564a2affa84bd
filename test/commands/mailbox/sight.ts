/**
 * `status`, `logs` and `log-level` in this process: streams that are collected, a terminal of a given size or none.
 */
import { PassThrough, Readable, Writable } from 'node:stream';
import { stripVTControlCharacters } from 'node:util';
import { openTerminal } from '../../../src/adapters/terminal/terminal.ts';
import type { Context, ExternalInputs } from '../../../src/commands/context.ts';
import { fileChunks, programChunks } from '../../../src/commands/logs.ts';
import { buildProgram } from '../../../src/commands/program.ts';
import { fetchJson } from '../../../src/commands/status/client.ts';
import { loadConfig } from '../../../src/config/load.ts';
import { isFailure } from '../../../src/errors.ts';

export type SightOptions = {
  readonly env?: Readonly<Record<string, string>>;
  readonly nowMs?: () => number;
  /** Standard input; null: a terminal. */
  readonly input?: string | Readable | null;
  /** Size of the terminal at standard output; null: it is a pipe. */
  readonly size?: { readonly columns: number; readonly rows: number } | null;
  readonly colours?: boolean;
  readonly inputs?: Partial<ExternalInputs>;
  readonly stop?: AbortSignal;
};

export type Seen = { readonly code: number; readonly out: string; readonly err: string };

/** A running command; `out` is its output so far. */
export type Looking = { readonly out: () => string; readonly end: Promise<Seen> };

export async function look(args: readonly string[], options: SightOptions = {}): Promise<Seen> {
  return await start(args, options).end;
}

export function start(args: readonly string[], options: SightOptions = {}): Looking {
  const size = options.size ?? null;
  const out = collector(size === null ? {} : { isTTY: true, ...size });
  const err = collector({});
  return { out: out.text, end: run(args, options, out, err) };
}

type Collector = ReturnType<typeof collector>;

async function run(args: readonly string[], options: SightOptions, out: Collector, err: Collector): Promise<Seen> {
  const context = contextOf(options, out, err);
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
  return { code, out: out.text(), err: err.text() };
}

function contextOf(options: SightOptions, out: Collector, err: Collector): Context {
  const { input = '', nowMs = Date.now, colours = false } = options;
  const stdin = typeof input === 'string' ? Readable.from([Buffer.from(input)]) : (input ?? new PassThrough());
  return {
    terminal: openTerminal({ stdin, stdout: out.stream, stderr: err.stream, colours, nowMs }),
    isAttended: input === null,
    signal: options.stop ?? AbortSignal.timeout(20_000),
    onReload: () => ({ [Symbol.dispose]: () => undefined }),
    nowMs,
    readFile: notHere,
    writeNewFile: notHere,
    compose: notHere,
    loadConfig: async (file) => loadConfig({ file, env: options.env ?? {}, systemFile: '/nowhere' }),
    inputs: {
      fetchJson,
      fileChunks: async (...a) => fileChunks(...a),
      programChunks: async (...a) => programChunks(...a),
      stdinChunks: async () => stdin,
      ...options.inputs,
    },
  };
}

function notHere(): never {
  throw new Error('not for this command');
}

function collector(properties: object): { stream: Writable; text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk, _, done) {
      text += String(chunk);
      done();
    },
  });
  return { stream: Object.assign(stream, properties), text: () => text };
}

/** The lines without colours and other escape sequences. */
export function plainLines(text: string): readonly string[] {
  return stripVTControlCharacters(text).trimEnd().split('\n');
}
