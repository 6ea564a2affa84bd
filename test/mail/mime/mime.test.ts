/** MIME messages as programs send them: each row is one habit or one damage, and its correct reading. */
import { describe, expect, test } from 'vitest';
import { parseMessage } from '../../../src/mail/parse.ts';

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));
const parse = (source: string) => parseMessage(bytes(source));
/** A message with a text and one more part of `fields` and `body`. */
const withPart = (fields: string, body: string) =>
  `Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nSee below.\r\n--b\r\n${fields}\r\n\r\n${body}\r\n--b--\r\n`;
const contents = async (source: string) =>
  (await parse(source)).attachments.map(({ content }) => Buffer.from(content).toString('latin1'));
const names = async (source: string) => (await parse(source)).attachments.map(({ name }) => name);

describe('the parts of a message', () => {
  test.each<[title: string, source: string, text: string, names: readonly string[]]>([
    [
      'a boundary that begins another one',
      'Content-Type: multipart/mixed; boundary=ab\r\n\r\n--ab\r\nContent-Type: multipart/mixed; boundary=abc\r\n\r\n--abc\r\n\r\none\r\n--abc--\r\n--ab\r\n\r\ntwo\r\n--ab--\r\n',
      'one\ntwo',
      [],
    ],
    [
      'an inner multipart that never ends',
      'Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=i\r\n\r\n--i\r\n\r\none\r\n--a\r\n\r\ntwo\r\n--a--\r\n',
      'one\ntwo',
      [],
    ],
    ['no last boundary', 'Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n', 'one\n', []],
    [
      'rubbish after the last boundary',
      'Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a--> \r\nvirus free\r\n',
      'one',
      [],
    ],
    [
      'no boundary parameter',
      'Content-Type: multipart/mixed\r\n\r\n--x.1\r\nContent-Type: text/plain\r\n\r\none\r\n--x.1--\r\n',
      'one',
      [],
    ],
    [
      'another boundary than the declared one',
      'Content-Type: multipart/mixed; boundary=y\r\n\r\n--x\r\nContent-Type: text/plain\r\n\r\none\r\n--x--\r\n',
      'one',
      [],
    ],
    [
      'a multipart that is encoded as a whole',
      `Content-Type: multipart/mixed; boundary=x\r\nContent-Transfer-Encoding: base64\r\n\r\n${Buffer.from('--x\r\nContent-Type: text/plain\r\n\r\none\r\n--x--').toString('base64')}\r\n`,
      'one',
      [],
    ],
    [
      'the same boundary inside and outside',
      'Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nContent-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\n\r\none\r\n--a--\r\n--a\r\n\r\ntwo\r\n--a--\r\n',
      'one\ntwo',
      [],
    ],
    [
      'a part without any header',
      'Content-Type: multipart/mixed; boundary=a\r\n\r\n--a\r\nHello you\r\n--a--\r\n',
      'Hello you',
      [],
    ],
    [
      'a field folded without a blank',
      'Content-Type: multipart/mixed;\r\nboundary=a\r\n\r\n--a\r\nContent-Disposition: attachment;\r\nfilename=a.txt\r\n\r\none\r\n--a--\r\n',
      '',
      ['a.txt'],
    ],
    ['bare LF', 'Content-Type: multipart/mixed; boundary=a\n\n--a\n\none\n--a--\n', 'one', []],
    ['bare CR', 'Content-Type: multipart/mixed; boundary=a\r\r--a\r\rone\r--a--\r', 'one', []],
    [
      'an mbox line first',
      'From anna@kunde.example Mon Jan  1 00:00:00 2026\r\nSubject: s\r\n\r\none\r\n',
      'one\n',
      [],
    ],
    ['no header at all', 'only text, and\r\n\r\nmore of it', 'only text, and\n\nmore of it', []],
    ['a type that is none', 'Content-Type: text\r\n\r\none\r\n', 'one\n', []],
  ])('%s', async (_, source, text, attached) => {
    const parsed = await parse(source);
    expect(parsed.text).toBe(text);
    expect(parsed.attachments.map(({ name }) => name)).toEqual(attached);
  });

  test('beyond the limits stay uncut in their parent', async () => {
    const many = await parse(
      `Content-Type: multipart/mixed; boundary=b\r\n\r\n${'--b\r\nContent-Type: image/png\r\n\r\nx\r\n'.repeat(10_500)}`,
    );
    expect(many.attachments).toHaveLength(9_999);
    expect(many.attachments.at(-1)?.sizeBytes).toBeGreaterThan(500 * 30);
    const levels = Array.from(
      { length: 10_000 },
      (_, depth) => `--b${depth}\r\nContent-Type: multipart/mixed; boundary=b${depth + 1}\r\n\r\n`,
    );
    const deep = await parse(`Content-Type: multipart/mixed; boundary=b0\r\n\r\n${levels.join('')}the end`);
    expect(Buffer.from(deep.attachments.at(-1)?.content ?? []).toString()).toContain('the end');
  });
});

