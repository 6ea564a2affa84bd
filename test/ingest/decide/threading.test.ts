/** Out of order, tags, tokens, forwards, closed tickets: what a mail joins, and what it only is linked with. */
import { describe, expect, test } from 'vitest';
import type { ReferencingMessage } from '../../../src/ingest/batch-lookup.ts';
import { decide } from '../../../src/ingest/decide/decide.ts';
import type { ParsedMessage } from '../../../src/mail/message.ts';
import { replyAddress, replyMessageId } from '../../../src/mail/thread/reply-token.ts';
import { batchContext, lookupMessage, lookupResult, lookupTicket, people } from './batch-samples.ts';
import { storedMessage } from './messages.ts';

const ref = '261124-AAAAAA';
const dayMs = 86_400_000;
const arrivedAtMs = 1_700_000_000_001;
const key = new Uint8Array(32).fill(7);
const replyKeys = [{ secret: key, ticketsUntilMs: null }];
const from = (address: string) => ({ from: { name: '', address } });
const to = (address: string) => ({ to: [{ name: '', address }] });
const decideOne = (
  given: Partial<ParsedMessage>,
  ...rest: Parameters<typeof decide> extends [unknown, ...infer R] ? R : never
) => decide([storedMessage(1, given)], ...rest)[0];

function naming(given: Partial<ReferencingMessage> = {}): ReferencingMessage {
  return {
    named: '1@example.test',
    ticket: lookupTicket({ id: 'orphan', isOrphan: true, createdAtMs: arrivedAtMs - 1 }),
    people: people('bob@example.test', 'ada@example.test'),
    ...given,
  };
}

describe('participants', () => {
  const tagged = (address: string) => ({ ...from(address), subject: `about [#${ref}]` });
  const base = lookupResult({ tickets: [{ ref, ticket: lookupTicket({ requesterAddress: 'ada@example.test' }) }] });
  const outcomesAfter = (first: Partial<ParsedMessage>, then: string) =>
    decide([storedMessage(1, first), storedMessage(2, tagged(then))], base, batchContext())[1]?.outcome.outcome;

  test('are the recipients of people, not those of machines', () => {
    const cc = { cc: [{ name: '', address: 'bob@example.test' }] };
    expect(outcomesAfter({ ...tagged('ada@example.test'), ...cc }, 'bob@example.test')).toBe('reply_added');
    const machine = { ...tagged('ada@example.test'), ...cc, kind: 'auto_reply' as const };
    expect(outcomesAfter(machine, 'bob@example.test')).toBe('ticket_opened');
  });

  test.each(['mailer-daemon@mx.test', 'postmaster@mx.test'])('is never %s, whatever they wrote before', (address) => {
    expect(outcomesAfter({ ...tagged('ada@example.test'), ...to(address) }, address)).toBe('ticket_opened');
  });
});

