import { createHash } from 'node:crypto';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import type { EventName } from '../../../src/events.ts';
import { accountKey, epochOf, folderKey } from '../../../src/ingest/folder-epoch.ts';
import { startCursor } from '../../../src/ingest/poll/cursor.ts';
import type { FolderVerification } from '../../../src/ingest/poll/poll-context.ts';
import {
  createFolderCheckSchedule,
  createUidValidityChanges,
  type FolderCheckSchedule,
  uidValidityChangesMax,
} from '../../../src/ingest/poll/uidvalidity-changes.ts';
import type {
  FolderState,
  HandledSource,
  IdentifiedMessage,
  ListedMessage,
  Session,
} from '../../../src/ingest/ports.ts';
import type { FolderProgress, NewFolderEpoch } from '../../../src/ingest/stores.ts';
import { handClock, mailbox } from '../samples.ts';

type Folder = FolderState & { readonly uids?: readonly number[] };
type Scene = {
  readonly handled?: readonly (ListedMessage & Partial<HandledSource>)[];
  readonly listed?: readonly (ListedMessage & Partial<IdentifiedMessage>)[];
  /** What the server has under each UID. */
  readonly source?: Uint8Array | null;
  readonly place: FolderProgress;
  readonly folder: Folder;
  readonly isFirst?: boolean;
  /** false: it was checked a short while ago. */
  readonly isCheckDue?: boolean;
  /** Absent: by content each time. */
  readonly schedule?: FolderCheckSchedule;
  /** The connection ends when the Message-ID of one of them is asked for. */
  readonly isContentLost?: boolean;
  readonly folderVerification?: FolderVerification;
  readonly used?: readonly number[];
  /** Outcomes up to the cursor; more than there are messages when left out. */
  readonly outcomes?: number;
  /** The cleanup of earlier epochs fails. */
  readonly isInterrupted?: boolean;
};

const lease = { mailboxId: 'support', owner: 'me', epoch: 1 };
const here = folderKey(mailbox('support').connection);
const account = accountKey(mailbox('support').connection);
const at = (uidValidity: number, uid: number, life = 0): FolderProgress => ({
  ...{ cursor: { folderEpoch: uidValidity, uid }, generation: life, startUid: 0, folder: here },
  account,
});
const folder = (uidValidity: number, uidNext: number, uids: readonly number[] = []): Folder => ({
  ...{ uidValidity, uidNext, messageCount: uids.length, uids },
});

async function begun(scene: Scene, notes = createUidValidityChanges(handClock())) {
  const events: EventName[] = [];
  const forgotten: number[] = [];
  const accounts: string[] = [];
  let stored: NewFolderEpoch | null = null;
  let startUid: number | null = null;
  const write = (_: unknown, event: EventName) => void events.push(event);
  const store = {
    readFolderProgress: async () => scene.place,
    joinAccount: async (_: unknown, joined: string) => void accounts.push(joined),
    isLeaseRevoked: async () => false,
    lastHandled: async () => (scene.handled ?? []).map((one) => ({ messageId: null, sourceSha256: null, ...one })),
    countOutcomes: async () => scene.outcomes ?? 1000,
    isEpochUsed: async (_: string, folderEpoch: number) => (scene.used ?? []).includes(folderEpoch),
    beginFolderEpoch: async (_: unknown, beginning: NewFolderEpoch) => {
      stored = beginning;
    },
    forgetEarlierEpochs: async (_: unknown, folderEpoch: number) => {
      if (scene.isInterrupted === true) throw new Failure('database_unavailable', 'gone');
      forgotten.push(folderEpoch);
    },
    recordStartUid: async (_: unknown, uid: number) => {
      startUid = uid;
    },
  };
  const session = {
    folder: scene.folder,
    identify: async () => {
      if (scene.isContentLost === true) throw new Failure('connection_lost', 'gone');
      return (scene.listed ?? []).map((one) => ({ messageId: null, ...one }));
    },
    sizes: async () => scene.listed ?? [],
    fetch: async function* ([uid]: readonly number[]) {
      yield { uid, source: scene.source ?? null };
    },
    hasMore: false,
    listAbove: async (uid: number) => (scene.folder.uids ?? []).filter((one) => one > uid),
  } as unknown as Session;
  const box = mailbox('support');
  const eachTime: FolderCheckSchedule = {
    isDue: () => scene.isCheckDue ?? true,
    begin: () => 'content',
    note: () => undefined,
  };
  const folderCheckSchedule = scene.schedule ?? eachTime;
  const folderVerification = scene.folderVerification ?? { isVerified: false };
  const options = { uidValidityChanges: notes, folderCheckSchedule };
  const begin = { mailbox: box, lease, roundId: 'p', isFirst: scene.isFirst ?? true, options, folderVerification };
  const log = { debug: write, info: write, warn: write, error: write };
  const cursor = await startCursor(begin, session, { store, log }).catch((failure: Failure) => failure.code);
  return { cursor, stored, startUid, events, forgotten, accounts };
}

