/**
 * Whole polls against a real Dovecot, on both databases: what is fetched, once, and what is done on the server.
 * Titles name what went wrong for others.
 */

import { describe, expect, test } from 'vitest';
import type { DatabaseConfig } from '../../../src/config/config.ts';
import { isFailure } from '../../../src/errors.ts';
import type { Mailbox } from '../../../src/ingest/model.ts';
import { testApp } from '../../support/app.ts';
import { databaseKinds } from '../../support/database-kinds.ts';
import { serversOfFile } from '../../support/file-servers.ts';
import { execute, messagesOf, outcomesOf } from '../../support/outcomes.ts';
import type { Dovecot } from '../../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;
const never = new AbortController().signal;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

type MailOptions = { id?: string | null; subject?: string; headers?: readonly string[]; body?: string };

function mail({ id, subject = 'The printer', headers = [], body = 'It does not print.' }: MailOptions): Buffer {
  const lines = [
    'From: Ada Lovelace <ada@example.test>',
    'To: support@example.test',
    `Subject: ${subject}`,
    'Date: Tue, 24 Nov 2026 10:00:00 +0000',
    ...(id === null ? [] : [`Message-ID: <${id ?? 'one@example.test'}>`]),
    ...headers,
  ];
  return Buffer.from(`${lines.join('\r\n')}\r\n\r\n${body}\r\n`);
}

