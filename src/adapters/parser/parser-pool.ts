/**
 * The parse threads: a bounded pool with a deadline and a memory limit.
 *
 * Sources of a mailbox that wait go to a thread together, which spares most of the cost of the way there and back;
 * then the next mailbox has its turn. When a thread dies at them, each is tried alone, in its turn; one at which a
 * thread passes the deadline, or dies again, is answered as a value with the reason and its source. The memory of a
 * small source is shared with the thread. A large one is compressed here first and then moved there, so that it is in
 * memory once, and can be had again when the thread dies. Before a message is blamed, a mail that is known to be good must
 * pass: threads that cannot even parse that one are `parser_unavailable`, which fails the poll and leaves the mail where it
 * is, instead of putting a whole mailbox into quarantine.
 */

import { getCompileCacheDir } from 'node:module';
import { dirname } from 'node:path';
import { Piscina } from 'piscina';
import { release, transferOwnership } from '../../async/buffer-pool.ts';
import { causeCode, Failure, isFailure } from '../../errors.ts';
import type { MessageParser, ParseResult } from '../../ingest/ports.ts';
import { type Compressed, compress, compressLarge, decompress } from './compress.ts';
import { createQueue } from './fair-queue.ts';
import type { Parsed, Portion, Unavailable } from './parse.worker.ts';

type DigesterOptions = { readonly threads: number; readonly timeoutMs: number; readonly memoryMb: number };

type Source = Uint8Array;
/** `large`: the compressed source where it is large. */
type Task = { readonly source: Source; readonly isAlone: boolean; readonly large: Compressed | null };
/** `broken`: why a thread died before it took a task; such a pool never starts another one. */
type Pool = { readonly threads: Piscina; readonly running: Set<AbortController>; broken: unknown };
type Threads = { readonly options: DigesterOptions; readonly deadlines: Deadlines; pool: Pool | null };
/** How a thread ended. */
type Death = Exclude<ParseResult, { ok: true }>['reason'];

const triesMax = 2;
const youngGenerationMb = 16;
/** `deadlineShare`: so little takes a moment; who breaks a portion has the whole of the deadline alone. */
const together = {
  ...{ countMax: 16, bytesMax: 1024 * 1024, countEnough: 8, bytesEnough: 256 * 1024 },
  deadlineShare: 1 / 4,
};
const goodMail = Buffer.from('From: a@example.test\r\nSubject: good\r\n\r\ngood\r\n');

