/**
 * The mail server of the demo: an IMAP server in this process, on a free loopback port, in memory.
 *
 * It needs no installation and no rights, and forgets everything when it ends. It speaks enough IMAP for one mailbox
 * and no TLS. Ending it cuts the connections that are still open.
 */
import type { AddressInfo, Socket } from 'node:net';
import hoodiecrow from 'hoodiecrow-imap';

export type DemoMailServer = {
  readonly host: '127.0.0.1';
  readonly port: number;
  readonly user: string;
  readonly password: string;
  /** Puts a message into the mailbox, as if it had just arrived. */
  deliver(source: string): void;
} & AsyncDisposable;

const host = '127.0.0.1';
const user = 'help';
const password = 'demo';
const plugins = [
  'ID',
  'AUTH-PLAIN',
  'SASL-IR',
  'NAMESPACE',
  'IDLE',
  'ENABLE',
  'LITERALPLUS',
  'UNSELECT',
  'UIDPLUS',
  'MOVE',
];

/** Starts it with `sources` in its mailbox. */
export async function startMailServer(sources: readonly string[]): Promise<DemoMailServer> {
  const server = hoodiecrow({
    plugins,
    id: { name: 'demo' },
    users: { [user]: { password } },
    storage: { INBOX: { messages: sources.map((raw) => ({ raw })) }, '': {} },
  });
  const open = new Set<Socket>();
  server.server.on('connection', (socket) => {
    open.add(socket);
    socket.once('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.server.once('error', reject);
    server.listen(0, host, resolve);
  });
  const { port } = server.server.address() as AddressInfo;
  return {
    host,
    port,
    user,
    password,
    deliver: (source) => server.appendMessage('INBOX', [], false, source),
    [Symbol.asyncDispose]: () =>
      new Promise((resolve) => {
        server.close(resolve);
        for (const socket of open) socket.destroy();
      }),
  };
}
