/** Header fields, text and names of attachments as found in real messages. */
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { shownContentIds } from '../../../src/mail/mime/attachments.ts';
import { safeName } from '../../../src/mail/mime/file-name.ts';
import { declaredCharset, decodeField, splitMessage, storedHeaders } from '../../../src/mail/mime/headers.ts';
import { textOfHtml } from '../../../src/mail/mime/html.ts';
import { readMessageId, readMessageIds, readSentAt } from '../../../src/mail/mime/structured-fields.ts';
import { storable } from '../../../src/mail/mime/text.ts';

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));

describe('Message-IDs', () => {
  test.each([
    ['<a@b>', ['a@b']],
    ['<a@b> <c@d>\t<a@b>', ['a@b', 'c@d']],
    ['<a@b><c@d>', ['a@b', 'c@d']],
    ['<a@ b> (a comment <not@this>)', ['a@b', 'not@this']],
    ['<a@b <c@d>', ['a@b', 'c@d']],
    ['<a@b', ['a@b']],
    ['Your mail of Tuesday <a@b>', ['a@b']],
    ['a@b c@d', ['a@b', 'c@d']],
    ['a@b (Anna), c@d', ['a@b', 'c@d']],
    ['Tuesday', []],
    ['<>', []],
    ['', []],
  ])('of the list %j are %j', (value, ids) => {
    expect(readMessageIds(value)).toEqual(ids);
  });

  test.each([
    ['<a@b>', 'a@b'],
    [' a@b ', 'a@b'],
    ['no at sign', 'noatsign'],
    ['<>', null],
    ['(only a comment)', null],
    ['', null],
  ])('of the field %j is %j', (value, id) => {
    expect(readMessageId(value)).toBe(id);
  });

  test('of an endless thread are cut to the nearest thousand', () => {
    const ids = readMessageIds(Array.from({ length: 1500 }, (_, index) => `<${index}@x>`).join(' '));
    expect([ids.length, ids[0], ids.at(-1)]).toEqual([1000, '500@x', '1499@x']);
  });
});

describe('dates', () => {
  test.each([
    ['Tue, 24 Nov 2026 09:15:30 +0100', '2026-11-24T08:15:30Z'],
    ['24 Nov 2026 09:15 -0330', '2026-11-24T12:45:00Z'],
    ['Tue, 24 Nov 26 09:15:00 EST', '2026-11-24T14:15:00Z'],
    ['Tue, 24 Nov 99 09:15:00 GMT (a comment)', '1999-11-24T09:15:00Z'],
    ['Tue, 24 Nov 126 09:15:00', '2026-11-24T09:15:00Z'],
    ['Tue,24-November-2026 9:15:00 +00:00', '2026-11-24T09:15:00Z'],
    ['Tue Nov 24 09:15:00 2026', '2026-11-24T09:15:00Z'],
    ['Tue Nov 24 09:15:00 PST 2026', '2026-11-24T17:15:00Z'],
    ['2026-11-24T09:15:00+01:00', '2026-11-24T08:15:00Z'],
    ['31 Dec 1998 23:59:60 +0000', '1999-01-01T00:00:00Z'],
    ['Tue, 24 Nov 2026 09:15:30 PM +0100', '2026-11-24T20:15:30Z'],
    ['24 Nov 2026 12:05 a.m.', '2026-11-24T00:05:00Z'],
    ['24 Nov 2026 12:05 PM', '2026-11-24T12:05:00Z'],
    ['Tuesday, November 24, 2026 9:15 PM', '2026-11-24T21:15:00Z'],
    ['Tue, Nov 24 2026 21:15:00 -0800', '2026-11-25T05:15:00Z'],
    ['Tue Nov 24 2026 21:15:00 GMT+0100 (CET)', '2026-11-24T20:15:00Z'],
    ['Tue Nov 24 21:15:00 2026 +0100', '2026-11-24T20:15:00Z'],
    ['11/24/2026 9:15:00 PM', '2026-11-24T21:15:00Z'],
    ['24/11/2026 21:15', '2026-11-24T21:15:00Z'],
    ['04/05/2026 21:15:00', '2026-04-05T21:15:00Z'],
    ['4.5.2026, 21:15:00', '2026-05-04T21:15:00Z'],
    ['2026/11/24 21:15:00', '2026-11-24T21:15:00Z'],
  ])('%j is %s', (value, iso) => {
    expect(readSentAt(value)).toBe(Date.parse(iso));
  });

  test.each([
    '',
    'yesterday',
    'foo 1',
    '31 Feb 2026 10:00:00',
    '1 Jan 2026 25:00:00',
    '1 Foo 2026 10:00:00',
    '1 Jan 1950 10:00:00',
    '13/14/2026 10:00:00',
  ])('%j is unreadable', (value) => {
    expect(readSentAt(value)).toBeNull();
  });
});

