/** Out of order, tags, tokens, forwards, closed tickets: what a mail joins, and what it only is linked with. */
import { describe, expect, test } from 'vitest';
import type { ReferencingMessage } from '../../../src/ingest/batch-lookup.ts';
import { decide } from '../../../src/ingest/decide/decide.ts';
import type { ParsedMessage } from '../../../src/mail/message.ts';
import { replyAddress, replyMessageId } from '../../../src/mail/thread/reply-token.ts';
import { known, knownMessage, knownTicket, maker } from './known.ts';
import { mailArrival } from './mails.ts';

const ref = '261124-AAAAAA';
const dayMs = 86_400_000;
const arrivedAtMs = 1_700_000_000_001;
const key = new Uint8Array(32).fill(7);
const from = (address: string) => ({ from: { name: '', address } });
const to = (address: string) => ({ to: [{ name: '', address }] });
const decideOne = (
  given: Partial<ParsedMessage>,
  ...rest: Parameters<typeof decide> extends [unknown, ...infer R] ? R : never
) => decide([mailArrival(1, given)], ...rest)[0];

function naming(given: Partial<ReferencingMessage> = {}): ReferencingMessage {
  return {
    named: '1@example.test',
    ticket: knownTicket({ id: 'orphan', isOrphan: true, createdAtMs: arrivedAtMs - 1 }),
    from: 'bob@example.test',
    recipients: ['ada@example.test'],
    ...given,
  };
}

describe('who takes part', () => {
  const tagged = (address: string) => ({ ...from(address), subject: `about [#${ref}]` });
  const base = known({ tickets: [{ ref, ticket: knownTicket({ requesterAddress: 'ada@example.test' }) }] });
  const outcomesAfter = (first: Partial<ParsedMessage>, then: string) =>
    decide([mailArrival(1, first), mailArrival(2, tagged(then))], base, maker())[1]?.outcome.outcome;

  test('is whom a person wrote to, not whom a machine names', () => {
    const cc = { cc: [{ name: '', address: 'bob@example.test' }] };
    expect(outcomesAfter({ ...tagged('ada@example.test'), ...cc }, 'bob@example.test')).toBe('reply_added');
    const machine = { ...tagged('ada@example.test'), ...cc, kind: 'auto_reply' as const };
    expect(outcomesAfter(machine, 'bob@example.test')).toBe('ticket_opened');
  });

  test.each(['mailer-daemon@mx.test', 'postmaster@mx.test'])('is never %s, whatever they wrote before', (address) => {
    expect(outcomesAfter({ ...tagged('ada@example.test'), ...to(address) }, address)).toBe('ticket_opened');
  });
});

