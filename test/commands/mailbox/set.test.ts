/**
 * `mailbox set` with a real Dovecot: what is not named stays, the stored password goes along to another server only
 * after it was tried there, and nothing changes when it is refused.
 */
import { once } from 'node:events';
import { unlink } from 'node:fs/promises';
import { type AddressInfo, createServer } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type CommandLine, openCommandLine, type Ran } from '../command-line.ts';

const password = 'SchneeundRegen47';
/** Not that of the server. */
const secret = 'Schnee-und-Regen-47';
let dovecot: Dovecot;
let cli: CommandLine;
let user: string;

beforeAll(async () => {
  dovecot = await startDovecot({ password: Buffer.from(password) });
});

afterAll(async () => {
  await dovecot[Symbol.asyncDispose]();
});

beforeEach(async () => {
  cli = await openCommandLine();
  user = dovecot.newUser();
});

afterEach(async () => {
  cli.expectNothingLeaked([secret, password]);
  await cli[Symbol.asyncDispose]();
});

/** Over STARTTLS, with the authority of the test server. */
async function add(more: readonly string[] = [], stored = password): Promise<void> {
  const server = ['--host', 'localhost', '--tls', 'starttls', '--port', `${dovecot.port}`, '--ca-file', dovecot.caFile];
  const args = ['mailbox', 'add', '--name', 'one', ...server, '--user', user, '--password-stdin', ...more];
  expect(await cli.run(args, stored)).toMatchObject({ code: 0 });
}

async function enable(): Promise<void> {
  const flags = ['--accept-key-loss', '--backup-prepared'];
  expect(await cli.run(['encryption', 'enable', ...flags])).toMatchObject({ code: 0 });
}

const set = (...more: string[]): Promise<Ran> => cli.run(['mailbox', 'set', 'one', ...more]);

async function shown(name = 'one'): Promise<Record<string, unknown>> {
  const { json } = await cli.run(['mailbox', 'show', name, '--json']);
  return json[0] ?? {};
}

async function poll(): Promise<number> {
  return (await cli.run(['poll', 'one'])).code;
}

const implicit = (): string[] => ['--tls', 'implicit', '--port', `${dovecot.tlsPort}`];

describe.each([
  ['sealed', true],
  ['in plain text', false],
])('a mailbox whose password is stored %s', (form, isOn) => {
  test('goes to another port, with the password that it has, and is polled there', async () => {
    await add();
    if (isOn) await enable();
    const { code, out, err } = await set(...implicit());
    expect({ code, err }).toEqual({ code: 0, err: expect.stringMatching(/^starts with messages from 2026-01-31T/) });
    expect(out).toMatch(
      new RegExp(
        `^changed one: port, TLS; now ${user} at localhost:${dovecot.tlsPort}, INBOX \\(0 messages there; cert`,
      ),
    );
    expect(await shown()).toMatchObject({
      ...{ port: dovecot.tlsPort, tls: 'implicit', ca_pem: dovecot.caPem, user, folder: 'INBOX' },
      password_form: form === 'sealed' ? 'sealed' : 'plain',
    });
    expect(await poll()).toBe(0);
  });

  test('stays as it was when the server there refuses it', async () => {
    await add(['--no-probe'], secret);
    if (isOn) await enable();
    const before = await shown();
    const { code, err } = await set(...implicit());
    expect(code).toBe(1);
    expect(err).toContain('user or password');
    expect(err).toContain('add --new-password');
    expect(await shown()).toEqual(before);
    // Another one given with it is tried, stored, and bound to the new place.
    if (isOn) expect(await cli.run(['mailbox', 'confirm', 'one', '--yes'])).toMatchObject({ code: 0 });
    const typed = await cli.typed(
      ['mailbox', 'set', 'one', ...implicit(), '--new-password'],
      [[`Password of "${user}": `, `${password}\r`]],
    );
    expect(typed).toMatchObject({ code: 0 });
    expect(typed.err).toContain(`for ${user} at localhost:${dovecot.tlsPort} (TLS implicit, own CA sha256 `);
    expect(await poll()).toBe(0);
  });
});

test('a row that was pointed elsewhere gets neither the stored password nor a new one', async () => {
  await add();
  await enable();
  cli.sql(`update mailboxes set host = 'evil.example'`);
  for (const more of [['--user', 'x'], implicit(), ['--folder', 'Other']]) {
    const { code, err } = await set(...more);
    expect(code).toBe(1);
    expect(err).toContain('set the password again: ticketmaild mailbox set-password one');
  }
  const given = await cli.run(['mailbox', 'set', 'one', '--user', 'x', '--password-stdin'], secret);
  expect(given.code).toBe(3);
  expect(given.err).toContain('does not point to the server that its password was sealed for');
  expect(await shown()).toMatchObject({ host: 'evil.example', user });
  // What has nothing to do with the server can be changed all the same.
  expect(await set('--on-success', 'leave')).toMatchObject({ code: 0 });
});

