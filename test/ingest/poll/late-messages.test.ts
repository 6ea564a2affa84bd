/** Detection of messages that appear below the cursor: by counts, then by one listing. */
import { describe, expect, test } from 'vitest';
import { createHandledCounts, firstLateUid, type HandledCounts } from '../../../src/ingest/poll/late-messages.ts';
import type { Session, UidSelection } from '../../../src/ingest/ports.ts';
import { handClock } from '../samples.ts';

type Scene = {
  readonly handled: readonly number[];
  readonly onServer: readonly number[];
  readonly cursor: number;
  readonly startUid?: number | null;
  readonly uidNext?: number;
  /** What the server says, when that is not true. */
  readonly exists?: number;
  readonly counts?: HandledCounts;
};

async function found({ handled, onServer, cursor, startUid = 0, uidNext, exists, counts }: Scene) {
  const asked = { listings: 0, counts: 0 };
  const countOutcomes = async (_: string, epoch: number, uids: UidSelection) => {
    asked.counts += 1;
    const isChosen = (uid: number) => ('list' in uids ? uids.list.includes(uid) : uid > uids.above && uid <= uids.upTo);
    return epoch === 7 ? handled.filter(isChosen).length : 0;
  };
  const folder = {
    ...{ uidValidity: 7, messageCount: exists ?? onServer.length },
    uidNext: uidNext ?? (onServer.at(-1) ?? 0) + 1,
  };
  const listAbove = async (uid: number) => {
    asked.listings += 1;
    return onServer.filter((one) => one > uid);
  };
  const session = { folder, hasMore: false, listAbove } as unknown as Session;
  const progress = { cursor: { folderEpoch: 7, uid: cursor }, generation: 0, startUid, folder: null, account: null };
  return { late: await firstLateUid('support', session, progress, { countOutcomes }, counts), ...asked };
}

const upTo = (last: number, from = 1) => Array.from({ length: last - from + 1 }, (_, at) => from + at);

describe('an honest folder is never listed', () => {
  test.each<readonly [string, Scene]>([
    ['as it was', { handled: upTo(50), onServer: upTo(50), cursor: 50 }],
    ['with new messages', { handled: upTo(50), onServer: upTo(90), cursor: 50 }],
    ['that was emptied', { handled: upTo(50), onServer: [], cursor: 50, uidNext: 51 }],
    ['with gaps', { handled: [10, 30, 50], onServer: [10, 50, 70], cursor: 50 }],
    ['that starts at a time', { handled: [50], onServer: upTo(50), cursor: 50, startUid: 49 }],
    ['with a UIDNEXT far above', { handled: upTo(50), onServer: upTo(50), cursor: 50, uidNext: 4_000_000_000 }],
    ['whose cleanup of earlier epochs is not finished', { handled: [], onServer: [1], cursor: 5, startUid: null }],
  ])('%s', async (_name, scene) => {
    expect(await found(scene)).toMatchObject({ late: null, listings: 0 });
  });
});

describe('messages that were never shown', () => {
  test('are found by one listing', async () => {
    const scene = { handled: [50], onServer: upTo(52), cursor: 50 };
    expect(await found(scene)).toMatchObject({ late: 1, listings: 1 });
  });

  test('also a single one', async () => {
    const handled = upTo(5000).filter((uid) => uid !== 4321);
    expect(await found({ handled, onServer: upTo(5000), cursor: 5000 })).toMatchObject({ late: 4321 });
  });

  test('also below an absurd cursor, where UIDNEXT is a guess', async () => {
    expect(await found({ handled: [4_294_967_294], onServer: upTo(3), cursor: 4_294_967_294 })).toMatchObject({
      late: 1,
    });
  });

  test('and those from before the start are not', async () => {
    const scene = { handled: [], onServer: upTo(60), cursor: 50, startUid: 50, exists: 5000 };
    expect(await found(scene)).toMatchObject({ late: null, listings: 1 });
  });
});

describe('in one worker', () => {
  test('a quiet folder takes no query, and new outcomes alone are counted', async () => {
    const counts = createHandledCounts(handClock());
    const scene = { handled: upTo(50), onServer: upTo(50), cursor: 50, counts };
    expect(await found(scene)).toEqual({ late: null, listings: 0, counts: 1 });
    expect(await found(scene)).toEqual({ late: null, listings: 0, counts: 0 });
    expect(await found({ ...scene, handled: upTo(60), onServer: upTo(60), cursor: 60 })).toMatchObject({ counts: 1 });
  });

  test('deleted messages hide none that appears later', async () => {
    const counts = createHandledCounts(handClock());
    await found({ handled: upTo(50), onServer: [50], cursor: 50, counts });
    const late = { handled: [...upTo(50), 60], onServer: upTo(60, 50), cursor: 60, counts };
    expect(await found({ ...late, counts: createHandledCounts(handClock()) })).toMatchObject({ late: null });
    expect(await found(late)).toMatchObject({ late: 51, listings: 1 });
  });

  test('a server whose EXISTS is too high is listed once an hour', async () => {
    const clock = handClock();
    const counts = createHandledCounts(clock);
    const scene = { handled: upTo(5), onServer: upTo(5), cursor: 5, exists: 4_000_000_000, counts };
    expect((await found(scene)).listings).toBe(1);
    expect((await found(scene)).listings).toBe(0);
    clock.at.ms += 3_600_000;
    expect((await found(scene)).listings).toBe(1);
    // The number that it invented hides nothing.
    clock.at.ms += 3_600_000;
    expect(await found({ ...scene, handled: upTo(4), exists: 6 })).toMatchObject({ late: 5 });
  });
});
