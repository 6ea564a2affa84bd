import { chmod, readdir, readFile, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { type Daemon, startDaemon } from '../support/processes/daemon.ts';
import { type CommandLine, openCommandLine } from './command-line.ts';

let cli: CommandLine;
let keyFile: string;
let daemon: Daemon;

const secret = 'Zucker-und-Salz-91';
const passphrase = 'three blind mice and a cat';
const flags = ['--accept-key-loss', '--backup-prepared'];

beforeEach(async () => {
  cli = await openCommandLine();
  keyFile = join(cli.dataDir, 'encryption-key.bin');
  const server = ['--host', '127.0.0.1', '--port', '9', '--user', 'desk', '--no-probe', '--password-stdin'];
  expect(await cli.run(['mailbox', 'add', '--name', 'one', ...server], secret)).toMatchObject({ code: 0 });
  daemon = startDaemon(['run'], { env: cli.env, cwd: cli.folder });
  await daemon.waitFor(({ event }) => event === 'daemon.ready');
});

afterEach(async () => {
  daemon.signal('SIGTERM');
  const { stdout, stderr } = await daemon.exit;
  cli.expectNothingLeaked([secret, passphrase]);
  expect(stdout + stderr).not.toContain(secret);
  expect(await readdir(cli.dataDir)).not.toContain('control.sock');
  await cli[Symbol.asyncDispose]();
});

async function report(...args: string[]): Promise<Record<string, unknown>> {
  const { json, err } = await cli.run([...args, '--json']);
  expect(json, err).toHaveLength(1);
  return json[0] ?? {};
}

async function enable(): Promise<string> {
  const { key_id: id } = await report('encryption', 'enable', ...flags);
  await daemon.waitFor(({ event, state }) => event === 'switch.changed' && state === 'on');
  return String(id);
}

async function untilStatus(holds: (status: Record<string, unknown>) => boolean): Promise<Record<string, unknown>> {
  for (;;) {
    const status = await report('encryption', 'status');
    if (holds(status)) return status;
    await wait(200);
  }
}

test('a worker that runs takes the key up, rotates with it, and lets it go, without a restart', async () => {
  const first = await enable();
  await untilStatus(({ workers }) => JSON.stringify(workers).includes(`"key_ids":["${first}"]`));
  const { out } = await cli.run(['encryption', 'status']);
  expect(out).toMatch(/^WORKER +PID +RUNS +HAS KEY +VAULT +REVISION +SEEN \(UTC\)\n\S+ +\d+ +yes +yes +open +2 +20/m);
  const { key_id: second, former_key_retained: kept } = await report('encryption', 'rotate');
  expect({ kept, isNew: second !== first }).toEqual({ kept: false, isNew: true });
  await untilStatus(({ workers }) => JSON.stringify(workers).includes(`"key_ids":["${second}"]`));
  expect(await report('encryption', 'disable', '--yes')).toMatchObject({ state: 'off' });
  await daemon.waitFor(({ event, state }) => event === 'switch.changed' && state === 'off');
});

describe('key recover', () => {
  test('lets the daemon write back what was lost, and is recorded', async () => {
    const id = await enable();
    const content = await readFile(keyFile);
    await rm(keyFile);
    await daemon.waitFor(({ event }) => event === 'vault.orphaned');
    const recovered = await report('key', 'recover');
    expect(recovered).toEqual({ path: keyFile, key_ids: [id], set_aside: null, recorded: true });
    expect(await readFile(keyFile)).toEqual(content);
    expect((await stat(keyFile)).mode & 0o777).toBe(0o600);
    await daemon.waitFor(({ event }) => event === 'key.recovered');
    const [entry] = (await cli.run(['encryption', 'log', '--json'])).json;
    expect(entry).toMatchObject({ action: 'key.recovered', key_id: id, who: expect.stringMatching(/^.+@.+$/) });
  });

  test('keeps what was there aside', async () => {
    await enable();
    const content = await readFile(keyFile);
    await writeFile(keyFile, 'nothing that could be a key');
    const { code, out } = await cli.run(['key', 'recover']);
    expect(code).toBe(0);
    expect(out).toMatch(
      /^written back: \S+encryption-key\.bin, key [0-9a-f]{16}\nthe former file is now \S+\.damaged-/,
    );
    expect(await readFile(keyFile)).toEqual(content);
    const aside = (await readdir(cli.dataDir)).find((name) => name.includes('damaged'));
    expect(await readFile(join(cli.dataDir, aside ?? ''), 'utf8')).toBe('nothing that could be a key');
  });

  test('has nothing to do while the key file is there, or encryption is off', async () => {
    expect(await cli.run(['key', 'recover'])).toMatchObject({
      code: 3,
      err: expect.stringMatching(
        /^the daemon reports: "there is nothing to recover: encryption is off.+"\nhint: .+\n$/,
      ),
    });
    await enable();
    const content = await readFile(keyFile);
    expect(await cli.run(['key', 'recover'])).toMatchObject({
      code: 3,
      err: expect.stringMatching(/^the daemon reports: "there is nothing to recover: the key file .+"\nhint: .+\n$/),
    });
    expect(await readFile(keyFile)).toEqual(content);
  });

  test('does not take the protection of a passphrase off that the daemon lacks', async () => {
    await enable();
    expect(await cli.run(['key', 'protect', '--passphrase-stdin'], passphrase)).toMatchObject({ code: 0 });
    const content = await readFile(keyFile);
    await daemon.waitFor(({ event }) => event === 'vault.orphaned');
    expect(await cli.run(['key', 'recover'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('is protected by a passphrase that this daemon does not have'),
    });
    expect(await readFile(keyFile)).toEqual(content);
  });

  test('says so when the daemon holds no key either', async () => {
    await enable();
    await rename(keyFile, join(cli.folder, 'away'));
    daemon.signal('SIGTERM');
    await daemon.exit;
    daemon = startDaemon(['run'], { env: cli.env, cwd: cli.folder });
    await daemon.waitFor(({ event }) => event === 'daemon.ready');
    expect(await cli.run(['key', 'recover'])).toMatchObject({
      code: 1,
      err: expect.stringMatching(
        /^the daemon reports: "the daemon has no key in memory either: .+"\nhint: Restore the key file.+\n$/,
      ),
    });
  });
});

describe('encryption disable where the key cannot be opened', () => {
  const proof = (): string => join(cli.dataDir, 'can-disable-encryption.txt');

  test('asks the daemon, which wants a proof of the file system that is newer than the request', async () => {
    await writeFile(proof(), '');
    await enable();
    await cli.run(['key', 'protect', '--passphrase-stdin'], passphrase);
    const asked = await cli.run(['encryption', 'disable', '--yes', '--json']);
    expect(asked.code).toBe(1);
    expect(asked.json).toEqual([
      {
        state: 'requested',
        requested_at: expect.stringMatching(/Z$/),
        expires_at: expect.stringMatching(/Z$/),
        proof_path: proof(),
        problem: null,
      },
    ]);
    expect(asked.err).toContain(`touch ${proof()}`);

    const old = await cli.run(['encryption', 'disable', '--yes']);
    expect(old).toMatchObject({ code: 1, out: '' });
    expect(old.err).toMatch(/^the proof file is not accepted: .+ is older than this request/);
    await rm(proof());
    await writeFile(proof(), '');
    await chmod(proof(), 0o666);
    expect((await report('encryption', 'disable', '--yes')).problem).toEqual(expect.any(String));
    expect(await report('encryption', 'status')).toMatchObject({ state: 'on', sealed: 1 });

    await chmod(proof(), 0o600);
    const done = await cli.run(['encryption', 'disable', '--yes']);
    expect(done).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^encryption is off\n1 password stored in plain text\n/),
    });
    expect(await report('encryption', 'status')).toMatchObject({ state: 'off', plaintext: 1 });
    await expect(readFile(proof())).rejects.toThrow('ENOENT');
    const actions = (await cli.run(['encryption', 'log', '--json'])).json.map(({ action }) => action);
    expect(actions).toEqual(expect.arrayContaining(['switch.off', 'switch.disabling', 'switch.disable_requested']));
  });

  test('works as well when the key file is lost: the daemon has the key in its memory', async () => {
    await enable();
    await rm(keyFile);
    expect(await report('encryption', 'disable', '--yes')).toMatchObject({ state: 'requested' });
    await wait(20);
    await writeFile(proof(), '');
    expect(await report('encryption', 'disable', '--yes')).toMatchObject({
      ...{ state: 'off', was_off: false, unsealed: 1, unopened_count: 0, set_aside: null },
    });
    expect(await report('encryption', 'status')).toMatchObject({ state: 'off', plaintext: 1, sealed: 0 });
  });
});
