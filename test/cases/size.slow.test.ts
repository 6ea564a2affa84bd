/**
 * Sizes that were too much for what others used: here memory stays flat, large mail comes in, and what is too large is
 * kept where people see it.
 */
import { hash, randomBytes } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { openHastily, plainTo, tookMs } from '../adapters/imap/setting.ts';
import { startFaultProxy } from '../support/faults/proxy.ts';
import { metrics, opened, openInstance, readiness } from '../support/instance.ts';
import { messagesOf, outcomesOf } from '../support/outcomes.ts';
import type { Daemon } from '../support/processes/daemon.ts';
import { failureOf, until } from '../support/promises.ts';
import { boxWith, inClear, mail, mailWith, poll, sceneOfFile, ticketsOf } from './scene.ts';

const at = sceneOfFile({ TICKETMAILD_MESSAGE_BATCH_MESSAGES_MAX: '10' });

const megabyte = 1_000_000;

/** The most memory that a process has had, in megabytes. */
async function peakMb({ pid }: Daemon): Promise<number> {
  const [, kilobytes = ''] = /^VmHWM:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8')) ?? [];
  return Number(kilobytes) / 1000;
}

const file = (megabytes: number) => ({
  type: 'application/zip',
  name: 'backup.zip',
  content: randomBytes(megabytes * megabyte),
});

/** A message whose attachment is the same piece of a megabyte again and again, which is quickly made. */
function endless(megabytes: number) {
  // Whole lines of base64.
  const piece = randomBytes(57 * 17_544);
  const content = Buffer.concat(Array.from({ length: megabytes }, () => piece));
  const small = mailWith([{ type: 'application/zip', name: 'backup.zip', content: piece }]);
  const from = small.indexOf('base64\r\n\r\n') + 10;
  const lines = small.subarray(from, small.indexOf('\r\n--', from) + 2);
  const bytes = Buffer.concat([
    small.subarray(0, from),
    ...Array.from({ length: megabytes }, () => lines),
    small.subarray(from + lines.length),
  ]);
  return {
    bytes,
    attachment: { name: 'backup.zip', sizeBytes: content.length, sha256: hash('sha256', content, 'hex') },
  };
}

test('case 58 (FS#4343): a poll to dozens of large messages holds a few of them in memory, not all', async () => {
  await using instance = await openInstance();
  const user = at.dovecot.newUser();
  // 63 MB in one poll.
  const large = mailWith([file(1)]).toString('latin1');
  const copies = Array.from({ length: 45 }, (_, index) =>
    Buffer.from(large.replace(/^From: .*$/m, `From: Ada <ada-${index}@58.test>`), 'latin1'),
  );
  await at.dovecot.append(user, 'INBOX', copies);
  await instance.add(at.dovecot, user);
  const daemon = instance.start();
  await until('all of them', () => opened(daemon) === 45);
  expect(await peakMb(daemon)).toBeLessThan(400);
});

test('case 59 (FS#3298, FS#4609, FS#4089): an attachment of 35 MB is stored, and the message after it too', async () => {
  await using instance = await openInstance();
  const user = at.dovecot.newUser();
  const source = endless(35);
  await at.dovecot.append(user, 'INBOX', [source.bytes, mail()]);
  const mailbox = await instance.add(at.dovecot, user);
  const daemon = instance.start();
  await until('both', () => opened(daemon) === 2);
  expect(await peakMb(daemon)).toBeLessThan(700);
  expect((await messagesOf(instance, mailbox))[0]?.attachments[0]).toMatchObject(source.attachment);
});

test('case 60 (FS#3166): a mail of 95 MB is imported where it is allowed', async () => {
  await using instance = await openInstance({
    env: { TICKETMAILD_MESSAGE_MAX_SIZE_MB: '100', TICKETMAILD_MESSAGE_PARSE_MEMORY_MB: '800' },
  });
  const source = endless(69);
  expect(source.bytes.length).toBeGreaterThan(94 * megabyte);
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', [source.bytes]);
  const mailbox = await instance.add(at.dovecot, user);
  expect(await instance.command('poll', mailbox.name)).toMatchObject({ code: 0 });
  expect(await outcomesOf(instance, mailbox)).toEqual(['1 ticket_opened']);
  expect((await messagesOf(instance, mailbox))[0]?.attachments[0]).toMatchObject(source.attachment);
});

