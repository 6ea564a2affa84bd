/** Our own addresses, floods, circles. */
import { describe, expect, test } from 'vitest';
import { decide } from '../../../src/ingest/decide/decide.ts';
import { withoutSubaddress } from '../../../src/mail/thread/reply-token.ts';
import { batchContext, lookupMessage, lookupResult, lookupTicket } from './batch-samples.ts';
import { storedMessage } from './messages.ts';

const from = (address: string) => ({ from: { name: '', address } });
const own = lookupResult({ ownAddresses: new Set(['sales@example.test']) });
const limited = (senderPerHourMax: number) =>
  batchContext({ rules: { senderPerHourMax, senderExempt: ['monitor@example.test'], reopenMs: null } });
const reasons = (decisions: ReturnType<typeof decide>) =>
  decisions.map(({ outcome }) => outcome.reason ?? outcome.outcome);
const minuteMs = 60_000;

describe('a message from an address of the mailbox itself', () => {
  test.each(['support@example.test', 'SUPPORT@Example.Test', 'support+anything@example.test'])(
    'from %s opens no ticket: it is quarantined with its source',
    (address) => {
      const [decision] = decide([storedMessage(1, from(address))], own, batchContext());
      expect(decision).toMatchObject({ ticket: null, message: null });
      expect(decision?.outcome).toMatchObject({ outcome: 'quarantined', reason: 'own_address', actionPending: false });
      expect(decision?.outcome.raw).not.toBeNull();
    },
  );

  test('joins the ticket that it replies to: an agent may use a mail program', () => {
    const given = { ...from('support@example.test'), inReplyTo: ['old@example.test'] };
    const [decision] = decide(
      [storedMessage(1, given)],
      lookupResult({ ...own, messages: [lookupMessage()] }),
      batchContext(),
    );
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 't0' });
  });

  test.each(['support', 'sales'])('of a web form (%s) opens a ticket for the person who filled it in', (form) => {
    const given = { ...from(`${form}@example.test`), replyTo: [{ name: 'Cy', address: 'cy@example.test' }] };
    const [decision] = decide([storedMessage(1, given)], own, batchContext());
    expect(decision?.ticket?.requester).toEqual({ name: 'Cy', address: 'cy@example.test' });
  });

  test('whose Reply-To is its own as well is quarantined', () => {
    const given = { ...from('support@example.test'), replyTo: [{ name: '', address: 'support+x@example.test' }] };
    expect(reasons(decide([storedMessage(1, given)], own, batchContext()))).toEqual(['own_address']);
  });

  test('opens a ticket when it is released', () => {
    const [decision] = decide(
      [storedMessage(1, from('support@example.test'))],
      own,
      batchContext({ isReleased: true }),
    );
    expect(decision?.outcome.outcome).toBe('ticket_opened');
  });

  test('that arrives twice in a batch is quarantined once', () => {
    const same = { ...from('support@example.test'), messageId: 'same@x', contentHash: 'e'.repeat(64) };
    const [first, second] = decide([storedMessage(1, same), storedMessage(2, same)], own, batchContext());
    expect([first?.outcome.reason, second?.outcome.reason]).toEqual(['own_address', 'seen_before']);
    expect(second?.outcome).toMatchObject({ outcome: 'duplicate', actionPending: false });
  });

  test('a plus sign that starts no subaddress stays', () => {
    expect(withoutSubaddress('+a@x')).toBe('+a@x');
    expect(withoutSubaddress('a@x+y')).toBe('a@x+y');
    expect(withoutSubaddress('A+b+c@X')).toBe('a@x');
  });
});

describe("a message from another mailbox's address", () => {
  const billing = { ...from('Sales@example.test'), subject: 'Fwd: for you' };

  test.each([
    ['of its own', {}],
    ['with answers to itself', { replyTo: [{ name: '', address: 'sales+x@example.test' }] }],
  ])('%s is like any other: it opens a ticket for that address', (_, more) => {
    const [decision] = decide([storedMessage(1, { ...billing, ...more })], own, batchContext());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
    expect(decision?.ticket?.requester.address).toBe('Sales@example.test');
  });

  test('reopens the closed ticket that it replies to', () => {
    const ticket = lookupTicket({ status: 'closed', closedAtMs: 1 });
    const given = { ...from('sales@example.test'), inReplyTo: ['old@example.test'] };
    const [decision] = decide(
      [storedMessage(1, given)],
      lookupResult({ ...own, messages: [lookupMessage({ ticket })] }),
      batchContext(),
    );
    expect(decision).toMatchObject({ answered: 't0', changes: [{ what: 'reopened', ref: ticket.ref }] });
  });

  test('does not loop forever: machines open no ticket, and others are counted', () => {
    const [robot] = decide([storedMessage(1, { ...billing, kind: 'auto_reply' })], own, batchContext());
    expect(robot?.outcome).toMatchObject({ outcome: 'recorded', reason: 'auto_reply' });
    const circle = [1, 2, 3].map((uid) => storedMessage(uid, billing));
    expect(reasons(decide(circle, own, limited(2)))).toEqual(['ticket_opened', 'ticket_opened', 'sender_flood']);
  });
});

