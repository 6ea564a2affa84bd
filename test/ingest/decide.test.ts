import { describe, expect, test } from 'vitest';
import { decide, idsToKnow, type Maker } from '../../src/ingest/decide.ts';
import type { KnownMessage } from '../../src/ingest/rows.ts';
import { mailArrival } from './mails.ts';

function maker(given: Partial<Maker> = {}): Maker {
  let ids = 0;
  let refs = 0;
  return {
    mailboxId: 'box',
    nowMs: 1_800_000_000_000,
    acts: true,
    newId: () => `id${++ids}`,
    newRef: () => `ref${++refs}`,
    ...given,
  };
}

function known(given: Partial<KnownMessage>): KnownMessage {
  return {
    id: 'm0',
    mailboxId: 'box',
    messageId: 'old@example.test',
    contentHash: 'c'.repeat(64),
    ticketId: 't0',
    ticketRef: 'ref0',
    ...given,
  };
}

const outcomes = (decisions: ReturnType<typeof decide>) => decisions.map(({ outcome }) => outcome.outcome);

describe('what becomes of a mail', () => {
  test('a mail that answers nothing opens a ticket named by its reference', () => {
    const [decision] = decide([mailArrival(1)], [], maker());
    expect(decision?.ticket).toMatchObject({
      ref: 'ref1',
      subject: 'The printer',
      requester: { address: 'ada@example.test' },
    });
    expect(decision?.message?.ticketId).toBe(decision?.ticket?.id);
    expect(decision?.outcome).toMatchObject({ outcome: 'ticket_opened', actionPending: true });
  });

  test('a mail without a subject opens a ticket that has a placeholder for one', () => {
    const [decision] = decide([mailArrival(1, { subject: ' ' })], [], maker());
    expect(decision?.ticket?.subject).toBe('(no subject)');
    expect(decision?.message?.parsed.subject).toBe(' ');
  });

  test('an answer joins the ticket of the message that In-Reply-To names', () => {
    const [decision] = decide([mailArrival(1, { inReplyTo: ['old@example.test'] })], [known({})], maker());
    expect(decision?.ticket).toBeNull();
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 't0' });
  });

  test('the nearest known ancestor in References decides', () => {
    const stored = [known({ messageId: 'root@x', ticketId: 'far' }), known({ messageId: 'near@x', ticketId: 'near' })];
    const [decision] = decide([mailArrival(1, { references: ['root@x', 'near@x', 'unknown@x'] })], stored, maker());
    expect(decision?.outcome.ticketId).toBe('near');
  });

  test('answers of one window find each other', () => {
    const arrivals = [
      mailArrival(1),
      mailArrival(2, { inReplyTo: ['1@example.test'] }),
      mailArrival(3, { references: ['2@example.test'] }),
    ];
    const decisions = decide(arrivals, [], maker());
    expect(outcomes(decisions)).toEqual(['ticket_opened', 'reply_added', 'reply_added']);
    expect(new Set(decisions.map(({ outcome }) => outcome.ticketId)).size).toBe(1);
  });

  test('a ticket of the own mailbox wins over one of another mailbox', () => {
    const stored = [known({ mailboxId: 'other', ticketId: 'theirs' }), known({ id: 'm1', ticketId: 'ours' })];
    const [decision] = decide([mailArrival(1, { inReplyTo: ['old@example.test'] })], stored, maker());
    expect(decision?.outcome.ticketId).toBe('ours');
  });

  test.each(['bounce', 'auto_reply'] as const)('a %s opens no ticket: it is recorded', (kind) => {
    const [decision] = decide([mailArrival(1, { kind })], [], maker());
    expect(decision?.ticket).toBeNull();
    expect(decision?.outcome).toMatchObject({ outcome: 'recorded', reason: kind, ticketId: null });
    expect(decision?.message?.ticketId).toBeNull();
  });

  test('a bounce joins the ticket of the mail that it reports on', () => {
    const [decision] = decide(
      [mailArrival(1, { kind: 'bounce', reportedMessageId: 'old@example.test' })],
      [known({})],
      maker(),
    );
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 't0' });
  });

  test('an answer to a message that is recorded without a ticket opens one', () => {
    const [decision] = decide(
      [mailArrival(1, { inReplyTo: ['old@example.test'] })],
      [known({ ticketId: null })],
      maker(),
    );
    expect(decision?.outcome.outcome).toBe('ticket_opened');
  });
});

describe('what counts as the same mail', () => {
  const twin = known({ messageId: '1@example.test', contentHash: '1'.padStart(64, '0') });

  test('the same Message-ID and content in the same mailbox is a duplicate', () => {
    const [decision] = decide([mailArrival(1)], [twin], maker());
    expect(decision).toMatchObject({ ticket: null, message: null });
    expect(decision?.outcome).toMatchObject({
      outcome: 'duplicate',
      ticketId: 't0',
      messageId: 'm0',
      actionPending: true,
    });
  });

  test('the same mail in another mailbox gets a ticket of its own', () => {
    const [decision] = decide([mailArrival(1)], [{ ...twin, mailboxId: 'other' }], maker());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
  });

  test('the same Message-ID with other content is another mail', () => {
    const [decision] = decide([mailArrival(1)], [{ ...twin, contentHash: 'd'.repeat(64) }], maker());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
  });

  test('the second copy within one window is a duplicate of the first', () => {
    const same = { messageId: 'same@x', contentHash: 'e'.repeat(64) };
    const decisions = decide([mailArrival(1, same), mailArrival(2, same)], [], maker());
    expect(outcomes(decisions)).toEqual(['ticket_opened', 'duplicate']);
    expect(decisions[1]?.outcome.messageId).toBe(decisions[0]?.message?.id);
  });
});

describe('what is kept aside', () => {
  test('a quarantined mail stays untouched on the server and keeps its source', () => {
    const raw = { segment: '20261124-a.zst', offset: 0, lengthBytes: 3, sha256: 'f'.repeat(64) };
    const [decision] = decide(
      [{ uid: 7, sizeBytes: 9, receivedAtMs: null, what: 'quarantined', reason: 'too_large', raw }],
      [],
      maker(),
    );
    expect(decision).toMatchObject({
      message: null,
      outcome: { raw, outcome: 'quarantined', reason: 'too_large', actionPending: false },
    });
  });

  test('a mail that vanished leaves only its outcome', () => {
    const [decision] = decide([{ uid: 7, sizeBytes: 0, receivedAtMs: null, what: 'vanished' }], [], maker());
    expect(decision).toMatchObject({
      message: null,
      outcome: { raw: null, outcome: 'vanished', actionPending: false },
    });
  });

  test('nothing is to be done on the server when the mailbox leaves its mails alone', () => {
    expect(decide([mailArrival(1)], [], maker({ acts: false }))[0]?.outcome.actionPending).toBe(false);
  });
});

test('own and ancestor Message-IDs are looked up once each', () => {
  const arrivals = [
    mailArrival(1, { references: ['a@x', 'b@x'], inReplyTo: ['b@x'] }),
    mailArrival(2, { references: ['a@x'] }),
  ];
  expect([...idsToKnow(arrivals)].sort()).toEqual(['1@example.test', '2@example.test', 'a@x', 'b@x']);
});
