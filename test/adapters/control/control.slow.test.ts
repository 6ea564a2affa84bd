import { once } from 'node:events';
import { createServer } from 'node:net';
import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { sendControlRequest } from '../../../src/adapters/control/client.ts';
import { startControlServer } from '../../../src/adapters/control/server.ts';
import { failureOf } from '../../support/promises.ts';
import { echo, request, socketScene } from './socket-scene.ts';

const { at, connected } = socketScene();

describe('time limits of the control socket', () => {
  test('a request that takes longer than the timeout is waited for while heartbeats arrive', async () => {
    const slow = async (): Promise<object> => {
      await wait(6500);
      return { done: 'at last' };
    };
    await using _server = await startControlServer(at.path, { ...echo, disable: slow });
    expect(await sendControlRequest(at.path, { ...request, command: 'disable' })).toEqual({ done: 'at last' });
  });

  test('a client that never ends its request is closed after 5 seconds', async () => {
    await using _server = await startControlServer(at.path, echo);
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
    }).listen(at.path);
    await once(server, 'listening');
    const startedAt = performance.now();
    const failure = await failureOf(sendControlRequest(at.path, request));
    server.close();
    await once(server, 'close');
    expect(failure).toMatchObject({
      code: 'daemon_unreachable',
      message: `no daemon answers at ${at.path} (it does not answer in time)`,
    });
    expect(performance.now() - startedAt).toBeLessThan(8000);
  });
});
