/**
 * TNEF (winmail.dat): names, contents and bodies from streams that this test writes, and from broken ones.
 *
 * With the corpus of public messages real streams are read too, and compared with the lists beside them.
 */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { readRtf } from '../../../src/mail/formats/rtf.ts';
import { readTnef } from '../../../src/mail/formats/tnef.ts';
import { decompressRtf } from '../../../src/mail/formats/tnef-properties.ts';
import { parseMessage } from '../../../src/mail/parse.ts';
import { corpusFolder } from '../corpus.ts';
import {
  attribute,
  compressedRtf,
  ids,
  legacyAttachment,
  number32,
  type Property,
  properties,
  rtfBomb,
  storedRtf,
  tnef,
} from './tnef-writer.ts';

/** 5 MB take under half a second on an idle machine; tests may run on a busy one. */
const limitMs = 3000;

const message = (...list: readonly Property[]) => attribute(1, ids.properties, properties(list));
const attachment = (...list: readonly Property[]) =>
  Buffer.concat([
    attribute(2, ids.attachmentStart, Buffer.alloc(14)),
    attribute(2, ids.attachmentProperties, properties(list)),
  ]);
/** Counts of 100 ns since 1601. */
function fileTime(atMs: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(BigInt(atMs + 11_644_473_600_000) * 10_000n);
  return bytes;
}
const text = (content: Uint8Array | undefined) => Buffer.from(content ?? []).toString();

describe('attachments', () => {
  test('have the name and the bytes of the first attributes', () => {
    const read = readTnef(tnef(legacyAttachment('LETTER.TXT', 'dear'), legacyAttachment('b.bin', 'x')));
    expect(read?.attachments.map(({ name, content }) => [name, text(content)])).toEqual([
      ['LETTER.TXT', 'dear'],
      ['b.bin', 'x'],
    ]);
    expect(read).toMatchObject({ text: null, html: null });
  });

  test('have their long names, types and Content-IDs from the properties', () => {
    const read = readTnef(
      tnef(
        legacyAttachment('PICTUR~1.PNG', 'png'),
        attribute(
          2,
          ids.attachmentProperties,
          properties([
            { tag: 0x80010003, value: number32(1), named: 'own' },
            { tag: 0x3707001f, value: 'schöne Bilder – заказ.png' },
            { tag: 0x370e001e, value: 'image/png' },
            { tag: 0x3712001e, value: 'p1@example.test' },
            { tag: 0x37140003, value: number32(4) },
          ]),
        ),
      ),
    );
    expect(read?.attachments).toEqual([
      {
        name: 'schöne Bilder – заказ.png',
        type: 'image/png',
        disposition: 'inline',
        contentId: 'p1@example.test',
        content: Buffer.from('png'),
      },
    ]);
  });

  test('may have their bytes before their name, or none', () => {
    const start = attribute(2, ids.attachmentStart, Buffer.alloc(14));
    const read = readTnef(
      tnef(start, attribute(2, ids.data, 'x'), attribute(2, ids.title, 'a.txt\0'), legacyAttachment('empty.txt', '')),
    );
    expect(read?.attachments.map(({ name, content }) => [name, content.length])).toEqual([
      ['a.txt', 1],
      ['empty.txt', 0],
    ]);
  });

  test('have their names in the code page of the stream', () => {
    const codePage = attribute(1, ids.codePage, Buffer.concat([number32(1251), number32(0)]));
    const title = Buffer.from([0xe7, 0xe0, 0xea, 0xe0, 0xe7]);
    const start = attribute(2, ids.attachmentStart, Buffer.alloc(14));
    const read = readTnef(tnef(codePage, start, attribute(2, ids.title, title), attribute(2, ids.data, 'x')));
    expect(read?.attachments[0]?.name).toBe('заказ');
  });

  test('that are messages become MIME messages, with their attachments', async () => {
    const inner = tnef(
      message(
        { tag: 0x0037001f, value: 'Größe?' },
        { tag: 0x0c1a001f, value: 'Ada Example' },
        { tag: 0x5d01001f, value: 'ada@example.test' },
        { tag: 0x0e04001f, value: 'Bob; Carol' },
        { tag: 0x00390040, value: fileTime(Date.UTC(2024, 4, 1)) },
        { tag: 0x1000001f, value: 'Wie groß ist es?' },
      ),
      legacyAttachment('plan.pdf', 'PDF'),
    );
    const read = readTnef(
      tnef(
        attachment(
          { tag: 0x3001001f, value: 'Größe?' },
          { tag: 0x3701000d, value: Buffer.concat([Buffer.alloc(16), inner]) },
        ),
      ),
    );
    const [part] = read?.attachments ?? [];
    expect(part).toMatchObject({ name: 'Größe?.eml', type: 'message/rfc822' });
    const mail = await parseMessage(new Uint8Array(part?.content ?? []));
    expect(mail).toMatchObject({
      subject: 'Größe?',
      from: { name: 'Ada Example', address: 'ada@example.test' },
      text: expect.stringContaining('Wie groß ist es?'),
    });
    expect(mail.sentAtMs).toBe(Date.UTC(2024, 4, 1));
    expect(mail.attachments.map(({ name, content }) => [name, text(content)])).toEqual([['plan.pdf', 'PDF']]);
  });

  test('that are other objects stay as they are', () => {
    const value = Buffer.concat([Buffer.alloc(16), Buffer.from('OLE')]);
    const read = readTnef(tnef(attachment({ tag: 0x3001001e, value: 'Drawing' }, { tag: 0x3701000d, value })));
    expect(read?.attachments).toMatchObject([{ name: 'Drawing', type: 'application/octet-stream' }]);
    expect(text(read?.attachments[0]?.content)).toBe('OLE');
  });

  test('messages in messages are bounded', () => {
    let inner: Buffer = tnef(attribute(1, ids.body, 'deep\0'));
    for (let depth = 0; depth < 50; depth++)
      inner = tnef(attachment({ tag: 0x3701000d, value: Buffer.concat([Buffer.alloc(16), inner]) }));
    expect(readTnef(inner)?.attachments).toHaveLength(1);
  });
});

