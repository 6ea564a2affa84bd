/**
 * Texts that came out garbled, cut or not at all, in what others used: here people read what was written.
 */
import { hash } from 'node:crypto';
import { expect, test } from 'vitest';
import type { MessageDetails } from '../../src/ingest/model.ts';
import { testApp } from '../support/app.ts';
import { messagesOf, outcomesOf } from '../support/outcomes.ts';
import { boxWith, mail, mailWith, type On, poll, sceneOfFile, ticketsOf } from './scene.ts';
import { tnefOf } from './tnef.ts';

const at = sceneOfFile();

/** The one message as it is stored. */
async function stored(source: Uint8Array, on: On = at): Promise<MessageDetails> {
  const { mailbox } = await boxWith({ ...at, ...on } as typeof at, [source]);
  await poll(on, mailbox);
  expect(await outcomesOf(on.on, mailbox)).toEqual(['1 ticket_opened']);
  const [message] = await messagesOf(on.on, mailbox);
  if (message === undefined) throw new Error('the mail was not stored');
  return message;
}

/** A message in plain text whose body is `bytes`. */
function inCharset(charset: string, bytes: Uint8Array, headers: readonly string[] = []): Buffer {
  const head = mail({ headers: [...headers, `Content-Type: text/plain; charset=${charset}`], body: '' });
  return Buffer.concat([head.subarray(0, -2), bytes, Buffer.from('\r\n')]);
}

/** Text in a charset of one or two bytes a letter that Node can read and not write. */
function encode(text: string, charset: string): Buffer {
  const decoder = new TextDecoder(charset);
  const bytesOf = new Map<string, Buffer>();
  for (let first = 0x81; first < 0xff; first += 1) {
    for (let second = 0x40; second < 0xff; second += 1) {
      const bytes = Buffer.from([first, second]);
      bytesOf.set(decoder.decode(bytes), bytes);
    }
  }
  return Buffer.concat([...text].map((letter) => bytesOf.get(letter) ?? Buffer.from(letter)));
}

/** Two-byte letters of JIS X 0208 between their escapes, from EUC-JP, which is the same with the high bits set. */
function jis(text: string): Buffer {
  const euc = encode(text, 'euc-jp').map((byte) => byte & 0x7f);
  return Buffer.concat([Buffer.from('\x1b$B'), euc, Buffer.from('\x1b(B')]);
}

test('case 69 (FS#5356, FS#3122): a body, a subject and a name in ISO-2022-JP are read', async () => {
  const word = (text: string) => `=?ISO-2022-JP?B?${jis(text).toString('base64')}?=`;
  const body = Buffer.concat([jis('プリンタが動きません。'), Buffer.from('\r\nRoom 7, '), jis('東京')]);
  const source = mail({
    from: `${word('山田')} <yamada@example.test>`,
    subject: word('プリンタ'),
    headers: ['Content-Type: text/plain; charset=ISO-2022-JP', 'Content-Transfer-Encoding: 7bit'],
    body: '',
  });
  const message = await stored(Buffer.concat([source.subarray(0, -2), body, Buffer.from('\r\n')]));
  expect(message.text.trim()).toBe('プリンタが動きません。\nRoom 7, 東京');
  expect([message.subject, message.from?.name]).toEqual(['プリンタ', '山田']);
});

test('case 70 (FS#4282): Japanese in a body that calls itself gb2312 is read', async () => {
  // 込 and 髙 are in what all senders mean by gb2312, and not in gb2312.
  const text = 'こんにちは、プリンタの申込みです。髙橋';
  const message = await stored(inCharset('gb2312', encode(text, 'gb18030'), ['Content-Transfer-Encoding: 8bit']));
  expect(message.text.trim()).toBe(text);
});

test('case 71 (OT#1475, OT#2883): text continues after the first emoji, in a database of any character set too', async () => {
  const { config } = await at.mariadb.createDatabase({ characterSet: 'utf8mb3' });
  await using on = await testApp(config);
  const emoji = (text: string) => `=?UTF-8?B?${Buffer.from(text).toString('base64')}?=`;
  const file = { type: 'text/csv', name: 'a.csv', content: Buffer.from('😀;1\n') };
  const text = { type: 'text/plain; charset=utf-8', content: Buffer.from('Hallo 👋🏽 und danach.') };
  const source = mailWith([text, file], {
    from: `${emoji('Ada 🚀 Lovelace')} <ada@example.test>`,
    subject: emoji('Drucker 🖨️ brennt'),
  });
  for (const program of [at.on, on]) {
    const message = await stored(source, { on: program });
    expect(message).toMatchObject({ subject: 'Drucker 🖨️ brennt', from: { name: 'Ada 🚀 Lovelace' } });
    expect(message.text).toContain('Hallo 👋🏽 und danach.');
  }
});

test('case 72 (ZA#2403, OT#1212): what is in a winmail.dat is read, text and files', async () => {
  const file = Buffer.from('%PDF-1.7 the invoice');
  const winmail = tnefOf({
    subject: 'Invoice',
    body: 'The invoice is in the file.\r\nGrace',
    files: [{ name: 'invoice.pdf', content: file }],
  });
  const cover = { type: 'text/plain; charset=us-ascii', content: Buffer.from('\r\n') };
  const message = await stored(
    mailWith([cover, { type: 'application/ms-tnef', name: 'winmail.dat', content: winmail }], { subject: 'Invoice' }),
  );
  expect(message.text).toContain('The invoice is in the file.');
  const invoice = message.attachments.find(({ name }) => name === 'invoice.pdf');
  expect(invoice?.sha256).toBe(hash('sha256', file, 'hex'));
});

test('case 73 (FS#1003): an invitation is imported, and its text says what it is about', async () => {
  const calendar = [
    'BEGIN:VCALENDAR',
    'VERSION:2.0',
    'METHOD:REQUEST',
    'BEGIN:VEVENT',
    'UID:meeting-73@example.test',
    'DTSTAMP:20261124T090000Z',
    'DTSTART:20261201T130000Z',
    'DTEND:20261201T140000Z',
    'SUMMARY:Printer replacement\\, room 7',
    'LOCATION:Room 7',
    'ORGANIZER;CN=Ada:mailto:ada@example.test',
    'END:VEVENT',
    'END:VCALENDAR',
    '',
  ].join('\r\n');
  const message = await stored(
    mail({
      headers: ['MIME-Version: 1.0', 'Content-Type: text/calendar; charset=utf-8; method=REQUEST'],
      body: calendar,
    }),
  );
  expect(message.text).toContain('Printer replacement, room 7');
  expect(message.text).toContain('Room 7');
  expect(message.attachments.map(({ type }) => type)).toContain('text/calendar');
});

test('case 75 (FS#2793, FS#3502, Mailu/Mailu#2996): folders with umlauts and Cyrillic letters are found, and moved into', async () => {
  for (const folder of ['Büro/Anfragen & Mehr', 'Входящие/Заявки', '受信トレイ']) {
    const user = at.dovecot.newUser();
    await at.dovecot.append(user, folder, [mail()]);
    const mailbox = await at.on.addMailbox(at.dovecot, user, {
      postAction: { kind: 'move', folder: `${folder} erledigt` },
    });
    const inFolder = { ...mailbox, connection: { ...mailbox.connection, folder } };
    await poll(at, inFolder);
    expect(await ticketsOf(at, mailbox)).toHaveLength(1);
    expect((await at.dovecot.listFlags(user, folder)).size).toBe(0);
    expect((await at.dovecot.listFlags(user, `${folder} erledigt`)).size).toBe(1);
  }
});
