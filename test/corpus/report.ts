/** Report of a corpus run as text: a table per source and field, totals, and the misses. */
import { columnsText } from '../bench/measure/columns.ts';
import { type Checked, type Met, metBy, metOf, share } from './expectations/tally.ts';

const shownCharacters = 400;

export function tableText(checks: readonly Checked[]): string {
  const groups = metBy(checks, ({ mail, field }) => `${mail.source}\t${field}`);
  const rows = [...groups].map(([name, met]) => [...name.split('\t'), ...cells(met)]);
  return columnsText(['source', 'field', 'met', 'stated', 'missed', '%'], rows);
}

/** By field, and in all: of all messages, of those that rules were made on, and of those held out. */
export function summaryText(checks: readonly Checked[]): string {
  const development = checks.filter(({ mail }) => !mail.isHeldOut);
  const heldOut = checks.filter(({ mail }) => mail.isHeldOut);
  const isSplit = development.length > 0 && heldOut.length > 0;
  const parts = isSplit ? [checks, development, heldOut] : [checks];
  const titles = isSplit ? ['all', 'development', 'held out'] : [heldOut.length > 0 ? 'held out' : 'stated'];
  const fields = [...metBy(checks, ({ field }) => field).keys()];
  const row = (name: string, pick: (part: readonly Checked[]) => readonly Checked[]) => [
    name,
    ...parts.flatMap((part) => {
      const met = metOf(pick(part));
      return met.stated === 0 ? [null, null] : [`${met.met}/${met.stated}`, percent(met)];
    }),
  ];
  const rows = fields.map((field) => row(field, (part) => part.filter((check) => check.field === field)));
  const header = ['field', ...titles.flatMap((title) => [title, '%'])];
  return `\n${columnsText(header, [...rows, row('in all', (part) => part)])}`;
}

/** One line a miss, with what was stated and what came. The text of messages is in it: for a screen, not to be kept. */
export function missesText(checks: readonly Checked[], characters = shownCharacters): string {
  const missed = checks.filter(({ met }) => !met);
  const lines = missed.map(
    ({ mail, key, expected, got }) =>
      `${mail.file}\t${key}\n    stated ${shown(expected, characters)}\n    ours   ${shown(got, characters)}`,
  );
  return lines.map((line) => `${line}\n`).join('');
}

function shown(value: unknown, characters: number): string {
  const text = JSON.stringify(value) ?? 'nothing';
  return text.length <= characters ? text : `${text.slice(0, characters)}…`;
}

export function percent(met: Met): string {
  return (100 * share(met)).toFixed(1);
}

function cells(met: Met): readonly (string | number)[] {
  return [met.met, met.stated, met.stated - met.met, percent(met)];
}
