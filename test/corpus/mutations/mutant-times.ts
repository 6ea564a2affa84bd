/**
 * Parse times of mutants in the program's own parse threads, one at a time in each: without servers, for work
 * on a parser, and for a second look at one that was late.
 *
 * The clock also counts while others have the processor, so a late one is parsed again, alone: it is a violation when
 * it is late each time. So is one at which a thread dies, or gives up.
 */
import { createParserPool } from '../../../src/adapters/parser/parser-pool.ts';
import { isFailure } from '../../../src/errors.ts';
import type { MessageParser } from '../../../src/ingest/ports.ts';
import { parseMessage } from '../../../src/mail/parse.ts';
import type { Progress } from '../../support/progress.ts';
import type { Mutant } from './mutants.ts';

/** What a parse of any mail must stay under. */
export const parseLimitS = 2;

/** `mutant` null: of the program as a whole. */
export type Violation = { readonly mutant: Mutant | null; readonly what: string };

type Timed = { readonly mutant: Mutant; readonly ms: number };

export type TimedRun = {
  readonly messages: number;
  readonly medianMs: number;
  readonly slowest: readonly Timed[];
  readonly violations: readonly Violation[];
};

export type Timing = {
  /** null: there is none at this place, nor after it. */
  readonly make: (index: number) => Mutant | null;
  readonly threads: number;
  readonly stop: AbortSignal;
};

const memoryMb = 512;
/** Of the threads: long enough to measure how late one is. */
const timeoutMs = 20_000;
const shownCount = 12;
const triesMax = 3;

/** Makes mutants from `first` on until there is none. */
export async function timeMutants(
  { make, threads, stop }: Timing,
  first: number,
  progress: Pick<Progress, 'counting'>,
): Promise<TimedRun> {
  await using digester = createParserPool({ threads, timeoutMs, memoryMb });
  const times: number[] = [];
  const violations: Violation[] = [];
  const late: Mutant[] = [];
  let slowest: readonly Timed[] = [];
  using _count = progress.counting(() => `${times.length} parsed, ${violations.length} wrong, ${late.length} late`);
  let next = first;
  const worker = async (_: unknown, lane: number): Promise<void> => {
    while (!stop.aborted) {
      const mutant = make(next++);
      if (mutant === null) return;
      const { ms, wrong } = await timeOne(digester, mutant, `${lane}`);
      times.push(ms);
      if (wrong !== null) violations.push({ mutant, what: wrong });
      else if (ms > parseLimitS * 1000) late.push(mutant);
      else slowest = withOne(slowest, { mutant, ms });
    }
  };
  // Threads start with the first message, which is not its fault.
  await digester.parse(new Uint8Array(Buffer.from('Subject: first\r\n\r\nx\r\n')), 'first');
  await Promise.all(Array.from({ length: threads }, worker));
  for (const mutant of late) {
    const ms = await bestOf(digester, mutant);
    slowest = withOne(slowest, { mutant, ms });
    if (ms > parseLimitS * 1000) violations.push({ mutant, what: `takes ${Math.round(ms)} ms, alone` });
  }
  const medianMs = times.toSorted((one, other) => one - other)[Math.floor(times.length / 2)] ?? 0;
  return { messages: times.length, medianMs, slowest, violations };
}

function withOne(slowest: readonly Timed[], timed: Timed): readonly Timed[] {
  if (slowest.length === shownCount && timed.ms <= (slowest.at(-1)?.ms ?? 0)) return slowest;
  return [...slowest, timed].sort((one, other) => other.ms - one.ms).slice(0, shownCount);
}

async function timeOne(
  digester: MessageParser,
  mutant: Mutant,
  lane: string,
): Promise<{ ms: number; wrong: string | null }> {
  // The threads take what they get with them.
  const source = mutant.bytes.slice();
  const startedAt = performance.now();
  try {
    const digested = await digester.parse(source, lane);
    const ms = performance.now() - startedAt;
    return { ms, wrong: digested.ok ? null : `${digested.reason}${await whyOf(mutant, digested.reason)}` };
  } catch (error) {
    if (!isFailure(error, 'parser_unavailable')) throw error;
    return { ms: performance.now() - startedAt, wrong: error.message };
  }
}

async function bestOf(digester: MessageParser, mutant: Mutant): Promise<number> {
  let best = Number.POSITIVE_INFINITY;
  for (let attempt = 0; attempt < triesMax && best > parseLimitS * 1000; attempt += 1)
    best = Math.min(best, (await timeOne(digester, mutant, 'again')).ms);
  return best;
}

/** A thread tells no more than that it could not; here is no deadline, so what ran into one is not tried again. */
async function whyOf({ bytes }: Mutant, reason: string): Promise<string> {
  if (reason !== 'parse_failed') return '';
  try {
    await parseMessage(bytes.slice());
    return ' (in a thread alone)';
  } catch (error) {
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error;
    return ` (${cause instanceof Error ? firstLines(cause.stack ?? cause.message) : String(cause)})`;
  }
}

function firstLines(stack: string): string {
  return stack
    .split('\n')
    .slice(0, 3)
    .map((line) => line.trim())
    .join(' ');
}
