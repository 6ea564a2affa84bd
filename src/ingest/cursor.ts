/**
 * Where a round begins.
 *
 * A cursor of the folder's present numbering is taken as it is. A folder that is new to us, that was rebuilt under
 * another UIDVALIDITY (RFC 9051 section 2.3.1.1), or that was set back under the same one (restored from a backup, so
 * that UIDs will be used again) begins where the mailbox's start says: at its first mail, or at the first that arrived
 * since a time. What is there already is recognised by Message-ID and content later on.
 */
import { events } from '../events.ts';
import type { Cursor, Mailbox } from './mailbox.ts';
import { numberingOf, uidValidityOf } from './numbering.ts';
import type { NumberingStore, Place } from './numbering-ports.ts';
import type { PollContext, PollPorts } from './poll-ports.ts';
import type { FolderState, Lease, Listed, Session } from './ports.ts';
import { renumberingsMax } from './renumberings.ts';

/** So many of the last mails are compared. */
const lookedAt = 5;

type Beginning = {
  readonly mailbox: Mailbox;
  readonly lease: Lease;
  readonly poll: string;
  readonly context: Pick<PollContext, 'renumberings'>;
  /** The folder is as it was selected; later the cursor has gone on and the folder's numbers have not. */
  readonly isFirst: boolean;
};

/** The cursor to go on from; a new one is stored before it is returned. */
export async function startCursor(
  begin: Beginning,
  session: Session,
  ports: Pick<PollPorts, 'log'> & { readonly store: NumberingStore },
): Promise<Cursor> {
  const place = await ports.store.readPlace(begin.mailbox.id);
  const { cursor } = place;
  const isSame = cursor !== null && uidValidityOf(cursor.uidValidity) === session.folder.uidValidity;
  if (isSame && !(begin.isFirst && (await isSetBack(begin.mailbox.id, session, cursor, ports.store)))) return cursor;
  const { mailbox, lease, poll } = begin;
  const { store, log } = ports;
  const next = await nextNumbering(mailbox.id, session.folder, place, store);
  const uid = mailbox.start.from === 'all' ? 0 : await session.uidBefore(mailbox.start.atMs);
  const begun = { uidValidity: next.numbering, uid };
  await store.beginNumbering(lease, begun, next.life);
  const fields = { mailbox: mailbox.name, poll, uid_validity: session.folder.uidValidity, uid };
  if (cursor === null) {
    log.info(fields, events.cursorStarted);
    return begun;
  }
  await store.forgetNumberings(lease, next.numbering);
  if (isSame) log.warn({ ...fields, uid_next: session.folder.uidNext, uid_before: cursor.uid }, events.cursorSetBack);
  else log.warn({ ...fields, uid_validity_before: uidValidityOf(cursor.uidValidity) }, events.cursorRestarted);
  const count = begin.context.renumberings?.note() ?? 0;
  if (count > renumberingsMax) log.warn({ mailbox: mailbox.name, poll, count }, events.cursorUnstable);
  return begun;
}

/**
 * UIDNEXT is above every UID that was ever used; where the server does not tell it, or has mail above it, it proves
 * nothing. When new mail came first, it is above the cursor all the same: then the mails up to the cursor are others.
 * `cursor` must be older than the session.
 */
export async function isSetBack(
  mailboxId: string,
  session: Session,
  cursor: Cursor,
  store: Pick<NumberingStore, 'lastHandled'>,
): Promise<boolean> {
  const { uidNext, isUidNextGuessed } = session.folder;
  if (uidNext > cursor.uid + 1) return await areOthers(await store.lastHandled(mailboxId, cursor, lookedAt), session);
  if (isUidNextGuessed === true || uidNext > cursor.uid) return false;
  return (await session.listAbove(uidNext - 1)).length === 0;
}

/** True when under one of these UIDs there is a mail of another size that arrived at another time. */
async function areOthers(handled: readonly Listed[], session: Session): Promise<boolean> {
  if (handled.length === 0) return false;
  const listed = new Map((await session.sizes(handled.map(({ uid }) => uid))).map((one) => [one.uid, one]));
  return handled.some(({ uid, sizeBytes, receivedAtMs }) => {
    const now = listed.get(uid);
    if (now === undefined || now.receivedAtMs === null || receivedAtMs === null) return false;
    // Sizes alone are not believed: some servers tell another one once a mail was read.
    return now.sizeBytes !== sizeBytes && now.receivedAtMs !== receivedAtMs;
  });
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
