import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  chmod,
  chown,
  mkdir,
  open,
  readFile,
  rename,
  rm,
  symlink,
  truncate,
  utimes,
  writeFile,
} from 'node:fs/promises';
import { createServer } from 'node:net';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { parseKeySet } from '../../../src/secret/key.ts';
import { runProgram } from '../../support/servers/programs.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';
import { contentOf, failureIn, freshKeys, keyFileIn, pathIn, pause, said } from './setting.ts';

const isRoot = process.geteuid?.() === 0;
const stranger = 54_321;
let folder: TemporaryFolder;
let path = '';

beforeEach(async () => {
  folder = await temporaryFolder('keys');
  path = pathIn(folder.path);
});

afterEach(() => folder[Symbol.asyncDispose]());

const write = (content: Uint8Array, mode = 0o600) => writeFile(path, content, { mode });
/** Its clock is a minute ahead, so every file is old. */
const laterKeyFile = () => keyFileIn(folder.path, { nowMs: () => Date.now() + 60_000 });

describe('a key file', () => {
  test('may be made with head from /dev/urandom', async () => {
    await runProgram('sh', ['-c', 'umask 077; head -c 32 /dev/urandom > "$1"', 'sh', path]);
    const expected = parseKeySet(new Uint8Array(await readFile(path))).map(({ id }) => id);
    expect(said(await keyFileIn(folder.path).read())).toEqual(expected);
  });

  test('holds up to eight keys, and may be closed against writing', async () => {
    const keys = freshKeys(8);
    await write(contentOf(keys), 0o400);
    expect(said(await keyFileIn(folder.path).read())).toEqual(keys.map(({ id }) => id));
  });

  test('is absent when it is not there, and when its folder is not', async () => {
    expect(said(await keyFileIn(folder.path).read())).toBe('absent');
    expect(said(await keyFileIn(join(folder.path, 'missing', 'deeper')).read())).toBe('absent');
  });

  test('that is being written is refused, and read when all of it is there', async () => {
    const keys = freshKeys();
    const keyFile = keyFileIn(folder.path);
    await write(contentOf(keys).subarray(0, 31));
    const failure = failureIn(await keyFile.read());
    expect(failure.code).toBe('key_file_refused');
    expect(failure.message).toContain(path);
    expect(failure.message).toContain('31 bytes');
    await write(contentOf(keys));
    expect(said(await keyFile.read())).toEqual([keys[0]?.id]);
  });

  test.each([0, 1, 33, 257, 288, 8192, 8193, 70_000])('of %i bytes is refused', async (size) => {
    await write(randomBytes(size));
    const failure = failureIn(await keyFileIn(folder.path).read());
    expect(failure.code).toBe('key_file_refused');
    expect(failure.message).toContain(`${size} bytes`);
  });

  test('whose key is all zeros is refused', async () => {
    await write(new Uint8Array(32));
    expect(failureIn(await keyFileIn(folder.path).read()).hint).toContain(`install -m 600 BACKUP ${path}`);
  });
});

