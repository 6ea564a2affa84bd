/**
 * Where a round begins.
 *
 * A cursor of the folder's present numbering is taken as it is. A folder that is new to us, that was rebuilt under
 * another UIDVALIDITY (RFC 9051 section 2.3.1.1), that was set back under the same one (restored from a backup, so that
 * UIDs will be used again), or that is another one than before (somebody changed the row) begins where the mailbox's
 * start says: at its first mail, or at the first that arrived since a time. What is there already is recognised by
 * Message-ID and content later on.
 */

import type { Clock } from '../../async/clock.ts';
import { events } from '../../events.ts';
import { folderKey, numberingOf, uidValidityOf } from '../folder-epoch.ts';
import type { Cursor, Mailbox } from '../model.ts';
import type { FolderState, Listed, Session } from '../ports.ts';
import type { Lease, NumberingStore, Place } from '../stores.ts';
import type { Found, PollContext, PollPorts } from './poll-context.ts';

/** So many of the last mails are compared. */
const lookedAt = 5;

type Begin = {
  readonly mailbox: Mailbox;
  readonly lease: Lease;
  readonly poll: string;
  readonly context: Pick<PollContext, 'renumberings' | 'looks'>;
  /** The folder is as it was selected; later the cursor has gone on and the folder's numbers have not. */
  readonly isFirst: boolean;
  readonly found: Found;
};

type Ports = Pick<PollPorts, 'log'> & { readonly store: NumberingStore };

/** The cursor to go on from; a new one is stored before it is returned. */
export async function startCursor(begin: Begin, session: Session, ports: Ports): Promise<Cursor> {
  const { mailbox, lease } = begin;
  const { store } = ports;
  const place = await store.readPlace(mailbox.id);
  const folder = folderKey(mailbox.connection);
  if (place.cursor !== null && !isElsewhere(place, mailbox) && (await goesOn(place.cursor, begin, session, store))) {
    if (place.folder === null) await store.nameFolder(lease, folder);
    return place.cursor;
  }
  const next = await nextNumbering(mailbox.id, session.folder, place, store);
  const uid = mailbox.start.from === 'all' ? 0 : await session.uidBefore(mailbox.start.atMs);
  const cursor = { uidValidity: next.numbering, uid };
  await store.beginNumbering(lease, { cursor, life: next.life, folder });
  if (place.cursor !== null) await store.forgetNumberings(lease, next.numbering);
  tell(begin, session, place, cursor, ports);
  return cursor;
}

/** Whether the folder has the numbers that it had. */
async function goesOn(
  cursor: Cursor,
  { mailbox, isFirst, found, context }: Begin,
  session: Session,
  store: NumberingStore,
): Promise<boolean> {
  const { uidValidity, uidNext } = session.folder;
  if (uidValidityOf(cursor.uidValidity) !== uidValidity) return false;
  if (found.isTheSame) return true;
  const looksQuiet = isFirst && uidNext === cursor.uid + 1;
  if (looksQuiet && context.looks?.isDue() === false) return true;
  const isOther = await (isFirst ? isSetBack : isReplaced)(mailbox.id, session, cursor, store);
  context.looks?.note();
  found.isTheSame = !isOther;
  return !isOther;
}

/** True where the row of the mailbox points to another folder than the cursor is of. */
export function isElsewhere({ folder }: Pick<Place, 'folder'>, { connection }: Mailbox): boolean {
  return folder !== null && folder !== folderKey(connection);
}

function tell(
  { mailbox, poll, context }: Begin,
  { folder }: Session,
  place: Place,
  begun: Cursor,
  { log }: Ports,
): void {
  const fields = { mailbox: mailbox.name, poll, uid_validity: folder.uidValidity, uid: begun.uid };
  const before = place.cursor;
  if (before === null) {
    log.info(fields, events.cursorStarted);
    return;
  }
  const uidValidityBefore = uidValidityOf(before.uidValidity);
  if (isElsewhere(place, mailbox)) {
    log.info({ ...fields, uid_validity_before: uidValidityBefore, reason: 'other_folder' }, events.cursorRestarted);
    return;
  }
  if (uidValidityBefore === folder.uidValidity)
    log.warn({ ...fields, uid_next: folder.uidNext, uid_before: before.uid }, events.cursorSetBack);
  else log.warn({ ...fields, uid_validity_before: uidValidityBefore, reason: 'renumbered' }, events.cursorRestarted);
  const count = context.renumberings?.note() ?? 0;
  if (count > renumberingsMax) log.warn({ mailbox: mailbox.name, poll, count }, events.cursorUnstable);
}

