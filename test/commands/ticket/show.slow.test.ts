/** Ticket commands end to end: the new text of each message, and attachments as files. */
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { type CommandLine, openCommandLine, plainLines, runInProcess } from '../command-line.ts';

let dovecot: Dovecot;
let cli: CommandLine;
let ref: string;

const attachment = Buffer.from('%PDF-1.7\n\x1b[31m');
const reply = [
  'From: Ada <ada@example.org>',
  'Message-ID: <reply@example.org>',
  'Subject: Re: Printer',
  'MIME-Version: 1.0',
  'Content-Type: multipart/mixed; boundary=b',
  '',
  '--b',
  'Content-Type: text/plain',
  '',
  'It prints again.',
  '',
  'On Mon, 23 Nov 2026 at 10:00, Desk <desk@example.org> wrote:',
  '> Which printer?',
  '> The one upstairs?',
  '--b',
  'Content-Type: application/pdf; name="../../etc/passwd"',
  'Content-Disposition: attachment; filename="../../etc/passwd"',
  'Content-Transfer-Encoding: base64',
  '',
  attachment.toString('base64'),
  '--b--',
  '',
];

beforeAll(async () => {
  [dovecot, cli] = await Promise.all([startDovecot(), openCommandLine()]);
  const user = dovecot.newUser();
  const server = ['--host', dovecot.host, '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile, '--user', user];
  await cli.run(['mailbox', 'add', '--name', 'desk', ...server, '--since', 'all', '--password-stdin'], 'pw');
  await dovecot.append(user, 'INBOX', [Buffer.from(reply.join('\r\n'))]);
  expect((await cli.run(['poll'])).code).toBe(0);
  ref = `${(await cli.run(['ticket', 'list', '--json'])).json[0]?.['ref']}`;
});

afterAll(async () => {
  await cli[Symbol.asyncDispose]();
  await dovecot[Symbol.asyncDispose]();
});

test('ticket show has the new text of a message; --full has all of it', async () => {
  const short = await cli.run(['ticket', 'show', ref]);
  expect(short.code).toBe(0);
  expect(short.out).toContain(
    'It prints again.\n(without quoted text and signature; --full shows all)\nattachment 1: ',
  );
  expect(short.out).not.toContain('Which printer?');
  const full = await cli.run(['ticket', 'show', ref, '--full']);
  expect(full.out).toContain('> Which printer?\n');
  expect(full.out).not.toContain('--full');
  const [ticket] = (await cli.run(['ticket', 'show', ref, '--json'])).json;
  expect(ticket?.['messages']).toEqual([
    expect.objectContaining({
      reply_text: 'It prints again.',
      text: expect.stringContaining('> Which printer?'),
    }),
  ]);
});

test('a misspelt reference is exit code 4, and the nearest one is suggested', async () => {
  const { code, err } = await cli.run(['ticket', 'show', `${ref}X`]);
  expect({ code, err }).toEqual({ code: 4, err: expect.stringContaining(`\nhint: Did you mean ${ref}? `) });
});

test('ticket attachment writes a new file of its owner, whatever the message calls it', async () => {
  const file = join(cli.folder, 'report.pdf');
  const saved = await cli.run(['ticket', 'attachment', ref, '1', '--output', file]);
  expect(saved).toMatchObject({
    code: 0,
    out: expect.stringMatching(/^saved 14 bytes as .*report\.pdf \(in the message: /),
  });
  expect(readFileSync(file)).toEqual(attachment);
  expect(statSync(file).mode & 0o777).toBe(0o600);
  expect(await cli.run(['ticket', 'attachment', ref, '1', '--output', file])).toMatchObject({ code: 2 });
  expect(readFileSync(file)).toEqual(attachment);
});

test('an attachment that is not there is exit code 4, and leaves no file', async () => {
  const file = join(cli.folder, 'none');
  const missing = await cli.run(['ticket', 'attachment', ref, '2', '--output', file]);
  expect(missing).toMatchObject({ code: 4, err: expect.stringContaining('has no attachment 2, but 1') });
  expect(existsSync(file)).toBe(false);
  expect(await cli.run(['ticket', 'attachment', ref, '0', '--output', file])).toMatchObject({ code: 2 });
});

test('standard output gets the bytes alone, and a terminal none', async () => {
  const args = ['ticket', 'attachment', ref, '1', '--output', '-'];
  expect((await cli.run(args)).out).toBe(attachment.toString());
  const size = { columns: 80, rows: 24 };
  const seen = await runInProcess(args, { env: cli.env, size });
  expect(seen).toMatchObject({
    code: 2,
    err: expect.stringMatching(/^standard output is a terminal, .+\nhint: Give --output FILE, or a pipe\.\n$/),
  });
  expect(plainLines(seen.out).join('')).toBe('');
});

test('bytes that were changed on the disk are refused', async () => {
  const folder = join(cli.dataDir, 'blobs');
  const [first = ''] = readdirSync(folder);
  const [name = ''] = readdirSync(join(folder, first));
  writeFileSync(join(folder, first, name), 'changed');
  const file = join(cli.folder, 'changed');
  expect(await cli.run(['ticket', 'attachment', ref, '1', '--output', file])).toMatchObject({ code: 3 });
  expect(existsSync(file)).toBe(false);
});