describe('the limit of messages per sender', () => {
  test('lets so many messages an hour pass, and quarantines the others', () => {
    const messages = [1, 2, 3, 4].map((uid) => storedMessage(uid));
    const another = storedMessage(5, from('bob@example.test'));
    const decisions = decide([...messages, another], lookupResult(), limited(2));
    expect(reasons(decisions)).toEqual([
      'ticket_opened',
      'ticket_opened',
      'sender_flood',
      'sender_flood',
      'ticket_opened',
    ]);
    expect(decisions[2]?.outcome).toMatchObject({ actionPending: false, messageId: null });
    expect(decisions[2]?.outcome.raw).not.toBeNull();
  });

  test('counts stored messages too, in any case of letters, by the time of arrival', () => {
    const sent = [{ address: 'ada@example.test', atMs: 1_700_000_000_000 - 30 * minuteMs, count: 2 }];
    const given = from('ADA@example.test');
    expect(reasons(decide([storedMessage(1, given)], lookupResult({ sent }), limited(2)))).toEqual(['sender_flood']);
    expect(reasons(decide([storedMessage(1, given)], lookupResult({ sent }), limited(3)))).toEqual(['ticket_opened']);
    const later = [{ ...storedMessage(1, given), receivedAtMs: 1_700_000_000_000 + 40 * minuteMs }];
    expect(reasons(decide(later, lookupResult({ sent }), limited(2)))).toEqual(['ticket_opened']);
  });

  test.each([
    ['an import', {}, { addedAtMs: 1_800_000_000_000 }, false],
    ['reports of servers', { kind: 'bounce' as const }, {}, false],
    ['messages without a sender', { from: null }, {}, false],
    ['an exempt sender', from('Monitor@example.test'), {}, false],
    ['released messages', {}, {}, true],
  ])('does not apply to %s', (_, given, state, isReleased) => {
    const messages = [1, 2, 3].map((uid) => storedMessage(uid, given));
    const { rules } = limited(1);
    const decisions = decide(messages, lookupResult(state), batchContext({ rules, isReleased }));
    expect(reasons(decisions)).not.toContain('sender_flood');
  });

  test('does not count duplicates', () => {
    const same = { messageId: 'same@x', contentHash: 'e'.repeat(64) };
    const decisions = decide(
      [storedMessage(1, same), storedMessage(2, same), storedMessage(3)],
      lookupResult(),
      limited(2),
    );
    expect(reasons(decisions)).toEqual(['ticket_opened', 'seen_before', 'ticket_opened']);
  });
});

test('a message that passed more than 50 servers is quarantined', () => {
  expect(reasons(decide([storedMessage(1, { hopCount: 50 })], lookupResult(), batchContext()))).toEqual([
    'ticket_opened',
  ]);
  expect(reasons(decide([storedMessage(1, { hopCount: 51 })], lookupResult(), batchContext()))).toEqual(['mail_loop']);
});

test.each([
  [-3_600_001, 'ticket_opened'],
  [-3_600_000, 'reply_added'],
  [3_600_000, 'reply_added'],
  [3_600_001, 'ticket_opened'],
] as const)('a notice that arrives %i ms after the last equal one: %s', (afterMs, outcome) => {
  const message = storedMessage(1);
  if (message.what !== 'parsed') throw new Error('it was parsed');
  const key = message.threadKeys.repeatKey ?? '';
  const repeated = [{ key, count: 5, atMs: (message.receivedAtMs ?? 0) - afterMs, ticket: lookupTicket() }];
  expect(decide([message], lookupResult({ repeated }), batchContext())[0]?.outcome.outcome).toBe(outcome);
});