describe('messages that arrive out of order', () => {
  /** Ada and Bob take part in both tickets. */
  const samePeople = ['t0', 'orphan'].map((ticketId) => ({
    ticketId,
    addresses: ['ada@example.test', 'bob@example.test', 'support@example.test'],
  }));

  test('a message that a stored reply references joins the ticket of the reply', () => {
    const decision = decideOne({}, lookupResult({ naming: [naming()] }), batchContext());
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 'orphan' });
    expect(decision?.message?.threadRule).toBe('descendant');
  });

  test('replies to a missing message by people who see each other share a ticket', () => {
    const decisions = decide(
      [
        storedMessage(1, {
          ...from('bob@example.test'),
          inReplyTo: ['missing@x'],
          cc: [{ name: '', address: 'CY@example.test' }],
        }),
        storedMessage(2, { ...from('cy@example.test'), inReplyTo: ['missing@x'] }),
      ],
      lookupResult(),
      batchContext(),
    );
    expect(decisions[0]?.ticket?.isOrphan).toBe(true);
    expect(decisions[1]?.message).toMatchObject({ threadRule: 'sibling', ticketId: decisions[0]?.ticket?.id });
  });

  test('replies of strangers to one circular do not share a ticket', () => {
    const decisions = decide(
      [
        storedMessage(1, { ...from('bob@example.test'), inReplyTo: ['circular@x'] }),
        storedMessage(2, { ...from('cy@example.test'), inReplyTo: ['circular@x'] }),
      ],
      lookupResult(),
      batchContext(),
    );
    expect(decisions.map(({ outcome }) => outcome.outcome)).toEqual(['ticket_opened', 'ticket_opened']);
  });

  test('a stranger does not join by naming a participant or the id of the missing message', () => {
    const victims = ['bob@example.test', 'cy@example.test'];
    const answers = victims.map((address, index) =>
      storedMessage(index, { ...from(address), inReplyTo: ['circular@x'] }),
    );
    const cc = { cc: victims.map((address) => ({ name: '', address })) };
    for (const claim of [
      { inReplyTo: ['circular@x'], ...cc },
      { messageId: 'circular@x', ...cc },
    ]) {
      const decisions = decide(
        [...answers, storedMessage(3, { ...from('eve@evil.test'), ...claim })],
        lookupResult(),
        batchContext(),
      );
      expect(decisions.map(({ outcome }) => outcome.outcome)).toEqual([
        'ticket_opened',
        'ticket_opened',
        'ticket_opened',
      ]);
      expect(decisions.flatMap(({ merges }) => merges)).toEqual([]);
    }
  });

  test.each([
    ['one has a participant more', ['ada@example.test', 'bob@example.test', 'eve@evil.test']],
    ['the other one has a participant more', ['ada@example.test']],
    ['nothing is known of one', null],
    ['only the helpdesk takes part in one', ['support@example.test']],
  ])('tickets are linked, not merged, when %s', (_, addresses) => {
    const others = addresses === null ? [] : [{ ticketId: 't0', addresses }];
    const decision = decideOne(
      { inReplyTo: ['old@example.test'] },
      lookupResult({
        messages: [lookupMessage()],
        naming: [naming()],
        ticketPeople: [...others, ...samePeople.slice(1)],
      }),
      batchContext(),
    );
    expect(decision).toMatchObject({ merges: [], outcome: { ticketId: 't0' } });
    expect(decision?.links).toEqual([{ ticketId: 'orphan', otherId: 't0', reason: 'same_thread' }]);
  });

  test('the people of the connecting message count for the ticket that it joins', () => {
    const merges = (cc: string) =>
      decideOne(
        { inReplyTo: ['old@example.test'], cc: [{ name: '', address: cc }] },
        lookupResult({
          messages: [lookupMessage()],
          naming: [naming()],
          ticketPeople: [{ ticketId: 't0', addresses: ['ada@example.test'] }, ...samePeople.slice(1)],
        }),
        batchContext(),
      )?.merges.length;
    expect(merges('Bob@example.test')).toBe(1);
    expect(merges('eve@evil.test')).toBe(0);
  });

  test('a message that connects two tickets merges the younger orphan into the older one', () => {
    const decision = decideOne(
      { inReplyTo: ['old@example.test'] },
      lookupResult({ messages: [lookupMessage()], naming: [naming()], ticketPeople: samePeople }),
      batchContext(),
    );
    expect(decision?.outcome.ticketId).toBe('t0');
    expect(decision?.merges).toEqual([{ ticketId: 'orphan', intoId: 't0' }]);
    expect(decision?.links).toEqual([{ ticketId: 'orphan', otherId: 't0', reason: 'merged' }]);
  });

  test('the message follows when its own ticket is merged', () => {
    const orphan = lookupTicket({ id: 'orphan', isOrphan: true, createdAtMs: arrivedAtMs });
    const decision = decideOne(
      { inReplyTo: ['old@example.test'] },
      lookupResult({
        messages: [lookupMessage({ ticket: orphan })],
        naming: [naming({ ticket: lookupTicket() })],
        ticketPeople: samePeople,
      }),
      batchContext(),
    );
    expect(decision?.outcome.ticketId).toBe('t0');
    expect(decision?.message?.ticketId).toBe('t0');
  });

  test('later messages of the batch join the older one, too', () => {
    const decisions = decide(
      [storedMessage(1, { inReplyTo: ['old@example.test'] }), storedMessage(2, { inReplyTo: ['answer@example.test'] })],
      lookupResult({
        messages: [lookupMessage(), lookupMessage({ messageId: 'answer@example.test', ticket: naming().ticket })],
        naming: [naming()],
        ticketPeople: samePeople,
      }),
      batchContext(),
    );
    expect(decisions[1]?.outcome.ticketId).toBe('t0');
  });

  test.each([
    ['not opened by an orphan', { isOrphan: false }],
    ['closed', { status: 'closed' }],
    ['of another mailbox', { mailboxId: 'other' }],
  ])('a younger ticket that is %s stays', (_, given) => {
    const other = lookupTicket({ id: 'orphan', isOrphan: true, createdAtMs: arrivedAtMs - 1, ...given });
    const decision = decideOne(
      { inReplyTo: ['old@example.test'] },
      lookupResult({ messages: [lookupMessage()], naming: [naming({ ticket: other })], ticketPeople: samePeople }),
      batchContext(),
    );
    expect(decision?.merges).toEqual([]);
    expect(decision?.outcome.ticketId).toBe('t0');
  });

  test('a batch in reverse order ends in one ticket', () => {
    const people = { ...from('bob@example.test'), ...to('ada@example.test') };
    const messages = [
      storedMessage(5, { ...people, inReplyTo: ['4@example.test'] }),
      storedMessage(3, { ...people, references: ['1@example.test', '2@example.test'] }),
      storedMessage(4, { inReplyTo: ['3@example.test'] }),
      storedMessage(2, { inReplyTo: ['1@example.test'] }),
      storedMessage(1),
    ];
    const decisions = decide(messages, lookupResult(), batchContext());
    const merged = new Map(decisions.flatMap(({ merges }) => merges.map(({ ticketId, intoId }) => [ticketId, intoId])));
    const final = decisions.map(({ message }) => merged.get(message?.ticketId ?? '') ?? message?.ticketId);
    expect(new Set(final).size).toBe(1);
    expect(merged.size).toBe(1);
  });

  test('messages of machines and of the helpdesk merge nothing', () => {
    const state = lookupResult({ messages: [lookupMessage()], naming: [naming()], ticketPeople: samePeople });
    for (const given of [{ kind: 'auto_reply' as const }, from('support@example.test')])
      expect(decideOne({ ...given, inReplyTo: ['old@example.test'] }, state, batchContext())?.merges).toEqual([]);
  });
});

