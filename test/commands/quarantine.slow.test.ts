/**
 * The commands of quarantine, replay and reconcile, as people and scripts call them, on a real Dovecot.
 */
import { readdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type CommandLine, openCommandLine } from './command-line.ts';

let dovecot: Dovecot;

beforeAll(async () => {
  dovecot = await startDovecot();
});

afterAll(() => dovecot?.[Symbol.asyncDispose]());

const small = { TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1', TICKETMAILD_MESSAGE_BATCH_MAX_MB: '1' };

function mail(id: string, from: string, body = 'It does not print.'): Buffer {
  return Buffer.from(`From: ${from}\r\nSubject: about ${id}\r\nMessage-ID: <${id}@example.test>\r\n\r\n${body}\r\n`);
}

const large = (id: string, from: string) => mail(id, from, 'x'.repeat(76).concat('\r\n').repeat(20_000));

/** A cli with the mailbox `support`, polled once. */
async function commandLineWith(
  sources: readonly Buffer[],
): Promise<{ readonly cli: CommandLine; readonly user: string }> {
  const cli = await openCommandLine(small);
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', sources);
  const server = ['--host', dovecot.host, '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile];
  const settings = ['--name', 'support', '--user', user, '--since', 'all', '--password-stdin'];
  expect(await cli.run(['mailbox', 'add', ...server, ...settings], 'pw')).toMatchObject({ code: 0 });
  expect(await cli.run(['poll'])).toMatchObject({ code: 0 });
  return { cli, user };
}

const threeLarge = [
  mail('a', 'ada@example.test'),
  large('b', 'Bob <BOB@example.test>'),
  large('c', 'cleo@example.test'),
  large('d', '"\x1b[31mDora" <dora@example.test>'),
];

test('what is in quarantine is listed and shown with its reason, its sender and what helps', async () => {
  const { cli } = await commandLineWith(threeLarge);
  await using _ = cli;
  const listed = await cli.run(['quarantine', 'list']);
  expect(listed.code).toBe(0);
  expect(listed.out).toMatch(/^ID +REASON +SINCE \(UTC\) +BYTES +FROM +SUBJECT/);
  expect(listed.out).toMatch(/support\/\d+\/2 +too_large .* Bob <BOB@example\.test> +about b/);
  expect(listed.out).not.toContain('\x1b[31m');
  expect(listed.err).toContain('too_large: It is larger than [message] max_size_mb');
  const { json } = await cli.run(['quarantine', 'list', '--json']);
  expect(json).toMatchObject([
    {
      mailbox: 'support',
      uid: 2,
      reason: 'too_large',
      source: 'header',
      sender: 'bob@example.test',
      subject: 'about b',
    },
    { uid: 3 },
    { uid: 4 },
  ]);
  expect((await cli.run(['quarantine', 'list', '--json', '--sender', 'CLEO@example.test'])).json).toHaveLength(1);
  expect((await cli.run(['quarantine', 'list', '--json', '--reason', 'parse_failed'])).out).toBe('');
  expect(await cli.run(['quarantine', 'list', '--mailbox', 'sales'])).toMatchObject({ code: 4 });
  const shown = await cli.run(['quarantine', 'show', 'support/2']);
  expect(shown).toMatchObject({ code: 0, out: expect.stringMatching(/source +its header alone/) });
  const { id } = json[0] as { id: string };
  expect((await cli.run(['quarantine', 'show', id, '--json'])).json).toEqual([json[0]]);
  for (const [wrong, code] of [
    ['support', 2],
    ['support/9', 4],
    ['sales/2', 4],
    [`${id}/1`, 4],
  ] as const)
    expect(await cli.run(['quarantine', 'show', wrong])).toMatchObject({ code, out: '' });
});

test('messages are released by sender, requeued and discarded, and resolved ones are gone', async () => {
  const { cli, user } = await commandLineWith(threeLarge);
  await using _ = cli;
  expect(await cli.run(['quarantine', 'requeue'])).toMatchObject({ code: 2, err: expect.stringContaining('--all') });
  const retried = await cli.run(['quarantine', 'requeue', '--all', '--json']);
  expect(retried).toMatchObject({ code: 1 });
  expect(retried.json.map(({ result, reason }) => [result, reason])).toEqual(
    Array(3).fill(['quarantined', 'too_large']),
  );
  const released = await cli.run(['quarantine', 'release', '--sender', 'bob@example.test']);
  expect(released).toMatchObject({ code: 0, out: expect.stringMatching(/^support\/\d+\/2: ticket_opened \S+\n$/) });
  expect(await cli.run(['quarantine', 'release', 'support/2'])).toMatchObject({ code: 4 });
  expect(await cli.run(['quarantine', 'discard', 'support/3'])).toMatchObject({ code: 2 });
  const asked = await cli.typed(['quarantine', 'discard', 'support/3'], [['Discard', 'n\r']]);
  expect(asked).toMatchObject({ code: 1, err: expect.stringContaining('"about c"') });
  expect(await cli.run(['quarantine', 'discard', 'support/3', '--yes'])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/discarded\n$/),
  });
  expect((await cli.run(['quarantine', 'list', '--json'])).json.map(({ uid }) => uid)).toEqual([4]);
  await dovecot.expunge(user, 'INBOX', [4]);
  expect((await cli.run(['quarantine', 'show', 'support/4'])).out).toContain('stores its header where it is gone');
  expect((await cli.run(['quarantine', 'release', 'support/4', '--json'])).json).toMatchObject([
    { result: 'stored', outcome: 'ticket_opened', header_only: true },
  ]);
  expect((await cli.run(['ticket', 'list', '--json'])).json).toHaveLength(3);
  expect(await cli.run(['reconcile'])).toMatchObject({ code: 0, out: expect.stringContaining('all accounted for') });
});

