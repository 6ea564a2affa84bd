/**
 * Floods: connections that pipeline without reading, and requests that are never finished; memory and latency stay
 * bounded.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';

const script = fileURLToPath(new URL('flooded-server.ts', import.meta.url));
const megabyte = 1024 * 1024;

let child: ChildProcess;
let address: string;
let isOver: boolean;
const sockets = new Set<Socket>();

beforeEach(async () => {
  isOver = false;
  child = fork(script, { execArgv: [] });
  [address] = await once(child, 'message');
});

afterEach(async () => {
  isOver = true;
  for (const socket of sockets) socket.destroy();
  child.kill('SIGKILL');
  await once(child, 'exit');
});

async function memory(): Promise<number> {
  child.send('memory');
  const [bytes] = await once(child, 'message');
  return bytes;
}

/** Sends `bytes` repeatedly as long as they are read, reads nothing, and reconnects whenever it is closed. */
function flood(bytes: Buffer): void {
  const socket = connect(Number(new URL(address).port), '127.0.0.1', () => socket.write(bytes));
  sockets.add(socket.pause());
  socket.on('drain', () => socket.write(bytes));
  socket.on('error', () => undefined);
  socket.on('close', () => {
    sockets.delete(socket);
    if (!isOver) setTimeout(flood, 10, bytes);
  });
}

async function answerMs(path: string): Promise<number> {
  const startedAt = performance.now();
  const answer = await fetch(`${address}${path}`, { signal: AbortSignal.timeout(20_000) });
  expect(answer.status).toBe(200);
  await answer.text();
  return performance.now() - startedAt;
}

describe.each([
  ['HTTP/1.1', []],
  ['HTTP/1.0', ['long']],
])('%s', (version, tags) => {
  test('250 connections that pipeline and never read do not fill the memory', { timeout: 60_000, tags }, async () => {
    await answerMs('/readyz');
    const before = await memory();
    const request = Buffer.from(
      `GET /readyz ${version}\r\nHost:localhost\r\nConnection: keep-alive\r\n\r\n`.repeat(2_000),
    );
    for (let index = 0; index < 250; index += 1) flood(request);
    let grown = 0;
    for (let second = 0; second < 8; second += 1) {
      await wait(1_000);
      grown = Math.max(grown, (await memory()) - before);
    }
    isOver = true;
    for (const socket of sockets) socket.destroy();
    const tookMs = await answerMs('/livez');
    expect(grown).toBeLessThan(80 * megabyte);
    expect(tookMs).toBeLessThan(1_000);
  });
});
