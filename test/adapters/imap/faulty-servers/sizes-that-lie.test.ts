/**
 * A server that sends far more than the announced sizes: skipped messages are fetched again, and no byte of one message
 * gets into another.
 */
import { createHash } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { systemClock } from '../../../../src/adapters/clock/clock.ts';
import { release } from '../../../../src/async/buffer-pool.ts';
import { type FetchContext, fetchMessages } from '../../../../src/ingest/fetch/pipeline.ts';
import { createIsolationStates } from '../../../../src/ingest/fetch/poison-message.ts';
import { serialized } from '../../../../src/ingest/poll/serialized-session.ts';
import type { MessageParser } from '../../../../src/ingest/ports.ts';
import { type Script, startScriptedServer } from '../scripted-server.ts';
import { mail, never, openSession, plainTo } from '../setting.ts';

const uids = [1, 2, 3, 4, 5, 6, 7, 8, 9];
const messages = new Map(uids.map((uid) => [uid, mail(`number ${uid}`, 200_000 + uid * 1_000)]));
const hashOf = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

/** UIDs of a set such as `1:3,7`. */
const uidsIn = (set: string) =>
  set.split(',').flatMap((range) => {
    const [first = 0, last = first] = range.split(':').map(Number);
    return Array.from({ length: last - first + 1 }, (_, index) => first + index);
  });

/** Every mail is one byte long, it says. */
const script: Script = (command, rest, tag, { say, socket }) => {
  if (command !== 'UID FETCH') return false;
  const isSizes = rest.includes('RFC822.SIZE');
  for (const uid of uidsIn(rest.split(' ')[0] ?? '')) {
    const source = messages.get(uid) ?? Buffer.alloc(0);
    if (isSizes) say(`* ${uid} FETCH (UID ${uid} RFC822.SIZE 1 INTERNALDATE "17-May-2024 09:30:15 +0000")`);
    else
      socket.write(
        Buffer.concat([
          Buffer.from(`* ${uid} FETCH (UID ${uid} BODY[] {${source.length}}\r\n`),
          source,
          Buffer.from(')\r\n'),
        ]),
      );
  }
  say(`${tag} OK done`);
  return true;
};

/** Looks into a source late, as a thread does, and gives its memory back. */
const parser: MessageParser = {
  parse: async (source) => {
    await sleep(5);
    const sha256 = hashOf(source);
    release(source);
    return { ok: false, reason: 'parse_failed', compressed: new Uint8Array(), sha256 };
  },
  flush: () => undefined,
  prepare: () => undefined,
  compress: () => Promise.reject(new Error('nothing is to be compressed')),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

test('all of them come, once, in order, as they were sent', async () => {
  await using server = await startScriptedServer({ exists: uids.length, script });
  await using session = await openSession(plainTo(server.port, { allowPlaintext: true }));
  const batch = { messagesMax: 5, bytesMax: 300_000 };
  const limits = { messageBytesMax: 1_000_000, batch, batchTimeoutMs: 30_000 };
  const isolation = createIsolationStates().begin('box', { folderEpoch: 7, uid: 0 });
  const from: FetchContext = {
    ...{ session: serialized(session), parser, clock: systemClock, lane: 'box', limits, isolation, stop: never },
  };
  const batches = await Array.fromAsync(fetchMessages(from, uids));
  const found = batches.flat().map((one) => [one.uid, one.what === 'quarantined' ? one.raw?.sha256 : one.what]);
  expect(found).toEqual([...messages].map(([uid, bytes]) => [uid, hashOf(bytes)]));
  expect(batches.map((one) => one.length)).toEqual([3, 1, 1, 1, 1, 1, 1]);
});
