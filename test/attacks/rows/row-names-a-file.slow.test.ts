/**
 * A writer of the database lets a row name a file outside the data folder, and has it read by release, reprocess,
 * export and lists.
 */
import { hash } from 'node:crypto';
import { existsSync, readdirSync, renameSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { zstdCompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { type CommandLine, openCommandLine } from '../../commands/command-line.ts';
import { serversOfFile } from '../../support/file-servers.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';

let dovecot: Dovecot;

serversOfFile((servers) => {
  ({ dovecot } = servers);
});

const secret =
  'From: payroll@example.test\r\nSubject: salaries of all\r\nMessage-ID: <p@x>\r\n\r\nThe salaries: 4711.\r\n';
const secretFrame = zstdCompressSync(secret);

function mail(id: string, headers = ''): Buffer {
  return Buffer.from(
    `From: ada@example.test\r\nSubject: about ${id}\r\nMessage-ID: <${id}@x>\r\n${headers}\r\nIt does not print.\r\n`,
  );
}

const manyServers = 'Received: from a by b; Tue, 24 Nov 2026 10:00:00 +0000\r\n'.repeat(150);

type Scene = AsyncDisposable & {
  readonly cli: CommandLine;
  /** Lets every outcome name this source. */
  name(segment: string, more?: { readonly length?: number; readonly sha256?: string }): void;
  readonly segment: string;
  readonly messageId: string;
  readonly quarantineId: string;
};

/** UID 1 is a ticket, UID 2 waits in quarantine; `secret.zst` is beside the data folder. */
async function scene(): Promise<Scene> {
  await using building = new AsyncDisposableStack();
  const cli = building.use(await openCommandLine());
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('one'), mail('two', manyServers)]);
  const server = ['--host', dovecot.host, '--port', `${dovecot.tlsPort}`, '--ca-file', dovecot.caFile];
  const settings = ['--name', 'support', '--user', user, '--since', 'all', '--password-stdin'];
  expect(await cli.run(['mailbox', 'add', ...server, ...settings], 'pw')).toMatchObject({ code: 0 });
  expect(await cli.run(['poll'])).toMatchObject({ code: 0 });
  writeFileSync(join(cli.folder, 'secret.zst'), secretFrame);
  const listed = await cli.run(['message', 'list', '--mailbox', 'support', '--full', '--json']);
  const [waiting] = (await cli.run(['quarantine', 'list', '--json'])).json;
  const [segment = ''] = readdirSync(join(cli.dataDir, 'raw'));
  const undo = building.move();
  return {
    ...{ cli, segment, messageId: String(listed.json[0]?.['id']), quarantineId: String(waiting?.['id']) },
    name: (named, { length = secretFrame.length, sha256 = hash('sha256', secret, 'hex') } = {}) =>
      cli.sql(
        `UPDATE outcome SET raw_segment = '${named}', raw_offset = 0, raw_length = ${length}, raw_sha256 = '${sha256}'`,
      ),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** Every way on which a stored source leaves the disk. */
const ways: readonly (readonly [string, (at: Scene) => readonly string[]])[] = [
  ['message source', ({ cli }) => ['message', 'source', '--mailbox', 'support', '--uid', '1', '--output', outOf(cli)]],
  ['message reprocess', ({ messageId }) => ['message', 'reprocess', messageId]],
  ['quarantine export', ({ cli, quarantineId }) => ['quarantine', 'export', quarantineId, '--output', outOf(cli)]],
  ['quarantine release', ({ quarantineId }) => ['quarantine', 'release', quarantineId]],
];

const outOf = ({ folder }: CommandLine) => join(folder, 'out.eml');

async function textsOf({ cli }: Scene): Promise<string> {
  const lists = [
    ['quarantine', 'list'],
    ['message', 'list', '--mailbox', 'support', '--full', '--json'],
  ];
  const ran = await Promise.all(lists.map((args) => cli.run(args)));
  return ran.map(({ out }) => out).join('');
}

async function expectRefused(at: Scene, way: (scene: Scene) => readonly string[]): Promise<void> {
  const ran = await at.cli.run(way(at));
  expect(ran.out + ran.err).toMatch(/source is refused|is not a regular file/);
  expect(ran.code).not.toBe(0);
  expect(existsSync(outOf(at.cli))).toBe(false);
  expect(await textsOf(at)).not.toContain('alaries');
  // Neither message is lost: one still has its text, the other one still waits.
  expect(await textsOf(at)).toContain('It does not print.');
  expect((await at.cli.run(['quarantine', 'list', '--json'])).json).toMatchObject([{ id: at.quarantineId }]);
}

test.each(ways)('%s reads no file that a row names by a path; the message stays where it is', async (_, way) => {
  await using at = await scene();
  at.name('../../../secret.zst');
  await expectRefused(at, way);
});

test.each(ways)('%s follows no link in the place of a segment', async (_, way) => {
  await using at = await scene();
  const path = join(at.cli.dataDir, 'raw', at.segment);
  renameSync(path, join(at.cli.folder, 'aside'));
  symlinkSync(join(at.cli.folder, 'secret.zst'), path);
  at.name(at.segment);
  await expectRefused(at, way);
});

test.each(ways)('%s gives nothing whose SHA-256 is not that of the row', async (_, way) => {
  await using at = await scene();
  writeFileSync(join(at.cli.dataDir, 'raw', at.segment), secretFrame);
  at.name(at.segment, { sha256: 'a'.repeat(64) });
  await expectRefused(at, way);
});

test('a row that names a path in many messages stops neither the others nor the check of files', async () => {
  await using at = await scene();
  at.cli.sql(
    `UPDATE outcome SET raw_segment = '../../../secret.zst', raw_offset = 0, raw_length = ${secretFrame.length} WHERE uid = 1`,
    `INSERT INTO attachment (message_id, position, name, type, size_bytes, sha256, inline)
       SELECT id, 0, 'a', 'text/plain', 1, '../../../secret.zst', 0 FROM message`,
  );
  expect(await at.cli.run(['message', 'reprocess', '--mailbox', 'support'])).toMatchObject({ code: 1 });
  expect(await at.cli.run(['quarantine', 'release', '--all'])).toMatchObject({ code: 0 });
  const checked = await at.cli.run(['reconcile', '--files']);
  expect(checked).toMatchObject({ code: 1 });
  expect(checked.out).toContain('wrong: 1 attachment whose');
});

test('a requeued message whose stored source is refused is fetched from the server again', async () => {
  await using at = await scene();
  at.name('../../../secret.zst');
  expect(await at.cli.run(['quarantine', 'requeue', at.quarantineId])).toMatchObject({
    out: expect.stringContaining('still in quarantine (mail_loop)'),
  });
  expect(await at.cli.run(['quarantine', 'release', at.quarantineId])).toMatchObject({ code: 0 });
  expect(await textsOf(at)).toContain('about two');
});
