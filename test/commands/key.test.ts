import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { chmod, link, mkdir, readFile, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { freePort } from '../support/servers/programs.ts';
import { type CommandLine, openCommandLine, type Ran } from './command-line.ts';

let cli: CommandLine;
let keyFile: string;

beforeEach(async () => {
  cli = await openCommandLine();
  keyFile = join(cli.dataDir, 'encryption-key.bin');
});

afterEach(async () => {
  cli.expectNothingLeaked([secret]);
  await cli[Symbol.asyncDispose]();
});

const secret = 'Zucker-und-Salz-91';
const enabling = ['encryption', 'enable', '--accept-key-loss', '--backup-prepared', '--json'];

async function addMailbox(name: string): Promise<void> {
  const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];
  expect(await cli.run(['mailbox', 'add', '--name', name, ...server], secret)).toMatchObject({ code: 0 });
}

async function enable(): Promise<string> {
  const { code, json } = await cli.run(enabling);
  expect(code).toBe(0);
  return String(json[0]?.key_id);
}

/** The one object that a command printed. */
function only({ json }: Ran): Record<string, unknown> {
  expect(json).toHaveLength(1);
  return json[0] ?? {};
}

describe('key show', () => {
  test('says that there is no key file', async () => {
    const shown = await cli.run(['key', 'show', '--json']);
    expect(only(shown)).toEqual({
      ...{ path: keyFile, state: 'absent', key_ids: [], protected: null, owner: null, mode: null, problem: null },
    });
    expect((await cli.run(['key', 'show'])).out).toBe(`key file   none at ${keyFile}\n`);
  });

  test('shows fingerprint, owner and mode, and never a byte of the key', async () => {
    await addMailbox('one');
    const id = await enable();
    expect(only(await cli.run(['key', 'show', '--json']))).toMatchObject({
      ...{ state: 'ok', key_ids: [id], protected: false, mode: '0600', owner: expect.any(String), problem: null },
    });
    const { out } = await cli.run(['key', 'show']);
    const lines = [`key file   ${keyFile}`, `key        ${id}`, 'protected  no: bare keys'];
    expect(out.split('\n').slice(0, 3)).toEqual(lines);
    expect(out).toMatch(/^owner {6}\S+\nmode {7}0600\n$/m);
  });

  test('shows what is wrong with it, with a hint', async () => {
    await cli.run(['migrate']);
    await enable();
    await chmod(keyFile, 0o644);
    const { code, out } = await cli.run(['key', 'show']);
    expect(code).toBe(0);
    expect(out).toMatch(/^mode {7}0644$/m);
    expect(out).toMatch(/^problem {4}.+\nhint {7}.+\n$/m);
    expect(only(await cli.run(['key', 'show', '--json']))).toMatchObject({
      ...{ state: 'refused', key_ids: null, problem: { code: 'key_file_refused', hint: expect.any(String) } },
    });
  });
});

