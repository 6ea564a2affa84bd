import { describe, expect, test } from 'vitest';
import type { LookupMessage } from '../../../src/ingest/batch-lookup.ts';
import { decide } from '../../../src/ingest/decide/decide.ts';
import { lookupRequestFor } from '../../../src/ingest/decide/lookup.ts';
import { dedupKey } from '../../../src/mail/fingerprint.ts';
import { known, knownMessage, knownTicket, maker } from './known.ts';
import { mailArrival } from './mails.ts';

const outcomes = (decisions: ReturnType<typeof decide>) => decisions.map(({ outcome }) => outcome.outcome);
const stored = (...messages: LookupMessage[]) => known({ messages });
const inTicket = (messageId: string, id: string) => knownMessage({ messageId, ticket: knownTicket({ id }) });

describe('what becomes of a mail', () => {
  test('a mail that answers nothing opens a ticket named by its reference', () => {
    const [decision] = decide([mailArrival(1)], known(), maker());
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

  test('a mail without a subject opens a ticket that has a placeholder for one', () => {
    const [decision] = decide([mailArrival(1, { subject: ' ' })], known(), maker());
    expect(decision?.ticket?.subject).toBe('(no subject)');
    expect(decision?.message?.parsed.subject).toBe(' ');
  });

  test('an answer joins the ticket of the message that In-Reply-To names', () => {
    const [decision] = decide([mailArrival(1, { inReplyTo: ['old@example.test'] })], stored(knownMessage()), maker());
    expect(decision?.ticket).toBeNull();
    expect(decision?.message?.threadRule).toBe('in_reply_to');
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 't0' });
  });

  test('the nearest known ancestor in References decides', () => {
    const [decision] = decide(
      [mailArrival(1, { references: ['root@x', 'near@x', 'unknown@x'] })],
      stored(inTicket('root@x', 'far'), inTicket('near@x', 'near')),
      maker(),
    );
    expect(decision?.outcome.ticketId).toBe('near');
    expect(decision?.message).toMatchObject({ threadRule: 'references', missing: ['unknown@x'] });
  });

  test('answers of one window find each other', () => {
    const arrivals = [
      mailArrival(1),
      mailArrival(2, { inReplyTo: ['1@example.test'] }),
      mailArrival(3, { references: ['2@example.test'] }),
    ];
    const decisions = decide(arrivals, known(), maker());
    expect(outcomes(decisions)).toEqual(['ticket_opened', 'reply_added', 'reply_added']);
    expect(new Set(decisions.map(({ outcome }) => outcome.ticketId)).size).toBe(1);
  });

  test('a ticket of the own mailbox wins over one of another mailbox', () => {
    const theirs = knownMessage({ mailboxId: 'other', ticket: knownTicket({ id: 'theirs', mailboxId: 'other' }) });
    const [decision] = decide(
      [mailArrival(1, { inReplyTo: ['old@example.test'] })],
      stored(theirs, inTicket('old@example.test', 'ours')),
      maker(),
    );
    expect(decision?.outcome.ticketId).toBe('ours');
  });

  test.each(['bounce', 'auto_reply', 'feedback_report', 'read_receipt'] as const)(
    'a mail of the kind %s opens no ticket: it is recorded',
    (kind) => {
      const [decision] = decide([mailArrival(1, { kind })], known(), maker());
      expect(decision?.ticket).toBeNull();
      expect(decision?.outcome).toMatchObject({ outcome: 'recorded', reason: kind, ticketId: null });
      expect(decision?.message?.ticketId).toBeNull();
    },
  );

  test('a bounce joins the ticket of the mail that it reports on', () => {
    const [decision] = decide(
      [mailArrival(1, { kind: 'bounce', reportedMessageId: 'old@example.test' })],
      stored(knownMessage()),
      maker(),
    );
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 't0' });
    expect(decision?.message?.threadRule).toBe('reported');
  });

  test.each([null, knownTicket()])('an answer to a message without a ticket of its own opens one', (other) => {
    const [decision] = decide(
      [mailArrival(1, { inReplyTo: ['old@example.test'] })],
      stored(knownMessage({ ticket: null }), ...(other === null ? [] : [inTicket('other@x', 't0')])),
      maker(),
    );
    expect(decision?.outcome.outcome).toBe('ticket_opened');
  });
});

