/** The figures follow from the measured times, and the table says what they mean. */
import { expect, test } from 'vitest';
import type { IngestRun } from './ingest.ts';
import { medianRun, runFigures, tableOf } from './report.ts';

const run: IngestRun = {
  fetchAndDrop: { durationS: 0.5, cpuS: 0.4, bytes: 50_000_000 },
  product: { durationS: 2, wallS: 2.5, cpuS: 3, cpuSByThread: new Map([['main', 1.5]]), peakRssMb: 201.26 },
  verification: {
    ...{ tickets: 950, messages: 1000, attachmentsIdentical: 100 },
    ...{ lost: [], doubled: [], emptyTickets: [], misplaced: [], missingAttachments: ['<a@x>'] },
  },
  exact: false,
};

test('rates are counted over the poll time that the daemon reports', () => {
  expect(runFigures(run, 1000)).toMatchObject({
    ...{ messages_per_s: 500, process_messages_per_s: 400, fetch_and_drop_per_s: 2000, ratio_to_fetch_and_drop: 0.25 },
    ...{ client_cpu_s_per_1000: 3, fetch_and_drop_cpu_s_per_1000: 0.4, peak_rss_mb: 201.3, mean_message_bytes: 50_000 },
    ...{ tickets: 950, messages: 1000, attachments_identical: 100, lost: 0, missing_attachments: 1 },
  });
});

test('without a reported time the rate is that of the whole process, and what was not measured is null', () => {
  const product = { durationS: null, wallS: 2.5, cpuS: null, cpuSByThread: new Map(), peakRssMb: null };
  expect(runFigures({ ...run, product }, 1000)).toMatchObject({
    ...{ messages_per_s: 400, poll_s: null, client_cpu_s_per_1000: null, peak_rss_mb: null },
  });
});

test('the median run is the one in the middle, of an even number the slower one', () => {
  const at = (rate: number) => ({ ...runFigures(run, 1000), messages_per_s: rate });
  expect(medianRun([at(9), at(1), at(5)]).messages_per_s).toBe(5);
  expect(medianRun([at(9), at(1), at(5), at(7)]).messages_per_s).toBe(5);
});

test('the table names the figures, all runs, and whether everything is as it was sent', () => {
  const figures = runFigures(run, 1000);
  const report = {
    ...figures,
    exact: false,
    count: 1000,
    database: 'sqlite',
    node: 'v26.0.0',
    runs: [figures, figures],
  };
  const table = tableOf(report);
  expect(table).toContain('1000 mails into sqlite, Node v26.0.0, median of 2 runs');
  expect(table).toMatch(/messages per second, all runs +500, 500/);
  expect(table).toContain('differs from what was sent');
  expect(tableOf({ ...report, exact: true, peak_rss_mb: null })).toMatch(
    /peak memory, MB +not measured on this system/,
  );
});
