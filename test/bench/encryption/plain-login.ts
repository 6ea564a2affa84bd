/**
 * The control of the search through memory: logs in the way that imapflow documents it, with the password as text.
 *
 * Reads one line of JSON (`host`, `port`, `caPem`, null for a port in clear; `users`) and then the password, to the end
 * of standard input. It logs in as each user, says `ready`, keeps the connections, and ends when it is killed.
 */
import { buffer } from 'node:stream/consumers';
import { ImapFlow } from 'imapflow';

export type PlainLogin = {
  readonly host: string;
  readonly port: number;
  readonly caPem: string | null;
  readonly users: readonly string[];
};

async function logIn({ host, port, caPem }: PlainLogin, user: string, pass: string): Promise<ImapFlow> {
  const tls = caPem === null ? { secure: false, doSTARTTLS: false } : { secure: true, tls: { ca: caPem } };
  const client = new ImapFlow({ host, port, ...tls, auth: { user, pass }, logger: false });
  await client.connect();
  return client;
}

if (import.meta.main) {
  const input = await buffer(process.stdin);
  const lineEnd = input.indexOf('\n');
  const login: PlainLogin = JSON.parse(input.toString('utf8', 0, lineEnd));
  const password = input.toString('utf8', lineEnd + 1);
  input.fill(0);
  const clients = await Promise.all(login.users.map((user) => logIn(login, user, password)));
  process.stdout.write(`ready ${clients.length}\n`);
  setInterval(() => clients.length, 60_000);
}
