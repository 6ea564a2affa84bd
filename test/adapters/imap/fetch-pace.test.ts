/**
 * Literal reader in front of imapflow's parser: own buffers, all bytes in order, yields to the event loop.
 */
import { Transform } from 'node:stream';
import { finished } from 'node:stream/promises';
import { ImapFlow } from 'imapflow';
import { expect, test } from 'vitest';
import { type ImapParser, internals, readLiteralsInPlace } from '../../../src/adapters/imap/imapflow-internals.ts';
import { seededRandom } from '../../support/random.ts';

type Item = { readonly payload: Buffer; readonly literals: readonly Buffer[]; readonly next: () => void };

/** The parser of a client that never connects. */
function newParser(): ImapParser {
  return internals(new ImapFlow({ host: '127.0.0.1', port: 1, secure: false, logger: false })).streamer;
}

/** The parser's output for `text` in chunks of `chunkBytes`, and its byte count. */
async function parsed(parser: ImapParser, text: Buffer, chunkBytes: number) {
  const items: { readonly line: string; readonly literals: readonly Buffer[] }[] = [];
  parser.on('data', ({ payload, literals, next }: Item) => {
    items.push({ line: payload.toString('latin1'), literals });
    next();
  });
  for (let at = 0; at < text.length; at += chunkBytes) {
    // As a socket does it: the next piece may come into the same memory.
    const chunk = Buffer.from(text.subarray(at, at + chunkBytes));
    await new Promise((resolve) => parser.write(chunk, resolve));
  }
  await expect.poll(() => parser.readBytesCounter).toBe(text.length);
  return items;
}

const random = seededRandom(7);
const bytes = (length: number) => Buffer.from(Array.from({ length }, () => random.between(0, 255)));
const sizes = [0, 1, 2, 100, 8_170, 8_191, 8_192, 8_193, 16_384, 40_000, 200_000];
const rows = sizes.map((size, at) => {
  const [one, other] = [bytes(size), bytes((size * 3) % 9_000)];
  const line = [
    `* ${at} FETCH (UID ${at} BODY[] {${one.length}}\r\n`,
    ` BODY[1] {${other.length}}\r\n`,
    ' FLAGS ())\r\n',
  ];
  return Buffer.concat([line[0] ?? '', one, line[1] ?? '', other, line[2] ?? ''].map((part) => Buffer.from(part)));
});
const text = Buffer.concat([Buffer.from('* OK ready\r\n'), ...rows, Buffer.from('A1 OK done {5\r\nA2 OK {x}\r\n')]);

test.each([1_460, 4_096, 16_384, 65_536, 1_000_000])(
  'in chunks of %i bytes the parser makes of everything what it makes of it alone',
  async (chunkBytes) => {
    const paced = newParser();
    const taken: Buffer[] = [];
    readLiteralsInPlace(paced, (length) => {
      const memory = Buffer.alloc(length, 0xff);
      taken.push(memory);
      return memory;
    });
    const alone = await parsed(newParser(), text, chunkBytes);
    const found = await parsed(paced, text, chunkBytes);
    expect(found.map(({ line }) => line)).toEqual(alone.map(({ line }) => line));
    expect(found.length).toBe(sizes.length + 3);
    const literals = (items: typeof alone) =>
      items.flatMap((item) => item.literals.map((one) => one.toString('base64')));
    expect(literals(found)).toEqual(literals(alone));
    // A large one lies where it was put first, and nowhere else.
    for (const one of found.flatMap((item) => item.literals)) if (one.length > 8_192) expect(taken).toContain(one);
  },
);

/** A parser that takes `ms` for each slice, and how often the event loop had turned when it got each. */
function slowParser(ms: number) {
  const got: Buffer[] = [];
  const turnsAt: number[] = [];
  const turns = { count: 0 };
  const parser = new Transform({
    transform: (chunk: Buffer, _encoding, done) => {
      got.push(chunk);
      turnsAt.push(turns.count);
      for (const until = performance.now() + ms; performance.now() < until; );
      done();
    },
  });
  const turn = (): void => {
    turns.count += 1;
    if (!parser.writableFinished) setImmediate(turn);
  };
  setImmediate(turn);
  return { parser: parser as ImapParser, got, turnsAt };
}

test('slow lines yield to the event loop in between, and arrive in order', async () => {
  const { parser, got, turnsAt } = slowParser(3);
  readLiteralsInPlace(parser, Buffer.alloc);
  const all = Buffer.from(Array.from({ length: 100_000 }, (_, at) => (at * 7) % 251));
  parser.write(all.subarray(0, 70_000));
  parser.end(all.subarray(70_000));
  await finished(parser.resume());
  expect(Buffer.concat(got).equals(all)).toBe(true);
  expect(got.length).toBeGreaterThan(10);
  expect(new Set(turnsAt).size).toBe(got.length);
});

test('a parser that is destroyed in the middle is not given the rest', async () => {
  let taken = 0;
  const parser = new Transform({
    transform: (_chunk, _encoding, done) => {
      taken += 1;
      parser.destroy();
      done();
    },
  });
  readLiteralsInPlace(parser as ImapParser, Buffer.alloc);
  parser.write(Buffer.alloc(100_000));
  await new Promise((resolve) => setTimeout(resolve, 20));
  expect(taken).toBe(1);
});
