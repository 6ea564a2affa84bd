import { chmod, mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { runCommand } from '../support/processes/daemon.ts';
import { temporaryFolder } from '../support/temporary.ts';

test('a world-writable data folder is refused with the command that restricts it', async () => {
  await using folder = await temporaryFolder('compose');
  const dataDir = join(folder.path, 'data');
  await mkdir(dataDir);
  await chmod(dataDir, 0o777);
  const ended = await runCommand(['mailbox', 'list'], { env: { TICKETMAILD_DATA_DIR: dataDir } });
  expect(ended.code).toBe(3);
  // Root checks the whole path before it becomes the owner.
  const [what, mode] =
    process.getuid?.() === 0
      ? [`${dataDir} is writable by users other than its owner`, 'go-w']
      : [`data_dir ${dataDir} is world-writable`, 'o-w'];
  expect(ended.stderr).toBe(
    `ticketmaild: ${what}\nhint: Restrict it: chmod ${mode} ${dataDir}; then check it for files of others.\n`,
  );
});

test('a data folder that cannot be created fails at once', async () => {
  for (const dataDir of ['/proc/x/y', '/dev/null/x']) {
    const ended = await runCommand(['mailbox', 'list'], { env: { TICKETMAILD_DATA_DIR: dataDir } });
    expect(ended).toMatchObject({
      code: 1,
      stderr: expect.stringMatching(/^ticketmaild: data_dir \S+ cannot be created \(E/),
    });
  }
});
