/**
 * Known differences: statements that are not met, one line each, with the reason, in `known-differences.tsv`.
 *
 * A miss that is not listed is a violation, and so is a listed one that is met, or that nothing states any more: the
 * list says neither less nor more than what is so. `undecided` is no reason. Lines hold the name of a file and of a
 * field, and nothing of the message itself.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Checked } from './tally.ts';

/** Kinds of reasons. */
const categories = {
  upstream: 'the suite states what its own program makes of the mail, and the mail says something else',
  counting: 'parts are counted, named or typed by another rule',
  model: 'kept in another form, so that it cannot be compared',
  policy: 'decided otherwise, on purpose',
  unsure: 'the mail does not tell; the suite guesses, or has knowledge of one program that is not general',
  defect: 'ours, and not mended',
} as const;

export type KnownDifference = {
  readonly file: string;
  readonly key: string;
  readonly category: string;
  readonly reason: string;
};

const path = join(import.meta.dirname, 'known-differences.tsv');
const undecided = 'undecided';
const header = 'file\tfield\tcategory\treason';

export function readKnownDifferences(): readonly KnownDifference[] {
  const rows = readFileSync(path, 'utf8').split('\n').slice(1);
  return rows
    .filter((row) => row !== '')
    .map((row) => {
      const [file = '', key = '', category = '', reason = ''] = row.split('\t');
      return { file, key, category, reason };
    });
}

/** What is wrong with the list, seen from what a run found. */
export function differenceViolations(checks: readonly Checked[], known: readonly KnownDifference[]): readonly string[] {
  const stated = new Map(checks.map((check) => [nameOf(check.mail.file, check.key), check]));
  const listed = new Set(known.map(({ file, key }) => nameOf(file, key)));
  const unlisted = checks.filter(({ met, mail, key }) => !met && !listed.has(nameOf(mail.file, key)));
  return [
    ...unlisted.map(({ mail, key }) => `${mail.file}, ${key}: missed, and not a known difference`),
    ...known.flatMap((difference) => {
      const { file, key } = difference;
      const check = stated.get(nameOf(file, key));
      if (check === undefined) return [`${file}, ${key}: a known difference, and nothing states it`];
      return check.met ? [`${file}, ${key}: a known difference, and met now: strike it out`] : undecidedOf(difference);
    }),
  ];
}

function undecidedOf({ file, key, category, reason }: KnownDifference): readonly string[] {
  if (reason.trim() === '' || reason.startsWith(undecided))
    return [`${file}, ${key}: a known difference without a reason`];
  return category in categories ? [] : [`${file}, ${key}: there is no category ${category}`];
}

/** Strikes out what is met, and adds what is missed, without a reason; the reasons that are there stay. */
export function writeKnownDifferences(checks: readonly Checked[], known: readonly KnownDifference[]): void {
  const reasons = new Map(known.map((difference) => [nameOf(difference.file, difference.key), difference]));
  const rows = checks
    .filter(({ met }) => !met)
    .map(
      ({ mail: { file }, key }) =>
        reasons.get(nameOf(file, key)) ?? { file, key, category: undecided, reason: undecided },
    )
    .map(({ file, key, category, reason }) => `${[file, key, category, reason].join('\t')}\n`);
  writeFileSync(path, `${header}\n${rows.sort().join('')}`);
}

function nameOf(file: string, key: string): string {
  return `${file}\t${key}`;
}
