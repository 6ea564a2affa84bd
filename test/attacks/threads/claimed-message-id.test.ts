/**
 * An attacker sends a mail with the Message-ID of a circular, to get the answers of its readers into his ticket: each
 * answer opens a ticket of its own instead, which is linked, whomever the attacker names, forges or answers before.
 */
import { expect, test } from 'vitest';
import { type Letter, threadScene } from '../../mail/thread/thread-scene.ts';

const circular = 'circular-1@news.company.test';
const news = 'news@company.test';
const mallory = 'mallory@evil.test';
const readers = Array.from({ length: 5 }, (_, number) => `reader-${number}@reader-${number}.test`);

/** To the helpdesk alone, where the circular has it in Reply-To; or to all. */
const toHelpdesk = (from: string): Letter => ({
  from,
  subject: 'Re: Maintenance',
  inReplyTo: circular,
  references: circular,
});
const toAll = (from: string): Letter => ({ ...toHelpdesk(from), to: news, cc: 'support@desk.test' });

const claim: Letter = { from: mallory, id: circular };
const own: Letter = { from: mallory, id: 'own@evil.test', cc: readers.join(', ') };

test.each<readonly [string, readonly Letter[]]>([
  ['claims the Message-ID of the circular', [claim]],
  [
    'claims it in a hundred and fifty mails',
    Array.from({ length: 150 }, (_, n) => ({ ...claim, subject: `Mail ${n}` })),
  ],
  ['names all its readers in Cc', [{ ...claim, cc: readers.join(', ') }]],
  ['names its author in Cc', [{ ...claim, cc: news }]],
  ['names its author in Reply-To', [{ ...claim, replyTo: news }]],
  ['has the name of its author, and the domain of none', [{ ...claim, from: '"Company News" <news@evil.test>' }]],
  ['answers it before it arrives, and names its readers', [{ ...own, inReplyTo: circular }]],
  [
    'forges an answer of the helpdesk with that Message-ID',
    [own, { from: 'support@desk.test', to: mallory, cc: readers.join(', '), id: circular, inReplyTo: 'own@evil.test' }],
  ],
])(
  'an attacker %s: no answer comes into his ticket, and answers to its author come into no other',
  async (_, letters) => {
    await using stack = new AsyncDisposableStack();
    const scene = await threadScene(stack);
    const claims = await scene.arrive(...letters);
    const answers = [
      ...(await scene.arrive(...readers.map(toHelpdesk))),
      ...(await scene.arrive(...readers.map(toAll))),
    ];
    const caught = new Set(claims.map(({ ticketId }) => ticketId));
    expect(answers.filter(({ ticketId }) => caught.has(ticketId))).toEqual([]);
    expect(answers.map(({ outcome }) => outcome)).toContain('ticket_opened');
  },
);

test.each(['hotmail.it', 'yahoo.es', 'gmx.us', 'live.de', 'yahoo.co.in', 'gmail.com'])(
  'an attacker at %s, a provider of addresses for all, is no colleague of a reader whom he names',
  async (domain) => {
    await using stack = new AsyncDisposableStack();
    const scene = await threadScene(stack);
    const [claimed] = await scene.arrive({ from: `mallory@${domain}`, cc: `bob@${domain}`, id: circular });
    const [answer] = await scene.arrive(toAll(`bob@${domain}`));
    expect(answer?.outcome).toBe('ticket_opened');
    expect(answer?.ticketId).not.toBe(claimed?.ticketId);
  },
);

test('the answers are linked with the ticket of the claim, so that an agent sees the relation', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [claimed] = await scene.arrive(claim);
  const [answer] = await scene.arrive(toHelpdesk(readers[0] ?? ''));
  expect(scene.links(answer?.ticketId ?? null, claimed?.ticketId ?? null)).toEqual(['same_thread']);
});

test('of two messages with that Message-ID, answers to the author join the one of the author', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [claimed] = await scene.arrive({ ...claim, cc: readers.join(', ') });
  const [genuine] = await scene.arrive({ from: news, id: circular, subject: 'Maintenance on Sunday' });
  expect(genuine?.ticketId).not.toBe(claimed?.ticketId);
  const answers = await scene.arrive(...readers.map(toAll));
  expect(answers.map(({ ticketId }) => ticketId)).toEqual(readers.map(() => genuine?.ticketId));
});

test('a hundred and fifty claims of different senders do not hide the genuine message, which came later', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  await scene.arrive(...Array.from({ length: 150 }, (_, n) => ({ ...claim, from: `m${n}@evil${n}.test` })));
  const ada = 'ada@customer.test';
  const [genuine] = await scene.arrive({ from: ada, id: circular, cc: 'carl@other.test' });
  const answer = { from: 'carl@other.test', to: `${ada}, support@desk.test`, inReplyTo: circular, id: 'c@other.test' };
  const [answered] = await scene.arrive(answer);
  expect(answered?.ticketId).toBe(genuine?.ticketId);
});

test('an attacker answers the circular before it arrives, and names its author: it does not come into his ticket', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [caught] = await scene.arrive({ ...own, cc: news, inReplyTo: circular });
  const [genuine] = await scene.arrive({ from: news, id: circular });
  expect(genuine?.ticketId).not.toBe(caught?.ticketId);
  expect(scene.links(genuine?.ticketId ?? null, caught?.ticketId ?? null)).toEqual(['same_thread']);
});

test('honest answers beside it join: the author himself, who writes to him, a colleague in Cc, a token, a tag', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const ada = 'ada@customer.test';
  const [first] = await scene.arrive({ from: ada, cc: 'bob@customer.test', id: 'first@customer.test' });
  const answer = { inReplyTo: 'first@customer.test', subject: 'Re: Maintenance' };
  const answers = await scene.arrive(
    { from: ada, ...answer },
    { from: 'cy@elsewhere.test', to: ada, cc: 'support@desk.test', ...answer },
    { from: 'bob@customer.test', ...answer },
    { from: 'dora@elsewhere.test', ...answer, to: scene.replyAddress(first?.ref ?? null) },
    { from: 'emil@elsewhere.test', ...answer, subject: `Re: Maintenance [#${first?.ref}]` },
  );
  expect(answers.map(({ ticketId }) => ticketId)).toEqual(answers.map(() => first?.ticketId));
});
