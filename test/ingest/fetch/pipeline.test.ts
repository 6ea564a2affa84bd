/**
 * Answers that no real server gives on demand: missing bodies, messages that vanish in between. So the session is a
 * fake; everything that a real server does is tested with one.
 */
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { Failure, isFailure } from '../../../src/errors.ts';
import type { FetchLimits } from '../../../src/ingest/fetch/batches.ts';
import type { FetchedMessage } from '../../../src/ingest/fetch/fetched-message.ts';
import { listNew } from '../../../src/ingest/fetch/listing.ts';
import { type FetchContext, fetchMessages } from '../../../src/ingest/fetch/pipeline.ts';
import { createIsolationStates } from '../../../src/ingest/fetch/poison-message.ts';
import { serialized } from '../../../src/ingest/poll/serialized-session.ts';
import type { FetchedSource, ListedMessage, MessageParser, ParseResult, Session } from '../../../src/ingest/ports.ts';
import { fingerprintMessage } from '../../../src/mail/fingerprint.ts';
import { storedMessage } from '../decide/messages.ts';

const limits = { messageBytesMax: 1000, batch: { messagesMax: 2, bytesMax: 10_000 }, batchTimeoutMs: 60_000 };
const never = new AbortController().signal;
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

/** The text of a source says whether it can be parsed. */
const parser: MessageParser = {
  parse: (source) => {
    const text = Buffer.from(source).toString();
    const raw = { compressed: source, sha256: 'b'.repeat(64) };
    const message = storedMessage(1, { subject: text });
    const result: ParseResult =
      text === 'unparsable' || message.what !== 'parsed'
        ? { ok: false, reason: 'parse_failed', ...raw }
        : { ok: true, ...fingerprintMessage(message.parsed), ...raw };
    return Promise.resolve(result);
  },
  flush: () => undefined,
  prepare: () => undefined,
  compress: (source) => Promise.resolve({ compressed: source, sha256: 'c'.repeat(64) }),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

type Script = {
  readonly sizes: (uids: readonly number[], call: number) => readonly ListedMessage[];
  readonly fetch: (uids: readonly number[], call: number) => readonly FetchedSource[];
};

function session(script: Script): Session & { readonly asked: (readonly number[])[] } {
  const asked: (readonly number[])[] = [];
  let sizeCalls = 0;
  return {
    asked,
    folder: { uidValidity: 1, uidNext: 100, messageCount: 0 },
    certificateEndsAtMs: null,
    endsInMs: null,
    supportsIdle: false,
    idle: () => Promise.resolve('timed_out'),
    verify: () => false,
    listAbove: () => Promise.resolve([]),
    hasMore: false,
    listingFailure: null,
    uidBefore: () => Promise.resolve(0),
    sizes: (uids) => Promise.resolve(script.sizes(uids, ++sizeCalls)),
    identify: () => Promise.resolve([]),
    fetch: async function* (uids) {
      asked.push(uids);
      yield* script.fetch(uids, asked.length);
    },
    fetchHeader: () => Promise.resolve(bytes('header')),
    apply: () => Promise.resolve(),
    close: () => Promise.resolve(),
    [Symbol.asyncDispose]: () => Promise.resolve(),
  };
}

const listed = (uids: readonly number[]): ListedMessage[] =>
  uids.map((uid) => ({ uid, sizeBytes: 10, receivedAtMs: null }));
const answered = (uids: readonly number[]): FetchedSource[] =>
  uids.map((uid) => ({ uid, source: bytes(`message ${uid}`) }));

const from = (on: Session, given: Partial<FetchContext> = {}): FetchContext => ({
  ...{ session: serialized(on), parser, clock: systemClock, lane: 'box', limits, stop: never },
  isolation: createIsolationStates().begin('box', { folderEpoch: 1, uid: 0 }),
  ...given,
});

async function fetchAll(on: Session, uids: readonly number[]): Promise<readonly FetchedMessage[]> {
  return (await Array.fromAsync(fetchMessages(from(on), uids))).flat();
}

const texts = (all: readonly FetchedMessage[]) =>
  all.map((one) => `${one.uid} ${one.what}${one.what === 'quarantined' ? ` ${one.reason}` : ''}`);

describe('the message for each UID', () => {
  test('batches contain every UID once, in order', async () => {
    const server = session({ sizes: listed, fetch: answered });
    expect(texts(await fetchAll(server, [3, 5, 8, 13, 21]))).toEqual([
      '3 parsed',
      '5 parsed',
      '8 parsed',
      '13 parsed',
      '21 parsed',
    ]);
    expect(server.asked).toEqual([[3, 5], [8, 13], [21]]);
  });

  test('an empty body is requested again, and the second answer counts (10)', async () => {
    const fetch = (uids: readonly number[], call: number) =>
      call === 1 ? [{ uid: 1, source: null }, ...answered([2])] : answered(uids);
    const server = session({ sizes: listed, fetch });
    expect(texts(await fetchAll(server, [1, 2]))).toEqual(['1 parsed', '2 parsed']);
    expect(server.asked).toEqual([[1, 2], [1]]);
  });

  test('a body that stays empty is quarantined, not parsed as an empty message, and the others are fetched (10)', async () => {
    const fetch = (uids: readonly number[]) =>
      uids.map((uid) => (uid === 1 ? { uid, source: new Uint8Array(0) } : { uid, source: bytes('x') }));
    const server = session({ sizes: listed, fetch });
    expect(texts(await fetchAll(server, [1, 2]))).toEqual(['1 quarantined source_empty', '2 parsed']);
    expect(server.asked).toEqual([[1, 2], [1], [1]]);
  });

  test('a message that is gone when its size is requested has vanished', async () => {
    const server = session({ sizes: (uids) => listed(uids.filter((uid) => uid !== 2)), fetch: answered });
    expect(texts(await fetchAll(server, [1, 2, 3]))).toEqual(['1 parsed', '2 vanished', '3 parsed']);
  });

  test('a message that is removed between its size and its body has vanished', async () => {
    const sizes = (uids: readonly number[], call: number) => (call === 1 ? listed(uids) : []);
    const server = session({ sizes, fetch: (uids) => answered(uids.filter((uid) => uid !== 2)) });
    expect(texts(await fetchAll(server, [1, 2]))).toEqual(['1 parsed', '2 vanished']);
  });

  test('a message that is too large is not fetched; its header is stored', async () => {
    const sizes = (uids: readonly number[]) =>
      listed(uids).map((one) => (one.uid === 2 ? { ...one, sizeBytes: 1001 } : one));
    const server = session({ sizes, fetch: answered });
    const all = await fetchAll(server, [1, 2]);
    expect(texts(all)).toEqual(['1 parsed', '2 quarantined too_large']);
    expect(all[1]).toMatchObject({ raw: { compressed: bytes('header') } });
    expect(server.asked).toEqual([[1]]);
  });

  test('a message that cannot be parsed is quarantined with its source', async () => {
    const server = session({
      sizes: listed,
      fetch: (uids) => uids.map((uid) => ({ uid, source: bytes('unparsable') })),
    });
    const all = await fetchAll(server, [1]);
    expect(all[0]).toMatchObject({
      what: 'quarantined',
      reason: 'parse_failed',
      raw: { compressed: bytes('unparsable') },
    });
  });

  test('a message that the server omits once has not vanished', async () => {
    const sizes = (uids: readonly number[], call: number) =>
      listed(call === 1 ? uids.filter((uid) => uid !== 2) : uids);
    expect(texts(await fetchAll(session({ sizes, fetch: answered }), [1, 2, 3]))).toEqual([
      '1 parsed',
      '2 parsed',
      '3 parsed',
    ]);
  });

  test('a message that is listed without a size is fetched all the same, and quarantined when it has no body either', async () => {
    const sizes = (uids: readonly number[]) => listed(uids.filter((uid) => uid < 2));
    const fetch = (uids: readonly number[]) => answered(uids.filter((uid) => uid !== 3));
    const server = { ...session({ sizes, fetch }), listAbove: () => Promise.resolve([2, 3]) };
    const all = await fetchAll(server, [1, 2, 3, 4]);
    expect(texts(all)).toEqual(['1 parsed', '2 parsed', '3 quarantined source_empty', '4 vanished']);
  });

  test('a server that listed a thousand messages and then knows none of them is a protocol error', async () => {
    const server = session({ sizes: () => [], fetch: answered });
    const uids = Array.from({ length: 1000 }, (_, index) => index + 1);
    await expect(fetchAll(server, uids)).rejects.toSatisfy((error) => isFailure(error, 'server_protocol_error'));
  });

  test('a server that only drips runs into the transfer deadline', async () => {
    const { promise: closed, reject } = Promise.withResolvers<never>();
    const dripping: Session = {
      ...session({ sizes: listed, fetch: answered }),
      fetch: async function* () {
        yield* answered([1]);
        await closed;
      },
      close: async () => reject(new Error('closed')),
    };
    const hasty = from(dripping, { limits: { ...limits, batchTimeoutMs: 50 } });
    await expect(Array.fromAsync(fetchMessages(hasty, [1, 2]))).rejects.toSatisfy((error) =>
      isFailure(error, 'server_timeout'),
    );
  });

  describe('sizes that are far too small', () => {
    /** Each of them is nearly as large as a batch may be. */
    const sent = (uids: readonly number[]): FetchedSource[] =>
      uids.map((uid) => ({ uid, source: bytes(`message ${uid}`.padEnd(limits.batch.bytesMax - 1)) }));
    const uids = [1, 2, 3, 4, 5, 6, 7];
    const wide = { ...limits, messageBytesMax: 20_000, batch: { ...limits.batch, messagesMax: 5 } };
    const batchesFrom = async (on: Session) =>
      (await Array.fromAsync(fetchMessages(from(on, { limits: wide }), uids))).map((batch) =>
        batch.map(({ uid }) => uid),
      );

    test('end the batch with what has arrived, and each message is fetched alone from then on', async () => {
      const on = session({ sizes: listed, fetch: sent });
      expect(await batchesFrom(on)).toEqual([[1, 2], [3], [4], [5], [6], [7]]);
      expect(on.asked).toEqual([[1, 2, 3, 4, 5], [3], [4], [5], [6], [7]]);
    });

    test('do the same when answers arrive in another order: no message is passed over or fetched into two batches', async () => {
      const on = session({ sizes: listed, fetch: (asked) => sent(asked.toReversed()) });
      expect(await batchesFrom(on)).toEqual([[1], [2], [3], [4], [5], [6], [7]]);
      expect(on.asked).toEqual([[1, 2, 3, 4, 5], [1], [2], [3], [4], [5], [6], [7]]);
    });

    test('do no harm while all of them together are small, or the last one arrives', async () => {
      const small = session({ sizes: () => listed(uids).map((one) => ({ ...one, sizeBytes: 0 })), fetch: answered });
      expect(await batchesFrom(small)).toEqual([
        [1, 2, 3, 4, 5],
        [6, 7],
      ]);
      const two = { ...wide, batch: { ...wide.batch, messagesMax: 2 } };
      const on = session({ sizes: listed, fetch: sent });
      const batches = await Array.fromAsync(fetchMessages(from(on, { limits: two }), [1, 2, 3, 4]));
      expect(batches.map((batch) => batch.map(({ uid }) => uid))).toEqual([
        [1, 2],
        [3, 4],
      ]);
    });
  });

  describe('two large messages', () => {
    const [large, small] = [900, 10];
    const sizes = (uids: readonly number[]) =>
      uids.map((uid) => ({ uid, sizeBytes: uid % 10 === 0 ? large : small, receivedAtMs: null }));
    const bounds = { ...limits, batch: { messagesMax: 2, bytesMax: 100 } };
    const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

    test('the second one is fetched once the first one is stored, small ones before it earlier', async () => {
      const server = session({ sizes, fetch: answered });
      const batches = fetchMessages(from(server, { limits: bounds }), [10, 11, 12, 20, 21]);
      expect(texts((await batches.next()).value ?? [])).toEqual(['10 parsed']);
      await settled();
      expect(server.asked).toEqual([[10], [11, 12]]);
      expect(texts((await batches.next()).value ?? [])).toEqual(['11 parsed', '12 parsed']);
      await settled();
      expect(server.asked).toEqual([[10], [11, 12], [20]]);
      expect(texts((await Array.fromAsync(batches)).flat())).toEqual(['20 parsed', '21 parsed']);
    });

    test('a consumer that stops early leaves no fetch waiting, and the second message unfetched', async () => {
      const server = session({ sizes, fetch: answered });
      for await (const batch of fetchMessages(from(server, { limits: bounds }), [10, 20])) {
        expect(texts(batch)).toEqual(['10 parsed']);
        break;
      }
      expect(server.asked).toEqual([[10]]);
    });

    test('failing parse threads end the pipeline before the second one', async () => {
      const server = session({ sizes, fetch: answered });
      const broken = { ...parser, parse: () => Promise.reject(new Error('no thread')) };
      const batches = fetchMessages(from(server, { limits: bounds, parser: broken }), [10, 20]);
      await expect(Array.fromAsync(batches)).rejects.toThrow('no thread');
      expect(server.asked).toEqual([[10]]);
    });
  });

  describe('a server that fails at one message', () => {
    const five = { ...limits, batch: { messagesMax: 5, bytesMax: 10_000 } };
    const broken = new Failure('connection_lost', 'broken');
    /** Answers up to the bad one, then fails. */
    const failing = (bad: number, given: Partial<Session> = {}) => {
      const asked: (readonly number[])[] = [];
      const fetch = async function* (uids: readonly number[]) {
        asked.push(uids);
        for (const uid of uids) {
          if (uid === bad) throw broken;
          yield* answered([uid]);
        }
      };
      return { ...session({ sizes: listed, fetch: answered }), fetch, ...given, asked };
    };
    /** One poll after the other, each from where the one before ended. */
    async function* pollsTo(server: Session, last: number, bounds: FetchLimits = five) {
      const states = createIsolationStates();
      for (let uid = 0, poll = 0; uid < last && poll < 20; poll += 1) {
        const isolation = states.begin('box', { folderEpoch: 1, uid });
        const all = Array.from({ length: last }, (_, index) => index + 1);
        const listAbove = async (above: number) => all.filter((one) => one > above);
        const uids = await listNew({ listAbove, hasMore: false }, isolation);
        const came: FetchedMessage[] = [];
        const error = await (async () => {
          for await (const batch of fetchMessages(from(server, { limits: bounds, isolation }), uids))
            came.push(...batch);
        })().then(
          () => null,
          (thrown: unknown) => thrown,
        );
        uid = came.at(-1)?.uid ?? uid;
        yield { came: texts(came), messages: came, error };
      }
    }

    test('messages before it are committed; then they are fetched one by one, and the bad one is given up', async () => {
      const server = failing(3);
      const polls = await Array.fromAsync(pollsTo(server, 6));
      expect(polls.map(({ came }) => came)).toEqual([
        ['1 parsed', '2 parsed'],
        [],
        [],
        ['3 quarantined fetch_failed'],
        ['4 parsed', '5 parsed', '6 parsed'],
      ]);
      expect(polls.map(({ error }) => error)).toEqual([broken, broken, broken, null, null]);
      expect(server.asked).toEqual([[1, 2, 3, 4, 5], [3], [3], [6], [3], [4], [5], [6]]);
    });

    test('a message that is too large and has no header is isolated in the same way, and none before it is passed over', async () => {
      const sizes = (uids: readonly number[]) =>
        listed(uids).map((one) => (one.uid === 2 ? { ...one, sizeBytes: 1001 } : one));
      const fetchHeader = () => Promise.reject(new Failure('server_refused', 'no'));
      const server = failing(0, { sizes: (uids) => Promise.resolve(sizes(uids)), fetchHeader });
      const polls = await Array.fromAsync(pollsTo(server, 3));
      expect(polls.map(({ came }) => came)).toEqual([
        [],
        ['1 parsed'],
        [],
        ['2 quarantined fetch_failed'],
        ['3 parsed'],
      ]);
      // What came after one that is too large is not taken before it.
      const late = await pollsTo(failing(3, { sizes: server.sizes }), 3).next();
      expect(late.value?.came).toEqual(['1 parsed']);
    });

    test('only the batch that failed is fetched one by one, and a message that is given up has its announced size', async () => {
      const server = failing(2);
      const pairs = { ...limits, batch: { messagesMax: 2, bytesMax: 10_000 } };
      const polls = await Array.fromAsync(pollsTo(server, 6, pairs));
      expect(polls.map(({ messages }) => messages.map(({ uid, sizeBytes }) => [uid, sizeBytes])).at(-2)).toEqual([
        [2, 10],
      ]);
      expect(server.asked).toEqual([[1, 2], [2], [2], [6], [2], [3, 4], [5, 6]]);
    });

    test('the next message is not requested while one is processed', async () => {
      const server = failing(5);
      const states = createIsolationStates();
      const first = states.begin('box', { folderEpoch: 1, uid: 0 });
      await expect(Array.fromAsync(fetchMessages(from(server, { limits: five, isolation: first }), [5]))).rejects.toBe(
        broken,
      );
      const isolation = states.begin('box', { folderEpoch: 1, uid: 0 });
      for await (const batch of fetchMessages(from(server, { limits: five, isolation }), [1, 2, 3])) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        expect(server.asked.at(-1)).toEqual(batch.map(({ uid }) => uid));
      }
    });

    test('a slow answer is no poison message: what arrived is committed, the rest is fetched one by one, with more and more time', async () => {
      let closed = Promise.withResolvers<never>();
      const slow: Session = {
        ...session({ sizes: listed, fetch: answered }),
        fetch: async function* (uids) {
          closed = Promise.withResolvers<never>();
          for (const uid of uids) {
            if (uid === 2) await Promise.race([closed.promise, new Promise((resolve) => setTimeout(resolve, 100))]);
            yield* answered([uid]);
          }
        },
        close: async () => closed.reject(new Error('closed')),
      };
      const polls = await Array.fromAsync(pollsTo(slow, 3, { ...five, batchTimeoutMs: 40 }));
      expect(polls.length).toBeGreaterThan(3);
      expect(polls.flatMap(({ came }) => came)).toEqual(['1 parsed', '2 parsed', '3 parsed']);
      expect(polls[0]?.came).toEqual(['1 parsed']);
      expect(polls.slice(0, -1).every(({ error }) => isFailure(error, 'server_timeout'))).toBe(true);
    });

    test('a server that listed a thousand messages and knows none of them is not asked for each of them', async () => {
      const server = session({ sizes: () => [], fetch: answered });
      const states = createIsolationStates();
      const begin = () => states.begin('box', { folderEpoch: 1, uid: 0 });
      const uids = Array.from({ length: 1000 }, (_, index) => index + 1);
      await expect(Array.fromAsync(fetchMessages(from(server, { isolation: begin() }), uids))).rejects.toThrow();
      expect(begin().state.state).toBe('normal');
    });
  });

  test('after a stop no further batch is fetched', async () => {
    const stop = new AbortController();
    const server = session({ sizes: listed, fetch: answered });
    const seen: FetchedMessage[] = [];
    for await (const batch of fetchMessages(
      from(server, { stop: stop.signal }),
      [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12],
    )) {
      seen.push(...batch);
      stop.abort();
    }
    expect(seen.length).toBeLessThan(12);
    expect(seen.map(({ uid }) => uid)).toEqual(Array.from({ length: seen.length }, (_, index) => index + 1));
  });
});
