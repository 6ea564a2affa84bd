/**
 * Where a poll begins.
 *
 * A cursor of the folder's present UIDVALIDITY is taken as it is. A folder that is new to us, or that was rebuilt
 * under another UIDVALIDITY (RFC 9051 section 2.3.1.1), begins where the mailbox's start says: at its first mail, or
 * at the first that arrived since a time. What is there already is recognised by Message-ID and content later on.
 */
import { events } from '../events.ts';
import type { Cursor, Mailbox } from './mailbox.ts';
import type { PollPorts } from './poll-ports.ts';
import type { IngestStore, Lease, Session } from './ports.ts';

/** The cursor to go on from; a new one is stored before it is returned. */
export async function startCursor(
  { mailbox, lease, poll }: { readonly mailbox: Mailbox; readonly lease: Lease; readonly poll: string },
  session: Session,
  ports: Pick<PollPorts, 'log'> & { readonly store: IngestStore },
): Promise<Cursor> {
  const stored = await ports.store.readCursor(mailbox.id);
  const { uidValidity } = session.folder;
  if (stored !== null && stored.uidValidity === uidValidity) return stored;
  const uid = mailbox.start.from === 'all' ? 0 : await session.uidBefore(mailbox.start.atMs);
  const cursor = { uidValidity, uid };
  await ports.store.setCursor(lease, cursor);
  const fields = { mailbox: mailbox.name, poll, uid_validity: uidValidity, uid };
  if (stored === null) ports.log.info(fields, events.cursorStarted);
  else ports.log.warn({ ...fields, uid_validity_before: stored.uidValidity }, events.cursorRestarted);
  return cursor;
}