test('what was kept is exported as files, never over another one', async () => {
  const { cli } = await commandLineWith(threeLarge);
  await using _ = cli;
  const folder = join(cli.folder, 'new', 'folder');
  expect(await cli.run(['quarantine', 'export', '--all', '--folder', folder])).toMatchObject({ code: 0 });
  const files = readdirSync(folder).filter((name) => name.endsWith('.header.eml'));
  expect(files).toHaveLength(3);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  expect(readFileSync(join(folder, files[0] ?? ''), 'latin1')).toContain('Subject: about');
  expect(await cli.run(['quarantine', 'export', '--all', '--folder', folder])).toMatchObject({ code: 1 });
  const file = join(folder, 'one.eml');
  expect(await cli.run(['quarantine', 'export', 'support/2', '--output', file])).toMatchObject({ code: 0 });
  expect(await cli.run(['quarantine', 'export', 'support/2', '--output', file])).toMatchObject({ code: 2 });
  expect(await cli.run(['quarantine', 'export', '--all', '--output', file])).toMatchObject({ code: 2 });
});

test('files that rows name are looked for, and what is missing is named', async () => {
  const boundary =
    'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n\r\npicture\r\n--b--';
  const withPicture = Buffer.from(`From: ada@example.test\r\nMessage-ID: <p@example.test>\r\n${boundary}\r\n`);
  const { cli } = await commandLineWith([withPicture, large('b', 'bob@example.test')]);
  await using _ = cli;
  const sound = await cli.run(['reconcile', '--files']);
  expect(sound).toMatchObject({ code: 0, out: expect.stringMatching(/^1 file of attachments, 1 of raw sources$/m) });
  expect((await cli.run(['reconcile', '--files', '--json'])).json).toMatchObject([
    {
      ok: true,
      attachment_files: 1,
      attachment_files_damaged: 0,
      source_files: 1,
      source_files_damaged: 0,
      damaged_files: [],
    },
  ]);
  const [picture] = await Array.fromAsync(glob('blobs/*/*', { cwd: cli.dataDir }));
  const [source] = await Array.fromAsync(glob('raw/*', { cwd: cli.dataDir }));
  if (picture === undefined || source === undefined) throw new Error('no files');
  truncateSync(join(cli.dataDir, picture), 3);
  rmSync(join(cli.dataDir, source));
  const found = await cli.run(['reconcile', '--files']);
  expect(found.code).toBe(1);
  expect(found.out).toContain('wrong: 1 attachment whose file is missing or has another size');
  expect(found.out).toMatch(new RegExp(`^ {2}attachment ${basename(picture)}  message \\S+$`, 'm'));
  expect(found.out).toContain('wrong: 2 messages whose raw source is missing, 1 of them in quarantine');
  expect(found.out).toMatch(new RegExp(`^ {2}source ${basename(source)}$`, 'm'));
  expect(found.out).toMatch(/^not all accounted for$/m);
  expect((await cli.run(['reconcile', '--files', '--json'])).json).toMatchObject([
    { ok: false, attachment_files_damaged: 1, messages_without_source: 2, quarantined_without_source: 1 },
  ]);
  expect(await cli.run(['reconcile', 'support', '--files'])).toMatchObject({ code: 2 });
});