describe('the body', () => {
  test.each([
    ['text of the first attributes', [attribute(1, ids.body, 'hello\0')], { text: 'hello', html: null }],
    ['text of the properties', [message({ tag: 0x1000001f, value: 'grüße' })], { text: 'grüße', html: null }],
    [
      'HTML in its own code page',
      [
        message(
          { tag: 0x10130102, value: Buffer.from([0x3c, 0x70, 0x3e, 0xc1]) },
          { tag: 0x3fde0003, value: number32(20866) },
        ),
      ],
      { text: null, html: '<p>а' },
    ],
    [
      'UTF-8 under any code page',
      [attribute(1, ids.codePage, Buffer.concat([number32(1251), number32(0)])), attribute(1, ids.body, 'grüße')],
      { text: 'grüße', html: null },
    ],
    [
      'text in a code page of DOS',
      [
        attribute(1, ids.codePage, Buffer.concat([number32(850), number32(0)])),
        attribute(1, ids.body, Buffer.of(0x81)),
      ],
      { text: 'ü', html: null },
    ],
    [
      'text of compressed RTF',
      [message({ tag: 0x10090102, value: compressedRtf('{\\rtf1\\ansi one\\par two}') })],
      { text: 'one\ntwo', html: null },
    ],
    [
      'text of stored RTF',
      [message({ tag: 0x10090102, value: storedRtf('{\\rtf1\\ansi one}') })],
      { text: 'one', html: null },
    ],
    [
      'HTML encapsulated in RTF, and the text beside it',
      [
        message(
          { tag: 0x1000001f, value: 'Hi' },
          {
            tag: 0x10090102,
            value: compressedRtf(
              '{\\rtf1\\fromhtml1{\\*\\htmltag64 <p>}\\htmlrtf {\\b\\htmlrtf0 Hi\\htmlrtf }\\htmlrtf0{\\*\\htmltag72 </p>}}',
            ),
          },
        ),
      ],
      { text: 'Hi', html: '<p>Hi</p>' },
    ],
  ])('%s', (_, attributes, body) => {
    expect(readTnef(tnef(...attributes))).toMatchObject(body);
  });
});

describe('compressed RTF', () => {
  test('repeats the bytes that it refers to', () => {
    // The example of MS-OXRTFCP section 4.1
    const example =
      '2d0000002b0000004c5a4675f1c5c7a703000a007263706731323542320af32068656c090020627705b06c647d0a800fa0';
    const raw = decompressRtf(Buffer.from(example, 'hex'), 1000);
    expect(text(raw ?? undefined)).toBe('{\\rtf1\\ansi\\ansicpg1252\\pard hello world}\r\n');
  });

  test('is bounded in length', () => {
    expect(decompressRtf(rtfBomb(100_000), 5000)).toHaveLength(5000);
    expect(decompressRtf(Buffer.from('no such thing at all'), 1000)).toBeNull();
  });
});

