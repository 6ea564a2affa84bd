/**
 * Store contract tests, on SQLite and MariaDB.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { type Database, openDatabase } from '../../../../src/adapters/database/database.ts';
import type { DatabaseConfig } from '../../../../src/config/config.ts';
import { Failure } from '../../../../src/errors.ts';
import type { Cursor, Mailbox, OutcomeRow } from '../../../../src/ingest/model.ts';
import type { Lease } from '../../../../src/ingest/stores.ts';
import { SecretBytes } from '../../../../src/secret/secret-bytes.ts';
import { startMariadb } from '../../../support/servers/mariadb.ts';
import { temporaryFolder } from '../../../support/temporary.ts';
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
  sampleAttachment,
  sampleMailbox,
  sampleParsed,
} from '../samples.ts';

const kinds = ['sqlite', 'mariadb'] as const;
const minuteMs = 60_000;
const surrogate = '\ud83d';

describe.each(kinds)('the store on %s', (kind) => {
  const stack = new AsyncDisposableStack();
  let config: DatabaseConfig;
  let db: Database;
  let mailbox: Mailbox;

  beforeAll(async () => {
    config = await newConfig(kind, stack);
    db = stack.use(await openDatabase(config));
    await db.migrations.apply();
  });
  afterAll(() => stack.disposeAsync());

  beforeEach(async () => {
    mailbox = sampleMailbox();
    await db.addMailbox(mailbox, plain('p4ss'), null, by);
  });

  async function leased(owner = 'me'): Promise<Lease> {
    const lease = await db.acquireLease(mailbox.id, owner, minuteMs, null);
    if (lease === null) throw new Error('the lease is taken');
    return lease;
  }

  async function isDue(id: string): Promise<boolean> {
    return (await db.dueMailboxes(10_000, [], 3)).some((due) => due.id === id);
  }

  async function outcomesOf(id: string, full = false): Promise<OutcomeRow[]> {
    return Array.fromAsync(db.outcomes(id, full));
  }

  async function cursorOf(id: string): Promise<Cursor | null> {
    return (await db.readFolderProgress(id)).cursor;
  }

  async function knownOf(messageIds: readonly string[]) {
    return (await db.lookUp(questionWith({ mailboxId: mailbox.id, messageIds }))).messages;
  }

  async function healthOf(id: string) {
    return (await db.listMailboxes()).find((listed) => listed.id === id)?.health;
  }

  describe('mailboxes', () => {
    test('every setting of a mailbox is read back as written', async () => {
      const full = sampleMailbox({
        name: 'Büro 😀 日本',
        connection: {
          host: 'imap.example.org',
          port: 143,
          tls: 'none',
          caPem: `-----BEGIN CERTIFICATE-----\n${'A'.repeat(5000)}`,
          fingerprint: 'f'.repeat(64),
          allowPlaintext: true,
          user: 'Ünser',
          folder: 'Заявки/Büro',
        },
        start: { from: 'time', atMs: nowMs },
        postAction: { kind: 'move', folder: 'Erledigt/Ü' },
        pollIntervalMs: 90_000,
        state: 'paused',
      });
      await db.addMailbox(full, plain('x'), { folderEpoch: 4294967295, uid: 4294967294 }, by);
      expect(await db.mailboxByName(full.name)).toEqual(full);
      expect(await db.mailboxById(full.id)).toEqual(full);
      expect(await cursorOf(full.id)).toEqual({ folderEpoch: 4294967295, uid: 4294967294 });
    });

    test('a name in use is refused, and another spelling is another name', async () => {
      const taken = { ...sampleMailbox(), name: mailbox.name };
      await expect(db.addMailbox(taken, plain('x'), null, by)).rejects.toMatchObject({ code: 'already_exists' });
      expect(await db.mailboxById(taken.id)).toBeNull();
      await db.addMailbox({ ...taken, name: mailbox.name.toUpperCase() }, plain('x'), null, by);
    });

    test('an unknown name or id is distinguished from a fault', async () => {
      await expect(db.mailboxByName('absent')).rejects.toMatchObject({ code: 'not_found' });
      await expect(db.setMailboxState('absent', 'paused', by)).rejects.toMatchObject({ code: 'not_found' });
      await expect(db.setPassword('absent', plain('x'), by)).rejects.toMatchObject({ code: 'not_found' });
      expect(await db.mailboxById('absent')).toBeNull();
      expect(await db.readPassword('absent')).toBeNull();
    });

    test('a password of any bytes is read back byte for byte', async () => {
      const bytes = Uint8Array.from({ length: 256 }, (_, index) => index);
      await db.setPassword(
        mailbox.id,
        { form: 'plain', password: SecretBytes.take(Uint8Array.from(bytes)), switchRevision: 0 },
        by,
      );
      const stored = await db.readPassword(mailbox.id);
      expect(stored?.form).toBe('plain');
      expect(Buffer.from(stored?.bytes ?? []).equals(bytes)).toBe(true);
    });

    test('a paused mailbox is not due, a resumed one is due immediately', async () => {
      await db.releaseLease(await leased(), { ok: true, nextPollAfterMs: minuteMs });
      expect(await isDue(mailbox.id)).toBe(false);
      await db.setMailboxState(mailbox.id, 'paused', by);
      await db.setMailboxState(mailbox.id, 'active', by);
      expect(await isDue(mailbox.id)).toBe(true);
      await db.setMailboxState(mailbox.id, 'paused', by);
      expect(await isDue(mailbox.id)).toBe(false);
      expect((await db.mailboxById(mailbox.id))?.state).toBe('paused');
    });

    test('a new password makes the mailbox due and clears its failures', async () => {
      const error = { code: 'login_refused', message: 'no', hint: new Failure('login_refused', '').hint };
      await db.releaseLease(await leased(), { ok: false, nextPollAfterMs: minuteMs, error, refusedVersion: null });
      expect(await healthOf(mailbox.id)).toMatchObject({ failures: 1, lastError: error });
      await db.setPassword(mailbox.id, plain('new'), by);
      expect(await healthOf(mailbox.id)).toMatchObject({ failures: 0, lastError: null });
      expect(await isDue(mailbox.id)).toBe(true);
    });

    test('failures are counted, and a success resets the count', async () => {
      const error = { code: 'server_busy', message: `long ${'é'.repeat(100_000)}`, hint: '' };
      for (const failures of [1, 2]) {
        await db.releaseLease(await leased(), { ok: false, nextPollAfterMs: 0, error, refusedVersion: null });
        expect(await healthOf(mailbox.id)).toMatchObject({ failures, lastSuccessAtMs: null });
      }
      await db.releaseLease(await leased(), { ok: true, nextPollAfterMs: minuteMs });
      const health = await healthOf(mailbox.id);
      expect(health).toMatchObject({ failures: 0, lastError: null });
      expect(Math.abs((health?.lastSuccessAtMs ?? 0) - Date.now())).toBeLessThan(5000);
      expect(Math.abs((health?.nextPollAtMs ?? 0) - Date.now() - minuteMs)).toBeLessThan(5000);
    });

    test('removing a mailbox deletes its outcomes and keeps tickets and messages', async () => {
      const mail = opened(1);
      const lease = await leased();
      await db.commitBatch(lease, batchOf(1, [mail]));
      await db.removeMailbox(mailbox.id, by);
      expect(await db.mailboxById(mailbox.id)).toBeNull();
      expect(await outcomesOf(mailbox.id)).toEqual([]);
      expect(await db.ticketByRef(mail.ticket.ref)).toMatchObject({ mailbox: null, messageCount: 1 });
      expect((await db.reconcile()).messagesWithoutOutcome).toBe(0);
      await expect(db.commitBatch(lease, batchOf(1, [opened(2)]))).rejects.toMatchObject({ code: 'lease_lost' });
    });
  });

  describe('leases', () => {
    test('exactly one of twenty concurrent workers gets the lease', async () => {
      const takers = Array.from({ length: 20 }, (_, index) => `worker ${index}`);
      const leases = await Promise.all(takers.map((owner) => db.acquireLease(mailbox.id, owner, minuteMs, null)));
      const won = leases.filter((lease) => lease !== null);
      expect(won).toHaveLength(1);
      expect(won[0]?.epoch).toBe(1);
      expect(await db.leaseOwner(mailbox.id)).toBe(won[0]?.owner);
      expect(await isDue(mailbox.id)).toBe(false);
    });

    test('an expired lease goes to the next worker, and the first can no longer write', async () => {
      const first = await db.acquireLease(mailbox.id, 'first', 30, null);
      if (first === null) throw new Error('not taken');
      await sleep(50);
      expect(await db.leaseOwner(mailbox.id)).toBeNull();
      expect(await isDue(mailbox.id)).toBe(true);
      const second = await leased('second');
      expect(second.epoch).toBe(first.epoch + 1);
      const lost = { code: 'lease_lost' };
      await expect(db.commitBatch(first, batchOf(1, [opened(1)]))).rejects.toMatchObject(lost);
      expect(await db.renewLeases([first], minuteMs)).toEqual([first]);
      await expect(db.completeActions(first, 1, [1])).rejects.toMatchObject(lost);
      await db.releaseLease(first, { ok: true, nextPollAfterMs: 0 });
      expect(await db.leaseOwner(mailbox.id)).toBe('second');
      expect(await outcomesOf(mailbox.id)).toEqual([]);
      expect(await cursorOf(mailbox.id)).toBeNull();
    });

    test('the same worker with an older epoch can no longer write', async () => {
      const old = await leased('me');
      await db.releaseLease(old, { ok: true, nextPollAfterMs: 0 });
      await leased('me');
      await expect(db.commitBatch(old, batchOf(1, [opened(1)]))).rejects.toMatchObject({ code: 'lease_lost' });
    });

    test('an expired lease permits no writes, but can be renewed until another worker takes it', async () => {
      const lease = await db.acquireLease(mailbox.id, 'me', 20, null);
      if (lease === null) throw new Error('not taken');
      await sleep(40);
      await expect(db.commitBatch(lease, batchOf(1, [opened(1)]))).rejects.toMatchObject({ code: 'lease_lost' });
      expect(await db.renewLeases([lease], minuteMs)).toEqual([]);
      await db.commitBatch(lease, batchOf(1, [opened(1)]));
    });

    test('the lease of a dead worker is taken over immediately', async () => {
      await leased('gone');
      expect(await db.acquireLease(mailbox.id, 'me', minuteMs, 'somebody else')).toBeNull();
      expect(await db.acquireLease(mailbox.id, 'me', minuteMs, 'gone')).toMatchObject({ owner: 'me', epoch: 2 });
    });

    test('the longest overdue mailbox is first', async () => {
      const others = [sampleMailbox(), sampleMailbox()];
      for (const other of others) await db.addMailbox(other, plain('x'), null, by);
      const ids = [others[1]?.id ?? '', mailbox.id, others[0]?.id ?? ''];
      for (const [index, id] of ids.entries()) {
        const lease = await db.acquireLease(id, 'me', minuteMs, null);
        if (lease !== null) await db.releaseLease(lease, { ok: true, nextPollAfterMs: -(3 - index) * 1_000_000 });
      }
      expect((await db.dueMailboxes(3, [], 3)).map((due) => due.id)).toEqual(ids);
      expect(await db.dueMailboxes(2, [], 3)).toHaveLength(2);
      for (const id of ids) await db.removeMailbox(id, by);
    });
  });

  describe('batches', () => {
    test('a batch is read back as written', async () => {
      const attachment = sampleAttachment({ contentId: 'part1@x', inline: true });
      const parsed = {
        to: [{ name: 'Büro', address: 'b@example.org' }],
        cc: [{ name: '', address: 'c@example.org' }],
        html: '<p>It "burns" \\ \' 😀</p>',
        inReplyTo: ['a@x'],
        references: ['a@x', 'b@x'],
        attachments: [attachment, sampleAttachment({ name: 'zweite "Datei".txt' })],
      };
      const mail = opened(7, parsed);
      await db.commitBatch(await leased(), batchOf(9, [mail]));
      const expected = {
        messageId: mail.message.parsed.messageId,
        from: mail.message.parsed.from,
        ...parsed,
        sentAtMs: nowMs,
        receivedAtMs: nowMs,
        text: 'It burns.\n',
        attachments: parsed.attachments.map(({ content: _, ...rest }) => rest),
      };
      const ticket = await db.ticketByRef(mail.ticket.ref);
      expect(ticket).toMatchObject({
        subject: 'Printer on fire',
        status: 'open',
        mailbox: mailbox.name,
        createdAtMs: nowMs,
      });
      expect(ticket.messages).toMatchObject([expected]);
      const [row] = await outcomesOf(mailbox.id, true);
      expect(row).toMatchObject({ folderEpoch: 9, uid: 7, outcome: 'ticket_opened', ticket: mail.ticket.ref });
      expect(row?.message).toMatchObject(expected);
      expect(await cursorOf(mailbox.id)).toEqual({ folderEpoch: 9, uid: 7 });
    });

    test('a refused batch leaves nothing', async () => {
      const lease = await leased();
      const first = opened(1);
      await db.commitBatch(lease, batchOf(1, [first]));
      const clash = opened(3);
      const batch = batchOf(1, [opened(2), { ...clash, ticket: { ...clash.ticket, ref: first.ticket.ref } }]);
      await expect(db.commitBatch(lease, batch)).rejects.toMatchObject({ code: 'database_conflict' });
      const again = batchOf(1, [opened(4), opened(1)]);
      await expect(db.commitBatch(lease, again)).rejects.toMatchObject({ code: 'row_refused' });
      expect(await outcomesOf(mailbox.id)).toHaveLength(1);
      expect(await cursorOf(mailbox.id)).toEqual({ folderEpoch: 1, uid: 1 });
      const ids = [...batch.messages, ...again.messages].map((message) => message.parsed.messageId);
      expect(await knownOf(ids)).toEqual([]);
      await expect(db.ticketByRef(batch.tickets[0]?.ref ?? '')).rejects.toMatchObject({ code: 'not_found' });
    });

    test('a row without a required value, or with a taken id, is refused as one row', async () => {
      const lease = await leased();
      const first = opened(1);
      await db.commitBatch(lease, batchOf(1, [first]));
      const incomplete = opened(2);
      Object.assign(incomplete.message.parsed, { contentHash: null });
      await expect(db.commitBatch(lease, batchOf(1, [incomplete]))).rejects.toMatchObject({ code: 'row_refused' });
      const second = opened(3);
      const clash = { ...second, message: { ...second.message, id: first.message.id } };
      await expect(db.commitBatch(lease, batchOf(1, [clash]))).rejects.toMatchObject({ code: 'row_refused' });
      expect(await cursorOf(mailbox.id)).toEqual({ folderEpoch: 1, uid: 1 });
    });

    test('a batch that does not move the cursor is not a lost lease', async () => {
      const lease = await leased();
      await db.commitBatch(lease, batchWith({ cursor: { folderEpoch: 1, uid: 5 } }));
      await db.commitBatch(lease, batchWith({ cursor: { folderEpoch: 1, uid: 5 } }));
    });

    test('a reply updates its ticket, and a reply to a deleted ticket is refused', async () => {
      const lease = await leased();
      const mail = opened(1);
      await db.commitBatch(lease, batchOf(1, [mail]));
      const parsed = sampleParsed();
      const message = {
        id: opened(0).message.id,
        ticketId: mail.ticket.id,
        threadRule: null,
        repeatKey: null,
        receivedAtMs: nowMs + 1,
        parsed,
        missing: [],
      };
      const outcomes = [outcomeOf(2, 'reply_added', mail.ticket.id, message.id)];
      await db.commitBatch(lease, batchWith({ cursor: { folderEpoch: 1, uid: 2 }, messages: [message], outcomes }));
      const ticket = await db.ticketByRef(mail.ticket.ref);
      expect(ticket.messages.map((each) => each.messageId)).toEqual([mail.message.parsed.messageId, parsed.messageId]);
      expect(Math.abs(ticket.updatedAtMs - Date.now())).toBeLessThan(5000);
      const lonely = { ...message, id: opened(0).message.id, ticketId: opened(0).ticket.id };
      const batch = batchWith({ cursor: { folderEpoch: 1, uid: 3 }, messages: [lonely] });
      await expect(db.commitBatch(lease, batch)).rejects.toMatchObject({ code: 'database_conflict' });
    });

    test('one batch takes a hundred and fifty messages with texts of every size', async () => {
      const sizes = [0, 10, 30_000, 200_000];
      const messages = Array.from({ length: 150 }, (_, index) =>
        opened(index + 1, { html: 'é'.repeat(sizes[index % 4] ?? 0) }),
      );
      const lease = await leased();
      await db.commitBatch(lease, batchOf(1, messages));
      const rows = await outcomesOf(mailbox.id, true);
      expect(rows.map((row) => row.message?.html?.length)).toEqual(messages.map((_, index) => sizes[index % 4]));
      expect(rows.map((row) => row.ticket)).toEqual(messages.map((mail) => mail.ticket.ref));
    });

    test('values longer than any column, emoji and half characters are stored', async () => {
      const long = `${'x'.repeat(254)}😀${'é'.repeat(70_000)}`;
      const mail = opened(1, {
        messageId: `${long}@x`,
        subject: long,
        from: { name: long, address: `${long}@x` },
        to: Array.from({ length: 3000 }, (_, index) => ({
          name: `😀 ${index}`,
          address: `${index}@${'y'.repeat(30)}`,
        })),
        references: [long, `half ${surrogate}`],
        text: `a ${surrogate} b 👩‍👩‍👧 \0 \u2028`,
        html: `${surrogate}`,
        headers: [['x-long', long]],
        sentAtMs: Number.MAX_SAFE_INTEGER,
        reportedMessageId: long,
        attachments: [sampleAttachment({ name: long, type: `a/${long}`, contentId: long })],
      });
      await db.commitBatch(await leased(), batchOf(1, [mail]));
      const ticket = await db.ticketByRef(mail.ticket.ref);
      expect(ticket.subject).toBe(long);
      expect(ticket.requester.address.startsWith('xxx')).toBe(true);
      const [message] = ticket.messages;
      expect(message).toMatchObject({ subject: long, messageId: `${long}@x`, sentAtMs: null, html: '\ufffd' });
      expect(message?.from).toEqual({ name: long, address: `${long}@x` });
      expect(message?.to).toHaveLength(3000);
      expect(message?.text).toBe('a \ufffd b 👩‍👩‍👧 \0 \u2028');
      expect(message?.attachments[0]).toMatchObject({ name: long, contentId: long });
      expect(await knownOf([`${long}@x`])).toHaveLength(1);
    });

    test('two workers write two mailboxes concurrently', async () => {
      const other = sampleMailbox();
      await db.addMailbox(other, plain('x'), null, by);
      await using second = await openDatabase(config);
      const leases = [await leased(), await second.acquireLease(other.id, 'them', minuteMs, null)] as const;
      const messages = (from: number) => Array.from({ length: 20 }, (_, index) => opened(from + index));
      for (let from = 1; from < 100; from += 20) {
        await Promise.all([
          db.commitBatch(leases[0], batchOf(1, messages(from))),
          second.commitBatch(leases[1] as Lease, batchOf(1, messages(from))),
        ]);
      }
      expect(await outcomesOf(mailbox.id)).toHaveLength(100);
      expect(await outcomesOf(other.id)).toHaveLength(100);
    });
  });

  describe('reading', () => {
    test('stored messages are found in any number, in any mailbox, oldest first', async () => {
      const messages = Array.from({ length: 60 }, (_, index) => opened(index + 1, { contentHash: 'd'.repeat(64) }));
      await db.commitBatch(await leased(), batchOf(1, messages));
      const twin = opened(100, { messageId: messages[0]?.message.parsed.messageId ?? '' });
      const earlier = { ...twin, message: { ...twin.message, receivedAtMs: nowMs - 1 } };
      const lease = await leasedAgain();
      await db.commitBatch(lease, batchOf(1, [earlier]));
      const ids = messages.map((mail) => mail.message.parsed.messageId);
      const asked = [...Array.from({ length: 1200 }, (_, index) => `unknown ${index}`), ...ids];
      const known = await knownOf(asked);
      expect(known).toHaveLength(61);
      expect(known[0]).toEqual({
        id: twin.message.id,
        mailboxId: mailbox.id,
        messageId: ids[0],
        contentHash: 'c'.repeat(64),
        copied: null,
        people: {
          ...{ kind: 'human', from: 'ada@example.org', fromName: 'Ada', replyTo: [], failed: [], areAllCounted: true },
          recipients: ['support@example.org'],
        },
        ticket: {
          id: twin.ticket.id,
          ref: twin.ticket.ref,
          mailboxId: mailbox.id,
          status: 'open',
          createdAtMs: nowMs,
          closedAtMs: null,
          isOrphan: false,
          requesterAddress: 'ada@example.org',
        },
      });
      expect(await knownOf([])).toEqual([]);
    });

    async function leasedAgain(): Promise<Lease> {
      const lease = await db.acquireLease(mailbox.id, 'again', minuteMs, 'me');
      if (lease === null) throw new Error('not taken');
      return lease;
    }

    test('pending post-actions are listed in ascending order until completed', async () => {
      const lease = await leased();
      await db.commitBatch(lease, batchOf(1, [opened(3), opened(1), opened(2)]));
      await db.commitBatch(lease, batchOf(2, [opened(9)]));
      expect(await pendingUids(db, mailbox.id, 1)).toEqual([1, 2, 3]);
      expect(await pendingUids(db, mailbox.id, 1, 2)).toEqual([1, 2]);
      await db.completeActions(lease, 1, [1, 3]);
      await db.completeActions(lease, 1, []);
      expect(await pendingUids(db, mailbox.id, 1)).toEqual([2]);
      expect(await pendingUids(db, mailbox.id, 2)).toEqual([9]);
    });

    test('outcomes are read in pages, by folder epoch and UID', async () => {
      const lease = await leased();
      const bare = (uid: number) => outcomeOf(uid, 'vanished', null, null, { reason: 'gone', actionPending: false });
      const uids = Array.from({ length: 1203 }, (_, index) => index + 1);
      for (const uidValidity of [5, 4]) {
        const cursor = { folderEpoch: uidValidity, uid: 1203 };
        await db.commitBatch(lease, batchWith({ cursor, outcomes: uids.map(bare) }));
      }
      const rows = await outcomesOf(mailbox.id);
      expect(rows.map((row) => [row.folderEpoch, row.uid])).toEqual([4, 5].flatMap((v) => uids.map((uid) => [v, uid])));
      expect(rows[0]).toMatchObject({
        outcome: 'vanished',
        reason: 'gone',
        ticket: null,
        message: null,
        sizeBytes: 1000,
      });
    });

    test('tickets are listed newest first, up to the limit', async () => {
      const messages = [1, 2, 3].map((uid) => opened(uid));
      const later = messages.map((mail, index) => ({
        ...mail,
        ticket: { ...mail.ticket, createdAtMs: Date.UTC(2030, 0, index + 1) },
      }));
      await db.commitBatch(await leased(), batchOf(1, later));
      const refs = later.map((mail) => mail.ticket.ref);
      expect((await db.listTickets(2)).map((ticket) => ticket.ref)).toEqual([refs[2], refs[1]]);
    });

    test('unreferenced blobs and segments needed by quarantine are reported', async () => {
      const named = 'b'.repeat(64);
      const mail = opened(1, { attachments: [sampleAttachment({ sha256: named })] });
      const raw = { segment: 'one', offset: 5, lengthBytes: 10, sha256: 'e'.repeat(64) };
      const held = outcomeOf(2, 'quarantined', null, null, { reason: 'too_large', raw });
      const batch = batchOf(1, [{ ...mail, outcome: { ...mail.outcome, raw: { ...raw, segment: 'two' } } }]);
      await db.commitBatch(await leased(), { ...batch, outcomes: [...batch.outcomes, held] });
      expect(await db.unreferencedBlobs([named, '0'.repeat(64)])).toEqual(['0'.repeat(64)]);
      expect(await db.retainedSegments(['one', 'two', 'three'])).toEqual(['one']);
      expect(await db.unreferencedBlobs([])).toEqual([]);
      expect(await db.retainedSegments([])).toEqual([]);
      const segments = (await db.referencedSegments()).filter(({ segment }) => ['one', 'two'].includes(segment));
      expect(segments).toEqual([
        { segment: 'one', endOffset: 15, messages: 1, waiting: 1 },
        { segment: 'two', endOffset: 15, messages: 1, waiting: 0 },
      ]);
      const blobs = await Array.fromAsync(db.referencedBlobs());
      expect(blobs).toContainEqual({ sha256: named, sizeBytes: 3, messageId: mail.message.id });
      expect(await db.countReferencedBlobs()).toBe(blobs.length);
      expect(await db.storedSources(mailbox.id, [2, 1, 3])).toEqual([
        { ...raw, segment: 'one' },
        { ...raw, segment: 'two' },
      ]);
    });

    test('reconcile counts inconsistencies', async () => {
      const before = await db.reconcile();
      const lease = await leased();
      const [whole, noMessage, noOutcome] = [opened(1), opened(2), opened(3)];
      await db.commitBatch(
        lease,
        batchWith({
          cursor: { folderEpoch: 1, uid: 1 },
          tickets: [whole, noMessage, noOutcome].map((mail) => mail.ticket),
          messages: [whole, noOutcome].map((mail) => mail.message),
          outcomes: [whole, noMessage].map((mail) => mail.outcome),
        }),
      );
      const after = await db.reconcile();
      const grown = Object.entries(after).map(([name, count]) => [name, count - before[name as keyof typeof before]]);
      expect(Object.fromEntries(grown)).toMatchObject({
        outcomes: 2,
        messages: 2,
        outcomesWithoutMessage: 1,
        messagesWithoutOutcome: 1,
        ticketsWithoutMessage: 1,
        outcomesAboveCursor: 1,
      });
    });

    test('an unknown ticket is not found', async () => {
      await expect(db.ticketByRef('nothing')).rejects.toMatchObject({ code: 'not_found' });
    });

    test('a healthy database answers a ping', () => db.ping());
  });
});

async function newConfig(kind: (typeof kinds)[number], stack: AsyncDisposableStack): Promise<DatabaseConfig> {
  if (kind === 'mariadb') return (await stack.use(await startMariadb()).createDatabase()).config;
  return { kind, path: join(stack.use(await temporaryFolder('sqlite')).path, 'tickets.db') };
}
