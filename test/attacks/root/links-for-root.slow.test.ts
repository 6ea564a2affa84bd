/**
 * The user of the service replaces files of its data folder by links, pipes, devices and folders, and waits for root to
 * run a command: root became that user before, so nothing is made or read beyond what that user may, and nothing hangs.
 */
import { execFileSync } from 'node:child_process';
import { chmod, chown, lchown, mkdir, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Ended, named, runCommand, startDaemon } from '../../support/processes/daemon.ts';
import { type TemporaryFolder, temporaryFolder } from '../../support/temporary.ts';

/** A number without an entry in the list of users, as in a container. */
const service = 41_001;
const other = 41_002;
const isRoot = process.getuid?.() === 0;
const limitMs = 20_000;

let folder: TemporaryFolder;
let dataDir = '';
/** Of root: others may see names in it, and create nothing. */
let rootOnly = '';

beforeAll(async () => {
  folder = await temporaryFolder('root');
  await chmod(folder.path, 0o755);
});
afterAll(() => folder[Symbol.asyncDispose]());

beforeEach(async () => {
  dataDir = join(folder.path, 'data');
  rootOnly = join(folder.path, 'root-only');
  for (const path of [dataDir, rootOnly]) await rm(path, { recursive: true, force: true });
  await mkdir(rootOnly, { mode: 0o755 });
  await mkdir(dataDir, { mode: 0o700 });
  await chown(dataDir, service, service);
});

async function asRoot(args: readonly string[], more: Record<string, string> = {}): Promise<Ended> {
  const env = { TICKETMAILD_DATA_DIR: dataDir, TICKETMAILD_HTTP_LISTEN: 'off', ...more };
  await using command = startDaemon(args, { env, cwd: folder.path });
  const timer = setTimeout(() => command.signal('SIGKILL'), limitMs);
  return await command.exit.finally(() => clearTimeout(timer));
}

const kinds = {
  link: (path: string) => symlink(join(rootOnly, `planted-by-${path.replace(/.*\//, '')}`), path),
  pipe: (path: string) => void execFileSync('mkfifo', [path]),
  device: (path: string) => void execFileSync('mknod', [path, 'c', '1', '3']),
  folder: (path: string) => mkdir(path),
} as const;

async function plant(kind: keyof typeof kinds, name: string): Promise<void> {
  const path = join(dataDir, name);
  await rm(path, { recursive: true, force: true });
  await kinds[kind](path);
  await lchown(path, service, service);
}

const databaseFiles = ['ticketmaild.db', 'ticketmaild.db-wal', 'ticketmaild.db-shm', 'ticketmaild.db-journal'] as const;
const otherFiles = [
  ...['encryption-key.bin', 'switch-state', 'control.sock', 'can-disable-encryption.txt', 'blobs', 'raw'],
  'ticketmaild.db-daemon',
] as const;

describe.skipIf(!isRoot)('root runs commands on a data folder of the service', { timeout: 120_000 }, () => {
  test('a dangling link in place of the database makes no file of root, and is one line', async () => {
    await plant('link', 'ticketmaild.db');
    for (const args of [['mailbox', 'list'], ['migrate'], ['admin', 'list'], ['check']]) {
      const { code, stdout, stderr } = await asRoot(args);
      expect({ args, code, said: stdout + stderr }).toMatchObject({
        code: 1,
        said: expect.stringContaining('The database cannot be used: '),
      });
      expect(stderr).toMatch(/^(|ticketmaild: .+\nhint: .+\n)$/);
    }
    expect(await readdir(rootOnly)).toEqual([]);
  });

  test.each(Object.keys(kinds) as (keyof typeof kinds)[])(
    'a %s in place of each file: nothing is made, nothing hangs',
    async (kind) => {
      for (const names of [databaseFiles, otherFiles]) {
        for (const name of names) await plant(kind, name);
        for (const args of [['encryption', 'status'], ['check']]) {
          const { code } = await asRoot(args);
          expect({ kind, args, code }).toEqual({ kind, args, code: expect.any(Number) });
        }
        for (const name of names) await rm(join(dataDir, name), { recursive: true, force: true });
      }
      expect(await readdir(rootOnly)).toEqual([]);
    },
  );

  test('what commands and daemon create belongs to the service, and all threads of the daemon run as it', async () => {
    expect(await asRoot(['encryption', 'enable', '--accept-key-loss', '--backup-prepared'])).toMatchObject({ code: 0 });
    await using daemon = startDaemon(['run'], {
      env: { TICKETMAILD_DATA_DIR: dataDir, TICKETMAILD_HTTP_LISTEN: '127.0.0.1:0' },
    });
    await daemon.waitFor(named('http.listening'));
    const tasks = await readdir(`/proc/${daemon.pid}/task`);
    for (const task of tasks) {
      const status = await readFile(`/proc/${daemon.pid}/task/${task}/status`, 'utf8');
      expect(status).toMatch(new RegExp(`^Uid:(\\t${service}){4}$`, 'm'));
      expect(status).toMatch(new RegExp(`^Gid:(\\t${service}){4}$`, 'm'));
      expect(status).toMatch(/^CapPrm:\t0+$/m);
    }
    for (const name of await readdir(dataDir))
      expect([name, (await stat(join(dataDir, name))).uid]).toEqual([name, service]);
    const log = await asRoot(['encryption', 'log', '--json'], { SUDO_USER: 'ada' });
    expect(log.stdout).toContain('"who":"root@');
  });

  test('the audit log names who called sudo', async () => {
    const called = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];
    expect(await asRoot(called, { SUDO_USER: 'ada' })).toMatchObject({ code: 0 });
    expect((await asRoot(['encryption', 'log', '--json'])).stdout).toContain('"who":"ada@');
  });

  test('a data folder that is a link, or lies in a folder of another user, is one line', async () => {
    const link = join(folder.path, 'link');
    await rm(link, { force: true });
    await symlink(dataDir, link);
    const linked = await asRoot(['mailbox', 'list'], { TICKETMAILD_DATA_DIR: link });
    expect(linked).toMatchObject({ code: 3, stdout: '' });
    expect(linked.stderr).toMatch(/^ticketmaild: data_dir \S+ is a symbolic link: root does not use it\nhint: .+\n$/);
    await mkdir(join(dataDir, 'sub'), { mode: 0o700 });
    for (const [owner, why] of [
      [0, 'belongs to root, but lies in a folder of user'],
      [other, `to user ${other}`],
    ] as const) {
      await chown(join(dataDir, 'sub'), owner, owner);
      const nested = await asRoot(['mailbox', 'list'], { TICKETMAILD_DATA_DIR: join(dataDir, 'sub') });
      expect(nested).toMatchObject({ code: 3, stderr: expect.stringContaining(why) });
    }
    expect(await readdir(join(dataDir, 'sub'))).toEqual([]);
  });
});

