import { X509Certificate } from 'node:crypto';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import type { Connection } from '../../../src/ingest/model.ts';
import { serverText } from '../../../src/ingest/settings-text.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';
import { type CommandLine, openCommandLine, type Ran } from '../command-line.ts';

let cli: CommandLine;

beforeEach(async () => {
  cli = await openCommandLine();
});

afterEach(async () => {
  cli.expectNothingLeaked([former, secret]);
  await cli[Symbol.asyncDispose]();
});

const former = 'Zucker-und-Salz-91';
const secret = 'Kupfer-und-Zinn-17';
const pin = '0123456789abcdef'.repeat(4);
const setPassword = ['mailbox', 'set-password', '--no-probe', 'one'];
const question = 'Is this your mail server, and was the change yours? [y/N]';
const passwordQuestion = 'Password of "desk": ';
const readable =
  'encryption is off, so the password of one is readable in the database. To seal it: ticketmaild encryption enable';
const warning = `warning: ${readable}\n`;
const theirs = 'for desk at evil.example:143 (TLS starttls)\n';

async function addMailbox(...more: string[]): Promise<void> {
  const server = ['--host', 'mail.example', '--user', 'desk', '--no-probe', '--password-stdin', ...more];
  expect(await cli.run(['mailbox', 'add', '--name', 'one', ...server], former)).toMatchObject({ code: 0 });
}

async function enable(): Promise<void> {
  const flags = ['--accept-key-loss', '--backup-prepared'];
  expect(await cli.run(['encryption', 'enable', ...flags])).toMatchObject({ code: 0 });
}

/** Confirms the settings as they are. */
async function confirm(): Promise<void> {
  expect(await cli.run(['mailbox', 'confirm', 'one', '--yes'])).toMatchObject({ code: 0 });
}

/** Changes the row as an attacker with write access to the database would. */
function pointElsewhere(): void {
  cli.sql(`update mailboxes set host = 'evil.example', port = 143, tls_mode = 'starttls'`);
}

/** The password that the mailbox as it is now would log in with. */
async function opened(): Promise<string> {
  await using app = await cli.open();
  await app.vault.refresh();
  const mailbox = await app.store.mailboxByName('one');
  return await app.passwords.withPassword(mailbox, async (password) =>
    password.use((bytes) => Buffer.from(bytes).toString('latin1')),
  );
}

const piped = (...more: string[]): Promise<Ran> => cli.run([...setPassword, '--password-stdin', ...more], secret);

describe('the password of a mailbox that points where it did', () => {
  test.each([
    ['sealed', true],
    ['plain', false],
  ])('%s: is set, after the server that gets it is shown', async (_title, isOn) => {
    await addMailbox();
    if (isOn) await enable();
    if (isOn) await confirm();
    const { code, err } = await piped();
    const place = 'for desk at mail.example:993 (TLS implicit)\n';
    expect({ code, err }).toEqual({ code: 0, err: isOn ? place : `${place}${warning}` });
    expect(await opened()).toBe(secret);
  });

  test('at a terminal the place is seen before the password is asked for, and nothing else is asked', async () => {
    await addMailbox();
    await enable();
    await confirm();
    const { code, err } = await cli.typed(setPassword, [[passwordQuestion, `${secret}\r`]]);
    expect(code).toBe(0);
    expect(err).toMatch(/^for desk at mail\.example:993 \(TLS implicit\)\nPassword of "desk": \n$/);
  });

  test('at a terminal the warning of a readable password comes before it is asked for, and once', async () => {
    await addMailbox();
    const { code, err } = await cli.typed(setPassword, [[passwordQuestion, `${secret}\r`]]);
    expect(code).toBe(0);
    expect(err).toBe(`for desk at mail.example:993 (TLS implicit)\n${warning}Password of "desk": \n`);
  });

  test('a certificate that is pinned and an authority that is given are part of the place', async () => {
    await addMailbox('--ca-file', join(await certificatesTemplate(), 'ca.pem'));
    const pem = await readFile(join(await certificatesTemplate(), 'ca.pem'));
    const sha256 = new X509Certificate(pem).fingerprint256.replaceAll(':', '').toLowerCase();
    const ca = `own CA sha256 ${sha256.slice(0, 16)}…`;
    expect((await piped()).err).toBe(`for desk at mail.example:993 (TLS implicit, ${ca})\n${warning}`);
    cli.sql(`update mailboxes set fingerprint = '${pin}'`);
    expect((await piped()).err).toBe(
      `for desk at mail.example:993 (TLS implicit, certificate pinned sha256 0123456789abcdef…, ${ca})\n${warning}`,
    );
    const { out } = await cli.run(['mailbox', 'show', 'one']);
    expect(out).toMatch(new RegExp(`^fingerprint +${pin}$`, 'm'));
    expect(out).toMatch(/^ca file +stored$/m);
  });

  test.each([`''`, `x'00'`, `'of the helpdesk'`])(
    'while encryption is off is set, whatever is stored: %s',
    async (stored) => {
      await addMailbox();
      cli.sql(`update mailboxes set port = 994, password = cast(${stored} as blob)`);
      const err = `for desk at mail.example:994 (TLS implicit)\n${warning}`;
      expect(await piped()).toMatchObject({ code: 0, err });
      expect(await opened()).toBe(secret);
    },
  );

  test('a confirmed server stays so when it is sealed again: nothing is asked', async () => {
    await addMailbox();
    await enable();
    await confirm();
    for (const command of ['rotate', 'reseal']) {
      expect(await cli.run(['encryption', command])).toMatchObject({ code: 0 });
      expect(await piped()).toMatchObject({ code: 0, err: 'for desk at mail.example:993 (TLS implicit)\n' });
    }
  });
});

