import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCommand } from '../support/daemon.ts';
import { temporaryFolder } from '../support/temporary.ts';

test('a data folder that everybody can write to is refused with the command that closes it', async () => {
  await using folder = await temporaryFolder('compose');
  const dataDir = join(folder.path, 'data');
  await mkdir(dataDir);
  await chmod(dataDir, 0o777);
  const ended = await runCommand(['mailbox', 'list'], { env: { TICKETMAILD_DATA_DIR: dataDir } });
  expect(ended.code).toBe(3);
  expect(ended.stderr).toBe(
    `ticketmaild: data_dir ${dataDir} can be written by everybody\n` +
      `hint: Close it: chmod o-w ${dataDir}; then look for files in it that are not yours.\n`,
  );
});

test('a data folder that cannot be made is told at once', async () => {
  for (const dataDir of ['/proc/x/y', '/dev/null/x']) {
    const ended = await runCommand(['mailbox', 'list'], { env: { TICKETMAILD_DATA_DIR: dataDir } });
    expect(ended).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^ticketmaild: data_dir \S+ cannot be made \(E/),
    });
  }
});
