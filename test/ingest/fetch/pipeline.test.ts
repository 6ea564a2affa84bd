/**
 * What a server can answer and no real server answers on demand: bodies that are missing, mails that go in between.
 * The session is a fake for that reason; everything that a real server does is tested with one.
 */
import { describe, expect, test } from 'vitest';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { Failure, isFailure } from '../../../src/errors.ts';
import { type Arrival, type ArrivalLimits, type Arriving, arrivals } from '../../../src/ingest/fetch/pipeline.ts';
import { createNarrowings } from '../../../src/ingest/fetch/poison-message.ts';
import { inTurns } from '../../../src/ingest/poll/serialized-session.ts';
import type { Digested, Digester, Fetched, Listed, Session } from '../../../src/ingest/ports.ts';
import { recognised } from '../../../src/mail/fingerprint.ts';
import { mailArrival } from '../decide/mails.ts';

const limits = { messageBytesMax: 1000, window: { messagesMax: 2, bytesMax: 10_000 }, windowMs: 60_000 };
const never = new AbortController().signal;
const bytes = (text: string) => new Uint8Array(Buffer.from(text));

/** What becomes of each source: its own text says so. */
const digester: Digester = {
  digest: (source) => {
    const text = Buffer.from(source).toString();
    const raw = { compressed: source, sha256: 'b'.repeat(64) };
    const arrival = mailArrival(1, { subject: text });
    const digested: Digested =
      text === 'unparsable' || arrival.what !== 'mail'
        ? { ok: false, reason: 'parse_failed', ...raw }
        : { ok: true, ...recognised(arrival.parsed), ...raw };
    return Promise.resolve(digested);
  },
  hurry: () => undefined,
  prepare: () => undefined,
  compress: (source) => Promise.resolve({ compressed: source, sha256: 'c'.repeat(64) }),
  [Symbol.asyncDispose]: () => Promise.resolve(),
};

type Script = {
  readonly sizes: (uids: readonly number[], call: number) => readonly Listed[];
  readonly fetch: (uids: readonly number[], call: number) => readonly Fetched[];
};

