import { describe, expect, test } from 'vitest';
import { fallbackMessage, headerOnlyMessage, readHeaderSummary } from '../../src/mail/fallback-message.ts';
import { parseMessage } from '../../src/mail/parse.ts';

const bytes = (text: string) => new Uint8Array(Buffer.from(text.replaceAll('\n', '\r\n'), 'latin1'));

const source = bytes(
  'Received: by mx\nFrom: =?utf-8?Q?J=C3=BCrgen?= <J@Example.test>\nSubject: The\n printer\nMessage-ID: <a@x>\n' +
    'References: <b@x> <c@x>\nContent-Type: multipart/mixed; boundary=b\n\n--b\nbroken',
);

describe('the fallback for a message that cannot be parsed', () => {
  test('has sender, subject and thread from the header, and the whole message attached', async () => {
    const head = await parseMessage(headerOnlyMessage(source));
    const fallback = fallbackMessage(source, head, 'why');
    expect(fallback).toMatchObject({
      ...{ from: { name: 'Jürgen', address: 'J@Example.test' }, subject: 'The printer', messageId: 'a@x' },
      ...{ references: ['b@x', 'c@x'], text: 'why', html: null, marks: [] },
      attachments: [{ name: 'original.eml', type: 'message/rfc822', sizeBytes: source.length }],
    });
    expect(Buffer.from(fallback.attachments[0]?.content ?? [])).toEqual(Buffer.from(source));
    expect(source.length).toBeGreaterThan(0);
  });

  test('has the Message-ID and content hash of the parsed message', async () => {
    const fallback = fallbackMessage(source, await parseMessage(headerOnlyMessage(source)), 'why');
    const { messageId, contentHash } = await parseMessage(new Uint8Array(source));
    expect([fallback.messageId, fallback.contentHash]).toEqual([messageId, contentHash]);
    const nameless = bytes('From: a@x\nSubject: no id\n\nbody');
    const same = fallbackMessage(nameless, await parseMessage(headerOnlyMessage(nameless)), 'why');
    const parsed = await parseMessage(new Uint8Array(nameless));
    expect([same.messageId, same.contentHash]).toEqual([parsed.messageId, parsed.contentHash]);
  });

  test('is a message even when nothing can be read', () => {
    expect(fallbackMessage(source, null, 'why')).toMatchObject({
      from: null,
      subject: '',
      messageIdMissing: true,
      kind: 'human',
    });
    expect(fallbackMessage(new Uint8Array(0), null, 'why').attachments).toHaveLength(1);
  });

  test('is made within the limit, whatever the header is', async () => {
    const endless = bytes(`From: a@x\nX-A: ${' x'.repeat(2_000_000)}\nSubject: s\n`);
    const folded = bytes(`Subject: s${'\n '.repeat(1_000_000)}`);
    for (const hostile of [endless, folded, bytes('a'.repeat(3_000_000)), bytes('a:b\n'.repeat(500_000))]) {
      const begunAt = performance.now();
      fallbackMessage(hostile, await parseMessage(headerOnlyMessage(hostile)), 'why');
      readHeaderSummary(hostile);
      expect(performance.now() - begunAt).toBeLessThan(2000);
    }
  });
});

test('the header summary is read from the first bytes, whatever they are', () => {
  expect(readHeaderSummary(source)).toEqual({
    from: 'Jürgen <J@Example.test>',
    address: 'j@example.test',
    subject: 'The printer',
  });
  expect(readHeaderSummary(bytes('From: A@X, b@x\nSubj'))).toMatchObject({ address: 'a@x', subject: '' });
  expect(readHeaderSummary(bytes('From: "a>b" <c@x> (d)\n\n')).address).toBe('c@x');
  expect(readHeaderSummary(bytes('From: nobody\n\n')).address).toBe('');
  expect(readHeaderSummary(new Uint8Array(0))).toEqual({ from: '', address: '', subject: '' });
});
