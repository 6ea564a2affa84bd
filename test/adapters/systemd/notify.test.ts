import { spawn } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { createServiceManager } from '../../../src/adapters/systemd/notify.ts';
import { ended } from '../../support/servers/programs.ts';
import { startNotifyListener } from '../../support/systemd/listener.ts';
import { temporaryFolder } from '../../support/temporary.ts';

const notifier = fileURLToPath(new URL('../../support/systemd/notifier.ts', import.meta.url));

/** Runs the notifier; returns its output and exit code. */
async function notify(
  socket: string | null,
  calls: readonly string[],
  nodeOptions: readonly string[] = [],
): Promise<{ readonly code: number | string; readonly output: string }> {
  const env = { PATH: process.env.PATH, ...(socket === null ? {} : { NOTIFY_SOCKET: socket }) };
  const quiet = ['--disable-warning=ExperimentalWarning', '--disable-warning=SecurityWarning'];
  const child = spawn(process.execPath, [...quiet, ...nodeOptions, notifier, ...calls], {
    env,
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (piece: string) => {
      output += piece;
    });
  }
  return { code: await ended(child), output };
}

const silent = { code: 0, output: '' };

test.each([['on a path'], ['with an abstract name']])(
  'the service manager receives every message at a socket %s',
  async (kind) => {
    await using folder = await temporaryFolder('notify');
    const path = join(folder.path, 'socket');
    const address = kind === 'on a path' ? path : `@${path}`;
    await using listener = await startNotifyListener(address);
    expect(await notify(address, ['ready', 'status=12 mailboxes', 'reloading', 'heartbeat', 'stopping'])).toEqual(
      silent,
    );
    expect([
      await listener.next(),
      await listener.next(),
      await listener.next(),
      await listener.next(),
      await listener.next(),
    ]).toEqual(['READY=1', 'STATUS=12 mailboxes', 'RELOADING=1\nMONOTONIC_USEC=1234', 'WATCHDOG=1', 'STOPPING=1']);
  },
);

test('a status is one short line of text, whatever is in it', async () => {
  await using folder = await temporaryFolder('notify');
  const address = join(folder.path, 'socket');
  await using listener = await startNotifyListener(address);
  const calls = ['a\nREADY=1', ' a\t\u001b[31mred\u2028\u0085b ', 'ü'.repeat(500), '🙂'.repeat(200), ''];
  expect(await notify(address, [...calls.map((text) => `status=${text}`), 'heartbeat'])).toEqual(silent);
  expect(await listener.next()).toBe('STATUS=a READY=1');
  expect(await listener.next()).toBe('STATUS=a [31mred b');
  expect(await listener.next()).toBe(`STATUS=${'ü'.repeat(199)}…`);
  expect(await listener.next()).toBe(`STATUS=${'🙂'.repeat(200)}`);
  expect(await listener.next()).toBe('STATUS=');
  expect(await listener.next()).toBe('WATCHDOG=1');
});

test('without NOTIFY_SOCKET nothing is sent, and node:ffi is not loaded', async () => {
  const calls = ['ready', 'status=x', 'reloading', 'heartbeat', 'stopping'];
  expect(await notify(null, calls, ['--no-experimental-ffi'])).toEqual(silent);
  const supervisor = createServiceManager({ notifySocket: null, watchdogMs: 10_000, monotonicUs: () => 0n });
  expect(supervisor.watchdogMs).toBe(10_000);
});

test('a service manager that is gone or does not read is no error', async () => {
  await using folder = await temporaryFolder('notify');
  const address = join(folder.path, 'socket');
  expect(await notify(address, ['ready', 'heartbeat'])).toEqual(silent);
  await using listener = await startNotifyListener(address);
  listener.pause();
  const many = Array.from({ length: 3000 }, () => `status=${'x'.repeat(200)}`);
  expect(await notify(address, many)).toEqual(silent);
});

test.each([
  ['a relative path', 'run/notify'],
  ['no name', '@'],
  ['a path that fits no address', `/${'x'.repeat(107)}`],
  ['an abstract name that fits no address', `@${'x'.repeat(108)}`],
])('an invalid socket is an error: %s', async (_what, address) => {
  const { code, output } = await notify(address, ['ready']);
  expect({ code, told: JSON.parse(output) }).toEqual({
    code: 0,
    told: ['config_invalid', 'NOTIFY_SOCKET is neither the path of a socket nor @ and a name', expect.any(String)],
  });
});

test('the longest path and the longest name work', async () => {
  await using folder = await temporaryFolder('notify');
  const short = await mkdtemp(join(tmpdir(), 't-'));
  await using stack = new AsyncDisposableStack();
  stack.defer(() => rm(short, { recursive: true }));
  for (const address of [`${short}/`.padEnd(107, 'x'), `@${folder.path}`.padEnd(108, 'x')]) {
    await using listener = await startNotifyListener(address);
    expect(await notify(address, ['ready'])).toEqual(silent);
    expect(await listener.next()).toBe('READY=1');
  }
});

test.each([
  ['switched off', ['--no-experimental-ffi'], 'TypeError'],
  ['not allowed', ['--permission', '--allow-fs-read=*'], 'ERR_ACCESS_DENIED'],
])('a Node whose node:ffi is %s is an error at the start, with a hint', async (_what, nodeOptions, why) => {
  const { code, output } = await notify('/run/nobody/notify', ['ready'], nodeOptions);
  expect({ code, told: JSON.parse(output) }).toEqual({
    code: 0,
    told: [
      'config_invalid',
      `systemd cannot be notified: node:ffi is unavailable (${why})`,
      expect.stringContaining('--allow-ffi'),
    ],
  });
});
