/**
 * Folder commands of IMAP: SELECT, LIST, SEARCH, UID sets, and the actions after a fetch.
 *
 * Names are Unicode; imapflow encodes them (modified UTF-7, or UTF-8 where the server allows it) and adds the prefix of
 * the personal namespace where the server requires one. An action is idempotent; a UID that no longer exists is no
 * error.
 */

import type { ListResponse, MailboxObject } from 'imapflow';
import { encodePath, normalizePath } from 'imapflow/lib/tools.js';
import { Failure, isFailure } from '../../errors.ts';
import type { PostAction } from '../../ingest/model.ts';
import type { FolderState } from '../../ingest/ports.ts';
import { hints } from '../../text/hints.ts';
import type { ImapConnection } from './connection.ts';
import { type CommandToken, execute } from './imapflow-internals.ts';
import { commandBytesMax, idleBytesMax, searchBytesMax } from './limits.ts';
import { listedMax, UidCollector, uidMax } from './responses/uid-collector.ts';

/** Ten digits and a space. */
const uidBytesMax = 11;
/** Some ten thousand folders. */
const foldersBytesMax = 4 * 1024 * 1024;

/** Unicode paths of the selectable folders. */
export async function listFolders(connection: ImapConnection): Promise<readonly string[]> {
  const entries: readonly ListResponse[] = await connection.require(
    'listing the folders',
    () => connection.imap.list({ listOnly: true }),
    { bytesMax: foldersBytesMax },
  );
  return entries.filter(({ flags }) => !flags.has('\\Noselect') && !flags.has('\\NonExistent')).map(({ path }) => path);
}

/** True when the server lists the folder, with or without the namespace prefix. */
async function isListed(connection: ImapConnection, path: string): Promise<boolean> {
  const prefix = connection.imap.namespace?.prefix ?? '';
  const folders = await listFolders(connection);
  return folders.some(
    (folder) => folder === path || folder === prefix + path || (path.toUpperCase() === 'INBOX' && folder === 'INBOX'),
  );
}

/** Criteria of a SEARCH: the messages of a set, or those since a day; those without \\Deleted alone. */
export type SearchCriteria = { readonly uid?: string; readonly since?: Date; readonly isUndeleted?: true };

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function dateText(date: Date): string {
  return `${date.getUTCDate()}-${months[date.getUTCMonth()]}-${date.getUTCFullYear()}`;
}

function searchTokens({ uid, since, isUndeleted }: SearchCriteria): readonly CommandToken[] {
  const key = (value: string): CommandToken => ({ type: 'ATOM', value });
  return [
    ...(uid === undefined ? [] : [key('UID'), { type: 'SEQUENCE', value: uid } as const]),
    ...(since === undefined ? [] : [key('SINCE'), key(dateText(since))]),
    ...(isUndeleted === true ? [key('UNDELETED')] : []),
  ];
}

/** EXISTS of the selected folder, as the server announced it last. */
export function existsIn({ imap }: ImapConnection): number {
  return imap.mailbox === false ? 0 : imap.mailbox.exists;
}

/** UIDs of a SEARCH, ascending; `isCut`: those above the last were left out. */
export type SearchResult = ReturnType<UidCollector['result']>;

/**
 * SEARCH in the selected folder: UIDs, ascending, at most `listedMax`. The budget allows for each message of the
 * folder, and for two windows at most: EXISTS is only what the server says.
 */
export async function search(
  connection: ImapConnection,
  doing: string,
  criteria: SearchCriteria,
): Promise<SearchResult> {
  const { imap } = connection;
  const exists = existsIn(connection);
  const searchBytes = Math.min(exists * uidBytesMax, searchBytesMax);
  const collector = new UidCollector(exists);
  imap.responses.collector = collector;
  try {
    const command = () => execute(imap, 'UID SEARCH', searchTokens(criteria));
    await connection.run(doing, command, { bytesMax: commandBytesMax + searchBytes, searchBytes });
  } finally {
    imap.responses.collector = null;
  }
  return collector.result();
}

