/** Our own addresses, floods, circles. */
import { describe, expect, test } from 'vitest';
import { decide } from '../../../src/ingest/decide/decide.ts';
import { withoutSubaddress } from '../../../src/mail/thread/reply-token.ts';
import { known, knownMessage, knownTicket, maker } from './known.ts';
import { mailArrival } from './mails.ts';

const from = (address: string) => ({ from: { name: '', address } });
const own = known({ ownAddresses: new Set(['sales@example.test']) });
const limited = (senderPerHourMax: number) =>
  maker({ rules: { senderPerHourMax, senderExempt: ['monitor@example.test'], reopenMs: null } });
const reasons = (decisions: ReturnType<typeof decide>) =>
  decisions.map(({ outcome }) => outcome.reason ?? outcome.outcome);
const minuteMs = 60_000;

describe('mail from an address of the mailbox itself', () => {
  test.each(['support@example.test', 'SUPPORT@Example.Test', 'support+anything@example.test'])(
    'from %s opens no ticket: it is kept aside with its source',
    (address) => {
      const [decision] = decide([mailArrival(1, from(address))], own, maker());
      expect(decision).toMatchObject({ ticket: null, message: null });
      expect(decision?.outcome).toMatchObject({ outcome: 'quarantined', reason: 'own_address', actionPending: false });
      expect(decision?.outcome.raw).not.toBeNull();
    },
  );

  test('joins the ticket that it answers, since somebody answers from a mail program', () => {
    const given = { ...from('support@example.test'), inReplyTo: ['old@example.test'] };
    const [decision] = decide([mailArrival(1, given)], known({ ...own, messages: [knownMessage()] }), maker());
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 't0' });
  });

  test.each(['support', 'sales'])('of a web form (%s) opens a ticket for whoever filled it in', (form) => {
    const given = { ...from(`${form}@example.test`), replyTo: [{ name: 'Cy', address: 'cy@example.test' }] };
    const [decision] = decide([mailArrival(1, given)], own, maker());
    expect(decision?.ticket?.requester).toEqual({ name: 'Cy', address: 'cy@example.test' });
  });

  test('whose Reply-To is its own as well is kept aside', () => {
    const given = { ...from('support@example.test'), replyTo: [{ name: '', address: 'support+x@example.test' }] };
    expect(reasons(decide([mailArrival(1, given)], own, maker()))).toEqual(['own_address']);
  });

  test('opens a ticket when somebody has released it', () => {
    const [decision] = decide([mailArrival(1, from('support@example.test'))], own, maker({ isReleased: true }));
    expect(decision?.outcome.outcome).toBe('ticket_opened');
  });

  test('that comes twice at once is in quarantine once', () => {
    const same = { ...from('support@example.test'), messageId: 'same@x', contentHash: 'e'.repeat(64) };
    const [first, second] = decide([mailArrival(1, same), mailArrival(2, same)], own, maker());
    expect([first?.outcome.reason, second?.outcome.reason]).toEqual(['own_address', 'seen_before']);
    expect(second?.outcome).toMatchObject({ outcome: 'duplicate', actionPending: false });
  });

  test('a plus part that is no part of the name stays', () => {
    expect(withoutSubaddress('+a@x')).toBe('+a@x');
    expect(withoutSubaddress('a@x+y')).toBe('a@x+y');
    expect(withoutSubaddress('A+b+c@X')).toBe('a@x');
  });
});

describe("mail from another mailbox's address", () => {
  const billing = { ...from('Sales@example.test'), subject: 'Fwd: for you' };

  test.each([
    ['of its own', {}],
    ['with answers to itself', { replyTo: [{ name: '', address: 'sales+x@example.test' }] }],
  ])('%s is like that of anybody: it opens a ticket for that address', (_, more) => {
    const [decision] = decide([mailArrival(1, { ...billing, ...more })], own, maker());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
    expect(decision?.ticket?.requester.address).toBe('Sales@example.test');
  });

  test('opens a closed ticket again that it answers', () => {
    const ticket = knownTicket({ status: 'closed', closedAtMs: 1 });
    const given = { ...from('sales@example.test'), inReplyTo: ['old@example.test'] };
    const [decision] = decide(
      [mailArrival(1, given)],
      known({ ...own, messages: [knownMessage({ ticket })] }),
      maker(),
    );
    expect(decision).toMatchObject({ answered: 't0', changes: [{ what: 'reopened', ref: ticket.ref }] });
  });

  test('does not go in circles for ever: machines open nothing, and others are counted', () => {
    const [robot] = decide([mailArrival(1, { ...billing, kind: 'auto_reply' })], own, maker());
    expect(robot?.outcome).toMatchObject({ outcome: 'recorded', reason: 'auto_reply' });
    const circle = [1, 2, 3].map((uid) => mailArrival(uid, billing));
    expect(reasons(decide(circle, own, limited(2)))).toEqual(['ticket_opened', 'ticket_opened', 'sender_flood']);
  });
});

describe('a sender that floods', () => {
  test('gets so many mails an hour in, and the others into quarantine', () => {
    const mails = [1, 2, 3, 4].map((uid) => mailArrival(uid));
    const another = mailArrival(5, from('bob@example.test'));
    const decisions = decide([...mails, another], known(), limited(2));
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

  test('is counted with what is stored, in any case of letters, by the time of arrival', () => {
    const sent = [{ address: 'ada@example.test', atMs: 1_700_000_000_000 - 30 * minuteMs, count: 2 }];
    const given = from('ADA@example.test');
    expect(reasons(decide([mailArrival(1, given)], known({ sent }), limited(2)))).toEqual(['sender_flood']);
    expect(reasons(decide([mailArrival(1, given)], known({ sent }), limited(3)))).toEqual(['ticket_opened']);
    const later = [{ ...mailArrival(1, given), receivedAtMs: 1_700_000_000_000 + 40 * minuteMs }];
    expect(reasons(decide(later, known({ sent }), limited(2)))).toEqual(['ticket_opened']);
  });

  test.each([
    ['an import', {}, { addedAtMs: 1_800_000_000_000 }, false],
    ['reports of servers', { kind: 'bounce' as const }, {}, false],
    ['mail without a sender', { from: null }, {}, false],
    ['a sender that may send as much as it likes', from('Monitor@example.test'), {}, false],
    ['mail that somebody has released', {}, {}, true],
  ])('%s is none', (_, given, state, isReleased) => {
    const mails = [1, 2, 3].map((uid) => mailArrival(uid, given));
    const { rules } = limited(1);
    const decisions = decide(mails, known(state), maker({ rules, isReleased }));
    expect(reasons(decisions)).not.toContain('sender_flood');
  });

  test('a duplicate is no mail more', () => {
    const same = { messageId: 'same@x', contentHash: 'e'.repeat(64) };
    const decisions = decide([mailArrival(1, same), mailArrival(2, same), mailArrival(3)], known(), limited(2));
    expect(reasons(decisions)).toEqual(['ticket_opened', 'seen_before', 'ticket_opened']);
  });
});

test('a mail that passed more than 50 servers is kept aside', () => {
  expect(reasons(decide([mailArrival(1, { hopCount: 50 })], known(), maker()))).toEqual(['ticket_opened']);
  expect(reasons(decide([mailArrival(1, { hopCount: 51 })], known(), maker()))).toEqual(['mail_loop']);
});
