import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { type FaultLink, startFaultLink } from './link.ts';

let stack: AsyncDisposableStack;
let link: FaultLink;

/** A server that says back what it hears. */
beforeEach(async () => {
  stack = new AsyncDisposableStack();
  const server = createServer((socket) => {
    socket.on('error', () => socket.destroy());
    socket.pipe(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  stack.defer(() => new Promise((resolve) => server.close(() => resolve())));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  link = stack.use(await startFaultLink({ host: '127.0.1.9', port: 0 }, { host: '127.0.0.1', port }));
});

afterEach(() => stack.disposeAsync());

type Client = { readonly socket: Socket; heard(): string; ended(): boolean };

async function client(): Promise<Client> {
  const socket = connect({ host: link.host, port: link.port });
  let [heard, hasEnded] = ['', false];
  socket.setEncoding('latin1').on('data', (text: string) => {
    heard += text;
  });
  socket
    .on('error', () => socket.destroy())
    .on('close', () => {
      hasEnded = true;
    });
  stack.defer(() => void socket.destroy());
  await new Promise((resolve) => socket.once('connect', resolve).once('close', resolve));
  return { socket, heard: () => heard, ended: () => hasEnded };
}

const until = (condition: () => boolean) => expect.poll(condition, { timeout: 3_000, interval: 5 }).toBe(true);

test('what a black hole holds back arrives, whole and in order, when the hole closes', async () => {
  const { socket, heard } = await client();
  link.set({ kind: 'blackhole' });
  socket.write('one ');
  await sleep(100);
  expect(heard()).toBe('');
  link.set({ kind: 'none' });
  socket.write('two');
  await until(() => heard() === 'one two');
});

test('a cut resets what is open and refuses what is new, until it is over', async () => {
  const open = await client();
  link.set({ kind: 'cut' });
  await until(open.ended);
  const late = await client();
  await until(late.ended);
  link.set({ kind: 'none' });
  const { socket, heard } = await client();
  socket.write('again');
  await until(() => heard() === 'again');
});

test('garbage is as long as the answer and is not the answer, and its connections do not survive it', async () => {
  const { socket, heard, ended } = await client();
  link.set({ kind: 'garbage' });
  socket.write('sixteen letters!');
  await until(() => heard().length === 16);
  expect(heard()).not.toBe('sixteen letters!');
  link.set({ kind: 'none' });
  await until(ended);
});

test('a delay is waited for in both directions, and a throttled link gives so many bytes a second', async () => {
  const { socket, heard } = await client();
  link.set({ kind: 'delay', delayMs: 100 });
  const startedAt = performance.now();
  socket.write('hello');
  await until(() => heard() === 'hello');
  expect(performance.now() - startedAt).toBeGreaterThanOrEqual(195);
  link.set({ kind: 'throttle', bytesPerS: 40_000 });
  const throttledAt = performance.now();
  socket.write('x'.repeat(12_000));
  await until(() => heard().length === 12_005);
  expect(performance.now() - throttledAt).toBeGreaterThanOrEqual(295);
});
