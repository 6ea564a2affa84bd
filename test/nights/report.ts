/** The report of a run of nights for people: a row for each night, and what was not kept. */
import { columnsText } from '../bench/measure/columns.ts';
import type { Row } from './night.ts';
import type { NightsReport } from './run.ts';
import { surfaces } from './surfaces.ts';

const heads = ['night', 'visible after s', 'gone after s', 'false ok s', 'alerts', 'log lines', 'canaries', 'result'];

export function nightsText({ rows, durationS, isWhole }: NightsReport): string {
  const wrong = violations(rows);
  return [
    `${rows.length} nights, ${durationS} s${isWhole ? '' : ' (ended early)'}`,
    '',
    columnsText(heads, rows.map(cellsOf)),
    'False ok: seconds in which the worst surface says that a mailbox is ok while a message of it is overdue.',
    ...rows.flatMap(({ name, missing }) => (missing === null ? [] : [`left out: ${name}: ${missing}`])),
    '',
    ...(wrong.length === 0 ? ['Nothing hidden, lost or doubled.'] : [`${wrong.length} VIOLATIONS`, ...wrong]),
    '',
  ].join('\n');
}

function cellsOf(row: Row): readonly string[] {
  if (row.missing !== null) return [row.name, '-', '-', '-', '-', '-', '-', 'left out'];
  const { sent, lost, doubled } = row.canaries;
  return [
    row.name,
    figure(row.visibleAfterS),
    figure(row.goneAfterS),
    worst(row),
    row.alerts.join(' ') || '-',
    `${row.lines}`,
    `${sent}, ${lost} lost, ${doubled} doubled`,
    row.violations.length > 0 ? 'RED' : 'ok',
  ];
}

function figure(value: number | null): string {
  return value === null ? '-' : value.toFixed(1);
}

/** The surface that was wrong longest. */
function worst({ falseOk }: Row): string {
  if (falseOk === null) return '-';
  const longest = surfaces.toSorted((one, other) => falseOk[other] - falseOk[one])[0] ?? 'readyz';
  return falseOk[longest] === 0 ? '0' : `${falseOk[longest]} (${longest})`;
}

/** One sentence for each. */
export function violations(rows: readonly Row[]): readonly string[] {
  return rows.flatMap(({ name, violations }) => violations.map((text) => `- ${name}: ${text}`));
}
