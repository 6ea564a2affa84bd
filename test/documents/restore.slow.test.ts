/**
 * The commands of the chapter "Backups" of `systemd/README.md`, as an operator pastes them: a backup under a running
 * daemon, more mail, a disaster, and the restore; nothing is lost or doubled.
 *
 * Names of database and folders are replaced by those of this test, and what needs systemd or the user of the service.
 */
import { spawnSync } from 'node:child_process';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { mustRun } from '../admin/admin-scene.ts';
import { type DatabaseKind, databaseKinds } from '../support/database-kinds.ts';
import { serversOfFile } from '../support/file-servers.ts';
import { openInstance } from '../support/instance.ts';
import { named, runCommand, startDaemon } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import type { Dovecot } from '../support/servers/dovecot.ts';
import type { Mariadb } from '../support/servers/mariadb.ts';
import { runSql } from '../support/sql.ts';
import { noFindings, verifyStored } from '../support/verification.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

const manual = await readFile(fileURLToPath(new URL('../../systemd/README.md', import.meta.url)), 'utf8');
const chapter = /^## Backups\n(.*?)^## /ms.exec(manual)?.[1] ?? '';
const [backup = [], restore = []] = [...chapter.matchAll(/^```sh\n(.*?)^```/gms)].map(([, block = '']) =>
  block.trimEnd().split('\n'),
);

/** The lines for a kind of database, in their order. */
function script(lines: readonly string[], kind: DatabaseKind): readonly string[] {
  const other = kind === 'mariadb' ? /sqlite3|damaged/ : /^mariadb/;
  return lines.filter((line) => !(other.test(line) || line.startsWith('#') || /^(systemctl|ticketmaild) /.test(line)));
}

const idOf = (number: number): string => `<r${number}@x>`;
const messagesFrom = (from: number, count: number): readonly Buffer[] =>
  Array.from({ length: count }, (_, index) =>
    Buffer.from(
      `From: ada@example.test\r\nSubject: ${from + index}\r\nMessage-ID: ${idOf(from + index)}\r\n\r\nHello\r\n`,
    ),
  );

async function story(kind: DatabaseKind): Promise<void> {
  const place = await mariadb.createDatabase();
  await using instance = await openInstance({ database: kind === 'mariadb' ? place : null });
  const { dataDir, env } = instance;
  const url = kind === 'mariadb' ? place.url : `sqlite:${join(dataDir, 'ticketmaild.db')}`;
  await mustRun(instance.command('encryption', 'enable', '--accept-key-loss', '--backup-prepared'));
  const [seen, moved] = [dovecot.newUser(), dovecot.newUser()];
  await dovecot.createFolder(moved, 'Done');
  await instance.add(dovecot, seen);
  await instance.add(dovecot, moved, { postAction: { kind: 'move', folder: 'Done' } });
  const folder = join(instance.folder, 'backup');
  await mkdir(folder);
  const paste = (lines: readonly string[]): void => {
    const text = lines
      .join('\n')
      .replace(/^as_service\(\).*$/m, 'as_service() { "$@"; }')
      .replaceAll('/var/lib/ticketmaild', dataDir)
      .replaceAll('helpdesk_mail', place.name)
      .replaceAll(/^mariadb(-dump)?/gm, `$& --no-defaults -uroot --socket=${mariadb.socketPath}`);
    const ran = spawnSync('sh', ['-ec', text], { cwd: folder, encoding: 'utf8' });
    expect(`${ran.status} ${ran.stderr}`, text).toBe('0 ');
  };
  const stored = (count: number) =>
    until(`${count} messages`, async () => {
      const [row] = await runSql<{ n: number }>(url, 'select count(*) as n from message').catch(() => []);
      return Number(row?.n) === count;
    });
  {
    await using daemon = startDaemon(['run'], { env });
    await daemon.waitFor(named('daemon.ready'));
    await dovecot.append(seen, 'INBOX', messagesFrom(0, 10));
    await dovecot.append(moved, 'INBOX', messagesFrom(100, 10));
    await stored(20);
    await untilMoved(moved, 10);
    paste(script(backup, kind));
    await dovecot.append(seen, 'INBOX', messagesFrom(10, 5));
    await dovecot.append(moved, 'INBOX', messagesFrom(110, 5));
    await stored(30);
    await untilMoved(moved, 15);
  }
  await rm(join(dataDir, 'blobs'), { recursive: true, force: true });
  await rm(join(dataDir, 'raw'), { recursive: true, force: true });
  paste([...script(backup, kind).filter((line) => line.startsWith('as_service()')), ...script(restore, kind)]);
  // As the manual says, with those that the backup has among them.
  await dovecot.move(moved, 'Done', 'INBOX');
  await using daemon = startDaemon(['run'], { env });
  await daemon.waitFor(named('daemon.ready'));
  await stored(30);
  await untilMoved(moved, 15);
  const sent = [...Array.from({ length: 15 }, (_, at) => at), ...Array.from({ length: 15 }, (_, at) => 100 + at)];
  const verification = await verifyStored({
    sent: sent.map((number) => ({ messageId: idOf(number), replyTo: null, attachmentSha256: null })),
    ...{ databaseUrl: url, dataDir },
  });
  expect(verification).toMatchObject({ messages: 30, findings: noFindings });
  const status = await mustRun(runCommand(['encryption', 'status', '--json'], { env }));
  expect(JSON.parse(status.stdout)).toMatchObject({ state: 'on', problem: null });
}

/** All are in the other folder, and none in the first. */
async function untilMoved(user: string, count: number): Promise<void> {
  await until(`${count} messages are moved`, async () => {
    const [left, there] = await Promise.all([dovecot.listFlags(user, 'INBOX'), dovecot.listFlags(user, 'Done')]);
    return left.size === 0 && there.size === count;
  });
}

describe.each(databaseKinds)('$kind', ({ kind, tags }) => {
  test('a restored database has every message once, also those after the backup', { timeout: 60_000, tags }, () =>
    story(kind),
  );
});
