import { copyFile, readdir, readFile, rename, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { runCommand, startDaemon } from '../../support/processes/daemon.ts';
import { type CommandLine, openCommandLine, type Ran } from '../command-line.ts';

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
const flags = ['--accept-key-loss', '--backup-prepared'];

const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];

async function addMailbox(name: string): Promise<void> {
  expect(await cli.run(['mailbox', 'add', '--name', name, ...server], secret)).toMatchObject({ code: 0 });
}

/** The one object that a command with `--json` printed. */
async function report(...args: string[]): Promise<Record<string, unknown>> {
  const { json } = await cli.run([...args, '--json']);
  expect(json).toHaveLength(1);
  return json[0] ?? {};
}

/** What a database administrator does to the tables. */
/** The key file that switching off put aside. */
async function setAside(): Promise<Buffer> {
  const name = (await readdir(cli.dataDir)).find((one) => one.startsWith('encryption-key.bin.disabled-'));
  return await readFile(join(cli.dataDir, name ?? ''));
}

const databaseFile = (): string => join(cli.dataDir, 'ticketmaild.db');

describe('encryption enable', () => {
  test.each<[given: string[], missing: string]>([
    [[], 'missing: --accept-key-loss, --backup-prepared'],
    [['--accept-key-loss'], 'missing: --backup-prepared'],
    [['--backup-prepared', '--json'], 'missing: --accept-key-loss'],
  ])('off a terminal touches nothing without both acknowledgements: %j', async (given, missing) => {
    const { code, out, err } = await cli.run(['encryption', 'enable', ...given]);
    const json = given.includes('--json') ? expect.stringMatching(/^\{"error":\{"code":"usage"/) : '';
    expect({ code, out }).toEqual({ code: 2, out: json });
    expect(err).toMatch(new RegExp(`^${missing}\nhint: .+\n$`));
    await expect(readFile(databaseFile())).rejects.toThrow('ENOENT');
    await expect(readFile(keyFile)).rejects.toThrow('ENOENT');
  });

  test('seals every password, and says what is to be done now', async () => {
    for (const name of ['one', 'two', 'three']) await addMailbox(name);
    const { code, out, err } = await cli.run(['encryption', 'enable', ...flags]);
    expect(code).toBe(0);
    const { key_id: id } = await report('encryption', 'status');
    expect(out).toContain('encryption is on\nsealed    3 passwords\n');
    expect(out).toContain(`key       ${id}\nkey file  ${keyFile} (created)\n`);
    expect(out).toMatch(/\n {2}ticketmaild key backup \/PATH\/encryption-key-20\d\d-\d\d-\d\d\.bin\n/);
    expect(out).toMatch(/\n {2}ticketmaild key verify \/PATH\/encryption-key-20\d\d-\d\d-\d\d\.bin\n/);
    expect(out).toContain('needs this file system: ticketmaild encryption disable');
    expect(out).toContain(`copies and backups of ${databaseFile()}`);
    expect(err).not.toMatch(/^hint/m);
    expect((await readFile(databaseFile())).includes(secret)).toBe(false);
    expect(await report('mailbox', 'show', 'two')).toMatchObject({ password_form: 'sealed', password_key_id: id });
  });

  test('before the first mailbox: it is sealed from the start, and nothing warns of it', async () => {
    const { code, out } = await cli.run(['encryption', 'enable', ...flags]);
    expect(code).toBe(0);
    expect(out).toContain('\nsealed    no password was stored yet: the next mailbox is sealed from the start\n');
    expect(out).not.toContain('plain text');
    const added = await cli.run(['mailbox', 'add', '--name', 'one', ...server, '--json'], secret);
    expect(added).toMatchObject({ code: 0, err: '', json: [{ warnings: [] }] });
    expect(await report('mailbox', 'show', 'one')).toMatchObject({ password_form: 'sealed' });
    expect((await report('encryption', 'status'))['plaintext_periods']).toEqual([]);
    const warnings = (await cli.run(['check', '--json'])).json.filter(({ check }) => check === 'passwords');
    expect(warnings).toEqual([]);
  });

  test('the self-test warns of readable passwords until they are sealed, with the command', async () => {
    await addMailbox('one');
    await addMailbox('two');
    const warnings = async () => (await cli.run(['check'])).out.match(/^warning passwords: .*\n.*$/m)?.[0] ?? null;
    expect(await warnings()).toBe(
      'warning passwords: 2 passwords are readable in the database\n        hint: Seal them, without a restart: ticketmaild encryption enable',
    );
    expect(await cli.run(['encryption', 'enable', ...flags])).toMatchObject({ code: 0 });
    expect(await warnings()).toBeNull();
    cli.sql(`update mailboxes set password_form = 'plain', password = cast('written' as blob) where name = 'one'`);
    const written = '1 password is readable in the database although encryption is on';
    expect(await warnings()).toMatch(new RegExp(`${written}\\n +hint: [^\\n]*encryption reseal$`));
    // The test of that mailbox sealed it.
    expect(await warnings()).toBeNull();
  });

  test('prints one object with --json, and everything else beside it', async () => {
    await addMailbox('one');
    const { code, json, err } = await cli.run(['encryption', 'enable', ...flags, '--json']);
    expect(code).toBe(0);
    expect(json).toEqual([
      {
        state: 'on',
        key_id: expect.stringMatching(/^[0-9a-f]{16}$/),
        key_file: keyFile,
        created_key_file: true,
        sealed: 1,
        sealed_tokens: 0,
        was_on: false,
        confirmed: [],
        unopened: [],
      },
    ]);
    expect(err).toContain('ticketmaild key backup');
    const again = await report('encryption', 'enable', ...flags);
    expect(again).toMatchObject({ state: 'on', created_key_file: false, sealed: 0, was_on: true });
  });

  test('names the configuration file of this call in the commands that it shows', async () => {
    const file = join(cli.folder, 'my config.toml');
    await writeFile(file, '');
    const { out } = await cli.run(['encryption', 'enable', ...flags, '--config', file]);
    expect(out.replaceAll(/-20[\d-]+\.bin/g, '.bin')).toContain(
      `ticketmaild key backup /PATH/encryption-key.bin --config '${file}'`,
    );
  });

  test('at a terminal explains and asks for both, one after the other', async () => {
    await addMailbox('one');
    const { code, out, err } = await cli.typed(
      ['encryption', 'enable'],
      [
        ['Do you accept that? [y/N]', 'y\n'],
        ['apart from the backups of the database? [y/N]', 'yes\n'],
      ],
    );
    expect(code).toBe(0);
    expect(out).toContain('encryption is on\n');
    const [before = '', after = ''] = err.split('Do you accept that?');
    expect(before).toContain('It does not protect against');
    expect(before).toContain('one backup of it holds both');
    expect(after).not.toContain('one backup of it holds both');
  });

  test.each([
    ['the first', [['Do you accept that? [y/N]', 'n\n']]],
    [
      'the second',
      [
        ['Do you accept that? [y/N]', 'y\n'],
        ['apart from the backups of the database? [y/N]', '\n'],
      ],
    ],
  ] as const)('at a terminal changes nothing when %s is not given', async (_title, answers) => {
    await addMailbox('one');
    const { code, out, err } = await cli.typed(['encryption', 'enable'], answers);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/Nothing was changed\.\n$/);
    await expect(readFile(keyFile)).rejects.toThrow('ENOENT');
    expect(await report('encryption', 'status')).toMatchObject({ state: 'off', revision: 0 });
  });

  test('at a terminal asks only for what is not given as an option', async () => {
    const { code } = await cli.typed(
      ['encryption', 'enable', '--accept-key-loss'],
      [['apart from the backups of the database? [y/N]', 'y\n']],
    );
    expect(code).toBe(0);
  });

  test('lists workers that lack the key and refuses, unless forced', async () => {
    await addMailbox('one');
    await using app = await cli.open();
    const idle = { keyIds: [], vault: 'closed', revision: 0 };
    await app.store.reportWorker({ worker: 'w1', host: 'elsewhere', pid: 4711, ...idle });
    const refused = await cli.run(['encryption', 'enable', ...flags, '--wait', '0']);
    expect(refused).toMatchObject({ code: 3, out: '' });
    expect(refused.err).toContain('waiting for workers that lack the key: elsewhere (pid 4711)\n');
    expect(refused.err).toMatch(/^hint: .*--force/m);
    expect(await report('encryption', 'status')).toMatchObject({ state: 'off', sealed: 0, plaintext: 1 });
    const waited = await cli.run(['encryption', 'enable', ...flags, '--wait', '1']);
    expect(waited.code).toBe(3);
    expect(waited.err.match(/waiting for workers/g)).toHaveLength(1);
    expect(await report('encryption', 'enable', ...flags, '--wait', '0', '--force')).toMatchObject({ sealed: 1 });
    const status = await report('encryption', 'status');
    expect(status.workers).toEqual([
      expect.objectContaining({ host: 'elsewhere', pid: 4711, live: true, has_key: false, vault: 'closed' }),
    ]);
    expect((await cli.run(['encryption', 'status'])).out).toMatch(
      /^wrong {6}without the key: elsewhere \(pid 4711\)$/m,
    );
  });

  test('as a separate process waits as long as --wait says, and ends early on a signal', async () => {
    await addMailbox('one');
    await using app = await cli.open();
    const stays = { worker: 'w1', host: 'elsewhere', pid: 4711, keyIds: [], vault: 'closed', revision: 0 };
    await app.store.reportWorker(stays);
    const enable = ['encryption', 'enable', ...flags, '--wait'];
    expect(await runCommand([...enable, '1'], { env: cli.env, cwd: cli.folder })).toMatchObject({
      code: 3,
      stderr: expect.stringContaining('waiting for workers'),
    });
    await app.store.reportWorker(stays);
    await using command = startDaemon([...enable, '60'], { env: cli.env, cwd: cli.folder });
    while (!command.stderr().includes('waiting for workers')) await wait(50);
    command.signal('SIGTERM');
    expect(await command.exit).toMatchObject({ code: 1, stderr: expect.stringContaining('was stopped on request') });
    expect(await report('encryption', 'status')).toMatchObject({ state: 'off', plaintext: 1 });
  });

  test.each(['soon', '-1', '1.5', '86401'])('--wait %s is refused', async (wait) => {
    const { code, err } = await cli.run(['encryption', 'enable', ...flags, `--wait=${wait}`]);
    expect(code).toBe(2);
    expect(err).toContain(`--wait must be a whole number of seconds from 0 to 86400, not "${wait}"`);
  });
});

describe('encryption status and log', () => {
  test('off: all fields for scripts, and a note on how to enable it for people', async () => {
    await addMailbox('one');
    expect(await report('encryption', 'status')).toEqual({
      state: 'off',
      key_id: null,
      next_key_id: null,
      revision: 0,
      changed_at: null,
      changed_by: null,
      problem: null,
      stored_state: null,
      stored_key_id: null,
      stored_revision: null,
      ...{ sealed: 0, sealed_tokens: 0, plaintext_tokens: 0 },
      plaintext: 1,
      by_key: [],
      waiting: 0,
      vault: { state: 'closed', key_ids: [], weak_key_ids: [], reason: null, hint: null },
      workers: [],
      plaintext_periods: [{ mailbox: 'one', since: expect.stringMatching(/Z$/), until: null }],
      verified_backup: null,
    });
    const { out, err } = await cli.run(['encryption', 'status']);
    expect(out).toBe('encryption off (revision 0)\nvault      closed\npasswords  0 sealed, 1 in plain text\n');
    expect(err).toContain('encryption enable');
  });

  test('on: keys, counts, and the passwords to change at the provider', async () => {
    await addMailbox('one');
    const { key_id: id } = await report('encryption', 'enable', ...flags);
    await addMailbox('sealed-from-the-start');
    expect(await report('encryption', 'status')).toMatchObject({
      ...{
        state: 'on',
        key_id: id,
        revision: 2,
        sealed: 2,
        plaintext: 0,
        by_key: [{ key_id: id, count: 2 }],
        waiting: 0,
      },
      vault: { state: 'open', key_ids: [id] },
      plaintext_periods: [{ mailbox: 'one', until: expect.stringMatching(/Z$/) }],
    });
    const { out } = await cli.run(['encryption', 'status']);
    expect(out).toMatch(/^encryption on, since 20.+ UTC by \S+@\S+ \(revision 2\)\n/);
    expect(out).toMatch(/Change them at the provider:\nMAILBOX +SINCE \(UTC\) +UNTIL \(UTC\)\none +20/);
  });

  test('names the last verified backup, also while the key file is lost, and none that lacks the key of a rotation', async () => {
    const { key_id: id } = await report('encryption', 'enable', ...flags);
    const backupLine = async () => (await cli.run(['encryption', 'status'])).out.match(/^backup +.*$/m)?.[0];
    const none = 'backup     none that holds every key was verified: ticketmaild key verify FILE';
    expect(await backupLine()).toBe(none);
    const copy = join(cli.folder, 'copy.bin');
    await report('key', 'backup', copy);
    expect(await report('encryption', 'status')).toMatchObject({ verified_backup: null });
    await report('key', 'verify', copy);
    const by = expect.stringMatching(/^\S+@\S+$/);
    const verified = { at: expect.stringMatching(/^20.+Z$/), by, key_ids: [id] };
    const line = new RegExp(`^backup     verified 20\\d\\d-.{14} UTC by \\S+@\\S+: ${id}$`);
    expect(await report('encryption', 'status')).toMatchObject({ verified_backup: verified });
    expect(await backupLine()).toMatch(line);
    await rename(keyFile, join(cli.folder, 'away'));
    expect(await report('encryption', 'status')).toMatchObject({ verified_backup: verified });
    expect(await backupLine()).toMatch(line);
    await rename(join(cli.folder, 'away'), keyFile);
    await report('encryption', 'rotate');
    expect(await report('encryption', 'status')).toMatchObject({ verified_backup: null });
    expect(await backupLine()).toBe(none);
  });

  test('a problem comes first, with its hint: the key file is lost', async () => {
    await addMailbox('one');
    await report('encryption', 'enable', ...flags);
    await rename(keyFile, join(cli.folder, 'away'));
    expect(await report('encryption', 'status')).toMatchObject({
      ...{ state: 'on', waiting: 1, vault: { state: 'missing', reason: expect.any(String), hint: expect.any(String) } },
    });
    const { out } = await cli.run(['encryption', 'status']);
    expect(out).toMatch(/^wrong {6}there is no key file at .+\n {2}hint {5}.+key recover\n/);
    expect(out).toMatch(/^wrong {6}1 mailbox waits: no live worker has the key/m);
  });

  test('a problem comes first, with its hint: encryption was switched off in the database', async () => {
    await addMailbox('one');
    await report('encryption', 'enable', ...flags);
    cli.sql(`update encryption_switch set state = 'off', key_id = null, revision = revision + 1`);
    expect(await report('encryption', 'status')).toMatchObject({
      ...{ state: 'on', stored_state: 'off', problem: { code: 'switch_forged', hint: expect.any(String) } },
    });
    const { out } = await cli.run(['encryption', 'status']);
    expect(out).toMatch(/^wrong {6}the row in encryption_switch is not trusted.+\n {2}hint {5}.+\n/);
    expect(out).toMatch(/^in table {3}off, revision 3$/m);
    const add = ['mailbox', 'add', '--name', 'two', '--host', 'h', '--user', 'u', '--no-probe', '--password-stdin'];
    expect(await cli.run(add, secret)).toMatchObject({ code: 3, out: '' });
    expect(await cli.run(['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin'], secret)).toMatchObject({
      code: 3,
    });
    expect((await cli.run(['mailbox', 'list', '--json'])).json).toHaveLength(1);
  });

  test.each([['backup'], ['protect'], ['unprotect']])(
    'without a key file, key %s says whether encryption was ever enabled',
    async (command) => {
      const args = ['key', command, ...(command === 'backup' ? [join(cli.folder, 'copy.bin')] : [])];
      await cli.run(['migrate']);
      const enable = 'ticketmaild encryption enable creates a key file.';
      const never = await cli.run(args);
      expect(never).toMatchObject({
        code: 1,
        err: expect.stringContaining(`Encryption was never enabled: ${enable}`),
      });
      await report('encryption', 'enable', ...flags);
      await report('encryption', 'disable', '--yes');
      expect((await cli.run(args)).err).toContain(`Encryption is off: ${enable}`);
      await report('encryption', 'enable', ...flags);
      await rename(keyFile, join(cli.folder, 'away'));
      expect((await cli.run(args)).err).toContain('Restore the key file from its backup');
    },
  );

  test('the status names the command for an unfinished rotation, unless a process runs it', async () => {
    await addMailbox('one');
    await report('encryption', 'enable', ...flags);
    const note = 'Encryption rotate is unfinished, and no process runs it. To resume it: ticketmaild encryption rotate';
    expect((await cli.run(['encryption', 'status'])).err).not.toContain('rotate');
    const inOneMinute = `strftime('%Y-%m-%d %H:%M:%f', 'now', '+1 minute')`;
    const now = `strftime('%Y-%m-%d %H:%M:%f', 'now')`;
    cli.sql(
      `insert into workers (worker, host, pid, key_ids, vault, revision, started_at, heartbeat_at)
       values ('far/1/1/9/0', 'far', 1, '', 'closed', 0, ${now}, ${now})`,
    );
    expect(await cli.run(['encryption', 'rotate', '--wait', '0'])).toMatchObject({ code: 3 });
    expect((await cli.run(['encryption', 'status'])).err).toContain(note);
    cli.sql(`update encryption_switch set operation_owner = 'far/1/1/8/0', operation_until = ${inOneMinute}`);
    const running = await cli.run(['encryption', 'status']);
    expect(running.err).toContain('An operation is running: encryption rotate');
    expect(running.err).not.toContain('unfinished');
  });

  test('while an older row is in the table, no hint gives up passwords, and its key and revision are shown', async () => {
    await addMailbox('one');
    const backup = join(cli.folder, 'backup.db');
    const { key_id: id } = await report('encryption', 'enable', ...flags);
    await copyFile(databaseFile(), backup);
    await report('encryption', 'disable', '--yes');
    await report('encryption', 'enable', ...flags);
    await copyFile(backup, databaseFile());
    const { out } = await cli.run(['encryption', 'status']);
    expect(out).toContain('1 mailbox waits');
    expect(out).not.toContain('replace-lost-key');
    expect(out).toContain(`in table   on, key ${id}, revision 2`);
  });

  test('the log lists who changed what, newest first', async () => {
    await addMailbox('one');
    const { key_id: id } = await report('encryption', 'enable', ...flags);
    const { code, json } = await cli.run(['encryption', 'log', '--json']);
    expect(code).toBe(0);
    expect(json.map(({ action }) => action)).toEqual([
      ...['switch.on', 'password.sealed', 'switch.enabling', 'key.created', 'password.set'],
    ]);
    expect(json[0]).toEqual({
      ...{ at: expect.stringMatching(/^20.+Z$/), who: expect.stringMatching(/^\S+@\S+$/), host: expect.any(String) },
      ...{ action: 'switch.on', key_id: id, next_key_id: null, mailbox_id: null, detail: '1 password sealed' },
    });
    expect(json[1]).toMatchObject({ mailbox_id: expect.any(String), detail: 'one' });
    expect((await cli.run(['encryption', 'log', '--limit', '2', '--json'])).json).toHaveLength(2);
    expect((await cli.run(['encryption', 'log'])).out).toMatch(/^WHEN \(UTC\) +WHO +WHAT +KEY +DETAIL\n20/);
    expect(await cli.run(['encryption', 'log', '--limit', '0'])).toMatchObject({ code: 2 });
  });

  test('a log without entries says so', async () => {
    await cli.run(['migrate']);
    expect(await cli.run(['encryption', 'log'])).toMatchObject({
      code: 0,
      out: '',
      err: 'No change has been recorded yet.\n',
    });
    expect(await cli.run(['encryption', 'log', '--json'])).toMatchObject({ code: 0, out: '' });
  });
});

describe('encryption rotate and reseal', () => {
  test('take a new key into use, and drop the former one', async () => {
    for (const name of ['one', 'two']) await addMailbox(name);
    const { key_id: former } = await report('encryption', 'enable', ...flags);
    const { code, json, err } = await cli.run(['encryption', 'rotate', '--json']);
    expect(code).toBe(0);
    const [rotated] = json;
    expect(json).toEqual([
      {
        state: 'on',
        key_id: expect.stringMatching(/^[0-9a-f]{16}$/),
        former_key_id: former,
        former_key_retained: false,
        key_file: keyFile,
        resealed: 2,
        resealed_tokens: 0,
        confirmed: [],
        changed: [],
        unopened: [],
      },
    ]);
    expect(rotated?.key_id).not.toBe(former);
    expect(err).toContain('Earlier backups of the key file do not hold the new key.');
    expect(await report('key', 'show')).toMatchObject({ key_ids: [rotated?.key_id] });
    const people = await cli.run(['encryption', 'rotate']);
    expect(people.out).toMatch(/^2 passwords resealed\nkey {7}[0-9a-f]{16}\nformer {4}[0-9a-f]{16}, no longer in/);
    expect(await report('encryption', 'reseal')).toEqual({
      ...{ state: 'on', key_id: expect.any(String), resealed: 0, sealed: 0, unopened: [], dropped_key_ids: [] },
      resealed_tokens: 0,
    });
    expect((await cli.run(['encryption', 'reseal'])).out).toMatch(
      /^0 resealed, 0 sealed that were in plain text, all under/,
    );
  });

  test('leave and list what cannot be opened, and retain its key', async () => {
    for (const name of ['one', 'two']) await addMailbox(name);
    const { key_id: former } = await report('encryption', 'enable', ...flags);
    cli.sql(`update mailboxes set host = 'elsewhere.example' where name = 'one'`);
    const { code, json, err } = await cli.run(['encryption', 'rotate', '--json']);
    expect(code).toBe(1);
    expect(json[0]).toMatchObject({
      ...{ former_key_retained: true, resealed: 1 },
      unopened: [{ mailbox: 'one', code: 'password_binding_mismatch', message: expect.any(String) }],
    });
    expect(err).toMatch(/^not opened: mailbox one: .+ \(password_binding_mismatch\)$/m);
    const again = await cli.run(['encryption', 'reseal', '--json']);
    expect(again).toMatchObject({ code: 1, json: [{ unopened: [{ mailbox: 'one' }], dropped_key_ids: [] }] });
    const set = ['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin', '--accept-connection'];
    expect(await cli.run(set, secret)).toMatchObject({ code: 0 });
    expect(await report('encryption', 'reseal')).toMatchObject({ unopened: [], dropped_key_ids: [former] });
  });

  test('seal a password written into the table in plain text', async () => {
    await addMailbox('one');
    await report('encryption', 'enable', ...flags);
    cli.sql(
      `update mailboxes set password = cast('${secret}' as blob), password_form = 'plain', password_key_id = null`,
    );
    expect((await cli.run(['encryption', 'status'])).out).toMatch(/^wrong {6}1 password in plain text although/m);
    expect(await report('encryption', 'reseal')).toMatchObject({ sealed: 1 });
    expect(await report('encryption', 'status')).toMatchObject({ plaintext: 0, sealed: 1 });
  });

  test.each(['rotate', 'reseal'])('%s is refused while encryption is off, with the way out', async (command) => {
    await cli.run(['migrate']);
    const { code, err } = await cli.run(['encryption', command]);
    expect({ code, err }).toEqual({ code: 3, err: expect.stringMatching(/\nhint: .*encryption enable\n$/) });
  });
});

describe('encryption disable', () => {
  test('asks, and stores every password in plain text', async () => {
    for (const name of ['one', 'two']) await addMailbox(name);
    await report('encryption', 'enable', ...flags);
    expect(await cli.run(['encryption', 'disable'])).toMatchObject({
      code: 2,
      err: 'there is no terminal to ask at\nhint: Confirm it with --yes.\n',
    });
    const question = 'store every password in plain text in the database? [y/N]';
    const no = await cli.typed(['encryption', 'disable'], [[question, 'n\n']]);
    expect(no).toMatchObject({ code: 1, out: '', err: expect.stringContaining('Nothing was changed.') });
    const yes = await cli.typed(['encryption', 'disable'], [[question, 'y\n']]);
    expect(yes).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^encryption is off\n2 passwords stored in plain text\n/),
    });
    expect(yes.out).toMatch(/as \S+encryption-key\.bin\.disabled-\S+\n$/);
    expect(await report('encryption', 'status')).toMatchObject({ state: 'off', sealed: 0, plaintext: 2 });
  });

  test('prints one object with --json, also when it is off already', async () => {
    await addMailbox('one');
    await report('encryption', 'enable', ...flags);
    expect(await report('encryption', 'disable', '--yes')).toEqual({
      ...{ state: 'off', was_off: false, unsealed: 1, unsealed_tokens: 0, unopened_count: 0, unopened: [] },
      set_aside: expect.stringContaining('encryption-key.bin.disabled-'),
    });
    expect(await report('encryption', 'disable', '--yes')).toMatchObject({ state: 'off', was_off: true, unsealed: 0 });
  });

  test('stays disabling while a password cannot be opened, and ends when that is set again', async () => {
    for (const name of ['one', 'two']) await addMailbox(name);
    await report('encryption', 'enable', ...flags);
    cli.sql(`update mailboxes set username = 'somebody' where name = 'one'`);
    const { code, json, err } = await cli.run(['encryption', 'disable', '--yes', '--json']);
    expect({ code, state: json[0]?.state, count: json[0]?.unopened_count }).toEqual({
      ...{ code: 1, state: 'disabling', count: 1 },
    });
    expect(err).toMatch(/^not opened: mailbox one: /m);
    await cli.run(['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin', '--accept-connection'], secret);
    expect(await report('encryption', 'disable', '--yes')).toMatchObject({ state: 'off', unopened: [] });
  });

  test('needs the key, or a daemon that has it', async () => {
    await addMailbox('one');
    await report('encryption', 'enable', ...flags);
    await rename(keyFile, join(cli.folder, 'away'));
    expect(await cli.run(['encryption', 'disable', '--yes'])).toMatchObject({
      code: 1,
      out: '',
      err: expect.stringMatching(/no daemon answers at .+control\.sock/),
    });
  });
});

