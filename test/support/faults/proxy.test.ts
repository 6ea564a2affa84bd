/**
 * The fault proxy passes everything on, until it is reported not to.
 */
import { connect, createServer, type Socket } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest';
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
