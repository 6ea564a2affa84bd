/** Self-test: a Node that is too old is a warning, and no failure. */
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { temporaryFolder } from '../support/temporary.ts';
import { runInProcess } from './command-line.ts';

test('check warns of a Node without security fixes, and ends as without it', async () => {
  await using folder = await temporaryFolder('check');
  const env = { TICKETMAILD_DATA_DIR: join(folder.path, 'data') };
  const outdatedNode = 'Node 26.0.0 lacks security fixes of 26.12.1';
  const [warned, silent] = [
    await runInProcess(['check'], { env, outdatedNode }),
    await runInProcess(['check'], { env }),
  ];
  expect(warned.out).toMatch(/^warning node: Node 26\.0\.0 lacks security fixes of 26\.12\.1\n {8}hint: Use the Node /);
  expect(warned).toEqual({ ...silent, out: expect.stringContaining(silent.out) });
});
