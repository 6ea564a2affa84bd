/**
 * Quarantine release with a real Dovecot and both databases: while a worker has the lease, twice at the same time, and
 * with a crash in the middle. Each message is stored once, and none is lost.
 */

import { hash, randomBytes, randomUUIDv7 } from 'node:crypto';
import { zstdCompressSync } from 'node:zlib';
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../src/adapters/clock/clock.ts';
import type { DatabaseConfig } from '../../src/config/config.ts';
import { Failure } from '../../src/errors.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import type { ParseResult } from '../../src/ingest/ports.ts';
import { createResolver, type ResolverPorts } from '../../src/ingest/quarantine/resolve.ts';
import type { QuarantinedMessage } from '../../src/ingest/stores.ts';
import { fingerprintMessage } from '../../src/mail/fingerprint.ts';
import { parseMessage } from '../../src/mail/parse.ts';
import { newReference } from '../../src/mail/thread/reply-token.ts';
import { type TestApp, testApp } from '../support/app.ts';
import { type DatabaseKind, databaseKinds } from '../support/database-kinds.ts';
import { serversOfFile } from '../support/file-servers.ts';
import { outcomesOf } from '../support/outcomes.ts';
import type { Dovecot } from '../support/servers/dovecot.ts';
import { type Mariadb, startMariadb } from '../support/servers/mariadb.ts';

let dovecot: Dovecot;
let mariadb: Mariadb;
const never = new AbortController().signal;

serversOfFile((servers) => {
  ({ dovecot, mariadb } = servers);
});

function mail(id: string, headers = '', body = 'It does not print.'): Buffer {
  return Buffer.from(
    `From: Ada <ada@example.test>\r\nSubject: about ${id}\r\nMessage-ID: <${id}@example.test>\r\n${headers}\r\n${body}\r\n`,
  );
}

