/** Names of attachments, inline ones, and envelopes that stay attached after they were opened. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { parseMessage } from '../../../src/mail/parse.ts';
import { legacyAttachment, tnef } from '../formats/tnef-writer.ts';

const parse = (source: string) => parseMessage(new Uint8Array(Buffer.from(source, 'latin1')));
const mixed = (...parts: readonly string[]) =>
  `Content-Type: multipart/mixed; boundary=b\r\n\r\n${parts.map((part) => `--b\r\n${part}\r\n`).join('')}--b--\r\n`;
const names = async (...parts: readonly string[]) =>
  (await parse(mixed('\r\nSee below.', ...parts))).attachments.map(({ name }) => name);

describe('parts without a name', () => {
  test.each<[title: string, parts: readonly string[], names: readonly string[]]>([
    [
      'a description is the name, with an extension for the type',
      ['Content-Type: message/delivery-status\r\nContent-Description: Delivery report\r\n\r\nx'],
      ['Delivery report.txt'],
    ],
    [
      'a description that is a file name stays as it is',
      ['Content-Type: application/pdf\r\nContent-Description: =?utf-8?q?Pr=C3=BCfung.pdf?=\r\n\r\nx'],
      ['Prüfung.pdf'],
    ],
    [
      'a sentence or dots are no name',
      [
        `Content-Type: application/pdf\r\nContent-Description: ${'Please look at this. '.repeat(5)}\r\n\r\nx`,
        'Content-Type: application/pdf\r\nContent-Description: ../..\r\n\r\nx',
      ],
      ['attachment.pdf', 'attachment-2.pdf'],
    ],
    [
      'a path in a description is only a name',
      ['Content-Type: application/pdf\r\nContent-Description: ../../etc/passwd\r\n\r\nx'],
      ['.._.._etc_passwd.pdf'],
    ],
    [
      'a message is called after its subject, else after its description',
      [
        'Content-Type: message/rfc822\r\nContent-Description: Undelivered\r\n\r\nSubject: Offer\r\n\r\nx',
        'Content-Type: message/rfc822\r\nContent-Description: Undelivered\r\n\r\nFrom: a@example.test\r\n\r\nx',
        'Content-Type: message/rfc822\r\n\r\nFrom: a@example.test\r\n\r\nx',
      ],
      ['Offer.eml', 'Undelivered.eml', 'message.eml'],
    ],
    [
      'images, sounds and videos are numbered separately, and never have the name of another part',
      [
        'Content-Type: image/jpeg\r\n\r\nx',
        'Content-Type: image/png\r\n\r\nx',
        'Content-Type: image/jpg\r\n\r\nx',
        'Content-Type: audio/mpeg\r\n\r\nx',
        'Content-Type: video/mp4; name=image-2.png\r\n\r\nx',
        'Content-Type: application/zip\r\n\r\nx',
      ],
      ['image.jpg', 'image-3.png', 'image-4.jpg', 'audio.mp3', 'image-2.png', 'attachment.zip'],
    ],
  ])('%s', async (_title, parts, expected) => {
    expect(await names(...parts)).toEqual(expected);
  });
});

test('a related part with a Content-ID is inline, unless it is declared an attachment', async () => {
  const related = (fields: string) =>
    `Content-Type: multipart/related; boundary=b\r\n\r\n--b\r\nContent-Type: text/html\r\n\r\n<p>Hello\r\n--b\r\n${fields}\r\n\r\nx\r\n--b--\r\n`;
  const inline = async (fields: string) => (await parse(related(fields))).attachments.map((part) => part.inline);
  expect(await inline('Content-Type: image/png\r\nContent-ID: <a>')).toEqual([true]);
  expect(await inline('Content-Type: image/png\r\nContent-ID: <a>\r\nContent-Disposition: attachment')).toEqual([
    false,
  ]);
  expect(await inline('Content-Type: image/png')).toEqual([false]);
});

describe('UTF-16 with single-byte line ends written into it', () => {
  const text = async (charset: string, body: string) =>
    (await parse(`Content-Type: text/plain; charset=${charset}\r\n\r\n${body}`)).text;
  const little = (written: string) => Buffer.from(written, 'utf16le').toString('latin1');
  const big = (written: string) => Buffer.from(written, 'utf16le').swap16().toString('latin1');

  test.each<[title: string, charset: string, body: string]>([
    ['CR before each LF', 'utf-16le', little('one\ntwo\n').replaceAll('\n', '\r\n')],
    ['CR before each LF of a CRLF', 'utf-16le', little('one\r\ntwo\r\n').replaceAll('\n', '\r\n')],
    ['CR before each LF, upper byte first', 'utf-16be', big('one\ntwo\n').replaceAll('\n', '\r\n')],
    ['CR before each LF of a CRLF, upper byte first', 'utf-16be', big('one\r\ntwo\r\n').replaceAll('\n', '\r\n')],
    ['a line end between two characters', 'utf-16le', `${little('one\n')}\r\n${little('two\n')}`],
    ['a line end at the end', 'utf-16le', `${little('one\ntwo\n')}\r\n`],
    ['a line end at the end, upper byte first', 'utf-16be', `${big('one\ntwo\n')}\r\n`],
    ['half a line end at the end', 'utf-16le', `${little('one\ntwo\n')}\n`],
    ['a byte order mark without a declared order', 'utf-16', `${little('\ufeffone\ntwo\n').replaceAll('\n', '\r\n')}`],
  ])('%s', async (_title, charset, body) => {
    expect(await text(charset, body)).toBe('one\ntwo\n');
  });

  test('letters of Indian scripts are not taken for line ends', async () => {
    expect(await text('utf-16be', big('ഊണ് മലയാളം\n'))).toBe('ഊണ് മലയാളം\n');
  });
});

test('a multipart whose head is joined to that of its first part loses no text', async () => {
  const { text, html } = await parse(
    mixed(
      'Content-Type: multipart/alternative; boundary=i\r\nContent-Type: text/plain\r\n\r\none\r\n--i\r\nContent-Type: text/html\r\n\r\n<p>one</p>\r\n--i--',
    ),
  );
  expect({ text, html }).toEqual({ text: 'one', html: '<p>one</p>' });
});

describe('an envelope of S/MIME', () => {
  const fixture = (name: string) =>
    readFileSync(join(import.meta.dirname, '../../fixtures/special', name)).toString('base64');
  const read = async (fields: string, base64: string) => {
    const mail = await parse(`${fields}\r\nContent-Transfer-Encoding: base64\r\n\r\n${base64}\r\n`);
    return [mail.protection, mail.text.trim(), mail.attachments.length];
  };
  const opened = ['smime_signed', 'The meeting room is booked.', 1];

  test.each([
    'Content-Type: application/pkcs7-mime',
    'Content-Type: application/x-pkcs7-mime; name=smime.p7m',
    'Content-Type: application/pkcs7-mime; name=mail',
    'Content-Type: application/octet-stream; name=smime.p7m',
  ])('that can be opened is only signed, and is read: %s', async (fields) => {
    expect(await read(fields, fixture('signed-definite.p7m'))).toEqual(opened);
    expect(await read(fields, fixture('signed-indefinite.p7m'))).toEqual(opened);
  });

  test('that cannot be opened is encrypted', async () => {
    const fields = 'Content-Type: application/octet-stream; name=smime.p7m';
    expect(await read(fields, fixture('enveloped.p7m'))).toEqual(['smime_encrypted', '', 1]);
  });

  test('around a file is not opened, since a document is no text', async () => {
    const fields = 'Content-Type: application/pkcs7-mime; name=contract.pdf.p7m';
    expect(await read(fields, fixture('signed-definite.p7m'))).toEqual([null, '', 1]);
  });
});

describe('winmail.dat', () => {
  const attached = async (stream: Buffer) => {
    const fields = 'Content-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64';
    const { attachments } = await parse(mixed('\r\nSee below.', `${fields}\r\n\r\n${stream.toString('base64')}`));
    return attachments.map(({ name, type }) => [name, type]);
  };

  test('gives its files the types of their names', async () => {
    expect(await attached(tnef(legacyAttachment('offer.pdf', 'x'), legacyAttachment('README', 'x')))).toEqual([
      ['offer.pdf', 'application/pdf'],
      ['README', 'application/octet-stream'],
    ]);
  });

  test('stays attached when nothing is found in it', async () => {
    expect(await attached(tnef())).toEqual([['winmail.dat', 'application/ms-tnef']]);
  });
});

test('words after the padding of base64 are dropped', async () => {
  const fields = 'Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64';
  expect((await parse(`${fields}\r\n\r\nc2Now7ZuCg== ignored\r\n`)).text).toBe('schön\n');
});
