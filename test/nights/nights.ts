/**
 * `npm run nights`: canary bench. Everything that breaks at night is broken once under a real systemd, while a message
 * every few seconds shows whether mail flows, and every surface is asked each second what it says about it.
 *
 * Exit code 1 when a limit is broken, 2 for a wrong option. As root, with systemd; `--only` takes names of nights or
 * groups, or a part of them. The first Ctrl-C ends it early, the second at once; neither leaves anything.
 */
import { parseArgs } from 'node:util';
import { stopSignal } from '../demo/stop-signals.ts';
import { runWithOptions, wholeNumber } from '../support/options.ts';
import { showProgress } from '../support/progress.ts';
import { whyNoSystemd } from '../support/systemd/systemd.ts';
import { nights } from './catalogue/catalogue.ts';
import type { Night } from './night.ts';
import { nightsText, violations } from './report.ts';
import { type NightsOptions, type NightsReport, runNights } from './run.ts';

const usage = 'usage: npm run nights -- [--only NAME,NAME] [--lanes 3] [--json]\n';

type Options = Omit<NightsOptions, 'stop'> & { readonly json: boolean };

/** Throws a TypeError with one sentence for whatever is not allowed. */
function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      only: { type: 'string' },
      lanes: { type: 'string', default: '3' },
      json: { type: 'boolean', default: false },
    },
  });
  return {
    nights: values.only === undefined ? nights : namedNights(values.only),
    lanes: wholeNumber('--lanes', values.lanes, 1, 8),
    json: values.json,
  };
}

function namedNights(text: string): readonly Night[] {
  const parts = text.split(',').map((part) => part.trim().toLowerCase());
  const fits = ({ name, group }: Night, part: string): boolean => group === part || name.toLowerCase().includes(part);
  const unknown = parts.find((part) => !nights.some((night) => fits(night, part)));
  if (unknown !== undefined)
    throw new TypeError(`--only: nothing is named ${unknown}; there are: ${nights.map(({ name }) => name).join('; ')}`);
  return nights.filter((night) => parts.some((part) => fits(night, part)));
}

async function runVisibly(options: Omit<NightsOptions, 'stop'>): Promise<NightsReport> {
  using progress = showProgress(process.stderr, null);
  using stop = stopSignal(() => process.exit(130));
  stop.addEventListener('abort', () => progress.news('ending early; once more to end at once'));
  return await runNights({ ...options, stop }, progress);
}

/** The exit code. */
async function main({ json, ...options }: Options): Promise<number> {
  const why = await whyNoSystemd();
  if (why !== null) {
    process.stderr.write(`nights: no systemd can be booted here: ${why}\n`);
    return 1;
  }
  const report = await runVisibly(options);
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : nightsText(report));
  return violations(report.rows).length === 0 ? 0 : 1;
}

if (import.meta.main)
  process.exitCode = await runWithOptions(process.argv.slice(2), { usage, read: readOptions, run: main });
