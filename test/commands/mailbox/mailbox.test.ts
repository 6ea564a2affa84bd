import { spawnSync } from 'node:child_process';
import { X509Certificate } from 'node:crypto';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { launcher } from '../../support/processes/launcher.ts';
import { readCertificates } from '../../support/servers/authority.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { freePort } from '../../support/servers/programs.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';
import { type CommandLine, nowMs, openCommandLine, type Ran } from '../command-line.ts';

let dovecot: Dovecot;
let cli: CommandLine;

beforeAll(async () => {
  [dovecot, cli] = await Promise.all([startDovecot(), openCommandLine()]);
});

afterAll(async () => {
  await cli[Symbol.asyncDispose]();
  await dovecot[Symbol.asyncDispose]();
});

const mail = (subject: string): Uint8Array =>
  Buffer.from(`From: Ann <ann@example.org>\r\nTo: desk@example.org\r\nSubject: ${subject}\r\n\r\nHello\r\n`);

/** `mailbox add` over TLS with the authority of the test server. */
function add(name: string, user: string, more: readonly string[] = [], password = 'pw\n'): Promise<Ran> {
  const server = ['--host', dovecot.host, '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile];
  return cli.run(['mailbox', 'add', '--name', name, ...server, '--user', user, '--password-stdin', ...more], password);
}

async function shown(name: string): Promise<Record<string, unknown>> {
  const { json } = await cli.run(['mailbox', 'show', name, '--json']);
  return json[0] ?? {};
}

const readable = (name: string): string =>
  `encryption is off, so the password of ${name} is readable in the database. To seal it: ticketmaild encryption enable`;

describe('mailbox add', () => {
  test('probes, stores, and starts after the existing messages', async () => {
    const user = dovecot.newUser();
    await dovecot.append(user, 'INBOX', [mail('one'), mail('two')]);
    const { code, out, err } = await add('first', user);
    expect({ code, err }).toEqual({ code: 0, err: `warning: ${readable('first')}\n` });
    expect(out).toMatch(
      new RegExp(
        `^added first: ${user} at localhost:${dovecot.tlsPort}, INBOX \\(2 messages there; certificate valid until 20\\d\\d-`,
      ),
    );
    expect(await shown('first')).toMatchObject({ cursor: { uid: 2 }, since: new Date(nowMs).toISOString() });
    expect([...(await dovecot.listFlags(user, 'INBOX')).values()].every((flags) => flags.size === 0)).toBe(true);
  });

  test('on a folder that another one reads, says how many tickets a message opens', async () => {
    const user = dovecot.newUser();
    expect((await add('shared-1', user)).err).not.toContain('note:');
    const here =
      'note: mailbox shared-1 reads this folder too: each message opens one ticket, in the mailbox that reads it first';
    expect((await add('shared-2', user)).err).toContain(here);
    const pin = ['--fingerprint', dovecot.fingerprint, '--user', user, '--password-stdin'];
    const elsewhere = [
      'mailbox',
      'add',
      '--name',
      'shared-3',
      '--host',
      '127.0.0.1',
      '--port',
      `${dovecot.tlsPort}`,
      ...pin,
    ];
    const { code, err } = await cli.run(elsewhere, 'pw\n');
    expect([code, err]).toEqual([
      0,
      expect.stringContaining(
        'note: mailbox shared-1 seems to read this folder under another host name: each message opens a ticket in both; use one host name',
      ),
    ]);
    await using other = await startDovecot();
    const server = ['--host', other.host, '--port', `${other.tlsPort}`, '--ca-file', other.caFile];
    const args = ['mailbox', 'add', '--name', 'shared-4', ...server, '--user', user, '--password-stdin'];
    const stranger = await cli.run(args, 'pw\n');
    expect([stranger.code, stranger.err]).toEqual([0, expect.not.stringContaining('note: mailbox')]);
    for (const name of ['shared-1', 'shared-2', 'shared-3', 'shared-4'])
      await cli.run(['mailbox', 'remove', name, '--yes']);
  });

  test('with --since all it starts with the first mail, with a date at that time', async () => {
    const user = dovecot.newUser();
    await add('all', user, ['--since', 'all']);
    await add('dated', user, ['--since', '2026-01-30']);
    expect(await shown('all')).toMatchObject({ since: 'all', cursor: null });
    expect(await shown('dated')).toMatchObject({ since: '2026-01-30T00:00:00.000Z', cursor: null });
  });

  test('stores all settings, folders with names in any script included', async () => {
    const user = dovecot.newUser();
    await dovecot.createFolder(user, '受信箱');
    const options = ['--folder', '受信箱', '--on-success', 'move:INBOX', '--interval', '15', '--json'];
    const { json } = await add('settings', user, options);
    expect(json).toEqual([
      expect.objectContaining({ name: 'settings', probed: true, messages: 0, on_success: 'move:INBOX' }),
    ]);
    expect(json[0]?.warnings).toEqual([readable('settings')]);
    expect(await shown('settings')).toMatchObject({
      state: 'active',
      host: 'localhost',
      port: dovecot.tlsPort,
      tls: 'implicit',
      ca_pem: dovecot.caPem,
      user,
      folder: '受信箱',
      on_success: 'move:INBOX',
      interval_s: 15,
      password_form: 'plain',
      password_key_id: null,
    });
  });

  test('accepts a pinned certificate instead of an authority, and STARTTLS', async () => {
    const args = ['mailbox', 'add', '--host', 'localhost', '--user', dovecot.newUser(), '--password-stdin'];
    const pin = ['--fingerprint', dovecot.fingerprint];
    const implicit = await cli.run([...args, ...pin, '--name', 'pinned', '--port', `${dovecot.tlsPort}`], 'pw');
    const upgraded = await cli.run(
      [...args, ...pin, '--name', 'upgraded', '--tls', 'starttls', '--port', `${dovecot.port}`],
      'pw',
    );
    expect([implicit.code, upgraded.code]).toEqual([0, 0]);
  });

  test('stores nothing when the probe fails, and says why in one line with a hint', async () => {
    const user = dovecot.newUser();
    const wrongPassword = await add('bad', user, [], 'wrong\n');
    const wrongFolder = await add('bad', user, ['--folder', 'Inbocks']);
    const untrusted = await cli.run(
      [
        'mailbox',
        'add',
        '--name',
        'bad',
        '--host',
        'localhost',
        '--port',
        `${dovecot.tlsPort}`,
        '--user',
        user,
        '--password-stdin',
      ],
      'pw',
    );
    const refused = await cli.run(
      [
        'mailbox',
        'add',
        '--name',
        'bad',
        '--host',
        '127.0.0.1',
        '--port',
        `${await freePort()}`,
        '--user',
        user,
        '--password-stdin',
      ],
      'pw',
    );
    const failures = [wrongPassword, wrongFolder, untrusted, refused];
    expect(failures.map(({ code, out }) => ({ code, out }))).toEqual(failures.map(() => ({ code: 1, out: '' })));
    for (const { err } of failures) expect(err).toMatch(/^\S+:\d+.*: [^\n]+\nhint: [^\n]+\n$/m);
    expect(wrongFolder.err).toContain(`localhost:${dovecot.tlsPort}, folder "Inbocks": `);
    expect(wrongFolder.err).toMatch(/hint: Existing folders: .*INBOX/);
    expect(untrusted.err).toContain('--ca-file');
    expect((await cli.run(['mailbox', 'show', 'bad'])).err).toContain('There is no mailbox named "bad"');
  });

  test('shows the certificate that nothing vouches for, and how to pin it once it was compared', async () => {
    const args = ['mailbox', 'add', '--name', 'unknown', '--host', 'localhost', '--port', `${dovecot.tlsPort}`];
    const { code, err } = await cli.run([...args, '--user', dovecot.newUser(), '--password-stdin'], 'pw');
    const fingerprint = dovecot.fingerprint.replaceAll(':', '').toLowerCase();
    expect(code).toBe(1);
    expect(err).toContain(
      `The server shows this certificate:\n  subject  CN=localhost\n  issuer   CN=Test authority\n  valid    from 20`,
    );
    const { certificateFile } = await readCertificates(await certificatesTemplate());
    const { validFromDate: from, validToDate: until } = new X509Certificate(readFileSync(certificateFile));
    const [first, last] = [from, until].map((date) => date.toISOString().slice(0, 10));
    expect(err).toContain(`  valid    from ${first} until ${last}\n`);
    expect(err).toContain(`\n  SHA-256  ${fingerprint}\n`);
    expect(err).toMatch(
      new RegExp(`^hint: Compare the fingerprint with the operator .+ --fingerprint ${fingerprint}, `, 'm'),
    );
  });

  test('stores it untried with --no-probe', async () => {
    const { code, out } = await add('untried', 'nobody', ['--no-probe']);
    expect({ code, out }).toMatchObject({ code: 0, out: expect.stringContaining('(not probed)') });
    expect(await shown('untried')).toMatchObject({ cursor: null, since: new Date(nowMs).toISOString() });
  });

  test('refuses a name that is taken before it asks for anything', async () => {
    await add('taken', 'nobody', ['--no-probe']);
    const { code, err } = await add('taken', 'nobody', ['--no-probe'], '');
    expect({ code, err }).toEqual({
      code: 2,
      err: 'a mailbox named "taken" exists already\nhint: Choose another name.\n',
    });
  });

  test('needs a password', async () => {
    const empty = await add('none', 'nobody', ['--no-probe'], '\n');
    const unattended = await cli.run(['mailbox', 'add', '--name', 'none', '--host', 'h', '--user', 'u', '--no-probe']);
    expect([empty.code, unattended.code]).toEqual([2, 2]);
    expect(empty.err).toMatch(/^the password is empty\n/);
    expect(unattended.err).toMatch(/^there is no terminal to ask for the password at\n/);
  });
});

describe('mailbox list, show and test', () => {
  test('a fresh database has no mailbox, and says what to do', async () => {
    await using fresh = await openCommandLine();
    await fresh.run(['migrate']);
    expect(await fresh.run(['mailbox', 'list'])).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringContaining('mailbox add'),
    });
    expect(await fresh.run(['mailbox', 'list', '--json'])).toMatchObject({ code: 0, out: '' });
  });

  test('lists print one object a line, or a table', async () => {
    await add('listed', dovecot.newUser());
    const { json } = await cli.run(['mailbox', 'list', '--json']);
    expect(json.map(({ name }) => name)).toContain('listed');
    expect((await cli.run(['mailbox', 'list'])).out).toMatch(
      /^NAME +STATE +LAST SUCCESS \(UTC\) +PROBLEM +PUSH +SIGN-IN +WHERE\n/,
    );
  });

  test('the password is neither shown nor written anywhere but into the database', async () => {
    const user = dovecot.specialUser;
    expect((await add('secret', user.name, [], user.password)).code).toBe(0);
    const runs = [
      ['show', 'secret'],
      ['show', 'secret', '--json'],
      ['list', '--json'],
      ['test', 'secret', '--json'],
    ];
    for (const args of runs) {
      const { code, out, err } = await cli.run(['mailbox', ...args]);
      expect(code).toBe(0);
      expect(out + err).not.toContain(user.password);
      expect(out).not.toMatch(/password(?![_ ](form|key[_ ]id))/i);
    }
    const data = join(cli.folder, 'data');
    const files = readdirSync(data, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
    const others = files.filter(({ name }) => !name.startsWith('ticketmaild.db'));
    for (const { parentPath, name } of others)
      expect(readFileSync(join(parentPath, name)).includes(user.password)).toBe(false);
  });

  test('test says what the server is like', async () => {
    await add('tested', dovecot.newUser());
    const { code, json } = await cli.run(['mailbox', 'test', 'tested', '--json']);
    expect(code).toBe(0);
    expect(json[0]).toMatchObject({
      mailbox: 'tested',
      ok: true,
      messages: 0,
      mechanism: 'PLAIN',
      capabilities: expect.arrayContaining(['IMAP4rev1']),
      certificate: { fingerprint: dovecot.fingerprint.replaceAll(':', '').toLowerCase() },
    });
    expect((await cli.run(['mailbox', 'test', 'tested'])).out).toMatch(/^tested works\nserver {8}/);
  });
});