describe('a file that breaks a rule is refused, with the repairing command', () => {
  test('a symbolic link, also to a good key file, and one that leads nowhere', async () => {
    const real = join(folder.path, 'real');
    await writeFile(real, contentOf(freshKeys()), { mode: 0o600 });
    await symlink(real, path);
    const failure = failureIn(await keyFileIn(folder.path).read());
    expect(failure.code).toBe('key_file_refused');
    expect(failure.message).toBe(`the key file ${path} is a symbolic link`);
    expect(failure.hint).toContain(`rm ${path}`);
    await rm(real);
    expect(failureIn(await keyFileIn(folder.path).read()).message).toContain('symbolic link');
  });

  test('a folder', async () => {
    await mkdir(path);
    const failure = failureIn(await keyFileIn(folder.path).read());
    expect([failure.code, failure.message]).toEqual(['key_file_refused', `the key file ${path} is a folder`]);
    expect(failure.hint).toContain(`mv ${path} ${path}.aside`);
  });

  test('a named pipe, without waiting for its other end', async () => {
    execFileSync('mkfifo', [path]);
    const failure = failureIn(await keyFileIn(folder.path).read());
    expect([failure.code, failure.message]).toEqual(['key_file_refused', `the key file ${path} is a named pipe`]);
    expect(failure.hint).toContain(`rm ${path}`);
  });

  test('a socket', async () => {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const failure = failureIn(await keyFileIn(folder.path).read());
    expect([failure.code, failure.message]).toEqual([
      'key_file_refused',
      `the key file ${path} is a socket or a device`,
    ]);
    await new Promise((resolve) => server.close(resolve));
  });

  test.runIf(isRoot)('a device, without reading from it', async () => {
    execFileSync('mknod', ['-m', '600', path, 'c', '1', '5']);
    const failure = failureIn(await keyFileIn(folder.path).read());
    expect([failure.code, failure.message]).toEqual(['key_file_refused', `the key file ${path} is a device`]);
  });

  test.each([0o640, 0o604, 0o620, 0o601, 0o666])('a file of mode %o', async (mode) => {
    await write(contentOf(freshKeys()));
    await chmod(path, mode);
    const failure = failureIn(await keyFileIn(folder.path).read());
    expect(failure.code).toBe('key_file_refused');
    expect(failure.message).toContain(`its mode is 0${mode.toString(8)}`);
    expect(failure.hint).toContain(`chmod 600 ${path}`);
  });

  test('a path with odd letters is quoted in the hint, so that the command can be pasted', async () => {
    const odd = join(folder.path, "it's a folder");
    await mkdir(odd);
    await writeFile(pathIn(odd), contentOf(freshKeys()), { mode: 0o644 });
    const { hint } = failureIn(await keyFileIn(odd).read());
    execFileSync('sh', ['-c', hint.slice(hint.indexOf('chmod'))]);
    expect(said(await keyFileIn(odd).read())).toHaveLength(1);
  });

  test('data_dir that is a file', async () => {
    await writeFile(join(folder.path, 'data'), '');
    const failure = failureIn(await keyFileIn(join(folder.path, 'data')).read());
    expect(failure.code).toBe('disk_failed');
    expect(failure.hint).toContain(`ls -ld ${join(folder.path, 'data')}`);
  });

  test.runIf(isRoot)('a file of another user, unless root finds it in the folder of that user', async () => {
    await write(contentOf(freshKeys()));
    await chown(path, stranger, stranger);
    const failure = failureIn(await keyFileIn(folder.path).read());
    expect([failure.code, failure.message]).toEqual([
      'key_file_refused',
      `the key file ${path} belongs to user ${stranger}, who is not root`,
    ]);
    expect(failure.hint).toContain(`chown ${userInfo().username} ${path}`);
    await chown(folder.path, stranger, stranger);
    expect(said(await keyFileIn(folder.path).read())).toHaveLength(1);
    await chown(path, stranger + 1, stranger);
    expect(failureIn(await keyFileIn(folder.path).read()).hint).toContain(`chown ${stranger} ${path}`);
  });
});

