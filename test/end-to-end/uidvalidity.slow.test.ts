/**
 * Folders whose numbers cannot be relied on, on a real Dovecot and on servers that say what a test wants: what is there
 * already is known again, what is new comes in, and rows do not grow without end.
 */

import { describe, expect, test } from 'vitest';
import type { DatabaseConfig } from '../../src/config/config.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import { reconcileFolder } from '../../src/ingest/repair/reconcile.ts';
import { startScriptedServer } from '../adapters/imap/scripted-server.ts';
import { type TestApp, testApp } from '../support/app.ts';
import { type DatabaseKind, databaseKinds } from '../support/database-kinds.ts';
import { serversOfFile } from '../support/file-servers.ts';
import type { Dovecot } from '../support/servers/dovecot.ts';
import type { Mariadb } from '../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;
const never = new AbortController().signal;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

function mail(id: string, more = ''): Buffer {
  return Buffer.from(
    `From: ${id}@example.test\r\nSubject: about ${id}\r\nMessage-ID: <${id}@example.test>\r\n\r\nIt does not print ${more}.\r\n`,
  );
}

const withoutId = (source: Buffer) => Buffer.from(source.toString().replace(/Message-ID: .*\r\n/u, ''));

async function outcomesOf(on: TestApp, mailbox: Mailbox): Promise<string[]> {
  const rows = await Array.fromAsync(on.app.store.outcomes(mailbox.id, false));
  return rows.map(({ uid, outcome }) => `${uid} ${outcome}`);
}

async function databaseOf(kind: DatabaseKind): Promise<DatabaseConfig | null> {
  return kind === 'sqlite' ? null : (await mariadb.createDatabase()).config;
}