describe('key backup and verify', () => {
  test('make a copy for its owner alone, recorded, and say how to verify it', async () => {
    await cli.run(['migrate']);
    const id = await enable();
    const file = join(cli.folder, 'backup.bin');
    const { code, out, err } = await cli.run(['key', 'backup', file]);
    expect({ code, err }).toEqual({ code: 0, err: '' });
    expect(out).toContain(`ticketmaild key verify ${file}`);
    expect(await readFile(file)).toEqual(await readFile(keyFile));
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    const [row] = (await cli.run(['encryption', 'log', '--json', '--limit', '1'])).json;
    expect(row).toMatchObject({ action: 'key.backed_up', key_id: id, detail: `to ${file}` });

    const same = await cli.run(['key', 'verify', file]);
    expect(same).toMatchObject({ code: 0, out: `same: ${file} holds key ${id}, which is in use\n` });
    expect(only(await cli.run(['key', 'verify', file, '--json']))).toEqual({
      ...{ result: 'same', same: true, file, key_ids: [id], in_use: [id], lacks: [], extra: [], former: [] },
      ...{ same_file_system: true, switch_read: true, recorded: true },
    });
  });

  test('the key file in use and a copy beside it are never a backup, whatever leads to them', async () => {
    await cli.run(['migrate']);
    const id = await enable();
    const linked = join(cli.folder, 'linked.bin');
    const symbolic = join(cli.folder, 'symbolic.bin');
    await link(keyFile, linked);
    await symlink(keyFile, symbolic);
    for (const file of [keyFile, linked, symbolic]) {
      const { code, out, err } = await cli.run(['key', 'verify', file]);
      expect({ code, out }).toEqual({ code: 3, out: `not a backup: ${file} is the key file in use\n` });
      expect(err).toBe('Make one, and move it off this machine: ticketmaild key backup FILE\n');
    }
    await rm(linked);
    const folder = join(cli.folder, 'way');
    await symlink(cli.dataDir, folder);
    await cli.run(['key', 'backup', join(cli.dataDir, 'copy.bin')]);
    const beside = await cli.run(['key', 'verify', join(folder, 'copy.bin')]);
    expect(beside).toMatchObject({ code: 3, err: `It holds key ${id}, which is in use.\n` });
    expect(beside.out).toContain('is in data_dir, as the key file is: what destroys one destroys the other');
    expect(only(await cli.run(['key', 'verify', keyFile, '--json']))).toMatchObject({
      ...{ result: 'key_file', same: false, recorded: false },
    });
    const rows = (await cli.run(['encryption', 'log', '--json'])).json;
    expect(rows.filter(({ action }) => action === 'key.backup_verified')).toEqual([]);
    const copy = join(cli.folder, 'copy.bin');
    await cli.run(['key', 'backup', copy]);
    expect((await cli.run(['key', 'verify', copy])).err).toMatch(
      /^note: it is on the same file system as the key file/,
    );
    const [row] = (await cli.run(['encryption', 'log', '--json', '--limit', '1'])).json;
    expect(row).toMatchObject({ action: 'key.backup_verified', key_id: id, detail: id });
  });

  test.each([
    ['a folder', (path: string) => mkdir(path), 'is a folder\nhint: Give the path of a regular file.'],
    [
      'a named pipe',
      async (path: string) => void spawnSync('mkfifo', [path]),
      'is a named pipe\nhint: Give the path of a regular file.',
    ],
    [
      'a link to itself',
      (path: string) => symlink(path, path),
      'is a symbolic link that leads to itself\nhint: Check the path: ls -l ',
    ],
    ['an empty file', (path: string) => writeFile(path, ''), 'it has 0 bytes'],
    ['half a key', (path: string) => writeFile(path, randomBytes(31)), 'it has 31 bytes'],
    ['zeros', (path: string) => writeFile(path, Buffer.alloc(32)), 'all its bytes are equal'],
    ['a link to nowhere', (path: string) => symlink(`${path}.gone`, path), 'there is no file at'],
  ])('verify says in one line what is wrong with %s', async (_, make, what) => {
    await cli.run(['migrate']);
    await enable();
    const file = join(cli.folder, 'backup.bin');
    await make(file);
    const { code, out, err } = await cli.run(['key', 'verify', file]);
    expect(code).toBeGreaterThan(0);
    expect(out).toBe('');
    expect(err).toMatch(/^[^\n]+\nhint: [^\n]+\n$/);
    expect(err).toContain(what);
    expect(err).not.toMatch(/\b(rm|mv) /);
  });

  test('never overwrite a file, and print one object', async () => {
    await cli.run(['migrate']);
    await enable();
    const file = join(cli.folder, 'backup.bin');
    await writeFile(file, 'precious');
    expect(await cli.run(['key', 'backup', file])).toMatchObject({ code: 2, out: '' });
    expect(await readFile(file, 'utf8')).toBe('precious');
    const other = join(cli.folder, 'other.bin');
    expect(only(await cli.run(['key', 'backup', other, '--json']))).toEqual({
      ...{ file: other, key_file: keyFile, recorded: true },
    });
  });

  test('warn of a copy that lies beside the key file', async () => {
    await cli.run(['migrate']);
    await enable();
    const { code, err } = await cli.run(['key', 'backup', join(cli.dataDir, 'copy.bin')]);
    expect({ code, err }).toEqual({
      code: 0,
      err: expect.stringContaining('is in data_dir: one failure can lose both'),
    });
  });

  test('tell a backup of another key, and one that lacks a key, from the right one', async () => {
    await cli.run(['migrate']);
    const former = await enable();
    const file = join(cli.folder, 'backup.bin');
    await cli.run(['key', 'backup', file]);
    const both = join(cli.folder, 'both.bin');
    const id = String(only(await cli.run(['encryption', 'rotate', '--json'])).key_id);
    expect(await cli.run(['key', 'verify', file])).toMatchObject({
      code: 1,
      out: `former key: ${file} holds ${former}, no longer in use; in use is ${id}\n`,
      err: expect.stringMatching(
        /^Keep it as long as database backups of its time exist: .+\nThe audit log .+ UTC\.\n$/,
      ),
    });
    expect(only(await cli.run(['key', 'verify', file, '--json']))).toMatchObject({
      ...{ result: 'former', same: false, former: [former], lacks: [id], recorded: false },
    });
    const foreign = join(cli.folder, 'foreign.bin');
    await writeFile(foreign, randomBytes(32));
    const stranger = await cli.run(['key', 'verify', foreign]);
    expect(stranger).toMatchObject({ code: 1, err: expect.stringContaining('names no such key') });
    expect(stranger.out).toMatch(new RegExp(`^another key: ${foreign} holds [0-9a-f]{16}; in use is ${id}\n$`));
    await writeFile(both, Buffer.concat([await readFile(file), await readFile(keyFile)]));
    expect(await cli.run(['key', 'verify', both])).toMatchObject({
      code: 0,
      err: expect.stringContaining(`It also holds keys that are not in use: ${former}\n`),
    });
    // A key file that still holds the former key: a backup with the new one alone lacks it.
    const alone = join(cli.folder, 'alone.bin');
    await rename(keyFile, alone);
    await rename(both, keyFile);
    await chmod(keyFile, 0o600);
    expect(await cli.run(['key', 'verify', alone])).toMatchObject({
      code: 1,
      out: `not the same: ${alone} lacks key ${former}, which is in use\n`,
    });
    expect(only(await cli.run(['key', 'verify', alone, '--json']))).toMatchObject({ same: false, lacks: [former] });
  });

  test('a backup is verified against the switch while the key file is lost', async () => {
    await cli.run(['migrate']);
    const id = await enable();
    const file = join(cli.folder, 'backup.bin');
    await rename(keyFile, file);
    const { code, out, err } = await cli.run(['key', 'verify', file]);
    expect({ code, out }).toEqual({ code: 0, out: `same: ${file} holds key ${id}, which is in use\n` });
    expect(err).toContain('compared with the switch alone');
    // On a new host, where nothing is remembered, the row in the table names the key.
    await rename(join(cli.dataDir, 'switch-state'), join(cli.folder, 'switch-state'));
    expect(await cli.run(['key', 'verify', file])).toMatchObject({ code: 0 });
    await writeFile(file, randomBytes(32));
    expect(await cli.run(['key', 'verify', file])).toMatchObject({ code: 1 });
  });

  test('work while the database is down, and say what that means', async () => {
    await cli.run(['migrate']);
    const id = await enable();
    await using away = await openCommandLine({
      TICKETMAILD_DATA_DIR: cli.dataDir,
      TICKETMAILD_DATABASE_URL: `mysql://u:hunter2@127.0.0.1:${await freePort()}/t`,
    });
    const file = join(cli.folder, 'backup.bin');
    const backup = await away.run(['key', 'backup', file]);
    expect(backup).toMatchObject({ code: 0, err: expect.stringMatching(/^note: this could not be recorded/) });
    const verified = await away.run(['key', 'verify', file]);
    expect(verified).toMatchObject({ code: 0, err: expect.stringContaining('compared with the key file alone') });
    expect(only(await away.run(['key', 'verify', file, '--json']))).toMatchObject({ same: true, switch_read: false });
    expect(only(await away.run(['key', 'show', '--json']))).toMatchObject({ key_ids: [id] });
    expect(only(await away.run(['key', 'backup', `${file}2`, '--json']))).toMatchObject({ recorded: false });
    away.expectNothingLeaked(['hunter2']);
  });

  test('say what is missing', async () => {
    await cli.run(['migrate']);
    const file = join(cli.folder, 'backup.bin');
    expect(await cli.run(['key', 'backup', file])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^there is no key file at .+\nhint: .+\n$/),
    });
    expect(await cli.run(['key', 'verify', file])).toMatchObject({
      code: 4,
      err: expect.stringContaining('no file at'),
    });
    await writeFile(file, 'x'.repeat(33));
    expect(await cli.run(['key', 'verify', file])).toMatchObject({ code: 1 });
    await writeFile(file, randomBytes(32));
    expect(await cli.run(['key', 'verify', file])).toMatchObject({
      code: 1,
      err: expect.stringMatching(/^no key is in use here: .+\nhint: .+\n$/),
    });
  });
});

test('key recover without a daemon says that none answers', async () => {
  await cli.run(['migrate']);
  expect(await cli.run(['key', 'recover'])).toMatchObject({
    code: 1,
    out: '',
    err: expect.stringMatching(/^no daemon answers at .+control\.sock \(ENOENT\)\nhint: .+\n$/),
  });
});