describe.skipIf(!isRoot)('files that root names', { timeout: 60_000 }, () => {
  const enable = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared'];

  test('a backup goes into a folder of root alone; of a failed one nothing stays', async () => {
    const [safe, failed, copy] = [
      join(rootOnly, 'safe'),
      join(rootOnly, 'safe', 'none'),
      join(rootOnly, 'safe', 'copy'),
    ];
    await mkdir(safe, { mode: 0o700 });
    expect(await asRoot(['key', 'backup', failed])).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('no key file'),
    });
    expect(await readdir(safe)).toEqual([]);
    expect(await asRoot(enable)).toMatchObject({ code: 0 });
    expect(await asRoot(['key', 'backup', copy])).toMatchObject({ code: 0 });
    expect(await stat(copy)).toMatchObject({ uid: 0, mode: 0o100600 });
    expect((await readFile(copy)).equals(await readFile(join(dataDir, 'encryption-key.bin')))).toBe(true);
    expect(await asRoot(['key', 'verify', copy])).toMatchObject({ code: 0 });
    expect((await asRoot(['key', 'backup', copy])).stderr).toContain('exists already');
  });

  test('a link in a folder of the service leads no backup of root anywhere', async () => {
    expect(await asRoot(enable)).toMatchObject({ code: 0 });
    await symlink(rootOnly, join(dataDir, 'backups'));
    await lchown(join(dataDir, 'backups'), service, service);
    const { code, stderr } = await asRoot(['key', 'backup', join(dataDir, 'backups', 'copy')]);
    expect({ code, stderr }).toEqual({
      code: 3,
      stderr: expect.stringMatching(/belongs to user 0, and is reached through one of user 41001\nhint: .+\n$/),
    });
    expect(await readdir(rootOnly)).toEqual([]);
  });

  test('password_file: one of root alone is read, one that the service made a link to it is not', async () => {
    const secret = join(rootOnly, 'secret');
    await writeFile(secret, 'a-secret-of-root', { mode: 0o600 });
    const swapped = join(dataDir, 'password');
    await symlink(secret, swapped);
    await lchown(swapped, service, service);
    const url = 'mysql://keeper@127.0.0.1:1/none';
    const run = (path: string) =>
      asRoot(['mailbox', 'list'], { TICKETMAILD_DATABASE_URL: url, TICKETMAILD_DATABASE_PASSWORD_FILE: path });
    expect(await run(secret)).toMatchObject({ code: 1, stderr: expect.stringContaining('database') });
    expect(await run(swapped)).toMatchObject({ code: 2, stderr: expect.stringContaining('cannot be read (EACCES)') });
  });
});

test.skipIf(isRoot)('any other user runs commands as itself', async () => {
  const ran = await runCommand(['key', 'show'], { env: { TICKETMAILD_DATA_DIR: join(folder.path, 'own') } });
  expect(ran.code).toBe(0);
});