describe('mail that comes out of order', () => {
  test('a mail that a stored answer names joins the ticket of the answer', () => {
    const decision = decideOne({}, known({ naming: [naming()] }), maker());
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 'orphan' });
    expect(decision?.message?.threadRule).toBe('descendant');
  });

  test('answers of people who see each other to one mail that is missing share a ticket', () => {
    const decisions = decide(
      [
        mailArrival(1, {
          ...from('bob@example.test'),
          inReplyTo: ['missing@x'],
          cc: [{ name: '', address: 'CY@example.test' }],
        }),
        mailArrival(2, { ...from('cy@example.test'), inReplyTo: ['missing@x'] }),
      ],
      known(),
      maker(),
    );
    expect(decisions[0]?.ticket?.isOrphan).toBe(true);
    expect(decisions[1]?.message).toMatchObject({ threadRule: 'sibling', ticketId: decisions[0]?.ticket?.id });
  });

  test('answers of strangers to one circular do not share a ticket', () => {
    const decisions = decide(
      [
        mailArrival(1, { ...from('bob@example.test'), inReplyTo: ['circular@x'] }),
        mailArrival(2, { ...from('cy@example.test'), inReplyTo: ['circular@x'] }),
      ],
      known(),
      maker(),
    );
    expect(decisions.map(({ outcome }) => outcome.outcome)).toEqual(['ticket_opened', 'ticket_opened']);
  });

  test('who only claims to be one of them does not get in: not by naming them, not by the id of the missing mail', () => {
    const victims = ['bob@example.test', 'cy@example.test'];
    const answers = victims.map((address, index) =>
      mailArrival(index, { ...from(address), inReplyTo: ['circular@x'] }),
    );
    const cc = { cc: victims.map((address) => ({ name: '', address })) };
    for (const claim of [
      { inReplyTo: ['circular@x'], ...cc },
      { messageId: 'circular@x', ...cc },
    ]) {
      const decisions = decide([...answers, mailArrival(3, { ...from('eve@evil.test'), ...claim })], known(), maker());
      expect(decisions.map(({ outcome }) => outcome.outcome)).toEqual([
        'ticket_opened',
        'ticket_opened',
        'ticket_opened',
      ]);
      expect(decisions.flatMap(({ merges }) => merges)).toEqual([]);
    }
  });

  test('tickets of people who are not in the mail that connects them are not merged', () => {
    const ticket = knownTicket({
      ...{ id: 'orphan', isOrphan: true, createdAtMs: arrivedAtMs - 1, requesterAddress: 'bob@example.test' },
    });
    const connecting = (given: Partial<ParsedMessage>) =>
      decideOne(
        { inReplyTo: ['old@example.test'], ...given },
        known({ messages: [knownMessage()], naming: [naming({ ticket })] }),
        maker(),
      )?.merges.length;
    expect(connecting({})).toBe(0);
    expect(connecting({ cc: [{ name: '', address: 'Bob@example.test' }] })).toBe(1);
  });

  test('a mail that connects two tickets merges the younger orphan into the older one', () => {
    const decision = decideOne(
      { inReplyTo: ['old@example.test'] },
      known({ messages: [knownMessage()], naming: [naming()] }),
      maker(),
    );
    expect(decision?.outcome.ticketId).toBe('t0');
    expect(decision?.merges).toEqual([{ ticketId: 'orphan', intoId: 't0' }]);
    expect(decision?.links).toEqual([{ ticketId: 'orphan', otherId: 't0', reason: 'merged' }]);
  });

  test('the mail goes along when it is its own ticket that is merged', () => {
    const orphan = knownTicket({ id: 'orphan', isOrphan: true, createdAtMs: arrivedAtMs });
    const decision = decideOne(
      { inReplyTo: ['old@example.test'] },
      known({ messages: [knownMessage({ ticket: orphan })], naming: [naming({ ticket: knownTicket() })] }),
      maker(),
    );
    expect(decision?.outcome.ticketId).toBe('t0');
    expect(decision?.message?.ticketId).toBe('t0');
  });

  test('what comes after it in the window goes into the older one, too', () => {
    const decisions = decide(
      [mailArrival(1, { inReplyTo: ['old@example.test'] }), mailArrival(2, { inReplyTo: ['answer@example.test'] })],
      known({
        messages: [knownMessage(), knownMessage({ messageId: 'answer@example.test', ticket: naming().ticket })],
        naming: [naming()],
      }),
      maker(),
    );
    expect(decisions[1]?.outcome.ticketId).toBe('t0');
  });

  test.each([
    ['not opened by an orphan', { isOrphan: false }],
    ['closed', { status: 'closed' }],
    ['of another mailbox', { mailboxId: 'other' }],
  ])('a younger ticket that is %s stays', (_, given) => {
    const other = knownTicket({ id: 'orphan', isOrphan: true, createdAtMs: arrivedAtMs - 1, ...given });
    const decision = decideOne(
      { inReplyTo: ['old@example.test'] },
      known({ messages: [knownMessage()], naming: [naming({ ticket: other })] }),
      maker(),
    );
    expect(decision?.merges).toEqual([]);
    expect(decision?.outcome.ticketId).toBe('t0');
  });

  test('within one window the last comes first, and all end in one ticket', () => {
    const people = { ...from('bob@example.test'), ...to('ada@example.test') };
    const mails = [
      mailArrival(5, { ...people, inReplyTo: ['4@example.test'] }),
      mailArrival(3, { ...people, references: ['1@example.test', '2@example.test'] }),
      mailArrival(4, { inReplyTo: ['3@example.test'] }),
      mailArrival(2, { inReplyTo: ['1@example.test'] }),
      mailArrival(1),
    ];
    const decisions = decide(mails, known(), maker());
    const merged = new Map(decisions.flatMap(({ merges }) => merges.map(({ ticketId, intoId }) => [ticketId, intoId])));
    const final = decisions.map(({ message }) => merged.get(message?.ticketId ?? '') ?? message?.ticketId);
    expect(new Set(final).size).toBe(1);
    expect(merged.size).toBe(1);
  });

  test('a machine and our own mail merge nothing', () => {
    const state = known({ messages: [knownMessage()], naming: [naming()] });
    for (const given of [{ kind: 'auto_reply' as const }, from('support@example.test')])
      expect(decideOne({ ...given, inReplyTo: ['old@example.test'] }, state, maker())?.merges).toEqual([]);
  });
});

