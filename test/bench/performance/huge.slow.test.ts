/**
 * The memory of a daemon that stores one message of 45 MB: at most once what came, what is attached, and what is
 * kept.
 */
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';

const benchFile = join(import.meta.dirname, '../bench.ts');
const peakMbMax = 420;

test('a message of 45 MB is stored as it was sent, in little more memory than it needs once', async () => {
  const args = [...'performance --only huge --huge-mb 45 --count 20 --runs 1'.split(' '), '--json'];
  const { stdout } = await promisify(execFile)(process.execPath, [benchFile, ...args]).catch(
    (error: { readonly stdout: string }) => error,
  );
  const { scenes } = JSON.parse(stdout) as { readonly scenes: readonly Scene[] };
  expect(scenes).toMatchObject([{ scene: 'huge', exact: true }]);
  const peak = scenes[0]?.figures.find(({ figure }) => figure === 'peak_rss_mb')?.median;
  expect(peak).toBeLessThan(peakMbMax);
}, 120_000);

type Scene = { readonly figures: readonly { readonly figure: string; readonly median: number }[] };
