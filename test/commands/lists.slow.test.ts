/** Lists at a terminal: no line is wider than 70, 80 or 120 columns, and a pipe gets everything. */
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type CommandLine, openCommandLine, plainLines, runInProcess } from './command-line.ts';

let dovecot: Dovecot;
let cli: CommandLine;
let unresolved: string;

const subject = 'The printer upstairs does not print anything since the update of last Thursday, again';
const mail = (number: number, text: string): Buffer =>
  Buffer.from(
    `From: Ada Countess of Lovelace <ada.lovelace@analytical-engines.example.org>\r\nMessage-ID: <m${number}@example.org>\r\nSubject: ${subject} ${number}\r\n\r\n${text}\r\n`,
  );

beforeAll(async () => {
  [dovecot, cli] = await Promise.all([startDovecot(), openCommandLine({ TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1' })]);
  const user = dovecot.newUser();
  const server = ['--host', dovecot.host, '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile, '--user', user];
  for (const name of ['support-of-the-northern-region', 'sales'])
    await cli.run(['mailbox', 'add', '--name', name, ...server, '--since', 'all', '--password-stdin'], 'pw');
  await cli.run(['admin', 'add', 'ada-of-the-northern-region', '--password-stdin'], 'a long password of ada');
  await dovecot.append(user, 'INBOX', [mail(1, 'Hello'), mail(2, 'x'.repeat(70).concat('\r\n').repeat(20_000))]);
  await cli.run(['poll']);
  await cli.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
  await cli.run(['encryption', 'rotate']);
  cli.sql(
    "update mailbox_state set failures = 3, last_error_code = 'password_binding_mismatch', last_error_message = 'm', last_error_hint = 'h', last_error_at = next_poll_at",
  );
  unresolved = 'support-of-the-northern-region';
});

afterAll(async () => {
  await cli[Symbol.asyncDispose]();
  await dovecot[Symbol.asyncDispose]();
});

const lists = [
  ['mailbox', 'list'],
  ['mailbox', 'show', 'sales'],
  ['ticket', 'list'],
  ['message', 'list', '--mailbox', 'sales'],
  ['message', 'list', '--mailbox', 'sales', '--full'],
  ['quarantine', 'list'],
  ['encryption', 'status'],
  ['encryption', 'log'],
  ['admin', 'list'],
  ['admin', 'log'],
  ['migrate', '--status'],
  ['check'],
];

/** Lines to copy, paths and the like have no place to break. */
const isUnbreakable = (line: string): boolean => /^\s*\S+$/.test(line.trim().replace(/^[a-z ]+ {2,}/, ''));

describe.each([70, 80, 120])('%i columns', (columns) => {
  test.each(lists)('%s %s %s %s %s', async (...args) => {
    const { out } = await runInProcess(
      args.filter((one) => one !== undefined),
      { env: cli.env, size: { columns, rows: 40 } },
    );
    const wide = plainLines(out).filter((line) => line.length > columns && !isUnbreakable(line));
    expect(wide).toEqual([]);
  });
});

test('the subject gets what the other columns leave; a pipe gets all of it', async () => {
  const at = async (columns: number): Promise<string> => {
    const { out } = await runInProcess(['ticket', 'list'], { env: cli.env, size: { columns, rows: 40 } });
    return plainLines(out)[1] ?? '';
  };
  const shown = (line: string): number => (/The printer.*$/.exec(line)?.[0] ?? '').length;
  expect(shown(await at(70))).toBeGreaterThanOrEqual(20);
  expect(shown(await at(160))).toBeGreaterThan(shown(await at(80)));
  expect((await cli.run(['ticket', 'list'])).out).toContain(`${subject} 1`);
  expect((await cli.run(['mailbox', 'list'])).out).toContain(unresolved);
});
