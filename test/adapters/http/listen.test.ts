import { once } from 'node:events';
import { chmod, chown, lstat, mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import { connect, createServer as createNetServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { listenOn } from '../../../src/adapters/http/listen.ts';
import { failureOf } from '../../support/promises.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

let folder: TemporaryFolder;
let path: string;
const servers: Server[] = [];

beforeEach(async () => {
  folder = await temporaryFolder('listen');
  path = join(folder.path, 'page.sock');
});

afterEach(async () => {
  for (const server of servers.splice(0)) server.close();
  await folder[Symbol.asyncDispose]();
});

function listen(group: string | null = null, at = path) {
  const server = createServer((_request, response) => response.end('served'));
  servers.push(server);
  return listenOn(server, { address: { path: at, group }, setting: '[admin] listen', descriptor: null });
}

async function isAnswered(): Promise<boolean> {
  const socket = connect(path);
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

async function mode(): Promise<string> {
  return ((await lstat(path)).mode & 0o777).toString(8);
}

describe('a unix socket', () => {
  test('is for this user alone, and its file is removed at the end', async () => {
    const listening = await listen();
    expect(listening.shown).toBe(`unix:${path}`);
    expect(await mode()).toBe('600');
    expect(await isAnswered()).toBe(true);
    expect(await readdir(folder.path)).toEqual(['page.sock']);
    await listening.end();
    expect(await readdir(folder.path)).toEqual([]);
  });

  test.skipIf(process.getuid?.() !== 0)('with listen_group is for that group too, by number or name', async () => {
    for (const [group, gid] of [
      ['65533', 65_533],
      ['daemon', 1],
    ] as const) {
      const listening = await listen(group);
      expect([await mode(), (await lstat(path)).gid]).toEqual(['660', gid]);
      await listening.end();
    }
  });

  test('for a group that does not exist is a configuration error, and no file remains', async () => {
    const failure = await failureOf(listen('no-such-group'));
    expect(failure).toMatchObject({
      code: 'config_invalid',
      message: 'listen_group: there is no group "no-such-group"',
    });
    expect(await readdir(folder.path)).toEqual([]);
  });

  test('takes the place of one that a killed process left', async () => {
    const former = createNetServer().listen(path);
    await once(former, 'listening');
    // Node removes the file when it closes the server: a link to the socket stays, as after SIGKILL.
    await rename(path, `${path}.kept`);
    former.close();
    await rename(`${path}.kept`, path);
    expect(await isAnswered()).toBe(false);
    await listen();
    expect(await isAnswered()).toBe(true);
  });

  test('does not take the place of a live one, nor of a file', async () => {
    await listen();
    expect(await failureOf(listen())).toMatchObject({
      code: 'address_in_use',
      message: `another process listens at ${path}`,
    });
    const file = join(folder.path, 'file');
    await writeFile(file, 'precious');
    expect(await failureOf(listen(null, file))).toMatchObject({ code: 'refused' });
    expect((await lstat(file)).size).toBe(8);
    expect(await isAnswered()).toBe(true);
  });

  test('in a folder that does not exist yet is tried again', async () => {
    expect(await failureOf(listen(null, join(folder.path, 'later', 's')))).toMatchObject({
      code: 'address_unavailable',
    });
  });
});

describe('a folder in which another user could put a socket of theirs', () => {
  test.each([0o777, 0o775, 0o1777])('with mode %o is refused', async (bits) => {
    const open = join(folder.path, 'open');
    await mkdir(open);
    await chmod(open, bits);
    const failure = await failureOf(listen(null, join(open, 's')));
    expect(failure).toMatchObject({
      code: 'refused',
      message: `cannot listen in ${open}: other users can write there`,
    });
    expect(failure.hint).toContain('chmod 0755');
  });

  test.skipIf(process.getuid?.() !== 0)('because it is theirs is refused', async () => {
    await chown(folder.path, 65_534, 65_534);
    expect(await failureOf(listen())).toMatchObject({ code: 'refused' });
  });
});