describe('a reference in subject or text', () => {
  const tagged = known({
    tickets: [{ ref, ticket: knownTicket() }],
    participants: [{ ticketId: 't0', address: 'ada@example.test' }],
  });

  test.each([
    ['subject_tag', { subject: `Re: printer [#${ref.toLowerCase()}]` }],
    ['body_tag', { text: `Dear all,\n\nthis is about [#${ref}].\n` }],
  ])('by %s somebody who takes part gets into the ticket', (rule, given) => {
    const decision = decideOne(given, tagged, maker());
    expect(decision?.message).toMatchObject({ ticketId: 't0', threadRule: rule });
  });

  test('the requester takes part', () => {
    const decision = decideOne(
      { ...from('Req@example.test'), subject: `[#${ref}]` },
      known({ tickets: tagged.tickets }),
      maker(),
    );
    expect(decision?.message?.threadRule).toBe('subject_tag');
  });

  test.each([
    ['a stranger', { subject: `[#${ref}] hello`, ...from('eve@example.test') }],
    ['a stranger without the brackets', { text: `about ticket ${ref}`, ...from('eve@example.test') }],
    ['somebody who takes part, without the brackets', { subject: `ticket ${ref}` }],
    [
      'a stranger with the address of a participant in Reply-To',
      {
        subject: `[#${ref}]`,
        ...from('eve@example.test'),
        replyTo: [{ name: '', address: 'ada@example.test' }],
      },
    ],
  ])('%s gets a ticket of his own that is linked', (_, given) => {
    const decision = decideOne(given, tagged, maker());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
    expect(decision?.links).toEqual([{ ticketId: decision?.ticket?.id, otherId: 't0', reason: 'mentions' }]);
  });

  test('our own address takes part in nothing, although it is in every mail', () => {
    const state = known({
      tickets: tagged.tickets,
      participants: [{ ticketId: 't0', address: 'support@example.test' }],
    });
    const decision = decideOne({ ...from('support@example.test'), subject: `[#${ref}]` }, state, maker());
    expect(decision?.outcome).toMatchObject({ outcome: 'quarantined', reason: 'own_address' });
  });

  test('who was copied in by a mail before in the window takes part', () => {
    const decisions = decide(
      [
        mailArrival(1, { subject: `[#${ref}]`, cc: [{ name: '', address: 'New@example.test' }] }),
        mailArrival(2, { subject: `[#${ref}]`, ...from('new@example.test') }),
      ],
      tagged,
      maker(),
    );
    expect(decisions[1]?.message?.threadRule).toBe('subject_tag');
  });
});

