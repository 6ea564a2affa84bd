/**
 * A stranger's mail server, which rows of the database name as theirs: IMAP (RFC 9051) over TLS and in plain text.
 *
 * Its certificate is good for 127.0.0.1, by the authority that the mailboxes trust, so that TLS stops nothing. It asks
 * for the password in the usual ways, accepts none, and keeps every byte that arrives.
 */
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';
import { createServer as createTlsServer } from 'node:tls';
import { readCertificates } from '../../support/servers/authority.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';

export type Stranger = {
  readonly tlsPort: number;
  readonly port: number;
  /** LOGIN and AUTHENTICATE commands so far. */
  logins(): number;
  /** Whatever arrived, after TLS. */
  received(): Buffer;
} & AsyncDisposable;

export async function startStranger(): Promise<Stranger> {
  const { certificateFile, keyFile } = await readCertificates(await certificatesTemplate());
  const received: Buffer[] = [];
  const sockets = new Set<Socket>();
  let logins = 0;
  const serve = (socket: Socket): void => {
    sockets.add(socket);
    socket.on('close', () => sockets.delete(socket)).on('error', () => undefined);
    socket.write('* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR LITERAL+] ready\r\n');
    let unfinished = '';
    socket.on('data', (piece: Buffer) => {
      received.push(piece);
      const lines = (unfinished + piece.toString('latin1')).split('\r\n');
      unfinished = lines.pop() ?? '';
      for (const line of lines) {
        if (/^\S+ (LOGIN|AUTHENTICATE)\b/i.test(line)) logins += 1;
        socket.write(answerTo(line));
      }
    });
  };
  const certificate = { cert: await readFile(certificateFile), key: await readFile(keyFile) };
  const [tls, plain] = [createTlsServer(certificate, serve), createServer(serve)];
  // One that does not trust the certificate ends the handshake.
  tls.on('tlsClientError', () => undefined);
  return {
    tlsPort: await listening(tls),
    port: await listening(plain),
    logins: () => logins,
    received: () => Buffer.concat(received),
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy();
      await Promise.all([tls, plain].map((server) => new Promise((resolve) => server.close(resolve))));
    },
  };
}

async function listening(server: Server): Promise<number> {
  await once(server.listen(0, '127.0.0.1'), 'listening');
  return (server.address() as AddressInfo).port;
}

function answerTo(line: string): string {
  const [tag = '*', command = ''] = line.split(' ');
  if (/^AUTHENTICATE \S+$/i.test(line.slice(tag.length + 1)) || /\{\d+\}$/.test(line)) return '+ \r\n';
  if (/^CAPABILITY$/i.test(command)) return `* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR LITERAL+\r\n${tag} OK done\r\n`;
  return `${tag} NO [AUTHENTICATIONFAILED] not today\r\n`;
}