describe('text and attachments:', () => {
  const alternative =
    'Content-Type: multipart/alternative; boundary=x\r\n\r\n--x\r\n\r\nplain\r\n--x\r\nContent-Type: text/html\r\n\r\n<p>html</p>\r\n--x--';
  test.each<[title: string, source: string, text: string, html: string | null, names: readonly string[]]>([
    ['alternatives are one piece', alternative, 'plain', '<p>html</p>', []],
    [
      'a footer is added to both',
      `Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n${alternative}\r\n--b\r\n\r\nThe <list>\r\n--b--`,
      'plain\nThe <list>',
      '<p>html</p>\n<div style="white-space: pre-wrap">The &lt;list&gt;</div>',
      [],
    ],
    [
      'text, image, text',
      'Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\none\r\n--b\r\nContent-Type: image/png; name=a.png\r\nContent-Disposition: inline\r\n\r\nx\r\n--b\r\n\r\ntwo\r\n--b--',
      'one\ntwo',
      null,
      ['a.png'],
    ],
    [
      'HTML beside the same text is its alternative',
      withPart('Content-Type: text/html', '<p>See <b>below</b>.</p>'),
      'See below.',
      '<p>See <b>below</b>.</p>',
      [],
    ],
    [
      'a text with a file name is a file',
      withPart('Content-Type: text/plain; name=a.log', 'x'),
      'See below.',
      null,
      ['a.log'],
    ],
    [
      'an attached text is a file',
      withPart('Content-Disposition: attachment', 'x'),
      'See below.',
      null,
      ['attachment.txt'],
    ],
    [
      'an empty file is a file',
      withPart('Content-Type: application/pdf; name=a.pdf', ''),
      'See below.',
      null,
      ['a.pdf'],
    ],
    [
      'an embedded message is a file named after its subject',
      withPart('Content-Type: message/rfc822', 'Subject: =?utf-8?q?Caf=C3=A9?=\r\n\r\nx'),
      'See below.',
      null,
      ['Café.eml'],
    ],
    [
      'HTML without text is made readable',
      'Content-Type: text/html\r\n\r\n<style>p{}</style><div style="display:none">preheader</div><p>Hello</p>',
      'Hello',
      '<style>p{}</style><div style="display:none">preheader</div><p>Hello</p>',
      [],
    ],
    [
      'a file within the text is taken out',
      'Subject: s\r\n\r\none\r\n\r\nbegin 644 a.txt\r\n#86)C\r\n`\r\nend\r\ntwo\r\n',
      'one\n\ntwo\n',
      null,
      ['a.txt'],
    ],
    [
      'words like the beginning of a file are no file',
      'Subject: s\r\n\r\nbegin 644 reasons\r\nto do it.\r\n',
      'begin 644 reasons\nto do it.\n',
      null,
      [],
    ],
  ])('%s', async (_, source, text, html, attached) => {
    const parsed = await parse(source);
    expect([parsed.text, parsed.html]).toEqual([text, html]);
    expect(parsed.attachments.map(({ name }) => name)).toEqual(attached);
  });

  test('reports keep their parts', async () => {
    const { text, attachments } = await parse(
      'Content-Type: multipart/report; boundary=b; report-type=delivery-status\r\n\r\n--b\r\n\r\nIt failed.\r\n--b\r\nContent-Type: message/delivery-status\r\n\r\nAction: failed\r\n--b\r\nContent-Type: text/rfc822-headers\r\n\r\nSubject: s\r\n--b--',
    );
    expect(text).toBe('It failed.');
    expect(attachments.map(({ type }) => type)).toEqual(['message/delivery-status', 'text/rfc822-headers']);
  });
});