for (const { kind, tags } of databaseKinds)
  describe(`a poll, stored in ${kind}`, { tags }, () => {
    const database = async (): Promise<DatabaseConfig | null> =>
      kind === 'sqlite' ? null : (await mariadb.createDatabase()).config;

    test('turns messages into tickets and replies, and marks them seen', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [
        mail({ id: 'a@x' }),
        mail({ id: 'b@x', subject: 'Re: The printer', headers: ['In-Reply-To: <a@x>'] }),
        mail({ id: 'c@x', subject: 'Another' }),
      ]);
      const mailbox = await on.addMailbox(dovecot, user);
      const report = await on.pollOnce(mailbox, never);
      expect(report.outcomes).toMatchObject({ ticket_opened: 2, reply_added: 1, quarantined: 0 });
      const tickets = await on.app.store.listTickets(10);
      expect(tickets.map(({ subject, messageCount }) => [subject, messageCount]).sort()).toEqual([
        ['Another', 1],
        ['The printer', 2],
      ]);
      const flags = await dovecot.listFlags(user, 'INBOX');
      expect([...flags.values()].every((set) => set.has('\\Seen'))).toBe(true);
      expect(await on.app.store.reconcile()).toMatchObject({
        outcomes: 3,
        messages: 3,
        outcomesWithoutMessage: 0,
        messagesWithoutOutcome: 0,
        ticketsWithoutMessage: 0,
        outcomesAboveCursor: 0,
      });
    });

    test('a second poll finds nothing new: one message, one ticket, however often the timer fires (18)', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [mail({})]);
      const mailbox = await on.addMailbox(dovecot, user);
      for (let poll = 0; poll < 3; poll += 1) await on.pollOnce(mailbox, never);
      expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened']);
    });

    test('of two polls at the same time one runs, and the other fails with lease_taken (19, 35)', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      await dovecot.append(
        user,
        'INBOX',
        Array.from({ length: 30 }, (_, index) => mail({ id: `${index}@x` })),
      );
      const mailbox = await on.addMailbox(dovecot, user);
      const polls = await Promise.allSettled([on.pollOnce(mailbox, never), on.pollOnce(mailbox, never)]);
      const refused = polls.filter((poll) => poll.status === 'rejected');
      expect(refused.map(({ reason }) => isFailure(reason, 'lease_taken'))).toEqual([true]);
      expect(await outcomesOf(on, mailbox)).toHaveLength(30);
    });

    test('a message that another client has read is fetched all the same (1, 3)', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [mail({})], { flags: ['\\Seen'] });
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened']);
    });

    test('messages without a Message-ID, or with an empty one, are distinct (7, 8)', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      const empty = (body: string) => mail({ id: null, headers: ['Message-ID: '], body });
      await dovecot.append(user, 'INBOX', [
        mail({ id: null, body: 'one' }),
        mail({ id: null, body: 'two' }),
        empty('three'),
        empty('four'),
      ]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      expect(await outcomesOf(on, mailbox)).toEqual([
        '1 ticket_opened',
        '2 ticket_opened',
        '3 ticket_opened',
        '4 ticket_opened',
      ]);
    });

    test('two alarms of a device that sends no Message-ID are two tickets, though they say the same', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      const alarm = (trace: string, line: string) =>
        Buffer.from(`Received: ${trace}\r\nFrom: pump@example.test\r\nSubject: Alarm\r\n${line}`);
      const same = '\r\nThe pump is on fire.\r\n';
      await dovecot.append(user, 'INBOX', [
        alarm('by mx id 1', same),
        alarm('by mx id 2', same),
        alarm('by mx id 3', 'The pump 1 is on fire\r\n'),
        alarm('by mx id 3', 'The pump 2 has exploded\r\n'),
      ]);
      const mailbox = await on.addMailbox(dovecot, user);
      expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ ticket_opened: 4, duplicate: 0 });
    });

    test('a folder with a new UIDVALIDITY stores nothing twice (28, 83)', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [mail({ id: 'a@x' }), mail({ id: null, body: 'no id' })]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      await dovecot.changeUidValidity(user, 'INBOX');
      await dovecot.append(user, 'INBOX', [mail({ id: 'new@x' })]);
      const report = await on.pollOnce(mailbox, never);
      expect(report.outcomes).toMatchObject({ duplicate: 2, ticket_opened: 1 });
      expect(await on.app.store.listTickets(10)).toHaveLength(3);
      expect(on.lines.some(({ event }) => event === 'folder.reset')).toBe(true);
    });

    test('a mailbox that starts now ignores old messages, also after a new UIDVALIDITY', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      const lastYear = new Date(Date.now() - 400 * 86_400_000);
      await dovecot.append(user, 'INBOX', [mail({ id: 'old@x' })], { receivedAt: lastYear });
      const mailbox = await on.addMailbox(dovecot, user, { start: { from: 'time', atMs: Date.now() - 60_000 } });
      await on.pollOnce(mailbox, never);
      expect(await outcomesOf(on, mailbox)).toEqual([]);
      await dovecot.append(user, 'INBOX', [mail({ id: 'new@x' })]);
      await on.pollOnce(mailbox, never);
      expect(await outcomesOf(on, mailbox)).toEqual(['2 ticket_opened']);
      await dovecot.changeUidValidity(user, 'INBOX');
      expect((await on.pollOnce(mailbox, never)).outcomes).toMatchObject({ duplicate: 1, ticket_opened: 0 });
    });

    test('a message that is too large is quarantined with its header, unread, and the others are stored (60, 61)', async () => {
      await using on = await testApp(await database(), {
        TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1',
        TICKETMAILD_MESSAGE_BATCH_MAX_MB: '1',
      });
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [
        mail({ id: 'a@x' }),
        mail({ id: 'big@x', body: 'x'.repeat(76).concat('\r\n').repeat(20_000) }),
        mail({ id: 'b@x' }),
      ]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      expect(await outcomesOf(on, mailbox)).toEqual([
        '1 ticket_opened',
        '2 quarantined (too_large)',
        '3 ticket_opened',
      ]);
      const flags = await dovecot.listFlags(user, 'INBOX');
      expect([...flags].map(([uid, set]) => [uid, set.has('\\Seen')])).toEqual([
        [1, true],
        [2, false],
        [3, true],
      ]);
    });

    test('subjects, names and addresses longer than any column, and 4-byte letters, are stored (63, 71)', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      const long = `${'very '.repeat(400)}long`;
      const from = `From: "${'N'.repeat(2000)}" <${'a'.repeat(900)}@example.test>`;
      const encoded = `=?UTF-8?B?${Buffer.from('Drucker 🖨️ 👍').toString('base64')}?=`;
      const source = Buffer.from(
        mail({ id: `${'i'.repeat(3000)}@x`, subject: long })
          .toString()
          .replace(/^From:.*$/m, from),
      );
      await dovecot.append(user, 'INBOX', [
        source,
        mail({ id: 'e@x', subject: encoded, headers: ['Content-Type: text/plain; charset=utf-8'], body: 'Hallo 👋🏽' }),
      ]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened']);
      const [first, second] = await messagesOf(on, mailbox);
      expect(first?.subject).toBe(long);
      expect(first?.messageId).toHaveLength(3002);
      expect(second).toMatchObject({ subject: 'Drucker 🖨️ 👍', text: expect.stringContaining('👋🏽') });
    });

    test('messages are moved, deleted or left on the server as the mailbox says, after the commit (11, 16)', async () => {
      await using on = await testApp(await database());
      const poll = async (postAction: Mailbox['postAction']) => {
        const user = dovecot.newUser();
        await dovecot.append(user, 'INBOX', [mail({ id: `${user}@x` })]);
        const mailbox = await on.addMailbox(dovecot, user, { postAction });
        await on.pollOnce(mailbox, never);
        return user;
      };
      const [moved, deleted, left] = [
        await poll({ kind: 'move', folder: 'Erledigt/Prüfung' }),
        await poll({ kind: 'delete' }),
        await poll({ kind: 'leave' }),
      ];
      expect((await dovecot.listFlags(moved, 'INBOX')).size).toBe(0);
      expect((await dovecot.listFlags(moved, 'Erledigt/Prüfung')).size).toBe(1);
      expect((await dovecot.listFlags(deleted, 'INBOX')).size).toBe(0);
      expect([...(await dovecot.listFlags(left, 'INBOX')).values()].map((set) => set.has('\\Seen'))).toEqual([false]);
    });

    test('a post-action that a crash cut off is repeated by the next poll (22, 23)', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [mail({})]);
      const mailbox = await on.addMailbox(dovecot, user, { postAction: { kind: 'move', folder: 'a//b' } });
      await expect(on.pollOnce(mailbox, never)).rejects.toSatisfy((error) =>
        isFailure(error, 'server_refused', 'folder_missing'),
      );
      expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened']);
      await on.pollOnce({ ...mailbox, postAction: { kind: 'delete' } }, never);
      expect((await dovecot.listFlags(user, 'INBOX')).size).toBe(0);
      expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened']);
    });

    test('folders with umlauts and Cyrillic letters are found (75)', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      for (const folder of ['Büro/Anfragen', 'Заявки']) {
        await dovecot.append(user, folder, [mail({ id: `${encodeURIComponent(folder)}@x` })]);
        const mailbox = await on.addMailbox(dovecot, user, { name: folder });
        const inFolder = { ...mailbox, connection: { ...mailbox.connection, folder } };
        expect((await on.pollOnce(inFolder, never)).outcomes.ticket_opened).toBe(1);
      }
    });

    test('a reply to a deleted ticket opens a new one, and blocks nothing (27, 55)', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      const mailbox = await on.addMailbox(dovecot, user);
      await dovecot.append(user, 'INBOX', [mail({ id: 'a@x' })]);
      await on.pollOnce(mailbox, never);
      await execute(on, mariadb, 'DELETE FROM ticket');
      await dovecot.append(user, 'INBOX', [mail({ id: 'b@x', headers: ['In-Reply-To: <a@x>'] }), mail({ id: 'c@x' })]);
      await on.pollOnce(mailbox, never);
      expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened', '3 ticket_opened']);
      expect(await on.app.store.listTickets(10)).toHaveLength(2);
    });

    test('the raw source of every stored message can be read back unchanged', async () => {
      await using on = await testApp(await database());
      const user = dovecot.newUser();
      const sources = Array.from({ length: 25 }, (_, index) => mail({ id: `${index}@x`, body: `body ${index}` }));
      await dovecot.append(user, 'INBOX', sources);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      const places = await on.app.store.storedSources(
        mailbox.id,
        sources.map((_, index) => index + 1),
      );
      const found = await Promise.all(
        places.map(async (place) => Buffer.from(await on.app.raw.read(place)).toString()),
      );
      expect(found).toEqual(sources.map(String));
    });
  });

