/**
 * The HTTP server with an application that keeps every request until the test answers it, and clients that send raw
 * bytes.
 */
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Hono } from 'hono';
import { expect } from 'vitest';
import {
  createHttpServer,
  type HttpServerOptions,
  type NodeBindings,
  type NodeEnv,
} from '../../../src/adapters/http/http-server.ts';

export type HeldRequest = NodeBindings & { respond(text: string): void };

const limits = {
  ...{ headBytesMax: 1024, bodyBytesMax: 64, headMs: 5_000, bodyMs: 5_000, connectionMs: 5_000, lingerMs: 100 },
};

export async function openHeldServer(hooks: HttpServerOptions['hooks'] = {}) {
  const requests: HeldRequest[] = [];
  const accepted: Socket[] = [];
  const app = new Hono<NodeEnv>();
  app.all('*', (context) => {
    const { promise, resolve } = Promise.withResolvers<string>();
    requests.push({ ...context.env, respond: resolve });
    return promise.then((text) => context.text(text));
  });
  const open = (socket: Socket): Socket | null => {
    accepted.push(socket);
    return hooks.open === undefined ? socket : hooks.open(socket);
  };
  const server = createHttpServer({ app, headers: { 'x-test': 'yes' }, limits, hooks: { ...hooks, open } });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  const clients: Socket[] = [];
  return {
    /** Those that were whole. */
    requests,
    accepted,
    /** Sends `parts` one after the other, each when the one before was read. */
    async send(parts: readonly string[]): Promise<Socket> {
      const client = connect(port, '127.0.0.1').setNoDelay(true).resume();
      clients.push(client.on('error', () => undefined));
      await once(client, 'connect');
      await expect.poll(() => accepted.length).toBe(clients.length);
      const socket = accepted[clients.length - 1];
      for (const [index, part] of parts.entries()) {
        client.write(part);
        const sent = parts.slice(0, index + 1).join('').length;
        await expect.poll(() => socket?.destroyed === true || socket?.bytesRead === sent, { interval: 1 }).toBe(true);
      }
      return client;
    },
    async [Symbol.asyncDispose]() {
      for (const client of clients) client.destroy();
      const closed = once(server, 'close');
      server.close();
      for (const socket of accepted) socket.destroy();
      await closed;
    },
  };
}