for (const { kind, tags } of databaseKinds)
  describe(`a folder, stored in ${kind}`, { tags }, () => {
    test('that is restored from a backup reuses UIDs: new messages under old UIDs are stored', async () => {
      await using on = await testApp(await databaseOf(kind));
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [mail('a'), mail('b')]);
      const mailbox = await on.addMailbox(dovecot, user, { postAction: { kind: 'leave' } });
      await on.pollOnce(mailbox, never);
      const restore = await dovecot.backUp(user, 'INBOX');
      await dovecot.append(user, 'INBOX', [mail('lost1'), mail('lost2'), mail('lost3')]);
      await on.pollOnce(mailbox, never);
      await restore();
      await dovecot.append(user, 'INBOX', [mail('new')]);
      const report = await on.pollOnce(mailbox, never);
      expect(report.outcomes).toMatchObject({ duplicate: 2, ticket_opened: 1 });
      expect(on.lines.filter(({ event }) => event === 'folder.restored_from_backup')).toEqual([
        expect.objectContaining({ level: 'warn', uid_next: 4, uid_before: 5 }),
      ]);
      expect(await on.app.store.readFolderProgress(mailbox.id)).toMatchObject({
        generation: 1,
        startUid: 0,
        cursor: { uid: 3 },
      });
      await dovecot.append(user, 'INBOX', [mail('later')]);
      expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ duplicate: 0, ticket_opened: 1 });
      expect(await on.app.store.listTickets(10)).toHaveLength(7);
      expect((await on.app.store.reconcile()).outcomesAboveCursor).toBe(0);
    });

    test('that is restored, and has more new messages by then than the backup lacked, loses none', async () => {
      await using on = await testApp(await databaseOf(kind));
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [mail('a')]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      const restore = await dovecot.backUp(user, 'INBOX');
      const receivedAt = new Date(Date.now() - 60_000);
      await dovecot.append(user, 'INBOX', [mail('lost1'), mail('lost2')], { receivedAt });
      await on.pollOnce(mailbox, never);
      await restore();
      await dovecot.append(user, 'INBOX', [mail('new-1'), mail('new-22'), mail('new-333'), mail('new-4444')]);
      expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ duplicate: 1, ticket_opened: 4 });
      expect(await on.app.store.listTickets(10)).toHaveLength(7);
      expect(on.lines.filter(({ event }) => event === 'folder.restored_from_backup')).toHaveLength(1);
    });

    test('that is restored, and has as many new messages as the backup lacked, loses none', async () => {
      await using on = await testApp(await databaseOf(kind));
      const user = dovecot.newUser();
      const receivedAt = new Date(Date.now() - 60_000);
      await dovecot.append(user, 'INBOX', [mail('a'), mail('b')], { receivedAt });
      const mailbox = await on.addMailbox(dovecot, user);
      const restore = await dovecot.backUp(user, 'INBOX');
      await dovecot.append(user, 'INBOX', [mail('lost')], { receivedAt });
      await on.pollOnce(mailbox, never);
      await restore();
      await dovecot.append(user, 'INBOX', [mail('another')]);
      await expect(reconcileFolder(mailbox, on.app)).rejects.toMatchObject({ code: 'check_failed' });
      expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ duplicate: 2, ticket_opened: 1 });
      expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ duplicate: 0, ticket_opened: 0 });
      expect(await on.app.store.listTickets(10)).toHaveLength(4);
    });

    for (const has of ['Message-IDs', 'no Message-IDs'] as const)
      test(`that is restored, and has new messages of equal size with ${has}, loses none`, async () => {
        await using on = await testApp(await databaseOf(kind));
        const user = dovecot.newUser();
        const hasIds = has === 'Message-IDs';
        const put = (ids: readonly string[], minute: number) =>
          dovecot.append(
            user,
            'INBOX',
            ids.map((id) => (hasIds ? mail(id) : withoutId(mail(id)))),
            {
              receivedAt: new Date(Date.UTC(2026, 10, 23, 10, hasIds ? 0 : minute)),
            },
          );
        await put(['a', 'b'], 0);
        const mailbox = await on.addMailbox(dovecot, user, { postAction: { kind: 'leave' } });
        await on.pollOnce(mailbox, never);
        const restore = await dovecot.backUp(user, 'INBOX');
        await put(['old1', 'old2', 'old3'], 1);
        await on.pollOnce(mailbox, never);
        await restore();
        await put(['new1', 'new2', 'new3'], 2);
        await expect(reconcileFolder(mailbox, on.app)).rejects.toMatchObject({ code: 'check_failed' });
        expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ duplicate: 2, ticket_opened: 3 });
        expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ duplicate: 0, ticket_opened: 0 });
        expect(await on.app.store.listTickets(10)).toHaveLength(8);
        expect(await reconcileFolder(mailbox, on.app)).toMatchObject({ onServer: 5, handled: 5, missing: [] });
      });

    test('that returns to an old UIDVALIDITY starts another epoch', async () => {
      await using on = await testApp(await databaseOf(kind));
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [mail('a')]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      const restore = await dovecot.backUp(user, 'INBOX');
      await dovecot.changeUidValidity(user, 'INBOX');
      await on.pollOnce(mailbox, never);
      await restore();
      await dovecot.append(user, 'INBOX', [mail('new')]);
      expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ duplicate: 1, ticket_opened: 1 });
      expect(await on.app.store.listTickets(10)).toHaveLength(2);
    });

    test('with a new UIDVALIDITY has quarantined messages under their new UIDs, and discarded ones not at all', async () => {
      await using on = await testApp(await databaseOf(kind), {
        TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1',
        TICKETMAILD_MESSAGE_BATCH_MAX_MB: '1',
      });
      const user = dovecot.newUser();
      const large = (id: string) => mail(id, 'x'.repeat(76).concat('\r\n').repeat(20_000));
      await dovecot.append(user, 'INBOX', [large('one'), large('two')]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      const held = () => Array.fromAsync(on.app.store.quarantinedMessages({ mailboxId: mailbox.id, reason: null }));
      const [first] = await held();
      if (first === undefined) throw new Error('nothing is in quarantine');
      await on.app.store.discard(first);
      for (let poll = 0; poll < 2; poll += 1) {
        await dovecot.changeUidValidity(user, 'INBOX');
        await on.pollOnce(mailbox, never);
        expect((await held()).map(({ uid }) => uid)).toEqual([2]);
      }
      const [second] = await held();
      if (second === undefined) throw new Error('nothing is in quarantine');
      expect(await on.app.resolve(second, 'release')).toMatchObject({ what: 'stored', outcome: 'ticket_opened' });
      // What was released is known again, too.
      for (let poll = 0; poll < 2; poll += 1) {
        await dovecot.changeUidValidity(user, 'INBOX');
        await on.pollOnce(mailbox, never);
        expect(await held()).toEqual([]);
        const rows = await Array.fromAsync(on.app.store.outcomes(mailbox.id, false));
        const last = rows.filter(({ uid }) => uid === 2).at(-1);
        expect(last).toMatchObject({ outcome: 'duplicate', reason: 'seen_before', ticket: expect.any(String) });
      }
      expect(await on.app.store.listTickets(10)).toHaveLength(1);
    });

    test('with a new UIDVALIDITY in every poll has its outcomes once, and is reported', async () => {
      await using on = await testApp(await databaseOf(kind));
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [mail('a'), mail('b'), mail('c')]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      for (let poll = 0; poll < 5; poll += 1) {
        await dovecot.changeUidValidity(user, 'INBOX');
        expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ duplicate: 3, ticket_opened: 0 });
      }
      expect((await outcomesOf(on, mailbox)).sort()).toEqual([
        ...['1 duplicate', '1 ticket_opened', '2 duplicate', '2 ticket_opened', '3 duplicate', '3 ticket_opened'],
      ]);
      expect(on.lines.filter(({ event }) => event === 'folder.reset')).toHaveLength(5);
    });
  });

