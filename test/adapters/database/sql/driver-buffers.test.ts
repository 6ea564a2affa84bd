/**
 * Zeroization of driver buffers: socket data of a password is wiped, and results are in buffers of their own.
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { detachBytes, readsPasswords, recordForWipe } from '../../../../src/adapters/database/sql/driver-buffers.ts';

function isZero(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte === 0);
}

async function connected(stack: AsyncDisposableStack): Promise<{ client: Socket; server: Socket }> {
  const listener = createServer();
  stack.defer(() => new Promise<void>((resolve) => listener.close(() => resolve())));
  await new Promise<void>((resolve) => listener.listen(0, '127.0.0.1', resolve));
  const accepted = once(listener, 'connection');
  const client = connect((listener.address() as { port: number }).port, '127.0.0.1');
  const [server] = (await accepted) as [Socket];
  stack.defer(() => void client.destroy());
  stack.defer(() => void server.destroy());
  return { client, server };
}

test.each([
  ['select `password` from `mailboxes`', true],
  ['select\n  cast(mailboxes.password as blob) as "password" from "mailboxes"', true],
  ['SELECT name, PASSWORD FROM mailboxes', true],
  ['select `password_form`, `password_key_id` from `mailboxes`', false],
  ['select substr(cast(oauth_grant.refresh as blob), 1, 9) as "refresh" from "oauth_grant"', true],
  ['select `oauth_access`.`access`, `access_form` from `oauth_access`', true],
  ['select `refresh_form`, `access_until` from `oauth_access`', false],
  ['update `mailboxes` set `password` = ?', false],
  ['select 1', false],
])('%j reads passwords: %s', (sql, reads) => {
  expect(readsPasswords(sql)).toBe(reads);
});

test('bytes of rows move into buffers of their own, and the originals are wiped', () => {
  const packet = Buffer.from('name=p4ss;');
  const rows = [{ name: 'a', password: packet.subarray(5, 9), none: null, count: 3 }];
  detachBytes(rows);
  const [row] = rows;
  expect(row).toMatchObject({ name: 'a', none: null, count: 3 });
  expect(Buffer.from(row?.password ?? []).toString()).toBe('p4ss');
  expect(row?.password.buffer.byteLength).toBe(4096);
  expect(packet.toString('latin1')).toBe('name=\0\0\0\0;');
});

test('data received and sent while a socket is recorded arrives unchanged and is zeros afterwards', async () => {
  await using stack = new AsyncDisposableStack();
  const { client, server } = await connected(stack);
  const received: Buffer[] = [];
  client.on('data', (chunk: Buffer) => received.push(chunk));
  const arrived: Buffer[] = [];
  server.on('data', (chunk: Buffer) => arrived.push(chunk));
  const sent = Buffer.from('the password goes out');
  const watch = recordForWipe(client);
  client.write(sent);
  server.write('the password ');
  await sleep(30);
  server.write('comes in');
  await expect.poll(() => Buffer.concat(received).toString()).toBe('the password comes in');
  await expect.poll(() => Buffer.concat(arrived).toString()).toBe('the password goes out');
  watch[Symbol.dispose]();
  expect(received.length).toBeGreaterThan(1);
  for (const chunk of [...received, sent]) expect(isZero(chunk)).toBe(true);
});

test('data after the end of the recording is not wiped', async () => {
  await using stack = new AsyncDisposableStack();
  const { client, server } = await connected(stack);
  const received: Buffer[] = [];
  client.on('data', (chunk: Buffer) => received.push(chunk));
  const sent = Buffer.from('later');
  recordForWipe(client)[Symbol.dispose]();
  client.write(sent);
  server.write('later');
  await expect.poll(() => Buffer.concat(received).toString()).toBe('later');
  expect(sent.toString()).toBe('later');
  expect(client.listenerCount('data')).toBe(1);
  expect(Object.hasOwn(client, 'write')).toBe(false);
});
