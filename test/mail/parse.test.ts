/** Whole messages through the parser: our own ones field by field, then arbitrary and damaged bytes. */
import { hash } from 'node:crypto';
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { ParsedMessage } from '../../src/mail/message.ts';
import { parseMessage } from '../../src/mail/parse.ts';
import { expectedOf, fixtureNames, readFixture, short } from './expected.ts';

const bytes = (text: string) => new Uint8Array(Buffer.from(text, 'latin1'));

describe('our own messages', () => {
  test('all have an expected reading', () => {
    const files = readdirSync(join(import.meta.dirname, '../fixtures/messages')).map((file) =>
      file.replace('.eml', ''),
    );
    expect(files.toSorted()).toEqual(fixtureNames.toSorted());
  });

  test.each(fixtureNames)('%s is read field by field', async (name) => {
    expect(short(await parseMessage(readFixture(name)))).toEqual(expectedOf(name));
  });

  test('an attachment has the bytes that were sent, whatever their transfer encoding', async () => {
    const { attachments } = await parseMessage(readFixture('attachment-rfc2231'));
    const pdf = Buffer.concat([Buffer.from('%PDF-1.4 not really\n'), Uint8Array.from({ length: 256 }, (_, at) => at)]);
    expect(Buffer.from(attachments[0]?.content ?? [])).toEqual(pdf);
    expect(attachments[0]?.sha256).toBe(hash('sha256', pdf));
    expect(Buffer.from(attachments[1]?.content ?? []).toString()).toBe('id;sum\r\n1;20\r\n');
  });

  test('the source stays as it was', async () => {
    const source = readFixture('japanese-raw');
    const before = hash('sha256', source);
    await parseMessage(source);
    expect(hash('sha256', source)).toBe(before);
  });
});

describe('a message with a wrong charset', () => {
  test('is decoded as windows-1252 when it is no UTF-8', async () => {
    const { text } = await parseMessage(bytes('Content-Type: text/plain; charset=utf-8\r\n\r\nf\xfcr \x80 5\r\n'));
    expect(text).toBe('für € 5\n');
  });

  test('is decoded again, with format=flowed', async () => {
    const { text } = await parseMessage(bytes('Content-Type: text/plain; format=flowed\r\n\r\nf\xfcr \r\nuns\r\n'));
    expect(text).toBe('für uns\n');
  });

  test('stays UTF-8 when a single byte is broken', async () => {
    const { text } = await parseMessage(bytes(`\r\n${Buffer.from('für über öfter').toString('latin1')} \xff\r\n`));
    expect(text).toBe('für über öfter \ufffd\n');
  });
});

function expectSound(parsed: ParsedMessage): void {
  for (const text of [parsed.text, parsed.html ?? '', parsed.subject, parsed.messageId]) {
    expect(text).not.toContain('\0');
    expect(text.isWellFormed()).toBe(true);
  }
  expect(parsed.text).not.toContain('\r');
  expect(parsed.messageId).not.toBe('');
  for (const { name, content, sizeBytes, sha256 } of parsed.attachments) {
    expect(name).toMatch(/^[^/\\\0]{1,255}$/u);
    expect(content.length).toBe(sizeBytes);
    expect(content.buffer.byteLength).toBe(sizeBytes);
    expect(hash('sha256', content)).toBe(sha256);
  }
}

describe('any bytes', () => {
  test('are parsed without a failure', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 2000 }), async (source) => {
        const startedAtMs = performance.now();
        expectSound(await parseMessage(new Uint8Array(source)));
        expect(performance.now() - startedAtMs).toBeLessThan(1000);
      }),
      { numRuns: 200 },
    );
  });

  test('are parsed without a failure when they are pieces of messages out of order', async () => {
    const piece = fc.oneof(
      fc.constantFrom(
        ...['Content-Type: ', 'multipart/mixed', 'multipart/alternative', 'message/rfc822', 'text/html', 'text/plain'],
        ...[
          '; boundary=b',
          '; boundary="b c"',
          '; charset=',
          'iso-2022-jp',
          'utf-7',
          'gb2312',
          'utf-16',
          '\r\n--b\r\n',
        ],
        ...[
          '\r\n--b--\r\n',
          '\r\n',
          '\r\n\r\n',
          '\n',
          '\r',
          '=?utf-8?q?',
          '?=',
          '=E4',
          '=\r\n',
          'begin 644 a\r\n#86)C\r\n',
        ],
        ...[
          'Content-Transfer-Encoding: ',
          'base64',
          'quoted-printable',
          'x-uuencode',
          'YQ==',
          '\x1b$B',
          '\x1b(I',
          '\xff\xfe',
        ],
        ...[
          'Content-Disposition: attachment; filename*0*=',
          'From: ',
          'Subject: ',
          '<a@b>',
          '"',
          '%E4',
          '<p>',
          'cid:',
          '~{',
        ],
      ),
      fc.string({ maxLength: 5 }),
    );
    await fc.assert(
      fc.asyncProperty(fc.array(piece, { maxLength: 60 }), async (pieces) => {
        expectSound(await parseMessage(bytes(pieces.join(''))));
      }),
      { numRuns: 1000 },
    );
  });

  test('are parsed without a failure when they are a damaged message', async () => {
    const change = fc.record({
      at: fc.double({ min: 0, max: 1, noNaN: true }),
      cut: fc.nat(40),
      put: fc.oneof(
        fc.uint8Array({ maxLength: 8 }),
        fc
          .constantFrom('\r\n\r\n', '\r\n', '--', '=', '"', ';', '<', '>', '=?utf-8?B?', '\0', 'boundary=', ':')
          .map(bytes),
      ),
    });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom(...fixtureNames), fc.array(change, { maxLength: 8 }), async (name, changes) => {
        let source = Buffer.from(readFixture(name));
        for (const { at, cut, put } of changes) {
          const start = Math.floor(at * source.length);
          source = Buffer.concat([source.subarray(0, start), put, source.subarray(start + cut)]);
        }
        expectSound(await parseMessage(new Uint8Array(source)));
      }),
      { numRuns: 400 },
    );
  });
});
