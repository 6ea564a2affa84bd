/** The benchmark itself, on a few mails: its JSON, its exactness, its wrong options. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const benchFile = join(import.meta.dirname, 'bench.ts');
const timeoutMs = 120_000;
const bench = (...args: readonly string[]) => promisify(execFile)(process.execPath, [benchFile, ...args]);

test.each(['mariadb', 'sqlite'])(
  'a run on 60 mails into %s stores all of them and prints one JSON object',
  async (database) => {
    const { stdout } = await bench('ingest', '--count', '60', '--database', database, '--json');
    const report: unknown = JSON.parse(stdout);
    const aNumber: unknown = expect.any(Number);
    expect(report).toMatchObject({
      ...{ count: 60, database, node: process.version, exact: true },
      ...{ tickets: 57, messages: 60, attachments_identical: 6 },
      ...{ lost: 0, doubled: 0, empty_tickets: 0, misplaced: 0, missing_attachments: 0 },
      ...{ messages_per_s: aNumber, fetch_and_drop_per_s: aNumber, ratio_to_fetch_and_drop: aNumber, poll_s: aNumber },
    });
  },
  timeoutMs,
);

test.each([
  [['nothing'], 'the benchmarks are: ingest, crash, core-dump, switch-kills, live-switch, switch-size, database-files'],
  [['ingest', '--count', '0'], '--count takes a whole number from 1 on, not 0'],
  [['core-dump', '--mailboxes', '0'], '--mailboxes takes a whole number from 1 on, not 0'],
  [['switch-kills', '--stride', 'x'], '--stride takes a whole number from 1 on, not x'],
  [['ingest', '--database', 'oracle'], '--database takes mariadb or sqlite, not oracle'],
  [['ingest', '--fast'], "Unknown option '--fast'"],
])('%j ends with exit code 2 and says why', async (args, message) => {
  await expect(bench(...args)).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
});
