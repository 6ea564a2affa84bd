/**
 * The parse threads: a bounded pool with a deadline and a memory limit.
 *
 * Sources of a mailbox that wait go to a thread together, which spares most of the cost of the way there and back;
 * then the next mailbox has its turn. When a thread dies at them, each is tried alone, in its turn; one at which a
 * thread passes the deadline, or dies twice, is answered as a value with the reason,
 * its source compressed by the main thread (a thread gets a copy, so that it is still here then). Before a message is
 * blamed, a mail that is known to be good must pass: threads that cannot even parse that one are `parser_unavailable`,
 * which fails the poll and leaves the mail where it is, instead of putting a whole mailbox into quarantine.
 */
import { hash } from 'node:crypto';
import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { zstdCompress } from 'node:zlib';
import { Piscina } from 'piscina';
import { causeCode, Failure } from '../../errors.ts';
import type { Digested, Digester } from '../../ingest/ports.ts';
import { release } from '../../ingest/release.ts';
import { createQueue } from './queue.ts';

export type DigesterOptions = { readonly threads: number; readonly timeoutMs: number; readonly memoryMb: number };

type Source = Uint8Array<ArrayBuffer>;
type Task = { readonly source: Source; readonly isAlone: boolean };
/** `broken` fires when a thread dies before it took a task: such a pool never starts another one. */
type Pool = { readonly threads: Piscina; readonly broken: AbortController };
type Threads = { readonly options: DigesterOptions; pool: Pool | null };
/** How a thread ended. */
type Death = Exclude<Digested, { ok: true }>['reason'];

const triesMax = 2;
const youngGenerationMb = 16;
/** `deadlineShare`: so little takes a moment; who breaks a portion has the whole of the deadline alone. */
const together = { countMax: 16, bytesMax: 1024 * 1024, deadlineShare: 1 / 4 };
const goodMail = Buffer.from('From: a@example.test\r\nSubject: good\r\n\r\ngood\r\n');
const compressAside = promisify(zstdCompress);

/** A pool of `threads` workers, started when the first source comes. */
export function createDigester(options: DigesterOptions): Digester {
  const threads: Threads = { options, pool: null };
  const queue = createQueue<Task, Digested | null>((tasks) => digestPortion(threads, tasks), {
    ...together,
    runningMax: options.threads,
    bytesOf: ({ source, isAlone }) => (isAlone ? together.bytesMax : source.length),
  });
  return {
    digest: async (source, lane) =>
      (await queue({ source, isAlone: false }, lane)) ?? (await queue({ source, isAlone: true }, lane)) ?? neverNull(),
    compress,
    [Symbol.asyncDispose]: async () => {
      await threads.pool?.threads.destroy();
    },
  };
}

/** Nothing but where compiled code lies, if the process keeps any: a thread starts in a third of the time with it. */
function environment(): Readonly<Record<string, string>> {
  const folder = getCompileCacheDir();
  return folder === undefined ? {} : { NODE_COMPILE_CACHE: dirname(folder) };
}

function startPool(options: DigesterOptions): Pool {
  const threads = new Piscina({
    filename: new URL('./digest.worker.ts', import.meta.url).href,
    name: 'digest',
    minThreads: 1,
    maxThreads: options.threads,
    idleTimeout: 30_000,
    concurrentTasksPerWorker: 1,
    atomics: 'disabled',
    resourceLimits: { maxOldGenerationSizeMb: options.memoryMb, maxYoungGenerationSizeMb: youngGenerationMb },
    env: environment(),
    execArgv: [],
  });
  const broken = new AbortController();
  threads.on('error', (error) => broken.abort(error));
  return { threads, broken };
}

/** One answer for each task, in order; null: it was in a portion at which a thread died, and is to be tried alone. */
async function digestPortion(threads: Threads, tasks: readonly Task[]): Promise<readonly Promise<Digested | null>[]> {
  const [first] = tasks;
  if (tasks.length === 1 && first !== undefined) {
    const digested = digestAlone(threads, first.source);
    await Promise.allSettled([digested]);
    return [digested];
  }
  const answers = await run(
    threads,
    tasks.map(({ source }) => source),
    together.deadlineShare,
  );
  if (typeof answers === 'string') return tasks.map(() => Promise.resolve(null));
  for (const { source } of tasks) release(source);
  return answers.map((answer) => Promise.resolve(answer));
}

/** Tries again once, for a death that need not be the message's fault; a deadline passed alone is proof enough. */
async function digestAlone(threads: Threads, source: Source): Promise<Digested> {
  let death: Death = 'parse_failed';
  for (let attempt = 1; attempt <= triesMax && death !== 'parse_timeout'; attempt += 1) {
    const answers = await run(threads, [source]);
    const answer = typeof answers === 'string' ? answers : answers[0];
    if (typeof answer === 'object') {
      release(source);
      return answer;
    }
    death = answer ?? 'parse_failed';
  }
  await provePool(threads);
  return { ok: false, reason: death, ...(await compress(source)) };
}

function neverNull(): never {
  throw new Error('a source that was tried alone has no answer');
}

/** The answers of a thread, or how it died; then the next task gets a new pool. */
async function run(
  threads: Threads,
  sources: readonly Source[],
  deadlineShare = 1,
): Promise<readonly Digested[] | Death> {
  threads.pool ??= startPool(threads.options);
  const { pool } = threads;
  const deadline = AbortSignal.timeout(Math.ceil(threads.options.timeoutMs * deadlineShare));
  try {
    return await pool.threads.run(sources, { signal: AbortSignal.any([deadline, pool.broken.signal]) });
  } catch (error) {
    if (threads.pool === pool) threads.pool = null;
    // Others may still be at work in the old one.
    void Promise.allSettled([pool.threads.close()]);
    if (deadline.aborted) return 'parse_timeout';
    const cause = pool.broken.signal.aborted ? pool.broken.signal.reason : error;
    return causeCode(cause) === 'ERR_WORKER_OUT_OF_MEMORY' ? 'parse_memory' : 'parse_failed';
  }
}

async function provePool(threads: Threads): Promise<void> {
  const answers = await run(threads, [new Uint8Array(goodMail)]);
  if (typeof answers !== 'string' && answers[0]?.ok) return;
  const why = typeof answers === 'string' ? answers : 'parse_failed';
  throw new Failure('parser_unavailable', 'the parse threads fail at a mail that is known to be good', {
    fields: { why },
  });
}

async function compress(source: Source): Promise<{ compressed: Uint8Array; sha256: string }> {
  return { compressed: await compressAside(source), sha256: hash('sha256', source, 'hex') };
}