/** UIDs of messages by their sequence numbers (RFC 9051 section 2.3.1.2), at most `windowsMax` of them. */
async function uidsAt(connection: ImapConnection, numbers: readonly number[]): Promise<ReadonlyMap<number, number>> {
  const found = new Map<number, number>();
  await connection.run('listing the messages', async () => {
    for await (const { seq, uid } of connection.imap.fetch(numbers.join(','), { uid: true })) found.set(seq, uid);
  });
  return found;
}

/** Their sequence numbers fit into one command line: 100 million messages. */
const windowsMax = 400;

/**
 * Last UIDs of the windows in which a large folder is listed, each of `listedMax` messages but the one after the last
 * UID: one FETCH, however sparse its UIDs are. Later arrivals are in that last window, and an expunge makes a window
 * smaller. Empty for a folder of one window, and where the server does not tell.
 */
export async function windowEnds(connection: ImapConnection): Promise<readonly number[]> {
  const count = Math.min(Math.ceil(existsIn(connection) / listedMax) - 1, windowsMax);
  if (count < 1) return [];
  const numbers = Array.from({ length: count }, (_, at) => (at + 1) * listedMax);
  const uids = await uidsAt(connection, numbers);
  return numbers.flatMap((number) => uids.get(number) ?? []).sort((a, b) => a - b);
}

export type LastMessage = { readonly uid: number; readonly receivedAtMs: number | null };

/** The message with the highest number and UID (RFC 9051 section 2.3.1.2); null: the server shows none. */
export async function lastMessage(connection: ImapConnection): Promise<LastMessage | null> {
  const exists = existsIn(connection);
  if (exists === 0) return null;
  let last: LastMessage | null = null;
  await connection.run('finding the last message', async () => {
    for await (const { seq, uid, internalDate } of connection.imap.fetch(`${exists}`, {
      uid: true,
      internalDate: true,
    }))
      if (seq === exists) last = { uid, receivedAtMs: internalDate instanceof Date ? internalDate.getTime() : null };
  });
  return last;
}

/** The highest UID, 0 in an empty folder. */
async function lastUid(connection: ImapConnection): Promise<number> {
  const isOneWindow = existsIn(connection) <= listedMax;
  const found = isOneWindow ? (await search(connection, 'finding the last message', { uid: '1:*' })).uids.at(-1) : null;
  return found ?? (await lastMessage(connection))?.uid ?? 0;
}

/** UIDNEXT, also of an old server that omits it at SELECT (RFC 9051 section 6.3.2 requires it). */
async function uidNextOf(connection: ImapConnection, mailbox: MailboxObject): Promise<number> {
  return mailbox.uidNext > 0 ? mailbox.uidNext : (await lastUid(connection)) + 1;
}

async function open(connection: ImapConnection, path: string, isReadOnly: boolean): Promise<MailboxObject> {
  try {
    return await connection.inStage('folder', () =>
      connection.run('opening the folder', () => connection.imap.mailboxOpen(path, { readOnly: isReadOnly }), {
        bytesMax: idleBytesMax,
      }),
    );
  } catch (error) {
    // Not every server sends NONEXISTENT (RFC 5530): a folder that is not listed does not exist.
    if (!isFailure(error, 'server_refused') || connection.isEnded || (await isListed(connection, path))) throw error;
    throw new Failure('folder_missing', 'The folder does not exist.', { fields: error.fields, cause: error.cause });
  }
}

/**
 * Selects `path` (SELECT, or EXAMINE when `isReadOnly`). `Failure`: `folder_missing`, `server_refused`, and
 * `server_protocol_error` when the server has no usable UIDVALIDITY.
 */