describe('transfer encodings', () => {
  const encoded = Buffer.from('The quick brown fox').toString('base64');
  test.each<[title: string, encoding: string, body: string, content: string]>([
    ['base64', 'base64', encoded, 'The quick brown fox'],
    ['base64 cut anywhere', 'BASE-64', encoded.replace(/.{5}/gu, '$& \r\n'), 'The quick brown fox'],
    ['base64 with invalid characters', 'base64', `${encoded.slice(0, 9)}*!${encoded.slice(9)}`, 'The quick brown fox'],
    ['base64 with a footer', 'base64', `${encoded}\r\n\r\nSent by list, unsubscribe\r\n`, 'The quick brown fox'],
    ['base64 joined', 'base64', 'YQ==\r\nYmM=\r\nZGVm', 'abcdef'],
    ['text declared as base64', 'base64', 'Hello, this is text.', 'Hello, this is text.'],
    ['quoted-printable', 'Quoted-Printable', 'a=3D=e9 =\r\nb=20 \r\nc', 'a=\xe9 b \r\nc'],
    ['quoted-printable with invalid escapes', 'quoted-printable', 'a=ZZ =4', 'a=ZZ =4'],
    ['a soft break with trailing blanks', 'quoted-printable', 'a= \t\r\nb', 'ab'],
    ['uuencode', 'x-uuencode', 'begin 644 a.txt\r\n#86)C\r\n`\r\nend\r\n', 'abc'],
    ['8bit', '8bit', 'a\xff\0\r\nb ', 'a\xff\0\r\nb '],
    ['an unknown encoding', 'x-secret', 'a=41', 'a=41'],
  ])('%s', async (_, encoding, body, content) => {
    const fields = `Content-Type: application/octet-stream\r\nContent-Transfer-Encoding: ${encoding}`;
    expect(await contents(withPart(fields, body))).toEqual([content]);
  });

  test('yEnc within a text', async () => {
    const data = Buffer.from([...'abc='].map((letter) => (letter.charCodeAt(0) + 42) & 255)).toString('latin1');
    expect(
      await contents(`Subject: s\r\n\r\n=ybegin line=128 size=4 name=a.bin\r\n${data}\r\n=yend size=4\r\n`),
    ).toEqual(['abc=']);
  });
});

describe('names of files', () => {
  test.each<[title: string, parameter: string, name: string]>([
    ['RFC 2231', "filename*=utf-8''M%C3%A4rz%20%E2%82%AC.pdf", 'März €.pdf'],
    ['continued', 'filename*0="Rech";\r\n filename*1="nung.pdf"', 'Rechnung.pdf'],
    ['a character split between continuations', "filename*0*=utf-8''M%C3;\r\n filename*1*=%A4rz.pdf", 'März.pdf'],
    ['continuations out of order', "filename*1*=b.pdf; filename*0*=utf-8''a", 'ab.pdf'],
    ['an encoded word in quotes', 'filename="=?utf-8?Q?M=C3=A4rz.pdf?="', 'März.pdf'],
    ['two words that split a character', 'filename="=?utf-8?B?TcM=?=\r\n =?utf-8?B?pHJ6LnBkZg==?="', 'März.pdf'],
    ['raw UTF-8', 'filename="M\xc3\xa4rz.pdf"', 'März.pdf'],
    ['raw windows-1252', 'filename="M\xe4rz.pdf"', 'März.pdf'],
    ['blanks without quotes', 'filename=my file.pdf; size=3', 'my file.pdf'],
    ['quotes inside quotes', 'filename="a "b" c.pdf"', 'a _b_ c.pdf'],
    ['no last quote', 'filename="a.pdf', 'a.pdf'],
    ['a semicolon in quotes', 'filename="a;b.pdf"', 'a;b.pdf'],
    ['a Windows path', 'filename="C:\\temp\\a.pdf"', 'C_temp_a.pdf'],
    ['control characters', 'filename="a\x07b.pdf"', 'ab.pdf'],
    ['an unknown charset', "filename*=x-nobody''a%20b.pdf", 'a b.pdf'],
  ])('%s', async (_, parameter, name) => {
    expect(
      await names(withPart(`Content-Type: application/pdf\r\nContent-Disposition: attachment; ${parameter}`, 'x')),
    ).toEqual([name]);
  });
});