type Scripted = { readonly uids: readonly number[]; readonly names: string; readonly more: readonly string[] };

/** A server with one folder, whose mail of UID n is called as `names` has it, then n. */
function startFolder(now: () => Scripted) {
  return startScriptedServer({
    script: (command, rest, tag, { say }) => {
      const { uids, names, more } = now();
      if (command === 'SELECT') say(`* ${uids.length} EXISTS`, ...more);
      else if (command === 'UID SEARCH') say(`* SEARCH ${uids.join(' ')}`);
      else if (command === 'UID FETCH') {
        for (const uid of uids.filter((one) => rest.split(' ')[0]?.includes(`${one}`))) say(rowOf(uid, names, rest));
      } else if (command !== 'UID STORE') return false;
      say(`${tag} OK done`);
      return true;
    },
  });
}

function rowOf(uid: number, names: string, asked: string): string {
  const source = mail(`${names}${uid}`).toString('latin1');
  const facts = `UID ${uid} RFC822.SIZE ${source.length} INTERNALDATE "24-Nov-2026 10:00:0${uid} +0000"`;
  return `* 1 FETCH (${facts}${asked.includes('BODY.PEEK[]') ? ` BODY[] {${source.length}}\r\n${source}` : ''})`;
}

/** A mailbox of that server. */
function mailboxAt(on: TestApp, port: number): Promise<Mailbox> {
  const connection = { host: '127.0.0.1', port, tls: 'none', folder: 'INBOX', user: 'first' } as const;
  const trust = { caPem: null, fingerprint: null, allowPlaintext: true };
  return on.addMailbox(dovecot, 'first', { connection: { ...connection, ...trust }, postAction: { kind: 'leave' } });
}

