import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type Daemon, runCommand, startDaemon } from '../../support/processes/daemon.ts';
import { freePort } from '../../support/servers/programs.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';
import { runInProcess } from '../command-line.ts';

let folder: TemporaryFolder;
let env: Record<string, string>;

beforeEach(async () => {
  folder = await temporaryFolder('sight');
  env = {
    TICKETMAILD_DATA_DIR: join(folder.path, 'data'),
    TICKETMAILD_HTTP_LISTEN: `127.0.0.1:${await freePort()}`,
    TICKETMAILD_POLL_INTERVAL_S: '5',
  };
  const server = ['--host', '127.0.0.1', '--port', '9', '--user', 'desk', '--no-probe', '--password-stdin'];
  const added = await runCommand(['mailbox', 'add', '--name', 'one', ...server], { env, input: 'pw' });
  expect(added).toMatchObject({ code: 0 });
});

afterEach(() => folder[Symbol.asyncDispose]());

async function started(...more: string[]): Promise<Daemon> {
  return startDaemon(['run', ...more], { env, cwd: folder.path });
}

test('status shows a running daemon with its failures, log-level changes its level, and logs reads its log', async () => {
  await using daemon = await started();
  await daemon.waitFor(({ event }) => event === 'daemon.ready');
  await daemon.waitFor(({ event }) => event === 'poll.failed');

  const seen = await runCommand(['status'], { env });
  expect(seen).toMatchObject({ code: 1, stderr: '' });
  expect(seen.stdout).toMatch(/^NOT READY: mailboxes\n/);
  expect(seen.stdout).toMatch(/^one +127\.0\.0\.1 +\d+ x /m);
  expect(seen.stdout).toMatch(/^ {2}connect_refused: .+\n {2}hint: /m);

  expect(await runCommand(['log-level', 'debug'], { env })).toMatchObject({
    code: 0,
    stdout: `pid ${daemon.pid}: info -> debug\n`,
  });
  await daemon.waitFor(({ event, level_now: level }) => event === 'log.level_changed' && level === 'debug');
  // Who asks within a second is given the same answer.
  await wait(1100);
  expect((await runInProcess(['status'], { env })).out).toContain('log level debug');

  daemon.signal('SIGTERM');
  const { code, stdout } = await daemon.exit;
  expect(code).toBe(0);
  const read = await runInProcess(['logs', '--level', 'warn'], { input: stdout });
  expect(read.out).toMatch(/ WARN {2}poll\.failed +one {2}connect_refused: .+ failures=1 /);
  expect(read.out).toMatch(/ WARN {2}log\.level_changed +level_before=info level_now=debug by=/);
  expect(read.out).not.toContain('daemon.ready');
  expect(await runCommand(['status'], { env })).toMatchObject({ code: 1, stdout: '' });
});

test('run --pretty and logs render events equally', async () => {
  await using daemon = await started('--pretty');
  const untilMs = performance.now() + 15_000;
  while (!/poll\.failed/.test(daemon.stdout()) && performance.now() < untilMs) await wait(50);
  daemon.signal('SIGTERM');
  const { stdout } = await daemon.exit;
  expect(stdout).toMatch(/^[\d-]{10} [\d:]{8} WARN {2}poll\.failed {12}one {2}connect_refused: .+\n +hint: /m);
  expect(stdout).not.toContain('{"level"');
});