export async function selectFolder(
  connection: ImapConnection,
  path: string,
  isReadOnly: boolean,
): Promise<FolderState> {
  const mailbox = await open(connection, path, isReadOnly);
  const uidValidity = Number(mailbox.uidValidity ?? 0);
  if (uidValidity < 1 || uidValidity > uidMax)
    throw new Failure('server_protocol_error', 'The server reports no usable UIDVALIDITY for the folder.');
  const folder = { uidValidity, uidNext: await uidNextOf(connection, mailbox), messageCount: mailbox.exists };
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

// Post-actions. A plain EXPUNGE is never sent: it would remove messages that other clients marked. Without UIDPLUS
// (RFC 4315) messages are only marked as deleted. Without MOVE (RFC 6851) a message is copied, then removed; one that
// is marked already was copied by an earlier attempt and is not copied again.

const byUid = { uid: true, silent: true } as const;

async function markSeen(connection: ImapConnection, set: string): Promise<void> {
  await connection.require('marking messages as read', () => connection.imap.messageFlagsAdd(set, ['\\Seen'], byUid));
}

async function remove(connection: ImapConnection, set: string): Promise<void> {
  if (connection.imap.capabilities.has('UIDPLUS')) {
    await connection.require('deleting messages', () => connection.imap.messageDelete(set, byUid));
  } else {
    await connection.require('marking messages as deleted', () =>
      connection.imap.messageFlagsAdd(set, ['\\Deleted'], byUid),
    );
  }
}

/**
 * UID COPY or UID MOVE. COPYUID of the response (RFC 4315) is not read: a few bytes of it can name 2^32 messages.
 */
function toFolder({ imap }: ImapConnection, command: 'UID COPY' | 'UID MOVE', set: string, target: string) {
  const name = encodePath(imap, normalizePath(imap, target));
  return execute(imap, command, [
    { type: 'SEQUENCE', value: set },
    { type: 'ATOM', value: name },
  ]);
}

async function copyAndRemove(connection: ImapConnection, set: string, target: string): Promise<void> {
  const uncopied = await search(connection, 'searching for messages', { uid: set, isUndeleted: true });
  for (const rest of uidSets(uncopied.uids)) {
    await connection.run('copying messages', () => toFolder(connection, 'UID COPY', rest, target));
  }
  await remove(connection, set);
}

async function moveOnce(connection: ImapConnection, set: string, target: string): Promise<void> {
  if (!connection.imap.capabilities.has('MOVE')) await copyAndRemove(connection, set, target);
  else await connection.run('moving messages', () => toFolder(connection, 'UID MOVE', set, target));
}

/** TRYCREATE (RFC 9051 section 7.1) or no such folder in the list: not every server sends the code. */
async function isTargetMissing(connection: ImapConnection, refusal: Failure, target: string): Promise<boolean> {
  return refusal.fields.response_code === 'TRYCREATE' || !(await isListed(connection, target));
}

async function create(connection: ImapConnection, target: string): Promise<void> {
  try {
    await connection.require('creating the target folder', () => connection.imap.mailboxCreate(target));
  } catch (error) {
    if (!isFailure(error, 'server_refused')) throw error;
    const separator = /^[!-~]$/.exec(connection.imap.namespace?.delimiter ?? '')?.[0];
    const help = separator === undefined ? '' : ` Its hierarchy separator is "${separator}".`;
    throw new Failure('server_refused', `The server refused to create the folder ${JSON.stringify(target)}.${help}`, {
      ...{ fields: error.fields, cause: error.cause, hint: hints.folderUncreated },
    });
  }
}

async function move(connection: ImapConnection, set: string, target: string): Promise<void> {
  try {
    await moveOnce(connection, set, target);
  } catch (error) {
    if (
      !isFailure(error, 'server_refused') ||
      connection.isEnded ||
      !(await isTargetMissing(connection, error, target))
    )
      throw error;
    await create(connection, target);
    await moveOnce(connection, set, target);
  }
}

/** Applies `action` to messages of the selected folder. Throws `server_refused`. */
export async function applyAction(
  connection: ImapConnection,
  action: PostAction,
  uids: readonly number[],
): Promise<void> {
  if (action.kind === 'leave') return;
  for (const set of uidSets(uids)) {
    // A new action does not compile until it is applied here.
    if (action.kind === 'seen') await markSeen(connection, set);
    else if (action.kind === 'delete') await remove(connection, set);
    else if (action.kind === 'move') await move(connection, set, action.folder);
    else action satisfies never;
  }
}