describe('the password of a mailbox for whose server nothing vouches', () => {
  const written = `password_form = 'plain', password_key_id = null`;
  const encryption = async (...args: string[]): Promise<void> =>
    expect(await cli.run(['encryption', ...args])).toMatchObject({ code: 0 });
  /** As a running daemon does it within a second. */
  const sealed = (): Promise<void> => encryption('reseal');
  const evil = `port = 994, password = cast('x' as blob), ${written}`;
  const table = /^Name or server of mailbox one were changed by another program since a command confirmed them\./;
  const closed =
    /^The stored password of mailbox one cannot be opened here, so nothing proves which server it was for\./;

  test.each<[title: string, statement: RegExp, change: () => Promise<void> | void]>([
    ['written with another server', table, () => cli.sql(`update mailboxes set ${evil}`)],
    [
      '… and sealed on sight',
      table,
      () => {
        cli.sql(`update mailboxes set ${evil}`);
        return sealed();
      },
    ],
    [
      '… and sealed again under another key',
      /^The server of mailbox one comes from the table: no command has confirmed it since encryption was enabled\./,
      async () => {
        cli.sql(`update mailboxes set ${evil}`);
        await sealed();
        await encryption('rotate');
        await encryption('rotate');
      },
    ],
    ['that was damaged', closed, () => cli.sql(`update mailboxes set port = 994, password = x'00'`)],
    ['that is none', closed, () => cli.sql(`update mailboxes set port = 994, password = '', ${written}`)],
    [
      'whose key is lost',
      closed,
      async () => {
        cli.sql(`update mailboxes set port = 994`);
        await writeFile(join(cli.dataDir, 'encryption-key.bin'), Buffer.alloc(32, 7), { mode: 0o600 });
        // Nothing can be sealed before there is another key.
        expect(await piped('--accept-connection')).toMatchObject({ code: 1, out: '' });
        await encryption('replace-lost-key', '--accept-password-loss');
      },
    ],
  ])('%s: is read only after the server is confirmed', async (_title, statement, change) => {
    await addMailbox();
    await enable();
    await confirm();
    await change();
    const place = 'for desk at mail.example:994 (TLS implicit)\n';
    const refused = await piped();
    expect({ code: refused.code, out: refused.out }).toEqual({ code: 3, out: '' });
    expect(refused.err).toMatch(statement);
    expect(refused.err).toContain(`The new password will be sent to this server:\n${place}`);
    expect(refused.err).toMatch(
      /\nhint: Check the server: .*\. Then, if this is your mail server, add --accept-connection\.\n/,
    );
    const asked = await cli.typed(setPassword, [['Is this your mail server? [y/N]', 'n\n']]);
    expect(asked).toMatchObject({ code: 1, out: '', err: expect.stringMatching(statement) });
    expect(asked.err).not.toContain(passwordQuestion);
    expect(await piped('--accept-connection')).toMatchObject({ code: 0, err: expect.stringMatching(statement) });
    expect(await opened()).toBe(secret);
    // It is one that a command has set now.
    expect(await piped()).toMatchObject({ code: 0, err: place });
  });
});

