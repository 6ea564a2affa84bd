/**
 * Selecting a folder, and telling a folder that is not there from one that the server does not give.
 *
 * Names are Unicode here; imapflow encodes them (modified UTF-7, or UTF-8 where the server allows it) and puts the
 * personal name space's prefix in front where the server wants one.
 */

import type { ListResponse, MailboxObject } from 'imapflow';
import { Failure, isFailure } from '../../errors.ts';
import type { PostAction } from '../../ingest/model.ts';
import type { FolderState } from '../../ingest/ports.ts';
import { lineBytesMax } from './client.ts';
import type { ImapConnection } from './connection.ts';
import { commandBytesMax, idleBytesMax } from './limits.ts';

const uidMax = 2 ** 32 - 1;
/** Ten digits and a space. */
const uidBytesMax = 11;
/** Some ten thousand folders. */
const foldersBytesMax = 4 * 1024 * 1024;

/** Paths of the folders that can hold mail, as people write them. */
export async function listFolders(link: ImapConnection): Promise<readonly string[]> {
  const entries: readonly ListResponse[] = await link.require(
    'listing the folders',
    () => link.imap.list({ listOnly: true }),
    { bytesMax: foldersBytesMax },
  );
  return entries.filter(({ flags }) => !flags.has('\\Noselect') && !flags.has('\\NonExistent')).map(({ path }) => path);
}

/** True when the server lists the folder; the prefix of the name space counts as written. */
async function isListed(link: ImapConnection, path: string): Promise<boolean> {
  const prefix = link.imap.namespace?.prefix ?? '';
  const folders = await listFolders(link);
  return folders.some(
    (folder) => folder === path || folder === prefix + path || (path.toUpperCase() === 'INBOX' && folder === 'INBOX'),
  );
}

/** UIDs of the selected folder; the answer may name each of its mails. */
export async function search(
  link: ImapConnection,
  doing: string,
  query: Parameters<ImapConnection['imap']['search']>[0],
): Promise<readonly number[]> {
  const { mailbox } = link.imap;
  const answerBytes = mailbox === false ? 0 : Math.min(mailbox.exists * uidBytesMax, lineBytesMax);
  const bytesMax = commandBytesMax + answerBytes;
  const found = await link.require(doing, () => link.imap.search(query, { uid: true }), { bytesMax });
  return Array.isArray(found) ? found : [];
}

/** UIDNEXT where the server does not tell it at SELECT (RFC 9051 section 6.3.2 requires it, old servers do not). */
async function uidNextOf(link: ImapConnection, mailbox: MailboxObject): Promise<number> {
  if (mailbox.uidNext > 0) return mailbox.uidNext;
  return ((await search(link, 'finding the last mail', { uid: '1:*' })).at(-1) ?? 0) + 1;
}

async function open(link: ImapConnection, path: string, isReadOnly: boolean): Promise<MailboxObject> {
  try {
    return await link.inStage('folder', () =>
      link.run('opening the folder', () => link.imap.mailboxOpen(path, { readOnly: isReadOnly }), {
        bytesMax: idleBytesMax,
      }),
    );
  } catch (error) {
    // Not every server says NONEXISTENT (RFC 5530).
    if (!isFailure(error, 'server_refused') || link.isEnded || (await isListed(link, path))) throw error;
    throw new Failure('folder_missing', 'The folder does not exist.', { fields: error.fields, cause: error.cause });
  }
}

/**
 * Selects `path` (SELECT, or EXAMINE when `isReadOnly`). `Failure`: `folder_missing`, `server_refused`, and
 * `server_protocol_error` when the server has no usable UIDVALIDITY.
 */
export async function selectFolder(link: ImapConnection, path: string, isReadOnly: boolean): Promise<FolderState> {
  const mailbox = await open(link, path, isReadOnly);
  const uidValidity = Number(mailbox.uidValidity ?? 0);
  if (uidValidity < 1 || uidValidity > uidMax)
    throw new Failure('server_protocol_error', 'The server tells no usable UIDVALIDITY for the folder.');
  const folder = { uidValidity, uidNext: await uidNextOf(link, mailbox), messageCount: mailbox.exists };
  return Object.freeze(mailbox.uidNext > 0 ? folder : { ...folder, isUidNextGuessed: true });
}

/**
 * UIDs as IMAP sequence sets (RFC 9051 section 9): `4:9,12`. Only the given UIDs are named, never a gap between them.
 *
 * A set is cut where a command line would grow past what servers accept (RFC 7162 section 4 asks for 8,192 bytes).
 */

