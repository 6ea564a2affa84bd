/**
 * Stored messages read again from their sources, on both databases; and folders compared with their outcomes, on a real
 * Dovecot.
 */

import { describe, expect, test } from 'vitest';
import type { DatabaseConfig } from '../../src/config/config.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import { reconcileFolder } from '../../src/ingest/repair/reconcile.ts';
import { testApp } from '../support/app.ts';
import { databaseKinds } from '../support/database-kinds.ts';
import { serversOfFile } from '../support/file-servers.ts';
import { execute, messagesOf, outcomesOf } from '../support/outcomes.ts';
import type { Dovecot } from '../support/servers/dovecot.ts';
import type { Mariadb } from '../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;
const never = new AbortController().signal;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

function mail(id: string, headers = '', body = 'It does not print.'): Buffer {
  return Buffer.from(
    `From: ${id}@example.test\r\nSubject: about ${id}\r\nMessage-ID: <${id}@example.test>\r\n${headers}\r\n${body}\r\n`,
  );
}

const withFile = mail(
  'file',
  'Content-Type: multipart/mixed; boundary=b\r\n',
  '--b\r\n\r\ntext\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\n\r\nhello\r\n--b--',
);

const sound = {
  outcomesWithoutMessage: 0,
  messagesWithoutOutcome: 0,
  ticketsWithoutMessage: 0,
  mergedTicketsWithMessage: 0,
  referencesWithoutMessage: 0,
};