/** The mailbox points to a foreign server that counts its connections; `stored` changes its password. */
async function pointToTheirs(stored: string): Promise<AsyncDisposable & { readonly accepted: readonly unknown[] }> {
  const accepted: unknown[] = [];
  const theirs = createServer((socket) => accepted.push(socket.destroy())).listen(0, '127.0.0.1');
  await once(theirs, 'listening');
  const { port } = theirs.address() as AddressInfo;
  cli.sql(`update mailboxes set host = '127.0.0.1', port = ${port}, tls_mode = 'none', ca_pem = null, ${stored}`);
  return { accepted, [Symbol.asyncDispose]: async () => void theirs.close() };
}

describe('a new password goes to no server for which nothing vouches', () => {
  const written = `password = cast('x' as blob), password_form = 'plain', password_key_id = null`;

  test.each([
    ['written into the table with it', written],
    ['damaged', `password = x'00'`],
  ])('the stored one was %s', async (_what, stored) => {
    await add();
    await enable();
    await using theirs = await pointToTheirs(stored);
    const before = await shown();
    for (const more of [
      ['--interval', '79'],
      ['--folder', 'Other'],
    ]) {
      const given = await cli.run(['mailbox', 'set', 'one', ...more, '--password-stdin'], secret);
      expect(given).toMatchObject({ code: 3, out: '' });
      expect(given.err).toContain('use mailbox set-password with --accept-connection');
    }
    expect(theirs.accepted).toEqual([]);
    expect(await shown()).toMatchObject({ interval_s: null, folder: 'INBOX', port: before['port'] });
  });

  test('where the row of the switch is gone, on a host that never saw it', async () => {
    await add();
    await enable();
    await using theirs = await pointToTheirs(written);
    cli.sql(
      `insert into mailboxes (id, name, host, username, password, password_form) values ('2', 'two', 'h', 'u', 'x', 'sealed')`,
    );
    cli.sql('delete from encryption_switch');
    for (const name of ['switch-state', 'encryption-key.bin']) await unlink(join(cli.dataDir, name));
    const given = await cli.run(['mailbox', 'set', 'one', '--interval', '79', '--password-stdin'], secret);
    expect(given).toMatchObject({ code: 3, out: '', err: expect.stringContaining('encryption_switch') });
    expect(theirs.accepted).toEqual([]);
  });

  test('a stored one written into the table was moved to another server', async () => {
    await add();
    await enable();
    cli.sql(
      `update mailboxes set password = cast('${password}' as blob), password_form = 'plain', password_key_id = null`,
    );
    expect(await cli.run(['encryption', 'reseal'])).toMatchObject({ code: 0 });
    expect(await set(...implicit())).toMatchObject({ code: 0 });
    const given = ['mailbox', 'set-password', '--no-probe', 'one', '--password-stdin'];
    expect(await cli.run(given, password)).toMatchObject({
      code: 3,
      err: expect.stringContaining('no command has confirmed it'),
    });
    expect(await cli.run([...given, '--accept-connection'], password)).toMatchObject({ code: 0 });
    expect(await poll()).toBe(0);
  });
});

test('other settings are changed one by one, and need no password', async () => {
  await add();
  await enable();
  await dovecot.createFolder(user, 'Anfragen');
  expect(await set('--on-success', 'move:Erledigt', '--interval', '15')).toMatchObject({ code: 0 });
  expect(await shown()).toMatchObject({
    on_success: 'move:Erledigt',
    interval_s: 15,
    folder: 'INBOX',
    port: dovecot.port,
  });
  const { json } = await set('--folder', 'Anfragen', '--since', 'all', '--interval', 'default', '--json');
  expect(json).toMatchObject([{ name: 'one', changed: ['folder', 'since', 'interval'], probed: true, messages: 0 }]);
  expect(await shown()).toMatchObject({
    on_success: 'move:Erledigt',
    interval_s: null,
    folder: 'Anfragen',
    since: 'all',
  });
  expect(await poll()).toBe(0);
  expect(await set('--name', 'two')).toMatchObject({ code: 0, out: expect.stringMatching(/^changed two: name; now /) });
  expect(await shown('two')).toMatchObject({ folder: 'Anfragen' });
});

