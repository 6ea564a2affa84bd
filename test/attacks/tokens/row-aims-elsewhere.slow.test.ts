/**
 * A writer of the database points mailboxes with a grant at servers of their own, or at the mailbox of another person:
 * no connection is made, no token is opened, and the provider is asked for none.
 */
import { readFile } from 'node:fs/promises';
import { createServer as createPlain, type Socket } from 'node:net';
import { createServer as createSecure } from 'node:tls';
import { afterAll, beforeAll, expect, test } from 'vitest';
import type { Connection } from '../../../src/ingest/model.ts';
import { mail, opened } from '../../support/instance.ts';
import { startProvider, type TestProvider } from '../../support/oauth/provider.ts';
import { openTokenSetting } from '../../support/oauth/token-setting.ts';
import { type Daemon, type LogLine, named } from '../../support/processes/daemon.ts';
import { until } from '../../support/promises.ts';
import { readCertificates } from '../../support/servers/authority.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';
import { runSql } from '../../support/sql.ts';

let provider: TestProvider;
let dovecot: Dovecot;

beforeAll(async () => {
  provider = await startProvider();
  dovecot = await startDovecot({ tokens: { mode: 'introspection', provider } });
});

afterAll(async () => {
  await dovecot[Symbol.asyncDispose]();
  await provider[Symbol.asyncDispose]();
});

type Listener = { readonly port: number; readonly seen: { connections: number; bytes: number } } & AsyncDisposable;

/** Greets as a mail server, with the certificate that every mailbox here trusts; counts what it is sent. */
async function listen(isTls: boolean): Promise<Listener> {
  const files = await readCertificates(await certificatesTemplate(), 'good');
  const [cert, key] = await Promise.all([readFile(files.certificateFile), readFile(files.keyFile)]);
  const seen = { connections: 0, bytes: 0 };
  const greet = (socket: Socket): void => {
    seen.connections += 1;
    socket.on('error', () => undefined).on('data', (piece) => (seen.bytes += piece.length));
    socket.write('* OK [CAPABILITY IMAP4rev1 SASL-IR AUTH=XOAUTH2] ready\r\n');
  };
  const server = isTls ? createSecure({ cert, key }, greet) : createPlain(greet);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' ? (address?.port ?? 0) : 0;
  return { port, seen, [Symbol.asyncDispose]: async () => void server.close() };
}

function codeOf(line: LogLine): unknown {
  return (line['error'] as { readonly code?: string } | undefined)?.code;
}

/** Fails and says why; `after`: lines that are older do not count. */
function untilFails(daemon: Daemon, mailbox: string, code: string, after = 0): Promise<unknown> {
  return until(`${mailbox} fails`, async () =>
    daemon.lines
      .slice(after)
      .some((line) => named('poll.failed')(line) && line['mailbox'] === mailbox && codeOf(line) === code),
  );
}

async function tokenRequests(): Promise<number> {
  const { counters } = await provider.report();
  return Object.entries(counters).reduce(
    (sum, [name, times]) => sum + (/^(client_cred|refresh)/.test(name) ? times : 0),
    0,
  );
}

test('rows that name another server, no TLS, authorities or a pin of their own, or another user, get no token', async () => {
  await using secure = await listen(true);
  await using plain = await listen(false);
  await using setting = await openTokenSetting({ provider, dovecot }, [
    { name: 'app', as: 'key', lines: ['mailboxes = ["support@example.test"]'] },
  ]);
  const user = 'support@example.test';
  const elsewhere: Readonly<Record<string, Partial<Connection>>> = {
    port: { port: secure.port },
    host: { host: '127.0.0.1', port: secure.port },
    clear: { port: plain.port, tls: 'none', allowPlaintext: true },
    starttls: { port: plain.port, tls: 'starttls' },
    authorities: { caPem: dovecot.caPem },
    pin: { fingerprint: dovecot.fingerprint.replaceAll(':', '').toLowerCase() },
  };
  for (const [name, connection] of Object.entries(elsewhere)) await setting.add(user, 'app', { name, connection });
  await setting.add('boss@example.test', 'app', { name: 'boss' });
  const daemon = await setting.start();
  for (const name of Object.keys(elsewhere)) await untilFails(daemon, name, 'token_bound_elsewhere');
  await untilFails(daemon, 'boss', 'oauth_mailbox_not_listed');
  expect([secure.seen, plain.seen]).toEqual(Array(2).fill({ connections: 0, bytes: 0 }));
  expect(await tokenRequests()).toBe(0);
  expect(await dovecot.log()).not.toContain('boss@example.test');
});

test.each(['off', 'on'])('a mailbox that is moved while its token is stored, encryption %s', async (state) => {
  await using secure = await listen(true);
  await using setting = await openTokenSetting({ provider, dovecot }, [{ name: 'app', as: 'key' }]);
  const user = `moved-${state}@example.test`;
  await setting.add(user, 'app', { name: 'moved' });
  const daemon = await setting.start();
  if (state === 'on') await setting.command('encryption', 'enable', '--accept-key-loss', '--backup-prepared');
  await dovecot.append(user, 'INBOX', [mail(`moved-${state}`)]);
  await until('its ticket', async () => opened(daemon) === 1);
  const url = `sqlite:${setting.databaseFile}`;
  const change = async (set: string, code: string): Promise<void> => {
    const after = daemon.lines.length;
    await runSql(url, `update mailboxes set ${set}`);
    await untilFails(daemon, 'moved', code, after);
  };
  const before = await tokenRequests();
  await change(`port = ${secure.port}`, 'token_bound_elsewhere');
  await change(`host = '127.0.0.1'`, 'token_bound_elsewhere');
  await change(`tls_mode = 'none', allow_plaintext = 1`, 'token_bound_elsewhere');
  await change(
    `host = 'localhost', port = ${dovecot.tlsPort}, tls_mode = 'implicit', username = 'boss@evil.test'`,
    'oauth_mailbox_not_listed',
  );
  expect(secure.seen).toEqual({ connections: 0, bytes: 0 });
  expect(await tokenRequests()).toBe(before);
});
