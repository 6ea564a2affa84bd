import { hash, randomBytes } from 'node:crypto';
import { zstdDecompressSync } from 'node:zlib';
import { expect, test } from 'vitest';
import { createParserPool } from '../../../src/adapters/parser/parser-pool.ts';
import { isFailure } from '../../../src/errors.ts';

const mail = (text: string) => new Uint8Array(Buffer.from(text.replaceAll('\n', '\r\n')));

const simple = `From: Ada <ada@example.test>
To: support@example.test
Subject: The printer
Message-ID: <one@example.test>
Content-Type: multipart/mixed; boundary=b

--b
Content-Type: text/plain

It does not print.
--b
Content-Type: application/pdf; name=scan.pdf
Content-Transfer-Encoding: base64

aGVsbG8=
--b--
`;

test('a source is parsed, hashed and compressed, and its memory is released', async () => {
  await using digester = createParserPool({ threads: 1, timeoutMs: 10_000, memoryMb: 256 });
  const source = mail(simple);
  const before = Buffer.from(source);
  const digested = await digester.parse(source, 'a');
  if (!digested.ok) throw new Error(digested.reason);
  expect(digested.parsed).toMatchObject({ subject: 'The printer', messageId: 'one@example.test' });
  expect(Buffer.from(digested.parsed.attachments[0]?.content ?? []).toString()).toBe('hello');
  expect(Buffer.from(zstdDecompressSync(digested.compressed))).toEqual(before);
  expect(digested.sha256).toBe(hash('sha256', before, 'hex'));
  expect(source).toHaveLength(0);
});

test('a large source is transferred, not copied, and its result is that of a small one', async () => {
  await using digester = createParserPool({ threads: 1, timeoutMs: 10_000, memoryMb: 256 });
  const content = randomBytes(3_000_000);
  const encoded = content.toString('base64').replace(/.{76}/gu, '$&\r\n');
  const large = mail(simple.replace('aGVsbG8=', encoded));
  const before = Buffer.from(large);
  const digesting = digester.parse(large, 'a');
  expect(await digester.parse(mail(simple), 'a')).toMatchObject({ ok: true });
  const digested = await digesting;
  if (!digested.ok) throw new Error(digested.reason);
  expect(content.equals(digested.parsed.attachments[0]?.content ?? new Uint8Array(0))).toBe(true);
  expect(before.equals(zstdDecompressSync(digested.compressed))).toBe(true);
  expect(digested.compressed.buffer.byteLength).toBe(digested.compressed.length);
  expect(digested.sha256).toBe(hash('sha256', before, 'hex'));
  expect(large).toHaveLength(0);
});

/** Reading its pages takes some seconds and some hundred megabytes. */
const page = `--b\nContent-Type: text/html\n\n${'<div>'.repeat(98)}${'<b>x</b>'.repeat(9800)}\n`;
const slow = mail(`Subject: slow\nContent-Type: multipart/mixed; boundary=b\n\n${page.repeat(1500)}`);

test('a message that takes too long is returned with the reason and its source, and the next one is parsed', async () => {
  await using digester = createParserPool({ threads: 1, timeoutMs: 2000, memoryMb: 2000 });
  const before = Buffer.from(slow);
  const digested = await digester.parse(new Uint8Array(slow), 'a');
  expect(digested).toMatchObject({ ok: false, reason: 'parse_timeout' });
  expect(before.equals(zstdDecompressSync(digested.compressed))).toBe(true);
  expect(digested.sha256).toBe(hash('sha256', before, 'hex'));
  expect(await digester.parse(mail(simple), 'a')).toMatchObject({ ok: true });
});

test('threads that fail on a known-good message fail the poll and blame no message', async () => {
  await using digester = createParserPool({ threads: 1, timeoutMs: 1, memoryMb: 256 });
  await expect(digester.parse(mail(simple), 'a')).rejects.toSatisfy((error) => isFailure(error, 'parser_unavailable'));
});

test('a message that takes too much memory costs its thread, not the process; others are parsed', async () => {
  await using digester = createParserPool({ threads: 1, timeoutMs: 20_000, memoryMb: 64 });
  const [first, second] = await Promise.all([
    digester.parse(new Uint8Array(slow), 'a'),
    digester.parse(mail(simple), 'a'),
  ]);
  expect(first).toMatchObject({ ok: false, reason: 'parse_memory', sha256: hash('sha256', slow, 'hex') });
  // Moved to a thread, and gone with it.
  expect(Buffer.from(slow).equals(zstdDecompressSync(first.compressed))).toBe(true);
  expect(second).toMatchObject({ ok: true });
});

test('threads that die at their start fail the poll, and the next poll gets new threads', async () => {
  await using digester = createParserPool({ threads: 1, timeoutMs: 20_000, memoryMb: 8 });
  for (let poll = 0; poll < 2; poll += 1) {
    await expect(digester.parse(mail(simple), 'a')).rejects.toSatisfy((error) =>
      isFailure(error, 'parser_unavailable'),
    );
  }
});

test('many concurrent sources keep their order and content', async () => {
  await using digester = createParserPool({ threads: 2, timeoutMs: 10_000, memoryMb: 256 });
  const subjects = Array.from({ length: 60 }, (_, index) => `number ${index}`);
  const digested = await Promise.all(
    subjects.map((subject) => digester.parse(mail(`Subject: ${subject}\n\ntext`), 'a')),
  );
  expect(digested.map((one) => (one.ok ? one.parsed.subject : one.reason))).toEqual(subjects);
});