test('a row that names another account starts another epoch, also where both have the same UIDVALIDITY', async () => {
  const account = (names: string, uids: readonly number[]): Scripted => {
    return { names, uids, more: ['* OK [UIDVALIDITY 1] yes', `* OK [UIDNEXT ${uids.length + 1}] yes`] };
  };
  let now = account('first', [1, 2, 3]);
  await using server = await startFolder(() => now);
  await using on = await testApp(null);
  const mailbox = await mailboxAt(on, server.port);
  const called = async (user: string): Promise<Mailbox> => {
    const before = await on.app.store.versionedMailbox(mailbox.name);
    const after = { ...before.mailbox, connection: { ...before.mailbox.connection, user } };
    await on.app.store.changeMailbox(before, after, null, on.app.actor);
    return after;
  };
  const begunAnew = () => on.lines.filter(({ event }) => event === 'folder.reset');
  expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ ticket_opened: 3 });
  // The account has another name now, and is the same: its messages are known again.
  const renamed = await called('first@example.test');
  expect((await on.pollOnce(renamed, never)).outcomes).toMatchObject({ ticket_opened: 0, duplicate: 3 });
  // As long as their names: sizes and times are those of the first account.
  now = account('other', [1, 2, 3, 4, 5]);
  const moved = await called('other');
  await expect(reconcileFolder(moved, on.app)).rejects.toMatchObject({ code: 'check_failed' });
  expect((await on.pollOnce(moved, never)).outcomes).toMatchObject({ ticket_opened: 5, duplicate: 0 });
  const entry = { level: 'info', reason: 'other_folder', uid_validity: 1, uid: 0 };
  expect(begunAnew()).toMatchObject([entry, entry]);
  expect((await on.pollOnce(moved, never)).outcomes).toMatchObject({ ticket_opened: 0, duplicate: 0 });
  expect(await on.app.store.listTickets(10)).toHaveLength(8);
});

test('removed messages are no restored backup, also where the server announces no UIDNEXT', async () => {
  let uids = [7, 9];
  await using server = await startFolder(() => ({ names: 'm', uids, more: ['* OK [UIDVALIDITY 7] yes'] }));
  await using on = await testApp(null);
  const mailbox = await mailboxAt(on, server.port);
  expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ ticket_opened: 2 });
  uids = [7];
  expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ duplicate: 0 });
  expect(on.lines.some(({ event }) => event === 'folder.restored_from_backup')).toBe(false);
});

test('a server that clears the read flag, and a client that reads first, change nothing', async () => {
  await using on = await testApp(null);
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('a')], { flags: ['\\Seen'] });
  const mailbox = await on.addMailbox(dovecot, user, { postAction: { kind: 'leave' } });
  await on.pollOnce(mailbox, never);
  await dovecot.unsee(user, 'INBOX');
  await on.pollOnce(mailbox, never);
  expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened']);
});

test('nothing is deleted once the row says to leave messages, also in the middle of a poll', async () => {
  await using on = await testApp(null);
  const user = dovecot.newUser();
  await dovecot.append(user, 'INBOX', [mail('a'), mail('b')]);
  const mailbox = await on.addMailbox(dovecot, user, { postAction: { kind: 'delete' } });
  let changing: Promise<void> | null = null;
  const change = async (): Promise<void> => {
    const before = await on.app.store.versionedMailbox(mailbox.name);
    await on.app.store.changeMailbox(before, { ...before.mailbox, postAction: { kind: 'leave' } }, null, on.app.actor);
  };
  // It is done on a SQLite file before the poll has its sources.
  await on.pollOnce(mailbox, never, (event) => {
    if (event.what === 'progress' && event.done === 0) changing ??= change();
  });
  await changing;
  expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened']);
  expect((await dovecot.listFlags(user, 'INBOX')).size).toBe(2);
  const after = await on.app.store.mailboxByName(mailbox.name);
  await on.pollOnce(after, never);
  expect((await dovecot.listFlags(user, 'INBOX')).size).toBe(2);
  expect(
    await on.app.store.pendingActions(
      mailbox.id,
      (await on.app.store.readFolderProgress(mailbox.id)).cursor?.folderEpoch ?? 0,
      9,
    ),
  ).toEqual([]);
});
