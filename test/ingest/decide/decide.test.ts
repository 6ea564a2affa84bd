import { describe, expect, test } from 'vitest';
import type { LookupMessage } from '../../../src/ingest/batch-lookup.ts';
import { decide } from '../../../src/ingest/decide/decide.ts';
import { lookupRequestFor } from '../../../src/ingest/decide/lookup-request.ts';
import { dedupKey } from '../../../src/mail/fingerprint.ts';
import { batchContext, lookupMessage, lookupResult, lookupTicket } from './batch-samples.ts';
import { storedMessage } from './messages.ts';

const outcomes = (decisions: ReturnType<typeof decide>) => decisions.map(({ outcome }) => outcome.outcome);
const stored = (...messages: LookupMessage[]) => lookupResult({ messages });
const inTicket = (messageId: string, id: string) => lookupMessage({ messageId, ticket: lookupTicket({ id }) });

describe('the outcome of a message', () => {
  test('a message that replies to nothing opens a ticket named by its reference', () => {
    const [decision] = decide([storedMessage(1)], lookupResult(), batchContext());
    expect(decision?.ticket).toMatchObject({
      ref: 'ref1',
      subject: 'The printer',
      requester: { address: 'ada@example.test' },
      isOrphan: false,
    });
    expect(decision?.message?.ticketId).toBe(decision?.ticket?.id);
    expect(decision?.outcome).toMatchObject({ outcome: 'ticket_opened', actionPending: true });
    expect(decision?.outcome.dedupKey).toMatch(/^[0-9a-f]{64}$/);
  });

  test('a message without a subject opens a ticket with a placeholder', () => {
    const [decision] = decide([storedMessage(1, { subject: ' ' })], lookupResult(), batchContext());
    expect(decision?.ticket?.subject).toBe('(no subject)');
    expect(decision?.message?.parsed.subject).toBe(' ');
  });

  test('a reply joins the ticket of the message that In-Reply-To names', () => {
    const [decision] = decide(
      [storedMessage(1, { inReplyTo: ['old@example.test'] })],
      stored(lookupMessage()),
      batchContext(),
    );
    expect(decision?.ticket).toBeNull();
    expect(decision?.message?.threadRule).toBe('in_reply_to');
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 't0' });
  });

  test('the nearest known ancestor in References decides', () => {
    const [decision] = decide(
      [storedMessage(1, { references: ['root@x', 'near@x', 'unknown@x'] })],
      stored(inTicket('root@x', 'far'), inTicket('near@x', 'near')),
      batchContext(),
    );
    expect(decision?.outcome.ticketId).toBe('near');
    expect(decision?.message).toMatchObject({ threadRule: 'references', missing: ['unknown@x'] });
  });

  test('replies of one batch find each other', () => {
    const arrivals = [
      storedMessage(1),
      storedMessage(2, { inReplyTo: ['1@example.test'] }),
      storedMessage(3, { references: ['2@example.test'] }),
    ];
    const decisions = decide(arrivals, lookupResult(), batchContext());
    expect(outcomes(decisions)).toEqual(['ticket_opened', 'reply_added', 'reply_added']);
    expect(new Set(decisions.map(({ outcome }) => outcome.ticketId)).size).toBe(1);
  });

  test('a ticket of the own mailbox wins over one of another mailbox', () => {
    const theirs = lookupMessage({ mailboxId: 'other', ticket: lookupTicket({ id: 'theirs', mailboxId: 'other' }) });
    const [decision] = decide(
      [storedMessage(1, { inReplyTo: ['old@example.test'] })],
      stored(theirs, inTicket('old@example.test', 'ours')),
      batchContext(),
    );
    expect(decision?.outcome.ticketId).toBe('ours');
  });

  test.each(['bounce', 'auto_reply', 'feedback_report', 'read_receipt'] as const)(
    'a mail of the kind %s opens no ticket: it is recorded',
    (kind) => {
      const [decision] = decide([storedMessage(1, { kind })], lookupResult(), batchContext());
      expect(decision?.ticket).toBeNull();
      expect(decision?.outcome).toMatchObject({ outcome: 'recorded', reason: kind, ticketId: null });
      expect(decision?.message?.ticketId).toBeNull();
    },
  );

  test('a bounce joins the ticket of the message that it reports', () => {
    const [decision] = decide(
      [storedMessage(1, { kind: 'bounce', reportedMessageId: 'old@example.test' })],
      stored(lookupMessage()),
      batchContext(),
    );
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 't0' });
    expect(decision?.message?.threadRule).toBe('reported');
  });

  test.each([null, lookupTicket()])('an answer to a message without a ticket of its own opens one', (other) => {
    const [decision] = decide(
      [storedMessage(1, { inReplyTo: ['old@example.test'] })],
      stored(lookupMessage({ ticket: null }), ...(other === null ? [] : [inTicket('other@x', 't0')])),
      batchContext(),
    );
    expect(decision?.outcome.outcome).toBe('ticket_opened');
  });
});

