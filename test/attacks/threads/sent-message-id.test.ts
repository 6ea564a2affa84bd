/**
 * An attacker knows or guesses the Message-ID of a mail that the helpdesk sent (`sent_message`): as the parent of his
 * mail it takes him into no ticket of others, and as his own id it catches no answer.
 */
import { expect, test } from 'vitest';
import { type Letter, threadScene } from '../../mail/thread/thread-scene.ts';

const [ada, mallory, sent] = ['ada@customer.test', 'mallory@evil.test', '42.1@desk.test'];
const question: Letter = { from: ada, cc: 'bob@elsewhere.test', subject: 'The printer' };

/** A ticket of Ada, in which the helpdesk sent a mail. */
async function answered(stack: AsyncDisposableStack) {
  const scene = await threadScene(stack);
  const [first] = await scene.arrive(question);
  const ticketId = first?.ticketId ?? null;
  scene.noteSent(ticketId, sent);
  return { scene, ticketId };
}

test.each<readonly [string, Partial<Letter>]>([
  ['names it', {}],
  ['names it in References alone', { references: sent }],
  ['names it as one of the domain of the customer', { from: 'eve@customer.test' }],
  ['has the display name of the customer', { from: `"Ada Lovelace" <${mallory}>` }],
  ['has a Reply-To of his own', { replyTo: 'other@evil.test' }],
])('a stranger %s: a ticket of his own, linked', async (_, given) => {
  await using stack = new AsyncDisposableStack();
  const { scene, ticketId } = await answered(stack);
  const id = given.references === undefined ? { inReplyTo: sent } : {};
  const [place] = await scene.arrive({ from: mallory, ...id, ...given });
  expect(place?.outcome).toBe('ticket_opened');
  expect(place?.ticketId).not.toBe(ticketId);
  expect(scene.links(place?.ticketId ?? null, ticketId)).toEqual(['same_thread']);
});

test('a mail with that Message-ID catches no answer, whomever it names, before or after the helpdesk notes it', async () => {
  await using stack = new AsyncDisposableStack();
  const { scene, ticketId } = await answered(stack);
  const claims = await scene.arrive(
    { from: mallory, id: sent, cc: `${ada}, bob@elsewhere.test` },
    { from: mallory, id: sent, replyTo: ada },
  );
  const toAll = { inReplyTo: sent, cc: mallory };
  const answers = await scene.arrive({ from: ada, ...toAll }, { from: 'bob@elsewhere.test', ...toAll });
  expect(answers.map((place) => place.ticketId)).toEqual([ticketId, ticketId]);
  expect(claims.map((place) => place.ticketId)).not.toContain(ticketId);
});

test('a forged answer merges no tickets, and a forged report reopens none', async () => {
  await using stack = new AsyncDisposableStack();
  const { scene, ticketId } = await answered(stack);
  const [own] = await scene.arrive({ from: mallory, cc: ada, inReplyTo: 'lost@evil.test', id: 'own@evil.test' });
  await scene.arrive({ from: ada, inReplyTo: sent, references: `own@evil.test ${sent}` });
  expect(scene.ticket(own?.ticketId ?? null)).toMatchObject({ status: 'open' });
  scene.ticket(ticketId, 'close');
  await scene.arrive({
    ...{ from: 'mailer-daemon@evil.test', inReplyTo: sent, subject: 'Undelivered Mail Returned to Sender' },
    fields: ['Auto-Submitted: auto-replied', 'X-Failed-Recipients: ada@customer.test'],
  });
  expect(scene.ticket(ticketId)).toMatchObject({ status: 'closed' });
});

test('honest: answers of the customer and of who was named in Cc join, with or without angle brackets in the row', async () => {
  await using stack = new AsyncDisposableStack();
  const { scene, ticketId } = await answered(stack);
  scene.noteSent(ticketId, '<42.2@desk.test>');
  const answers = await scene.arrive(
    { from: ada, inReplyTo: sent, subject: 'Re: another subject' },
    { from: 'bob@elsewhere.test', inReplyTo: '42.2@desk.test' },
  );
  expect(answers).toMatchObject([1, 2].map(() => ({ outcome: 'reply_added', ticketId })));
});