test('the list names a mailbox with an invalid row, one without its key, and one with suspended logins', async () => {
  await using own = await openCommandLine();
  const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin'];
  for (const name of ['bad', 'keyless', 'refused']) await own.run(['mailbox', 'add', '--name', name, ...server], 'pw');
  await own.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
  own.sql(
    `update mailboxes set tls_mode = 'ssl' where name = 'bad'`,
    `update mailboxes set password_key_id = '0123456789abcdef' where name = 'keyless'`,
    `update mailbox_state set failures = 3, failing_since = next_poll_at, last_error_code = 'login_refused', last_error_message = 'no', last_error_hint = 'h', last_error_at = next_poll_at, login_failures = 3, login_failed_version = (select changed_at from mailboxes where name = 'refused') where mailbox_id = (select id from mailboxes where name = 'refused')`,
  );
  const { out } = await own.run(['mailbox', 'list']);
  expect(out).toMatch(/^bad +invalid .* mailbox_invalid /m);
  expect(out).toMatch(/^keyless +waiting .* waits for its key /m);
  expect(out).toMatch(/^refused +suspended .* login_refused /m);
});

describe('mailbox pause, resume, set-password and remove', () => {
  test('set-password stores what the server accepts, and nothing else', async () => {
    await add('tried', dovecot.newUser());
    const wrong = await cli.run(['mailbox', 'set-password', 'tried', '--password-stdin'], 'wrong');
    expect(wrong).toMatchObject({ code: 1, out: '' });
    expect(wrong.err).toMatch(
      /^hint: Nothing was changed: check the password\. To store it without a login: --no-probe\.$/m,
    );
    expect((await cli.run(['mailbox', 'test', 'tried'])).code).toBe(0);
    const right = await cli.run(['mailbox', 'set-password', 'tried', '--password-stdin'], 'pw');
    expect(right).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^set the password of tried \(0 messages there; /),
    });
  });

  test('change the one that is named', async () => {
    await add('changed', dovecot.newUser());
    expect((await cli.run(['mailbox', 'pause', 'changed'])).out).toBe('paused changed\n');
    expect(await shown('changed')).toMatchObject({ state: 'paused' });
    expect((await cli.run(['mailbox', 'resume', 'changed'])).out).toBe('resumed changed\n');
    expect(await shown('changed')).toMatchObject({ state: 'active' });
    expect(
      (await cli.run(['mailbox', 'set-password', '--no-probe', 'changed', '--password-stdin'], 'wrong')).code,
    ).toBe(0);
    expect((await cli.run(['mailbox', 'test', 'changed'])).code).toBe(1);
    expect((await cli.run(['mailbox', 'set-password', '--no-probe', 'changed', '--password-stdin'], 'pw')).code).toBe(
      0,
    );
    expect((await cli.run(['mailbox', 'test', 'changed'])).code).toBe(0);
    expect(await cli.run(['mailbox', 'remove', 'changed'])).toMatchObject({
      code: 2,
      err: 'there is no terminal to ask at\nhint: Confirm it with --yes.\n',
    });
    expect((await cli.run(['mailbox', 'remove', 'changed', '--yes'])).out).toBe('removed changed\n');
    expect((await cli.run(['mailbox', 'show', 'changed'])).code).toBe(4);
  });

  test.each([['show'], ['test'], ['pause'], ['resume'], ['remove', '--yes'], ['set-password']])(
    '%s of a mailbox that is not there is refused',
    async (command, ...more) => {
      const { code, err } = await cli.run(['mailbox', command, 'nowhere', ...more]);
      expect(code).toBe(4);
      expect(err).toMatch(/^[^\n]*nowhere[^\n]*\nhint: [^\n]+\n$/);
    },
  );
});

