/**
 * Data remanence after `encryption enable`: its printed lines, run as they are, clear the files of the database of
 * 1,000 old passwords, twice, with the binary log on.
 */
import { describe, expect, test } from 'vitest';
import { type FilesReport, filesRun } from '../bench/encryption/database-files.ts';
import { whyNoMysql } from '../support/servers/mysql.ts';

const options = { mailboxes: 1000, progress: () => undefined };

/** Steps after which a kind of file holds passwords still. */
function leftIn({ steps }: FilesReport): readonly string[] {
  return steps.flatMap(({ step, hits }) =>
    hits.filter(({ count }) => count > 0).map(({ kind, count }) => `${step}: ${count} in ${kind}`),
  );
}

function expectClean(report: FilesReport): void {
  const left = leftIn(report);
  process.stdout.write(`${left.join('\n')}\n`);
  expect(left.filter((line) => line.startsWith('encryption enable')).length).toBeGreaterThan(3);
  expect(report.isClean, left.join('\n')).toBe(true);
}

test('MariaDB', { tags: ['long'], timeout: 300_000 }, async () => {
  expectClean(await filesRun('mariadb', options));
});

const why = whyNoMysql();

describe.skipIf(why !== null)(`MySQL${why === null ? '' : ` (left out: ${why})`}`, { tags: ['long'] }, () => {
  test.each([100, 8])('with a redo log of %i MB', { timeout: 600_000 }, async (redoCapacityMb) => {
    expectClean(await filesRun('mysql', { ...options, redoCapacityMb }));
  });
});
