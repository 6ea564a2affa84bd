/** Hostile messages: each is small and must be read within the limit. Named after the part that could be slow. */
import { expect, test } from 'vitest';
import { readOpaqueSigned } from '../../src/mail/formats/protection.ts';
import { parseMessage } from '../../src/mail/parse.ts';

const head = 'From: a@example.test\r\nMessage-ID: <x@example.test>\r\nSubject: s\r\n';
const html = (body: string) => `${head}Content-Type: text/html\r\n\r\n${body}`;
const many = (piece: string, length = 1_000_000) => piece.repeat(Math.ceil(length / piece.length));
const htmlParts = (count: number, body: string) =>
  multipart(`--b\r\n\r\nHi\r\n${`--b\r\nContent-Type: text/html\r\n\r\n${body}\r\n`.repeat(count)}--b--`);
const multipart = (body: string) => `${head}Content-Type: multipart/mixed; boundary=b\r\n\r\n${body}`;
const encoded = (encoding: string, body: string) =>
  multipart(`--b\r\nContent-Type: image/png\r\nContent-Transfer-Encoding: ${encoding}\r\n\r\n${body}\r\n--b--`);
const part = (field: string) =>
  `${head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n${field}\r\n\r\nx\r\n--b--\r\n`;

test.each<[title: string, source: string]>([
  ['a Content-ID of closing brackets', part(`Content-ID: <a${'>'.repeat(200_000)}b`)],
  ['elements that close each other', html('<p><li>'.repeat(200_000))],
  ['cells in list items', html('<li><td>'.repeat(200_000))],
  ['lines in deep quotations', html(`${'<blockquote>'.repeat(390)}${'x<br>'.repeat(20_000)}`)],
  ['lines in deep lists', html(`${'<ul><li>'.repeat(390)}${'x<br>'.repeat(20_000)}`)],
  ['a list of many items', html(`<ol>${'<li>x'.repeat(200_000)}`)],
  ['tags that never end', html('<a '.repeat(200_000))],
  [
    'endless references',
    `${head}References: ${Array.from({ length: 50_000 }, (_, id) => `<${id}@x>`).join(' ')}\r\n\r\nx`,
  ],
  ['a header of a megabyte', `X: ${many('y')}\r\n${head}\r\nx`],
  ['endless fields', `${many('X: y\r\n')}${head}\r\nx`],
  ['lines that are no fields', `${head}${many('y\r\n')}a: b\r\n\r\nx`],
  ['beginnings of encoded words', `Subject: ${many('=?')}\r\n\r\nx`],
  ['encoded words without an end', `Subject: ${many('=?utf-8?q?')}\r\n\r\nx`],
  ['encoded words of two charsets', `Subject: ${many('=?x?q?a?= =?y?q?a?= ')}\r\n\r\nx`],
  ['quotes in a parameter', `${head}Content-Type: text/plain; a=${many('" ')}\r\n\r\nx`],
  ['endless parts', multipart(many('--b\r\n\r\nx\r\n', 500_000))],
  ['ends of multiparts', multipart(many('--b--\r\n', 500_000))],
  [
    'two heads in one, repeated',
    multipart(
      many('--b\r\nContent-Type: multipart/mixed; boundary=b\r\nContent-Type: text/plain\r\n\r\nx\r\n', 500_000),
    ),
  ],
  [
    'descriptions',
    multipart(many(`--b\r\nContent-Type: image/png\r\nContent-Description: ${many('x.', 500)}\r\n\r\nx\r\n`)),
  ],
  ['line ends in UTF-16', `${head}Content-Type: text/plain; charset=utf-16le\r\n\r\n${many('a\0\r\n\0')}`],
  ['lines like signatures of mobile devices', `${head}\r\n${many('gesendet\r\n')}`],
  ['lines like boundaries', multipart(many('--c\r\n', 500_000))],
  [
    'boundaries that are never declared',
    Array.from({ length: 5000 }, (_, at) => `--b${at}\r\nContent-Type: multipart/mixed\r\n\r\n`).join(''),
  ],
  [
    'endless alternatives',
    `${head}Content-Type: multipart/alternative; boundary=b\r\n\r\n${Array.from({ length: 10_000 }, (_, at) => `--b\r\n\r\n${at}\r\n`).join('')}`,
  ],
  ['endless padding', encoded('base64', many('='))],
  ['padded runs', encoded('base64', many('YQ=='))],
  ['blanks before line ends', encoded('quoted-printable', many('      \n'))],
  ['soft breaks that are invalid', encoded('quoted-printable', many('=     x'))],
  ['beginnings of files', `${head}\r\n${many('begin 644 a\n', 500_000)}`],
  ['yEnc without an end', `${head}\r\n${many('=ybegin line=1 name=x\n', 500_000)}`],
  ['UTF-7', `${head}Content-Type: text/plain; charset=utf-7\r\n\r\n${many('+AGE-', 500_000)}`],
  ['HTML parts of deep quotations', htmlParts(20, `${'<blockquote>'.repeat(49)}${many('<p>a', 78_000)}`)],
  ['HTML parts of long lists', htmlParts(100, `<ol>${many('<li>a<br>', 89_000)}`)],
  ['written lines in deep lists', html(`${'<ul><li>'.repeat(49)}<pre>${many('a\n\n\n\n')}`)],
  ['words in deep links', html(`${'<a href=x>'.repeat(99)}${many('a b ')}`)],
  ['endless entities', html(many('&amp;', 10_000_000))],
  ['endless flowed lines', `${head}Content-Type: text/plain; format=flowed\r\n\r\n${many('a \r\n', 10_000_000)}`],
  ['empty lines of a file', `${head}\r\nbegin 644 a\r\n${many('M!\r\n', 10_000_000)}`],
  ['an endless address list', `To: ${'a@b,'.repeat(64_000)}\r\n${head}\r\nx`],
])('%s', async (_, source) => {
  const startedAtMs = performance.now();
  const parsed = await parseMessage(new Uint8Array(Buffer.from(source)));
  expect(parsed.text.length).toBeLessThan(3 * source.length + 1000);
  expect(performance.now() - startedAtMs).toBeLessThan(5000);
});