describe('duplicates', () => {
  const twin = lookupMessage({ messageId: '1@example.test', contentHash: '1'.padStart(64, '0') });

  test('the same Message-ID and content in the same mailbox is a duplicate', () => {
    const [decision] = decide([storedMessage(1)], stored(twin), batchContext());
    expect(decision).toMatchObject({ ticket: null, message: null });
    expect(decision?.outcome).toMatchObject({
      outcome: 'duplicate',
      ticketId: 't0',
      messageId: 'm0',
      actionPending: true,
    });
  });

  test('the same message in another mailbox gets a ticket of its own, and the two are linked', () => {
    const theirs = { ...twin, mailboxId: 'other', ticket: lookupTicket({ id: 'theirs', mailboxId: 'other' }) };
    const [decision] = decide([storedMessage(1)], stored(theirs), batchContext());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
    expect(decision?.links).toEqual([{ ticketId: decision?.ticket?.id, otherId: 'theirs', reason: 'same_message' }]);
  });

  test('a reply to a ticket of another mailbox that received it as well is stored there once', () => {
    const ticket = lookupTicket({ id: 'theirs', mailboxId: 'other' });
    const [decision] = decide(
      [storedMessage(1, { inReplyTo: ['old@example.test'] })],
      stored({ ...twin, mailboxId: 'other', ticket }, lookupMessage({ mailboxId: 'other', ticket })),
      batchContext(),
    );
    expect(decision?.outcome).toMatchObject({ outcome: 'duplicate', ticketId: 'theirs', messageId: 'm0' });
  });

  test('the same Message-ID with other content is another message', () => {
    const [decision] = decide([storedMessage(1)], stored({ ...twin, contentHash: 'd'.repeat(64) }), batchContext());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
  });

  test('the second copy within one batch is a duplicate of the first', () => {
    const same = { messageId: 'same@x', contentHash: 'e'.repeat(64) };
    const decisions = decide([storedMessage(1, same), storedMessage(2, same)], lookupResult(), batchContext());
    expect(outcomes(decisions)).toEqual(['ticket_opened', 'duplicate']);
    expect(decisions[1]?.outcome.messageId).toBe(decisions[0]?.message?.id);
  });

  const key = dedupKey({ messageId: '1@example.test', contentHash: '1'.padStart(64, '0') });

  test('a message that was deleted with its ticket opens no ticket again', () => {
    const [decision] = decide(
      [storedMessage(1)],
      lookupResult({ handled: [{ dedupKey: key, isQuarantined: false }] }),
      batchContext(),
    );
    expect(decision).toMatchObject({ ticket: null, message: null });
    expect(decision?.outcome).toMatchObject({
      outcome: 'duplicate',
      ticketId: null,
      messageId: null,
      actionPending: true,
    });
  });

  test('another copy of a quarantined message stays untouched on the server, too', () => {
    const [decision] = decide(
      [storedMessage(1)],
      lookupResult({ handled: [{ dedupKey: key, isQuarantined: true }] }),
      batchContext(),
    );
    expect(decision?.outcome).toMatchObject({ outcome: 'duplicate', actionPending: false });
  });
});

describe('quarantine', () => {
  test('a quarantined message stays untouched on the server and keeps its source', () => {
    const raw = { segment: '20261124-a.zst', offset: 0, lengthBytes: 3, sha256: 'f'.repeat(64) };
    const [decision] = decide(
      [{ uid: 7, sizeBytes: 9, receivedAtMs: null, what: 'quarantined', reason: 'too_large', raw }],
      lookupResult(),
      batchContext(),
    );
    expect(decision).toMatchObject({
      message: null,
      outcome: { raw, outcome: 'quarantined', reason: 'too_large', actionPending: false },
    });
  });

  test('a message that vanished leaves only its outcome', () => {
    const [decision] = decide(
      [{ uid: 7, sizeBytes: 0, receivedAtMs: null, what: 'vanished' }],
      lookupResult(),
      batchContext(),
    );
    expect(decision).toMatchObject({
      message: null,
      outcome: { raw: null, outcome: 'vanished', actionPending: false },
    });
  });

  test('no post-action is pending when the mailbox leaves its messages alone', () => {
    expect(
      decide([storedMessage(1)], lookupResult(), batchContext({ hasPostAction: false }))[0]?.outcome.actionPending,
    ).toBe(false);
  });
});

describe('the lookup request', () => {
  test('contains own and referenced Message-IDs once each', () => {
    const arrivals = [
      storedMessage(1, { references: ['a@x', 'b@x'], inReplyTo: ['b@x'] }),
      storedMessage(2, { references: ['a@x'] }),
    ];
    const { messageIds } = lookupRequestFor(arrivals, batchContext());
    expect([...messageIds].sort()).toEqual(['1@example.test', '2@example.test', 'a@x', 'b@x']);
  });

  test('contains the nearest twenty and the first of a long References field', () => {
    const references = Array.from({ length: 500 }, (_, index) => `${index}@x`);
    const { messageIds } = lookupRequestFor([storedMessage(1, { references })], batchContext());
    expect(messageIds).toHaveLength(22);
    expect(messageIds).toEqual(expect.arrayContaining(['0@x', '480@x', '499@x']));
  });

  test('needs no ticket, participant or key for plain messages, and counts no sender without a limit', () => {
    const arrivals = [storedMessage(1), storedMessage(2)];
    expect(lookupRequestFor(arrivals, batchContext())).toMatchObject({
      refs: [],
      claims: [],
      senders: null,
      needsReplyKeys: false,
    });
    const counting = batchContext({ rules: { senderPerHourMax: 5, senderExempt: [], reopenMs: null } });
    expect(lookupRequestFor(arrivals, counting).senders).toEqual({
      addresses: ['ada@example.test'],
      fromMs: 1_700_000_000_001 - 3_600_000,
      toMs: 1_700_000_000_002,
    });
  });
});
