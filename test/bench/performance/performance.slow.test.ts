/** Performance report on a few messages: figures, exactness and exit code of each scene. */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const benchFile = join(import.meta.dirname, '../bench.ts');
const long = { timeout: 120_000, tags: ['long'] };
const bench = (...args: readonly string[]) => promisify(execFile)(process.execPath, [benchFile, ...args]);

/** The JSON of a run, whatever its exit code: aims are those of a machine with nothing else to do. */
async function reportOf(...args: readonly string[]): Promise<unknown> {
  const { stdout } = await bench(...args, '--json').catch((error: { readonly stdout: string }) => error);
  return JSON.parse(stdout);
}

/** More than one batch of each mailbox, so that there is a time between commits. */
const sizes = '--count 240 --largest 300 --mailboxes 4 --polls 6 --huge-mb 2 --runs 1'.split(' ');
const scenes: readonly (readonly [scene: string, figures: readonly string[]])[] = [
  ['single', ['messages_per_s', 'client_cpu_s_per_1000', 'peak_rss_mb', 'ratio_to_fetch_and_drop']],
  ['larger', ['ratio', 'memory_ratio', 'messages_per_s', 'small_messages_per_s']],
  ['many', ['ratio', 'messages_per_s', 'single_messages_per_s']],
  ['huge', ['peak_rss_mb', 'same_mailbox_wait_ms', 'other_mailbox_wait_ms']],
  ['empty-poll', ['ratio', 'session_cpu_ms', 'bare_cpu_ms', 'whole_cpu_ms']],
  ['embedded', ['messages_per_s']],
  ['cost', ['fetch_s_per_1000', 'parse_s_per_1000', 'files_s_per_1000', 'database_s_per_1000', 'start_s']],
];

test.concurrent.each(scenes)(
  'the scene %s of the performance report stores everything as it was sent and measures its figures',
  long,
  async (scene, names) => {
    const { scenes: reports } = (await reportOf('--only', scene, ...sizes)) as { readonly scenes: readonly unknown[] };
    const expected = names.map((figure) => expect.objectContaining({ figure, median: expect.any(Number) }));
    expect(reports).toEqual([expect.objectContaining({ scene, exact: true, runs: 1 })]);
    expect(reports).toMatchObject([{ figures: expect.arrayContaining(expected) }]);
  },
);

test('an aim that is not met is marked in the table, and the exit code is 1', long, async () => {
  const failing = bench('performance', '--only', 'embedded', '--count', '20', '--runs', '1');
  await expect(failing).rejects.toMatchObject({
    code: 1,
    stdout: expect.stringMatching(/^ {2}messages per second .* at least 1000 {2}NOT met$/m),
  });
});