/** A Japanese sender and subject, a colour code in the subject, and an attachment. */
const attached =
  'From: =?utf-8?B?5bGx55Sw?= <yamada@example.org>\r\nTo: desk@example.org\r\nMessage-ID: <a1@example.org>\r\n' +
  'Date: Fri, 30 Jan 2026 10:00:00 +0100\r\nSubject: =?utf-8?B?6KuL5rGC?= \u001b[31m\r\nMIME-Version: 1.0\r\n' +
  'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: text/plain\r\n\r\nHi\r\n' +
  '--b\r\nContent-Type: application/pdf\r\nContent-Disposition: attachment; filename=a.pdf\r\n\r\nPDF\r\n--b--\r\n';

/** How `ticket show --json` prints the ticket of that mail. */
const shownTicket = {
  subject: expect.stringContaining('請求'),
  requester: { name: '山田', address: 'yamada@example.org' },
  status: expect.any(String),
  messages: [
    {
      message_id: 'a1@example.org',
      from: { name: '山田', address: 'yamada@example.org' },
      to: [{ name: '', address: 'desk@example.org' }],
      subject: expect.stringContaining('請求'),
      sent_at: '2026-01-30T09:00:00.000Z',
      received_at: expect.stringMatching(/^20\d\d-.*Z$/),
      kind: 'human',
      text: expect.stringContaining('Hi'),
      html: null,
      attachments: [
        {
          name: 'a.pdf',
          type: 'application/pdf',
          size: 3,
          sha256: expect.stringMatching(/^[0-9a-f]{64}$/),
          content_id: null,
          inline: false,
        },
      ],
    },
  ],
};

