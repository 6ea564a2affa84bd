/**
 * Parser thread pool (piscina), bounded, with a deadline and a memory limit per message.
 *
 * Queued sources of a mailbox are sent to a thread in batches, which saves most of the messaging cost; mailboxes take
 * turns (fair queue). When a thread dies, each source of its batch is parsed alone; one that exceeds the deadline, or
 * kills a thread again, is returned with the reason and its source. A small source is shared with the thread. A large
 * one is compressed here and then transferred, so that it is in memory once and can be restored when the thread dies.
 *
 * Before a message is blamed, a known-good message must parse: otherwise the threads are `parser_unavailable`, which
 * fails the poll and leaves the messages on the server, instead of quarantining a whole mailbox.
 */

import { Piscina } from 'piscina';
import { release, transferOwnership } from '../../async/buffer-pool.ts';
import { RunTimeDeadlines } from '../../async/deadline.ts';
import { workerEnvironment } from '../../config/machine.ts';
import { causeCode, Failure, isFailure } from '../../errors.ts';
import type { CompressedSource, MessageParser, ParseResult } from '../../ingest/ports.ts';
import { hints } from '../../text/hints.ts';
import { compress, compressLarge, decompress } from './compress.ts';
import { createFairQueue } from './fair-queue.ts';
import type { ParseBatch, ParseReply, ParserUnavailable } from './parse.worker.ts';

type ParserPoolOptions = { readonly threads: number; readonly timeoutMs: number; readonly memoryMb: number };

type Source = Uint8Array;
/** `large`: the compressed source of a large message. */
type ParseTask = { readonly source: Source; readonly isAlone: boolean; readonly large: CompressedSource | null };
/** `broken`: error of a thread that died before its first task; such a pool starts no further thread. */
type ThreadPool = { readonly threads: Piscina; readonly running: Set<AbortController>; broken: unknown };
type ParserThreads = {
  readonly options: ParserPoolOptions;
  readonly deadlines: RunTimeDeadlines;
  pool: ThreadPool | null;
};
/** Why a thread ended. */
type ThreadDeath = Exclude<ParseResult, { ok: true }>['reason'];

const attemptsMax = 2;
const youngGenerationMb = 16;
/** `deadlineShare`: of the deadline, for a batch; a source parsed alone has the whole deadline. */
const batchLimits = {
  ...{ countMax: 16, bytesMax: 1024 * 1024, countEnough: 8, bytesEnough: 256 * 1024 },
  deadlineShare: 1 / 4,
};
const knownGoodMessage = Buffer.from('From: a@example.test\r\nSubject: good\r\n\r\ngood\r\n');

/** The threads start with the first source or `prepare`. */
export function createParserPool(options: ParserPoolOptions): MessageParser {
  const threads: ParserThreads = { options, deadlines: new RunTimeDeadlines(), pool: null };
  const queue = createFairQueue<ParseTask, ParseResult | null>((tasks) => parseBatch(threads, tasks), {
    ...batchLimits,
    runningMax: options.threads,
    bytesOf: ({ source, isAlone }) => (isAlone ? batchLimits.bytesMax + 1 : source.length),
  });
  const alone = async (task: Omit<ParseTask, 'isAlone'>, lane: string) =>
    (await queue.add({ ...task, isAlone: true }, lane)) ?? neverNull();
  return {
    prepare: () => {
      poolOf(threads);
    },
    parse: async (source, lane, isFollowed) => {
      // Compressed before it enters the queue, so later sources of its lane may be parsed first.
      if (source.length > batchLimits.bytesMax)
        return await alone({ source, large: await compressLarge(source) }, lane);
      const task = { source, large: null };
      return (await queue.add({ ...task, isAlone: false }, lane, isFollowed)) ?? (await alone(task, lane));
    },
    flush: queue.flush,
    compress,
    [Symbol.asyncDispose]: async () => {
      await threads.pool?.threads.destroy();
    },
  };
}

/** A pool that broke while idle, as during `prepare`, costs no source an attempt. */
function poolOf(threads: ParserThreads): ThreadPool {
  if (threads.pool !== null && threads.pool.broken !== null) {
    void Promise.allSettled([threads.pool.threads.close()]);
    threads.pool = null;
  }
  threads.pool ??= startPool(threads.options);
  return threads.pool;
}

function startPool(options: ParserPoolOptions): ThreadPool {
  const threads = new Piscina({
    filename: new URL('./parse.worker.ts', import.meta.url).href,
    name: 'parseSources',
    minThreads: 1,
    maxThreads: options.threads,
    idleTimeout: 30_000,
    concurrentTasksPerWorker: 1,
    atomics: 'disabled',
    resourceLimits: { maxOldGenerationSizeMb: options.memoryMb, maxYoungGenerationSizeMb: youngGenerationMb },
    env: workerEnvironment(),
    execArgv: [],
  });
  const pool: ThreadPool = { threads, running: new Set(), broken: null };
  threads.on('error', (error) => {
    pool.broken = error;
    for (const one of pool.running) one.abort();
  });
  return pool;
}

