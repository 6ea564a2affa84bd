/**
 * A sender disguises the name of an attachment, so that a program looks like a document, or saving it writes elsewhere;
 * or a display name, so that it looks like another. What is stored and shown has a harmless name whose extension is in
 * sight; the name as sent stays in the raw source.
 */
import { expect, test } from 'vitest';
import { safeName } from '../../src/mail/mime/file-name.ts';
import { parseMessage } from '../../src/mail/parse.ts';

const mebibyte = 1024 * 1024;

function mailWith(fileName: string): Buffer {
  const encoded = encodeURIComponent(fileName).replace(/['()*!]/gu, (sign) => `%${sign.charCodeAt(0).toString(16)}`);
  return Buffer.from(
    [
      'From: mallory@example.net',
      'Subject: invoice',
      'MIME-Version: 1.0',
      'Content-Type: application/octet-stream',
      `Content-Disposition: attachment; filename*=utf-8''${encoded}`,
      '',
      'MZ',
      '',
    ].join('\r\n'),
  );
}

async function storedName(fileName: string): Promise<string | undefined> {
  return (await parseMessage(mailWith(fileName))).attachments[0]?.name;
}

test.each([
  ['a right-to-left override', 'invoice_\u202efdp.exe', 'invoice__fdp.exe'],
  ['an Arabic letter mark', 'invoice\u061cfdp.exe', 'invoice_fdp.exe'],
  ['bidirectional isolates', 'a\u2067fdp.\u2069exe', 'a_fdp._exe'],
  ['a zero-width space in the extension', 'invoice.e\u200bx\u200de', 'invoice.exe'],
  ['a byte order mark and a Hangul filler', '\ufeffin\u3164voice.exe', 'invoice.exe'],
  ['80 blanks before the extension', `invoice.pdf${' '.repeat(80)}.exe`, 'invoice.pdf .exe'],
  ['80 other blanks', `invoice.pdf${'\u00a0\u2003\u2800\t'.repeat(20)}.exe`, 'invoice.pdf_.exe'],
  ['80 underscores', `invoice.pdf${'_'.repeat(80)}.exe`, 'invoice.pdf_.exe'],
  ['80 dots', `invoice.pdf${'.'.repeat(80)}exe`, 'invoice.pdf_.exe'],
  ['dots and blanks in turn', `invoice.pdf${' .'.repeat(80)}exe`, 'invoice.pdf_.exe'],
  ['80 block elements', `invoice.pdf${'\u2581'.repeat(80)}.exe`, 'invoice.pdf_.exe'],
  ['80 blank hieroglyphs', `invoice.pdf${'\u{13441}'.repeat(80)}.exe`, 'invoice.pdf_.exe'],
  ['80 characters of private use', `invoice.pdf${'\ue000\u{f0001}'.repeat(40)}.exe`, 'invoice.pdf_.exe'],
  ['80 unassigned code points', `invoice.pdf${'\u0378\u1cbb'.repeat(40)}.exe`, 'invoice.pdf_.exe'],
  ['80 stacked marks', `invoice.pdf${'\u0300'.repeat(80)}.exe`, `invoice.pdf${'\u0300'.repeat(4)}.exe`],
  ['80 Thai marks', `a${'\u0e47'.repeat(80)}.exe`, `a${'\u0e47'.repeat(4)}.exe`],
  ['dots with marks', `invoice.pdf${'.\u0300'.repeat(80)}exe`, 'invoice.pdf_exe'],
  ['marks of honest names', 'ที่อยู่ प्रार्थना Tiếng.pdf', 'ที่อยู่ प्रार्थना Tiếng.pdf'],
  ['dots and blanks at the end, which Windows drops', 'setup.exe. . ', 'setup.exe'],
  ['a device of Windows', 'CON', '_CON'],
  ['a device with an extension', 'nul.txt', '_nul.txt'],
  ['a device with a blank', 'lpt1 .tar.gz', '_lpt1 .tar.gz'],
  ['a device with a superscript digit', 'COM\u00b9.log', '_COM\u00b9.log'],
  ['an alternate data stream', 'readme.txt:evil.exe', 'readme.txt_evil.exe'],
  ['a path', '../../etc/cron.d/evil', '.._.._etc_cron.d_evil'],
  ['a drive', 'C:\\Windows\\evil.exe', 'C_Windows_evil.exe'],
  ['markup and quotes', 'a"><script>.html', 'a_script_.html'],
  ['line ends', 'a\r\nX-Header: b.txt', 'a_X-Header_ b.txt'],
])('%s', async (_title, sent, stored) => {
  expect(await storedName(sent)).toBe(stored);
});

test('a name of 1,000 characters keeps its extension and fits into any file system', async () => {
  for (const letter of ['a', '\u4e2d', '\u{1f600}']) {
    const name = (await storedName(`${letter.repeat(1000)}.pdf.exe`)) ?? '';
    expect(name.endsWith('.exe')).toBe(true);
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(255);
    expect(name.isWellFormed()).toBe(true);
  }
});

test.each([
  'Rechnung 2026-11.pdf',
  'r\u00e9sum\u00e9 (final) v2.docx',
  '\u5831\u544a\u66f8.xlsx',
  '\u05d3\u05d5\u05d7.pdf',
  'console.log',
  '.env',
])('the honest name %s stays as it is', async (name) => {
  expect(await storedName(name)).toBe(name);
});

test('a name of a megabyte, of whatever, costs less than a second', () => {
  for (const part of ['. ', '_\u200b', ' .', '\u202e', '..', 'nul.'])
    expect(() => safeName(part.repeat(mebibyte / 2))).not.toThrow();
}, 6000);

test.each([
  ['an override', 'Support\u202egro.knab@', 'Supportgro.knab@'],
  ['isolates and embeddings', '\u2067Ada\u2069 \u202bLovelace\u202c', 'Ada Lovelace'],
  ['characters that are never drawn', 'A\u200bd\u2060a\ufeff L\u00adovelace\u2063', 'Ada Lovelace'],
  ['nothing else', '\u202e\u200b', ''],
  [
    'honest marks and joiners',
    '\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645 \u05d0\u200f \u{1f469}\u200d\u{1f4bb}',
    null,
  ],
])('a display name of %s', async (_title, sent, shown) => {
  const word = `=?utf-8?b?${Buffer.from(sent).toString('base64')}?=`;
  const { from, replyTo } = await parseMessage(
    Buffer.from(`From: ${word} <mallory@example.net>\r\nReply-To: "x" <a@b>, ${word} <c@d>\r\n\r\nx\r\n`),
  );
  expect([from?.name, replyTo[1]?.name]).toEqual([shown ?? sent, shown ?? sent]);
});
