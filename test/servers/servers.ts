/**
 * `npm run servers`: the program against every IMAP server and database that can be had here, with a table as result.
 *
 * Exit code 1 when a cell is wrong, 2 for a wrong option. Servers that are not installed are made once, in the cache
 * beside the npm packages (as root, minutes); one that cannot be had is in the table with its reason. `--only` takes
 * names of IMAP servers (a whole name is that one alone) or a part of them, `--database` the same of databases; `none`
 * leaves them out. The first Ctrl-C ends it before the next server; the second, SIGTERM (as by timeout) and SIGHUP at
 * once. None of them leaves a process.
 */
import { parseArgs } from 'node:util';
import { stopSignal } from '../demo/stop-signals.ts';
import { runWithOptions } from '../support/options.ts';
import { showProgress } from '../support/progress.ts';
import { databases, imapServers } from './catalogue.ts';
import { matrixText, violations } from './report.ts';
import { type Matrix, type MatrixOptions, runMatrix } from './run.ts';

const usage = 'usage: npm run servers -- [--only NAME,NAME] [--database NAME,NAME] [--json]\n';

type Options = Omit<MatrixOptions, 'stop'> & { readonly json: boolean };

/** Throws a TypeError with one sentence for whatever is not allowed. */
export function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: { only: { type: 'string' }, database: { type: 'string' }, json: { type: 'boolean', default: false } },
  });
  const { only, database, json } = values;
  // One kind alone is named: then the other is left out.
  return {
    only: only === undefined ? (database === undefined ? null : []) : namesIn('--only', only, imapServers),
    databases: database === undefined ? (only === undefined ? null : []) : namesIn('--database', database, databases),
    json,
  };
}

function namesIn(option: string, text: string, kinds: readonly { readonly name: string }[]): readonly string[] {
  const names = kinds.map(({ name }) => name);
  return text.split(',').flatMap((part) => {
    const word = part.trim().toLowerCase();
    const exact = names.filter((name) => name.toLowerCase() === word);
    const found = exact.length > 0 ? exact : names.filter((name) => name.toLowerCase().includes(word));
    if (found.length === 0 && word !== 'none')
      throw new TypeError(`${option}: nothing is named ${part}; there are: ${names.join('; ')}`);
    return found;
  });
}

async function runVisibly(options: Omit<MatrixOptions, 'stop'>): Promise<Matrix> {
  using progress = showProgress(process.stderr, null);
  using stop = stopSignal(() => process.exit(130));
  process.once('SIGTERM', () => process.exit(143));
  process.once('SIGHUP', () => process.exit(129));
  stop.addEventListener('abort', () => progress.news('ending before the next server; once more to end at once'));
  return await runMatrix({ ...options, stop }, progress);
}

/** The exit code. */
async function main({ json, ...options }: Options): Promise<number> {
  const matrix = await runVisibly(options);
  process.stdout.write(json ? `${JSON.stringify(matrix)}\n` : matrixText(matrix));
  return violations(matrix).length === 0 ? 0 : 1;
}

if (import.meta.main)
  process.exitCode = await runWithOptions(process.argv.slice(2), { usage, read: readOptions, run: main });
