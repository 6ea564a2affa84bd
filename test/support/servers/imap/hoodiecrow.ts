/**
 * hoodiecrow, a demonstration server in JavaScript, in this process: with extensions, or with none but STARTTLS.
 *
 * It keeps everything in memory, in folders that all users share. A second one answers at the TLS port with the same
 * folders.
 */
import { readFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import type { AddressInfo, Socket } from 'node:net';
import hoodiecrow from 'hoodiecrow-imap';
import { readCertificates } from '../authority.ts';
import { certificatesTemplate } from '../templates.ts';
import type { ImapServer, Users } from './imap-server.ts';

const base = ['STARTTLS'];
const extensions = [
  ...['ID', 'AUTH-PLAIN', 'SASL-IR', 'NAMESPACE', 'IDLE', 'ENABLE', 'LITERALPLUS', 'UNSELECT'],
  ...['UIDPLUS', 'MOVE', 'CONDSTORE'],
];

export async function startHoodiecrow(users: Users, isExtended: boolean): Promise<ImapServer> {
  const { caPem, caFile, certificateFile, keyFile } = await readCertificates(await certificatesTemplate());
  const credentials = { key: await readFile(keyFile), cert: await readFile(certificateFile) };
  const options = {
    plugins: isExtended ? [...base, ...extensions] : base,
    id: { name: 'hoodiecrow' },
    users: Object.fromEntries([...users].map(([user, password]) => [user, { password }])),
    storage: { INBOX: {}, '': { separator: '/' } },
    credentials,
  };
  await using building = new AsyncDisposableStack();
  const port = await listen({ ...options, secureConnection: false }, building);
  const tlsPort = await listen({ ...options, secureConnection: true }, building);
  const { version } = createRequire(import.meta.url)('hoodiecrow-imap/package.json') as { readonly version: string };
  const undo = building.move();
  return {
    ...{ version, host: 'localhost', port, tlsPort, caPem, caFile },
    ...{ prefix: '', isShared: true, [Symbol.asyncDispose]: () => undo.disposeAsync() },
  };
}

async function listen(options: Parameters<typeof hoodiecrow>[0], building: AsyncDisposableStack): Promise<number> {
  const server = hoodiecrow(options);
  // Each connection listens to it.
  server.setMaxListeners(0);
  const open = new Set<Socket>();
  server.server.on('connection', (socket) => {
    open.add(socket);
    // A client that is killed resets its connection.
    socket.on('error', () => socket.destroy());
    socket.once('close', () => open.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.server.once('error', reject);
    server.listen(0, '127.0.0.1', resolve);
  });
  building.defer(
    () =>
      new Promise((resolve) => {
        server.close(resolve);
        for (const socket of open) socket.destroy();
      }),
  );
  return (server.server.address() as AddressInfo).port;
}