describe('a reply token', () => {
  const withKey = known({ replyKey: key, tickets: [{ ref, ticket: knownTicket() }] });
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
    const decision = decideOne({ ...given, ...from('eve@example.test') }, withKey, maker());
    expect(decision?.message).toMatchObject({ ticketId: 't0', threadRule: 'reply_token' });
  });

  test('in the Message-ID of a mail that bounced leads the bounce there', () => {
    const decision = decideOne({ kind: 'bounce', reportedMessageId: id }, withKey, maker());
    expect(decision?.message).toMatchObject({ ticketId: 't0', threadRule: 'reported' });
  });

  test.each([
    ['made with another key', known({ ...withKey, replyKey: new Uint8Array(32) })],
    ['before there is a key', known({ ...withKey, replyKey: null })],
    ['of a ticket that is gone', known({ replyKey: key })],
  ])('%s leads nowhere', (_, state) => {
    expect(decideOne(to(address), state, maker())?.outcome.outcome).toBe('ticket_opened');
  });

  test('of the mail itself: what we sent came back, and is recorded with its ticket', () => {
    const own = { ...withKey, ownAddresses: new Set(['support@example.test']) };
    const decision = decideOne({ messageId: id, ...from('support@example.test') }, known(own), maker());
    expect(decision?.outcome).toMatchObject({ outcome: 'recorded', reason: 'own_mail', ticketId: 't0' });
    expect(decision?.message?.threadRule).toBe('own');
    expect(decision?.answered).toBeNull();
    const ours = { messageId: id, ...from('support@example.test') };
    const alone = decideOne(ours, known({ replyKey: key, ownAddresses: new Set(['support@example.test']) }), maker());
    expect(alone).toMatchObject({ ticket: null, outcome: { outcome: 'recorded', ticketId: null } });
  });

  test('of the mail itself, from an address that is none of ours, hides nothing: it is a reply', () => {
    const decision = decideOne({ messageId: id, ...from('eve@evil.test') }, withKey, maker());
    expect(decision?.outcome).toMatchObject({ outcome: 'reply_added', ticketId: 't0' });
    expect(decision?.message?.threadRule).toBe('reply_token');
  });
});

describe('a forward', () => {
  const forward = { subject: 'WG: The printer' };

  test.each([
    ['References', { ...forward, references: ['old@example.test'] }, known({ messages: [knownMessage()] })],
    [
      'a tag',
      { subject: `Fwd: [#${ref}] The printer` },
      known({
        tickets: [{ ref, ticket: knownTicket() }],
        participants: [{ ticketId: 't0', address: 'ada@example.test' }],
      }),
    ],
  ])('gets a ticket of its own in spite of %s, linked with the old one', (_, given, state) => {
    const decision = decideOne(given, state, maker());
    expect(decision?.outcome.outcome).toBe('ticket_opened');
    expect(decision?.links).toEqual([{ ticketId: decision?.ticket?.id, otherId: 't0', reason: 'forward' }]);
  });

  test('to the address of a ticket joins it', () => {
    const address = replyAddress(key, ref, 'support@example.test') ?? '';
    const state = known({ replyKey: key, tickets: [{ ref, ticket: knownTicket() }] });
    expect(decideOne({ ...forward, ...to(address) }, state, maker())?.message?.ticketId).toBe('t0');
  });

  test('that names mail which is not here is no orphan, and awaits nothing', () => {
    const decision = decideOne({ ...forward, references: ['missing@x'] }, known(), maker());
    expect(decision?.ticket?.isOrphan).toBe(false);
    expect(decision?.message?.missing).toEqual([]);
  });

  test('an answer to a forward is an answer', () => {
    const state = known({ messages: [knownMessage()] });
    expect(
      decideOne({ subject: 'AW: WG: x', inReplyTo: ['old@example.test'] }, state, maker())?.message?.ticketId,
    ).toBe('t0');
  });
});