test('a mailbox is reconciled with its server, and repaired', async () => {
  const { cli } = await commandLineWith([
    mail('a', 'ada@example.test'),
    mail('b', 'bob@example.test'),
    large('c', 'c@example.test'),
  ]);
  await using _ = cli;
  const sound = await cli.run(['reconcile', 'support']);
  expect(sound).toMatchObject({ code: 0, out: expect.stringMatching(/missing +0 [\s\S]*all accounted for\n$/) });
  const [before] = (await cli.run(['reconcile', 'support', '--json'])).json;
  expect(before).toMatchObject({ ok: true, on_server: 3, handled: 2, quarantined: 1, waiting: 0, missing: 0 });
  await using app = await cli.open();
  const { id } = await app.store.mailboxByName('support');
  await forgetOutcome(cli, id, 2);
  const found = await cli.run(['reconcile', 'support']);
  expect(found).toMatchObject({ code: 1, out: expect.stringContaining('missing UIDs: 2') });
  const repaired = await cli.run(['reconcile', 'support', '--repair', '--json']);
  expect(repaired).toMatchObject({ code: 0 });
  // Its message is still there: it is known again.
  expect(repaired.json).toMatchObject([{ missing_uids: [2], repaired: [{ uid: 2, outcome: 'duplicate' }] }]);
  expect(await cli.run(['reconcile', 'support'])).toMatchObject({ code: 0 });
  expect((await cli.run(['ticket', 'list', '--json'])).json).toHaveLength(2);
  expect(await cli.run(['reconcile', '--repair'])).toMatchObject({ code: 2 });
});

async function forgetOutcome(cli: CommandLine, mailboxId: string, uid: number): Promise<void> {
  await execute(cli, `DELETE FROM outcome WHERE mailbox_id = '${mailboxId}' AND uid = ${uid}`);
}

async function execute(cli: CommandLine, statements: string): Promise<void> {
  const { DatabaseSync } = await import('node:sqlite');
  const name = readdirSync(cli.dataDir).find((file) => /\.(?:db|sqlite)$/.test(file)) ?? '';
  const database = new DatabaseSync(join(cli.dataDir, name));
  database.exec(statements);
  database.close();
}

