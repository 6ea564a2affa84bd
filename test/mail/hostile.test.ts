/** Mails made to cost: each is small, and must be read in about no time. Named after the part that could be slow. */
import { expect, test } from 'vitest';
import { parseMessage } from '../../src/mail/parse.ts';

const head = 'From: a@example.test\r\nMessage-ID: <x@example.test>\r\nSubject: s\r\n';
const html = (body: string) => `${head}Content-Type: text/html\r\n\r\n${body}`;
const part = (field: string) =>
  `${head}Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: image/png\r\n${field}\r\n\r\nx\r\n--b--\r\n`;

test.each([
  ['a Content-ID of closing brackets', part(`Content-ID: <a${'>'.repeat(200_000)}b`)],
  ['elements that close each other', html('<p><li>'.repeat(200_000))],
  ['cells in list items', html('<li><td>'.repeat(200_000))],
  ['lines in deep quotations', html(`${'<blockquote>'.repeat(390)}${'x<br>'.repeat(20_000)}`)],
  ['lines in deep lists', html(`${'<ul><li>'.repeat(390)}${'x<br>'.repeat(20_000)}`)],
  ['a list of many items', html(`<ol>${'<li>x'.repeat(200_000)}`)],
  ['tags that never end', html('<a '.repeat(200_000))],
  [
    'references without end',
    `${head}References: ${Array.from({ length: 50_000 }, (_, id) => `<${id}@x>`).join(' ')}\r\n\r\nx`,
  ],
  ['an address list without end', `To: ${'a@b,'.repeat(64_000)}\r\n${head}\r\nx`],
])('%s', async (_, source) => {
  const startedAtMs = performance.now();
  const parsed = await parseMessage(new Uint8Array(Buffer.from(source)));
  expect(parsed.text.length).toBeLessThan(3 * source.length + 1000);
  expect(performance.now() - startedAtMs).toBeLessThan(5000);
});
