/**
 * Robots that wrote to each other, in what others used.
 *
 * This program sends no message itself: the other half of a loop is the helpdesk that answers each ticket. What can be
 * done here is to open no tickets for machines, and to stop taking mail from one that does not end.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { rowsOf } from '../support/outcomes.ts';
import { boxWith, bytesBelow, mail, mailWith, poll, sceneOfFile, ticketsOf } from './scene.ts';

const at = sceneOfFile({ TICKETMAILD_LIMITS_SENDER_LIMIT_PER_HOUR: '100' });

/** Mail that arrives after its mailbox was set up: the server tells whole seconds. */
const later = () => ({ receivedAt: new Date(Date.now() + 2000) });

test('case 93 (FS#3670): a no-reply robot that answers every message gets one conversation, and no more', async () => {
  const robot = 'Shop <no-reply@robot.test>';
  const automatic = ['Auto-Submitted: auto-replied', 'Precedence: bulk'];
  const { user, mailbox } = await boxWith(at, [
    mail({ id: 'order@robot.test', from: robot, subject: 'Your order', headers: ['Auto-Submitted: auto-generated'] }),
  ]);
  await poll(at, mailbox);
  for (let round = 1; round <= 11; round += 1) {
    // An answer to what the helpdesk answered, which the helpdesk has not seen.
    const headers = [...automatic, `In-Reply-To: <answer-${round}@helpdesk.test>`];
    await at.dovecot.append(user, 'INBOX', [
      mail({ from: robot, subject: 'Re: Re: This address takes no mail', headers }),
    ]);
    await poll(at, mailbox);
  }
  // One that knows what it answers to.
  await at.dovecot.append(user, 'INBOX', [
    mail({ from: robot, subject: 'Re: Your order', headers: [...automatic, 'In-Reply-To: <order@robot.test>'] }),
  ]);
  await poll(at, mailbox);
  expect((await rowsOf(at.on, mailbox)).slice(1, 12).map(({ outcome, reason }) => [outcome, reason])).toEqual(
    Array(11).fill(['recorded', 'auto_reply']),
  );
  expect(await ticketsOf(at, mailbox)).toMatchObject([{ subject: 'Your order', messageCount: 2 }]);
});

test('case 95 (FS#4143): a circle of mail is cut, and its attachments are on the disk once', async () => {
  const user = at.dovecot.newUser();
  const mailbox = await at.on.addMailbox(at.dovecot, user, { addresses: [user] });
  // The other side shows nothing of a machine, but that it does not stop.
  const picture = { type: 'image/png', name: 'logo.png', content: randomBytes(20_000) };
  const circle = Array.from({ length: 400 }, (_, round) =>
    mailWith([{ type: 'text/plain', content: Buffer.from(`Thank you for your message ${round}.`) }, picture], {
      from: 'Desk <desk@other.test>',
      subject: `${'Re: '.repeat(round % 7)}Your message`,
    }),
  );
  await at.dovecot.append(user, 'INBOX', [...circle, mail()], later());
  await poll(at, mailbox);
  const rows = await rowsOf(at.on, mailbox);
  const taken = rows.filter(({ outcome }) => outcome !== 'quarantined');
  // A hundred within an hour; the message after them is from another sender.
  expect(taken).toHaveLength(101);
  expect(rows.at(-1)).toMatchObject({ outcome: 'ticket_opened' });
  expect(new Set(rows.filter(({ outcome }) => outcome === 'quarantined').map(({ reason }) => reason))).toEqual(
    new Set(['sender_flood']),
  );
  expect(await bytesBelow(join(at.on.config.dataDir, 'blobs'))).toBe(picture.content.length);
  // One that has passed through the same servers again and again, and one that comes from ourselves.
  const hops = Array.from(
    { length: 60 },
    (_, hop) => `Received: from a by b with SMTP id ${hop}; Tue, 24 Nov 2026 10:00:00 +0000`,
  );
  await at.dovecot.append(user, 'INBOX', [mail({ headers: hops }), mail({ from: `Desk <${user}>` })], later());
  await poll(at, mailbox);
  expect((await rowsOf(at.on, mailbox)).slice(-2).map(({ outcome, reason }) => [outcome, reason])).toEqual([
    ['quarantined', 'mail_loop'],
    ['quarantined', 'own_address'],
  ]);
});

test('case 96 (OT#1908): the automatic answer of a user who is away opens no ticket', async () => {
  const { user, mailbox } = await boxWith(at, [
    mail({ id: 'question@user.test', from: 'Ada <ada@user.test>', subject: 'The printer' }),
  ]);
  await poll(at, mailbox);
  const away = (headers: readonly string[], subject = 'Out of office: The printer') =>
    mail({ from: 'Ada <ada@user.test>', subject, headers, body: 'I am out of the office until Monday.' });
  await at.dovecot.append(user, 'INBOX', [
    away(['Auto-Submitted: auto-replied (vacation)']),
    away(['X-Autoreply: yes'], 'Abwesenheit: The printer'),
    away(['Precedence: auto_reply']),
    away(['X-Auto-Response-Suppress: All', 'Auto-Submitted: auto-generated'], 'Automatic reply: The printer'),
    away(['Auto-Submitted: auto-replied', 'In-Reply-To: <question@user.test>']),
  ]);
  await poll(at, mailbox);
  const rows = (await rowsOf(at.on, mailbox)).slice(1);
  expect(rows.map(({ outcome }) => outcome)).toEqual([...Array(4).fill('recorded'), 'reply_added']);
  expect(await ticketsOf(at, mailbox)).toMatchObject([{ messageCount: 2 }]);
});
