/**
 * A local user has root read a named pipe with `logs FILE`, to hold the command: without a writer it ends, and one that
 * a writer holds open ends with SIGINT or SIGTERM.
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { constants, open } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { beforeEach, expect, onTestFinished, test } from 'vitest';
import { launcher } from '../../support/processes/launcher.ts';
import { endWithUs, runProgram } from '../../support/servers/programs.ts';
import { temporaryFolder } from '../../support/temporary.ts';

let pipe: string;

beforeEach(async () => {
  const folder = await temporaryFolder('pipe');
  onTestFinished(() => folder[Symbol.asyncDispose]());
  pipe = join(folder.path, 'pipe');
  await runProgram('mkfifo', [pipe]);
});

function logs(...args: string[]) {
  const child = spawn(process.execPath, [launcher, 'logs', pipe, ...args], { stdio: ['ignore', 'pipe', 'inherit'] });
  endWithUs(child, () => void child.kill('SIGKILL'));
  return child;
}

/** What ended it within 10 seconds. */
async function endOf(child: ReturnType<typeof logs>): Promise<unknown> {
  const [code] = await once(child, 'exit', { signal: AbortSignal.timeout(10_000) });
  return code;
}

test('without a writer, it ends at once', { timeout: 20_000 }, async () => {
  const child = logs();
  expect(await endOf(child)).toBe(0);
});

test.each([
  ['SIGINT', 130],
  ['SIGTERM', 143],
] as const)('with a writer that is silent after a line, it ends with %s', { timeout: 20_000 }, async (signal, code) => {
  const child = logs();
  // For reading too: it waits for no reader, and keeps the pipe open.
  await using writer = await open(pipe, constants.O_RDWR);
  await writer.write('a line\n');
  expect(`${(await once(child.stdout, 'data'))[0]}`).toBe('a line\n');
  child.kill(signal);
  expect(await endOf(child)).toBe(code);
});

test('a pipe whose writer pauses is read to its end', { timeout: 20_000 }, async () => {
  const line = 'for n in 1 2 3; do echo "line $n"; sleep 0.4; done';
  const command = `exec "$0" "$1" logs <(${line})`;
  const child = spawn('bash', ['-c', command, process.execPath, launcher], { stdio: ['ignore', 'pipe', 'inherit'] });
  endWithUs(child, () => void child.kill('SIGKILL'));
  expect(await text(child.stdout)).toBe('line 1\nline 2\nline 3\n');
});