test('case 61 (ZA#2092): a message that is too large is reported everywhere, and from whom it is', async () => {
  await using instance = await openInstance({
    env: { TICKETMAILD_MESSAGE_MAX_SIZE_MB: '1', TICKETMAILD_MESSAGE_BATCH_MAX_MB: '1' },
  });
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', [mailWith([file(2)], { from: 'Large <large@example.test>' }), mail()]);
  const mailbox = await instance.add(at.dovecot, user);
  const daemon = instance.start();
  const line = await daemon.waitFor(({ event }) => event === 'message.quarantined');
  expect(line).toMatchObject({ level: 'warn', mailbox: mailbox.name, uid: 1, reason: 'too_large' });
  await until('/readyz tells it', async () => (await readiness(daemon)).body.checks.quarantine.status === 'warning');
  expect(await metrics(daemon)).toMatch(/^ticketmaild_quarantine_messages(\{[^}]*too_large[^}]*\})? 1$/m);
  const listed = await instance.command('message', 'list', '--mailbox', mailbox.name);
  expect(listed.stdout).toMatch(/1\s+quarantined\s+too_large/);
  // This program sends no message: a person who answers the sender finds the address in what was kept.
  const output = `${instance.folder}/headers.eml`;
  expect(
    await instance.command('message', 'source', '--mailbox', mailbox.name, '--uid', '1', '--output', output),
  ).toMatchObject({ code: 0 });
  expect(await readFile(output, 'utf8')).toMatch(/^From: Large <large@example\.test>\r\n/);
  await until('the other mail', () => opened(daemon) === 1);
});

test('case 63 (FS#5201): a subject of more than 998 characters is stored whole', async () => {
  const words = Array.from({ length: 2000 }, (_, index) => `word-${index}`).join(' ');
  const folded = words.replaceAll(/((?:\S+ ){8})/g, '$1\r\n ').replaceAll(/ \r\n/g, '\r\n');
  const encoded = Array.from(
    { length: 100 },
    () => `=?utf-8?B?${Buffer.from('Drucker brennt 🔥 ').toString('base64')}?=`,
  ).join('\r\n ');
  const { mailbox } = await boxWith(at, [
    mail({ subject: words }),
    mail({ subject: folded }),
    mail({ subject: encoded }),
  ]);
  await poll(at, mailbox);
  const subjects = (await messagesOf(at.on, mailbox)).map(({ subject }) => subject);
  expect(subjects.map((subject) => subject.trim())).toEqual([words, words, 'Drucker brennt 🔥 '.repeat(100).trim()]);
  expect((await ticketsOf(at, mailbox)).filter(({ subject }) => subject === words)).toHaveLength(2);
});

test('case 65 (CW#6082): what was fetched is not downloaded again, neither by later polls nor after one that broke off', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  const sources = Array.from({ length: 40 }, () => mailWith([{ ...file(0), content: randomBytes(50_000) }]));
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', sources);
  const mailbox = await at.on.addMailbox(at.dovecot, user, inClear(proxy.port, user));
  const total = sources.reduce((sum, source) => sum + source.length, 0);
  proxy.fault = { kind: 'cut_after', bytes: 0.7 * total };
  await expect(poll(at, mailbox)).rejects.toMatchObject({ code: 'connection_lost' });
  proxy.fault = { kind: 'none' };
  await poll(at, mailbox);
  // Of what broke off at most two windows of ten come again.
  expect(proxy.bytesFromServer).toBeLessThan(1.6 * total);
  const before = proxy.bytesFromServer;
  for (let run = 0; run < 20; run += 1) await poll(at, mailbox);
  expect((proxy.bytesFromServer - before) / 20).toBeLessThan(2000);
  expect(await ticketsOf(at, mailbox)).toHaveLength(40);
});

test('case 66 (Webklex/php-imap#457): a message with an attachment of 12 MB is read to its end', async () => {
  const attachment = file(12);
  const text = { type: 'text/plain; charset=utf-8', content: Buffer.from('See the file. Grüße') };
  const { mailbox } = await boxWith(at, [mailWith([text, attachment, { ...text, content: Buffer.from('After it.') }])]);
  await poll(at, mailbox);
  const [stored] = await messagesOf(at.on, mailbox);
  expect(stored?.text).toMatch(/^See the file\. Grüße\s+After it\.\s*$/);
  const read = await at.on.app.blobs.read(stored?.attachments[0]?.sha256 ?? '');
  expect(attachment.content.equals(read)).toBe(true);
});

test('case 68 (postalsys/imapflow#401): a literal of 1 MB that never ends is given up, and so is one that trickles', async () => {
  await using proxy = await startFaultProxy({ host: '127.0.0.1', port: at.dovecot.port });
  const user = at.dovecot.newUser();
  await at.dovecot.append(user, 'INBOX', [mail({ body: 'x'.repeat(76).concat('\n').repeat(14_000) })]);
  proxy.fault = { kind: 'stall_after', bytes: 600_000 };
  await using session = await openHastily(plainTo(proxy.port, { user }));
  const fetching = failureOf(Array.fromAsync(session.fetch([1])));
  expect(await tookMs(fetching)).toBeLessThan(3000);
  expect(await fetching).toMatchObject({ code: 'server_timeout' });
  // The same message, once the line is good again.
  proxy.fault = { kind: 'none' };
  const mailbox = await at.on.addMailbox(at.dovecot, user, inClear(proxy.port, user));
  await poll(at, mailbox);
  expect(await outcomesOf(at.on, mailbox)).toEqual(['1 ticket_opened']);
});
