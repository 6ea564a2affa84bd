/**
 * A writer of the database puts another authority, or a folder with letters that look like ASCII, into a row that waits
 * for a confirmation: the question shows the difference.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { nameText, serverText } from '../../src/ingest/settings-text.ts';
import { type CommandLine, openCommandLine } from '../commands/command-line.ts';
import { mailbox } from '../ingest/samples.ts';
import { certificatesTemplate } from '../support/servers/templates.ts';

let cli: CommandLine;

beforeEach(async () => {
  cli = await openCommandLine();
  const server = ['--host', 'localhost', '--port', '1', '--user', 'ada', '--password-stdin', '--no-probe'];
  const ca = ['--ca-file', join(await certificatesTemplate(), 'ca.pem')];
  await cli.run(['encryption', 'enable', '--accept-key-loss', '--backup-prepared']);
  expect(await cli.run(['mailbox', 'add', '--name', 'one', ...server, ...ca], 'pw')).toMatchObject({ code: 0 });
});

afterEach(async () => {
  await cli[Symbol.asyncDispose]();
});

/** What `mailbox confirm` shows before it asks. */
async function asked(): Promise<string> {
  const { err } = await cli.typed(['mailbox', 'confirm', 'one'], [['Are these settings yours? [y/N]', 'n\n']]);
  return err;
}

test('another authority in the row has another digest', async () => {
  const digest = async () => /own CA sha256 ([0-9a-f]{16})…/.exec(await asked())?.[1];
  cli.sql(`update mailboxes set settings_seal = null`);
  const before = await digest();
  expect(before).toBeDefined();
  const other = await readFile(join(await certificatesTemplate(), 'good.pem'), 'utf8');
  cli.sql(`update mailboxes set ca_pem = '${other}'`);
  expect(await digest()).not.toBe(before);
  cli.sql(`update mailboxes set ca_pem = ca_pem || '${other}'`);
  expect(await digest()).not.toBe(before);
});

test('letters of another script are shown as escapes, in folder, target and user', async () => {
  cli.sql(`update mailboxes set folder = 'INB\u041eX', on_success = 'move', on_success_folder = 'D\u043ene'`);
  const text = await asked();
  expect(text).toContain('folder    INB\u041eX ("INB\\u041eX")');
  expect(text).toContain('("move:D\\u043ene")');
  expect(nameText('INBOX')).toBe('INBOX');
  const { connection } = mailbox('desk');
  expect(serverText({ ...connection, user: '\u0430da' })).toMatch(/^"\\u0430da" at /);
});
