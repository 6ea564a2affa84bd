/** The report of `many-quiet` as text: one column for each number of mailboxes, and what its aims ask of it. */
import { columnsText } from '../measure/columns.ts';
import { rounded } from '../measure/quantiles.ts';
import type { QuietReport } from './many-quiet.ts';

/** What a poll may be late, and take, at the end of the measured time. */
const lateS = 1.5;

/** A poll begins up to a second after it is due: those at the end of the interval are seen after it. */
export function isPolledOnce({ polls, mailboxes, seconds }: QuietReport): boolean {
  return polls >= Math.floor(mailboxes * (0.99 - lateS / seconds));
}

export function cpuPer1000({ cpuS, polls }: QuietReport): number | null {
  return cpuS.daemon === null ? null : (cpuS.daemon * 1000) / polls;
}

export function ratio(value: number | null, before: number | null): number | null {
  return value === null || before === null || before === 0 ? null : value / before;
}

type Row = readonly [name: string, of: (report: QuietReport) => number | null, digits: number];

const perMinute = (cpuS: number | null, { seconds }: QuietReport) => (cpuS === null ? null : (cpuS * 60) / seconds);

const quietRows: readonly Row[] = [
  ['polls', (one) => one.polls, 0],
  ['messages', (one) => one.messages, 0],
  ['first round, s', (one) => one.firstRoundS, 1],
  ['CPU s per 1,000 polls', cpuPer1000, 2],
  ['CPU s per minute', (one) => perMinute(one.cpuS.daemon, one), 2],
  ['… of the mail server', (one) => perMinute(one.cpuS.dovecot, one), 2],
  ['… of the database', (one) => perMinute(one.cpuS.mariadb, one), 2],
  ['memory, mean, MB', (one) => one.memory.meanMb, 0],
  ['memory, peak, MB', (one) => one.memory.peakMb, 0],
  ['lag, median, ms', (one) => one.lagMs.median, 0],
  ['lag, p99, ms', (one) => one.lagMs.p99, 0],
  ['lag, max, ms', (one) => one.lagMs.max, 0],
  ['poll, median, ms', (one) => one.pollMs.median, 0],
  ['poll, p99, ms', (one) => one.pollMs.p99, 0],
  ['/readyz, median, ms', (one) => one.readyMs.median, 0],
  ['/readyz, max, ms', (one) => one.readyMs.max, 0],
  ['/metrics, median, ms', (one) => one.metricsMs?.median ?? null, 0],
  ['/metrics, max, ms', (one) => one.metricsMs?.max ?? null, 0],
];

/** One column for each size, and beside it by how much each figure has grown. */
export function quietText(intervalS: number, reports: readonly QuietReport[]): string {
  const header = [
    'mailboxes',
    ...reports.flatMap(({ mailboxes }, at) => [`${mailboxes}`, ...(at > 0 ? ['ratio'] : [])]),
  ];
  const rows = quietRows.map(([name, of, digits]) => [
    name,
    ...reports.flatMap((report, at) => {
      const [value, before] = [of(report), reports[at - 1]];
      const grown = before === undefined ? [] : [rounded(ratio(value, of(before)), 2)];
      return [rounded(value, digits), ...grown];
    }),
  ]);
  return `one interval of ${intervalS} s\n${columnsText(header, rows)}`;
}
