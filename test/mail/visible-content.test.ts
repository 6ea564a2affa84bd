/** Everything that a person would see in a message, or could open, is there, however the message hides it. */
import { describe, expect, test } from 'vitest';
import { charsetOfLabel } from '../../src/mail/charset/labels.ts';
import { clearTextOf } from '../../src/mail/formats/protection.ts';
import { parseMessage } from '../../src/mail/parse.ts';
import { attribute, ids, legacyAttachment, tnef } from './formats/tnef-writer.ts';

const parse = (source: string) => parseMessage(new Uint8Array(Buffer.from(source, 'latin1')));

test('words among the armour headers of signed text, and within the signature, stay', () => {
  const signed = [
    '-----BEGIN PGP SIGNED MESSAGE-----',
    'Hash: SHA256, SHA512',
    'Pay to account 1.',
    'Note: pay to account 2.',
    '',
    'Hello',
    '-----BEGIN PGP SIGNATURE-----',
    'Version: GnuPG v2',
    '',
    'iQEzBAEBCAAdFiEE',
    'Pay to account 3.',
    '=njUN',
    '-----END PGP SIGNATURE-----',
    '',
  ].join('\n');
  expect(clearTextOf(signed)).toBe('Pay to account 1.\nNote: pay to account 2.\nHello\nPay to account 3.\n');
});

test('angle brackets in enriched text that are no command stay', async () => {
  const { text } = await parse(
    'Content-Type: text/enriched\r\n\r\n<bold>Ask</bold> <a@example.test>, <3 of us>, <<x> <no end\r\n',
  );
  expect(text).toBe('Ask <a@example.test>, <3 of us>, <x> <no end\n');
});

test.each(['base64', 'hex', 'utf7imap', '_internal', '_sbcs', '_dbcs', '_utf32', 'binary', 'ascii8bit'])(
  'text declared as %s is not transformed',
  async (charset) => {
    const { text } = await parse(`Content-Type: text/plain; charset=${charset}\r\n\r\ngr\xfc\xdfe &AOQ-\r\n`);
    expect(text).toBe('grüße &AOQ-\n');
  },
);

test.each([
  'cp437',
  'IBM850',
  'cp-858',
  'maccyrillic',
  'viscii',
  'tis-620',
  'koi8-t',
  'iso-ir-100',
  'hp-roman8',
  'rk1048',
])('iconv-lite is used for %s', (label) => expect(charsetOfLabel(label)).not.toBeNull());

const winmail = (stream: Buffer, text = '') =>
  parse(
    `Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n${text}\r\n--b\r\nContent-Type: application/ms-tnef; name=winmail.dat\r\nContent-Transfer-Encoding: base64\r\n\r\n${stream.toString('base64')}\r\n--b--\r\n`,
  );
const body = (text: string) => attribute(1, ids.body, `${text}\0`);
const file = legacyAttachment('a.txt', 'aaaa');
const names = async (stream: Buffer, text = '') => (await winmail(stream, text)).attachments.map(({ name }) => name);

test('winmail.dat is attached beside its files when it was not read as a whole', async () => {
  expect(await names(tnef(body('Hello you'), file), 'Hello, you!')).toEqual(['a.txt']);
  expect(await names(tnef(body('Hello you'), file))).toEqual(['a.txt']);
  expect(await names(tnef(body('Something else'), file), 'Hello, you!')).toEqual(['a.txt', 'winmail.dat']);
  const whole = tnef(body('Hello you'), file);
  expect(await names(whole.subarray(0, -5), 'Hello, you!')).toEqual(['a.txt', 'winmail.dat']);
  const many = await names(tnef(...Array.from({ length: 1001 }, () => file)), 'Hello');
  expect([many.length, many.at(-1)]).toEqual([1001, 'winmail.dat']);
});

describe('texts with a file name', () => {
  const part = (type: string, name: string, text: string, disposition = 'inline') =>
    `--b\r\nContent-Type: ${type}\r\nContent-Disposition: ${disposition}; filename="${name}"\r\n\r\n${text}\r\n`;
  const multipart = (kind: string, ...parts: readonly string[]) =>
    parse(`Content-Type: multipart/${kind}; boundary=b\r\n\r\n${parts.join('')}--b--\r\n`);

  test('are the body where there is no other text, and stay attached', async () => {
    const mixed = await multipart('mixed', part('text/plain', 'a.txt', 'One'), part('text/plain', 'b.txt', 'Two'));
    expect(mixed.text).toBe('One\nTwo');
    expect(mixed.attachments.map(({ name }) => name)).toEqual(['a.txt', 'b.txt']);
    const html = await multipart('alternative', part('text/plain', 'a', 'One'), part('text/html', 'b', '<p>One</p>'));
    expect(html).toMatchObject({ text: 'One', html: '<p>One</p>' });
  });

  test('are files beside another text, and where they are declared as attachments', async () => {
    const unnamed = '--b\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n';
    expect((await multipart('mixed', unnamed, part('text/plain', 'a.txt', 'One'))).text).toBe('See the file.');
    expect((await multipart('mixed', part('text/plain', 'a.txt', 'One', 'attachment'))).text).toBe('');
  });
});
