import { describe, expect, test } from 'vitest';
import type { EventName } from '../../../src/events.ts';
import {
  folderKey,
  lifeOf,
  numberingOf,
  numberingText,
  readNumbering,
  uidValidityOf,
} from '../../../src/ingest/folder-epoch.ts';
import type { QuarantineReason } from '../../../src/ingest/model.ts';
import { createRenumberings, renumberingsMax, startCursor } from '../../../src/ingest/poll/cursor.ts';
import type { Found } from '../../../src/ingest/poll/poll-context.ts';
import type { FolderState, Listed, Session } from '../../../src/ingest/ports.ts';
import { heldId, readHeldId } from '../../../src/ingest/quarantine/read.ts';
import { knownReasons, reasonMeaning } from '../../../src/ingest/quarantine/reasons.ts';
import type { Beginning, Place } from '../../../src/ingest/stores.ts';
import { handClock, mailbox } from '../samples.ts';

type Folder = FolderState & { readonly uids?: readonly number[] };
type Scene = {
  readonly handled?: readonly Listed[];
  readonly listed?: readonly Listed[];
  readonly place: Place;
  readonly folder: Folder;
  readonly isFirst?: boolean;
  /** false: it was looked a short while ago. */
  readonly isLookDue?: boolean;
  readonly found?: Found;
  readonly used?: readonly number[];
};

const lease = { mailboxId: 'support', owner: 'me', epoch: 1 };
const here = folderKey(mailbox('support').connection);
const at = (uidValidity: number, uid: number, life = 0): Place => ({
  ...{ cursor: { uidValidity, uid }, life, startUid: 0, folder: here },
});
const folder = (uidValidity: number, uidNext: number, uids: readonly number[] = []): Folder => ({
  ...{ uidValidity, uidNext, messageCount: uids.length, uids },
});

async function begun(scene: Scene, notes = createRenumberings(handClock())) {
  const events: EventName[] = [];
  const forgotten: number[] = [];
  let stored: Beginning | null = null;
  let named: string | null = null;
  const write = (_: unknown, event: EventName) => void events.push(event);
  const store = {
    readPlace: async () => scene.place,
    lastHandled: async () => scene.handled ?? [],
    isNumberingUsed: async (_: string, numbering: number) => (scene.used ?? []).includes(numbering),
    beginNumbering: async (_: unknown, beginning: Beginning) => {
      stored = beginning;
    },
    nameFolder: async (_: unknown, name: string) => {
      named = name;
    },
    forgetNumberings: async (_: unknown, numbering: number) => void forgotten.push(numbering),
  };
  const session = {
    folder: scene.folder,
    sizes: async () => scene.listed ?? [],
    listAbove: async (uid: number) => (scene.folder.uids ?? []).filter((one) => one > uid),
  } as unknown as Session;
  const box = mailbox('support');
  const renumberings = { note: () => notes.note(box.id), count: () => notes.count(box.id) };
  const looks = { isDue: () => scene.isLookDue ?? true, note: () => undefined };
  const found = scene.found ?? { isTheSame: false };
  const context = { renumberings, looks };
  const begin = { mailbox: box, lease, poll: 'p', isFirst: scene.isFirst ?? true, context, found };
  const log = { debug: write, info: write, warn: write, error: write };
  const cursor = await startCursor(begin, session, { store, log });
  return { cursor, stored, named, events, forgotten };
}

