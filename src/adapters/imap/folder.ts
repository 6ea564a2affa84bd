/**
 * Folder commands of IMAP: SELECT, LIST, SEARCH, UID sets, and the actions after a fetch.
 *
 * Names are Unicode; imapflow encodes them (modified UTF-7, or UTF-8 where the server allows it) and adds the prefix of
 * the personal namespace where the server requires one. An action is idempotent; a UID that no longer exists is no
 * error.
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

/** Unicode paths of the selectable folders. */
export async function listFolders(link: ImapConnection): Promise<readonly string[]> {
  const entries: readonly ListResponse[] = await link.require(
    'listing the folders',
    () => link.imap.list({ listOnly: true }),
    { bytesMax: foldersBytesMax },
  );
  return entries.filter(({ flags }) => !flags.has('\\Noselect') && !flags.has('\\NonExistent')).map(({ path }) => path);
}

/** True when the server lists the folder, with or without the namespace prefix. */
async function isListed(link: ImapConnection, path: string): Promise<boolean> {
  const prefix = link.imap.namespace?.prefix ?? '';
  const folders = await listFolders(link);
  return folders.some(
    (folder) => folder === path || folder === prefix + path || (path.toUpperCase() === 'INBOX' && folder === 'INBOX'),
  );
}

/** SEARCH in the selected folder; the budget allows for a response that names each of its messages. */
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

/** UIDNEXT, also of an old server that omits it at SELECT (RFC 9051 section 6.3.2 requires it). */
async function uidNextOf(link: ImapConnection, mailbox: MailboxObject): Promise<number> {
  if (mailbox.uidNext > 0) return mailbox.uidNext;
  return ((await search(link, 'finding the last message', { uid: '1:*' })).at(-1) ?? 0) + 1;
}

async function open(link: ImapConnection, path: string, isReadOnly: boolean): Promise<MailboxObject> {
  try {
    return await link.inStage('folder', () =>
      link.run('opening the folder', () => link.imap.mailboxOpen(path, { readOnly: isReadOnly }), {
        bytesMax: idleBytesMax,
      }),
    );
  } catch (error) {
    // Not every server sends NONEXISTENT (RFC 5530): a folder that is not listed does not exist.
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
    throw new Failure('server_protocol_error', 'The server reports no usable UIDVALIDITY for the folder.');
  const folder = { uidValidity, uidNext: await uidNextOf(link, mailbox), messageCount: mailbox.exists };
  return Object.freeze(mailbox.uidNext > 0 ? folder : { ...folder, isUidNextGuessed: true });
}

/** Servers accept command lines of at least 8,192 bytes (RFC 7162 section 4). */
const setBytesMax = 7000;

/** UID sets (RFC 9051 section 9), such as `4:9,12`: ascending, without gaps, as many as the line length requires. */
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

// Actions after a fetch. A plain EXPUNGE is never sent: it would remove messages that other clients marked. Without
// UIDPLUS
// (RFC 4315) messages are only marked as deleted. Without MOVE (RFC 6851) a message is copied, then removed; one that
// is
// marked already was copied by an earlier attempt and is not copied again.

const byUid = { uid: true, silent: true } as const;

async function markSeen(link: ImapConnection, set: string): Promise<void> {
  await link.require('marking messages as read', () => link.imap.messageFlagsAdd(set, ['\\Seen'], byUid));
}

async function remove(link: ImapConnection, set: string): Promise<void> {
  if (link.imap.capabilities.has('UIDPLUS')) {
    await link.require('deleting messages', () => link.imap.messageDelete(set, byUid));
  } else {
    await link.require('marking messages as deleted', () => link.imap.messageFlagsAdd(set, ['\\Deleted'], byUid));
  }
}

async function copyAndRemove(link: ImapConnection, set: string, target: string): Promise<void> {
  const uncopied = await search(link, 'searching for messages', { uid: set, deleted: false });
  for (const rest of uidSets(uncopied)) {
    await link.require('copying messages', () => link.imap.messageCopy(rest, target, byUid));
  }
  await remove(link, set);
}

async function moveOnce(link: ImapConnection, set: string, target: string): Promise<void> {
  if (!link.imap.capabilities.has('MOVE')) await copyAndRemove(link, set, target);
  else await link.require('moving messages', () => link.imap.messageMove(set, target, byUid));
}

/** TRYCREATE (RFC 9051 section 7.1) or no such folder in the list: not every server sends the code. */
async function isTargetMissing(link: ImapConnection, refusal: Failure, target: string): Promise<boolean> {
  return refusal.fields.response_code === 'TRYCREATE' || !(await isListed(link, target));
}

async function create(link: ImapConnection, target: string): Promise<void> {
  try {
    await link.require('creating the target folder', () => link.imap.mailboxCreate(target));
  } catch (error) {
    if (!isFailure(error, 'server_refused')) throw error;
    const separator = /^[!-~]$/.exec(link.imap.namespace?.delimiter ?? '')?.[0];
    const help = separator === undefined ? '' : ` Its hierarchy separator is "${separator}".`;
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

/** Applies `action` to messages of the selected folder. Throws `server_refused`. */
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
