/** Answers to what the helpdesk sent, as it says itself: which join its ticket, and which are only linked with it. */
import { describe, expect, test } from 'vitest';
import { decide } from '../../../src/ingest/decide/decide.ts';
import { lookupRequestFor } from '../../../src/ingest/decide/lookup-request.ts';
import type { ParsedMessage } from '../../../src/mail/message.ts';
import { batchContext, lookupMessage, lookupResult, lookupTicket, people } from './batch-samples.ts';
import { storedMessage } from './messages.ts';

const ref = '261124-AAAAAA';
const ticket = lookupTicket({ ref, requesterAddress: 'ada@example.test' });
const sentMessages = [{ messageId: 'sent@desk.test', ticket }];
const participants = [{ ticketId: 't0', address: 'cy@other.test' }];
const found = lookupResult({ sentMessages, participants, ownAddresses: new Set(['agent@desk.test']) });
const person = (address: string) => ({ name: '', address });
const answer = (address: string, given: Partial<ParsedMessage> = {}) => ({
  ...{ from: person(address), inReplyTo: ['sent@desk.test'] },
  ...given,
});
const decideOne = (given: Partial<ParsedMessage>, facts = found) =>
  decide([storedMessage(1, given)], facts, batchContext())[0];

describe('the answer to what the helpdesk sent', () => {
  test.each<readonly [string, Partial<ParsedMessage>]>([
    ['from the requester', answer('ada@example.test')],
    ['from the requester, whose program names a subaddress', answer('ada+desk@example.test')],
    ['from a participant', answer('cy@other.test')],
    ['to the requester, in Cc', answer('bob@elsewhere.test', { cc: [person('ada@example.test')] })],
    ['with the tag of the ticket', answer('bob@elsewhere.test', { subject: `Re: x [#${ref}]` })],
    ['from an agent with a mail program', answer('agent@desk.test')],
    ['that is an absence note of a participant', answer('cy@other.test', { kind: 'auto_reply' })],
  ])('%s joins its ticket', (_, given) => {
    const facts = { ...found, tickets: [{ ref, ticket }] };
    expect(decideOne(given, facts)).toMatchObject({
      message: { ticketId: 't0', threadRule: 'in_reply_to', missing: [] },
      outcome: { outcome: 'reply_added' },
    });
  });

  test('joins it by References too, and a report about it as one', () => {
    const references = ['lost@example.test', 'sent@desk.test', 'later@example.test'];
    expect(decideOne({ references })?.message).toMatchObject({ ticketId: 't0', threadRule: 'references' });
    const report = {
      kind: 'bounce',
      reportedMessageId: 'sent@desk.test',
      from: person('mailer-daemon@mx.test'),
    } as const;
    expect(decideOne(report)?.message).toMatchObject({ ticketId: 't0', threadRule: 'reported' });
  });

  test.each<readonly [string, Partial<ParsedMessage>]>([
    ['a stranger', answer('eve@evil.test')],
    ['a stranger with the domain of the requester', answer('eve@example.test')],
    ['a mail server', answer('postmaster@other.test')],
  ])('from %s opens a ticket, linked with it', (_, given) => {
    const facts = { ...found, participants: [...participants, { ticketId: 't0', address: 'postmaster@other.test' }] };
    const decision = decideOne(given, facts);
    expect(decision).toMatchObject({
      message: { threadRule: null, missing: ['sent@desk.test'] },
      outcome: { outcome: 'ticket_opened' },
      links: [{ otherId: 't0', reason: 'same_thread' }],
    });
  });

  test('that forwards it opens a ticket, linked with it', () => {
    const forward = answer('ada@example.test', { subject: 'Fwd: The printer' });
    expect(decideOne(forward)).toMatchObject({ ticket: {}, links: [{ otherId: 't0', reason: 'forward' }] });
  });

  test('joins the ticket of the helpdesk, where another mail in that mailbox claims the same Message-ID and names the sender', () => {
    const claim = lookupMessage({
      ...{ messageId: 'sent@desk.test', people: people('eve@evil.test', 'ada@example.test') },
      ticket: lookupTicket({ id: 'caught', requesterAddress: 'eve@evil.test' }),
    });
    const elsewhere = lookupTicket({ ...ticket, mailboxId: 'other' });
    const facts = { ...found, messages: [claim], sentMessages: [{ messageId: 'sent@desk.test', ticket: elsewhere }] };
    const toAll = answer('ada@example.test', { cc: [person('eve@evil.test')] });
    expect(decideOne(toAll, facts)?.message?.ticketId).toBe('t0');
  });

  test('joins the ticket that another message of the batch reopened, as it is then', () => {
    const closed = lookupTicket({ ...ticket, status: 'closed', closedAtMs: 1 });
    const facts = { ...found, sentMessages: [{ messageId: 'sent@desk.test', ticket: closed }] };
    const batch = [1, 2].map((uid) => storedMessage(uid, answer('ada@example.test')));
    const decisions = decide(batch, facts, batchContext());
    expect(decisions.map(({ changes }) => changes)).toEqual([[{ what: 'reopened', ref }], []]);
  });
});

test('the request has the ids that are referenced, each with its senders, and none for plain messages', () => {
  const batch = [
    storedMessage(1, { inReplyTo: ['a@x'], references: ['b@x', 'a@x'] }),
    storedMessage(2, { ...answer('Bob@other.test'), inReplyTo: ['a@x'] }),
    storedMessage(3, { from: person('mailer-daemon@mx.test'), reportedMessageId: 'c@x', kind: 'bounce' }),
  ];
  expect(lookupRequestFor(batch, batchContext()).answers).toEqual([
    { id: 'a@x', senders: ['ada@example.test', 'bob@other.test'] },
    { id: 'b@x', senders: ['ada@example.test'] },
    { id: 'c@x', senders: [] },
  ]);
  expect(lookupRequestFor([storedMessage(1)], batchContext()).answers).toEqual([]);
});