for (const { kind, tags } of databaseKinds)
  describe(`in ${kind}`, { tags }, () => {
    const databaseOf = async (): Promise<DatabaseConfig | null> =>
      kind === 'sqlite' ? null : (await mariadb.createDatabase()).config;

    async function polled(sources: readonly Buffer[], given: Partial<Mailbox> = {}) {
      await using building = new AsyncDisposableStack();
      const on = building.use(await testApp(await databaseOf()));
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', sources);
      const mailbox = await on.addMailbox(dovecot, user, given);
      await on.pollOnce(mailbox, never);
      const undo = building.move();
      return { on, user, mailbox, [Symbol.asyncDispose]: () => undo.disposeAsync() };
    }

    test('a message that equals its source is not changed', async () => {
      await using at = await polled([withFile, mail('b')]);
      for (const { id } of await messagesOf(at.on, at.mailbox))
        expect(await at.on.app.reprocess(id)).toEqual({ what: 'reprocessed', changed: [], ref: null, outcome: null });
      await expect(at.on.app.reprocess('nobody')).rejects.toMatchObject({ code: 'not_found' });
    });

    test('text, headers and attachments are brought up to date, and the ticket stays', async () => {
      await using at = await polled([withFile]);
      const [before] = await messagesOf(at.on, at.mailbox);
      if (before === undefined) throw new Error('no message');
      await execute(
        at.on,
        mariadb,
        `UPDATE message SET body_text = 'old', headers_json = '[]', subject = 'old'; DELETE FROM attachment`,
      );
      expect(await at.on.app.reprocess(before.id)).toEqual({
        what: 'reprocessed',
        changed: ['headers', 'subject', 'text', 'attachments'],
        ref: null,
        outcome: null,
      });
      expect(await messagesOf(at.on, at.mailbox)).toEqual([before]);
      expect(await at.on.app.reprocess(before.id)).toMatchObject({ changed: [] });
      expect(await outcomesOf(at.on, at.mailbox)).toEqual(['1 ticket_opened']);
    });

    test('a person who was taken for a machine gets a ticket, once', async () => {
      await using at = await polled([mail('one', 'Auto-Submitted: auto-replied\r\n'), mail('two')]);
      expect(await outcomesOf(at.on, at.mailbox)).toEqual(['1 recorded (auto_reply)', '2 ticket_opened']);
      const [, two] = await messagesOf(at.on, at.mailbox);
      await execute(
        at.on,
        mariadb,
        `DELETE FROM ticket; UPDATE message SET ticket_id = NULL, kind = 'auto_reply';
       UPDATE outcome SET outcome = 'recorded', reason = 'auto_reply', ticket_id = NULL`,
      );
      const ids = await Array.fromAsync(at.on.app.store.messageIdsSince(at.mailbox.id, null));
      for (let round = 0; round < 2; round += 1) for (const id of ids) await at.on.app.reprocess(id);
      expect(await outcomesOf(at.on, at.mailbox)).toEqual(['1 recorded (auto_reply)', '2 ticket_opened']);
      const [ticket, ...more] = await at.on.app.store.listTickets(10);
      expect([ticket?.subject, ticket?.messageCount, more]).toEqual(['about two', 1, []]);
      expect((await messagesOf(at.on, at.mailbox))[1]).toEqual(two);
      expect(await at.on.app.store.reconcile()).toMatchObject(sound);
    });

    test('two who replay the same message at the same time open one ticket', async () => {
      await using at = await polled([mail('two')]);
      const [two] = await messagesOf(at.on, at.mailbox);
      await execute(
        at.on,
        mariadb,
        `DELETE FROM ticket; UPDATE message SET ticket_id = NULL, kind = 'auto_reply';
       UPDATE outcome SET outcome = 'recorded', reason = 'auto_reply', ticket_id = NULL`,
      );
      const id = two?.id ?? '';
      const results = await Promise.all([at.on.app.reprocess(id), at.on.app.reprocess(id), at.on.app.reprocess(id)]);
      expect(results.filter((one) => one.what === 'reprocessed' && one.outcome === 'ticket_opened')).toHaveLength(1);
      expect(await at.on.app.store.listTickets(10)).toHaveLength(1);
    });

    test('an automatic answer that was recorded joins the ticket that it answers to', async () => {
      await using at = await polled([
        mail('one'),
        mail('auto', 'Auto-Submitted: auto-replied\r\nTo: one@example.test\r\nIn-Reply-To: <one@example.test>\r\n'),
      ]);
      await execute(
        at.on,
        mariadb,
        `UPDATE message SET ticket_id = NULL WHERE message_id = 'auto@example.test';
       UPDATE outcome SET outcome = 'recorded', reason = 'auto_reply', ticket_id = NULL WHERE uid = 2`,
      );
      const [, auto] = await messagesOf(at.on, at.mailbox);
      const [ticket] = await at.on.app.store.listTickets(10);
      expect(await at.on.app.reprocess(auto?.id ?? '')).toMatchObject({ outcome: 'reply_added', ref: ticket?.ref });
      expect(await outcomesOf(at.on, at.mailbox)).toEqual(['1 ticket_opened', '2 reply_added']);
    });

    test('a message whose source has expired stays as it is', async () => {
      await using at = await polled([mail('one')]);
      const [one] = await messagesOf(at.on, at.mailbox);
      for (const segment of await at.on.app.raw.segmentsBefore(Date.now() + 3 * 86_400_000))
        await at.on.app.raw.remove(segment);
      expect(await at.on.app.reprocess(one?.id ?? '')).toEqual({ what: 'source_missing' });
    });

    test('a folder is accounted for: handled, waiting, before the start, taken away by us and by others', async () => {
      const old = new Date(Date.now() - 400 * 86_400_000);
      await using on = await testApp(await databaseOf());
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [mail('old')], { receivedAt: old });
      const mailbox = await on.addMailbox(dovecot, user, { start: { from: 'time', atMs: Date.now() - 60_000 } });
      await dovecot.append(user, 'INBOX', [mail('a'), mail('b'), mail('c')]);
      await on.pollOnce(mailbox, never);
      await dovecot.expunge(user, 'INBOX', [3]);
      await dovecot.append(user, 'INBOX', [mail('d')]);
      expect(await on.app.store.acquireLease(mailbox.id, 'another worker', 600_000, null)).not.toBeNull();
      expect(await reconcileFolder(mailbox, on.app)).toMatchObject({
        ...{ cursorUid: 4, onServer: 4, handled: 2, quarantined: 0, waiting: 1, beforeStart: 1, missing: [] },
        ...{ gone: { postAction: 0, vanished: 0, quarantined: 0, otherwise: 1 }, actionsPending: 0 },
      });
      const flags = await dovecot.listFlags(user, 'INBOX');
      expect(flags.get(5)?.has('\\Seen')).toBe(false);
    });

    test('a message that is lost is named, and put back once, with its attachments, where its ticket is by now', async () => {
      await using at = await polled([withFile, mail('b')]);
      const { store } = at.on.app;
      const before = await messagesOf(at.on, at.mailbox);
      const [into] = await store.listTickets(1);
      await execute(
        at.on,
        mariadb,
        `UPDATE ticket SET status = 'merged', merged_into = (SELECT ticket_id FROM outcome WHERE uid = 2)
         WHERE subject = 'about file';
       DELETE FROM attachment; DELETE FROM message WHERE message_id = 'file@example.test'`,
      );
      expect(into?.subject).toBe('about b');
      const names = ['outcomesWithoutMessage', 'messagesWithoutOutcome', 'outcomesAboveCursor'] as const;
      expect(await store.inconsistentRows(names, 20)).toMatchObject([
        { count: 'outcomesWithoutMessage', mailbox: at.mailbox.name, uid: 1, message: before[0]?.id },
      ]);
      const [lost, ...more] = await Array.fromAsync(store.lostMessages(at.mailbox.id));
      if (lost === undefined || more.length > 0) throw new Error('not one message is lost');
      const results = await Promise.all([at.on.app.restore(lost), at.on.app.restore(lost)]);
      expect(results.sort()).toEqual(['resolved', 'restored']);
      expect(await messagesOf(at.on, at.mailbox)).toEqual(before);
      expect((await store.ticketByRef(into?.ref ?? '')).messageCount).toBe(2);
      expect(await store.reconcile()).toMatchObject(sound);
      // Another message under its number is refused.
      await execute(
        at.on,
        mariadb,
        `DELETE FROM message; UPDATE outcome SET raw_segment = NULL, dedup_key = '${'f'.repeat(64)}' WHERE uid = 1`,
      );
      const [again] = await Array.fromAsync(store.lostMessages(at.mailbox.id));
      expect(again === undefined ? null : await at.on.app.restore(again)).toBe('other');
    });

    test('a message whose ticket and message were deleted is counted apart', async () => {
      await using at = await polled([mail('a'), mail('b')]);
      const { store } = at.on.app;
      await execute(
        at.on,
        mariadb,
        `DELETE FROM message WHERE message_id = 'b@example.test'; DELETE FROM ticket WHERE subject = 'about b'`,
      );
      expect(await store.reconcile()).toMatchObject({ ...sound, deletedMessages: 1 });
      expect(await Array.fromAsync(store.lostMessages(at.mailbox.id))).toEqual([]);
      await execute(at.on, mariadb, 'DELETE FROM message');
      expect(await store.reconcile()).toMatchObject({
        outcomesWithoutMessage: 1,
        ticketsWithoutMessage: 1,
        deletedMessages: 1,
      });
      expect(await store.inconsistentRows(['outcomesWithoutMessage', 'ticketsWithoutMessage'], 1)).toMatchObject([
        { uid: 1, ticket: expect.any(String) },
        { uid: null, ticket: expect.any(String), message: null },
      ]);
    });

    test('a message that was passed over is found, fetched, and then it is not missing any more', async () => {
      await using at = await polled([mail('a'), mail('b'), mail('c')], { postAction: { kind: 'leave' } });
      await execute(
        at.on,
        mariadb,
        `DELETE FROM message WHERE message_id = 'b@example.test'; DELETE FROM ticket WHERE subject = 'about b';
       DELETE FROM outcome WHERE uid = 2`,
      );
      const { missing, folderEpoch } = await reconcileFolder(at.mailbox, at.on.app);
      expect(missing).toMatchObject([{ uid: 2, sizeBytes: mail('b').length, receivedAtMs: expect.any(Number) }]);
      const { store } = at.on.app;
      for (const isNew of [true, false]) {
        for (const one of missing) expect(await store.quarantineMissed(at.mailbox.id, folderEpoch, one)).toBe(isNew);
      }
      const [held] = await store.quarantinedByUid(at.mailbox.id, folderEpoch, 2);
      if (held === undefined) throw new Error('not held');
      expect(await at.on.app.resolve(held, 'requeue')).toMatchObject({ what: 'stored', outcome: 'ticket_opened' });
      expect((await reconcileFolder(at.mailbox, at.on.app)).missing).toEqual([]);
      expect(await outcomesOf(at.on, at.mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened', '3 ticket_opened']);
    });
  });
