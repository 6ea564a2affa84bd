/**
 * Detection of a folder that was restored from a backup under the same UIDVALIDITY, so that its UIDs are used again
 * (which RFC 9051 section 2.3.1.1 forbids).
 *
 * UIDNEXT at or below the cursor shows it. When as many messages arrived as the backup lacked, or more, UIDNEXT is
 * above the cursor all the same: then the messages handled last are compared with what has their UIDs now, in one
 * FETCH. Size and INTERNALDATE together show another message. Either of those alone proves nothing: some servers
 * announce another size once a message was read, some restore other dates. Where the Message-ID differs, or a date and
 * there is no Message-ID to compare, the source is fetched and compared by its hash: a sender can write a header that
 * the server reads in another way. A server that fails at the content of one of them is asked for sizes and dates alone
 * (uidvalidity-changes.ts).
 */
import { hash } from 'node:crypto';
import type { Cursor } from '../model.ts';
import type { HandledSource, IdentifiedMessage, Session } from '../ports.ts';
import type { FolderStore } from '../stores.ts';
import type { FolderComparison } from './uidvalidity-changes.ts';

/** Number of last handled messages that are compared. */
const comparedMax = 3;

/**
 * True when UIDs up to the cursor are or will be used again. UIDNEXT is above every UID that was ever used; where the
 * server does not announce it, or has messages above it, it proves nothing. `cursor` must be older than the session.
 */
export async function isRestoredFromBackup(
  mailboxId: string,
  session: Session,
  cursor: Cursor,
  store: Pick<FolderStore, 'lastHandled'>,
  comparison: FolderComparison = 'content',
): Promise<boolean> {
  const { uidNext, isUidNextGuessed } = session.folder;
  if (uidNext > cursor.uid) return await isReplaced(mailboxId, session, cursor, store, comparison);
  if (isUidNextGuessed === true) return false;
  return (await session.listAbove(uidNext - 1)).length === 0;
}

/** True when one of the messages handled last is another message now. */
export async function isReplaced(
  mailboxId: string,
  session: Session,
  cursor: Cursor,
  store: Pick<FolderStore, 'lastHandled'>,
  comparison: FolderComparison = 'content',
): Promise<boolean> {
  const handled = await store.lastHandled(mailboxId, cursor, comparedMax);
  if (handled.length === 0) return false;
  const uids = handled.map(({ uid }) => uid);
  const isBySize = comparison === 'size';
  const listed = isBySize
    ? (await session.sizes(uids)).map((one) => ({ ...one, messageId: null }))
    : await session.identify(uids);
  const present = new Map(listed.map((one) => [one.uid, one]));
  for (const before of handled) {
    const now = present.get(before.uid);
    if (now !== undefined && (await isOtherMessage(before, now, isBySize ? null : session))) return true;
  }
  return false;
}

/** `session` null: no content is asked for. */
async function isOtherMessage(
  before: HandledSource,
  now: IdentifiedMessage,
  session: Session | null,
): Promise<boolean> {
  const hasIds = before.messageId !== null && now.messageId !== null;
  if (hasIds && before.messageId !== now.messageId)
    return session === null || before.sourceSha256 === null || (await sourceOf(before, session)) !== 'same';
  // Without a time the size may be wrong as well.
  if (before.receivedAtMs === null || now.receivedAtMs === null || before.receivedAtMs === now.receivedAtMs)
    return false;
  if (before.sizeBytes !== now.sizeBytes) return true;
  return session !== null && !hasIds && before.sourceSha256 !== null && (await sourceOf(before, session)) === 'other';
}

async function sourceOf({ uid, sourceSha256 }: HandledSource, session: Session): Promise<'same' | 'other' | 'none'> {
  let found: 'same' | 'other' | 'none' = 'none';
  for await (const { source } of session.fetch([uid]))
    if (source !== null) found = hash('sha256', source, 'hex') === sourceSha256 ? 'same' : 'other';
  return found;
}
