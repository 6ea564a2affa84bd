import { once } from 'node:events';
import { createConnection, createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { sendControlRequest } from '../../../src/adapters/control/client.ts';
import { type ControlHandlers, startControlServer } from '../../../src/adapters/control/server.ts';
import { Failure } from '../../../src/errors.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

let folder: TemporaryFolder;
let path: string;

beforeEach(async () => {
  folder = await temporaryFolder('control');
  path = join(folder.path, 'control.sock');
});

afterEach(() => folder[Symbol.asyncDispose]());

const echo: ControlHandlers = {
  recover: async (who) => ({ done: 'recover', who }),
  disable: async (who) => ({ done: 'disable', who }),
  log_level: async (who, level) => ({ done: 'log_level', who, level }),
};

const request = { command: 'recover', who: 'ann@desk' } as const;

async function connected(): Promise<Socket> {
  const socket = createConnection(path);
  socket.on('error', () => undefined);
  await once(socket, 'connect');
  return socket;
}

async function failureOf(work: Promise<unknown>): Promise<Failure> {
  const error: unknown = await work.then(
    () => null,
    (thrown) => thrown,
  );
  if (error instanceof Failure) return error;
  throw new Error(`no failure: ${String(error)}`);
}

describe('time limits of the control socket', () => {
  test('a request that takes longer than the timeout is waited for while heartbeats arrive', async () => {
    const slow = async (): Promise<object> => {
      await wait(6500);
      return { done: 'at last' };
    };
    await using _server = await startControlServer(path, { ...echo, disable: slow });
    expect(await sendControlRequest(path, { ...request, command: 'disable' })).toEqual({ done: 'at last' });
  });

  test('a client that never ends its request is closed after 5 seconds', async () => {
    await using _server = await startControlServer(path, echo);
    const startedAt = performance.now();
    const socket = await connected();
    socket.write('POST /recover HTTP/1.1\r\n');
    const drip = setInterval(() => socket.write('X'), 200);
    socket.resume();
    await new Promise((resolve) => socket.once('close', resolve));
    clearInterval(drip);
    expect(performance.now() - startedAt).toBeGreaterThan(4500);
    expect(performance.now() - startedAt).toBeLessThan(7500);
  });

  test('a daemon that hangs is daemon_unreachable after 5 seconds', async () => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      socket.resume();
    }).listen(path);
    await once(server, 'listening');
    const startedAt = performance.now();
    const failure = await failureOf(sendControlRequest(path, request));
    server.close();
    await once(server, 'close');
    expect(failure).toMatchObject({
      code: 'daemon_unreachable',
      message: `no daemon answers at ${path} (it does not answer in time)`,
    });
    expect(performance.now() - startedAt).toBeLessThan(8000);
  });
});