function session(script: Script): Session & { readonly asked: (readonly number[])[] } {
  const asked: (readonly number[])[] = [];
  let sizeCalls = 0;
  return {
    asked,
    folder: { uidValidity: 1, uidNext: 100, messageCount: 0 },
    certificateEndsAtMs: null,
    canWatch: false,
    watch: () => Promise.resolve('quiet'),
    listAbove: () => Promise.resolve([]),
    uidBefore: () => Promise.resolve(0),
    sizes: (uids) => Promise.resolve(script.sizes(uids, ++sizeCalls)),
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

const listed = (uids: readonly number[]): Listed[] => uids.map((uid) => ({ uid, sizeBytes: 10, receivedAtMs: null }));
const answered = (uids: readonly number[]): Fetched[] => uids.map((uid) => ({ uid, source: bytes(`mail ${uid}`) }));

const from = (on: Session, given: Partial<Arriving> = {}): Arriving => ({
  ...{ session: inTurns(on), digester, clock: systemClock, lane: 'box', limits, stop: never },
  narrowing: createNarrowings().of('box', { uidValidity: 1, uid: 0 }),
  ...given,
});

async function arrive(on: Session, uids: readonly number[]): Promise<readonly Arrival[]> {
  return (await Array.fromAsync(arrivals(from(on), uids))).flat();
}

const told = (all: readonly Arrival[]) =>
  all.map((arrival) => `${arrival.uid} ${arrival.what}${arrival.what === 'quarantined' ? ` ${arrival.reason}` : ''}`);

describe('what came for each UID', () => {
  test('windows hold every UID once, in order', async () => {
    const server = session({ sizes: listed, fetch: answered });
    expect(told(await arrive(server, [3, 5, 8, 13, 21]))).toEqual(['3 mail', '5 mail', '8 mail', '13 mail', '21 mail']);
    expect(server.asked).toEqual([[3, 5], [8, 13], [21]]);
  });

  test('an empty body is asked for again, and what comes then is taken (10)', async () => {
    const fetch = (uids: readonly number[], call: number) =>
      call === 1 ? [{ uid: 1, source: null }, ...answered([2])] : answered(uids);
    const server = session({ sizes: listed, fetch });
    expect(told(await arrive(server, [1, 2]))).toEqual(['1 mail', '2 mail']);
    expect(server.asked).toEqual([[1, 2], [1]]);
  });

  test('a body that stays empty is kept aside, never taken for an empty mail, and the others go on (10)', async () => {
    const fetch = (uids: readonly number[]) =>
      uids.map((uid) => (uid === 1 ? { uid, source: new Uint8Array(0) } : { uid, source: bytes('x') }));
    const server = session({ sizes: listed, fetch });
    expect(told(await arrive(server, [1, 2]))).toEqual(['1 quarantined source_empty', '2 mail']);
    expect(server.asked).toEqual([[1, 2], [1], [1]]);
  });

  test('a mail that is gone when its size is asked has vanished', async () => {
    const server = session({ sizes: (uids) => listed(uids.filter((uid) => uid !== 2)), fetch: answered });
    expect(told(await arrive(server, [1, 2, 3]))).toEqual(['1 mail', '2 vanished', '3 mail']);
  });

  test('a mail that goes between its size and its body has vanished', async () => {
    const sizes = (uids: readonly number[], call: number) => (call === 1 ? listed(uids) : []);
    const server = session({ sizes, fetch: (uids) => answered(uids.filter((uid) => uid !== 2)) });
    expect(told(await arrive(server, [1, 2]))).toEqual(['1 mail', '2 vanished']);
  });

  test('a mail that is too large is not fetched; its header is kept', async () => {
    const sizes = (uids: readonly number[]) =>
      listed(uids).map((one) => (one.uid === 2 ? { ...one, sizeBytes: 1001 } : one));
    const server = session({ sizes, fetch: answered });
    const all = await arrive(server, [1, 2]);
    expect(told(all)).toEqual(['1 mail', '2 quarantined too_large']);
    expect(all[1]).toMatchObject({ raw: { compressed: bytes('header') } });
    expect(server.asked).toEqual([[1]]);
  });

  test('a mail that cannot be parsed is kept aside with its source', async () => {
    const server = session({
      sizes: listed,
      fetch: (uids) => uids.map((uid) => ({ uid, source: bytes('unparsable') })),
    });
    const all = await arrive(server, [1]);
    expect(all[0]).toMatchObject({
      what: 'quarantined',
      reason: 'parse_failed',
      raw: { compressed: bytes('unparsable') },
    });
  });

  test('a mail that the server forgets to mention once has not vanished', async () => {
    const sizes = (uids: readonly number[], call: number) =>
      listed(call === 1 ? uids.filter((uid) => uid !== 2) : uids);
    expect(told(await arrive(session({ sizes, fetch: answered }), [1, 2, 3]))).toEqual(['1 mail', '2 mail', '3 mail']);
  });

  test('a mail that is found and never sized is fetched all the same, and is kept aside when it has no body either', async () => {
    const sizes = (uids: readonly number[]) => listed(uids.filter((uid) => uid < 2));
    const fetch = (uids: readonly number[]) => answered(uids.filter((uid) => uid !== 3));
    const server = { ...session({ sizes, fetch }), listAbove: () => Promise.resolve([2, 3]) };
    const all = await arrive(server, [1, 2, 3, 4]);
    expect(told(all)).toEqual(['1 mail', '2 mail', '3 quarantined source_empty', '4 vanished']);
  });

  test('a server that found thousands of mails and then knows none of them is not believed', async () => {
    const server = session({ sizes: () => [], fetch: answered });
    const uids = Array.from({ length: 1000 }, (_, index) => index + 1);
    await expect(arrive(server, uids)).rejects.toSatisfy((error) => isFailure(error, 'server_nonsense'));
  });

  test('a server that drips is given up', async () => {
    const { promise: closed, reject } = Promise.withResolvers<never>();
    const dripping: Session = {
      ...session({ sizes: listed, fetch: answered }),
      fetch: async function* () {
        yield* answered([1]);
        await closed;
      },
      close: async () => reject(new Error('closed')),
    };
    const hasty = from(dripping, { limits: { ...limits, windowMs: 50 } });
    await expect(Array.fromAsync(arrivals(hasty, [1, 2]))).rejects.toSatisfy((error) =>
      isFailure(error, 'server_timeout'),
    );
  });

  describe('sizes that are far too small', () => {
    /** Each of them is nearly as large as a window may be. */
    const sent = (uids: readonly number[]): Fetched[] =>
      uids.map((uid) => ({ uid, source: bytes(`mail ${uid}`.padEnd(limits.window.bytesMax - 1)) }));
    const uids = [1, 2, 3, 4, 5, 6, 7];
    const wide = { ...limits, messageBytesMax: 20_000, window: { ...limits.window, messagesMax: 5 } };
    const windowsFrom = async (on: Session) =>
      (await Array.fromAsync(arrivals(from(on, { limits: wide }), uids))).map((window) => window.map(({ uid }) => uid));

    test('end the window with what has come, and each mail comes alone from then on', async () => {
      const on = session({ sizes: listed, fetch: sent });
      expect(await windowsFrom(on)).toEqual([[1, 2], [3], [4], [5], [6], [7]]);
      expect(on.asked).toEqual([[1, 2, 3, 4, 5], [3], [4], [5], [6], [7]]);
    });

    test('do the same when the answers come in another order: nobody is passed over, nobody comes twice', async () => {
      const on = session({ sizes: listed, fetch: (asked) => sent(asked.toReversed()) });
      expect(await windowsFrom(on)).toEqual([[1], [2], [3], [4], [5], [6], [7]]);
      expect(on.asked).toEqual([[1, 2, 3, 4, 5], [1], [2], [3], [4], [5], [6], [7]]);
    });

    test('do no harm while all of them together are small, or the last one comes', async () => {
      const small = session({ sizes: () => listed(uids).map((one) => ({ ...one, sizeBytes: 0 })), fetch: answered });
      expect(await windowsFrom(small)).toEqual([
        [1, 2, 3, 4, 5],
        [6, 7],
      ]);
      const two = { ...wide, window: { ...wide.window, messagesMax: 2 } };
      const on = session({ sizes: listed, fetch: sent });
      const windows = await Array.fromAsync(arrivals(from(on, { limits: two }), [1, 2, 3, 4]));
      expect(windows.map((window) => window.map(({ uid }) => uid))).toEqual([
        [1, 2],
        [3, 4],
      ]);
    });
  });

  describe('two large mails', () => {
    const [large, small] = [900, 10];
    const sizes = (uids: readonly number[]) =>
      uids.map((uid) => ({ uid, sizeBytes: uid % 10 === 0 ? large : small, receivedAtMs: null }));
    const bounds = { ...limits, window: { messagesMax: 2, bytesMax: 100 } };
    const settled = () => new Promise((resolve) => setTimeout(resolve, 20));

    test('the second one is fetched when the first one is stored, small ones before it earlier', async () => {
      const server = session({ sizes, fetch: answered });
      const windows = arrivals(from(server, { limits: bounds }), [10, 11, 12, 20, 21]);
      expect(told((await windows.next()).value ?? [])).toEqual(['10 mail']);
      await settled();
      expect(server.asked).toEqual([[10], [11, 12]]);
      expect(told((await windows.next()).value ?? [])).toEqual(['11 mail', '12 mail']);
      await settled();
      expect(server.asked).toEqual([[10], [11, 12], [20]]);
      expect(told((await Array.fromAsync(windows)).flat())).toEqual(['20 mail', '21 mail']);
    });

    test('a consumer that goes leaves nobody waiting, and the second one where it is', async () => {
      const server = session({ sizes, fetch: answered });
      for await (const window of arrivals(from(server, { limits: bounds }), [10, 20])) {
        expect(told(window)).toEqual(['10 mail']);
        break;
      }
      expect(server.asked).toEqual([[10]]);
    });

    test('when the first one cannot be parsed for a reason of ours, that ends it all', async () => {
      const server = session({ sizes, fetch: answered });
      const broken = { ...digester, digest: () => Promise.reject(new Error('no thread')) };
      const windows = arrivals(from(server, { limits: bounds, digester: broken }), [10, 20]);
      await expect(Array.fromAsync(windows)).rejects.toThrow('no thread');
      expect(server.asked).toEqual([[10]]);
    });
  });

  describe('a server that fails at a mail', () => {
    const five = { ...limits, window: { messagesMax: 5, bytesMax: 10_000 } };
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
    /** One visit after the other, each from where the one before has ended. */
    async function* visitsTo(server: Session, last: number, bounds: ArrivalLimits = five) {
      const narrowings = createNarrowings();
      for (let uid = 0, visit = 0; uid < last && visit < 20; visit += 1) {
        const narrowing = narrowings.of('box', { uidValidity: 1, uid });
        const all = Array.from({ length: last }, (_, index) => index + 1);
        const uids = narrowing.newOf(all.filter((one) => one > narrowing.listFrom));
        const came: Arrival[] = [];
        const error = await (async () => {
          for await (const window of arrivals(from(server, { limits: bounds, narrowing }), uids)) came.push(...window);
        })().then(
          () => null,
          (thrown: unknown) => thrown,
        );
        uid = came.at(-1)?.uid ?? uid;
        yield { came: told(came), error, narrowing };
      }
    }

    test('what came whole before it is taken; then mails come one by one, and the bad one is given up', async () => {
      const server = failing(3);
      const visits = await Array.fromAsync(visitsTo(server, 6));
      expect(visits.map(({ came }) => came)).toEqual([
        ['1 mail', '2 mail'],
        [],
        [],
        ['3 quarantined fetch_failed'],
        ['4 mail', '5 mail', '6 mail'],
      ]);
      expect(visits.map(({ error }) => error)).toEqual([broken, broken, broken, null, null]);
      expect(server.asked).toEqual([[1, 2, 3, 4, 5], [3], [3], [6], [3], [4], [5], [6]]);
    });

    test('one that is too large and gives no header is found in the same way, and nobody before it is passed over', async () => {
      const sizes = (uids: readonly number[]) =>
        listed(uids).map((one) => (one.uid === 2 ? { ...one, sizeBytes: 1001 } : one));
      const fetchHeader = () => Promise.reject(new Failure('server_refused', 'no'));
      const server = failing(0, { sizes: (uids) => Promise.resolve(sizes(uids)), fetchHeader });
      const visits = await Array.fromAsync(visitsTo(server, 3));
      expect(visits.map(({ came }) => came)).toEqual([[], ['1 mail'], [], ['2 quarantined fetch_failed'], ['3 mail']]);
      // What came after one that is too large is not taken before it.
      const late = await visitsTo(failing(3, { sizes: server.sizes }), 3).next();
      expect(late.value?.came).toEqual(['1 mail']);
    });

    test('the next one is not asked for while one is looked at', async () => {
      const server = failing(5);
      const narrowings = createNarrowings();
      const first = narrowings.of('box', { uidValidity: 1, uid: 0 });
      await expect(Array.fromAsync(arrivals(from(server, { limits: five, narrowing: first }), [5]))).rejects.toBe(
        broken,
      );
      const narrowing = narrowings.of('box', { uidValidity: 1, uid: 0 });
      for await (const window of arrivals(from(server, { limits: five, narrowing }), [1, 2, 3])) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        expect(server.asked.at(-1)).toEqual(window.map(({ uid }) => uid));
      }
    });

    test('too slow is no failure of a mail: what came is taken, the rest comes one by one, with more and more time', async () => {
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
      const visits = await Array.fromAsync(visitsTo(slow, 3, { ...five, windowMs: 40 }));
      expect(visits.length).toBeGreaterThan(3);
      expect(visits.flatMap(({ came }) => came)).toEqual(['1 mail', '2 mail', '3 mail']);
      expect(visits[0]?.came).toEqual(['1 mail']);
      expect(visits.slice(0, -1).every(({ error }) => isFailure(error, 'server_timeout'))).toBe(true);
    });

    test('a server that found thousands and knows none of them is not asked for each of them', async () => {
      const server = session({ sizes: () => [], fetch: answered });
      const narrowings = createNarrowings();
      const of = () => narrowings.of('box', { uidValidity: 1, uid: 0 });
      const uids = Array.from({ length: 1000 }, (_, index) => index + 1);
      await expect(Array.fromAsync(arrivals(from(server, { narrowing: of() }), uids))).rejects.toThrow();
      expect(of().isCareful).toBe(false);
    });
  });

  test('a stop keeps the next windows from being fetched', async () => {
    const stop = new AbortController();
    const server = session({ sizes: listed, fetch: answered });
    const seen: Arrival[] = [];
    for await (const window of arrivals(from(server, { stop: stop.signal }), [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12])) {
      seen.push(...window);
      stop.abort();
    }
    expect(seen.length).toBeLessThan(12);
    expect(seen.map(({ uid }) => uid)).toEqual(Array.from({ length: seen.length }, (_, index) => index + 1));
  });
});
