/**
 * Forged delivery reports (RFC 3464) and receipts (RFC 8098): who has neither a token nor a Message-ID of the
 * conversation and its people reaches no ticket; who has them adds a report, and alters nothing else.
 */
import { expect, test } from 'vitest';
import { type Letter, threadScene } from '../../mail/thread/thread-scene.ts';

const ada = 'ada@customer.test';
const question = 'question@customer.test';

/** A report of a stranger about that message, which `failed` did not get. */
function report(kind: 'delivery-status' | 'disposition-notification', about: string, failed: string): Letter {
  const type = `Content-Type: multipart/report; report-type=${kind}; boundary=b`;
  const status = [
    ...[`--b`, `Content-Type: message/${kind}`, '', 'Reporting-MTA: dns; evil.test', ''],
    ...[`Final-Recipient: rfc822; ${failed}`, 'Action: failed', 'Status: 5.1.1', `Original-Message-ID: <${about}>`],
    'Disposition: manual-action/MDN-sent-manually; displayed',
  ];
  const original = [
    '--b',
    'Content-Type: text/rfc822-headers',
    '',
    `From: ${failed}`,
    `Message-ID: <${about}>`,
    '',
    '--b--',
  ];
  return {
    ...{ from: 'mailer-daemon@evil.test', subject: 'Undelivered Mail Returned to Sender', fields: [type] },
    text: ['--b', '', 'BUY NOW', ...status, '', ...original].join('\r\n'),
  };
}

test('a stranger who knows the number of a ticket, or a Message-ID and none of its people, reaches none', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [first] = await scene.arrive({ from: ada, id: question });
  const tag = `Undelivered Mail [#${first?.ref}]`;
  const places = await scene.arrive(
    { ...report('delivery-status', 'guessed@desk.test', ada), subject: tag },
    { ...report('delivery-status', 'guessed@desk.test', ada), from: 'postmaster@customer.test', subject: tag },
    report('delivery-status', question, 'mallory@evil.test'),
    { ...report('disposition-notification', question, 'mallory@evil.test'), references: question },
  );
  for (const place of places) expect(place).toMatchObject({ outcome: 'recorded', ticketId: null });
});

test('a report reopens no ticket, and changes neither requester nor participants, whatever it names', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [first] = await scene.arrive({ from: ada, id: question });
  const before = scene.ticket(first?.ticketId ?? null, 'close');
  const cc = 'mallory@evil.test';
  const places = await scene.arrive(
    { ...report('delivery-status', question, ada), cc },
    { ...report('disposition-notification', question, ada), from: ada, cc },
    { ...report('delivery-status', 'any@x', ada), cc, to: scene.replyAddress(first?.ref ?? null) },
  );
  expect(places.map(({ ticketId }) => ticketId)).toContain(first?.ticketId);
  expect(scene.ticket(first?.ticketId ?? null)).toEqual(before);
  expect(before).toMatchObject({ status: 'closed' });
  const [own] = await scene.arrive({ from: 'mallory@evil.test', subject: `Maintenance [#${first?.ref}]` });
  expect(own).toMatchObject({ outcome: 'ticket_opened' });
  expect(own?.ticketId).not.toBe(first?.ticketId);
});

test('honest: a report with a token, or about a message that the helpdesk sent, is in the ticket', async () => {
  await using stack = new AsyncDisposableStack();
  const scene = await threadScene(stack);
  const [first] = await scene.arrive({ from: ada, id: question });
  const answer = { from: 'support@desk.test', to: ada, id: 'answer@desk.test', inReplyTo: question };
  const [sent, returned, toToken] = await scene.arrive(answer, report('delivery-status', 'answer@desk.test', ada), {
    ...report('delivery-status', 'unknown@desk.test', ada),
    to: scene.replyAddress(first?.ref ?? null),
  });
  expect([sent?.ticketId, returned?.ticketId, toToken?.ticketId]).toEqual([1, 2, 3].map(() => first?.ticketId));
});
