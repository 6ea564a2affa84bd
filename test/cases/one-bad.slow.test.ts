/**
 * One message that blocked or killed everything, in what others used: here the messages before and after it become
 * tickets, in the same poll.
 */

import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import type { Mailbox } from '../../src/ingest/model.ts';
import { parseMessage } from '../../src/mail/parse.ts';
import { type TestApp, testApp } from '../support/app.ts';
import { startFaultProxy } from '../support/faults/proxy.ts';
import { opened, openInstance } from '../support/instance.ts';
import { messagesOf, outcomesOf, rowsOf } from '../support/outcomes.ts';
import { named } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import {
  boxWith,
  bytesBelow,
  flagged,
  inClear,
  mail,
  mailWith,
  newMessages,
  poll,
  sceneOfFile,
  ticketsOf,
  whileNothingIsStored,
} from './scene.ts';

const at = sceneOfFile({ TICKETMAILD_LIMITS_SENDER_LIMIT_PER_HOUR: '100' });

/** `bad` between two good messages: what became of them, the bad one second. A second poll finds nothing more to do. */
async function between(...bad: readonly Uint8Array[]): Promise<{ readonly mailbox: Mailbox; readonly user: string }> {
  const box = await boxWith(at, [mail(), ...bad, mail()]);
  await poll(at, box.mailbox);
  const rows = await rowsOf(at.on, box.mailbox);
  expect(rows).toHaveLength(bad.length + 2);
  expect([rows[0]?.outcome, rows.at(-1)?.outcome]).toEqual(['ticket_opened', 'ticket_opened']);
  const again = await poll(at, box.mailbox);
  expect(Object.values(again.outcomes).reduce((sum, count) => sum + count)).toBe(0);
  return box;
}

const lines = (line: string, count: number) => `${line}\n`.repeat(count);

/** The program in this process still takes mail. */
const parsed = (text: string) => parseMessage(new Uint8Array(Buffer.from(text.replaceAll('\n', '\r\n'))));

/** Processor time of this process: on a busy machine the clock on the wall says nothing. */
async function tookMs(work: Promise<unknown>): Promise<number> {
  const before = process.cpuUsage();
  await work;
  return process.cpuUsage(before).user / 1000;
}

test('case 43 (ZA#2754): a message that the parser gives up on is kept aside, and the rest of the inbox comes in', async () => {
  await using on = await testApp(null, {
    TICKETMAILD_MESSAGE_MAX_SIZE_MB: '16',
    TICKETMAILD_MESSAGE_PARSE_MEMORY_MB: '64',
  });
  // What this takes to be read kills its thread.
  const bad = mail({ headers: ['Content-Type: text/html'], body: '<p>a<b>'.repeat(1_600_000) });
  const { mailbox, user } = await boxWith({ on, dovecot: at.dovecot }, [mail(), bad, mail()]);
  await poll({ on }, mailbox);
  expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened', expect.stringMatching(givenUp), '3 ticket_opened']);
  expect(bad.equals(await sourceOf(on, mailbox, 2))).toBe(true);
  expect(await flagged(at, user)).toEqual([1, 3]);
});

test('case 44 (ZA#1877): parts within parts, thousands deep, overflow no stack', async () => {
  const depth = 4000;
  const deep = Array.from(
    { length: depth },
    (_, level) => `--b${level}\nContent-Type: multipart/mixed; boundary=b${level + 1}\n`,
  );
  const messages = Array.from({ length: 3000 }, () => 'Content-Type: message/rfc822\n');
  await between(
    mail({ headers: ['Content-Type: multipart/mixed; boundary=b0'], body: deep.join('\n') }),
    mail({ headers: ['Content-Type: message/rfc822'], body: messages.join('\n') }),
    mail({ headers: [`To: ${'group:'.repeat(5000)};`], body: '' }),
    mail({ headers: ['Content-Type: text/html'], body: '<div>'.repeat(50_000) }),
  );
});

test('case 45 (ZA#345): invalid mail of all sorts ends no fetch', async () => {
  const { mailbox } = await between(
    randomBytes(4000),
    Buffer.from(''),
    Buffer.from('\0\0\0\r\n\r\n\0'),
    Buffer.from('no header at all'),
    Buffer.from('From: \xff\xfe <\x80@\x81>\r\nSubject: =?utf-8?B?%%%?= =?x-none?Q?=ZZ?=\r\n\r\nHi\r\n', 'latin1'),
    mail({ id: null, headers: ['Message-ID: <<@>>', 'Date: yesterday, 25:61', 'From: <', 'To: ,,;:@'] }),
    mail({
      headers: ['Content-Type: text/plain; charset="none-such"', 'Content-Transfer-Encoding: base64'],
      body: '=!=?',
    }),
    mail({ headers: ['Content-Type: multipart/mixed'], body: '--\n--\n' }),
    mail({ headers: ['Content-Type: ; ; =', 'Content-Disposition: attachment; filename*0*=%; filename*=x'] }),
  );
  // Broken as it is, people can read it.
  const unread = (await rowsOf(at.on, mailbox)).filter(({ reason }) => reason?.startsWith('parse_') === true);
  expect(unread).toEqual([]);
  expect((await ticketsOf(at, mailbox)).length).toBeGreaterThan(8);
});

