import { readFileSync } from 'node:fs';
import { userInfo } from 'node:os';
import { describe, expect, test } from 'vitest';
import {
  type MailboxOptions,
  type NewMailbox,
  readMailboxChanges,
  readMailboxOptions,
} from '../../../src/admin/mailboxes/options.ts';
import { postActionText, postActionWords, readPostAction } from '../../../src/admin/mailboxes/post-actions.ts';
import { Failure, hintOf } from '../../../src/errors.ts';
import { type Mailbox, type PostAction, postActionRules } from '../../../src/ingest/model.ts';
import { certificatesTemplate } from '../../support/servers/templates.ts';

const nowMs = Date.UTC(2026, 0, 31, 8, 30);
const least: MailboxOptions = { name: 'support', host: 'mail.example', user: 'desk' };

function read(options: MailboxOptions): NewMailbox {
  return readMailboxOptions({ ...least, ...options }, { readFile: readFileSync, nowMs });
}

function failure(options: MailboxOptions): Failure {
  try {
    read(options);
  } catch (error) {
    if (error instanceof Failure) return error;
    throw error;
  }
  throw new Error('the options were accepted');
}

test('what is not said has a safe default', () => {
  expect(read({})).toEqual({
    name: 'support',
    connection: {
      host: 'mail.example',
      port: 993,
      tls: 'implicit',
      allowPlaintext: false,
      caPem: null,
      fingerprint: null,
      user: 'desk',
      folder: 'INBOX',
    },
    start: { from: 'time', atMs: nowMs },
    startsNow: true,
    postAction: { kind: 'seen' },
    pollIntervalMs: null,
    addresses: [],
  });
});

test('a fingerprint may be given as openssl prints it', () => {
  const printed = `sha256 Fingerprint=${'AB:'.repeat(31)}AB`;
  expect(read({ fingerprint: printed }).connection.fingerprint).toBe('ab'.repeat(32));
});

test('everything can be said', () => {
  const fingerprint = 'AB:'.repeat(31).concat('AB');
  const mailbox = read({
    host: '[::1]',
    port: '1143',
    tls: 'starttls',
    fingerprint: `SHA256:${fingerprint}`,
    folder: 'Posteingang/Köln',
    since: '2026-01-30',
    onSuccess: 'move:Erledigt',
    interval: '15',
  });
  expect(mailbox).toMatchObject({
    connection: { host: '::1', port: 1143, tls: 'starttls', fingerprint: 'ab'.repeat(32), folder: 'Posteingang/Köln' },
    start: { from: 'time', atMs: Date.UTC(2026, 0, 30) },
    startsNow: false,
    postAction: { kind: 'move', folder: 'Erledigt' },
    pollIntervalMs: 15_000,
  });
});

test('the port follows the TLS mode', () => {
  expect(read({ tls: 'starttls' }).connection.port).toBe(143);
  expect(read({ tls: 'none', host: '127.0.0.1' }).connection.port).toBe(143);
});

test.each([
  ['all', { from: 'all' }],
  ['2024-02-29', { from: 'time', atMs: Date.UTC(2024, 1, 29) }],
  ['2026-01-30T10:00', { from: 'time', atMs: Date.UTC(2026, 0, 30, 10) }],
  ['2026-01-30T10:00:00.500Z', { from: 'time', atMs: Date.UTC(2026, 0, 30, 10, 0, 0, 500) }],
  ['2026-01-30T10:00:00+02:00', { from: 'time', atMs: Date.UTC(2026, 0, 30, 8) }],
])('--since %s', (since, start) => {
  expect(read({ since }).start).toEqual(start);
});

test('the certificates of a CA file are kept, and nothing else of it', async () => {
  const folder = await certificatesTemplate();
  const { caPem } = read({ caFile: `${folder}/ca.pem` }).connection;
  expect(caPem).toMatch(/^-----BEGIN CERTIFICATE-----\n[\s\S]+-----END CERTIFICATE-----\n$/);
});