describe('what counts as the same mail', () => {
  const twin = knownMessage({ messageId: '1@example.test', contentHash: '1'.padStart(64, '0') });

  test('the same Message-ID and content in the same mailbox is a duplicate', () => {
    const [decision] = decide([mailArrival(1)], stored(twin), maker());
    expect(decision).toMatchObject({ ticket: null, message: null });
    expect(decision?.outcome).toMatchObject({
      outcome: 'duplicate',
      ticketId: 't0',
      messageId: 'm0',
      actionPending: true,
    });
  });

  test('the same mail in another mailbox gets a ticket of its own, and the two are linked', () => {
    const theirs = { ...twin, mailboxId: 'other', ticket: knownTicket({ id: 'theirs', mailboxId: 'other' }) };
    const [decision] = decide([mailArrival(1)], stored(theirs), maker());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
    expect(decision?.links).toEqual([{ ticketId: decision?.ticket?.id, otherId: 'theirs', reason: 'same_message' }]);
  });

  test('a reply to a ticket of another mailbox, which that mailbox got as well, is in it once', () => {
    const ticket = knownTicket({ id: 'theirs', mailboxId: 'other' });
    const [decision] = decide(
      [mailArrival(1, { inReplyTo: ['old@example.test'] })],
      stored({ ...twin, mailboxId: 'other', ticket }, knownMessage({ mailboxId: 'other', ticket })),
      maker(),
    );
    expect(decision?.outcome).toMatchObject({ outcome: 'duplicate', ticketId: 'theirs', messageId: 'm0' });
  });

  test('the same Message-ID with other content is another mail', () => {
    const [decision] = decide([mailArrival(1)], stored({ ...twin, contentHash: 'd'.repeat(64) }), maker());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
  });

  test('the second copy within one window is a duplicate of the first', () => {
    const same = { messageId: 'same@x', contentHash: 'e'.repeat(64) };
    const decisions = decide([mailArrival(1, same), mailArrival(2, same)], known(), maker());
    expect(outcomes(decisions)).toEqual(['ticket_opened', 'duplicate']);
    expect(decisions[1]?.outcome.messageId).toBe(decisions[0]?.message?.id);
  });

  const key = dedupKey({ messageId: '1@example.test', contentHash: '1'.padStart(64, '0') });

  test('a mail whose message and ticket were deleted is not opened again', () => {
    const [decision] = decide([mailArrival(1)], known({ handled: [{ dedupKey: key, isQuarantined: false }] }), maker());
    expect(decision).toMatchObject({ ticket: null, message: null });
    expect(decision?.outcome).toMatchObject({
      outcome: 'duplicate',
      ticketId: null,
      messageId: null,
      actionPending: true,
    });
  });

  test('another copy of a mail in quarantine is left alone on the server, as that one is', () => {
    const [decision] = decide([mailArrival(1)], known({ handled: [{ dedupKey: key, isQuarantined: true }] }), maker());
    expect(decision?.outcome).toMatchObject({ outcome: 'duplicate', actionPending: false });
  });
});

describe('what is kept aside', () => {
  test('a quarantined mail stays untouched on the server and keeps its source', () => {
    const raw = { segment: '20261124-a.zst', offset: 0, lengthBytes: 3, sha256: 'f'.repeat(64) };
    const [decision] = decide(
      [{ uid: 7, sizeBytes: 9, receivedAtMs: null, what: 'quarantined', reason: 'too_large', raw }],
      known(),
      maker(),
    );
    expect(decision).toMatchObject({
      message: null,
      outcome: { raw, outcome: 'quarantined', reason: 'too_large', actionPending: false },
    });
  });

  test('a mail that vanished leaves only its outcome', () => {
    const [decision] = decide([{ uid: 7, sizeBytes: 0, receivedAtMs: null, what: 'vanished' }], known(), maker());
    expect(decision).toMatchObject({
      message: null,
      outcome: { raw: null, outcome: 'vanished', actionPending: false },
    });
  });

  test('nothing is to be done on the server when the mailbox leaves its mails alone', () => {
    expect(decide([mailArrival(1)], known(), maker({ hasPostAction: false }))[0]?.outcome.actionPending).toBe(false);
  });
});

describe('what is asked before', () => {
  test('own and named Message-IDs are looked up once each', () => {
    const arrivals = [
      mailArrival(1, { references: ['a@x', 'b@x'], inReplyTo: ['b@x'] }),
      mailArrival(2, { references: ['a@x'] }),
    ];
    const { messageIds } = lookupRequestFor(arrivals, maker());
    expect([...messageIds].sort()).toEqual(['1@example.test', '2@example.test', 'a@x', 'b@x']);
  });

  test('of a long chain of References the nearest twenty and the first are asked for', () => {
    const references = Array.from({ length: 500 }, (_, index) => `${index}@x`);
    const { messageIds } = lookupRequestFor([mailArrival(1, { references })], maker());
    expect(messageIds).toHaveLength(22);
    expect(messageIds).toEqual(expect.arrayContaining(['0@x', '480@x', '499@x']));
  });

  test('plain mails ask for no ticket, no participant and no key; without a limit no sender is counted', () => {
    const arrivals = [mailArrival(1), mailArrival(2)];
    expect(lookupRequestFor(arrivals, maker())).toMatchObject({
      refs: [],
      claims: [],
      senders: null,
      needsReplyKey: false,
    });
    const counting = maker({ rules: { senderPerHourMax: 5, senderExempt: [], reopenMs: null } });
    expect(lookupRequestFor(arrivals, counting).senders).toEqual({
      addresses: ['ada@example.test'],
      fromMs: 1_700_000_000_001 - 3_600_000,
      toMs: 1_700_000_000_002,
    });
  });
});