describe('the start cursor of a round', () => {
  test('a cursor in the current epoch is used as it is', async () => {
    const place = at(7, 5);
    expect(await begun({ place, folder: folder(7, 6) })).toEqual({
      cursor: place.cursor,
      ...{ stored: null, startUid: null, accounts: [] },
      events: [],
      forgotten: [],
    });
  });

  test('the account of the mailbox is joined once, before anything is fetched, and again when it is another one', async () => {
    const place = { ...at(7, 5), account: null };
    const scene = { place, folder: folder(7, 6) };
    expect((await begun(scene)).accounts).toEqual([account]);
    expect((await begun({ ...scene, place: { ...place, account: 'f'.repeat(64) } })).accounts).toEqual([account]);
    expect((await begun({ ...scene, place: at(7, 5) })).accounts).toEqual([]);
  });

  test('a new folder starts at its first message', async () => {
    const found = await begun({
      place: { cursor: null, generation: 0, startUid: null, folder: null, account: null },
      folder: folder(7, 6),
    });
    expect(found).toMatchObject({
      cursor: { folderEpoch: 7, uid: 0 },
      stored: { generation: 0, folder: here },
      startUid: 0,
      events: ['folder.initialized'],
    });
  });

  test('another UIDVALIDITY starts a new epoch, and what only the earlier ones needed is purged', async () => {
    const found = await begun({ place: at(7, 5), folder: folder(8, 6) });
    expect(found).toMatchObject({
      ...{ cursor: { folderEpoch: 8, uid: 0 }, startUid: 0 },
      ...{ events: ['folder.reset'], forgotten: [8] },
    });
  });

  test('a cleanup that was interrupted is resumed by the next round, and then not again', async () => {
    const scene = { place: at(7, 5), folder: folder(8, 6) };
    const interrupted = await begun({ ...scene, isInterrupted: true });
    expect(interrupted).toMatchObject({ cursor: 'database_unavailable', startUid: null, events: ['folder.reset'] });
    expect(interrupted.stored).toMatchObject({ cursor: { folderEpoch: 8, uid: 0 } });
    const resumed = await begun({ ...scene, place: { ...at(8, 0), startUid: null } });
    expect(resumed).toMatchObject({ cursor: { folderEpoch: 8, uid: 0 }, stored: null, startUid: 0, forgotten: [8] });
    expect(await begun({ ...scene, place: at(8, 0) })).toMatchObject({ startUid: null, forgotten: [] });
  });

  test('a folder whose next UID was used already was restored from a backup: a new epoch starts', async () => {
    const found = await begun({ place: at(7, 5), folder: folder(7, 5), used: [7] });
    const folderEpoch = epochOf(7, 1);
    expect(found).toMatchObject({
      cursor: { folderEpoch: folderEpoch, uid: 0 },
      stored: { generation: 1 },
      forgotten: [folderEpoch],
    });
    expect(found.events).toEqual(['folder.restored_from_backup']);
  });

  test('when messages arrived after the restore, those up to the cursor are others, by size and by time', async () => {
    const place = at(7, 5);
    const one = { uid: 5, sizeBytes: 100, receivedAtMs: 1000 };
    const scene = { place, folder: folder(7, 20), handled: [one], used: [7] };
    const seen = async (now: Partial<typeof one> | null) =>
      (await begun({ ...scene, listed: now === null ? [] : [{ ...one, ...now }] })).events;
    expect(await seen({ sizeBytes: 101, receivedAtMs: 2000 })).toEqual(['folder.restored_from_backup']);
    for (const same of [{}, { sizeBytes: 101 }, { receivedAtMs: 2000 }, null]) expect(await seen(same)).toEqual([]);
    const unknown = { ...scene, handled: [{ ...one, receivedAtMs: null }] };
    expect((await begun({ ...unknown, listed: [{ ...one, sizeBytes: 1 }] })).events).toEqual([]);
  });

  describe('when messages of equal size arrived after the restore', () => {
    const one = { uid: 5, sizeBytes: 100, receivedAtMs: 1000, messageId: 'a@x' };
    const scene = { place: at(7, 5), folder: folder(7, 20), used: [7] };
    const restored = ['folder.restored_from_backup'];
    const text = (of: string) => new Uint8Array(Buffer.from(of));
    const sha256 = (of: string) => createHash('sha256').update(of).digest('hex');
    type Seen = Pick<Scene, 'source'> & { before?: Partial<HandledSource>; now?: Partial<IdentifiedMessage> };
    const seen = async ({ before, now, source = null }: Seen) =>
      (await begun({ ...scene, handled: [{ ...one, ...before }], listed: [{ ...one, ...now }], source })).events;

    test('the Message-ID tells, whatever size and time are', async () => {
      for (const same of [{}, { receivedAtMs: 2000 }, { sizeBytes: 1 }, { receivedAtMs: null }])
        expect(await seen({ now: { ...same, messageId: 'b@x' } })).toEqual(restored);
      expect(await seen({ now: { receivedAtMs: 2000 }, before: { sourceSha256: sha256('old') } })).toEqual([]);
    });

    test('a Message-ID that the server reads in another way is no sign where the source is the same', async () => {
      const [before, now] = [{ sourceSha256: sha256('old') }, { messageId: 'b@x' }];
      expect(await seen({ before, now, source: text('old') })).toEqual([]);
      expect(await seen({ before, now, source: text('new') })).toEqual(restored);
      expect(await seen({ before, now, source: null })).toEqual(restored);
    });

    test('without a Message-ID, another time has the source compared', async () => {
      const before = { messageId: null, sourceSha256: sha256('old') };
      const now = { messageId: null, receivedAtMs: 2000 };
      expect(await seen({ before, now, source: text('new') })).toEqual(restored);
      expect(await seen({ before, now: { receivedAtMs: 2000 }, source: text('new') })).toEqual(restored);
      expect(await seen({ before, now, source: text('old') })).toEqual([]);
      expect(await seen({ before, now, source: null })).toEqual([]);
      expect(await seen({ before: { messageId: null }, now, source: text('new') })).toEqual([]);
      // No body is fetched while the time is the same.
      expect(await seen({ before, now: { messageId: null }, source: text('new') })).toEqual([]);
    });

    test('a server that fails at the content of one is asked for sizes and dates alone, for an hour', async () => {
      const clock = handClock();
      const schedule = createFolderCheckSchedule(clock);
      const lost = { ...scene, handled: [one], listed: [one], schedule, isContentLost: true };
      expect((await begun(lost)).cursor).toBe('connection_lost');
      expect(await begun(lost)).toMatchObject({ cursor: { uid: 5 }, events: [] });
      const other = { ...lost, listed: [{ ...one, sizeBytes: 1, receivedAtMs: 2000 }] };
      expect((await begun(other)).events).toEqual(restored);
      clock.at.ms += 3_600_000;
      expect((await begun(lost)).cursor).toBe('connection_lost');
      clock.at.ms += 3_600_000;
      expect((await begun({ ...lost, isContentLost: false })).events).toEqual([]);
      expect((await begun(lost)).cursor).toBe('connection_lost');
    });

    test('any of the messages tells', async () => {
      const handled = [5, 4, 3, 2, 1].map((uid) => ({ ...one, uid, messageId: `${uid}@x` }));
      const listed = handled.map((each) => (each.uid === 3 ? { ...each, messageId: 'new@x' } : each));
      expect((await begun({ ...scene, handled, listed: handled })).events).toEqual([]);
      expect((await begun({ ...scene, handled, listed })).events).toEqual(restored);
    });
  });

  describe('when as many messages arrived as the backup lacked', () => {
    const one = { uid: 5, sizeBytes: 100, receivedAtMs: 1000 };
    const other = { ...one, sizeBytes: 99, receivedAtMs: 2000 };
    const scene = { place: at(7, 5), folder: folder(7, 6), handled: [one], used: [7] };

    test('the check finds out, which is not due in every poll', async () => {
      expect((await begun({ ...scene, listed: [other] })).events).toEqual(['folder.restored_from_backup']);
      expect((await begun({ ...scene, listed: [other], isCheckDue: false })).events).toEqual([]);
      expect((await begun({ ...scene, listed: [one] })).events).toEqual([]);
    });

    test('an idling session is checked once, before more messages hide it', async () => {
      const folderVerification = { isVerified: false };
      const first = { ...scene, isCheckDue: false, folderVerification };
      expect((await begun({ ...first, listed: [other] })).events).toEqual([]);
      expect((await begun({ ...first, listed: [other], isFirst: false })).events).toEqual([
        'folder.restored_from_backup',
      ]);
      expect((await begun({ ...first, listed: [one], isFirst: false })).events).toEqual([]);
      expect(folderVerification.isVerified).toBe(true);
      expect((await begun({ ...first, listed: [other], isFirst: false })).events).toEqual([]);
    });
  });

  test('messages below the cursor without an outcome start a new epoch, as they were never shown before', async () => {
    const scene = { place: at(7, 3), folder: folder(7, 5, [1, 2, 3, 4]), used: [7] };
    const found = await begun({ ...scene, outcomes: 0 });
    expect(found).toMatchObject({ cursor: { folderEpoch: epochOf(7, 1), uid: 0 }, events: ['folder.late_messages'] });
    expect((await begun({ ...scene, outcomes: 0, isFirst: false })).events).toEqual([]);
    expect((await begun(scene)).events).toEqual([]);
  });

  test('a folder can be restored from a backup again', async () => {
    const found = await begun({
      place: at(epochOf(7, 1), 5, 1),
      folder: folder(7, 3),
      used: [7, epochOf(7, 1)],
    });
    expect(found).toMatchObject({ cursor: { folderEpoch: epochOf(7, 2), uid: 0 }, stored: { generation: 2 } });
  });

  describe('when the row names another folder than before', () => {
    const elsewhere = { ...at(7, 5), folder: 'a'.repeat(64) };
    const one = { uid: 5, sizeBytes: 100, receivedAtMs: 1000 };

    test('a new epoch starts, though the folder has the same UIDVALIDITY and more messages', async () => {
      const found = await begun({ place: elsewhere, folder: folder(7, 50), handled: [one], used: [7] });
      expect(found).toMatchObject({
        ...{ cursor: { folderEpoch: epochOf(7, 1), uid: 0 }, stored: { generation: 1, folder: here } },
        ...{ events: ['folder.reset'], forgotten: [epochOf(7, 1)] },
      });
    });

    test('also where the messages handled last are there: another account may have received the same', async () => {
      const scene = { place: elsewhere, folder: folder(7, 6), handled: [one], listed: [one], used: [7] };
      expect((await begun(scene)).cursor).toEqual({ folderEpoch: epochOf(7, 1), uid: 0 });
    });

    test('and another UIDVALIDITY too, the server is not unstable for that', async () => {
      const notes = createUidValidityChanges(handClock());
      for (let times = 0; times < uidValidityChangesMax + 2; times += 1)
        expect((await begun({ place: elsewhere, folder: folder(8, 6) }, notes)).events).toEqual(['folder.reset']);
    });
  });

  test('later in a session the folder state of its beginning proves nothing', async () => {
    expect((await begun({ place: at(7, 9), folder: folder(7, 5), isFirst: false })).events).toEqual([]);
  });

  test('a next UID that is guessed, or that the server contradicts, proves nothing', async () => {
    const guessed = { ...folder(7, 3), isUidNextGuessed: true } as const;
    expect((await begun({ place: at(7, 9), folder: guessed })).events).toEqual([]);
    expect((await begun({ place: at(7, 9), folder: folder(7, 3, [1, 9]) })).events).toEqual([]);
  });

  test('too many changes within a day are reported', async () => {
    const clock = handClock();
    const notes = createUidValidityChanges(clock);
    const scene = { place: at(7, 5), folder: folder(8, 6) };
    for (let times = 0; times < uidValidityChangesMax; times += 1)
      expect((await begun(scene, notes)).events).toEqual(['folder.reset']);
    expect((await begun(scene, notes)).events).toEqual(['folder.reset', 'folder.uidvalidity_unstable']);
    clock.at.ms += 86_400_000;
    expect((await begun(scene, notes)).events).toEqual(['folder.reset']);
  });
});
