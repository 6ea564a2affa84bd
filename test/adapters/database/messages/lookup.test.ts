/**
 * Lookups and writes of threading, on SQLite and MariaDB: links, merges, closed tickets, releases from quarantine, the
 * key of the reply tokens.
 */
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import type { Mailbox, NewMessage } from '../../../../src/ingest/model.ts';
import type { Lease } from '../../../../src/ingest/stores.ts';
import type { ParsedMessage } from '../../../../src/mail/message.ts';
import { kinds, type Opened, openKind } from '../databases.ts';
import {
  batchOf,
  batchWith,
  by,
  nowMs,
  opened,
  outcomeOf,
  pendingUids,
  plain,
  questionWith,
  sampleMailbox,
} from '../samples.ts';

const minuteMs = 60_000;
const person = (address: string) => ({ name: '', address });

describe.each(kinds)('threads in the store on %s', (kind) => {
  const stack = new AsyncDisposableStack();
  let place: Opened;
  let db: Database;
  let mailbox: Mailbox;
  let lease: Lease;

  beforeAll(async () => {
    place = await openKind(kind, stack);
    db = place.db;
  });
  afterAll(() => stack.disposeAsync());
  beforeEach(async () => {
    [mailbox, lease] = await leasedMailbox(db);
  });

  async function leasedMailbox(on: Database, more: Partial<Mailbox> = {}): Promise<[Mailbox, Lease]> {
    const added = sampleMailbox(more);
    await on.addMailbox(added, plain('x'), null, by);
    const taken = await on.acquireLease(added.id, 'me', minuteMs, null);
    if (taken === null) throw new Error('the lease is taken');
    return [added, taken];
  }

  /** Commits messages that open tickets; `missing` are the Message-IDs that each of them references. */
  async function store(uid: number, parsed: Partial<ParsedMessage> = {}, more: Partial<NewMessage> = {}) {
    const mail = opened(uid, parsed);
    const message = { ...mail.message, ...more };
    await db.commitBatch(lease, batchOf(1, [{ ...mail, message }]));
    return { ...mail, message };
  }

  const ask = (parts: Parameters<typeof questionWith>[0] | Omit<Parameters<typeof questionWith>[0], 'mailboxId'>) =>
    db.lookUp(questionWith({ mailboxId: mailbox.id, ...parts }));

  describe('look-ups', () => {
    test('messages that reference a Message-ID are found in their mailbox, with the people of the message', async () => {
      const given = { cc: [person('Cc@x')], from: { name: 'Bob', address: 'Bob+a@x' }, replyTo: [person('B@y')] };
      const mail = await store(1, given, { missing: ['gone@x', 'two@x'] });
      const { naming } = await ask({ messageIds: ['gone@x', 'other@x'] });
      expect(naming).toEqual([
        {
          named: 'gone@x',
          ticket: expect.objectContaining({ id: mail.ticket.id, isOrphan: false, status: 'open' }),
          people: {
            ...{ kind: 'human', from: 'bob@x', fromName: 'Bob', replyTo: ['b@y'], failed: [], areAllCounted: true },
            recipients: ['support@example.org', 'cc@x'],
          },
        },
      ]);
      const [other] = await leasedMailbox(db);
      expect((await ask({ mailboxId: other.id, messageIds: ['gone@x'] })).naming).toEqual([]);
    });

    test('a claim is true for addresses in From, To and Cc, compared letter by letter', async () => {
      const people = {
        from: person('From@x'),
        to: [person('tó@x'), { name: '"address":"liar@x"', address: 't@x' }],
        cc: [person('CC@x')],
      };
      const mail = await store(1, people);
      const ref = mail.ticket.ref.toUpperCase();
      await place.run(`update ticket set ref = '${ref}' where id = '${mail.ticket.id}'`);
      const addresses = ['from@x', 'fróm@x', 'tó@x', 'to@x', 'tö@x', 'cc@x', 'rom@x', 'liar@x', 't@x', '%', "o'x@x"];
      const { participants } = await ask({
        refs: [ref, 'NONE'],
        claims: [...addresses.map((address) => ({ ref, address })), { ref: 'NONE', address: 'from@x' }],
      });
      expect(participants.map(({ address }) => address).sort()).toEqual(['cc@x', 'from@x', 't@x', 'tó@x'].sort());
      expect(new Set(participants.map(({ ticketId }) => ticketId))).toEqual(new Set([mail.ticket.id]));
    });

    test.each(['human', 'list', 'auto_reply', 'bounce', 'feedback_report', 'read_receipt'] as const)(
      'participants named by a message of kind %s',
      async (kind) => {
        const mail = await store(1, { kind, from: person('from@x'), cc: [person('cc@x')] });
        const ref = mail.ticket.ref.toUpperCase();
        await place.run(`update ticket set ref = '${ref}' where id = '${mail.ticket.id}'`);
        const claims = ['from@x', 'cc@x'].map((address) => ({ ref, address }));
        const { participants } = await ask({ refs: [ref], claims });
        expect(participants).toHaveLength(kind === 'human' || kind === 'list' ? 2 : 0);
      },
    );

    test('continuations of a ticket closed long ago are found along a chain and through merges', async () => {
      const [old, second, third, lost, recent] = [
        await store(1, { messageId: 'old@x' }),
        await store(2),
        await store(3),
        await store(4),
        await store(5, { messageId: 'recent@x' }),
      ];
      const chain = [
        [second, old],
        [lost, second],
        [third, recent],
      ] as const;
      const links = chain.map(([{ ticket }, { ticket: other }]) => ({
        ...{ ticketId: ticket.id, otherId: other.id, reason: 'continues' as const },
      }));
      const mentions = { ticketId: third.ticket.id, otherId: old.ticket.id, reason: 'mentions' as const };
      await db.commitBatch(lease, batchWith({ cursor: { folderEpoch: 1, uid: 5 }, links: [...links, mentions] }));
      const close = (id: string, day: string) =>
        place.run(`update ticket set status = 'closed', closed_at = '2024-01-${day} 00:00:00' where id = '${id}'`);
      for (const { ticket } of [old, second]) await close(ticket.id, '01');
      await close(recent.ticket.id, '09');
      await place.run(
        `update ticket set status = 'merged', merged_into = '${third.ticket.id}' where id = '${lost.ticket.id}'`,
      );
      const asked = { messageIds: ['old@x', 'recent@x'] };
      const { continuations } = await ask({ ...asked, closedBeforeMs: Date.UTC(2024, 0, 5) });
      expect(continuations.map(({ closedId, ticket }) => [closedId, ticket.id])).toEqual([
        [old.ticket.id, second.ticket.id],
        [second.ticket.id, third.ticket.id],
      ]);
      expect((await ask(asked)).continuations).toEqual([]);
    });

    test('a hundred and fifty claims are answered', async () => {
      const mail = await store(1);
      const ref = mail.ticket.ref.toUpperCase();
      await place.run(`update ticket set ref = '${ref}' where id = '${mail.ticket.id}'`);
      const claims = Array.from({ length: 150 }, (_, index) => ({ ref, address: `a${index}@x` }));
      const { participants } = await ask({ refs: [ref], claims: [...claims, { ref, address: 'ada@example.org' }] });
      expect(participants).toEqual([{ ticketId: mail.ticket.id, address: 'ada@example.org' }]);
    });

    test('a handled message is found by its dedup key in its mailbox, also after its row is deleted', async () => {
      const mail = opened(1);
      const outcomes = [
        { ...mail.outcome, dedupKey: 'a'.repeat(64) },
        outcomeOf(2, 'quarantined', null, null, { reason: 'own_address', dedupKey: 'b'.repeat(64) }),
        outcomeOf(3, 'duplicate', null, null, { dedupKey: 'c'.repeat(64) }),
      ];
      await db.commitBatch(lease, batchWith({ ...batchOf(1, [mail]), outcomes }));
      await place.run(`delete from message where id = '${mail.message.id}'`);
      await place.run(`delete from ticket where id = '${mail.ticket.id}'`);
      const dedupKeys = ['a', 'b', 'c', 'd'].map((letter) => letter.repeat(64));
      const { handled } = await ask({ dedupKeys });
      expect(handled.toSorted((a, b) => (a.dedupKey < b.dedupKey ? -1 : 1))).toEqual([
        { dedupKey: dedupKeys[0], isQuarantined: false },
        { dedupKey: dedupKeys[1], isQuarantined: true },
      ]);
      const [other] = await leasedMailbox(db);
      expect((await ask({ mailboxId: other.id, dedupKeys })).handled).toEqual([]);
    });

    test('messages of a sender are counted by minute, ignoring case, within the period', async () => {
      const at = (uid: number, ms: number, address = 'Bot@x') =>
        store(uid, { from: person(address) }, { receivedAtMs: nowMs + ms });
      await at(1, 0);
      await at(2, 100, 'bot@X');
      await at(3, 2 * minuteMs);
      await at(4, -90 * minuteMs);
      await at(5, 0, 'bót@x');
      const senders = { addresses: ['bot@x', 'x@x'], fromMs: nowMs - 60 * minuteMs, toMs: nowMs + 3 * minuteMs };
      await place.run(`update mailboxes set created_at = '2020-01-01 00:00:00' where id = '${mailbox.id}'`);
      const { sent, addedAtMs } = await ask({ senders });
      const counts = sent.filter(({ address }) => address === 'bot@x');
      expect(counts.reduce((sum, { count }) => sum + count, 0)).toBe(3);
      expect(counts.map(({ atMs }) => atMs % minuteMs)).toEqual(counts.map(() => 0));
      expect(addedAtMs).toBe(Date.UTC(2020, 0, 1));
    });

    test('of a message with the same Message-ID and Date and other content, what it says is read where it opened its ticket', async () => {
      const mail = await store(1, {
        messageId: 'copied@x',
        text: 'Grüße,\n\n Ada \n',
        subject: `[x] ${'s'.repeat(300)}`,
      });
      const joined = { ticketId: mail.ticket.id, threadRule: 'reply_token' as const };
      await store(2, { messageId: 'copied@x', contentHash: 'd'.repeat(64) }, joined);
      const copied = async (contentHash: string, sentAtMs = nowMs) => {
        const { messages } = await ask({
          messageIds: ['copied@x'],
          own: [{ messageId: 'copied@x', contentHash, sentAtMs }],
        });
        return messages.map((one) => one.copied);
      };
      const said = { subject: 's'.repeat(300), text: 'Grüße,\nAda' };
      expect(await copied('e'.repeat(64))).toEqual([{ sentAtMs: nowMs, said }, null]);
      expect(await copied('e'.repeat(64), nowMs + 1000)).toEqual([null, null]);
      expect(await copied('c'.repeat(64))).toEqual([null, null]);
    });

    test('of many messages with one Message-ID the first few are read, in all a quarter of a million characters', async () => {
      const own: { messageId: string; contentHash: string; sentAtMs: number }[] = [];
      for (let id = 0; id < 8; id += 1) {
        const messageId = `copied${id}@x`;
        own.push({ messageId, contentHash: 'f'.repeat(64), sentAtMs: nowMs });
        const text = 'é'.repeat(id === 7 ? 65_537 : 30_000);
        for (let uid = 1; uid <= 7; uid += 1)
          await store(id * 10 + uid, { messageId, text, contentHash: `${uid}`.repeat(64) });
      }
      const read = async (of: typeof own) => {
        const { messages } = await ask({ messageIds: of.map(({ messageId }) => messageId), own: of });
        return messages.flatMap(({ copied }) => copied ?? []);
      };
      expect(await read(own.slice(0, 1))).toHaveLength(5);
      expect(await read(own.slice(0, 7))).toHaveLength(16);
      expect((await read(own.slice(7))).map(({ said }) => said)).toEqual(Array(5).fill(null));
    });

    test('mailboxes of one account see what the others handled, and only one of two stores a message', async () => {
      const [other, otherLease] = await leasedMailbox(db);
      const account = 'a'.repeat(64);
      await db.joinAccount(otherLease, account);
      await db.joinAccount(lease, account);
      expect([await db.isLeaseRevoked(otherLease), await db.isLeaseRevoked(lease)]).toEqual([true, false]);
      // The one that was there is to decide again, with this one in view.
      await expect(db.commitBatch(otherLease, batchOf(1, [opened(1)]))).rejects.toMatchObject({ code: 'lease_lost' });
      const taken = (await db.acquireLease(other.id, 'me', minuteMs, null)) as Lease;
      expect(await db.isLeaseRevoked(otherLease)).toBe(false);
      const dedupKey = 'd'.repeat(64);
      const copy = () => {
        const mail = opened(1);
        return batchOf(1, [{ ...mail, outcome: { ...mail.outcome, dedupKey } }]);
      };
      const results = await Promise.allSettled([
        db.commitBatch(lease, copy(), [other.id]),
        db.commitBatch(taken, copy(), [mailbox.id]),
      ]);
      const refused = results.flatMap((result) => (result.status === 'rejected' ? result.reason : []));
      expect(refused).toMatchObject([{ code: 'database_conflict' }]);
      for (const { id, others } of [
        { id: mailbox.id, others: [other.id] },
        { id: other.id, others: [mailbox.id] },
      ]) {
        const { accountMailboxes, handled } = await ask({ mailboxId: id, dedupKeys: [dedupKey] });
        expect([[...accountMailboxes], handled]).toEqual([others, [{ dedupKey, isQuarantined: false }]]);
      }
      const [stranger] = await leasedMailbox(db);
      const { accountMailboxes, handled } = await ask({ mailboxId: stranger.id, dedupKeys: [dedupKey] });
      expect([accountMailboxes.size, handled]).toEqual([0, []]);
    });

    test('equal notices are found in their mailbox, by sender and time, with the ticket that they opened', async () => {
      const [key, from] = ['f'.repeat(64), person('Pump@x')];
      const mail = await store(1, { from }, { repeatKey: key });
      const last = { ticketId: mail.ticket.id, threadRule: 'repeat' as const, repeatKey: key };
      await store(2, { from }, { ...last, receivedAtMs: nowMs + minuteMs });
      await store(3, { from }, { ...last, threadRule: 'reply_token', receivedAtMs: nowMs + 2 * minuteMs });
      await store(4, { from }, { repeatKey: null });
      const span = { keys: [key], addresses: ['pump@x'], fromMs: nowMs - minuteMs, toMs: nowMs + 5 * minuteMs };
      const repeated = async (repeats: typeof span, mailboxId = mailbox.id) =>
        (await ask({ mailboxId, repeats })).repeated.map(({ ticket, ...notice }) => ({ ...notice, id: ticket.id }));
      expect(await repeated(span)).toEqual([{ key, count: 2, atMs: nowMs + minuteMs, id: mail.ticket.id }]);
      expect(await repeated({ ...span, keys: ['0'.repeat(64)] })).toEqual([]);
      expect(await repeated({ ...span, addresses: ['other@x'] })).toEqual([]);
      expect(await repeated({ ...span, fromMs: nowMs + 2 * minuteMs })).toEqual([]);
      const [other] = await leasedMailbox(db);
      expect(await repeated(span, other.id)).toEqual([]);
    });

    test('what a token or a Message-ID tied to a ticket counts for that ticket, and for no sender', async () => {
      await place.run(`update mailboxes set created_at = '2020-01-01 00:00:00' where id = '${mailbox.id}'`);
      const from = person('Bot@x');
      const first = await store(1, { from });
      const rules = ['in_reply_to', 'references', 'reply_token', 'subject_tag', 'sibling'] as const;
      const { id: ticketId } = first.ticket;
      for (const [index, threadRule] of rules.entries()) {
        const mail = opened(index + 2, { from });
        const message = { ...mail.message, ticketId, threadRule };
        const outcome = { ...mail.outcome, ticketId, messageId: message.id };
        const cursor = { folderEpoch: 1, uid: index + 2 };
        await db.commitBatch(lease, batchWith({ cursor, messages: [message], outcomes: [outcome] }));
      }
      const senders = { addresses: ['bot@x'], fromMs: nowMs - minuteMs, toMs: nowMs + minuteMs };
      const found = await ask({ senders, messageIds: [first.message.parsed.messageId] });
      expect(found.sent.reduce((sum, { count }) => sum + count, 0)).toBe(3);
      const counts = found.tied.map(({ ticketId: id, tie, address, count }) => [id === ticketId, tie, address, count]);
      expect(counts.sort()).toEqual([
        [true, 'message_id', 'bot@x', 1],
        [true, 'message_id', 'bot@x', 1],
        [true, 'token', 'bot@x', 1],
      ]);
      expect((await ask({ senders })).tied).toEqual([]);
      expect((await ask({ messageIds: [first.message.parsed.messageId] })).tied).toEqual([]);
    });

    test('all people of an open ticket of the mailbox are returned, unless it has more than 20 messages', async () => {
      const first = await store(1, { from: person('Ada@x'), cc: [person('cy@x')], replyTo: [person('a+1@y')] });
      const messageIds = [first.message.parsed.messageId];
      const add = async (uid: number, parsed: Partial<ParsedMessage>) => {
        const mail = opened(uid, parsed);
        const message = { ...mail.message, ticketId: first.ticket.id, threadRule: 'references' as const };
        const outcome = { ...mail.outcome, ticketId: first.ticket.id };
        const cursor = { folderEpoch: 1, uid };
        await db.commitBatch(lease, batchWith({ cursor, messages: [message], outcomes: [outcome] }));
      };
      await add(2, { kind: 'bounce', from: person('robot@x'), to: [person('gone@x')] });
      await add(3, { from: person('bob@x'), to: [person('support@example.org')] });
      const people = async () => (await ask({ messageIds })).ticketPeople;
      const expected = ['a@y', 'ada@x', 'bob@x', 'cy@x', 'support@example.org'];
      const found = await people();
      expect(found.map(({ ticketId }) => ticketId)).toEqual([first.ticket.id]);
      expect([...new Set(found[0]?.addresses)].sort()).toEqual(expected);
      for (let uid = 4; uid <= 21; uid += 1) await add(uid, {});
      expect(await people()).toEqual([]);
    });

    test('of many messages with one Message-ID fifty are returned: from people of the batch, here, the oldest', async () => {
      const claims = Array.from({ length: 60 }, (_, index) =>
        opened(index + 1, { messageId: 'claimed@x', from: person(`m${index}@evil`) }),
      );
      await db.commitBatch(lease, batchOf(1, claims));
      const [there, thereLease] = await leasedMailbox(db);
      const elsewhere = opened(1, { messageId: 'claimed@x', from: person('Ada@x') });
      await db.commitBatch(thereLease, batchOf(1, [elsewhere]));
      const found = async (people: readonly string[], mailboxId = mailbox.id) =>
        (await ask({ mailboxId, messageIds: ['claimed@x'], people })).messages.map(({ id }) => id);
      const ids = claims.map(({ message }) => message.id);
      expect(await found([])).toEqual(ids.slice(0, 50));
      expect(await found(['m59@evil', 'ada@x'])).toEqual([...ids.slice(0, 48), ids[59], elsewhere.message.id].sort());
      expect(await found([], there.id)).toContain(elsewhere.message.id);
    });

    test('of lists that another program made long, what is read is bounded', async () => {
      const first = await store(1, { cc: [person('cy@x')] });
      const list = JSON.stringify(Array.from({ length: 5_000 }, (_, index) => `a${index}@x`));
      const alter = kind === 'mariadb' ? 'alter table message modify recipients_json longtext null; ' : '';
      await place.run(`${alter}update message set recipients_json = '${list}' where id = '${first.message.id}'`);
      const found = await ask({ messageIds: [first.message.parsed.messageId] });
      expect(found.messages.map(({ people }) => people.recipients)).toEqual([[]]);
    });

    const noteSent = (messageId: string, ticketId: string) =>
      place.run(`insert into sent_message (message_id, ticket_id) values ('${messageId}', '${ticketId}')`);

    test('what the helpdesk sent is found by its Message-ID, and which senders of answers take part in its ticket', async () => {
      const [mail, other] = [await store(1, { from: person('Ada@x'), cc: [person('cy@x')] }), await store(2)];
      const unique = mailbox.id;
      const long = `${unique}@${'y'.repeat(998 - unique.length - 1)}`;
      await noteSent(`a.${unique}@desk`, mail.ticket.id);
      await noteSent(`<b.${unique}@desk>`, other.ticket.id);
      await noteSent(long, mail.ticket.id);
      await noteSent(`A.${unique}@desk`, other.ticket.id);
      const senders = ['ada@x', 'cy@x', 'eve@x'];
      const ids = [
        `a.${unique}@desk`,
        `b.${unique}@desk`,
        long,
        `ä.${unique}@desk`,
        `${long}z`,
        `c.${unique}@desk`,
        '',
      ];
      const { sentMessages, participants } = await ask({ answers: ids.map((id) => ({ id, senders })) });
      expect(sentMessages.map(({ messageId, ticket }) => [messageId, ticket.id])).toEqual([
        [`a.${unique}@desk`, mail.ticket.id],
        [`b.${unique}@desk`, other.ticket.id],
        [long, mail.ticket.id],
      ]);
      expect(participants).toEqual([
        { ticketId: mail.ticket.id, address: 'ada@x' },
        { ticketId: mail.ticket.id, address: 'cy@x' },
      ]);
      expect((await ask({ messageIds: ids })).sentMessages).toEqual([]);
      expect(await place.run(`select count(*) from sent_message where sent_at is null`)).toBe('0');
    });

    test('a row of the helpdesk for a merged ticket leads to its target, and one for no ticket to none', async () => {
      const [mail, target, lost] = [await store(1), await store(2), await store(3)];
      const unique = mailbox.id;
      await place.run(
        `update ticket set status = 'merged', merged_into = '${target.ticket.id}' where id = '${mail.ticket.id}'`,
      );
      await place.run(`update ticket set status = 'merged', merged_into = 'gone' where id = '${lost.ticket.id}'`);
      const ticketIds = [mail.ticket.id, lost.ticket.id, 'gone', '', "odd ''%_", mail.ticket.ref];
      for (const [at, ticketId] of ticketIds.entries()) await noteSent(`${at}.${unique}@desk`, ticketId);
      const answers = ticketIds.map((_, at) => ({ id: `${at}.${unique}@desk`, senders: [] }));
      const { sentMessages } = await ask({ answers });
      expect(sentMessages).toMatchObject([{ messageId: `0.${unique}@desk`, ticket: { id: target.ticket.id } }]);
    });

    test('a Message-ID of more than 998 bytes, or a ticket of more than 36, is refused', async () => {
      const { ticket } = await store(1);
      const megabyte = 'x'.repeat(1_000_000);
      for (const [messageId, ticketId] of [
        [megabyte, ticket.id],
        ['x'.repeat(999), ticket.id],
        [`${mailbox.id}@desk`, megabyte],
        [`${mailbox.id}@desk`, 'x'.repeat(37)],
      ] as const)
        await expect(noteSent(messageId, ticketId)).rejects.toThrow(/too long|CHECK constraint failed/);
    });

    test.runIf(kind === 'sqlite')('odd characters in a row of the helpdesk break no other one', async () => {
      const { ticket } = await store(1);
      const id = `${mailbox.id}@desk`;
      const odd = ["'a' || char(0) || 'b'", "'\u202e😀'", '42'];
      for (const value of odd) {
        await place.run(`insert into sent_message (message_id, ticket_id) values (${value}, '${ticket.id}')`);
        await place.run(
          `insert into sent_message (message_id, ticket_id, sent_at) values (${value} || 'x', ${value}, 'no')`,
        );
      }
      await noteSent(id, ticket.id);
      const ids = [id, '42', 'a\0b', 'a', '\u202e😀', '\0ÿ'];
      const { sentMessages } = await ask({ answers: ids.map((one) => ({ id: one, senders: ['eve@x'] })) });
      expect(sentMessages.map(({ messageId }) => messageId)).toEqual([id, '42']);
    });

    test('a merged ticket resolves to its target, also through several merges', async () => {
      const stored = [await store(1), await store(2), await store(3)];
      const [first, second, third] = stored.map(({ ticket }) => ticket.id);
      await place.run(`update ticket set status = 'merged', merged_into = '${second}' where id = '${first}'`);
      await place.run(`update ticket set status = 'merged', merged_into = '${third}' where id = '${second}'`);
      const ref = stored[0]?.ticket.ref ?? '';
      const { messages, tickets } = await ask({ messageIds: [stored[0]?.message.parsed.messageId ?? ''], refs: [ref] });
      expect(messages[0]?.ticket?.id).toBe(third);
      expect(tickets.map(({ ticket }) => ticket.id)).toEqual([third]);
      await place.run(`update ticket set status = 'merged', merged_into = '${first}' where id = '${third}'`);
      expect((await ask({ refs: [ref] })).tickets).toEqual([]);
    });

    test('a closed ticket has its closing time, also when another program closed it', async () => {
      const mail = await store(1);
      const closed = async () => (await ask({ messageIds: [mail.message.parsed.messageId] })).messages[0]?.ticket;
      await place.run(
        `update ticket set status = 'closed', closed_at = '2024-01-02 03:04:05' where id = '${mail.ticket.id}'`,
      );
      expect(await closed()).toMatchObject({ status: 'closed', closedAtMs: Date.UTC(2024, 0, 2, 3, 4, 5) });
      await place.run(
        `update ticket set closed_at = null, updated_at = '2024-02-02 03:04:05' where id = '${mail.ticket.id}'`,
      );
      expect(await closed()).toMatchObject({ closedAtMs: Date.UTC(2024, 1, 2, 3, 4, 5) });
    });

    test('own addresses are those of all mailboxes: the configured ones, else the user name', async () => {
      await using fresh = await openDatabase(place.config);
      const [named] = await leasedMailbox(fresh, { addresses: ['desk@example.net', 'help@example.net'] });
      expect((await fresh.mailboxByName(named.name)).addresses).toEqual(['desk@example.net', 'help@example.net']);
      const { ownAddresses } = await fresh.lookUp(questionWith({ mailboxId: named.id }));
      expect([...ownAddresses]).toEqual(expect.arrayContaining(['desk@example.net', 'support@example.org']));
      await fresh.setAddresses(named.id, [], by);
      const [entry] = await fresh.readAudit(1);
      expect(entry).toMatchObject({ ...by, action: 'mailbox.changed', detail: `${named.name}: addresses` });
      expect((await fresh.mailboxById(named.id))?.addresses).toEqual(['support@example.org']);
      await expect(fresh.setAddresses('missing', [], by)).rejects.toMatchObject({ code: 'not_found' });
    });
  });

  describe('merges', () => {
    const merge = (ticketId: string, intoId: string) =>
      db.commitBatch(
        lease,
        batchWith({
          cursor: { folderEpoch: 1, uid: 9 },
          merges: [{ ticketId, intoId }],
          links: [{ ticketId, otherId: intoId, reason: 'merged' }],
        }),
      );

    test('messages and outcomes move along, and the old reference resolves to the target', async () => {
      const [old, young] = [await store(1), await store(2)];
      await merge(young.ticket.id, old.ticket.id);
      const ticket = await db.ticketByRef(old.ticket.ref);
      expect(ticket.messages.map(({ messageId }) => messageId)).toEqual(
        [old, young].map(({ message }) => message.parsed.messageId),
      );
      expect(ticket.links).toEqual([{ ticket: young.ticket.ref, reason: 'merged', direction: 'from' }]);
      expect(await db.ticketByRef(young.ticket.ref)).toMatchObject({
        status: 'merged',
        mergedInto: old.ticket.ref,
        messages: [],
      });
      const rows = await Array.fromAsync(db.outcomes(mailbox.id, false));
      expect(rows.map((row) => row.ticket)).toEqual([old.ticket.ref, old.ticket.ref]);
    });

    test('a ticket of the same batch can be merged', async () => {
      const old = await store(1);
      const young = opened(2);
      const merges = [{ ticketId: young.ticket.id, intoId: old.ticket.id }];
      await db.commitBatch(lease, { ...batchOf(1, [young]), merges });
      expect((await db.ticketByRef(old.ticket.ref)).messages).toHaveLength(2);
    });

    test.each(['closed', 'merged'])('a ticket that is %s meanwhile stays, and nothing is stored', async (status) => {
      const [old, young] = [await store(1), await store(2)];
      await place.run(`update ticket set status = '${status}' where id = '${young.ticket.id}'`);
      await expect(merge(young.ticket.id, old.ticket.id)).rejects.toMatchObject({ code: 'database_conflict' });
      expect((await db.ticketByRef(old.ticket.ref)).messages).toHaveLength(1);
      expect((await db.readFolderProgress(mailbox.id)).cursor?.uid).toBe(2);
    });

    test('a reply to a ticket that another worker merged meanwhile is decided again', async () => {
      const [old, young] = [await store(1), await store(2)];
      await using second = await openDatabase(place.config);
      const [, theirs] = await leasedMailbox(second);
      await merge(young.ticket.id, old.ticket.id);
      const reply = opened(1);
      const message = { ...reply.message, ticketId: young.ticket.id };
      const batch = batchWith({ cursor: { folderEpoch: 1, uid: 1 }, messages: [message], outcomes: [reply.outcome] });
      await expect(second.commitBatch(theirs, batch)).rejects.toMatchObject({ code: 'database_conflict' });
    });
  });

  test('a closed ticket that a person answered is reopened, another one stays closed', async () => {
    const [one, two] = [await store(1), await store(2)];
    await place.run(`update ticket set status = 'closed', closed_at = '2024-01-01 00:00:00'`);
    const replies = [one, two].map((mail, index) => {
      const reply = opened(3 + index);
      return { ...reply, message: { ...reply.message, ticketId: mail.ticket.id } };
    });
    await db.commitBatch(lease, { ...batchOf(1, replies), tickets: [], answered: [one.ticket.id] });
    expect(await db.ticketByRef(one.ticket.ref)).toMatchObject({ status: 'open', closedAtMs: null });
    expect(await db.ticketByRef(two.ticket.ref)).toMatchObject({ status: 'closed', closedAtMs: Date.UTC(2024, 0, 1) });
  });

  test('a reply does not change a status that the helpdesk defined', async () => {
    const one = await store(1);
    await place.run(`update ticket set status = 'waiting' where id = '${one.ticket.id}'`);
    const reply = opened(2);
    const message = { ...reply.message, ticketId: one.ticket.id };
    await db.commitBatch(lease, {
      ...batchOf(1, [{ ...reply, message }]),
      ...{ tickets: [], answered: [one.ticket.id] },
    });
    expect((await db.ticketByRef(one.ticket.ref)).status).toBe('waiting');
  });

  test('an outcome row above the cursor is replaced, one of the cursor or below is not', async () => {
    const forged = (uid: number, more = 'null') =>
      place.run(`insert into outcome (mailbox_id, folder_epoch, uid, outcome, size_bytes, action_pending, created_at, dedup_key)
        values ('${mailbox.id}', 1, ${uid}, 'recorded', 1, 1, '2026-01-01 00:00:00', ${more})`);
    await db.commitBatch(lease, batchOf(1, [opened(1)]));
    await forged(2);
    await forged(3);
    expect(
      await db.commitBatch(
        lease,
        batchOf(
          1,
          [2, 3, 4].map((uid) => opened(uid)),
        ),
      ),
    ).toEqual([2, 3]);
    const kinds = async () =>
      (await Array.fromAsync(db.outcomes(mailbox.id, false))).map(({ uid, outcome }) => `${uid} ${outcome}`);
    expect(await kinds()).toEqual([1, 2, 3, 4].map((uid) => `${uid} ticket_opened`));
    await expect(db.commitBatch(lease, batchOf(1, [opened(4)]))).rejects.toMatchObject({ code: 'row_refused' });
    await forged(5, `'${'d'.repeat(64)}'`);
    const duplicate = outcomeOf(5, 'duplicate', null, null, { dedupKey: 'd'.repeat(64) });
    const after = batchWith({ cursor: { folderEpoch: 1, uid: 5 }, outcomes: [duplicate] });
    expect(await db.commitBatch(lease, after)).toEqual([]);
    expect(await kinds()).toEqual([...[1, 2, 3, 4].map((uid) => `${uid} ticket_opened`), '5 recorded']);
    expect((await db.readFolderProgress(mailbox.id)).cursor).toEqual({ folderEpoch: 1, uid: 5 });
  });

  describe('links', () => {
    test('the tickets of one message in two mailboxes are linked once, by the later one', async () => {
      const same = { messageId: 'copy@x', contentHash: '9'.repeat(64) };
      const here = await store(1, same);
      const [theirBox, theirLease] = await leasedMailbox(db);
      const there = opened(1, same);
      const other = opened(2, { ...same, contentHash: '8'.repeat(64) });
      await db.commitBatch(theirLease, batchOf(1, [there, other]));
      const copies = (ticketId: string) => [{ ...same, ticketId }];
      await db.linkCopies(theirBox.id, copies(there.ticket.id));
      await db.linkCopies(theirBox.id, copies(there.ticket.id));
      expect((await db.ticketByRef(there.ticket.ref)).links).toEqual([
        { ticket: here.ticket.ref, reason: 'same_message', direction: 'to' },
      ]);
      const listed = (await db.listTickets(100)).find(({ ref }) => ref === here.ticket.ref);
      expect(listed?.links).toEqual([{ ticket: there.ticket.ref, reason: 'same_message', direction: 'from' }]);
    });
  });

  describe('a message released from quarantine', () => {
    const raw = { segment: 'one', offset: 5, lengthBytes: 10, sha256: 'e'.repeat(64) };
    const released = (uid: number) => {
      const mail = opened(uid);
      return { mail, batch: batchOf(1, [{ ...mail, outcome: { ...mail.outcome, raw } }]) };
    };

    beforeEach(async () => {
      const held = outcomeOf(4, 'quarantined', null, null, { reason: 'sender_flood', raw, actionPending: false });
      await db.commitBatch(lease, batchWith({ cursor: { folderEpoch: 1, uid: 9 }, outcomes: [held] }));
    });

    test('replaces its outcome, without a lease and without moving the cursor', async () => {
      const { mail, batch } = released(4);
      await db.commitResolved(mailbox.id, batch);
      const rows = await Array.fromAsync(db.outcomes(mailbox.id, true));
      expect(rows).toMatchObject([{ uid: 4, outcome: 'ticket_opened', reason: null, ticket: mail.ticket.ref }]);
      expect((await db.readFolderProgress(mailbox.id)).cursor).toEqual({ folderEpoch: 1, uid: 9 });
      expect(await pendingUids(db, mailbox.id, 1)).toEqual([4]);
      expect(await db.retainedSegments(['one'])).toEqual([]);
    });

    test('exactly one of two concurrent releases succeeds', async () => {
      const results = await Promise.allSettled([1, 2].map(() => db.commitResolved(mailbox.id, released(4).batch)));
      expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected']);
      expect((await db.listTickets(1000)).filter(({ mailbox: name }) => name === mailbox.name)).toHaveLength(1);
    });

    test('an outcome that is not quarantined, or is resolved, is not replaced, and nothing is stored', async () => {
      await expect(db.commitResolved(mailbox.id, released(5).batch)).rejects.toMatchObject({
        code: 'database_conflict',
      });
      await place.run(`update outcome set resolved_at = '2024-01-01 00:00:00' where mailbox_id = '${mailbox.id}'`);
      await expect(db.commitResolved(mailbox.id, released(4).batch)).rejects.toMatchObject({
        code: 'database_conflict',
      });
      await expect(db.commitResolved('nobody', released(4).batch)).rejects.toMatchObject({ code: 'not_found' });
      expect((await db.listTickets(1000)).filter(({ mailbox: name }) => name === mailbox.name)).toEqual([]);
    });

    test('a message quarantined again stays unresolved', async () => {
      const again = outcomeOf(4, 'quarantined', null, null, { reason: 'row_refused', raw, actionPending: false });
      await db.commitResolved(mailbox.id, batchWith({ cursor: { folderEpoch: 1, uid: 4 }, outcomes: [again] }));
      expect(await db.retainedSegments(['one'])).toEqual(['one']);
    });
  });

  test('reply keys are added once for each number, and replaced only as they were read', async () => {
    await place.run('delete from reply_key');
    expect((await ask({ needsReplyKeys: true })).replyKeys).toEqual([]);
    await using second = await openDatabase(place.config);
    const secrets = Array.from({ length: 8 }, (_, at) => new Uint8Array(32).fill(at + 1));
    const add = (secret: Uint8Array, at: number) =>
      (at % 2 === 0 ? db : second).writeReplyKeys([{ id: 1, secret, keyId: null, before: null, isRetired: false }]);
    await Promise.all(secrets.map(add));
    const [row, ...others] = (await ask({ needsReplyKeys: true })).replyKeys;
    if (row === undefined) throw new Error('it was added');
    expect(others).toEqual([]);
    expect(row).toMatchObject({ id: 1, keyId: null, retiredAtMs: null });
    const sealed = { id: 1, secret: new Uint8Array(60).fill(9), keyId: '0123456789abcdef', isRetired: true };
    await db.writeReplyKeys([{ ...sealed, before: { ...row, secret: new Uint8Array(32).fill(99) } }]);
    expect(await db.readReplyKeys()).toEqual([row]);
    await second.writeReplyKeys([{ ...sealed, before: row }]);
    const [retired] = await db.readReplyKeys();
    expect(retired).toMatchObject({ id: 1, keyId: sealed.keyId });
    expect(Math.abs((retired?.retiredAtMs ?? 0) - Date.now())).toBeLessThan(60_000);
    expect(Buffer.from(retired?.secret ?? []).equals(sealed.secret)).toBe(true);
    expect((await ask({})).replyKeys).toEqual([]);
  });
});
