/** The key of a message: the same on every server that keeps its content, another for every other content. */
import { describe, expect, test } from 'vitest';
import { dedupKey } from '../../src/mail/fingerprint.ts';
import { parseMessage } from '../../src/mail/parse.ts';

const keyOf = async (source: string) => dedupKey(await parseMessage(new Uint8Array(Buffer.from(source, 'latin1'))));

const fields = 'From: a@b\r\nSubject: one\r\n two\r\nDate: Mon, 23 Nov 2026 10:00:00 +0000\r\n';
const id = 'Message-ID: <x@y>\r\n';
const received = 'Received: from a by b; Mon, 23 Nov 2026 10:00:01 +0000\r\n';

/** Ends the message with those bytes in place of its body. */
const withBody = (source: string, body: string) => source.slice(0, source.indexOf('\r\n\r\n') + 4) + body;

for (const [named, mail] of [
  ['with a Message-ID', `${fields}${id}\r\nbody\r\n\r\nmore \r\n`],
  ['without a Message-ID', `${received}${fields}\r\nbody\r\n\r\nmore \r\n`],
] as const)
  describe(`a message ${named}, on another server`, () => {
    test.each([
      ['LF in place of CRLF', (source: string) => source.replaceAll('\r\n', '\n')],
      ['LF in one line', (source: string) => source.replace('body\r\n', 'body\n')],
      ['CR alone', (source: string) => source.replaceAll('\r\n', '\r')],
      ['CR alone, with a line end added', (source: string) => `${source.replaceAll('\r\n', '\r')}\r\n`],
      ['no line end at its end', (source: string) => source.slice(0, -2)],
      ['a CR at its end', (source: string) => source.slice(0, -1)],
      ['empty lines at its end', (source: string) => `${source}\r\n\n\r\n`],
      ['fields that are folded again', (source: string) => source.replace('one\r\n two', 'one two')],
      ['a blank after the colon', (source: string) => source.replace('From: ', 'From:')],
      ['flags in its header', (source: string) => `Status: RO\r\nX-UID: 7\r\nX-Keywords: a\r\nLines: 3\r\n${source}`],
      ['a return path', (source: string) => `Return-Path: <a@b>\r\nDelivered-To: c@d\r\n${source}`],
      ['the line of an mbox', (source: string) => `From a@b Mon Nov 23 10:00:00 2026\r\n${source}`],
    ])('with %s, has the same key', async (_, moved) => {
      expect(await keyOf(moved(mail))).toBe(await keyOf(mail));
    });

    test('without a body, has the same key with an empty line and without', async () => {
      const empty = await keyOf(withBody(mail, ''));
      expect(await keyOf(withBody(mail, '').slice(0, -2))).toBe(empty);
      expect(await keyOf(withBody(mail, '\r\n\n'))).toBe(empty);
    });

    test('has the same key wherever its line ends fall in the chunks that are hashed', async () => {
      for (let more = 65_530; more < 65_540; more += 1) {
        const long = withBody(mail, `${'x'.repeat(more)}\r\nmore\r\n${'y'.repeat(100_000)}\r\n`);
        expect(await keyOf(long.replaceAll('\r\n', '\n'))).toBe(await keyOf(long));
        const bare = withBody(mail, `a\r\n${'x'.repeat(more - 5)}\r\r\r\nmore\r\n`);
        expect(await keyOf(bare.replace('a\r\n', 'a\n'))).toBe(await keyOf(bare));
      }
    });

    test.each([
      ['body\r\n', 'Body\r\n'],
      ['body\r\n\r\n', 'body\r\n'],
      ['body\r\n', 'body \r\n'],
      ['body\r\n', '> body\r\n'],
      ['body\r\n', ' body\r\n'],
      // No line of MIME: a boundary behind it is none.
      ['body\r\n\r\n', 'body\r\r\n'],
      ['body\r\n', 'bo\rdy\r\n'],
      ['one\r\n two', 'two'],
      ['a@b', 'b@b'],
      ['10:00:00', '10:00:59'],
      ['\r\n\r\n', '\r\nAuto-Submitted: auto-replied\r\n\r\n'],
      ['\r\n\r\n', '\r\nContent-Disposition: attachment; filename=a.exe\r\n\r\n'],
      ['\r\n\r\n', '\r\nContent-ID: <a@b>\r\n\r\n'],
    ])('is another message with %j as %j', async (before, after) => {
      expect(mail).toContain(before);
      expect(await keyOf(mail.replace(before, after))).not.toBe(await keyOf(mail));
    });
  });

test('another Message-ID is another message; another server on the way is not', async () => {
  const mail = `${fields}${id}\r\nbody\r\n`;
  expect(await keyOf(mail.replace('<x@y>', '<x@z>'))).not.toBe(await keyOf(mail));
  expect(await keyOf(`${received}X-Spam: no\r\n${mail}`)).toBe(await keyOf(mail));
});

test('without a Message-ID, words that are sent twice are two messages by any field of the sender or the way', async () => {
  const mail = `${received}${fields}\r\nbody\r\n`;
  const keys = await Promise.all([
    keyOf(mail),
    keyOf(mail.replace('10:00:01', '10:05:01')),
    keyOf(`${received}${mail}`),
    keyOf(`X-Serial: 2\r\n${mail}`),
    keyOf(`a line that is no field\r\n${mail}`),
  ]);
  expect(new Set(keys).size).toBe(keys.length);
});

test('without a field of its own, the whole of a message counts', async () => {
  const sources = [
    'hello',
    'HELLO: you',
    'hello: you\u00e9',
    'hello\r\n\r\nyou',
    'Status: one',
    'Status: two',
    '\r\none',
    '\r\ntwo',
    '',
  ];
  const keys = await Promise.all(sources.map(keyOf));
  expect(new Set(keys).size).toBe(sources.length);
});

test('hashing stays linear, whatever the line ends are', async () => {
  for (const part of ['\n', '\r', '\na', '\ra', '\r\r\na', 'a: b\n', 'a\n', 'a: b\n ', ' \n']) {
    const begunAt = performance.now();
    await keyOf(`Subject: x\n\n${part.repeat(3_000_000 / part.length)}`);
    await keyOf(`Subject: x\n${part.repeat(3_000_000 / part.length)}`);
    expect(performance.now() - begunAt).toBeLessThan(4000);
  }
});