describe('encryption trust-restored', () => {
  test('shows what it found beside what was accepted last, asks, and accepts it', async () => {
    await addMailbox('one');
    const backup = join(cli.folder, 'backup.db');
    const { key_id: id } = await report('encryption', 'enable', ...flags);
    await copyFile(databaseFile(), backup);
    await report('encryption', 'disable', '--yes');
    await report('encryption', 'enable', ...flags);
    await copyFile(backup, databaseFile());
    expect(await report('encryption', 'status')).toMatchObject({ problem: { code: 'switch_rolled_back' } });
    expect(await cli.run(['encryption', 'trust-restored'])).toMatchObject({ code: 2 });

    const question = 'Accept what was found, for this host and every worker? [y/N]';
    const no = await cli.typed(['encryption', 'trust-restored'], [[question, 'n\n']]);
    expect(no).toMatchObject({ code: 1, err: expect.stringMatching(/Nothing was changed\.\n$/) });
    expect(no.out).toMatch(
      /^ +STATE +KEY +REVISION +CHANGED \(UTC\) +BY\nfound +on +[0-9a-f]{16} +2 .*\naccepted last +on /,
    );

    // Its key is the one that was set aside when encryption was disabled.
    const lacking = await cli.run(['encryption', 'trust-restored', '--yes']);
    expect(lacking).toMatchObject({ code: 1, err: expect.stringContaining(`needs key ${id}`) });
    await writeFile(keyFile, Buffer.concat([await readFile(keyFile), await setAside()]));
    const { code, json } = await cli.run(['encryption', 'trust-restored', '--yes', '--json']);
    expect(code).toBe(0);
    expect(json).toEqual([
      {
        ...{ state: 'on', key_id: id, next_key_id: null, revision: 7 },
        ...{ changed_at: expect.stringMatching(/Z$/), changed_by: expect.any(String), sealed: 1, plaintext: 0 },
        found: expect.objectContaining({ state: 'on', key_id: id, revision: 2 }),
        remembered: expect.objectContaining({ state: 'on', revision: 6 }),
      },
    ]);
    expect(await report('encryption', 'status')).toMatchObject({ state: 'on', problem: null });
  });

  test('asks for a forged row whether the switch in force is written back', async () => {
    await addMailbox('one');
    await report('encryption', 'enable', ...flags);
    cli.sql(`update encryption_switch set state = 'off', key_id = null, revision = revision + 1`);
    const question = 'Write the switch in force (on) back over what was found, for this host and every worker? [y/N]';
    const yes = await cli.typed(['encryption', 'trust-restored'], [[question, 'y\n']]);
    expect(yes).toMatchObject({ code: 0, out: expect.stringContaining('encryption is on') });
    expect(await report('encryption', 'status')).toMatchObject({ state: 'on', problem: null });
  });

  const unsealedOff = `update encryption_switch set state = 'off', key_id = null, next_key_id = null, seal = null,`;

  test.each<[row: string, question: string, change: string, losesStateFile: boolean]>([
    ['a missing row', 'Write the switch in force (on) back', 'delete from encryption_switch', false],
    [
      'an unsealed row while passwords are sealed',
      'Write the switch in force (on) back over what was found',
      `${unsealedOff} revision = 0`,
      false,
    ],
    [
      'a forged row on a host without a state file',
      'Write the switch (on, as sealed passwords prove) over what was found',
      `${unsealedOff} revision = 9`,
      true,
    ],
  ])('asks for %s what it does', async (_, question, change, losesStateFile) => {
    await addMailbox('one');
    await report('encryption', 'enable', ...flags);
    cli.sql(change);
    if (losesStateFile) await rename(join(cli.dataDir, 'switch-state'), join(cli.folder, 'away'));
    const asked = `${question}, for this host and every worker? [y/N]`;
    const yes = await cli.typed(['encryption', 'trust-restored'], [[asked, 'y\n']]);
    expect(yes).toMatchObject({ code: 0, out: expect.stringContaining('encryption is on') });
    expect(await report('encryption', 'status')).toMatchObject({ state: 'on', problem: null });
  });

  test('has nothing to accept while nothing is wrong, and does not ask then', async () => {
    await cli.run(['migrate']);
    const { code, err } = await cli.run(['encryption', 'trust-restored']);
    expect({ code, err }).toEqual({
      code: 3,
      err: expect.stringMatching(/^there is nothing to trust: .+\nhint: .+\n$/),
    });
  });
});

