/**
 * Fixtures of the MySQL tests: a configuration with other hosts, and a TCP proxy that decides
 * about each chunk in both directions.
 */
import { createServer, connect as dial, type Socket } from 'node:net';
import type { MysqlConfig } from '../../../support/servers/mariadb.ts';

export type Host = { readonly host: string; readonly port: number };

/** The hosts of a configuration. */
export function hostsOf(...hosts: readonly Host[]): Pick<MysqlConfig, 'hosts'> {
  return { hosts: hosts.map(({ host, port }) => ({ host, port })) };
}

/** Called with each chunk; `pass` forwards it, or `other` bytes in its place. */
export type OnChunk = (chunk: Buffer, pass: (other?: Buffer) => void, client: Socket) => void;

export type ChunkProxy = Host & AsyncDisposable;

/** `filter` is called for each connection, so that it can have state of its own. */
export async function startChunkProxy(
  serverPort: number,
  filter: () => { readonly toServer?: OnChunk; readonly toClient?: OnChunk },
): Promise<ChunkProxy> {
  const sockets = new Set<Socket>();
  const passAll: OnChunk = (_chunk, pass) => pass();
  const listener = createServer((client) => {
    const server = dial(serverPort, '127.0.0.1');
    const { toServer = passAll, toClient = passAll } = filter();
    client.on('data', (chunk: Buffer) => toServer(chunk, (other = chunk) => void server.write(other), client));
    server.on('data', (chunk: Buffer) => toClient(chunk, (other = chunk) => void client.write(other), client));
    for (const [one, other] of [[client, server] as const, [server, client] as const]) {
      sockets.add(one);
      one.on('error', () => other.destroy());
      one.on('close', () => other.destroy());
    }
  });
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const { port } = listener.address() as { port: number };
  return {
    ...{ host: '127.0.0.1', port },
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => listener.close(() => resolve()));
    },
  };
}
