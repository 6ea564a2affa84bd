/**
 * `npm run corpus`: public messages of every kind through the real program, and how much of what their own test suites
 * state about them is met, per source and field.
 *
 * Exit code 1 when a floor or the ratchet is broken, a miss is not a known difference, or a message has no outcome; 2
 * for a wrong option. Without the folder of messages it says so and ends with 0. `--split` tells messages that rules
 * were made on from those held out; `--misses` prints each miss, with text of the messages; `--write` brings the list
 * of known differences and the ratchet up to date, unless a figure fell.
 */
import { parseArgs } from 'node:util';
import { corpusFolder, corpusPresent } from '../mail/corpus.ts';
import { runWithOptions } from '../support/options.ts';
import { showProgress } from '../support/progress.ts';
import { differenceViolations, readKnownDifferences, writeKnownDifferences } from './expectations/known-differences.ts';
import { floorViolations, ratchetViolations, readRatchet, writeRatchet } from './expectations/ratchet.ts';
import { leftOut } from './expectations/rules.ts';
import { readCorpus } from './expectations/stated.ts';
import { metBy, metOf } from './expectations/tally.ts';
import { type CorpusRun, ingestCorpus } from './ingest.ts';
import { missesText, summaryText, tableText } from './report.ts';

const usage = 'usage: npm run corpus -- [--split] [--misses] [--json] [--write]\n';

const shownViolations = 60;

type Options = { readonly split: boolean; readonly misses: boolean; readonly json: boolean; readonly write: boolean };

function readOptions(args: readonly string[]): Options {
  const option = { type: 'boolean', default: false } as const;
  return parseArgs({ args: [...args], options: { split: option, misses: option, json: option, write: option } }).values;
}

/** Everything that a run must not have. */
export function corpusViolations({ checks, violations }: CorpusRun): readonly string[] {
  return [
    ...violations,
    ...floorViolations(checks),
    ...ratchetViolations(checks, readRatchet()),
    ...differenceViolations(checks, readKnownDifferences()),
  ];
}

async function main(options: Options): Promise<number> {
  if (!corpusPresent) {
    process.stderr.write(
      `left out: there are no public messages in ${corpusFolder} (TICKETMAILD_CORPUS names the folder)\n`,
    );
    return 0;
  }
  const run = await runVisibly();
  if (options.write) write(run);
  const violations = corpusViolations(run);
  process.stdout.write(options.json ? jsonText(run, violations) : reportText(run, violations, options));
  return violations.length === 0 ? 0 : 1;
}

async function runVisibly(): Promise<CorpusRun> {
  using progress = showProgress(process.stderr, null);
  return await ingestCorpus(readCorpus(), progress);
}

function write({ checks }: CorpusRun): void {
  writeKnownDifferences(checks, readKnownDifferences());
  if (ratchetViolations(checks, readRatchet()).length === 0) writeRatchet(checks);
}

function reportText(run: CorpusRun, violations: readonly string[], options: Options): string {
  const { checks, outcomes } = run;
  const counts = Object.entries(outcomes).map(([name, count]) => `${count} ${name}`);
  const shown = options.split
    ? checks
    : checks.map((check) => ({ ...check, mail: { ...check.mail, isHeldOut: false } }));
  return [
    options.misses ? missesText(checks) : '',
    tableText(checks),
    summaryText(shown),
    `\n${run.messages} messages: ${counts.join(', ')}; ${run.blobs} attachments compared byte by byte, `,
    `${run.peakRssMb === null ? 'memory not measured' : `${Math.round(run.peakRssMb)} MB of memory at most`}\n`,
    `known differences: ${readKnownDifferences().length}; fields not compared: ${leftOutText()}\n`,
    ...violations.slice(0, shownViolations).map((violation) => `wrong: ${violation}\n`),
    violations.length > shownViolations ? `… and more: --json has them all\n` : '',
    violations.length === 0 ? 'as it should be\n' : `${violations.length} wrong\n`,
  ].join('');
}

function leftOutText(): string {
  return Object.entries(leftOut)
    .map(([field, reason]) => `\n  ${field}: ${reason}`)
    .join('');
}

function jsonText({ checks, ...run }: CorpusRun, violations: readonly string[]): string {
  const parts = {
    all: checks,
    development: checks.filter(({ mail }) => !mail.isHeldOut),
    held_out: checks.filter(({ mail }) => mail.isHeldOut),
  };
  const figures = Object.entries(parts).map(([name, part]) => [
    name,
    { ...metOf(part), fields: Object.fromEntries(metBy(part, ({ field }) => field)) },
  ]);
  const sources = Object.fromEntries(metBy(checks, ({ mail, field }) => `${mail.source} ${field}`));
  const { messages, outcomes, blobs, peakRssMb: peak_rss_mb } = run;
  const report = {
    messages,
    outcomes,
    blobs,
    peak_rss_mb,
    ...Object.fromEntries(figures),
    sources,
    left_out: leftOut,
    violations,
  };
  return `${JSON.stringify(report)}\n`;
}

if (import.meta.main)
  process.exitCode = await runWithOptions(process.argv.slice(2), { usage, read: readOptions, run: main });