describe('the password of a mailbox whose row was pointed elsewhere', () => {
  beforeEach(async () => {
    await addMailbox();
    await enable();
    pointElsewhere();
  });

  test('is refused off a terminal before anything is read, and the hint says to check the server first', async () => {
    // With nothing on standard input, reading it would be the failure `password_missing`.
    for (const more of [['--password-stdin'], []]) {
      const { code, out, err } = await cli.run([...setPassword, ...more], '');
      expect({ code, out }).toEqual({ code: 3, out: '' });
      expect(err).toContain(theirs);
      expect(err).toMatch(/since the password was sealed, or the row of mailbox one was tampered with\.\n/);
      expect(err).toMatch(
        /\nhint: Check the server: ticketmaild mailbox show one\. Then, [^\n]*--accept-connection\.\n$/,
      );
    }
    await expect(opened()).rejects.toMatchObject({ code: 'password_binding_mismatch' });
  });

  test.each(['port = 994', "username = 'desk2'", `fingerprint = '${pin}'`, "ca_pem = 'x'", "tls_mode = 'starttls'"])(
    'is refused when no more is changed than %s',
    async (change) => {
      cli.sql(`update mailboxes set host = 'mail.example', port = 993, tls_mode = 'implicit'`);
      cli.sql(`update mailboxes set ${change}`);
      expect(await piped()).toMatchObject({ code: 3, out: '' });
    },
  );

  test('is set with --accept-connection, with the place statement', async () => {
    const { code, err } = await piped('--accept-connection');
    expect(code).toBe(0);
    expect(err).toMatch(/^Host, port, TLS, certificate or user changed .*\nThe new password will be sent to this/);
    expect(err.endsWith(theirs)).toBe(true);
    expect(await opened()).toBe(secret);
  });

  test('with --password-stdin is refused at a terminal, too', async () => {
    const { code, err } = await cli.typed([...setPassword, '--password-stdin'], []);
    expect(code).toBe(3);
    expect(err).not.toContain('Password');
  });

  test('at a terminal is asked for only after a yes', async () => {
    const answers = [
      [question, 'y\n'],
      [passwordQuestion, `${secret}\r`],
    ] as const;
    const { code, err } = await cli.typed(setPassword, answers);
    expect(code).toBe(0);
    const places = [theirs, question, passwordQuestion].map((text) => err.indexOf(text));
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(places).not.toContain(-1);
    expect(await opened()).toBe(secret);
  });

  test.each(['n\n', '\n'])('at a terminal is not asked for after %j', async (answer) => {
    const { code, out, err } = await cli.typed(setPassword, [[question, answer]]);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/Nothing was changed\.\n$/);
    expect(err).not.toContain(passwordQuestion);
    await expect(opened()).rejects.toMatchObject({ code: 'password_binding_mismatch' });
  });

  test('at a terminal is asked for at once with --accept-connection', async () => {
    const { code, err } = await cli.typed([...setPassword, '--accept-connection'], [[passwordQuestion, `${secret}\r`]]);
    expect(code).toBe(0);
    expect(err).toContain(theirs);
    expect(err).not.toContain(question);
  });

  test('a poll fails with a hint to check where it points first', async () => {
    const { code, err } = await cli.run(['mailbox', 'test', 'one']);
    expect(code).toBe(1);
    expect(err).toMatch(
      /\nhint: .*check where it points \(ticketmaild mailbox show \S+\).*: ticketmaild mailbox set-password (?!NAME)\S+\n$/,
    );
  });
});

describe('the text of a place', () => {
  const connection: Connection = {
    ...{ host: 'mail.example', port: 993, tls: 'implicit', caPem: null, fingerprint: null },
    ...{ allowPlaintext: false, user: 'desk', folder: 'INBOX' },
  };

  test.each<[changes: Partial<Connection>, text: string]>([
    [{ user: 'desk@mail.example' }, 'desk@mail.example at mail.example:993 (TLS implicit)'],
    [{ tls: 'none', port: 143 }, 'desk at mail.example:143 (no TLS)'],
    [{ host: '2001:db8::1' }, 'desk at [2001:db8::1]:993 (TLS implicit)'],
    // A user name that names another server, and a host name with a Cyrillic letter.
    [
      { user: 'desk at mail.example:993 (TLS implicit)', host: 'evil.example' },
      '"desk at mail.example:993 (TLS implicit)" at evil.example:993 (TLS implicit)',
    ],
    [{ host: 'm\u0430il.example' }, 'desk at xn--mil-6cd.example:993 (TLS implicit)'],
    [{ host: 'mail.example:993 (TLS' }, 'desk at ["mail.example:993 (TLS"]:993 (TLS implicit)'],
  ])('%j is shown as what it is', (changes, text) => {
    expect(serverText({ ...connection, ...changes })).toBe(text);
  });
});
