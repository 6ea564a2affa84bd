/** Files embedded in a text: a valid one becomes an attachment, an invalid one stays text. */
import { expect, test } from 'vitest';
import { parseMessage } from '../../../src/mail/parse.ts';

const parse = (body: string) => parseMessage(new Uint8Array(Buffer.from(`Subject: s\r\n\r\n${body}`, 'latin1')));
const fullLine = `M${'86)C'.repeat(15)}\r\n`;
const yencOf = (content: string) =>
  Buffer.from([...content].map((letter) => (letter.charCodeAt(0) + 42) & 255)).toString('latin1');

test.each<[title: string, body: string]>([
  ['words under the first line', 'begin 644 report\r\nHELLO SECRET\r\n'],
  ['words under the first line, and an end', 'begin 644 report\r\nHELLO SECRET\r\nend\r\n'],
  ['lines with less bytes than declared', `begin 644 a\r\n${'M!\r\n'.repeat(100)}\`\r\nend\r\n`],
  ['a short line without an end', 'begin 644 a\r\n#86)C\r\n'],
  ['whole lines before words', `begin 644 a\r\n${fullLine}Hello,\r\n`],
  ['yEnc without a line length', `=ybegin size=3 name=a\r\n${yencOf('abc')}\r\n=yend size=3\r\n`],
  ['yEnc without a size', `=ybegin line=128 name=a\r\n${yencOf('abc')}\r\n=yend size=3\r\n`],
  ['yEnc with a wrong size', `=ybegin line=128 size=3 name=a\r\nhello world\r\n=yend size=3\r\n`],
  ['yEnc whose end has no size', `=ybegin line=128 size=3 name=a\r\n${yencOf('abc')}\r\n=yend crc32=0\r\n`],
  ['yEnc without an end', `=ybegin line=128 size=3 name=a\r\n${yencOf('abc')}\r\n`],
])('%s: it stays text', async (_title, body) => {
  const { text, attachments } = await parse(body);
  expect(attachments).toEqual([]);
  expect(text).toContain(body.split('\r\n')[1]?.replaceAll(/[^ -~]/gu, ''));
  expect(text.split('\n').length).toBe(body.split('\r\n').length);
});

test.each<[title: string, body: string, length: number]>([
  ['with its end', 'begin 644 a\r\n#86)C\r\n`\r\nend\r\n', 3],
  ['that lost blanks at the end of a line', 'begin 644 a\r\n$86)C80\r\n`\r\nend\r\n', 4],
  ['with a checksum after each line', 'begin 644 a\r\n#86)C7\r\n`\r\nend\r\n', 3],
  ['cut off at the end of the message', `begin 644 a\r\n${fullLine}${fullLine}#86)C\r\n\r\n`, 93],
  ['in yEnc', `=ybegin line=128 size=3 name=a\r\n${yencOf('abc')}\r\n=yend size=3\r\n`, 3],
  [
    'in yEnc, one part of several',
    `=ybegin part=2 total=2 line=128 size=900 name=a\r\n=ypart begin=898 end=900\r\n${yencOf('abc')}\r\n=yend size=3 part=2\r\n`,
    3,
  ],
])('a file %s is attached', async (_title, body, length) => {
  const { text, attachments } = await parse(`Hello\r\n\r\n${body}`);
  expect(text.trim()).toBe('Hello');
  expect(attachments.map(({ name, content }) => [name, content.length])).toEqual([['a', length]]);
});

test('decoded files are never longer than the text', async () => {
  const lines = Array.from({ length: 64 }, (_, count) => {
    const needed = Math.ceil(count / 3) * 4;
    return [-2, -1, 0, 1, 2].map((more) => String.fromCharCode(0x20 + count) + '!'.repeat(Math.max(0, needed + more)));
  }).flat();
  for (const line of lines.filter((one) => !/^ /u.test(one))) {
    const body = `begin 644 a\r\n${`${line}\r\n`.repeat(50)}\`\r\nend\r\n`;
    const [file] = (await parse(body)).attachments;
    expect(file?.content.length).toBeLessThanOrEqual(body.length - 25);
  }
});
