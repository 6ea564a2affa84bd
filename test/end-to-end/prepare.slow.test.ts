/**
 * Early start of the parse threads: at once, once, and only when work is announced.
 */
import { randomUUIDv7 } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { systemClock } from '../../src/adapters/clock/clock.ts';
import { createStorage } from '../../src/adapters/files/storage.ts';
import { createParserPool } from '../../src/adapters/parser/parser-pool.ts';
import { fetchMessages } from '../../src/ingest/fetch/pipeline.ts';
import { createIsolationStates } from '../../src/ingest/fetch/poison-message.ts';
import type { MessageParser, Session } from '../../src/ingest/ports.ts';
import { temporaryFolder } from '../support/temporary.ts';

const started = vi.fn();
const parserPool = () => createParserPool({ threads: 1, timeoutMs: 10_000, memoryMb: 256 });
const mail = () => new Uint8Array(Buffer.from('Subject: prepared\r\n\r\ntext\r\n'));

beforeEach(() => {
  started.mockClear();
  process.on('worker', started);
});

afterEach(() => {
  process.off('worker', started);
});

test('the parse thread that is prepared is the one that parses, and can be ended while it starts', async () => {
  await using parser = parserPool();
  parser.prepare?.();
  parser.prepare?.();
  await vi.waitFor(() => expect(started).toHaveBeenCalledTimes(1));
  expect(await parser.parse(mail(), 'a')).toMatchObject({ ok: true });
  expect(started).toHaveBeenCalledTimes(1);
  const other = parserPool();
  other.prepare?.();
  await other[Symbol.asyncDispose]();
});

test('the storage thread that is prepared is the one that writes; none starts afterwards', async () => {
  await using folder = await temporaryFolder('prepare');
  await using storage = createStorage(folder.path, { nowMs: Date.now }, randomUUIDv7);
  storage.prepare();
  storage.prepare();
  await storage.raw.append([{ compressed: mail(), sha256: '' }]);
  await storage[Symbol.asyncDispose]();
  storage.prepare();
  await nextTurn();
  expect(started).toHaveBeenCalledTimes(1);
});

test('a poll prepares both threads before it asks for sizes, and none where there is no new message', async () => {
  const done: string[] = [];
  await using parses = parserPool();
  const parser: MessageParser = { ...parses, prepare: () => void done.push('prepared') };
  const sizes = () => {
    done.push('sizes');
    return Promise.resolve([]);
  };
  const session = { sizes, listAbove: () => Promise.resolve([]) } as unknown as Session;
  const limits = { messageBytesMax: 1000, batch: { messagesMax: 2, bytesMax: 10_000 }, batchTimeoutMs: 60_000 };
  const isolation = createIsolationStates().begin('a', { folderEpoch: 1, uid: 0 });
  const stop = new AbortController().signal;
  const from = { session, parser, clock: systemClock, lane: 'a', limits, isolation, stop };
  await Array.fromAsync(fetchMessages(from, []));
  expect(done).toEqual([]);
  await Array.fromAsync(fetchMessages(from, [1]));
  expect(done.slice(0, 2)).toEqual(['prepared', 'sizes']);
});
