/**
 * Figures of one ingest run beside imapflow, from its measured times.
 *
 * Rates are messages per second of the daemon's own poll time, where it reports it, else of the whole process. Figures
 * that this system cannot measure are null.
 */
import type { IngestRun } from '../ingest/ingest.ts';

/** Names with underscores: they are the names in the JSON. */
export type RunFigures = {
  readonly messages_per_s: number;
  readonly peak_rss_mb: number | null;
  readonly client_cpu_s_per_1000: number | null;
  /** By the names of threads; those of one name together. */
  readonly cpu_s_per_1000_by_thread: Readonly<Record<string, number>>;
  readonly ratio_to_fetch_and_drop: number;
  readonly fetch_and_drop_per_s: number;
  readonly fetch_and_drop_cpu_s_per_1000: number | null;
  readonly process_messages_per_s: number;
};

export function runFigures({ fetchAndDrop, product }: IngestRun, count: number): RunFigures {
  const perSecond = count / (product.durationS ?? product.wallS);
  const fetchAndDropPerSecond = count / fetchAndDrop.durationS;
  const per1000 = (cpuS: number | null) => (cpuS === null ? null : rounded((cpuS * 1000) / count, 3));
  return {
    messages_per_s: rounded(perSecond, 1),
    peak_rss_mb: product.peakRssMb === null ? null : rounded(product.peakRssMb, 1),
    client_cpu_s_per_1000: per1000(product.cpuS),
    cpu_s_per_1000_by_thread: Object.fromEntries(
      [...product.cpuSByThread].map(([name, cpuS]) => [name, rounded((cpuS * 1000) / count, 3)]),
    ),
    ratio_to_fetch_and_drop: rounded(perSecond / fetchAndDropPerSecond, 3),
    fetch_and_drop_per_s: rounded(fetchAndDropPerSecond, 1),
    fetch_and_drop_cpu_s_per_1000: per1000(fetchAndDrop.cpuS),
    process_messages_per_s: rounded(count / product.wallS, 1),
  };
}

function rounded(value: number, digits: number): number {
  return Number(value.toFixed(digits));
}
