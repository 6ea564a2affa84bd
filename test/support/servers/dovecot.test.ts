/**
 * The Dovecot that tests run against does what it says: messages, flags, numbers, certificates and passwords.
 */
import { ImapFlow } from 'imapflow';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { newCanary } from '../leaks/canary.ts';
import { type Dovecot, startDovecot } from './dovecot.ts';

let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(() => dovecot[Symbol.asyncDispose]());

function mail(subject: string, end = '\r\n'): Buffer {
  return Buffer.from(['From: ada@example.test', `Subject: ${subject}`, '', 'Hello.', ''].join(end));
}

async function login(user: string, password = 'pw', server = dovecot): Promise<ImapFlow & AsyncDisposable> {
  const client = new ImapFlow({
    host: server.host,
    port: server.tlsPort,
    secure: true,
    auth: { user, pass: password },
    logger: false,
    tls: { ca: server.caPem },
  });
  client.on('error', () => client.close());
  await client.connect();
  return Object.assign(client, { [Symbol.asyncDispose]: () => client.logout() });
}

test('messages get UIDs in their order and arrive byte by byte', async () => {
  const user = dovecot.newUser();
  const messages = Array.from({ length: 30 }, (_, index) => mail(`number ${index + 1}`));
  await dovecot.append(user, 'INBOX', messages.slice(0, 20));
  await using client = await login(user);
  await client.mailboxOpen('INBOX');
  await dovecot.append(user, 'INBOX', messages.slice(20), { flags: ['\\Seen'] });
  await client.noop();
  const fetched = await client.fetchAll('1:*', { uid: true, source: true, size: true });
  expect(fetched.map((message) => [message.uid, message.source?.toString(), message.size])).toEqual(
    messages.map((source, index) => [index + 1, source.toString(), source.length]),
  );
});

test('lone line feeds arrive as CRLF, and the size says so', async () => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('bare', '\n')]);
  await using client = await login(user);
  await client.mailboxOpen('INBOX');
  const [message] = await client.fetchAll('1:*', { source: true, size: true });
  expect(message?.source).toEqual(mail('bare'));
  expect(message?.size).toBe(mail('bare').length);
});

test('flags, dates and folders with names in any script are kept', async () => {
  const user = dovecot.newUser();
  const receivedAt = new Date('2020-02-03T04:05:06Z');
  await dovecot.append(user, 'Büro/日本 & more', [mail('a')], { flags: ['\\Seen', '\\Flagged'], receivedAt });
  await dovecot.createFolder(user, 'Empty');
  await using client = await login(user);
  await client.mailboxOpen('Büro/日本 & more');
  expect((await client.fetchAll('1:*', { internalDate: true })).map((one) => one.internalDate)).toEqual([receivedAt]);
  expect((await client.list()).map((folder) => folder.path)).toContain('Empty');
  expect(await dovecot.listFlags(user, 'Büro/日本 & more')).toEqual(new Map([[1, new Set(['\\Seen', '\\Flagged'])]]));
  expect(await dovecot.listFlags(user, 'Empty')).toEqual(new Map());
});

test('after an expunge the other UIDs stay, after a new UIDVALIDITY they begin at 1 again', async () => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('a'), mail('b'), mail('c')]);
  await dovecot.expunge(user, 'INBOX', [1]);
  const validity = async (): Promise<bigint> => {
    await using client = await login(user);
    return (await client.mailboxOpen('INBOX')).uidValidity;
  };
  const before = await validity();
  expect([...(await dovecot.listFlags(user, 'INBOX')).keys()]).toEqual([2, 3]);
  await dovecot.changeUidValidity(user, 'INBOX');
  expect([...(await dovecot.listFlags(user, 'INBOX')).keys()]).toEqual([1, 2]);
  expect(await validity()).toBeGreaterThan(before);
});

test('the special user has its own password, every other user has pw', async () => {
  const { name, password } = dovecot.specialUser;
  await using client = await login(name, password);
  expect(client.authenticated).toBeTruthy();
  await expect(login(name)).rejects.toThrow();
  await expect(login('anybody', 'wrong')).rejects.toThrow();
});

test('every user has the given password', async () => {
  const password = newCanary();
  await using server = await startDovecot({ password });
  await using client = await login(server.newUser(), Buffer.from(password).toString(), server);
  await expect(login(server.newUser(), 'pw', server)).rejects.toThrow();
  expect(client.authenticated).toBeTruthy();
});

test('a restart cuts every session and comes back with the same mail on the same ports', async () => {
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('a')]);
  const client = await login(user);
  const closed = new Promise((resolve) => client.on('close', () => resolve('closed')));
  await dovecot.restart();
  expect(await closed).toBe('closed');
  expect((await dovecot.listFlags(user, 'INBOX')).size).toBe(1);
  await using again = await login(user);
  expect((await again.mailboxOpen('INBOX')).exists).toBe(1);
});

test.each([
  ['expired', 'CERT_HAS_EXPIRED'],
  ['other_name', 'ERR_TLS_CERT_ALTNAME_INVALID'],
] as const)('a server with the %s certificate is not trusted', async (certificate, code) => {
  await using server = await startDovecot({ certificate });
  await expect(login('anybody', 'pw', server)).rejects.toMatchObject({ code });
});