test('a message that the database refuses for good is quarantined alone, with its source; the rest is stored (43, 52)', async () => {
  await using narrow = await startMariadb({ args: ['--max-allowed-packet=1M'] });
  await using on = await testApp((await narrow.createDatabase()).config);
  const user = dovecot.newUser();
  const huge = mail({ id: 'huge@x', body: 'too much for one packet\r\n'.repeat(80_000) });
  const small = (index: number) => mail({ id: `${index}@x` });
  await dovecot.append(user, 'INBOX', [
    small(1),
    small(2),
    small(3),
    huge,
    small(5),
    mail({ id: 'r@x', headers: ['In-Reply-To: <1@x>'] }),
  ]);
  const mailbox = await on.addMailbox(dovecot, user);
  await on.pollOnce(mailbox, never);
  expect(await outcomesOf(on, mailbox)).toEqual([
    '1 ticket_opened',
    '2 ticket_opened',
    '3 ticket_opened',
    '4 quarantined (row_refused)',
    '5 ticket_opened',
    '6 reply_added',
  ]);
  const [place] = await on.app.store.storedSources(mailbox.id, [4]);
  if (place === undefined) throw new Error('the source of the quarantined mail was not kept');
  expect(huge.equals(await on.app.raw.read(place))).toBe(true);
});
