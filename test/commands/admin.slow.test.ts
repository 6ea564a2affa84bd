import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { pageLines } from '../../src/commands/admin.ts';
import type { AdminConfig } from '../../src/config/config.ts';
import { verifyAdminPassword } from '../../src/secret/admin-password.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { freePort } from '../support/servers/programs.ts';
import { type CommandLine, nowMs, openCommandLine } from './command-line.ts';

let cli: CommandLine;
let page: string;

beforeEach(async () => {
  const listen = `127.0.0.1:${await freePort()}`;
  page = `http://${listen}/admin`;
  cli = await openCommandLine({ TICKETMAILD_ADMIN_LISTEN: listen });
});

afterEach(async () => {
  cli.expectNothingLeaked([password, another]);
  await cli[Symbol.asyncDispose]();
});

const password = 'Zucker-und-Salz-91';
const another = 'Kupfer-und-Zinn-17';
const question = (name: string) => `New password of admin "${name}" (at least 12 bytes): `;
const again = 'Repeat it: ';

/** The rows as they are; a second connection, as another program has it. */
function rows(sql: string): readonly Record<string, unknown>[] {
  const database = new DatabaseSync(join(cli.dataDir, 'ticketmaild.db'));
  try {
    return database.prepare(sql).all();
  } finally {
    database.close();
  }
}

async function isPassword(text: string, name = 'ada'): Promise<boolean> {
  const [row] = rows(`select password_hash from admin_account where name_key = '${name}'`);
  using typed = SecretBytes.take(Buffer.from(text));
  return (await verifyAdminPassword(typed, String(row?.password_hash))).ok;
}

const added = (name = 'Ada') => cli.run(['admin', 'add', name, '--password-stdin'], `${password}\n`);

describe('admin add', () => {
  test('stores a one-way hash of the password, and prints the address of the page', async () => {
    const { code, out, err } = await added();
    expect({ code, out }).toEqual({ code: 0, out: 'added admin Ada\n' });
    expect(err).toMatch(
      new RegExp(
        `^The daemon does not run\\. Once it does, it serves the admin page at ${page} \\(from this machine alone; .* ssh -L`,
      ),
    );
    const [row] = rows('select * from admin_account');
    expect(row).toMatchObject({ name: 'Ada', password_hash: expect.stringMatching(/^\$argon2id\$v=19\$m=65536,/) });
    expect(await isPassword(password)).toBe(true);
    expect(await isPassword(`${password}\n`)).toBe(false);
  });

  test('asks twice at a terminal', async () => {
    const { code, err } = await cli.typed(
      ['admin', 'add', 'Ada'],
      [
        [question('Ada'), `${password}\r`],
        [again, `${password}\r`],
      ],
    );
    expect(code).toBe(0);
    expect(err).toContain(`${question('Ada')}\n${again}\n`);
    expect(await isPassword(password)).toBe(true);
  });

  test('stores nothing when the two differ', async () => {
    const answers = [
      [question('Ada'), `${password}\r`],
      [again, `${another}\r`],
    ] as const;
    const { code, err } = await cli.typed(['admin', 'add', 'Ada'], answers);
    expect(code).toBe(2);
    expect(err).toContain('the two passwords are not the same\nhint: Nothing was changed: try again.\n');
    expect(rows('select * from admin_account')).toEqual([]);
  });

  test('says at the first question that a password is too short', async () => {
    const { code, err } = await cli.typed(['admin', 'add', 'Ada'], [[question('Ada'), 'elf-bytes-x\r']]);
    expect(code).toBe(2);
    expect(err).toBe(
      `${question('Ada')}\nthe password is too short: at least 12 bytes\nhint: Nothing was changed: choose another one.\n`,
    );
    expect(rows('select * from admin_account')).toEqual([]);
  });

  test.each([
    ['nothing', '', 'the password is empty'],
    ['too little', 'elf-bytes-x\n', 'the password is too short: at least 12 bytes'],
    ['too much', 'x'.repeat(1025), 'the password is longer than'],
  ])('refuses %s from standard input', async (_title, input, sentence) => {
    const { code, err } = await cli.run(['admin', 'add', 'Ada', '--password-stdin'], input);
    expect(code).toBe(2);
    expect(err.split('\n')[0]).toContain(sentence);
  });

  test('needs a password from somewhere, and takes none as an argument', async () => {
    expect(await cli.run(['admin', 'add', 'Ada'])).toMatchObject({ code: 2 });
    await expect(cli.run(['admin', 'add', 'Ada', '--password', 'x'])).rejects.toThrow(/unknown option/);
    await expect(cli.run(['admin', 'add', 'Ada', 'x'])).rejects.toThrow(/too many arguments/);
  });

  test('refuses a name that is taken, in whatever case, before it asks', async () => {
    await added();
    const { code, err } = await cli.typed(['admin', 'add', 'ADA'], []);
    expect(code).toBe(2);
    expect(err).toBe(
      'an admin named "Ada" exists already\nhint: Choose another name, or set a new password of that one: ticketmaild admin set-password Ada\n',
    );
  });

  test('refuses a name that is none before it asks', async () => {
    const { code, err } = await cli.typed(['admin', 'add', 'Ada\x1b[2J'], []);
    expect(code).toBe(2);
    expect(err).toMatch(/^the name of an admin must be 1 to 64 printable characters/);
    expect(err).not.toContain('\x1b');
  });

  test('refuses a name that other commands would take for an option', async () => {
    const { code, err } = await cli.typed(['admin', 'add', '--', '-x'], []);
    expect({ code, lines: err.split('\n') }).toEqual({
      code: 2,
      lines: [
        'the name of an admin must be 1 to 64 printable characters, without a space at its ends or "-" at its beginning, and not "unknown"',
        'hint: Choose another name.',
        '',
      ],
    });
  });
});

