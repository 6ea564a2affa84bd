/**
 * `npm run mutations`: broken messages by the ten thousand through the real program, always the same for a seed.
 *
 * Exit code 1 when one of them did harm (see `mutation-run.ts`); each is then saved, and `--only INDEX` makes it again
 * and parses it alone. `--extremes 25` parses each of the extremes at that size; `--parse-only` leaves the servers out
 * and prints how long the slowest took; `--sqlite` stores without a database server. Exit code 2 for a wrong option.
 * The first Ctrl-C ends it with its report.
 */
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { columnsText } from '../../bench/measure/columns.ts';
import { stopSignal } from '../../demo/stop-signals.ts';
import { corpusPresent } from '../../mail/corpus.ts';
import { runWithOptions, wholeNumber } from '../../support/options.ts';
import { showProgress } from '../../support/progress.ts';
import { type TimedRun, type Timing, timeMutants, type Violation } from './mutant-times.ts';
import { type Base, extremeOf, type Mutant, mutantOf, readBases } from './mutants.ts';
import { type MutationRun, runMutations } from './mutation-run.ts';

const usage =
  'usage: npm run mutations -- [--count 100000] [--seed 1] [--only INDEX] [--parse-only] [--extremes MEGABYTES] [--sqlite] [--save FOLDER] [--json]\n';

const shownViolations = 40;

type Options = {
  readonly seed: number;
  readonly count: number;
  readonly only: number | null;
  readonly extremesMb: number | null;
  readonly isSqlite: boolean;
  readonly isParseOnly: boolean;
  readonly save: string;
  readonly json: boolean;
};

function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      count: { type: 'string', default: '100000' },
      seed: { type: 'string', default: '1' },
      only: { type: 'string' },
      extremes: { type: 'string' },
      'parse-only': { type: 'boolean', default: false },
      sqlite: { type: 'boolean', default: false },
      save: { type: 'string' },
      json: { type: 'boolean', default: false },
    },
  });
  const seed = wholeNumber('--seed', values.seed);
  return {
    seed,
    count: wholeNumber('--count', values.count, 1),
    only: values.only === undefined ? null : wholeNumber('--only', values.only),
    extremesMb: values.extremes === undefined ? null : wholeNumber('--extremes', values.extremes, 1),
    isSqlite: values.sqlite,
    isParseOnly: values['parse-only'],
    save: values.save ?? join(tmpdir(), `ticketmaild-mutants-${seed}`),
    json: values.json,
  };
}

async function main(options: Options): Promise<number> {
  using progress = showProgress(process.stderr, null);
  using stop = stopSignal(() => process.exit(130));
  progress.now(`reading messages to break${corpusPresent ? '' : ' (there are no public messages: of our own alone)'}`);
  const bases = readBases();
  const make = makerOf(options, bases);
  const run =
    make === null
      ? await runMutations({ ...options, stop }, bases, progress)
      : await timeMutants({ make, threads: Math.min(2, availableParallelism()), stop }, options.only ?? 0, progress);
  progress[Symbol.dispose]();
  save(options, run);
  process.stdout.write(options.json ? jsonText(options, run) : `${reportText(run)}${endText(options, run.violations)}`);
  return run.violations.length === 0 ? 0 : 1;
}

/** null: all of them are to go through the program. */
function makerOf(
  { seed, count, only, extremesMb, isParseOnly }: Options,
  bases: readonly Base[],
): Timing['make'] | null {
  const end = only === null ? count : only + 1;
  if (extremesMb !== null) return (index) => (index < end ? extremeOf(seed, index, extremesMb * 1_000_000) : null);
  return isParseOnly || only !== null ? (index) => (index < end ? mutantOf(seed, index, bases) : null) : null;
}

/** Those that did harm; and the one that was asked for, whatever it did. */
function save({ save: folder, only }: Options, run: MutationRun | TimedRun): void {
  const wanted = only === null || !('slowest' in run) ? run.violations : run.slowest;
  const mutants = wanted.flatMap(({ mutant }) => mutant ?? []);
  if (mutants.length === 0) return;
  mkdirSync(folder, { recursive: true });
  for (const { index, bytes } of mutants) writeFileSync(join(folder, `${index}.eml`), bytes);
}

function reportText(run: MutationRun | TimedRun): string {
  return 'slowest' in run ? timedText(run) : mutationText(run);
}

function mutationText(run: MutationRun): string {
  const { messages, wallS, bytes, largestBytes, peakRssMb } = run;
  const figures: readonly (readonly [string, string | number | null])[] = [
    ['messages', messages],
    ['megabytes', Math.round(bytes / 1e6)],
    ['largest mail, kilobytes', Math.round(largestBytes / 1e3)],
    ['seconds', Math.round(wallS)],
    ['messages a second', Math.round(messages / wallS)],
    ['given up because the machine was busy', run.busy],
    ['memory at most, MB', peakRssMb === null ? null : Math.round(peakRssMb)],
  ];
  return [
    columnsText(['what was done to them', 'messages'], Object.entries(run.made)),
    columnsText(['outcome', 'messages'], Object.entries(run.outcomes)),
    columnsText(['in all', ''], figures),
  ].join('\n');
}

function timedText({ messages, medianMs, slowest }: TimedRun): string {
  const rows = slowest.map(({ mutant, ms }) => [mutant.index, Math.round(ms), mutant.bytes.length, madeText(mutant)]);
  const table = columnsText(['mutant', 'ms', 'bytes', 'made of'], rows);
  return `${messages} parsed, half of them in ${medianMs.toFixed(2)} ms or less; the slowest:\n${table}`;
}

function endText({ seed, save: folder }: Options, violations: readonly Violation[]): string {
  const lines = violations.map(({ mutant, what }) =>
    mutant === null ? `wrong: ${what}\n` : `wrong: ${mutant.index}: ${what}; ${madeText(mutant)}\n`,
  );
  const shown = lines.slice(0, shownViolations);
  if (shown.length < lines.length) shown.push('… and more: --json has them all\n');
  const replay = `again: --seed ${seed} --only INDEX; saved in ${folder}\n`;
  const end = lines.length === 0 ? 'none did harm\n' : `${replay}${lines.length} wrong\n`;
  return `\nseed ${seed}, ${corpusPresent ? 'with' : 'without'} public messages\n${shown.join('')}${end}`;
}

function madeText({ made, bytes }: Mutant): string {
  return `${made.join(' + ')} (${bytes.length} bytes)`;
}

function jsonText({ seed }: Options, { violations, ...run }: MutationRun | TimedRun): string {
  const told = violations.map(({ mutant, what }) => ({ index: mutant?.index ?? null, what, made: mutant?.made ?? [] }));
  const figures =
    'slowest' in run
      ? { ...run, slowest: run.slowest.map(({ mutant, ms }) => ({ index: mutant.index, ms, made: mutant.made })) }
      : run;
  return `${JSON.stringify({ seed, public_mails: corpusPresent, ...figures, violations: told })}\n`;
}

if (import.meta.main)
  process.exitCode = await runWithOptions(process.argv.slice(2), { usage, read: readOptions, run: main });