/** One result per task, in order; null: the thread died, and the task must run alone. */
async function parseBatch(
  threads: ParserThreads,
  tasks: readonly ParseTask[],
): Promise<readonly Promise<ParseResult | null>[]> {
  const [first] = tasks;
  if (tasks.length === 1 && first !== undefined) {
    const parsed = parseAlone(threads, first);
    await Promise.allSettled([parsed]);
    return [parsed];
  }
  const batch = { sources: tasks.map(({ source }) => source), isCompressed: false };
  const replies = await run<ParseResult>(threads, batch, batchLimits.deadlineShare);
  if (typeof replies === 'string') return tasks.map(() => Promise.resolve(null));
  for (const { source } of tasks) release(source);
  return replies.map((reply) => Promise.resolve(reply));
}

/**
 * Retries once after a death that another cause may explain. An exceeded deadline is proof, and so is the memory of a
 * large message.
 */
async function parseAlone(threads: ParserThreads, { source, large }: ParseTask): Promise<ParseResult> {
  let death: ThreadDeath = 'parse_failed';
  const isProven = () => death === 'parse_timeout' || (death === 'parse_memory' && large !== null);
  for (let attempt = 1; attempt <= attemptsMax && !isProven(); attempt += 1) {
    const reply = await (large === null ? parseSmall(threads, source) : parseLarge(threads, source, large));
    if (typeof reply === 'object') return reply;
    death = reply;
  }
  await verifyPool(threads);
  return { ok: false, reason: death, ...(large ?? (await compress(source))) };
}

async function parseSmall(threads: ParserThreads, source: Source): Promise<ParseResult | ThreadDeath> {
  const replies = await run<ParseResult>(threads, { sources: [source], isCompressed: false });
  if (typeof replies === 'string') return replies;
  release(source);
  return replies[0] ?? 'parse_failed';
}

/** `source` is transferred to the thread; it is empty at the second attempt. */
async function parseLarge(
  threads: ParserThreads,
  source: Source,
  large: CompressedSource,
): Promise<ParseResult | ThreadDeath> {
  const moved = transferOwnership(source.length > 0 ? source : await decompress(large));
  release(source);
  const replies = await run<ParseReply>(threads, { sources: [moved], isCompressed: true }, 1, [moved.buffer]);
  if (typeof replies === 'string') return replies;
  const [reply] = replies;
  return reply === undefined ? 'parse_failed' : { ...reply, ...large };
}

function neverNull(): never {
  throw new Error('a source that was parsed alone has no result');
}

/** The results of a thread, or why it died; the next task then gets a new pool. */
async function run<Reply extends ParseReply | ParseResult>(
  threads: ParserThreads,
  batch: ParseBatch,
  deadlineShare = 1,
  moved: readonly ArrayBuffer[] = [],
): Promise<readonly Reply[] | ThreadDeath> {
  const pool = poolOf(threads);
  const ending = new AbortController();
  let isLate = false;
  using _deadline = threads.deadlines.start(threads.options.timeoutMs * deadlineShare, () => {
    isLate = true;
    ending.abort();
  });
  pool.running.add(ending);
  try {
    const given = { signal: ending.signal, transferList: [...moved] as never };
    const replies: readonly (Reply | ParserUnavailable)[] = await pool.threads.run(batch, given);
    return replies.map(throwUnavailable);
  } catch (error) {
    if (isFailure(error)) throw error;
    if (threads.pool === pool) threads.pool = null;
    // Other tasks may still run in the old one.
    void Promise.allSettled([pool.threads.close()]);
    if (isLate) return 'parse_timeout';
    return causeCode(pool.broken ?? error) === 'ERR_WORKER_OUT_OF_MEMORY' ? 'parse_memory' : 'parse_failed';
  } finally {
    pool.running.delete(ending);
  }
}

function throwUnavailable<Reply extends ParseReply | ParseResult>(reply: Reply | ParserUnavailable): Reply {
  if (reply.ok || reply.reason !== 'parser_unavailable') return reply as Reply;
  throw new Failure('parser_unavailable', 'a library of the parser cannot be loaded', {
    hint: hints.programFilesMissing,
  });
}

async function verifyPool(threads: ParserThreads): Promise<void> {
  const replies = await run(threads, { sources: [new Uint8Array(knownGoodMessage)], isCompressed: false });
  if (typeof replies !== 'string' && replies[0]?.ok) return;
  const why = typeof replies === 'string' ? replies : 'parse_failed';
  throw new Failure('parser_unavailable', 'the parser threads fail on a known-good message', {
    fields: { why },
  });
}