/**
 * UIDNEXT is above every UID that was ever used; where the server does not tell it, or has mail above it, it proves
 * nothing. When as much new mail came as the backup lacked, or more, it is above the cursor all the same: then the mails up
 * to the cursor are others. `cursor` must be older than the session.
 */
export async function isSetBack(
  mailboxId: string,
  session: Session,
  cursor: Cursor,
  store: Pick<NumberingStore, 'lastHandled'>,
): Promise<boolean> {
  const { uidNext, isUidNextGuessed } = session.folder;
  if (uidNext > cursor.uid) return await isReplaced(mailboxId, session, cursor, store);
  if (isUidNextGuessed === true) return false;
  return (await session.listAbove(uidNext - 1)).length === 0;
}

/** Whether one of the mails that were handled last is another one now. */
async function isReplaced(
  mailboxId: string,
  session: Session,
  cursor: Cursor,
  store: Pick<NumberingStore, 'lastHandled'>,
): Promise<boolean> {
  return (await compared(await store.lastHandled(mailboxId, cursor, lookedAt), session)).some(isAnother);
}

type Compared = { readonly sizes: readonly [number, number]; readonly times: readonly [number, number] };

/** What was handled beside what is there under its UID now; what cannot be told is left out. */
async function compared(handled: readonly Listed[], session: Session): Promise<Compared[]> {
  // Where no time was told, the size may be what the server fails at.
  const dated = handled.filter(({ receivedAtMs }) => receivedAtMs !== null);
  if (dated.length === 0) return [];
  const listed = new Map((await session.sizes(dated.map(({ uid }) => uid))).map((one) => [one.uid, one]));
  return dated.flatMap(({ uid, sizeBytes, receivedAtMs }) => {
    const now = listed.get(uid);
    if (now === undefined || now.receivedAtMs === null || receivedAtMs === null) return [];
    return [{ sizes: [sizeBytes, now.sizeBytes], times: [receivedAtMs, now.receivedAtMs] }];
  });
}

/** Sizes alone are not believed: some servers tell another one once a mail was read. */
function isAnother({ sizes, times }: Compared): boolean {
  return sizes[0] !== sizes[1] && times[0] !== times[1];
}

/** One under which nothing is kept: a UIDVALIDITY may also come back. */
async function nextNumbering(
  mailboxId: string,
  { uidValidity }: FolderState,
  { life }: Place,
  store: NumberingStore,
): Promise<{ readonly numbering: number; readonly life: number }> {
  if (!(await store.isNumberingUsed(mailboxId, uidValidity))) return { numbering: uidValidity, life };
  return { numbering: numberingOf(uidValidity, life + 1), life: life + 1 };
}

/**
 * How often the folders were numbered anew within a day, as far as this worker saw it.
 *
 * A server that forgets its numbering again and again has every mail fetched again and again. Nothing is lost or stored
 * twice by that; it only costs, so such a mailbox is visited more rarely, and somebody is told.
 */

/** More often than that within a day is no rebuilding but a fault of the server. */
export const renumberingsMax = 3;
/** A mailbox whose folder is unstable is visited after so long. */
export const unstableMs = 60 * 60_000;

const dayMs = 86_400_000;
const keptMax = 100;

export interface Renumberings {
  /** One more of that mailbox; tells how many there were within a day. */
  note(mailboxId: string): number;
  count(mailboxId: string): number;
}

export function createRenumberings(clock: Pick<Clock, 'monotonicMs'>): Renumberings {
  const times = new Map<string, readonly number[]>();
  const recent = (id: string) => (times.get(id) ?? []).filter((atMs) => clock.monotonicMs() - atMs < dayMs);
  return {
    note(id) {
      const noted = [...recent(id), clock.monotonicMs()].slice(-keptMax);
      times.set(id, noted);
      return noted.length;
    },
    count: (id) => recent(id).length,
  };
}

/**
 * When it was last looked whether the folder of a mailbox without new mail is still the one that was handled.
 *
 * A folder that was restored from a backup, and has just as many new mails as the backup lacked, looks as if nothing had
 * happened. To find out costs two questions, so it is asked once an hour, and once in each session that stays.
 */

const everyMs = 3_600_000;

export interface Looks {
  isDue(mailboxId: string): boolean;
  note(mailboxId: string): void;
}

export function createLooks(clock: Pick<Clock, 'monotonicMs'>): Looks {
  const times = new Map<string, number>();
  return {
    isDue: (id) => clock.monotonicMs() - (times.get(id) ?? Number.NEGATIVE_INFINITY) >= everyMs,
    note: (id) => void times.set(id, clock.monotonicMs()),
  };
}