const large = (id: string) => mail(id, '', 'x'.repeat(76).concat('\r\n').repeat(20_000));
const small = { TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1', TICKETMAILD_MESSAGE_BATCH_MAX_MB: '1' };

async function heldIn({ app }: TestApp, mailbox: Mailbox): Promise<QuarantinedMessage[]> {
  return await Array.fromAsync(app.store.quarantinedMessages({ mailboxId: mailbox.id, reason: null }));
}

async function theOne(on: TestApp, mailbox: Mailbox): Promise<QuarantinedMessage> {
  const [mail, ...more] = await heldIn(on, mailbox);
  if (mail === undefined || more.length > 0) throw new Error('not one mail is in quarantine');
  return mail;
}

const digestOf = (source: Uint8Array) => ({
  compressed: new Uint8Array(zstdCompressSync(source)),
  sha256: hash('sha256', source, 'hex'),
});

/** Quarantines a message as a poll does. */
async function hold(
  on: TestApp,
  mailbox: Mailbox,
  uid: number,
  reason: string,
  source: Buffer,
): Promise<QuarantinedMessage> {
  const { store, raw } = on.app;
  await store.quarantineMissed(mailbox.id, 7, { uid, sizeBytes: source.length, receivedAtMs: Date.now() });
  const [missed] = await store.quarantinedByUid(mailbox.id, 7, uid);
  const [stored] = await raw.append([digestOf(source)]);
  if (missed === undefined || stored === undefined) throw new Error('not held');
  await store.requarantine(missed, { reason, sizeBytes: source.length, raw: stored });
  return (await store.quarantinedByUid(mailbox.id, 7, uid))[0] ?? missed;
}

/** A resolver whose parser fails at messages with `broken` in their body, and whose store may fail at a commit. */
function resolverOn({ app }: TestApp, given: Partial<ResolverPorts['store']> = {}) {
  const digest = async (source: Uint8Array<ArrayBuffer>): Promise<ParseResult> => {
    const raw = digestOf(source);
    if (Buffer.from(source).includes('broken body')) return { ok: false, reason: 'parse_timeout', ...raw };
    return { ok: true, ...fingerprintMessage(await parseMessage(source)), ...raw };
  };
  const ports = {
    ...{ blobs: app.blobs, raw: app.raw, credentials: app.credentials, sessions: app.sessions },
    postActionGuard: app.confirmations,
    store: { ...app.store, ...given },
    parser: { parse: digest },
    clock: systemClock,
    newId: randomUUIDv7,
    newRef: () => newReference(Date.now(), randomBytes),
    openReplyKeys: app.replyKeys.open,
  } as unknown as ResolverPorts;
  const limits = { messageBytesMax: 50e6, batchTimeoutMs: 1000, batch: { messagesMax: 1, bytesMax: 1 } };
  return createResolver(ports, { limits, rules: { senderPerHourMax: null, senderExempt: [], reopenMs: null } });
}

async function databaseOf(kind: DatabaseKind): Promise<DatabaseConfig | null> {
  return kind === 'sqlite' ? null : (await mariadb.createDatabase()).config;
}

for (const { kind, tags } of databaseKinds)
  describe(`a message in quarantine, in ${kind}`, { tags }, () => {
    test('that is too large stays when it is requeued, and is fetched when it is released', async () => {
      await using on = await testApp(await databaseOf(kind), small);
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [mail('a'), large('big'), mail('b')]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      const held = await theOne(on, mailbox);
      expect(await on.app.resolve(held, 'requeue')).toEqual({ what: 'quarantined', reason: 'too_large' });
      expect(await on.app.resolve(held, 'release')).toMatchObject({ what: 'stored', outcome: 'ticket_opened' });
      expect(await on.app.resolve(held, 'release')).toEqual({ what: 'resolved' });
      expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened', '3 ticket_opened']);
      const messages = (await Array.fromAsync(on.app.store.outcomes(mailbox.id, true))).flatMap(
        (row) => row.message ?? [],
      );
      expect(messages.find(({ messageId }) => messageId === 'big@example.test')?.text).toHaveLength(77 * 20_000 + 1);
      // The post-action is left to the worker.
      expect((await dovecot.listFlags(user, 'INBOX')).get(2)?.has('\\Seen')).toBe(false);
      await on.pollOnce(mailbox, never);
      expect((await dovecot.listFlags(user, 'INBOX')).get(2)?.has('\\Seen')).toBe(true);
      expect(await on.app.store.reconcile()).toMatchObject({ outcomesWithoutMessage: 0, messagesWithoutOutcome: 0 });
    });

    test('is stored while a worker has the lease, and once by two concurrent releases', async () => {
      await using on = await testApp(await databaseOf(kind), small);
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [large('big')]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      expect(await on.app.store.acquireLease(mailbox.id, 'another worker', 600_000, null)).not.toBeNull();
      const held = await theOne(on, mailbox);
      await using one = resolverOn(on);
      await using two = resolverOn(on);
      const results = await Promise.all([one.resolve(held, 'release'), two.resolve(held, 'release')]);
      expect(results.map(({ what }) => what).sort()).toEqual(['resolved', 'stored']);
      expect(await on.app.store.listTickets(10)).toHaveLength(1);
    });

    test('with the same content as another, released at the same time, is one ticket with it', async () => {
      await using on = await testApp(await databaseOf(kind));
      const mailbox = await on.addMailbox(dovecot, dovecot.newUser());
      const first = await hold(on, mailbox, 1, 'mail_loop', mail('same'));
      const second = await hold(on, mailbox, 2, 'mail_loop', mail('same'));
      await using one = resolverOn(on);
      await using two = resolverOn(on);
      await Promise.all([one.resolve(first, 'release'), two.resolve(second, 'release')]);
      expect(await on.app.store.listTickets(10)).toHaveLength(1);
      expect((await outcomesOf(on, mailbox)).map((line) => line.slice(2)).sort()).toEqual([
        ...['duplicate (seen_before)', 'ticket_opened'],
      ]);
    });

    test('with a stored source is parsed from it, without its server', async () => {
      await using on = await testApp(await databaseOf(kind));
      const mailbox = await on.addMailbox({ ...dovecot, tlsPort: 1 }, 'nobody');
      const held = await hold(on, mailbox, 5, 'sender_flood', mail('kept'));
      expect(await on.app.resolve(held, 'requeue')).toMatchObject({ what: 'stored', outcome: 'ticket_opened' });
      expect(await outcomesOf(on, mailbox)).toEqual(['5 ticket_opened']);
      expect((await on.app.store.quarantineCounts()).reasons).toEqual([]);
    });

    test('that a guard quarantined is quarantined again when it is requeued, and is never its own duplicate', async () => {
      await using on = await testApp(await databaseOf(kind), { TICKETMAILD_LIMITS_SENDER_LIMIT_PER_HOUR: '1' });
      const user = dovecot.newUser();
      const mailbox = await on.addMailbox(dovecot, user);
      // Messages from before the mailbox was added are an import and no flood.
      const receivedAt = new Date(Date.now() + 5000);
      await dovecot.append(user, 'INBOX', [mail('one'), mail('two')], { receivedAt });
      await on.pollOnce(mailbox, never);
      const held = await theOne(on, mailbox);
      expect(held).toMatchObject({ uid: 2, reason: 'sender_flood' });
      expect(await on.app.resolve(held, 'requeue')).toEqual({ what: 'quarantined', reason: 'sender_flood' });
      expect(await on.app.resolve(await theOne(on, mailbox), 'release')).toMatchObject({ outcome: 'ticket_opened' });
      expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened', '2 ticket_opened']);
    });

    test('that cannot be parsed becomes a ticket with its header, and the message attached', async () => {
      await using on = await testApp(await databaseOf(kind));
      const mailbox = await on.addMailbox(dovecot, dovecot.newUser());
      const source = mail('bad', 'Date: Tue, 24 Nov 2026 10:00:00 +0000\r\n', 'a broken body');
      const held = await hold(on, mailbox, 1, 'parse_memory', source);
      await using resolver = resolverOn(on);
      expect(await resolver.resolve(held, 'requeue')).toEqual({ what: 'quarantined', reason: 'parse_timeout' });
      const again = await theOne(on, mailbox);
      expect(again).toMatchObject({ reason: 'parse_timeout', raw: held.raw });
      expect(await resolver.resolve(again, 'release')).toMatchObject({ what: 'stored', form: 'attached' });
      const [row] = await Array.fromAsync(on.app.store.outcomes(mailbox.id, true));
      expect(row?.message).toMatchObject({
        subject: 'about bad',
        messageId: 'bad@example.test',
        from: { name: 'Ada', address: 'ada@example.test' },
        text: expect.stringContaining('parse_timeout'),
        attachments: [{ name: 'original.eml', type: 'message/rfc822', sizeBytes: source.length }],
      });
      const { sha256 = '' } = row?.message?.attachments[0] ?? {};
      expect(source.equals(await on.app.blobs.read(sha256))).toBe(true);
    });

    test('stays in quarantine when a command dies before its commit, and is stored once when it dies after it', async () => {
      await using on = await testApp(await databaseOf(kind));
      const mailbox = await on.addMailbox(dovecot, dovecot.newUser());
      const held = await hold(on, mailbox, 1, 'sender_flood', mail('crash'));
      const died = new Failure('database_unavailable', 'died');
      await using before = resolverOn(on, { commitResolved: () => Promise.reject(died) });
      await expect(before.resolve(held, 'release')).rejects.toBe(died);
      expect(await heldIn(on, mailbox)).toHaveLength(1);
      await using after = resolverOn(on, {
        commitResolved: async (...args) => {
          await on.app.store.commitResolved(...args);
          throw died;
        },
      });
      await expect(after.resolve(held, 'release')).rejects.toBe(died);
      await using again = resolverOn(on);
      expect(await again.resolve(held, 'release')).toEqual({ what: 'resolved' });
      expect(await on.app.store.listTickets(10)).toHaveLength(1);
    });

    test('that was discarded is resolved without a ticket, and its source is no longer retained', async () => {
      await using on = await testApp(await databaseOf(kind));
      const mailbox = await on.addMailbox(dovecot, dovecot.newUser());
      const held = await hold(on, mailbox, 1, 'parse_failed', mail('gone'));
      const segment = held.raw?.segment ?? '';
      expect(await on.app.store.retainedSegments([segment])).toEqual([segment]);
      expect(await on.app.store.discard(held)).toBe(true);
      expect(await on.app.store.discard(held)).toBe(false);
      expect(await on.app.resolve(held, 'release')).toEqual({ what: 'resolved' });
      expect(await on.app.store.retainedSegments([segment])).toEqual([]);
      expect(await outcomesOf(on, mailbox)).toEqual(['1 quarantined (parse_failed)']);
      const [discarded] = await on.app.store.quarantinedByUid(mailbox.id, 7, 1, true);
      if (discarded === undefined) throw new Error('not discarded');
      expect(discarded.discardedAtMs).toBeGreaterThan(Date.now() - 60_000);
      expect(await on.app.store.undiscard(discarded)).toBe(true);
      expect(await on.app.store.undiscard(discarded)).toBe(false);
      expect(await on.app.resolve(discarded, 'release')).toMatchObject({ what: 'stored', outcome: 'ticket_opened' });
    });

    test('that is gone from the server and was never fetched is released as its header, and cannot be requeued', async () => {
      await using on = await testApp(await databaseOf(kind), small);
      const user = dovecot.newUser();
      await dovecot.append(user, 'INBOX', [large('big')]);
      const mailbox = await on.addMailbox(dovecot, user);
      await on.pollOnce(mailbox, never);
      // A new UIDVALIDITY that no poll has seen yet: the message exists all the same.
      const restore = await dovecot.backUp(user, 'INBOX');
      await dovecot.changeUidValidity(user, 'INBOX');
      {
        await using resolver = resolverOn(on);
        expect(await resolver.resolve(await theOne(on, mailbox), 'release')).toEqual({ what: 'gone' });
      }
      await restore();
      await dovecot.expunge(user, 'INBOX', [1]);
      expect(await on.app.resolve(await theOne(on, mailbox), 'requeue')).toEqual({ what: 'gone' });
      expect(await heldIn(on, mailbox)).toHaveLength(1);
      const settled = await on.app.resolve(await theOne(on, mailbox), 'release');
      expect(settled).toMatchObject({ what: 'stored', outcome: 'ticket_opened', form: 'header' });
      const [row] = await Array.fromAsync(on.app.store.outcomes(mailbox.id, true));
      expect(row?.message).toMatchObject({
        ...{ subject: 'about big', messageId: 'big@example.test', from: { address: 'ada@example.test' } },
        text: expect.stringContaining('its content was never fetched'),
      });
      expect(await on.app.reprocess(row?.message?.id ?? '')).toMatchObject({ what: 'reprocessed', changed: [] });
    });
  });

test('a message that the database refuses is released with its header, and the message attached', async () => {
  await using narrow = await startMariadb({ args: ['--max-allowed-packet=1M'] });
  await using on = await testApp((await narrow.createDatabase()).config);
  const user = dovecot.newUser();
  const huge = mail('huge', '', 'too much for one packet\r\n'.repeat(80_000));
  await dovecot.append(user, 'INBOX', [huge]);
  const mailbox = await on.addMailbox(dovecot, user);
  await on.pollOnce(mailbox, never);
  const held = await theOne(on, mailbox);
  expect(await on.app.resolve(held, 'requeue')).toEqual({ what: 'quarantined', reason: 'row_refused' });
  const settled = await on.app.resolve(await theOne(on, mailbox), 'release');
  expect(settled).toMatchObject({ what: 'stored', outcome: 'ticket_opened', form: 'attached' });
  const [row] = await Array.fromAsync(on.app.store.outcomes(mailbox.id, true));
  expect(row?.message?.attachments).toMatchObject([{ name: 'original.eml', sizeBytes: huge.length }]);
});
