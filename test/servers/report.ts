/** The matrix as text: a row for each check, a column for each server; what is wrong and what is missing, in full. */
import { columnsText } from '../bench/measure/columns.ts';
import { databaseChecks } from './database-checks.ts';
import { imapChecks } from './imap-checks.ts';
import type { Matrix, Row } from './run.ts';

export function matrixText({ imap, databases, tour }: Matrix): string {
  const moves = imap.map(({ name }) => {
    const own = tour.moves.filter(({ to }) => to === name);
    return own.length === 0 ? '-' : `${own.filter(({ problem }) => problem === null).length} of ${own.length}`;
  });
  const lacks = imap.map((row) => (row.missing === null ? row.lacks.join(' ') || 'nothing' : '-'));
  return [
    tableText(imap, imapChecks, [
      ['move here from each other', ...moves],
      ['lacks', ...lacks],
    ]),
    tour.moves.length === 0
      ? ''
      : `One mailbox of 80 messages moved ${tour.moves.length} times: ${tour.messages} tickets and replies at the end.\n`,
    tableText(databases, databaseChecks, []),
    'Each IMAP server with SQLite, each database with Dovecot; not every server with every database.\n',
    ...violations({ imap, databases, tour }).map((text) => `wrong: ${text}\n`),
  ].join('\n');
}

function tableText(
  rows: readonly Row[],
  checks: readonly { readonly name: string }[],
  more: readonly (readonly string[])[],
): string {
  if (rows.length === 0) return '';
  const cell = (row: Row, index: number): string => {
    if (row.missing !== null) return '-';
    const { ok = false, text = '' } = row.cells[index] ?? {};
    return ok ? text : 'WRONG';
  };
  const table = columnsText(
    ['', ...rows.map(({ name }) => name)],
    [
      ['version', ...rows.map(({ version }) => version ?? 'missing')],
      ...checks.map(({ name }, index) => [name, ...rows.map((row) => cell(row, index))]),
      ...more,
      ['minutes', ...rows.map(({ missing, seconds }) => (missing === null ? (seconds / 60).toFixed(1) : '-'))],
    ],
  );
  const missing = rows.flatMap(({ name, missing }) => (missing === null ? [] : [`missing: ${name}: ${missing}\n`]));
  return table + missing.join('');
}

/** One sentence for each. */
export function violations({ imap, databases, tour }: Matrix): readonly string[] {
  const cells = (rows: readonly Row[], checks: readonly { readonly name: string }[]): readonly string[] =>
    rows.flatMap((row) =>
      row.cells.flatMap(({ ok, text }, index) => (ok ? [] : [`${row.name}, ${checks[index]?.name}: ${text}`])),
    );
  const moves = tour.moves.flatMap(({ from, to, problem }) =>
    problem === null ? [] : [`move from ${from} to ${to}: ${problem}`],
  );
  return [...cells(imap, imapChecks), ...moves, ...cells(databases, databaseChecks)];
}