test.each([
  ['after a comma', 'application/pdf', 'attachment, filename="a b.pdf"'],
  ['after a blank', 'application/pdf', 'attachment filename="a b.pdf"'],
  ['at the beginning of the field', 'application/pdf', 'filename="a b.pdf"'],
  ['after a type without a semicolon', 'application/pdf name="a b.pdf"', 'attachment'],
  ['as the parameter of the other field', 'application/pdf; filename="a b.pdf"', 'attachment'],
  ['as the other parameter of its field', 'application/pdf', 'attachment; name="a b.pdf"'],
  ['in the form of RFC 2231 without its star', 'application/pdf', "attachment; filename=utf-8''a%20b.pdf"],
])('a file name is read %s', async (_, type, disposition) => {
  const head = `Content-Type: ${type}\r\nContent-Disposition: ${disposition}`;
  const source = `Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n${head}\r\n\r\nabc\r\n--b--\r\n`;
  const { attachments } = await parseMessage(new Uint8Array(Buffer.from(source)));
  expect(attachments).toMatchObject([{ name: 'a b.pdf', type: 'application/pdf' }]);
});

describe('fields', () => {
  test.each<[title: string, raw: string, subject: string]>([
    ['adjacent words', '=?utf-8?q?a?= =?utf-8?q?b?=', 'ab'],
    ['a character split between words', '=?utf-8?B?4oI=?= =?utf-8?B?rA==?=', '€'],
    ['a split between the two forms', '=?utf-8?B?4oI=?= =?utf-8?q?=AC?=', '€'],
    ['blanks inside a word', '=?utf-8?q?a b?=', 'a b'],
    ['no end', '=?iso-8859-1?Q?f=FCr', 'für'],
    ['a question mark before a code', '=?utf-8?q?why?=20not?=', 'why? not'],
    ['a word within a word', 'a=?utf-8?q?b?=c', 'abc'],
    ['a language', '=?utf-8*de?q?f=C3=BCr?=', 'für'],
    ['raw UTF-8', 'f\xc3\xbcr', 'für'],
    [
      'raw bytes of GBK',
      '\xb4\xf2\xd3\xa1\xbb\xfa\xbb\xb5\xc1\xcb\xa3\xac\xc7\xeb\xb0\xef\xc3\xa6\xb4\xa6\xc0\xed',
      '打印机坏了，请帮忙处理',
    ],
    ['Shift_JIS called ISO-2022-JP', '=?ISO-2022-JP?B?g2OBW4OL?=', 'ツール'],
    ['no word', '=?what?= =?', '=?what?= =?'],
    ['ISO-2022-JP in joined words', '=?ISO-2022-JP?B?GyRCJUcbKEI=?= =?ISO-2022-JP?B?GyRCJS8bKEI=?=', 'デク'],
  ])('%s', async (_, raw, subject) => {
    expect((await parse(`Subject: ${raw}\r\n\r\nx`)).subject).toBe(subject);
  });

  test.each<[title: string, raw: string, addresses: readonly (readonly [string, string])[]]>([
    ['a comma in a word', '=?utf-8?q?Berg=2C_Anna?= <a@b.example>', [['Berg, Anna', 'a@b.example']]],
    ['a comma without quotes', 'Berg, Anna <a@b.example>', [['Berg, Anna', 'a@b.example']]],
    ['a comment', 'a@b.example (Anna)', [['Anna', 'a@b.example']]],
    [
      'a group',
      'Team: a@b.example, c@d.example;',
      [
        ['', 'a@b.example'],
        ['', 'c@d.example'],
      ],
    ],
    ['nobody', 'undisclosed-recipients:;', []],
    ['a field encoded as a whole', '=?utf-8?q?Anna_=3Ca=40b.example=3E?=', [['Anna', 'a@b.example']]],
    ['a dot at the end', 'a@b.example.', [['', 'a@b.example']]],
  ])('addresses: %s', async (_, raw, addresses) => {
    const { to } = await parse(`To: ${raw}\r\n\r\nx`);
    expect(to.map(({ name, address }) => [name, address])).toEqual(addresses);
  });

  test('a From field without an address is skipped for one with an address', async () => {
    const { from } = await parse('From: [???]\r\nFrom: Anna <a@b.example>\r\n\r\nx');
    expect(from).toEqual({ name: 'Anna', address: 'a@b.example' });
  });
});
