/** Smoke tests of the benchmarks on a few messages and mailboxes: JSON output, exactness, wrong options, signals. */
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { glob, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { runFolderVariable, temporaryFolder } from '../support/temporary.ts';

const benchFile = join(import.meta.dirname, 'bench.ts');
const timeoutMs = 120_000;
const bench = (...args: readonly string[]) => promisify(execFile)(process.execPath, [benchFile, ...args]);

test('a kill during 60 messages loses none, and one JSON object is printed', { timeout: timeoutMs }, async () => {
  const { stdout } = await bench('crash', '--count', '60', '--kills', '1', '--database', 'sqlite', '--json');
  expect(JSON.parse(stdout)).toMatchObject({
    ...{ kills: 1, tickets: 57, messages: 60, attachmentsIdentical: 6, seen_on_server: 60, reconciled: true },
    ...{ lost: 0, doubled: 0, unknown: 0, empty_tickets: 0, misplaced: 0, missing_attachments: 0 },
  });
});

/** The JSON of a run, whatever its exit code: aims are those of a machine with nothing else to do. */
async function reportOf(...args: readonly string[]): Promise<unknown> {
  type Printed = { readonly stdout: string; readonly stderr: string };
  const { stdout, stderr } = await bench(...args, '--json').catch((error: Printed) => error);
  // Without a report it says why there.
  if (stdout === '') throw new Error(stderr);
  return JSON.parse(stdout);
}

const figures = { count: expect.any(Number), median: expect.any(Number), p99: expect.any(Number) };
const isRight = (aim: string): unknown => expect.arrayContaining([{ aim, met: true }]);

const runs: readonly (readonly [args: readonly string[], expected: object])[] = [
  [
    ['push-latency', '--mailboxes', '3', '--count', '4'],
    {
      hibernating: {
        messages: 4,
        announcedToCommittedMs: figures,
        deliveredToCommittedMs: figures,
        unseen: 0,
        exact: true,
      },
      usual: { messages: 1, exact: true },
    },
  ],
  [
    ['many-quiet', '--mailboxes', '100', '--interval', '6'],
    {
      sizes: [1, 10, 100].map((mailboxes) => ({ mailboxes, lagMs: figures, exact: true, failed: 0 })),
      aims: isRight('each mailbox is polled once an interval'),
    },
  ],
  [
    ['idle-connections', '--mailboxes', '8', '--count', '4', '--interval', '2'],
    { steps: [0, 2, 4, 8].map((open) => ({ open })), messages: 4, exact: true },
  ],
  [
    ['fleet', '--mailboxes', '24', '--count', '10'],
    {
      courses: ['pushed, killed', 'pushed, frozen', 'polled, killed'].map((course) => ({
        ...{ course, waitedS: figures, messages: 10, exact: true },
      })),
    },
  ],
];

test.concurrent.each(runs)(
  '%j does its work correctly and prints one JSON object',
  { timeout: 2 * timeoutMs, tags: ['long'] },
  async (args, expected) => {
    expect(await reportOf(...args)).toMatchObject(expected);
  },
);

test('a start with a filled compile cache takes less CPU time than one without', {
  timeout: timeoutMs,
  tags: ['long'],
}, async () => {
  const report = await reportOf('start-up', '--mailboxes', '10', '--runs', '3');
  const { courses } = report as { courses: readonly { course: string; cpuMs: { median: number } }[] };
  const cpuMs = new Map(courses.map((one) => [one.course, one.cpuMs.median]));
  expect([...cpuMs.keys()]).toEqual(['usual', 'no compile cache', 'no mailboxes']);
  expect(cpuMs.get('usual')).toBeLessThan(cpuMs.get('no compile cache') ?? 0);
});

type WrongOption = readonly [args: readonly string[], message: string];

const wrongOptions: readonly WrongOption[] = [
  [['performance', '--database', 'sqlite'], 'performance needs --database mariadb'],
  [['crash', '--count', '0'], '--count takes a whole number from 1 on, not 0'],
  [['crash', '--fast'], "Unknown option '--fast'"],
];

const furtherWrongOptions: readonly WrongOption[] = [
  [
    ['nothing'],
    'there is no benchmark nothing: they are performance, ingest, crash, core-dump, switch-kills, live-switch, switch-size, token-dump, database-files, ' +
      'push-latency, many-quiet, idle-connections, start-up, fleet',
  ],
  [
    ['--only', 'nothing'],
    '--only takes a scene of the performance report: single, larger, many, huge, empty-poll, embedded, cost',
  ],
  [['crash', '--only', 'single'], 'crash takes no --only'],
  [['single'], 'single is a scene of the performance report: --only single'],
  [['performance', 'extra'], 'there is no benchmark extra'],
  [['--largest', 'x'], '--largest takes a whole number from 2000 on, not x'],
  [['--count', '300', '--largest', '299'], '--largest takes a whole number from 300 on, not 299'],
  [['--huge-mb', '50'], '--huge-mb takes a whole number from 1 to 49, not 50'],
  [['fleet', '--database', 'sqlite'], 'fleet needs --database mariadb'],
  [['many-quiet', '--interval', '0'], '--interval takes a whole number from 1 on, not 0'],
  [['core-dump', '--mailboxes', '0'], '--mailboxes takes a whole number from 1 on, not 0'],
  [['switch-kills', '--stride', 'x'], '--stride takes a whole number from 1 on, not x'],
  [['crash', '--database', 'oracle'], '--database takes mariadb or sqlite, not oracle'],
];

describe.each([
  { options: wrongOptions, tags: [] },
  { options: furtherWrongOptions, tags: ['long'] },
])('wrong options', ({ options, tags }) => {
  test.each(options)('%j ends with exit code 2 and names the reason', { tags }, async (args, message) => {
    await expect(bench(...args)).rejects.toMatchObject({ code: 2, stderr: expect.stringContaining(message) });
  });
});

test.each(['SIGINT', 'SIGTERM'] as const)(
  '%s leaves no folder and no server behind',
  { tags: ['long'] },
  async (signal) => {
    // A short name: the path of a socket of Dovecot has at most 107 bytes.
    await using folder = await temporaryFolder('cut');
    const env = { ...process.env, TMPDIR: folder.path, [runFolderVariable]: undefined };
    const child = spawn(process.execPath, [benchFile, '--only', 'single', '--runs', '1'], { env, stdio: 'pipe' });
    // Dovecot runs then, and a program with children of its own makes the data folder of MariaDB.
    const madeNow = () => Array.fromAsync(glob('ticketmaild-*/mariadb-template.*', { cwd: folder.path }));
    await expect.poll(async () => (await madeNow()).length, { timeout: 30_000, interval: 10 }).toBe(1);
    child.kill(signal);
    const [code] = await once(child, 'close');
    expect(code).toBe(signal === 'SIGINT' ? 130 : 143);
    expect(await readdir(folder.path)).toEqual([]);
  },
);
