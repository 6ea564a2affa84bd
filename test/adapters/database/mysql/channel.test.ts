/**
 * Server authentication per channel: TLS, sockets by the folders on their way, and the pinned key.
 */
import { chmodSync, chownSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Channel, channelTo } from '../../../../src/adapters/database/mysql/channel.ts';
import { type TemporaryFolder, temporaryFolder } from '../../../support/temporary.ts';

const stack = new AsyncDisposableStack();
let folder: TemporaryFolder;
beforeAll(async () => {
  folder = stack.use(await temporaryFolder('channel'));
});
afterAll(() => stack.disposeAsync());

const isRoot = process.getuid?.() === 0;

function channelFor(more: {
  tls?: 'verify' | 'off';
  serverKeyPem?: string;
  socketPath?: string;
  host?: string;
}): Channel {
  const { tls = 'off', serverKeyPem = null, socketPath = null, host = '127.0.0.1' } = more;
  return channelTo({ tls, serverKeyPem }, { host, socketPath });
}

/** A socket path in a new folder of this mode, with a file of this owner there. */
function socketIn(name: string, mode: number, owner: number | null): string {
  const path = join(folder.path, name);
  mkdirSync(path);
  chmodSync(path, mode);
  const socket = join(path, 'mysqld.sock');
  if (owner === null) return socket;
  writeFileSync(socket, '');
  if (isRoot) chownSync(socket, owner, 0);
  return socket;
}

test('verified TLS is private, TCP without it is open, or pinned with a key', () => {
  expect(channelFor({ tls: 'verify', host: 'db.example.org' })).toEqual({ kind: 'private' });
  expect(channelFor({})).toEqual({ kind: 'open', why: expect.stringContaining('any user of this machine') });
  expect(channelFor({ host: 'localhost' })).toEqual({ kind: 'open', why: expect.stringContaining('::1') });
  expect(channelFor({ host: 'db.example.org' })).toEqual({ kind: 'open', why: expect.stringContaining('any program') });
  expect(channelFor({ serverKeyPem: 'PEM' })).toEqual({ kind: 'pinned', serverKeyPem: 'PEM' });
});

test('a socket in a folder that others cannot write to is private', () => {
  expect(channelFor({ socketPath: socketIn('own', 0o755, 0) })).toEqual({ kind: 'private' });
  expect(channelFor({ socketPath: socketIn('absent', 0o755, null) })).toEqual({ kind: 'private' });
});

test('a socket in a folder where every user may create files is open, unless its owner keeps its place', () => {
  const shared = { kind: 'open', why: expect.stringContaining('every user may create files') };
  expect(channelFor({ socketPath: socketIn('all', 0o777, 0) })).toEqual(shared);
  expect(channelFor({ socketPath: socketIn('sticky-absent', 0o1777, null) })).toEqual(shared);
  expect(channelFor({ socketPath: socketIn('sticky-root', 0o1777, 0) })).toEqual({ kind: 'private' });
  if (isRoot) expect(channelFor({ socketPath: socketIn('sticky-other', 0o1777, 12_345) })).toEqual(shared);
  expect(channelFor({ socketPath: join(folder.path, 'all', 'mysqld.sock'), serverKeyPem: 'PEM' })).toEqual({
    kind: 'pinned',
    serverKeyPem: 'PEM',
  });
});

test('the folder behind a link counts, and so does the folder of the link', () => {
  const shared = { kind: 'open', why: expect.stringContaining('every user may create files') };
  mkdirSync(join(folder.path, 'real'));
  symlinkSync(join(folder.path, 'real'), join(folder.path, 'all', 'link'));
  expect(channelFor({ socketPath: join(folder.path, 'all', 'link', 'mysqld.sock') })).toEqual(shared);
  symlinkSync(join(folder.path, 'all'), join(folder.path, 'real', 'back'));
  expect(channelFor({ socketPath: join(folder.path, 'real', 'back', 'mysqld.sock') })).toEqual(shared);
});