describe('admin list', () => {
  test('shows who may sign in, and nothing of their passwords', async () => {
    expect((await cli.run(['migrate'])).code).toBe(0);
    expect(await cli.run(['admin', 'list'])).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringMatching(/no admin/),
    });
    await added('grace');
    await added('Ada');
    const { out } = await cli.run(['admin', 'list']);
    expect(out.split('\n').slice(1)).toEqual([
      expect.stringMatching(/^Ada +2026-01-31 08:30:00 +2026-01-31 08:30:00 +never$/),
      expect.stringMatching(/^grace +2026/),
      '',
    ]);
    expect(out).not.toContain('argon2');
    const [first] = (await cli.run(['admin', 'list', '--json'])).json;
    const at = new Date(nowMs).toISOString();
    expect(first).toEqual({ name: 'Ada', added_at: at, password_set_at: at, last_sign_in_at: null });
  });
});

describe('admin set-password', () => {
  test('stores another password, and ends the admin sessions', async () => {
    await added();
    const [{ id } = {}] = rows('select id from admin_account');
    const values = `('${'a'.repeat(64)}', '${id}', '2026-01-31 08:30:00.000', '2026-01-31 08:30:00.000')`;
    const database = new DatabaseSync(join(cli.dataDir, 'ticketmaild.db'));
    database.exec(`insert into admin_session (token_hash, account_id, created_at, seen_at) values ${values}`);
    database.close();
    const { code, out } = await cli.run(['admin', 'set-password', 'ADA', '--password-stdin'], another);
    expect({ code, out }).toEqual({
      code: 0,
      out: 'set the password of admin Ada, and ended the sessions of that account\n',
    });
    expect([await isPassword(password), await isPassword(another)]).toEqual([false, true]);
    expect(rows('select * from admin_session')).toEqual([]);
  });

  test('asks for nothing when there is no such admin', async () => {
    await added();
    const { code, err } = await cli.typed(['admin', 'set-password', 'Eve'], []);
    expect({ code, err }).toEqual({
      code: 4,
      err: 'there is no admin named "Eve"\nhint: See ticketmaild admin list.\n',
    });
  });
});

describe('admin remove', () => {
  test('asks first, removes, and notes when no account is left', async () => {
    await added();
    const asked = 'Remove admin Ada and end the sessions of that account? [y/N]';
    const kept = await cli.typed(['admin', 'remove', 'ada'], [[asked, 'n\r']]);
    expect(kept).toMatchObject({ code: 1, out: 'kept admin Ada\n' });
    const removed = await cli.typed(['admin', 'remove', 'ada'], [[asked, 'y\r']]);
    expect(removed).toMatchObject({ code: 0, out: 'removed admin Ada\n' });
    expect(removed.err).toContain('No account is left: the admin page refuses every sign-in.\n');
    expect(rows('select * from admin_account')).toEqual([]);
    expect(await cli.run(['admin', 'remove', 'ada', '--yes'])).toMatchObject({ code: 4 });
  });

  test('changes nothing without a terminal, removes with --yes', async () => {
    await added();
    expect(await cli.run(['admin', 'remove', 'Ada'])).toMatchObject({ code: 2 });
    expect(rows('select * from admin_account')).toHaveLength(1);
    expect(await cli.run(['admin', 'remove', 'Ada', '--yes'])).toMatchObject({ code: 0 });
  });
});