test('case 47 (ZA#6136): looking for signatures and quotes takes no longer than the message is long', async () => {
  const bodies = [
    lines('-- ', 200_000),
    lines(`${'>'.repeat(200)} quoted`, 5000),
    lines('On Tue, Nov 24, 2026 at 10:00 AM Ada <ada@example.test>', 20_000),
    'Am 24.11.2026 um 10:00 schrieb '.repeat(40_000),
    `${'_'.repeat(1_000_000)}\n`,
    lines('From: a\nSent: b\nTo: c\nSubject: d', 30_000),
    `Mit freundlichen Grüßen\n${'- '.repeat(500_000)}`,
  ];
  for (const body of bodies) {
    for (const type of ['text/plain', 'text/html']) {
      const source = mail({ headers: [`Content-Type: ${type}; charset=utf-8`], body }).toString();
      expect(await tookMs(parsed(source.replaceAll('\r\n', '\n'))), `${type} ${body.slice(0, 40)}`).toBeLessThan(2000);
    }
  }
});

test('case 48 (ZA#4463): a message full of blanks is read in no time', async () => {
  const blanks = [
    ' '.repeat(1_000_000),
    '\t \u00a0'.repeat(200_000),
    '\n'.repeat(500_000),
    lines(' '.repeat(900), 1000),
  ];
  for (const blank of blanks) {
    const text = mail({ headers: ['Content-Type: text/plain; charset=utf-8'], body: `before${blank}after` }).toString();
    expect(await tookMs(parsed(text.replaceAll('\r\n', '\n')))).toBeLessThan(2000);
    const html = mail({
      headers: ['Content-Type: text/html; charset=utf-8'],
      body: `<p>before${blank}${'&nbsp;<br>'.repeat(20_000)}after</p>`,
    });
    expect(await tookMs(parsed(html.toString().replaceAll('\r\n', '\n')))).toBeLessThan(2000);
  }
  await between(mail({ subject: `a${' '.repeat(100_000)}b`, body: ' '.repeat(2_000_000) }));
});

test('case 50 (OT#3504): a message without a From is a ticket, and no error in any run', async () => {
  const { mailbox } = await between(
    mail({ from: null, subject: 'Nobody' }),
    mail({ from: null, id: null, headers: ['From: '] }),
  );
  expect(await outcomesOf(at.on, mailbox)).toEqual([1, 2, 3, 4].map((uid) => `${uid} ticket_opened`));
  expect(at.on.lines.filter((line) => line['mailbox'] === mailbox.name && line['level'] === 'error')).toEqual([]);
});

test('case 51 (OT#6441): a sender whose mail is not let in stops no other else', async () => {
  const { user, mailbox } = await boxWith(at, []);
  // More than a sender may; they arrive after the mailbox was set up, and the server tells whole seconds.
  const flood = newMessages(150, { from: 'Flood <flood@51.test>' });
  await at.dovecot.append(user, 'INBOX', [mail(), ...flood, mail()], { receivedAt: new Date(Date.now() + 2000) });
  await poll(at, mailbox);
  const rows = await rowsOf(at.on, mailbox);
  expect(rows.map(({ outcome, reason }) => reason ?? outcome)).toEqual([
    ...Array(101).fill('ticket_opened'),
    ...Array(50).fill('sender_flood'),
    'ticket_opened',
  ]);
  expect((await poll(at, mailbox)).outcomes).toMatchObject({ ticket_opened: 0, quarantined: 0 });
});

test('case 52 (FS#4293): a message with hundreds of PDFs is stored whole, and stops nothing', async () => {
  const files = Array.from({ length: 400 }, (_, index) => ({
    type: 'application/pdf',
    name: `scan-${index}.pdf`,
    content: Buffer.concat([Buffer.from('%PDF-1.7\n'), randomBytes(2000)]),
  }));
  const { mailbox } = await between(mailWith(files));
  const stored = (await messagesOf(at.on, mailbox))[1];
  expect(stored?.attachments.map(({ name }) => name)).toEqual(files.map(({ name }) => name));
  const first = await at.on.app.blobs.read(stored?.attachments[399]?.sha256 ?? '');
  expect(files[399]?.content.equals(first)).toBe(true);
});

