/**
 * The figures of the ingest benchmark, from its runs: one object for machines, one table for people.
 *
 * Rates are messages per second of the daemon's own poll time, where it reports it, else of the whole process. Of
 * several runs the one with the median rate is shown in full. Figures that this system cannot measure are null.
 */
import type { IngestRun } from './ingest.ts';

/** Names with underscores: they are the names in the JSON. */
export type RunFigures = {
  readonly messages_per_s: number;
  readonly tickets: number;
  readonly messages: number;
  readonly attachments_identical: number;
  readonly peak_rss_mb: number | null;
  readonly client_cpu_s_per_1000: number | null;
  /** By the names of threads; those of one name together. */
  readonly cpu_s_per_1000_by_thread: Readonly<Record<string, number>>;
  readonly ratio_to_fetch_and_drop: number;
  readonly fetch_and_drop_per_s: number;
  readonly fetch_and_drop_cpu_s_per_1000: number | null;
  /** Poll time as reported by the daemon; null when it is not. */
  readonly poll_s: number | null;
  readonly process_wall_s: number;
  readonly process_messages_per_s: number;
  readonly mean_message_bytes: number;
  readonly lost: number;
  readonly doubled: number;
  readonly empty_tickets: number;
  readonly misplaced: number;
  readonly missing_attachments: number;
};

export type Report = RunFigures & {
  /** True when every run stored exactly what was sent. */
  readonly exact: boolean;
  readonly count: number;
  readonly database: string;
  readonly node: string;
  readonly runs: readonly RunFigures[];
};

export function runFigures({ fetchAndDrop, product, verification }: IngestRun, count: number): RunFigures {
  const perSecond = count / (product.durationS ?? product.wallS);
  const fetchAndDropPerSecond = count / fetchAndDrop.durationS;
  const per1000 = (cpuS: number | null) => (cpuS === null ? null : rounded((cpuS * 1000) / count, 3));
  return {
    messages_per_s: rounded(perSecond, 1),
    tickets: verification.tickets,
    messages: verification.messages,
    attachments_identical: verification.attachmentsIdentical,
    peak_rss_mb: product.peakRssMb === null ? null : rounded(product.peakRssMb, 1),
    client_cpu_s_per_1000: per1000(product.cpuS),
    cpu_s_per_1000_by_thread: Object.fromEntries(
      [...product.cpuSByThread].map(([name, cpuS]) => [name, rounded((cpuS * 1000) / count, 3)]),
    ),
    ratio_to_fetch_and_drop: rounded(perSecond / fetchAndDropPerSecond, 3),
    fetch_and_drop_per_s: rounded(fetchAndDropPerSecond, 1),
    fetch_and_drop_cpu_s_per_1000: per1000(fetchAndDrop.cpuS),
    poll_s: product.durationS === null ? null : rounded(product.durationS, 3),
    process_wall_s: rounded(product.wallS, 3),
    process_messages_per_s: rounded(count / product.wallS, 1),
    mean_message_bytes: Math.round(fetchAndDrop.bytes / count),
    lost: verification.lost.length,
    doubled: verification.doubled.length,
    empty_tickets: verification.emptyTickets.length,
    misplaced: verification.misplaced.length,
    missing_attachments: verification.missingAttachments.length,
  };
}

/** The run in the middle by its rate; of an even number the slower one of the two. */
export function medianRun(runs: readonly RunFigures[]): RunFigures {
  const sorted = runs.toSorted((one, other) => one.messages_per_s - other.messages_per_s);
  const median = sorted[(sorted.length - 1) >> 1];
  if (median === undefined) throw new RangeError('there is no median of no runs');
  return median;
}

export function tableOf(report: Report): string {
  const median = report.runs.length === 1 ? '' : `, median of ${report.runs.length} runs`;
  const rates = report.runs.map((run) => run.messages_per_s).join(', ');
  const rows: readonly (readonly [label: string, value: string])[] = [
    ['messages per second', String(report.messages_per_s)],
    ['… of the whole process', String(report.process_messages_per_s)],
    ['fetched and dropped per second', String(report.fetch_and_drop_per_s)],
    ['ratio of the two', String(report.ratio_to_fetch_and_drop)],
    ['CPU seconds per 1,000 messages', shown(report.client_cpu_s_per_1000)],
    ['peak memory, MB', shown(report.peak_rss_mb)],
    ['tickets', String(report.tickets)],
    ['messages', String(report.messages)],
    ['attachments identical', String(report.attachments_identical)],
    ['lost, doubled, misplaced', `${report.lost}, ${report.doubled}, ${report.misplaced}`],
    ['empty tickets, missing attachments', `${report.empty_tickets}, ${report.missing_attachments}`],
    ...(report.runs.length === 1 ? [] : [['messages per second, all runs', rates] as const]),
  ];
  const title = `${report.count} mails into ${report.database}, Node ${report.node}${median}`;
  const verdict = report.exact ? 'Everything is stored as it was sent.' : 'What is stored differs from what was sent.';
  return [title, ...rows.map(([label, value]) => `  ${label.padEnd(36)}${value}`), verdict, ''].join('\n');
}

function shown(value: number | null): string {
  return value === null ? 'not measured on this system' : String(value);
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