describe.runIf(isRoot)('for a service that is not root', () => {
  /** The rights of another user, for the time of `task`. */
  async function asStranger<T>(task: () => Promise<T>): Promise<T> {
    process.seteuid?.(stranger);
    try {
      return await task();
    } finally {
      process.seteuid?.(0);
    }
  }

  beforeEach(() => chown(folder.path, stranger, stranger));

  test('its own file is read', async () => {
    await write(contentOf(freshKeys()));
    await chown(path, stranger, stranger);
    expect(said(await asStranger(() => keyFileIn(folder.path).read()))).toHaveLength(1);
  });

  test('a file that only root can read is refused with the command that gives it over', async () => {
    await write(contentOf(freshKeys()));
    const failure = failureIn(await asStranger(() => keyFileIn(folder.path).read()));
    expect(failure.code).toBe('key_file_refused');
    expect(failure.message).toBe(
      `the key file ${path} cannot be read by user ${stranger}: it belongs to user 0, mode 0600`,
    );
    expect(failure.hint).toContain(`chown ${stranger} ${path}`);
  });

  test('its own file without rights for itself is refused with chmod', async () => {
    await write(contentOf(freshKeys()));
    await chown(path, stranger, stranger);
    await chmod(path, 0);
    expect(failureIn(await asStranger(() => keyFileIn(folder.path).read())).hint).toContain(`chmod 600 ${path}`);
  });

  test('a closed folder is refused with the command that opens it', async () => {
    await write(contentOf(freshKeys()));
    await chown(folder.path, 0, 0);
    const failure = failureIn(await asStranger(() => keyFileIn(folder.path).read()));
    expect(failure.message).toContain(`lies in a folder that user ${stranger} cannot enter`);
    expect(failure.hint).toContain(`chown ${stranger} ${folder.path} && chmod 700 ${folder.path}`);
  });

  test('a file of a third user is refused even when it could be read', async () => {
    await write(contentOf(freshKeys()), 0o644);
    await chmod(path, 0o644);
    await chown(path, stranger + 1, stranger);
    const failure = failureIn(await asStranger(() => keyFileIn(folder.path).read()));
    expect(failure.message).toContain(`belongs to user ${stranger + 1}, who is neither user ${stranger} nor root`);
  });
});

describe('a file that did not change', () => {
  test('is not read again', async () => {
    await write(contentOf(freshKeys()));
    const keyFile = laterKeyFile();
    const first = await keyFile.read();
    expect(await keyFile.read()).toBe(first);
    await utimes(path, 1, 1);
    const second = await keyFile.read();
    expect(second).not.toBe(first);
    expect(await keyFile.read()).toBe(second);
  });

  test('is read again for a while after a change, since two changes may bear the same time', async () => {
    await write(contentOf(freshKeys()));
    const keyFile = keyFileIn(folder.path);
    const first = await keyFile.read();
    expect(await keyFile.read()).not.toBe(first);
  });

  test('is refused as soon as others can read it, and read when it is closed again', async () => {
    await write(contentOf(freshKeys()));
    const keyFile = laterKeyFile();
    await keyFile.read();
    await chmod(path, 0o644);
    expect(said(await keyFile.read())).toBe('key_file_refused');
    await chmod(path, 0o600);
    expect(said(await keyFile.read())).toHaveLength(1);
  });
});

test('each change of the file is seen by the next reading', async () => {
  const [first, second] = [freshKeys(), freshKeys()];
  const keyFile = keyFileIn(folder.path);
  await write(contentOf(first));
  expect(said(await keyFile.read())).toEqual([first[0]?.id]);
  await writeFile(`${path}.new`, contentOf(second), { mode: 0o600 });
  await rename(`${path}.new`, path);
  expect(said(await keyFile.read())).toEqual([second[0]?.id]);
  await write(contentOf(first));
  expect(said(await keyFile.read())).toEqual([first[0]?.id]);
  await truncate(path, 0);
  expect(said(await keyFile.read())).toBe('key_file_refused');
  await rm(path);
  expect(said(await keyFile.read())).toBe('absent');
});

test('readings at the same time are one after the other and agree', async () => {
  const keys = freshKeys(2);
  await write(contentOf(keys));
  const keyFile = keyFileIn(folder.path);
  const readings = await Promise.all(Array.from({ length: 10 }, () => keyFile.read()));
  for (const reading of readings) expect(said(reading)).toEqual(keys.map(({ id }) => id));
});

