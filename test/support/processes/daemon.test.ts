/**
 * The daemon harness reports each way in which a process can fail, with its output.
 */
import { expect, test } from 'vitest';
import { freePort } from '../servers/programs.ts';
import { temporaryFolder } from '../temporary.ts';
import { runCommand, startDaemon } from './daemon.ts';

test('log lines arrive as objects, and a signal ends the daemon in order', async () => {
  await using folder = await temporaryFolder();
  const env = { TICKETMAILD_DATA_DIR: folder.path, TICKETMAILD_HTTP_LISTEN: `127.0.0.1:${await freePort()}` };
  await using daemon = startDaemon(['run'], { env, cwd: folder.path });
  const ready = await daemon.waitFor((line) => line.event === 'daemon.ready');
  expect(daemon.lines).toContain(ready);
  await expect(daemon.waitFor(() => false, 50)).rejects.toThrow(/no such line within 50 ms\nstdout:\n.*daemon\.ready/s);
  daemon.signal('SIGTERM');
  expect((await daemon.exit).code).toBe(0);
});

test('waiting ends at once, with the output, when the process ends', async () => {
  await using daemon = startDaemon(['no-such-command']);
  await expect(daemon.waitFor(() => true)).rejects.toThrow(/ended before the line came.*no-such-command/s);
});

test('a command is run to its end, with a clean environment', async () => {
  const ended = await runCommand(['--version']);
  expect(ended).toEqual({ code: 0, stdout: expect.stringMatching(/^\d+\.\d+\.\d+\n$/), stderr: '' });
});
