/**
 * The fault campaign: everything that the daemon depends on fails, again and again, in every way that we can make,
 * while mail keeps coming. It counts what was lost, doubled, half done, hidden from the probes, slow to recover, or
 * printed that must not be.
 *
 * `--rows` changes rows of the database by SQL instead, under two running daemons.
 *
 * Exit code 1 when one promise was broken, 2 for a wrong option. The same seed gives the same faults in the same order;
 * the moments are as random as the machine. `--once` makes each kind once, `--only` makes only these. As root with
 * libfaketime it can make all of them. The first Ctrl-C ends it early with its report, the second at once; neither
 * leaves anything.
 */
import { parseArgs } from 'node:util';
import { stopSignal } from '../demo/stop-signals.ts';
import { runWithOptions, wholeNumber } from '../support/options.ts';
import { showProgress } from '../support/progress.ts';
import { kinds } from './kinds.ts';
import { reportText } from './report.ts';
import { changes } from './rows/kinds.ts';
import { type FaultOptions, type Report, runFaults } from './run.ts';

const usage =
  'usage: npm run faults -- [--minutes 30] [--seed N] [--workers 4] [--rows] [--once] [--only NAME,NAME] [--json]\n';

type Options = Omit<FaultOptions, 'stop'> & { readonly json: boolean };

/** Throws a TypeError with one sentence for whatever is not allowed. */
function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      minutes: { type: 'string', default: '30' },
      seed: { type: 'string' },
      workers: { type: 'string' },
      rows: { type: 'boolean', default: false },
      only: { type: 'string' },
      once: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
  });
  return {
    seed: values.seed === undefined ? Date.now() % 1_000_000 : wholeNumber('--seed', values.seed),
    minutes: wholeNumber('--minutes', values.minutes, 1),
    workers: wholeNumber('--workers', values.workers ?? (values.rows ? '2' : '4'), 2),
    mailboxes: values.rows ? 16 : 40,
    rows: values.rows,
    messagesPerS: 3,
    once: values.once,
    lastS: null,
    only: values.only === undefined ? null : namesOf(values.only),
    json: values.json,
  };
}

/** Names may hold commas themselves: `mail cut, all`. */
function namesOf(text: string): readonly string[] {
  const byLength = [...kinds, ...changes].map(({ name }) => name).toSorted((one, other) => other.length - one.length);
  const names: string[] = [];
  for (let rest = text.trim(); rest !== ''; ) {
    const name = byLength.find((known) => rest === known || rest.startsWith(`${known},`));
    if (name === undefined) throw new TypeError(`--only: no fault is named ${rest}; there are: ${byLength.join('; ')}`);
    names.push(name);
    rest = rest.slice(name.length + 1).trim();
  }
  return names;
}

async function runVisibly(campaign: Omit<FaultOptions, 'stop'>): Promise<Report> {
  using progress = showProgress(process.stderr, campaign.once ? null : campaign.minutes);
  using stop = stopSignal(() => process.exit(130));
  stop.addEventListener('abort', () => progress.news('ending early; once more to end at once'));
  return await runFaults({ ...campaign, stop }, progress);
}

/** The exit code. */
async function main(options: Options): Promise<number> {
  const { json, ...campaign } = options;
  const report = await runVisibly(campaign);
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : reportText(report));
  return report.violations.length === 0 ? 0 : 1;
}

if (import.meta.main)
  process.exitCode = await runWithOptions(process.argv.slice(2), { usage, read: readOptions, run: main });
