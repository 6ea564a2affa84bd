/**
 * Fault proxy: it passes everything on until a fault is set, and again after it.
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, expect, onTestFinished, test } from 'vitest';
import { until } from '../promises.ts';
import { type FaultProxy, startFaultProxy } from './proxy.ts';

/** Sends back what it gets. */
const echo = createServer({ allowHalfOpen: true }, (socket) => {
  socket.on('error', () => socket.destroy());
  socket.pipe(socket);
});
let proxy: FaultProxy;

beforeAll(async () => {
  await new Promise<void>((resolve) => echo.listen(0, '127.0.0.1', resolve));
  const address = echo.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  proxy = await startFaultProxy({ host: '127.0.0.1', port: address.port });
});

beforeEach(() => {
  proxy.fault = { kind: 'none' };
});

afterAll(async () => {
  await proxy[Symbol.asyncDispose]();
  echo.close();
});

function open(): Socket {
  return connect({ host: proxy.host, port: proxy.port, allowHalfOpen: true });
}

/** Text that has arrived so far, and whether the connection has ended. */
function watched(socket: Socket): { text: string; hasEnded: boolean } {
  const seen = { text: '', hasEnded: false };
  socket.setEncoding('latin1').on('data', (text: string) => {
    seen.text += text;
  });
  socket
    .on('error', () => socket.destroy())
    .on('close', () => {
      seen.hasEnded = true;
    });
  onTestFinished(() => void socket.destroy());
  return seen;
}

/** What arrived, and how it ended: in order, by an error code, or not within 200 ms. */
async function answerTo(socket: Socket, bytes: Buffer): Promise<{ got: number; end: string }> {
  let got = 0;
  socket.on('data', (piece: Buffer) => {
    got += piece.length;
  });
  socket.write(bytes);
  const end = await new Promise<string>((resolve) => {
    socket.once('end', () => resolve('end'));
    socket.once('error', (error) => resolve('code' in error ? String(error.code) : error.message));
    setTimeout(() => resolve('silence'), 200);
  });
  socket.destroy();
  return { got, end };
}

test('without a fault everything comes through in both directions', async () => {
  const bytes = Buffer.alloc(3_000_000, 'abc');
  const socket = open();
  socket.end(bytes);
  expect((await buffer(socket)).equals(bytes)).toBe(true);
});

test('latency delays each way', async () => {
  proxy.fault = { kind: 'latency', delayMs: 40 };
  const start = performance.now();
  const socket = open();
  socket.end('hello');
  expect((await buffer(socket)).toString()).toBe('hello');
  expect(performance.now() - start).toBeGreaterThan(78);
});

test('a black hole accepts and answers nothing', async () => {
  proxy.fault = { kind: 'blackhole' };
  expect(await answerTo(open(), Buffer.from('hello'))).toEqual({ got: 0, end: 'silence' });
});

test('a stall comes after exactly so many bytes', async () => {
  proxy.fault = { kind: 'stall_after', bytes: 1_000 };
  expect(await answerTo(open(), Buffer.alloc(5_000))).toEqual({ got: 1_000, end: 'silence' });
});

test('a cut comes after exactly so many bytes, as a reset', async () => {
  proxy.fault = { kind: 'cut_after', bytes: 1_000 };
  expect(await answerTo(open(), Buffer.alloc(5_000))).toEqual({ got: 1_000, end: 'ECONNRESET' });
});

test('refused connections are reset before a byte', async () => {
  proxy.fault = { kind: 'refuse' };
  expect(await answerTo(open(), Buffer.from('hello'))).toEqual({ got: 0, end: 'ECONNRESET' });
});

test('kill ends the connections that are open, and the next one works', async () => {
  const socket = open();
  await new Promise((resolve) => {
    socket.once('data', resolve);
    socket.write('hello');
  });
  const ended = answerTo(socket, Buffer.alloc(0));
  proxy.kill('reset');
  expect((await ended).end).toBe('ECONNRESET');
  expect((await answerTo(open(), Buffer.from('again'))).got).toBe(5);
});

test('what is held back arrives, whole and in order, when the fault ends', async () => {
  const socket = open();
  const seen = watched(socket);
  proxy.fault = { kind: 'hold' };
  socket.write('one ');
  await sleep(100);
  expect(seen.text).toBe('');
  proxy.fault = { kind: 'none' };
  socket.write('two');
  await until('both', () => seen.text === 'one two', 3000);
});

test('a cut resets what is open and refuses what is new, until it is over', async () => {
  const first = open();
  const seen = watched(first);
  await once(first, 'connect');
  await until('it is accepted', () => proxy.open > 0, 3000);
  proxy.fault = { kind: 'cut' };
  await until('the end of the open one', () => seen.hasEnded, 3000);
  expect(await answerTo(open(), Buffer.from('hello'))).toEqual({ got: 0, end: 'ECONNRESET' });
  proxy.fault = { kind: 'none' };
  expect((await answerTo(open(), Buffer.from('again'))).got).toBe(5);
});

test('garbage is as long as the answer and is not the answer, and its connections do not survive it', async () => {
  const socket = open();
  const seen = watched(socket);
  await once(socket, 'connect');
  await until('it is accepted', () => proxy.open > 0, 3000);
  proxy.fault = { kind: 'garbage' };
  socket.write('sixteen letters!');
  await until('as much', () => seen.text.length === 16, 3000);
  expect(seen.text).not.toBe('sixteen letters!');
  proxy.fault = { kind: 'none' };
  await until('its end', () => seen.hasEnded, 3000);
});

test('a throttled proxy passes so many bytes a second', async () => {
  proxy.fault = { kind: 'throttle', bytesPerS: 40_000 };
  const socket = open();
  const seen = watched(socket);
  const startedAt = performance.now();
  socket.write('x'.repeat(12_000));
  await until('all bytes', () => seen.text.length === 12_000, 3000);
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(295);
});