describe('RTF', () => {
  const read = (rtf: string) => readRtf(Buffer.from(rtf, 'latin1'));

  test.each([
    ['escaped signs', '{\\rtf1 a\\{b\\}\\\\c}', 'a{b}\\c'],
    ['bytes in the code page of the document', "{\\rtf1\\ansi\\ansicpg1251 \\'e4\\'e0}", 'да'],
    [
      'bytes in the code page of the font',
      "{\\rtf1\\ansi\\ansicpg1252\\deff0{\\fonttbl{\\f0\\fcharset0 A;}{\\f1\\fcharset128 B;}}\\f1\\'93\\'fa\\'96\\'7b\\f0\\'e9}",
      '日本é',
    ],
    [
      'characters by number, and their replacements',
      "{\\rtf1\\uc1 \\u8364\\'80 \\u-10179?\\u-8704? {\\uc0\\u233 x}}",
      '€ 😀 éx',
    ],
    ['no hidden text', '{\\rtf1{\\fonttbl{\\f0 Arial;}}{\\info{\\title t}}{\\*\\x y}{\\pict 00ff}a{\\v no}b}', 'ab'],
    ['binary data', '{\\rtf1 a{\\pict\\bin3 }}}}b}', 'ab'],
    ['lines and cells', '{\\rtf1 a\\line b\\tab c\\cell d\\row\\emdash}', 'a\nb\tc\td\n—'],
    [
      'the results of fields',
      '{\\rtf1{\\field{\\*\\fldinst HYPERLINK "http://example.test"}{\\fldrslt here}}}',
      'here',
    ],
    ['groups that stay open', '{\\rtf1{{{a', 'a'],
    ['braces too many', '{\\rtf1 a}}}}b', 'ab'],
  ])('has %s', (_, rtf, expected) => {
    expect(read(rtf)).toEqual({ html: null, text: expected });
  });

  test('gives the encapsulated HTML', () => {
    const rtf =
      '{\\rtf1\\ansi\\ansicpg1252\\fromhtml1 \\deff0{\\fonttbl{\\f0 Arial;}}{\\*\\generator X}' +
      '{\\*\\htmltag19 <html>}\r\n{\\*\\htmltag2 \\par }{\\*\\htmltag64 <p>}\\htmlrtf \\pard\\plain{\\htmlrtf0 ' +
      "Caf\\'e9 {\\*\\htmltag84 &nbsp;}\\{x\\}\\htmlrtf }\\htmlrtf0{\\*\\mhtmltag84 <a>}{\\pntext\\'b7}{\\*\\htmltag72 </p>}}";
    expect(read(rtf)).toEqual({ html: '<html>\n<p>Café &nbsp;{x}</p>', text: null });
  });

  test('is null for other bytes', () => {
    expect(read('hello')).toBeNull();
    expect(read('')).toBeNull();
  });
});

