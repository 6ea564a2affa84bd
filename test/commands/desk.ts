/**
 * Commands in this process: a real application on a SQLite file of its own, streams that are collected.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { PassThrough, Readable, Writable } from 'node:stream';
import { openTerminal } from '../../src/adapters/terminal/terminal.ts';
import type { Context } from '../../src/commands/context.ts';
import { buildProgram } from '../../src/commands/program.ts';
import { compose } from '../../src/compose.ts';
import { loadConfig } from '../../src/config.ts';
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

export type Desk = AsyncDisposable & {
  readonly folder: string;
  /** Runs one command line; failures end as their message and hint on standard error, as `main.ts` has it. */
  run(args: readonly string[], input?: string): Promise<Ran>;
};

/** The time that commands see. */
export const nowMs = Date.UTC(2026, 0, 31, 8, 30);

export async function openDesk(env: Record<string, string> = {}): Promise<Desk> {
  const folder = await temporaryFolder('desk');
  const environment = { TICKETMAILD_DATA_DIR: join(folder.path, 'data'), ...env };
  return {
    folder: folder.path,
    run: (args, input) => run(args, input ?? null, environment),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

async function run(args: readonly string[], input: string | null, env: Record<string, string>): Promise<Ran> {
  const out = collector();
  const err = collector();
  const context: Context = {
    terminal: openTerminal({
      stdin: input === null ? new PassThrough().end() : Readable.from([Buffer.from(input)]),
      stdout: out.stream,
      stderr: err.stream,
      colours: false,
      nowMs: Date.now,
    }),
    signal: AbortSignal.timeout(20_000),
    nowMs: () => nowMs,
    readFile: readFileSync,
    writeNewFile: (path, bytes) => writeFileSync(path, bytes, { flag: 'wx', mode: 0o600 }),
    loadConfig: async (file) => loadConfig({ file, env, systemFile: '/nowhere' }),
    compose: (config) => compose(config, createLog({ level: 'error', pretty: false, destination: err.stream })),
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
  return { code, out: out.text(), err: err.text(), json: jsonLines(out.text()) };
}

function collector(): { readonly stream: Writable; readonly text: () => string } {
  let text = '';
  const stream = new Writable({
    write(chunk, _, done) {
      text += String(chunk);
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