/** A pool of `threads` workers, started when the first source comes, or is said to come soon. */
export function createDigester(options: DigesterOptions): MessageParser {
  const threads: Threads = { options, deadlines: new Deadlines(), pool: null };
  const queue = createQueue<Task, ParseResult | null>((tasks) => digestPortion(threads, tasks), {
    ...together,
    runningMax: options.threads,
    bytesOf: ({ source, isAlone }) => (isAlone ? together.bytesMax + 1 : source.length),
  });
  const alone = async (task: Omit<Task, 'isAlone'>, lane: string) =>
    (await queue.add({ ...task, isAlone: true }, lane)) ?? neverNull();
  return {
    prepare: () => {
      poolOf(threads);
    },
    parse: async (source, lane, isFollowed) => {
      // It comes late: more of its lane may have come to an end before.
      if (source.length > together.bytesMax) return await alone({ source, large: await compressLarge(source) }, lane);
      const task = { source, large: null };
      return (await queue.add({ ...task, isAlone: false }, lane, isFollowed)) ?? (await alone(task, lane));
    },
    flush: queue.hurry,
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

/** One that broke while nobody used it, as it may when it is prepared, does not cost a source one of its tries. */
function poolOf(threads: Threads): Pool {
  if (threads.pool !== null && threads.pool.broken !== null) {
    void Promise.allSettled([threads.pool.threads.close()]);
    threads.pool = null;
  }
  threads.pool ??= startPool(threads.options);
  return threads.pool;
}

function startPool(options: DigesterOptions): Pool {
  const threads = new Piscina({
    filename: new URL('./parse.worker.ts', import.meta.url).href,
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
  const pool: Pool = { threads, running: new Set(), broken: null };
  threads.on('error', (error) => {
    pool.broken = error;
    for (const one of pool.running) one.abort();
  });
  return pool;
}

/** One answer for each task, in order; null: it was in a portion at which a thread died, and is to be tried alone. */
async function digestPortion(
  threads: Threads,
  tasks: readonly Task[],
): Promise<readonly Promise<ParseResult | null>[]> {
  const [first] = tasks;
  if (tasks.length === 1 && first !== undefined) {
    const digested = digestAlone(threads, first);
    await Promise.allSettled([digested]);
    return [digested];
  }
  const portion = { sources: tasks.map(({ source }) => source), isCompressed: false };
  const answers = await run<ParseResult>(threads, portion, together.deadlineShare);
  if (typeof answers === 'string') return tasks.map(() => Promise.resolve(null));
  for (const { source } of tasks) release(source);
  return answers.map((answer) => Promise.resolve(answer));
}

/**
 * Tries again once, for a death that need not be the message's fault; a deadline passed alone is proof enough, and so is
 * the memory that a large one took, which nobody else is to wait for twice.
 */
async function digestAlone(threads: Threads, { source, large }: Task): Promise<ParseResult> {
  let death: Death = 'parse_failed';
  const isProven = () => death === 'parse_timeout' || (death === 'parse_memory' && large !== null);
  for (let attempt = 1; attempt <= triesMax && !isProven(); attempt += 1) {
    const answer = await (large === null ? trySmall(threads, source) : tryLarge(threads, source, large));
    if (typeof answer === 'object') return answer;
    death = answer;
  }
  await provePool(threads);
  return { ok: false, reason: death, ...(large ?? (await compress(source))) };
}

async function trySmall(threads: Threads, source: Source): Promise<ParseResult | Death> {
  const answers = await run<ParseResult>(threads, { sources: [source], isCompressed: false });
  if (typeof answers === 'string') return answers;
  release(source);
  return answers[0] ?? 'parse_failed';
}

/** `source` is moved to the thread, and is empty when it was before. */
async function tryLarge(threads: Threads, source: Source, large: Compressed): Promise<ParseResult | Death> {
  const moved = transferOwnership(source.length > 0 ? source : await decompress(large));
  release(source);
  const answers = await run<Parsed>(threads, { sources: [moved], isCompressed: true }, 1, [moved.buffer]);
  if (typeof answers === 'string') return answers;
  const [answer] = answers;
  return answer === undefined ? 'parse_failed' : { ...answer, ...large };
}

function neverNull(): never {
  throw new Error('a source that was tried alone has no answer');
}

/** The answers of a thread, or how it died; then the next task gets a new pool. */
async function run<Answer extends Parsed | ParseResult>(
  threads: Threads,
  portion: Portion,
  deadlineShare = 1,
  moved: readonly ArrayBuffer[] = [],
): Promise<readonly Answer[] | Death> {
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
    const answers: readonly (Answer | Unavailable)[] = await pool.threads.run(portion, given);
    return answers.map(usable);
  } catch (error) {
    if (isFailure(error)) throw error;
    if (threads.pool === pool) threads.pool = null;
    // Others may still be at work in the old one.
    void Promise.allSettled([pool.threads.close()]);
    if (isLate) return 'parse_timeout';
    return causeCode(pool.broken ?? error) === 'ERR_WORKER_OUT_OF_MEMORY' ? 'parse_memory' : 'parse_failed';
  } finally {
    pool.running.delete(ending);
  }
}

function usable<Answer extends Parsed | ParseResult>(answer: Answer | Unavailable): Answer {
  if (answer.ok || answer.reason !== 'parser_unavailable') return answer as Answer;
  throw new Failure('parser_unavailable', 'a library that a mail needs cannot be loaded', {
    hint: 'Files of ticketmaild are missing: install it anew, or, when an upgrade has just replaced them, restart it. No mail is touched meanwhile.',
  });
}

async function provePool(threads: Threads): Promise<void> {
  const answers = await run(threads, { sources: [new Uint8Array(goodMail)], isCompressed: false });
  if (typeof answers !== 'string' && answers[0]?.ok) return;
  const why = typeof answers === 'string' ? answers : 'parse_failed';
  throw new Failure('parser_unavailable', 'the parse threads fail at a mail that is known to be good', {
    fields: { why },
  });
}

/**
 * Deadlines in time that this process has run: when the machine stood still for a while (a paused virtual machine, a frozen
 * control group, SIGSTOP), no mail is to blame for it. One timer for all of them.
 */

const tickMs = 50;
/** What counts of a tick that comes late: this thread may have been busy while the other one ran. */
const lateMsMax = 1_000;

type Open = { leftMs: number; countedAtMs: number; readonly onOver: () => void };

export class Deadlines {
  readonly #open = new Set<Open>();
  readonly #nowMs: () => number;
  #timer: NodeJS.Timeout | null = null;

  /** `nowMs`: a clock that only goes on. */
  constructor(nowMs: () => number = () => performance.now()) {
    this.#nowMs = nowMs;
  }

  /** Calls `onOver` once, when `ms` have passed; never after it was disposed. Keeps no process alive. */
  start(ms: number, onOver: () => void): Disposable {
    const open = { leftMs: ms, countedAtMs: this.#nowMs(), onOver };
    this.#open.add(open);
    this.#timer ??= setInterval(() => this.#tick(), tickMs).unref();
    return { [Symbol.dispose]: () => this.#open.delete(open) };
  }

  #tick(): void {
    if (this.#open.size === 0) this.#rest();
    const nowMs = this.#nowMs();
    for (const open of this.#open) {
      open.leftMs -= Math.min(nowMs - open.countedAtMs, lateMsMax);
      open.countedAtMs = nowMs;
      if (open.leftMs <= 0 && this.#open.delete(open)) open.onOver();
    }
  }

  #rest(): void {
    if (this.#timer !== null) clearInterval(this.#timer);
    this.#timer = null;
  }
}