describe('where a round begins', () => {
  test('a cursor of the same numbering is taken as it is', async () => {
    const place = at(7, 5);
    expect(await begun({ place, folder: folder(7, 6) })).toEqual({
      cursor: place.cursor,
      ...{ stored: null, named: null },
      events: [],
      forgotten: [],
    });
  });

  test('a new folder begins at its first mail', async () => {
    const found = await begun({ place: { cursor: null, life: 0, startUid: null, folder: null }, folder: folder(7, 6) });
    expect(found).toMatchObject({
      cursor: { uidValidity: 7, uid: 0 },
      stored: { life: 0, folder: here },
      events: ['cursor.started'],
    });
  });

  test('a folder under another UIDVALIDITY is begun anew, and what only the old one needed is forgotten', async () => {
    const found = await begun({ place: at(7, 5), folder: folder(8, 6) });
    expect(found).toMatchObject({ cursor: { uidValidity: 8, uid: 0 }, events: ['cursor.restarted'], forgotten: [8] });
  });

  test('a folder whose next UID was used already was set back: its numbers count anew', async () => {
    const found = await begun({ place: at(7, 5), folder: folder(7, 5), used: [7] });
    const numbering = numberingOf(7, 1);
    expect(found).toMatchObject({
      cursor: { uidValidity: numbering, uid: 0 },
      stored: { life: 1 },
      forgotten: [numbering],
    });
    expect(found.events).toEqual(['cursor.set_back']);
  });

  test('when new mail came first, the mails up to the cursor are others, by size and by time', async () => {
    const place = at(7, 5);
    const one = { uid: 5, sizeBytes: 100, receivedAtMs: 1000 };
    const scene = { place, folder: folder(7, 20), handled: [one], used: [7] };
    const seen = async (now: Partial<typeof one> | null) =>
      (await begun({ ...scene, listed: now === null ? [] : [{ ...one, ...now }] })).events;
    expect(await seen({ sizeBytes: 101, receivedAtMs: 2000 })).toEqual(['cursor.set_back']);
    for (const same of [{}, { sizeBytes: 101 }, { receivedAtMs: 2000 }, null]) expect(await seen(same)).toEqual([]);
    const unknown = { ...scene, handled: [{ ...one, receivedAtMs: null }] };
    expect((await begun({ ...unknown, listed: [{ ...one, sizeBytes: 1 }] })).events).toEqual([]);
  });

  describe('when just as much new mail came as the backup lacked', () => {
    const one = { uid: 5, sizeBytes: 100, receivedAtMs: 1000 };
    const other = { ...one, sizeBytes: 99, receivedAtMs: 2000 };
    const scene = { place: at(7, 5), folder: folder(7, 6), handled: [one], used: [7] };

    test('that is found out when it is looked, which is not at every visit', async () => {
      expect((await begun({ ...scene, listed: [other] })).events).toEqual(['cursor.set_back']);
      expect((await begun({ ...scene, listed: [other], isLookDue: false })).events).toEqual([]);
      expect((await begun({ ...scene, listed: [one] })).events).toEqual([]);
    });

    test('it is looked in a session that stays, once, before more mail covers it', async () => {
      const found = { isTheSame: false };
      const first = { ...scene, isLookDue: false, found };
      expect((await begun({ ...first, listed: [other] })).events).toEqual([]);
      expect((await begun({ ...first, listed: [other], isFirst: false })).events).toEqual(['cursor.set_back']);
      expect((await begun({ ...first, listed: [one], isFirst: false })).events).toEqual([]);
      expect(found.isTheSame).toBe(true);
      expect((await begun({ ...first, listed: [other], isFirst: false })).events).toEqual([]);
    });
  });

  test('it can be set back again', async () => {
    const found = await begun({
      place: at(numberingOf(7, 1), 5, 1),
      folder: folder(7, 3),
      used: [7, numberingOf(7, 1)],
    });
    expect(found).toMatchObject({ cursor: { uidValidity: numberingOf(7, 2), uid: 0 }, stored: { life: 2 } });
  });

  test('a cursor of which no folder was kept is taken to be of the one that is visited', async () => {
    const found = await begun({ place: { ...at(7, 5), folder: null }, folder: folder(7, 6) });
    expect(found).toMatchObject({ cursor: { uidValidity: 7, uid: 5 }, stored: null, named: here, events: [] });
  });

  describe('when the row points to another folder than before', () => {
    const elsewhere = { ...at(7, 5), folder: 'a'.repeat(64) };
    const one = { uid: 5, sizeBytes: 100, receivedAtMs: 1000 };

    test('it is begun anew, though it has the same UIDVALIDITY and more mail', async () => {
      const found = await begun({ place: elsewhere, folder: folder(7, 50), handled: [one], used: [7] });
      expect(found).toMatchObject({
        ...{ cursor: { uidValidity: numberingOf(7, 1), uid: 0 }, stored: { life: 1, folder: here }, named: null },
        ...{ events: ['cursor.restarted'], forgotten: [numberingOf(7, 1)] },
      });
    });

    test('also where the mails that were handled last are there: another account may have got the same', async () => {
      const scene = { place: elsewhere, folder: folder(7, 6), handled: [one], listed: [one], used: [7] };
      expect((await begun(scene)).cursor).toEqual({ uidValidity: numberingOf(7, 1), uid: 0 });
    });

    test('and the server numbered it anew as well, that is no sign of an unstable server', async () => {
      const notes = createRenumberings(handClock());
      for (let times = 0; times < renumberingsMax + 2; times += 1)
        expect((await begun({ place: elsewhere, folder: folder(8, 6) }, notes)).events).toEqual(['cursor.restarted']);
    });
  });

  test('later in a session the numbers of its beginning prove nothing', async () => {
    expect((await begun({ place: at(7, 9), folder: folder(7, 5), isFirst: false })).events).toEqual([]);
  });

  test('a next UID that is guessed, or that the server itself contradicts, proves nothing', async () => {
    const guessed = { ...folder(7, 3), isUidNextGuessed: true } as const;
    expect((await begun({ place: at(7, 9), folder: guessed })).events).toEqual([]);
    expect((await begun({ place: at(7, 9), folder: folder(7, 3, [1, 9]) })).events).toEqual([]);
  });

  test('more often than now and then within a day is told', async () => {
    const clock = handClock();
    const notes = createRenumberings(clock);
    const scene = { place: at(7, 5), folder: folder(8, 6) };
    for (let times = 0; times < renumberingsMax; times += 1)
      expect((await begun(scene, notes)).events).toEqual(['cursor.restarted']);
    expect((await begun(scene, notes)).events).toEqual(['cursor.restarted', 'cursor.unstable']);
    clock.at.ms += 86_400_000;
    expect((await begun(scene, notes)).events).toEqual(['cursor.restarted']);
  });
});