const setBytesMax = 7000;

/** Any number of UIDs, in any order, as one or more sets in ascending order; none for no UID. */
export function* uidSets(uids: readonly number[]): Generator<string> {
  const sorted = uids.toSorted((a, b) => a - b);
  let set = '';
  for (let from = 0; from < sorted.length; ) {
    let to = from;
    while (to + 1 < sorted.length && (sorted[to + 1] ?? 0) <= (sorted[to] ?? 0) + 1) to += 1;
    const first = sorted[from];
    const last = sorted[to];
    const part = first === last ? `${first}` : `${first}:${last}`;
    if (set.length + 1 + part.length > setBytesMax) {
      yield set;
      set = '';
    }
    set = set === '' ? part : `${set},${part}`;
    from = to + 1;
  }
  if (set !== '') yield set;
}

/**
 * What is done to mails on the server once they are stored here. Each is idempotent; a UID that is gone is no error.
 *
 * A bare EXPUNGE is never sent: it removes what others have marked too. Without UIDPLUS (RFC 4315) mails are marked
 * as deleted and left to the next one who tidies up. Without MOVE (RFC 6851) a mail is copied and then removed; mails
 * that are marked already were copied by an earlier try and are not copied again.
 */

const byUid = { uid: true, silent: true } as const;

async function markSeen(link: ImapConnection, set: string): Promise<void> {
  await link.require('marking mails as read', () => link.imap.messageFlagsAdd(set, ['\\Seen'], byUid));
}

async function remove(link: ImapConnection, set: string): Promise<void> {
  if (link.imap.capabilities.has('UIDPLUS')) {
    await link.require('deleting mails', () => link.imap.messageDelete(set, byUid));
  } else {
    await link.require('marking mails as deleted', () => link.imap.messageFlagsAdd(set, ['\\Deleted'], byUid));
  }
}

async function copyAndRemove(link: ImapConnection, set: string, target: string): Promise<void> {
  const uncopied = await search(link, 'looking for mails', { uid: set, deleted: false });
  for (const rest of uidSets(uncopied)) {
    await link.require('copying mails', () => link.imap.messageCopy(rest, target, byUid));
  }
  await remove(link, set);
}

async function moveOnce(link: ImapConnection, set: string, target: string): Promise<void> {
  if (!link.imap.capabilities.has('MOVE')) await copyAndRemove(link, set, target);
  else await link.require('moving mails', () => link.imap.messageMove(set, target, byUid));
}

/** RFC 9051 section 7.1: TRYCREATE says that the folder is missing; not every server says it. */
async function isTargetMissing(link: ImapConnection, refusal: Failure, target: string): Promise<boolean> {
  return refusal.fields.response_code === 'TRYCREATE' || !(await isListed(link, target));
}

async function create(link: ImapConnection, target: string): Promise<void> {
  try {
    await link.require('creating the target folder', () => link.imap.mailboxCreate(target));
  } catch (error) {
    if (!isFailure(error, 'server_refused')) throw error;
    const separator = /^[!-~]$/.exec(link.imap.namespace?.delimiter ?? '')?.[0];
    const help = separator === undefined ? '' : ` Its names of folders are separated by "${separator}".`;
    throw new Failure('server_refused', `The server refused to create the folder ${JSON.stringify(target)}.`, {
      ...{ fields: error.fields, cause: error.cause },
      hint: `Make it on the server, or name another one: mailbox set NAME --on-success move:FOLDER.${help}`,
    });
  }
}

async function move(link: ImapConnection, set: string, target: string): Promise<void> {
  try {
    await moveOnce(link, set, target);
  } catch (error) {
    if (!isFailure(error, 'server_refused') || link.isEnded || !(await isTargetMissing(link, error, target)))
      throw error;
    await create(link, target);
    await moveOnce(link, set, target);
  }
}

/** Applies `action` to the mails of the selected folder. `Failure` `server_refused` when the server says no. */
export async function applyAction(link: ImapConnection, action: PostAction, uids: readonly number[]): Promise<void> {
  if (action.kind === 'leave') return;
  for (const set of uidSets(uids)) {
    // A new action does not compile until it is applied here.
    if (action.kind === 'seen') await markSeen(link, set);
    else if (action.kind === 'delete') await remove(link, set);
    else if (action.kind === 'move') await move(link, set, action.folder);
    else action satisfies never;
  }
}
