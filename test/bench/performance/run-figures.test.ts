/** Figures of a run follow from the measured times. */
import { expect, test } from 'vitest';
import { noFindings } from '../../support/verification.ts';
import type { IngestRun } from '../ingest/ingest.ts';
import { runFigures } from './run-figures.ts';

const run: IngestRun = {
  fetchAndDrop: { durationS: 0.5, cpuS: 0.4, bytes: 50_000_000 },
  product: { durationS: 2, wallS: 2.5, cpuS: 3, cpuSByThread: new Map([['main', 1.5]]), peakRssMb: 201.26 },
  verification: { tickets: 950, messages: 1000, attachmentsIdentical: 100, findings: noFindings },
  exact: true,
};

test('rates are counted over the poll time that the daemon reports', () => {
  expect(runFigures(run, 1000)).toMatchObject({
    ...{ messages_per_s: 500, process_messages_per_s: 400, fetch_and_drop_per_s: 2000, ratio_to_fetch_and_drop: 0.25 },
    ...{ client_cpu_s_per_1000: 3, fetch_and_drop_cpu_s_per_1000: 0.4, peak_rss_mb: 201.3 },
  });
});

test('without a reported time the rate is that of the whole process, and what was not measured is null', () => {
  const product = { durationS: null, wallS: 2.5, cpuS: null, cpuSByThread: new Map(), peakRssMb: null };
  expect(runFigures({ ...run, product }, 1000)).toMatchObject({
    ...{ messages_per_s: 400, client_cpu_s_per_1000: null, peak_rss_mb: null },
  });
});