test('case 53 (CW#5081): the same message and its attachments, seen again and again, fill no disk and no line', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  const attachment = { type: 'application/pdf', name: 'scan.pdf', content: randomBytes(500_000) };
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', [mailWith([attachment]), mailWith([attachment])]);
  const mailbox = await at.on.addMailbox(at.dovecot, user, {
    ...inClear(proxy.port, user),
    postAction: { kind: 'leave' },
  });
  const blobs = join(at.on.config.dataDir, 'blobs');
  const before = await bytesBelow(blobs);
  await poll(at, mailbox);
  const [onceBlobs, once] = [await bytesBelow(blobs), await bytesBelow(at.on.config.dataDir)];
  expect(onceBlobs - before).toBe(attachment.content.length);
  const fetched = proxy.bytesFromServer;
  for (let run = 0; run < 10; run += 1) await poll(at, mailbox);
  expect(proxy.bytesFromServer - fetched).toBeLessThan(30_000);
  expect(await bytesBelow(at.on.config.dataDir)).toBe(once);
  // The same again while nothing can be stored.
  await at.dovecot.append(user, 'INBOX', [mailWith([attachment])]);
  await whileNothingIsStored(at, async () => {
    for (let run = 0; run < 4; run += 1)
      await expect(poll(at, mailbox)).rejects.toMatchObject({ code: 'database_failed' });
  });
  await poll(at, mailbox);
  expect(await bytesBelow(blobs)).toBe(onceBlobs);
  expect(await ticketsOf(at, mailbox)).toHaveLength(3);
});

test('case 54 (Peppermint-Lab/peppermint#297): a message of HTML alone has a text, and ends no process', async () => {
  await using instance = await openInstance();
  const user = at.dovecot.newUser();
  const html =
    '<html><body><p>The <b>printer</b> is on fire.</p><table><tr><td>Room</td><td>7</td></tr></table></body></html>';
  await at.dovecot.append(user, 'INBOX', [
    mail({ headers: ['MIME-Version: 1.0', 'Content-Type: text/html'], body: html }),
  ]);
  const mailbox = await instance.add(at.dovecot, user);
  const daemon = instance.start();
  await daemon.waitFor(named('message.ticket_opened'));
  // Case 55, in the same process.
  await at.dovecot.append(user, 'INBOX', newMessages(2, { subject: 'Re: [#999999-ABCDEF] Nobody knows it' }));
  await until('those after it', () => opened(daemon) === 3);
  const [first] = await messagesOf(instance, mailbox);
  expect(first?.text.replaceAll(/\s+/g, ' ').trim()).toMatch(/^The printer is on fire\. Room 7$/);
  expect(first?.html).toContain('<b>printer</b>');
});

test('case 55 (Peppermint-Lab/peppermint#503): a reply to an unknown ticket number is a ticket of its own', async () => {
  const { mailbox } = await between(
    mail({ subject: 'Re: [#261124-7KQ3MX] The printer', headers: ['In-Reply-To: <gone@example.test>'] }),
    mail({ subject: 'Re: Ticket #0 [#] [#-] [#999999999999999999999]' }),
  );
  expect(await outcomesOf(at.on, mailbox)).toEqual([1, 2, 3, 4].map((uid) => `${uid} ticket_opened`));
});

test('case 56 (helpyio/helpy#889): a message that the parser is stuck in is given up after a while, with its source', async () => {
  await using on = await testApp(null, { TICKETMAILD_MESSAGE_PARSE_TIMEOUT_S: '1' });
  const { mailbox, user } = await boxWith({ on, dovecot: at.dovecot }, [mail()]);
  // On a busy machine even a small message can take that long: then the poll fails as a whole, and is repeated.
  const polled = () => until('a poll ends', () => poll({ on }, mailbox).catch(() => null));
  await polled();
  // Nearly as large as a message may be, and full of what takes long: some seconds.
  const body = `${'<div>'.repeat(98)}${'<b>x</b>\n'.repeat(5_000_000)}`;
  const stuck = mail({ headers: ['Content-Type: text/html'], body });
  await at.dovecot.append(user, 'INBOX', [stuck, mail()]);
  await polled();
  expect(await outcomesOf(on, mailbox)).toEqual(['1 ticket_opened', expect.stringMatching(givenUp), '3 ticket_opened']);
  expect(stuck.equals(await sourceOf(on, mailbox, 2))).toBe(true);
});

const givenUp = /^2 quarantined \(parse_(timeout|memory|failed)\)$/;

async function sourceOf({ app }: TestApp, mailbox: Mailbox, uid: number): Promise<Buffer> {
  const [place] = await app.store.storedSources(mailbox.id, [uid]);
  if (place === undefined) throw new Error('its source was not kept');
  return Buffer.from(await app.raw.read(place));
}