describe('a reference in subject or text', () => {
  const tagged = lookupResult({
    tickets: [{ ref, ticket: lookupTicket() }],
    participants: [{ ticketId: 't0', address: 'ada@example.test' }],
  });

  test.each([
    ['subject_tag', { subject: `Re: printer [#${ref.toLowerCase()}]` }],
    ['body_tag', { text: `Dear all,\n\nthis is about [#${ref}].\n` }],
  ])('by %s a person who is no participant gets into the ticket', (rule, given) => {
    const decision = decideOne(given, tagged, batchContext());
    expect(decision?.message).toMatchObject({ ticketId: 't0', threadRule: rule });
  });

  test('the requester is a participant', () => {
    const decision = decideOne(
      { ...from('Req@example.test'), subject: `[#${ref}]` },
      lookupResult({ tickets: tagged.tickets }),
      batchContext(),
    );
    expect(decision?.message?.threadRule).toBe('subject_tag');
  });

  test.each([
    ['a stranger', { subject: `[#${ref}] hello`, ...from('eve@example.test') }],
    ['a stranger without the brackets', { text: `about ticket ${ref}`, ...from('eve@example.test') }],
    ['somebody participants, without the brackets', { subject: `ticket ${ref}` }],
    [
      'a stranger with the address of a participant in Reply-To',
      {
        subject: `[#${ref}]`,
        ...from('eve@example.test'),
        replyTo: [{ name: '', address: 'ada@example.test' }],
      },
    ],
  ])('%s gets a ticket of his own that is linked', (_, given) => {
    const decision = decideOne(given, tagged, batchContext());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
    expect(decision?.links).toEqual([{ ticketId: decision?.ticket?.id, otherId: 't0', reason: 'mentions' }]);
  });

  test('an address of the mailbox itself is no participant, although it is in every message', () => {
    const state = lookupResult({
      tickets: tagged.tickets,
      participants: [{ ticketId: 't0', address: 'support@example.test' }],
    });
    const decision = decideOne({ ...from('support@example.test'), subject: `[#${ref}]` }, state, batchContext());
    expect(decision?.outcome).toMatchObject({ outcome: 'quarantined', reason: 'own_address' });
  });

  test('a recipient of an earlier message of the batch is a participant', () => {
    const decisions = decide(
      [
        storedMessage(1, { subject: `[#${ref}]`, cc: [{ name: '', address: 'New@example.test' }] }),
        storedMessage(2, { subject: `[#${ref}]`, ...from('new@example.test') }),
      ],
      tagged,
      batchContext(),
    );
    expect(decisions[1]?.message?.threadRule).toBe('subject_tag');
  });
});