test('stored messages are reprocessed, one or all of a mailbox', async () => {
  const { cli } = await commandLineWith([mail('a', 'ada@example.test'), mail('b', 'bob@example.test')]);
  await using _ = cli;
  const { json } = await cli.run(['message', 'list', '--mailbox', 'support', '--full', '--json']);
  const { id } = json[0] as { id: string };
  expect(await cli.run(['message', 'reprocess', id])).toMatchObject({ code: 0, out: `${id}: nothing changed\n` });
  expect(await cli.run(['message', 'reprocess', '--mailbox', 'support'])).toMatchObject({
    code: 0,
    out: '0 changed, 2 unchanged, 0 without a source, 0 failed to parse\n',
  });
  const all = await cli.run(['message', 'reprocess', '--mailbox', 'support', '--json']);
  expect(all.json).toHaveLength(3);
  expect(all.json[2]).toEqual({
    mailbox: 'support',
    messages: 2,
    changed: 0,
    unchanged: 2,
    source_missing: 0,
    source_refused: 0,
    failed: 0,
  });
  for (const name of readdirSync(join(cli.dataDir, 'raw'))) rmSync(join(cli.dataDir, 'raw', name));
  expect((await cli.run(['message', 'reprocess', '--mailbox', 'support'])).out).toMatch(
    new RegExp(`2 without a source.*\\nwithout a source: ${id}, `),
  );
  expect(await cli.run(['message', 'reprocess', '--mailbox', 'support', '--since', 'soon'])).toMatchObject({
    code: 2,
  });
  expect(await cli.run(['message', 'reprocess'])).toMatchObject({ code: 2 });
  expect(await cli.run(['message', 'reprocess', 'absent'])).toMatchObject({ code: 4 });
});

test('discarded messages are listed apart from waiting ones, can be released, and are in the audit log', async () => {
  const { cli } = await commandLineWith(threeLarge);
  await using _ = cli;
  expect(await cli.run(['quarantine', 'discard', 'support/3', '--yes'])).toMatchObject({ code: 0 });
  const list = ['message', 'list', '--mailbox', 'support'];
  expect((await cli.run(list)).out).toMatch(/ 3 +quarantined +too_large \(discarded\)/);
  const rows = (await cli.run([...list, '--full', '--json'])).json;
  expect(rows.map(({ resolved_at: at }) => at === null)).toEqual([true, true, false, true]);
  expect(rows[1]).toMatchObject({ sender: 'bob@example.test', subject: 'about b' });
  expect((await cli.run([...list, '--full'])).out).toMatch(/Bob <BOB@example\.test> +about b/);
  expect((await cli.run(['quarantine', 'list', '--discarded', '--json'])).json).toMatchObject([
    { uid: 3, discarded_at: expect.any(String) },
  ]);
  expect((await cli.run(['quarantine', 'show', 'support/3'])).out).toMatch(/discarded +20/);
  expect(await cli.run(['quarantine', 'discard', 'support/3', '--yes'])).toMatchObject({
    out: expect.stringContaining('already resolved'),
  });
  expect(await cli.run(['quarantine', 'release', '--all', '--discarded'])).toMatchObject({
    code: 0,
    out: expect.stringMatching(/support\/\d+\/3: ticket_opened \S+\n$/),
  });
  expect((await cli.run(['quarantine', 'list', '--discarded', '--json'])).out).toBe('');
  const log = (await cli.run(['quarantine', 'log', '--json'])).json;
  expect(log.map(({ action }) => action)).toEqual([
    ...['quarantine.released', 'quarantine.discarded', 'quarantine.discarded'],
  ]);
  expect(log[0]).toMatchObject({ detail: expect.stringMatching(/^1 too_large: 1 ticket_opened: support\/\d+\/3$/) });
  expect((await cli.run(['quarantine', 'log'])).out).toMatch(/quarantine\.discarded/);
  expect((await cli.run(['encryption', 'log', '--json'])).out).not.toContain('quarantine.');
});

test('many requeued or released messages are counted, with a line for each with -v, and a hint for each reason', async () => {
  const { cli } = await commandLineWith(threeLarge);
  await using _ = cli;
  const retried = await cli.run(['quarantine', 'requeue', '--all']);
  expect(retried).toMatchObject({ code: 1, out: '3 messages: 3 still in quarantine (too_large)\n' });
  expect(retried.err.match(/hint:/gu)).toHaveLength(1);
  expect(await cli.run(['quarantine', 'requeue', '--reason', 'to_large'])).toMatchObject({
    code: 2,
    err: expect.stringContaining('too_large, source_empty'),
  });
  const released = await cli.run(['quarantine', 'release', '--all', '-v']);
  expect(released).toMatchObject({
    code: 0,
    out: expect.stringMatching(/(support.*\n){3}3 messages: 3 ticket_opened\n$/),
  });
});