test('a move is probed as by mailbox add, and says that its folder is not there; a failed probe changes nothing', async () => {
  await add();
  const missing = 'note: there is no folder Done yet: the first move creates it, if the server allows the name';
  const { err, json } = await set('--on-success', 'move:Done', '--json');
  expect([err.includes(missing), json]).toEqual([true, [expect.objectContaining({ probed: true })]]);
  const untried = await set('--on-success', 'move:Other', '--no-probe');
  expect([untried.code, untried.err]).toEqual([0, '']);
  const kept = await set('--on-success', 'leave', '--json');
  expect(kept.json).toMatchObject([{ changed: ['on_success'], probed: false }]);
  await dovecot.stop();
  expect(await set('--on-success', 'delete')).toMatchObject({ code: 1 });
  expect(await shown()).toMatchObject({ on_success: 'leave' });
  await dovecot.restart();
});

test('another folder starts at --since, and messages of the former folder are not counted as its own', async () => {
  const mail = (subject: string) => Buffer.from(`From: a@example.org\r\nSubject: ${subject}\r\n\r\nHello\r\n`);
  await dovecot.append(user, 'INBOX', [mail('one'), mail('two')]);
  await dovecot.createFolder(user, 'Anfragen');
  await dovecot.append(user, 'Anfragen', [mail('three'), mail('four'), mail('five')]);
  await add(['--since', 'all']);
  expect(await poll()).toBe(0);
  expect(await set('--folder', 'Anfragen', '--since', 'all')).toMatchObject({ code: 0 });
  expect(await poll()).toBe(0);
  const { json } = await cli.run(['ticket', 'list', '--json']);
  expect(json.map(({ subject }) => subject).sort()).toEqual(['five', 'four', 'one', 'three', 'two']);
});

describe('nothing is changed', () => {
  test('by a change that changes nothing', async () => {
    await add();
    const same = ['--port', `${dovecot.port}`, '--on-success', 'seen'];
    expect(await set(...same)).toMatchObject({
      code: 0,
      out: 'nothing changed: one has these settings already\n',
      err: '',
    });
    expect((await set(...same, '--json')).json).toMatchObject([{ name: 'one', changed: [], probed: false }]);
    const { code, err } = await set();
    expect({ code, err }).toEqual({
      code: 2,
      err: 'no change of mailbox one is given\nhint: ticketmaild mailbox set --help lists what can be changed.\n',
    });
    const alone = await cli.run(['mailbox', 'set', 'one', '--password-stdin'], secret);
    expect(alone.err).toContain('hint: For the password alone: ticketmaild mailbox set-password one\n');
  });

  test.each<[string, string[], number, string]>([
    ['a name that is taken', ['--name', 'two'], 2, 'a mailbox named "two" exists already'],
    ['a folder that is not there', ['--folder', 'Nowhere'], 1, 'folder "Nowhere"'],
    ['a server that is not there', ['--host', '127.0.0.1', '--port', '1'], 1, '127.0.0.1:1'],
    ['a start without another folder', ['--since', 'all'], 2, '--since sets the start of another folder'],
    [
      'a password in clear to another machine',
      ['--host', 'mail.example', '--tls', 'none'],
      3,
      'which is another machine',
    ],
    ['two kinds of trust', ['--system-ca', '--fingerprint', 'ab'.repeat(32)], 2, '--system-ca excludes'],
    ['an interval that is none', ['--interval', '0'], 2, '--interval must be a whole number'],
  ])('by %s', async (_what, more, code, message) => {
    await add();
    const two = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];
    await cli.run(['mailbox', 'add', '--name', 'two', ...two], secret);
    const before = await shown();
    const ran = await set(...more);
    expect(ran.err).toContain(message);
    expect(ran.code).toBe(code);
    expect(await shown()).toEqual(before);
  });

  test('for a mailbox that is not there', async () => {
    await add();
    const { code, err } = await cli.run(['mailbox', 'set', 'two', '--folder', 'Other']);
    expect({ code, err }).toMatchObject({ code: 4, err: expect.stringContaining('no mailbox named "two"') });
  });
});

test('the authorities of the system, a pin and a file of authorities take each other’s place', async () => {
  await add();
  expect(await set('--fingerprint', dovecot.fingerprint)).toMatchObject({ code: 0 });
  expect(await shown()).toMatchObject({ ca_pem: null, fingerprint: expect.stringMatching(/^[0-9a-f]{64}$/) });
  expect(await set('--ca-file', dovecot.caFile)).toMatchObject({ code: 0 });
  expect(await shown()).toMatchObject({ ca_pem: dovecot.caPem, fingerprint: null });
  expect((await set('--system-ca')).code).toBe(1);
  expect(await set('--system-ca', '--no-probe')).toMatchObject({ code: 0 });
  expect(await shown()).toMatchObject({ ca_pem: null, fingerprint: null });
});
