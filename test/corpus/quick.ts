/**
 * The corpus without servers: parses the messages that something is stated about, and compares, in seconds.
 *
 * What needs a ticket (threads) is left out. Held-out messages are left out too unless `--held-out` asks for them alone
 * or
 * `--split` for the figures of both; their misses are never printed by `--split`. Exit code 2 for a wrong option or a
 * folder that is not there, 1 for a message that cannot be parsed.
 */
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parseMessage } from '../../src/mail/parse.ts';
import { corpusFolder, corpusPresent } from '../mail/corpus.ts';
import { runWithOptions } from '../support/options.ts';
import { checkMail, subjectOf } from './expectations/rules.ts';
import { type CorpusMail, readCorpus } from './expectations/stated.ts';
import { asStored } from './expectations/stored.ts';
import { type Checked, keyed } from './expectations/tally.ts';
import { missesText, summaryText, tableText } from './report.ts';

const usage =
  'usage: node test/corpus/quick.ts [--source NAME] [--field NAME] [--file TEXT] [--held-out | --split] [--misses] [--write-misses FILE]\n';

type Options = {
  readonly source: string | undefined;
  readonly field: string | undefined;
  readonly file: string | undefined;
  readonly heldOut: boolean;
  readonly split: boolean;
  readonly misses: boolean;
  readonly writeMisses: string | undefined;
};

function readOptions(args: readonly string[]): Options {
  const { values } = parseArgs({
    args: [...args],
    options: {
      source: { type: 'string' },
      field: { type: 'string' },
      file: { type: 'string' },
      'held-out': { type: 'boolean', default: false },
      split: { type: 'boolean', default: false },
      misses: { type: 'boolean', default: false },
      'write-misses': { type: 'string' },
    },
  });
  return {
    source: values.source,
    field: values.field,
    file: values.file,
    heldOut: values['held-out'],
    split: values.split,
    misses: values.misses || values.field !== undefined || values.file !== undefined,
    writeMisses: values['write-misses'],
  };
}

async function checksOf(mail: CorpusMail): Promise<readonly Checked[]> {
  if (mail.stated === null) return [];
  const stored = asStored(await parseMessage(mail.read()));
  return keyed(mail, checkMail(subjectOf(mail, mail.stated, stored)));
}

async function main(options: Options): Promise<number> {
  if (!corpusPresent) {
    process.stderr.write(`no corpus in ${corpusFolder} (TICKETMAILD_CORPUS)\n`);
    return 2;
  }
  const messages = readCorpus().filter(
    ({ source, file, isHeldOut }) =>
      (options.source === undefined || source === options.source) &&
      (options.file === undefined || file.includes(options.file)) &&
      (options.split || isHeldOut === options.heldOut),
  );
  const checks: Checked[] = [];
  for (const mail of messages) checks.push(...(await checksOf(mail)));
  print(
    options,
    checks.filter(({ field }) => options.field === undefined || field === options.field),
  );
  return 0;
}

function print(options: Options, checks: readonly Checked[]): void {
  const development = checks.filter(({ mail }) => !mail.isHeldOut);
  const shown = options.heldOut ? checks : development;
  if (options.misses) process.stdout.write(missesText(shown));
  process.stdout.write(options.split ? '' : tableText(checks));
  process.stdout.write(summaryText(checks));
  if (options.writeMisses !== undefined) writeFileSync(options.writeMisses, missesText(development, 100_000));
}

process.stdout.on('error', () => process.exit());
if (import.meta.main)
  process.exitCode = await runWithOptions(process.argv.slice(2), { usage, read: readOptions, run: main });