describe('encryption replace-lost-key', () => {
  test('asks, creates a new key, and gives up the passwords under the lost one', async () => {
    await addMailbox('one');
    const { key_id: former } = await report('encryption', 'enable', ...flags);
    const held = await cli.run(['encryption', 'replace-lost-key', '--accept-password-loss']);
    expect(held).toMatchObject({ code: 3, err: expect.stringContaining(`key ${former} is not lost`) });
    await rename(keyFile, join(cli.folder, 'away'));
    expect(await cli.run(['encryption', 'replace-lost-key'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('--accept-password-loss'),
    });
    const { code, json } = await cli.run(['encryption', 'replace-lost-key', '--accept-password-loss', '--json']);
    expect(code).toBe(0);
    const id = expect.stringMatching(/^[0-9a-f]{16}$/);
    expect(json).toEqual([{ state: 'on', key_id: id, lost_key_id: former, lost: 1, lost_tokens: 0, set_aside: null }]);
    expect(await report('encryption', 'status')).toMatchObject({ state: 'on', problem: null, waiting: 1 });
    const set = ['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin'];
    expect(await cli.run(set, secret)).toMatchObject({ code: 3, out: '' });
    expect(await cli.run([...set, '--accept-connection'], secret)).toMatchObject({ code: 0 });
    expect(await report('encryption', 'status')).toMatchObject({ waiting: 0, sealed: 1 });
  });
});

describe('mailbox commands while encryption is on', () => {
  const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];

  test('store passwords sealed, or not at all', async () => {
    const { key_id: id } = await report('encryption', 'enable', ...flags);
    await addMailbox('one');
    expect(await report('mailbox', 'show', 'one')).toMatchObject({ password_form: 'sealed', password_key_id: id });
    await cli.run(['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin'], `${secret}!`);
    expect((await cli.run(['mailbox', 'list', '--json'])).json).toMatchObject([
      { name: 'one', password_form: 'sealed', password_key_id: id },
    ]);
    await rename(keyFile, join(cli.folder, 'away'));
    const refusals: Ran[] = [
      await cli.run(['mailbox', 'add', '--name', 'two', ...server], secret),
      await cli.run(['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin'], secret),
      await cli.run(['mailbox', 'test', 'one']),
      await cli.run(['poll', 'one']),
    ];
    for (const { code, err } of refusals) {
      expect(code).toBe(1);
      expect(err).toMatch(/there is no key file at .+\nhint: .+\n$/);
    }
    expect((await cli.run(['mailbox', 'list', '--json'])).json).toHaveLength(1);
    const checked = await cli.run(['check', '--json']);
    expect(checked.code).toBe(1);
    expect(checked.json.filter(({ ok }) => ok === false)).toMatchObject([
      { check: 'switch', code: 'key_file_missing', hint: expect.any(String) },
      { check: 'mailbox one', code: 'key_file_missing' },
    ]);
    const { out } = await cli.run(['check']);
    expect(out.match(/there is no key file at/g)).toHaveLength(1);
    expect(out).toMatch(/^failed {2}mailbox one: same reason as switch$/m);
  });

  test('change nothing of a partly removed mailbox, but remove it', async () => {
    await addMailbox('one');
    cli.sql(`update mailboxes set state = 'removing'`);
    for (const args of [
      ['pause', 'one'],
      ['resume', 'one'],
      ['set-password', 'one', '--password-stdin'],
    ])
      expect(await cli.run(['mailbox', ...args], secret)).toMatchObject({
        code: 3,
        err: 'the removal of mailbox one was interrupted\nhint: Complete it with: ticketmaild mailbox remove one\n',
      });
    expect((await cli.run(['mailbox', 'list'])).out).toMatch(/^one +removing /m);
    expect((await cli.run(['check'])).out).toMatch(/^ok {6}mailbox one: its removal was interrupted/m);
    expect(await cli.run(['mailbox', 'remove', 'one', '--yes'])).toMatchObject({ code: 0 });
    expect((await cli.run(['mailbox', 'list', '--json'])).json).toHaveLength(0);
  });

  test('check shows a key file that is refused, and what the switch says', async () => {
    await addMailbox('one');
    const { key_id: id } = await report('encryption', 'enable', ...flags);
    const fine = (await cli.run(['check'])).out;
    expect(fine).toMatch(new RegExp(`^ok {6}key file: key ${id}$`, 'm'));
    expect(fine).toMatch(
      new RegExp(`^ok {6}switch: encryption is on under key ${id}; 1 password sealed, 0 in plain text$`, 'm'),
    );
    await writeFile(keyFile, 'x');
    const { code, out } = await cli.run(['check']);
    expect(code).toBe(1);
    expect(out).toMatch(/^failed {2}key file: .+\n {8}hint: .+$/m);
    expect(out).toMatch(/^failed {2}switch: /m);
  });
});