describe('header blocks', () => {
  test('end at the first empty line, whatever the line ends', () => {
    for (const source of ['A: 1\r\n b\r\n\r\nbody', 'A: 1\n b\n\nbody']) {
      const { headers, body } = splitMessage(bytes(source));
      expect(headers.map(([name, value]) => [name, decodeField(value, null)])).toEqual([['a', '1 b']]);
      expect(Buffer.from(body).toString()).toBe('body');
    }
  });

  test('may be missing, or all there is', () => {
    expect(splitMessage(bytes('\r\nbody')).headers).toEqual([]);
    expect(splitMessage(bytes('A: 1')).headers).toEqual([['a', ' 1']]);
    expect(splitMessage(bytes('')).headers).toEqual([]);
  });

  test('skip lines that are no field', () => {
    expect(splitMessage(bytes('From a@b Mon Jan 1 00:00:00\r\nno field\r\n: x\r\nA : 1\r\n\r\n')).headers).toEqual([
      ['a', ' 1'],
    ]);
  });

  test('in raw bytes are decoded in the charset that a part declares', () => {
    const mail = splitMessage(bytes('Subject: \xd0\xd2\r\n\r\n--b\r\nContent-Type: text/plain; charset="koi8-r"\r\n'));
    expect(declaredCharset(mail)).toBe('koi8-r');
    expect(decodeField(mail.headers[0]?.[1] ?? '', declaredCharset(mail))).toBe('пр');
  });

  test('may hold raw bytes inside an encoded word', () => {
    expect(decodeField('=?iso-8859-2?Q?\xb9_=B9?=', null)).toBe('š š');
  });

  test('have values and numbers cut at the limits', () => {
    const kept = storedHeaders(
      Array.from({ length: 300 }, () => ['x-loop', ` ${'a'.repeat(5000)}`] as const),
      null,
    );
    expect([kept.length, kept[0]?.[1].length]).toEqual([200, 2000]);
  });
});

describe('names of attachments', () => {
  test.each([
    ['a/b\\c.txt', 'a_b_c.txt'],
    ['  a.txt ', 'a.txt'],
    ['a\0\r\nb.txt', 'a_b.txt'],
    ['..', null],
    ['/', null],
    ['', null],
    ['.env', '.env'],
  ])('%j becomes %j', (sent, name) => {
    expect(safeName(sent)).toBe(name);
  });

  test('are at most 255 characters, a short extension included', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 400 }),
        fc.constantFrom('', '.pdf', '.tar.gz'),
        (stem, extension) => {
          const name = safeName(`a${stem}${extension}`);
          expect(name?.length).toBeLessThanOrEqual(255);
          expect(name?.isWellFormed()).toBe(true);
          if (extension !== '') expect(name).toMatch(/\.(?:pdf|gz)$/u);
        },
      ),
    );
  });

  test('Content-IDs in the HTML are found, escaped or not', () => {
    expect([...shownContentIds('<img src="cid:a@b"><td background=\'CID:c%20d@e\'>')]).toEqual(['a@b', 'c d@e']);
  });
});

describe('text', () => {
  test('has LF line ends, no NUL and no broken surrogates', () => {
    expect(storable('a\r\nb\rc\0d\ud800')).toBe('a\nb\ncd\ufffd');
  });

  test('of HTML leaves out scripts, styles and images', () => {
    const html = '<style>x</style><script>y</script><p>A<br>b</p><img src="cid:z" alt="logo"><ul><li>one<li>two</ul>';
    expect(textOfHtml(html)).toBe('A\nb\n\n * one\n * two');
  });

  test('of HTML that nests too deep is still read', () => {
    expect(textOfHtml(`${'<div>'.repeat(100_000)}deep &amp; low${'</div>'.repeat(100_000)}`)).toBe('deep & low');
  });

  test('of HTML at the nesting limit is whole', () => {
    expect(textOfHtml(`${'<table><tr><td>'.repeat(390)}deep`)).toBe('deep');
  });
});