describe('a reply token', () => {
  const at = lookupTicket().createdAtMs;
  const withKey = lookupResult({ replyKeys, tickets: [{ ref, ticket: lookupTicket() }] });
  const address = replyAddress(key, ref, 'support@example.test') ?? '';
  const id = replyMessageId(key, ref, new Uint8Array(4), 'example.test');

  test.each([
    ['To', to(address)],
    ['To in capitals', to(address.toUpperCase())],
    ['Cc', { cc: [{ name: '', address }] }],
    ['Delivered-To', { headers: [['delivered-to', address] as const] }],
    ['X-Original-To', { headers: [['x-original-to', `<${address}>`] as const] }],
    ['In-Reply-To', { inReplyTo: [id] }],
    ['References', { references: ['a@x', id.toUpperCase(), 'b@x'] }],
  ])('in %s leads a stranger into the ticket', (_, given) => {
    const decision = decideOne({ ...given, ...from('eve@example.test') }, withKey, batchContext());
    expect(decision?.message).toMatchObject({ ticketId: 't0', threadRule: 'reply_token' });
  });

  test('in the Message-ID of a bounced message takes the bounce there', () => {
    const decision = decideOne({ kind: 'bounce', reportedMessageId: id }, withKey, batchContext());
    expect(decision?.message).toMatchObject({ ticketId: 't0', threadRule: 'reported' });
  });

  test.each([
    [
      'made with another key',
      lookupResult({ ...withKey, replyKeys: [{ secret: new Uint8Array(32), ticketsUntilMs: null }] }),
    ],
    ['before there is a key', lookupResult({ ...withKey, replyKeys: [] })],
    ['of a ticket that is gone', lookupResult({ replyKeys })],
  ])('%s leads nowhere', (_, state) => {
    expect(decideOne(to(address), state, batchContext())?.outcome.outcome).toBe('ticket_opened');
  });

  test.each([
    [0, 't0'],
    [-1, undefined],
  ])('of a key that was retired %i ms after the ticket was created leads to %s', (laterMs, ticketId) => {
    const retired = [{ secret: key, ticketsUntilMs: at + laterMs }];
    const decision = decideOne(to(address), lookupResult({ ...withKey, replyKeys: retired }), batchContext());
    if (ticketId === undefined) expect(decision?.outcome.outcome).toBe('ticket_opened');
    else expect(decision?.message).toMatchObject({ ticketId, threadRule: 'reply_token' });
  });

  test('of the message itself: it was sent by the helpdesk and is recorded with its ticket', () => {
    const own = { ...withKey, ownAddresses: new Set(['support@example.test']) };
    const decision = decideOne({ messageId: id, ...from('support@example.test') }, lookupResult(own), batchContext());
    expect(decision?.outcome).toMatchObject({ outcome: 'recorded', reason: 'own_mail', ticketId: 't0' });
    expect(decision?.message?.threadRule).toBe('own');
    expect(decision?.answered).toBeNull();
    const ours = { messageId: id, ...from('support@example.test') };
    const alone = decideOne(
      ours,
      lookupResult({ replyKeys, ownAddresses: new Set(['support@example.test']) }),
      batchContext(),
    );
    expect(alone).toMatchObject({ ticket: null, outcome: { outcome: 'recorded', ticketId: null } });
  });

  test('of the message itself, from a foreign address, hides nothing: it is a reply', () => {
    const decision = decideOne({ messageId: id, ...from('eve@evil.test') }, withKey, batchContext());
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 't0' });
    expect(decision?.message?.threadRule).toBe('reply_token');
  });
});

describe('a forward', () => {
  const forward = { subject: 'WG: The printer' };

  test.each([
    ['References', { ...forward, references: ['old@example.test'] }, lookupResult({ messages: [lookupMessage()] })],
    [
      'a tag',
      { subject: `Fwd: [#${ref}] The printer` },
      lookupResult({
        tickets: [{ ref, ticket: lookupTicket() }],
        participants: [{ ticketId: 't0', address: 'ada@example.test' }],
      }),
    ],
  ])('gets a ticket of its own in spite of %s, linked with the old one', (_, given, state) => {
    const decision = decideOne(given, state, batchContext());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
    expect(decision?.links).toEqual([{ ticketId: decision?.ticket?.id, otherId: 't0', reason: 'forward' }]);
  });

  test('to the address of a ticket joins it', () => {
    const address = replyAddress(key, ref, 'support@example.test') ?? '';
    const state = lookupResult({ replyKeys, tickets: [{ ref, ticket: lookupTicket() }] });
    expect(decideOne({ ...forward, ...to(address) }, state, batchContext())?.message?.ticketId).toBe('t0');
  });

  test('that references missing messages is no orphan, and waits for none', () => {
    const decision = decideOne({ ...forward, references: ['missing@x'] }, lookupResult(), batchContext());
    expect(decision?.ticket?.isOrphan).toBe(false);
    expect(decision?.message?.missing).toEqual([]);
  });

  test('a reply to a forward is a reply', () => {
    const state = lookupResult({ messages: [lookupMessage()] });
    expect(
      decideOne({ subject: 'AW: WG: x', inReplyTo: ['old@example.test'] }, state, batchContext())?.message?.ticketId,
    ).toBe('t0');
  });
});

