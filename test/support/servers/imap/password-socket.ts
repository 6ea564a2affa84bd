/**
 * Password checks that Cyrus and Courier ask through a unix socket, answered in this process from the users of the
 * matrix: the protocols of saslauthd (four counted strings) and of Courier's authdaemond (lines).
 */

import { chmodSync } from 'node:fs';
import { createServer } from 'node:net';
import type { Users } from './imap-server.ts';

/** Takes all that has arrived; null: there is more to come. */
type Answer = (request: Buffer) => string | null;

/** Where the maildir of a user is, and who owns it. */
export type Maildirs = { readonly uid: number; readonly gid: number; home(user: string): string };

/** saslauthd: user, password, service and realm, each after its length in two bytes. */
export function listenAsSaslauthd(path: string, users: Users): Promise<AsyncDisposable> {
  return listen(path, (request) => {
    const [user, password, , realm] = countedStrings(request, 4) ?? [];
    if (user === undefined || realm === undefined) return null;
    const name = users.has(user) ? user : `${user}@${realm}`;
    const text = users.get(name) === password ? 'OK' : 'NO';
    return `\0\x02${text}`;
  });
}

function countedStrings(bytes: Buffer, count: number): readonly string[] | null {
  const found: string[] = [];
  for (let at = 0; found.length < count; ) {
    if (bytes.length < at + 2) return null;
    const end = at + 2 + bytes.readUInt16BE(at);
    if (bytes.length < end) return null;
    found.push(bytes.toString('utf8', at + 2, end));
    at = end;
  }
  return found;
}

/** authdaemond: `AUTH length`, then service, `login`, user and password, a line each. */
export function listenAsAuthdaemond(path: string, users: Users, maildirs: Maildirs): Promise<AsyncDisposable> {
  const found = (user: string): string =>
    `UID=${maildirs.uid}\nGID=${maildirs.gid}\nHOME=${maildirs.home(user)}\nADDRESS=${user}\nMAILDIR=Maildir\n.\n`;
  return listen(path, (request) => {
    const text = request.toString('utf8');
    const known = /^PRE \. \S+ (\S+)\n/m.exec(text)?.[1];
    if (known !== undefined) return users.has(known) ? found(known) : 'FAIL\n';
    const head = /^AUTH (\d+)\n/m.exec(text);
    if (head === null) return null;
    const start = Buffer.byteLength(text.slice(0, head.index + head[0].length));
    if (request.length < start + Number(head[1])) return null;
    const [, kind, user = '', password] = request.toString('utf8', start).split('\n');
    return kind === 'login' && users.get(user) === password ? found(user) : 'FAIL\n';
  });
}

async function listen(path: string, answer: Answer): Promise<AsyncDisposable> {
  const server = createServer((socket) => {
    let request: Buffer = Buffer.alloc(0);
    socket.on('error', () => socket.destroy());
    socket.on('data', (piece: Buffer) => {
      request = Buffer.concat([request, piece]);
      const answered = answer(request);
      if (answered !== null) socket.end(Buffer.from(answered));
    });
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(path, resolve);
  });
  chmodSync(path, 0o777);
  return {
    [Symbol.asyncDispose]: () => new Promise((resolve) => void server.close(() => resolve())),
  };
}