describe('a closed ticket', () => {
  const closed = (daysAgo: number) =>
    known({
      messages: [
        knownMessage({ ticket: knownTicket({ status: 'closed', closedAtMs: arrivedAtMs - daysAgo * dayMs }) }),
      ],
    });
  const reply = { inReplyTo: ['old@example.test'] };
  const thirtyDays = maker({ rules: { senderPerHourMax: null, senderExempt: [], reopenMs: 30 * dayMs } });

  test('is opened again by the answer of a person, however long ago', () => {
    const decision = decideOne(reply, closed(4000), maker());
    expect(decision).toMatchObject({ ref, answered: 't0', outcome: { outcome: 'reply_added', ticketId: 't0' } });
  });

  test('stays closed when a machine answers, or we ourselves', () => {
    const machines: Partial<ParsedMessage>[] = [
      { kind: 'auto_reply' },
      { headers: [['auto-submitted', 'auto-generated']] },
      { headers: [['precedence', 'bulk']] },
    ];
    for (const given of [...machines, from('support@example.test')]) {
      const decision = decideOne({ ...reply, ...given }, closed(1), maker());
      expect(decision).toMatchObject({ answered: null, outcome: { outcome: 'reply_added', ticketId: 't0' } });
    }
  });

  test('is opened again within reopen_days, and continued by a new ticket after them', () => {
    expect(decideOne(reply, closed(29), thirtyDays)?.answered).toBe('t0');
    const late = decideOne(reply, closed(31), thirtyDays);
    expect(late?.outcome.outcome).toBe('ticket_opened');
    expect(late?.links).toEqual([{ ticketId: late?.ticket?.id, otherId: 't0', reason: 'continues' }]);
  });

  test('that is continued gets no second new ticket: a later answer joins the one that continues it', () => {
    const open = knownTicket({ id: 'next', ref: 'NEXT' });
    const base = closed(31);
    const decision = decideOne(reply, { ...base, continuations: [{ closedId: 't0', ticket: open }] }, thirtyDays);
    expect(decision).toMatchObject({
      ref: 'NEXT',
      ticket: null,
      outcome: { outcome: 'reply_added', ticketId: 'next' },
    });
    expect(decision?.message?.threadRule).toBe('in_reply_to');
    // Likewise within one window.
    const two = decide([mailArrival(1, reply), mailArrival(2, reply)], base, thirtyDays);
    expect(two.map(({ outcome }) => outcome.outcome)).toEqual(['ticket_opened', 'reply_added']);
    expect(two[1]?.outcome.ticketId).toBe(two[0]?.ticket?.id);
  });

  test('is followed along what continues it: to an open one, one that may be opened again, or the last one', () => {
    const over = (id: string, days: number) =>
      knownTicket({ id, ref: id, status: 'closed', closedAtMs: arrivedAtMs - days * dayMs });
    const chain = (last: ReturnType<typeof knownTicket>) => ({
      ...closed(90),
      continuations: [
        { closedId: 't0', ticket: over('second', 60) },
        { closedId: 'second', ticket: last },
        { closedId: last.id, ticket: over('second', 60) },
      ],
    });
    expect(decideOne(reply, chain(knownTicket({ id: 'third' })), thirtyDays)?.outcome.ticketId).toBe('third');
    expect(decideOne(reply, chain(over('third', 10)), thirtyDays)).toMatchObject({
      answered: 'third',
      changes: [{ what: 'reopened', ref: 'third' }],
    });
    const late = decideOne(reply, chain(over('third', 40)), thirtyDays);
    expect(late?.links).toEqual([{ ticketId: late?.ticket?.id, otherId: 'third', reason: 'continues' }]);
  });

  test('gets a late automatic answer all the same', () => {
    const decision = decideOne({ ...reply, kind: 'auto_reply' }, closed(31), thirtyDays);
    expect(decision).toMatchObject({ ticket: null, outcome: { ticketId: 't0' } });
  });
});