describe('a closed ticket', () => {
  const closed = (daysAgo: number) =>
    lookupResult({
      messages: [
        lookupMessage({ ticket: lookupTicket({ status: 'closed', closedAtMs: arrivedAtMs - daysAgo * dayMs }) }),
      ],
    });
  const reply = { inReplyTo: ['old@example.test'] };
  const thirtyDays = batchContext({ rules: { senderPerHourMax: null, senderExempt: [], reopenMs: 30 * dayMs } });

  test('is reopened by the reply of a person, however late', () => {
    const decision = decideOne(reply, closed(4000), batchContext());
    expect(decision).toMatchObject({ ref, answered: 't0', outcome: { outcome: 'reply_added', ticketId: 't0' } });
  });

  test('stays closed when a machine or the helpdesk replies', () => {
    const machines: Partial<ParsedMessage>[] = [
      { kind: 'auto_reply' },
      { headers: [['auto-submitted', 'auto-generated']] },
      { headers: [['precedence', 'bulk']] },
    ];
    for (const given of [...machines, from('support@example.test')]) {
      const decision = decideOne({ ...reply, ...given }, closed(1), batchContext());
      expect(decision).toMatchObject({ answered: null, outcome: { outcome: 'reply_added', ticketId: 't0' } });
    }
  });

  test('is reopened within reopen_days, and continued by a new ticket after that', () => {
    expect(decideOne(reply, closed(29), thirtyDays)?.answered).toBe('t0');
    const late = decideOne(reply, closed(31), thirtyDays);
    expect(late?.outcome.outcome).toBe('ticket_opened');
    expect(late?.links).toEqual([{ ticketId: late?.ticket?.id, otherId: 't0', reason: 'continues' }]);
  });

  test('that is continued gets no second new ticket: a later reply joins the one that continues it', () => {
    const open = lookupTicket({ id: 'next', ref: 'NEXT' });
    const base = closed(31);
    const decision = decideOne(reply, { ...base, continuations: [{ closedId: 't0', ticket: open }] }, thirtyDays);
    expect(decision).toMatchObject({
      ref: 'NEXT',
      ticket: null,
      outcome: { outcome: 'reply_added', ticketId: 'next' },
    });
    expect(decision?.message?.threadRule).toBe('in_reply_to');
    // Likewise within one window.
    const two = decide([storedMessage(1, reply), storedMessage(2, reply)], base, thirtyDays);
    expect(two.map(({ outcome }) => outcome.outcome)).toEqual(['ticket_opened', 'reply_added']);
    expect(two[1]?.outcome.ticketId).toBe(two[0]?.ticket?.id);
  });

  test('is followed along its continuations: to an open one, one that may be reopened, or the last one', () => {
    const over = (id: string, days: number) =>
      lookupTicket({ id, ref: id, status: 'closed', closedAtMs: arrivedAtMs - days * dayMs });
    const chain = (last: ReturnType<typeof lookupTicket>) => ({
      ...closed(90),
      continuations: [
        { closedId: 't0', ticket: over('second', 60) },
        { closedId: 'second', ticket: last },
        { closedId: last.id, ticket: over('second', 60) },
      ],
    });
    expect(decideOne(reply, chain(lookupTicket({ id: 'third' })), thirtyDays)?.outcome.ticketId).toBe('third');
    expect(decideOne(reply, chain(over('third', 10)), thirtyDays)).toMatchObject({
      answered: 'third',
      changes: [{ what: 'reopened', ref: 'third' }],
    });
    const late = decideOne(reply, chain(over('third', 40)), thirtyDays);
    expect(late?.links).toEqual([{ ticketId: late?.ticket?.id, otherId: 'third', reason: 'continues' }]);
  });

  test('gets a late automatic reply all the same', () => {
    const decision = decideOne({ ...reply, kind: 'auto_reply' }, closed(31), thirtyDays);
    expect(decision).toMatchObject({ ticket: null, outcome: { ticketId: 't0' } });
  });
});
