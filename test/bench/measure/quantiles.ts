/** Median, 90th and 99th percentile and maximum of measured times, rounded; null where nothing was measured. */

export type Quantiles = {
  readonly count: number;
  readonly median: number | null;
  readonly p90: number | null;
  readonly p99: number | null;
  readonly max: number | null;
};

export function quantilesOf(values: readonly number[], digits = 0): Quantiles {
  const sorted = values.toSorted((one, other) => one - other);
  // The smallest value that at least this share of all values does not exceed.
  const at = (share: number) => rounded(sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? null, digits);
  return { count: sorted.length, median: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1) };
}

export function rounded(value: number | null, digits: number): number | null {
  return value === null ? null : Number(value.toFixed(digits));
}