describe('admin unlock', () => {
  test('forgets every try to sign in, and is in the audit', async () => {
    await added();
    const database = new DatabaseSync(join(cli.dataDir, 'ticketmaild.db'));
    for (const bucket of ['a', 'b'])
      database.exec(
        `insert into admin_attempt (bucket, count, window_until) values ('${bucket}', 21, '2099-01-31 08:30:00.000')`,
      );
    database.close();
    const out = 'cleared all sign-in attempts; a running daemon notices within 3 seconds\n';
    expect(await cli.run(['admin', 'unlock'])).toMatchObject({ code: 0, out });
    expect(rows('select * from admin_attempt')).toEqual([]);
    expect(await cli.run(['admin', 'unlock'])).toMatchObject({ code: 0, out });
    expect((await cli.run(['admin', 'log', '--json', '--limit', '1'])).json).toMatchObject([
      { action: 'admin.unlocked', who: expect.stringMatching(/^[^@]+@/), detail: null },
    ]);
  });
});

describe('admin log', () => {
  test('shows what was changed, the newest first, and nothing of switch and quarantine', async () => {
    await added();
    await cli.run(['admin', 'set-password', 'Ada', '--password-stdin'], another);
    await cli.run(['admin', 'remove', 'Ada', '--yes']);
    await cli.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
    const { json } = await cli.run(['admin', 'log', '--json']);
    const who = expect.stringMatching(/^[^@]+@/);
    expect(json).toMatchObject([
      { action: 'admin.removed', detail: 'Ada', who },
      { action: 'admin.password_changed', detail: 'Ada', who },
      { action: 'admin.added', detail: 'Ada', who },
    ]);
    expect((await cli.run(['admin', 'log', '--limit', '1'])).out.split('\n')).toEqual([
      expect.stringMatching(/^WHEN \(UTC\) +WHO +WHAT +DETAIL$/),
      expect.stringMatching(/ admin\.removed +Ada$/),
      '',
    ]);
    expect((await cli.run(['encryption', 'log'])).out).not.toContain('admin.');
  });

  test('notes that nothing is recorded yet', async () => {
    await cli.run(['migrate']);
    expect(await cli.run(['admin', 'log'])).toMatchObject({
      code: 0,
      out: '',
      err: expect.stringMatching(/^No sign-in/),
    });
  });
});

describe('the address of the page is printed', () => {
  const here: AdminConfig = {
    ...{ host: '127.0.0.1', port: 8026, tls: null, proxies: [], origin: null, sessionTimeoutMs: 1_800_000 },
  };
  const tls = { certificateFile: 'c.pem', keyFile: 'k.pem' };
  const served = { kind: 'served', text: 'the daemon (pid 1) listens at 127.0.0.1:8026' } as const;

  test.each<[string, AdminConfig | null, RegExp]>([
    ['off', null, /^The admin page is off\. To enable it: set \[admin\] listen = /],
    ['on loopback', here, /127\.0\.0\.1:8026\/admin \(.*: ssh -L 8026:127\.0\.0\.1:8026 desk\)$/],
    [
      'on IPv6 loopback',
      { ...here, host: '::1' },
      /http:\/\/\[::1\]:8026\/admin \(.* ssh -L 8026:\[::1\]:8026 desk\)$/,
    ],
    ['behind a proxy', { ...here, origin: 'https://desk.example.org' }, / at https:\/\/desk\.example\.org\/admin$/],
    ['with TLS', { ...here, host: '192.0.2.1', tls }, / at https:\/\/192\.0\.2\.1:8026\/admin$/],
    ['everywhere', { ...here, host: '::', tls }, / at https:\/\/desk:8026\/admin$/],
  ])('%s', (_title, config, line) => expect(pageLines(config, 'desk', config && served).join('\n')).toMatch(line));

  test('by admin add, off', async () => {
    await using off = await openCommandLine({ TICKETMAILD_ADMIN_LISTEN: 'off' });
    const { err } = await off.run(['admin', 'add', 'Ada', '--password-stdin'], password);
    expect(err).toMatch(/^The admin page is off/);
  });
});