test('a lost message is listed and restored under its ticket; one deleted with its ticket is not', async () => {
  const { cli, user } = await commandLineWith(['a', 'b', 'c'].map((id) => mail(id, `${id}@example.test`)));
  await using _ = cli;
  const list = ['message', 'list', '--mailbox', 'support', '--full', '--json'];
  const before = (await cli.run(list)).json;
  await execute(cli, `DELETE FROM message; DELETE FROM ticket WHERE subject = 'about c'`);
  const ticket = before[1]?.['ticket'];
  const counted = await cli.run(['reconcile', '--json']);
  expect(counted).toMatchObject({ code: 1 });
  expect(counted.json).toMatchObject([
    {
      ...{ ok: false, outcomes_without_message: 2, tickets_without_message: 2, deleted: 1 },
      inconsistent: expect.arrayContaining([
        { count: 'outcomes_without_message', mailbox: 'support', uid: 2, ticket, message: before[1]?.['id'] },
        { count: 'tickets_without_message', mailbox: 'support', uid: null, ticket, message: null },
      ]),
    },
  ]);
  expect((await cli.run(['reconcile'])).out).toContain(`  mailbox support  uid 2  ticket ${ticket}  message `);
  expect(await cli.run(['reconcile', 'support'])).toMatchObject({
    code: 1,
    out: expect.stringContaining(`UID 2 of ticket ${ticket}`),
  });
  // One of them from its kept source, the other from the server.
  await execute(cli, 'UPDATE outcome SET raw_segment = NULL, raw_offset = NULL, raw_length = NULL WHERE uid = 1');
  const repaired = await cli.run(['reconcile', 'support', '--repair', '--json']);
  expect(repaired).toMatchObject({ code: 0 });
  expect(repaired.json).toMatchObject([
    { ok: true, without_message_uids: [1, 2], restored: [{ uid: 1, result: 'restored' }, { result: 'restored' }] },
  ]);
  expect((await cli.run(list)).json.slice(0, 2)).toEqual(before.slice(0, 2));
  expect(await cli.run(['reconcile'])).toMatchObject({
    code: 0,
    out: expect.stringContaining('left over: 1 message deleted'),
  });
  expect(await cli.run(['reconcile', 'support'])).toMatchObject({ code: 0 });
  // A message without a stored source or one on the server stays lost.
  await execute(cli, 'DELETE FROM message; UPDATE outcome SET raw_segment = NULL');
  await dovecot.expunge(user, 'INBOX', [1]);
  expect(await cli.run(['reconcile', 'support', '--repair'])).toMatchObject({
    code: 1,
    out: expect.stringMatching(/UID 1 of .*neither stored nor on the server[\s\S]*UID 2 of .*restored/),
  });
});

test('a folder that was set back on its server is not said to be accounted for', async () => {
  const { cli, user } = await commandLineWith([mail('a', 'a@example.test')]);
  await using _ = cli;
  const restore = await dovecot.backUp(user, 'INBOX');
  await dovecot.append(user, 'INBOX', [mail('b', 'b@example.test'), mail('c', 'c@example.test')]);
  expect(await cli.run(['poll'])).toMatchObject({ code: 0 });
  await restore();
  expect(await cli.run(['reconcile', 'support'])).toMatchObject({
    code: 1,
    out: '',
    err: expect.stringMatching(/restored from a backup[\s\S]*starts the folder again/),
  });
  expect(await cli.run(['poll'])).toMatchObject({ code: 0 });
  expect(await cli.run(['reconcile', 'support'])).toMatchObject({ code: 0 });
});