test.each(['X-Failed-Recipients', 'List-Id', 'Precedence', 'To', 'Received', 'Subject'])(
  'endless fields %s of raw bytes are read in time',
  async (name) => {
    const fields = many(`${name}: ${'\xe4'.repeat(2000)}\r\n`, 20_000_000);
    const source = new Uint8Array(Buffer.from(`${fields}${head}\r\nx`, 'latin1'));
    const startedAtMs = performance.now();
    await parseMessage(source);
    expect(performance.now() - startedAtMs).toBeLessThan(5000);
  },
);

test('the number of marks and addresses is bounded', async () => {
  const parsed = await parseMessage(
    new Uint8Array(
      Buffer.from(`${head}${`To: ${many('a@b.test,', 300_000)}\r\n`.repeat(2)}\r\n${many('a\r\n> q\r\n', 400_000)}`),
    ),
  );
  expect([parsed.to.length, parsed.marks.length]).toEqual([5000, 10_000]);
});

test('pieces of a signed envelope are joined within the work for one message', () => {
  const long = (tag: number, content: Buffer) => Buffer.concat([Buffer.of(tag, 0x80), content, Buffer.of(0, 0)]);
  const envelope = (pieces: Buffer, depth: number) => {
    let octets = pieces;
    for (let level = 0; level < depth; level += 1) octets = long(0x24, octets);
    const type = Buffer.from('06092a864886f70d010702', 'hex');
    const signed = long(0x30, Buffer.concat([type, long(0xa0, octets)]));
    const data = long(0x30, Buffer.concat([Buffer.from('0201013100', 'hex'), signed]));
    return long(0x30, Buffer.concat([type, long(0xa0, data)]));
  };
  const piece = Buffer.from('0401', 'hex');
  const pieces = (count: number) => Buffer.alloc(3 * count, Buffer.concat([piece, Buffer.from('a')]));
  expect(readOpaqueSigned(envelope(pieces(20_000), 1))?.length).toBe(20_000);
  expect(readOpaqueSigned(envelope(pieces(3_000_000), 1))).toBeNull();
  expect(readOpaqueSigned(envelope(pieces(20), 9))).toBeNull();
});
