/**
 * An attacker sends a hundred messages an hour in the name of a customer, to have those of the customer quarantined by
 * the limit of senders: replies that a token or a Message-ID ties to their ticket still arrive. The owner of one token
 * floods its ticket up to the limit, and silences neither other tickets nor the requester.
 */
import { expect, test } from 'vitest';
import { type Letter, type Place, threadScene } from '../../mail/thread/thread-scene.ts';

const limited = { senderPerHourMax: 100, senderExempt: [], reopenMs: null };
const ada = 'ada@customer.test';
const forged: readonly Letter[] = Array.from({ length: 120 }, (_, n) => ({ from: ada, subject: `Buy ${n}` }));
const reasonsOf = (places: readonly Place[]) => places.map(({ outcome, reason }) => reason ?? outcome);
const countOf = (places: readonly Place[], what: string) => reasonsOf(places).filter((one) => one === what).length;

async function customerScene(stack: AsyncDisposableStack) {
  const scene = await threadScene(stack, limited);
  const [first, second] = await scene.arrive(
    { from: ada, id: 'first@customer.test' },
    { from: 'bob@elsewhere.test', id: 'second@elsewhere.test' },
  );
  return { ...scene, token: scene.replyAddress(first?.ref ?? null), other: scene.replyAddress(second?.ref ?? null) };
}

test('a hundred forged messages do not stop the replies of the customer, with a token or to a message of the ticket', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await customerScene(stack);
  const flood = await scene.arrive(...forged);
  expect([countOf(flood, 'ticket_opened'), countOf(flood, 'sender_flood')]).toEqual([99, 21]);
  const replies = await scene.arrive(
    { from: ada, to: scene.token },
    { from: ada, inReplyTo: 'first@customer.test' },
    { from: ada, subject: 'Something new' },
  );
  expect(reasonsOf(replies)).toEqual(['reply_added', 'reply_added', 'sender_flood']);
});

test('replies in tickets do not count for the sender: a customer who writes much in one opens another', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await customerScene(stack);
  await scene.arrive(...Array.from({ length: 100 }, () => ({ from: ada, to: scene.token })));
  expect(reasonsOf(await scene.arrive({ from: ada, subject: 'Something new' }))).toEqual(['ticket_opened']);
});

test('a token floods its own ticket up to the limit, from any number of senders; the requester and other tickets are heard', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await customerScene(stack);
  const strangers = Array.from({ length: 130 }, (_, n) => ({ from: `stranger-${n}@evil-${n}.test`, to: scene.token }));
  const flood = [...(await scene.arrive(...strangers.slice(0, 60))), ...(await scene.arrive(...strangers.slice(60)))];
  expect([countOf(flood, 'reply_added'), countOf(flood, 'ticket_flood')]).toEqual([100, 30]);
  const heard = await scene.arrive(
    { from: ada, to: scene.token },
    { from: ada, inReplyTo: 'first@customer.test' },
    { from: 'bob@elsewhere.test', to: scene.other },
    { from: 'stranger-1@evil-1.test', to: scene.other },
    { from: 'dora@elsewhere.test', subject: 'Something new' },
  );
  expect(reasonsOf(heard)).toEqual(['reply_added', 'reply_added', 'reply_added', 'reply_added', 'ticket_opened']);
});

test('forged reports with a token flood its ticket up to ten times the limit, and do not count for replies', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack, { ...limited, senderPerHourMax: 10 });
  const [first] = await scene.arrive({ from: ada, id: 'first@customer.test' });
  const token = scene.replyAddress(first?.ref ?? null);
  const report = ['Content-Type: multipart/report; report-type=delivery-status; boundary=b'];
  const reports = Array.from({ length: 130 }, (_, n) => ({
    from: `MAILER-DAEMON@evil-${n}.test`,
    ...{ to: token, subject: 'Undelivered Mail Returned to Sender', fields: report },
    text: `--b\r\n\r\nBUY NOW ${n}\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nReporting-MTA: dns; x\r\n\r\nFinal-Recipient: rfc822; m@evil.test\r\nAction: failed\r\nStatus: 5.1.1\r\n--b--`,
  }));
  const flood = [...(await scene.arrive(...reports.slice(0, 60))), ...(await scene.arrive(...reports.slice(60)))];
  expect([countOf(flood, 'reply_added'), countOf(flood, 'ticket_flood')]).toEqual([100, 30]);
  const heard = await scene.arrive({ from: ada, to: token }, { from: 'agent@desk.test', to: token });
  expect(reasonsOf(heard)).toEqual(['reply_added', 'reply_added']);
});

test('references in the name of the customer are limited apart from the token: forging them does not silence it', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await customerScene(stack);
  const flood = await scene.arrive(
    ...Array.from({ length: 130 }, () => ({ from: ada, inReplyTo: 'first@customer.test' })),
  );
  expect([countOf(flood, 'reply_added'), countOf(flood, 'ticket_flood')]).toEqual([100, 30]);
  expect(reasonsOf(await scene.arrive({ from: ada, to: scene.token }))).toEqual(['reply_added']);
});

test('a tag and a missing message, which a forged From is enough for, count for the sender', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await customerScene(stack);
  await scene.arrive(...forged);
  const [first] = [scene.placeOf(1)];
  const claims = await scene.arrive(
    { from: ada, subject: `[#${first.ref}]` },
    { from: ada, inReplyTo: 'missing@x.test' },
  );
  expect(reasonsOf(claims)).toEqual(['sender_flood', 'sender_flood']);
});