describe('a mistake is one line', () => {
  const name = 'must be 1 to 63 letters, digits, blanks and . _ @ + - with a letter or digit first';
  const host = 'must be a host name or an IP address alone, without a scheme or a port';
  const since = 'must be now, all, a date as 2026-01-31 or a time as 2026-01-31T08:30:00Z (UTC)';
  const fingerprint = 'must be a SHA-256 fingerprint, 64 hexadecimal digits, colons allowed';

  test.each<[MailboxOptions, string]>([
    [{ name: '' }, `--name ${name}, not ""`],
    [{ name: '-x' }, `--name ${name}, not "-x"`],
    [{ name: 'a\u001b[2J' }, `--name ${name}, not "a\\u001b[2J"`],
    [{ host: 'imaps://mail.example' }, `--host ${host}, not "imaps://mail.example"`],
    [{ host: 'mail.example:993' }, `--host ${host}, not "mail.example:993"`],
    [{ port: '0' }, '--port must be a whole number from 1 to 65535, not "0"'],
    [{ port: '65536' }, '--port must be a whole number from 1 to 65535, not "65536"'],
    [{ port: 'imap' }, '--port must be a whole number from 1 to 65535, not "imap"'],
    [{ tls: 'ssl' }, '--tls must be implicit, starttls or none, not "ssl"'],
    [{ fingerprint: 'ab:cd' }, `--fingerprint ${fingerprint}, not "ab:cd"`],
    [{ caFile: '/no/such.pem' }, '--ca-file "/no/such.pem" cannot be read (ENOENT)'],
    [{ caFile: '/etc/passwd' }, '--ca-file "/etc/passwd" holds no certificate (PEM)'],
    [{ tls: 'none', host: 'localhost', caFile: 'x' }, '--ca-file and --fingerprint have no effect with --tls none'],
    [
      { caFile: 'x', fingerprint: 'x' },
      '--ca-file and --fingerprint exclude each other: a pinned certificate is the only trusted one',
    ],
    [{ user: '' }, '--user must be a text on one line, not ""'],
    [{ folder: 'a\nb' }, '--folder must be a text on one line, not "a\\nb"'],
    [{ since: 'yesterday' }, `--since ${since}, not "yesterday"`],
    [{ since: '2026-02-30' }, `--since ${since}, not "2026-02-30"`],
    [{ since: '2026-01-30T25:00' }, `--since ${since}, not "2026-01-30T25:00"`],
    [{ onSuccess: 'archive' }, '--on-success must be seen, move:FOLDER, delete or leave, not "archive"'],
    [{ onSuccess: 'move:' }, '--on-success must be seen, move:FOLDER, delete or leave, not "move:"'],
    [{ onSuccess: 'move:inbox' }, '--on-success must move to another folder than the polled one, not "move:inbox"'],
    [{ interval: '0' }, '--interval must be a whole number of seconds from 1 to 86400, not "0"'],
    [{ interval: '1m' }, '--interval must be a whole number of seconds from 1 to 86400, not "1m"'],
  ])('%j', (options, message) => {
    const told = failure(options);
    expect({ message: told.message, exitCode: told.exitCode }).toEqual({ message, exitCode: 2 });
  });

  test('a file of authorities that this user may not read names the user', () => {
    const readFile = (): never => {
      throw Object.assign(new Error('refused'), { code: 'EACCES' });
    };
    const told = (): unknown => readMailboxOptions({ ...least, caFile: '/root/ca.pem' }, { readFile, nowMs: 0 });
    expect(told).toThrow(
      expect.objectContaining({ hint: expect.stringContaining(`The user ${userInfo().username} tried to read it`) }),
    );
  });

  test('all that is missing is named at once', () => {
    const read = (): NewMailbox => readMailboxOptions({ user: 'desk' }, { readFile: readFileSync, nowMs });
    expect(read).toThrow('missing: --name, --host');
  });

  test('a password is not sent in clear to another machine unless that is accepted', () => {
    const told = failure({ tls: 'none' });
    expect(told.message).toBe('--tls none to mail.example, which is another machine');
    expect(told.exitCode).toBe(3);
    expect(read({ tls: 'none', allowPlaintext: true }).connection.allowPlaintext).toBe(true);
    expect(read({ tls: 'none', host: 'localhost' }).connection.allowPlaintext).toBe(false);
  });

  test('a CA file that holds a private key is refused', async () => {
    const folder = await certificatesTemplate();
    const keys = { ...least, caFile: `${folder}/key.pem` };
    const readFile = (): Uint8Array => Buffer.from('-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n');
    expect(() => readMailboxOptions(keys, { readFile, nowMs })).toThrow(/holds a private key$/);
  });
});

describe('the post-action', () => {
  const stored = (postAction: PostAction): Mailbox => {
    const { startsNow: _, ...settings } = read({});
    return { ...settings, id: 'id', grant: null, state: 'active', postAction };
  };
  const sources = { readFile: readFileSync, nowMs };

  test('is read from each form that is shown, and printed in that form', () => {
    const forms = postActionWords.split(/, | or /);
    expect(forms.map((form) => postActionText(readPostAction(form)))).toEqual(forms);
    expect(forms.map((form) => readPostAction(form).kind)).toEqual(Object.keys(postActionRules));
  });

  test.each(['seen:x', 'leave:', 'move', 'constructor', ''])('"%s" is none', (text) => {
    expect(() => readPostAction(text)).toThrow(`--on-success must be ${postActionWords}, not "${text}"`);
  });

  test('an unchanged one is checked against a new folder', () => {
    const mailbox = stored({ kind: 'move', folder: 'Done' });
    const change = (folder: string) => readMailboxChanges({ folder }, mailbox, sources);
    expect(change('Other').postAction).toEqual(mailbox.postAction);
    expect(() => change('done')).toThrow(
      '--on-success must move to another folder than the polled one, not "move:Done"',
    );
  });

  test('an unchanged one that another program wrote is no obstacle to another change', () => {
    const mailbox = stored({ kind: 'move', folder: 'x'.repeat(1024) });
    expect(readMailboxChanges({ interval: '60' }, mailbox, sources)).toEqual({ ...mailbox, pollIntervalMs: 60_000 });
  });

  test('the hint for an invalid row names every one', () => {
    const kinds = Object.keys(postActionRules);
    const words = `on_success ${kinds.slice(0, -1).join(', ')} or ${kinds.at(-1)};`;
    expect(hintOf('mailbox_invalid')).toContain(words);
  });
});