test('a reading while files come and go is a whole file, nothing, or a refusal, and never hangs', async () => {
  const keys = [freshKeys(1), freshKeys(8)];
  const known = keys.map((set) => set.map(({ id }) => id).join());
  const keyFile = keyFileIn(folder.path);
  let isOver = false;
  const writer = (async () => {
    for (let round = 0; round < 300; round += 1) {
      const content = contentOf(keys[round % 2] ?? []);
      if (round % 3 === 0) await write(content);
      else {
        await writeFile(`${path}.new`, content, { mode: 0o600 });
        await rename(`${path}.new`, path);
      }
    }
    isOver = true;
  })();
  const seen = new Set<string>();
  while (!isOver) {
    const what = said(await keyFile.read());
    seen.add(typeof what === 'string' ? what : what.join());
  }
  await writer;
  for (const what of seen) expect([...known, 'absent', 'key_file_refused']).toContain(what);
  expect(said(await keyFile.read())).toHaveLength(8);
});

describe('a file that changes while it is read', () => {
  /** Does `change` before each of the first `times` calls of a method of an open file. */
  async function disturb(
    method: 'read' | 'stat',
    times: number,
    change: (time: number) => Promise<unknown>,
  ): Promise<Disposable> {
    await using some = await open(folder.path, 'r');
    const prototype: Record<typeof method, (...args: unknown[]) => Promise<unknown>> = Object.getPrototypeOf(some);
    const original = prototype[method];
    let time = 0;
    const spy = vi.spyOn(prototype, method).mockImplementation(async function (this: unknown, ...args) {
      if (time < times) await change(time++);
      return original.apply(this, args);
    });
    return { [Symbol.dispose]: () => spy.mockRestore() };
  }

  test.each([0, 1])('in place is read once more, change %i', async (when) => {
    const [first, second] = [freshKeys(2), freshKeys(2)];
    await write(contentOf(first));
    using _disturbing = await disturb('read', 2, async (time) => {
      if (time !== when) return;
      await pause(20);
      await write(contentOf(second));
    });
    expect(said(await keyFileIn(folder.path).read())).toEqual(second.map(({ id }) => id));
  });

  test.each(['read', 'stat'] as const)('by a replacement is read once more, before its %s', async (method) => {
    const [first, second] = [freshKeys(), freshKeys()];
    await write(contentOf(first));
    await writeFile(`${path}.new`, contentOf(second), { mode: 0o600 });
    using _disturbing = await disturb(method, 1, () => rename(`${path}.new`, path));
    expect(said(await keyFileIn(folder.path).read())).toEqual([second[0]?.id]);
  });

  test('again and again is refused, and read when that ends', async () => {
    await write(contentOf(freshKeys()));
    const keyFile = keyFileIn(folder.path);
    using _disturbing = await disturb('read', 8, async (time) => {
      await pause(20);
      await write(contentOf(freshKeys(1 + (time % 2))));
    });
    const failure = failureIn(await keyFile.read());
    expect([failure.code, failure.message]).toEqual([
      'key_file_refused',
      `the key file ${path} changes while it is read`,
    ]);
    _disturbing[Symbol.dispose]();
    expect(said(await keyFile.read())).not.toBe('key_file_refused');
  });
});

test('the buffer with the content is wiped', async () => {
  await write(contentOf(freshKeys()));
  const seen: Uint8Array[] = [];
  const original = Uint8Array.prototype.subarray;
  const spy = vi.spyOn(Uint8Array.prototype, 'subarray').mockImplementation(function (this: Uint8Array, ...range) {
    const part = original.apply(this, range);
    if (this.buffer.byteLength > 8000 && part.length === 32) seen.push(part as Uint8Array);
    return part as Uint8Array<ArrayBuffer>;
  });
  try {
    await keyFileIn(folder.path).read();
  } finally {
    spy.mockRestore();
  }
  expect(seen.length).toBeGreaterThan(0);
  for (const bytes of seen) expect([...bytes].every((byte) => byte === 0)).toBe(true);
});