describe('poll, ticket, message, reconcile', () => {
  test('what is fetched is shown with the names that scripts rely on', async () => {
    await using fresh = await openCommandLine();
    const user = dovecot.newUser();
    await dovecot.append(user, 'INBOX', [mail('one'), Buffer.from(attached)]);
    const server = ['--host', 'localhost', '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile];
    const how = ['--user', user, '--since', 'all', '--on-success', 'leave', '--password-stdin'];
    await fresh.run(['mailbox', 'add', '--name', 'support', ...server, ...how], 'pw');

    const polled = await fresh.run(['poll', 'support', '--json']);
    expect(polled).toMatchObject({ code: 0, err: '' });
    expect(polled.json).toEqual([
      expect.objectContaining({
        mailbox: 'support',
        ok: true,
        outcomes: expect.objectContaining({ ticket_opened: 2 }),
      }),
    ]);
    await using app = await fresh.open();
    const { id } = await app.store.mailboxByName('support');
    const lease = await app.store.acquireLease(id, 'another', 60_000, null);
    const taken = await fresh.run(['poll', 'support']);
    expect(taken.code).toBe(1);
    expect(taken.err).toMatch(/^support: a running daemon polls mailbox support\nhint: ticketmaild status /);
    if (lease === null) throw new Error('the lease was not free');
    await app.store.releaseLease(lease, { ok: true, nextPollAfterMs: 60_000 });
    expect((await fresh.run(['poll'])).out).toMatch(/^support: no new mail \(\d+\.\d s\)\n$/);

    const tickets = (await fresh.run(['ticket', 'list', '--json'])).json;
    expect(tickets.map(({ message_count, mailbox }) => ({ message_count, mailbox }))).toEqual([
      { message_count: 1, mailbox: 'support' },
      { message_count: 1, mailbox: 'support' },
    ]);
    const japanese = tickets.find(({ subject }) => String(subject).includes('請求'));
    const ref = String(japanese?.ref);
    const [ticket] = (await fresh.run(['ticket', 'show', ref, '--json'])).json;
    expect(ticket).toMatchObject({ ref, ...shownTicket });

    const messages = (await fresh.run(['message', 'list', '--mailbox', 'support', '--full', '--json'])).json;
    expect(messages.map(({ uid, outcome, reason }) => ({ uid, outcome, reason }))).toEqual([
      { uid: 1, outcome: 'ticket_opened', reason: null },
      { uid: 2, outcome: 'ticket_opened', reason: null },
    ]);
    expect(messages[1]).toMatchObject({ ticket: ref, message_id: 'a1@example.org', attachments: [{ size: 3 }] });

    for (const args of [
      ['ticket', 'list'],
      ['ticket', 'show', ref],
      ['message', 'list', '--mailbox', 'support', '--full'],
    ]) {
      const { code, out } = await fresh.run(args);
      expect(code).toBe(0);
      expect(out).toContain('請求');
      expect(out).not.toContain('\u001b');
    }
    expect((await fresh.run(['ticket', 'list', '--limit', '1', '--json'])).json).toHaveLength(1);
    expect(await fresh.run(['reconcile', '--json'])).toMatchObject({
      code: 0,
      json: [{ ok: true, outcomes: 2, messages: 2, outcomes_without_message: 0, tickets_without_message: 0 }],
    });
  });

  test('the source of a mail is saved as a file of its owner, never over another, and never to a terminal', async () => {
    await using fresh = await openCommandLine();
    const user = dovecot.newUser();
    const source = mail('one');
    await dovecot.append(user, 'INBOX', [source]);
    const server = ['--host', 'localhost', '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile];
    const how = ['--user', user, '--since', 'all', '--password-stdin'];
    await fresh.run(['mailbox', 'add', '--name', 'support', ...server, ...how], 'pw');
    await fresh.run(['poll', 'support']);
    const file = join(fresh.folder, 'one.eml');
    const save = ['message', 'source', '--mailbox', 'support', '--output', file, '--uid'];
    expect(await fresh.run([...save, '1'])).toMatchObject({
      code: 0,
      out: `saved ${source.length} bytes as ${file}\n`,
    });
    expect(readFileSync(file).equals(source)).toBe(true);
    expect(statSync(file).mode & 0o777).toBe(0o600);
    expect((await fresh.run([...save, '1'])).err).toMatch(/^\S+ exists already\nhint: /);
    const other = [
      'message',
      'source',
      '--mailbox',
      'support',
      '--output',
      join(fresh.folder, 'other.eml'),
      '--uid',
      '7',
    ];
    expect((await fresh.run(other)).err).toMatch(/^no source of UID 7 in mailbox support is stored\nhint: /);
    expect(await fresh.run([...save, 'x'])).toMatchObject({ code: 2 });
  });

  test('one failing mailbox does not keep poll from the others', async () => {
    await using fresh = await openCommandLine();
    const server = ['--host', 'localhost', '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile, '--no-probe'];
    for (const [name, password] of [
      ['broken', 'wrong'],
      ['working', 'pw'],
    ] as const) {
      const who = ['--name', name, '--user', dovecot.newUser(), '--password-stdin'];
      await fresh.run(['mailbox', 'add', ...server, ...who], password);
    }
    const { code, json, err } = await fresh.run(['poll', '--json']);
    expect(code).toBe(1);
    expect(json.map(({ mailbox, ok }) => [mailbox, ok]).sort()).toEqual([
      ['broken', false],
      ['working', true],
    ]);
    expect(err).toMatch(/^broken: [^\n]+\nhint: [^\n]+$/m);
    const listed = (await fresh.run(['mailbox', 'list', '--json'])).json;
    expect(listed.find(({ name }) => name === 'broken')).toMatchObject({
      failures: 1,
      last_error: { code: 'login_refused', hint: expect.any(String), at: expect.stringMatching(/Z$/) },
    });
    const checked = await fresh.run(['check', '--json']);
    expect(checked.code).toBe(1);
    expect(checked.json.map(({ check, ok }) => [check, ok])).toEqual([
      ['configuration', true],
      ['data folder', true],
      ['admin page', true],
      ['key file', true],
      ['database', true],
      ['tables', true],
      ['switch', true],
      ['mailboxes', true],
      ['passwords', true],
      ['mailbox broken', false],
      ['mailbox working', true],
    ]);
  });

  test.each([
    [['ticket', 'show', 'NO-1'], 4, 'NO-1'],
    [['message', 'list', '--mailbox', 'nowhere'], 4, 'nowhere'],
    [['poll', 'nowhere'], 4, 'nowhere'],
    [['ticket', 'list', '--limit', 'many'], 2, '--limit must be a whole number from 1 to 999999999, not "many"'],
  ])('%j is refused', async (args, exitCode, named) => {
    await cli.run(['migrate']);
    const { code, out, err } = await cli.run(args);
    expect({ code, out }).toEqual({ code: exitCode, out: '' });
    expect(err.split('\n')[0]).toContain(named);
  });
});

describe('check and migrate', () => {
  test('a fresh machine is in order, and nothing is changed by looking', async () => {
    await using fresh = await openCommandLine();
    const { code, out } = await fresh.run(['check']);
    expect(code).toBe(0);
    expect(out).toMatch(/^ok {6}tables: \d+ migrations pending; the next start applies them$/m);
    const before = (await fresh.run(['migrate', '--status', '--json'])).json;
    expect(before.every(({ applied_at }) => applied_at === null)).toBe(true);
    const after = (await fresh.run(['migrate', '--json'])).json;
    expect(after.map(({ number }) => number)).toEqual(before.map(({ number }) => number));
    expect(after.every(({ applied_at }) => typeof applied_at === 'string')).toBe(true);
    expect(await fresh.run(['migrate'])).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^nothing to do: all \d+ migrations are applied\n$/),
      err: '',
    });
    expect((await fresh.run(['migrate', '--json'])).json).toEqual(after);
    const listed = await fresh.run(['migrate', '--status']);
    expect(listed).toMatchObject({
      code: 0,
      out: expect.stringMatching(/^NUMBER +NAME +APPLIED/),
      err: '0 to apply\n',
    });
    expect((await fresh.run(['check'])).out).toMatch(/^ok {6}tables: up to date$/m);
  });

  test('each part that is wrong has its line and its hint', async () => {
    await using broken = await openCommandLine({
      TICKETMAILD_DATABASE_URL: `mysql://u:hunter2@127.0.0.1:${await freePort()}/t`,
    });
    const database = await broken.run(['check']);
    expect(database.code).toBe(1);
    expect(database.out).toMatch(/^failed {2}database: [^\n]+\n {8}hint: [^\n]+\n$/m);
    expect(database.out).not.toContain('hunter2');

    const file = join(broken.folder, 'bad.toml');
    writeFileSync(file, '[poll]\ninterval_s = "soon"\n');
    const config = await broken.run(['check', '--config', file]);
    expect(config.code).toBe(2);
    expect(config.out).toContain(`failed  configuration: ${file}:2: poll.interval_s must be`);

    writeFileSync(join(broken.folder, 'plain'), '');
    await using nowhere = await openCommandLine({ TICKETMAILD_DATA_DIR: join(broken.folder, 'plain', 'data') });
    const folder = await nowhere.run(['check']);
    expect({ code: folder.code, out: folder.out }).toMatchObject({
      code: 1,
      out: expect.stringMatching(/^failed {2}data folder: /m),
    });
  });

  test('a disk that takes no byte leaves no file behind', async () => {
    await using full = await openCommandLine();
    // As on a full disk a file can be made, and nothing be written to it.
    const script = `trap '' XFSZ; ulimit -f 0; exec '${process.execPath}' '${launcher}' check`;
    mkdirSync(full.dataDir, { mode: 0o700 });
    const { stdout } = spawnSync('/bin/sh', ['-c', script], { env: full.env, encoding: 'utf8' });
    expect(stdout).toMatch(/^failed {2}data folder: data_dir .+ is not writable \(EFBIG\)$/m);
    expect(readdirSync(full.dataDir).filter((name) => name.startsWith('.check-'))).toEqual([]);
  });
});