describe('a broken calendar', () => {
  const whole = tnef(
    attribute(1, ids.codePage, Buffer.concat([number32(1252), number32(0)])),
    message(
      { tag: 0x1000001f, value: 'body' },
      { tag: 0x80020102, value: Buffer.from('x'), named: 'n' },
      { tag: 0x10090102, value: compressedRtf('{\\rtf1 body}') },
    ),
    legacyAttachment('a.txt', 'aaaa'),
    attachment({ tag: 0x3707001f, value: 'b.txt' }, { tag: 0x37010102, value: Buffer.from('bbbb') }),
  );

  test('is null for other bytes', () => {
    expect(readTnef(Buffer.from('this is no such file'))).toBeNull();
    expect(readTnef(new Uint8Array(0))).toBeNull();
    expect(readTnef(whole)?.attachments.map(({ name }) => name)).toEqual(['a.txt', 'b.txt']);
  });

  test('is read as far as possible, wherever it is truncated', () => {
    for (let length = 0; length < whole.length; length++) {
      const read = readTnef(whole.subarray(0, length));
      expect(read === null).toBe(length < 6);
      if (length > 300) expect(read?.text).toBe('body');
    }
  });

  test('never fails, whatever the bytes are', () => {
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.uint8Array({ minLength: 1, maxLength: 12 }), (at, bytes) => {
        const changed = Buffer.from(whole);
        changed.set(bytes.subarray(0, whole.length - at), at);
        readTnef(changed);
      }),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 300 }), (bytes) => {
        readTnef(tnef(attribute(1, ids.properties, bytes), attribute(2, ids.attachmentProperties, bytes), bytes));
        decompressRtf(Buffer.concat([compressedRtf('').subarray(0, 16), bytes]), 1000);
        readRtf(Buffer.concat([Buffer.from('{\\rtf1'), bytes]));
      }),
      { numRuns: 2000 },
    );
  });

  const size = 5_000_000;
  const filled = (piece: string) => Buffer.from(piece.repeat(Math.ceil(size / piece.length)), 'latin1');
  const many = (piece: Uint8Array) => Buffer.alloc(size, piece);
  const rtfOf = (piece: string) => tnef(message({ tag: 0x10090102, value: storedRtf(`{\\rtf1 ${filled(piece)}`) }));

  test.each([
    ['empty attributes', tnef(many(attribute(1, ids.body, '')))],
    ['endless attachments', tnef(many(legacyAttachment('a', 'b')))],
    ['starts of attachments', tnef(many(attribute(2, ids.attachmentStart, '')))],
    ['an attribute longer than the file', tnef(Buffer.from('010c800200ffffffff', 'hex'), Buffer.alloc(size))],
    [
      'endless properties',
      tnef(attribute(1, ids.properties, Buffer.concat([number32(0xffffffff), Buffer.alloc(size)]))),
    ],
    ['endless lists of properties', tnef(many(message({ tag: 0x1000001f, value: '' })))],
    [
      'a property with the maximum number of values',
      tnef(
        attribute(
          1,
          ids.properties,
          Buffer.concat([number32(9), number32(0x1000101f), number32(0xffffffff), Buffer.alloc(size)]),
        ),
      ),
    ],
    [
      'the maximum number of empty values',
      tnef(attribute(1, ids.properties, Buffer.concat([number32(9), number32(0x10001001), number32(0xffffffff)]))),
    ],
    [
      'a name longer than the file',
      tnef(
        attribute(
          1,
          ids.properties,
          Buffer.concat([number32(9), number32(0x80010003), Buffer.alloc(16), number32(1), number32(0xfffffff0)]),
        ),
      ),
    ],
    ['RTF that expands', tnef(message({ tag: 0x10090102, value: rtfBomb(size) }))],
    ['RTF of open groups', rtfOf('{')],
    ['RTF of groups', rtfOf('{\\f1{}}')],
    ['RTF of single letters', rtfOf("\\'e9\\u233?")],
    ['RTF of changing fonts', rtfOf("\\f0\\'e9\\f1\\'e9")],
    ['RTF of long words', rtfOf(`\\${'a'.repeat(1000)}`)],
    [
      'RTF of fonts',
      tnef(
        message({
          tag: 0x10090102,
          value: storedRtf(
            `{\\rtf1{\\fonttbl${Array.from({ length: 200_000 }, (_, id) => `\\f${id}\\fcharset128`).join('')}`,
          ),
        }),
      ),
    ],
    [
      'endless messages',
      tnef(
        many(
          attachment({
            tag: 0x3701000d,
            value: Buffer.concat([Buffer.alloc(16), tnef(message({ tag: 0x10090102, value: rtfBomb(3000) }))]),
          }),
        ),
      ),
    ],
    [
      'a message of names',
      tnef(
        attachment({
          tag: 0x3701000d,
          value: Buffer.concat([Buffer.alloc(16), tnef(message({ tag: 0x0037001f, value: 'ö'.repeat(size / 4) }))]),
        }),
      ),
    ],
  ])('is read within the limit: %s', (_, bytes) => {
    const startedAtMs = performance.now();
    readTnef(bytes);
    expect(performance.now() - startedAtMs).toBeLessThan(limitMs);
  });
});

const folder = join(corpusFolder, '_tnef-raw');
const present = existsSync(folder);

describe.skipIf(!present)(`real streams${present ? '' : ` (skipped: no folder ${folder})`}`, () => {
  const names = present ? readdirSync(folder).filter((name) => name.endsWith('.tnef')) : [];
  const bodyNames = /^body\.(?:rtf|html)$/u;

  test.each(names)('%s has the content of the list beside it', (name) => {
    const read = readTnef(readFileSync(join(folder, name)));
    const listed = readFileSync(join(folder, name.replace(/tnef$/u, 'list')), 'utf8')
      .split('\n')
      .filter(Boolean);
    const found = read?.attachments.map((one) => one.name) ?? [];
    // Objects have no name in the first attributes, which is all that the lists know.
    const files = listed.filter((one) => !bodyNames.test(one) && !one.startsWith('Untitled'));
    expect(found).toEqual(expect.arrayContaining(files));
    expect(found.length > 0).toBe(listed.some((one) => !bodyNames.test(one)) || found.length > files.length);
    if (listed.some((one) => bodyNames.test(one))) expect(read?.html ?? read?.text).toMatch(/\S/u);
  });
});