test('a numbering is the UIDVALIDITY in its first life, and takes it apart again', () => {
  const last = 2 ** 32 - 1;
  expect([numberingOf(last, 0), uidValidityOf(numberingOf(last, 9)), lifeOf(numberingOf(last, 9))]).toEqual([
    last,
    last,
    9,
  ]);
  for (const numbering of [1, last, numberingOf(1, 1), numberingOf(last, 2000)])
    expect(readNumbering(numberingText(numbering))).toBe(numbering);
  for (const text of ['0', '', '1.', '.1', '4294967296', '1.1.1', '-1', '1e3']) expect(readNumbering(text)).toBeNull();
});

test('an id names a mail, also where the name of the mailbox has slashes', () => {
  const id = heldId({ mailbox: 'a/5', numbering: numberingOf(7, 2), uid: 9 });
  expect(id).toBe('a/5/7.2/9');
  expect(readHeldId(id)).toEqual([
    { mailbox: 'a/5', numbering: numberingOf(7, 2), uid: 9 },
    { mailbox: 'a/5/7.2', numbering: null, uid: 9 },
  ]);
  expect(readHeldId('support/9')).toEqual([{ mailbox: 'support', numbering: null, uid: 9 }]);
  for (const wrong of ['support', '9', '/9', 'support/0', 'support/x', '']) expect(readHeldId(wrong)).toEqual([]);
});

test('each reason has a meaning and a hint of its own', () => {
  const all: Record<QuarantineReason, true> = {
    ...{ too_large: true, source_empty: true, parse_timeout: true, parse_memory: true, parse_failed: true },
    ...{ fetch_failed: true, row_refused: true, own_address: true, sender_flood: true, mail_loop: true },
  };
  expect(Object.keys(all).filter((reason) => !knownReasons.includes(reason))).toEqual([]);
  expect(new Set(knownReasons.map((reason) => reasonMeaning(reason).meaning)).size).toBe(knownReasons.length);
  expect(reasonMeaning('newer_reason').meaning).toContain('newer_reason');
});
