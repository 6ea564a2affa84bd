/**
 * Folder commands of IMAP: SELECT, LIST, SEARCH and UID sets. Actions after a fetch are in post-actions.ts.
 *
 * Names are Unicode; imapflow encodes them (modified UTF-7, or UTF-8 where the server allows it) and adds the prefix of
 * the personal namespace where the server requires one.
 */

import type { ListResponse, MailboxObject } from 'imapflow';
import { Failure, isFailure } from '../../errors.ts';
import type { FolderState } from '../../ingest/ports.ts';
import type { ImapConnection } from './connection.ts';
import { folderMissing } from './errors.ts';
import { type CommandToken, execute, tokenText, type UntaggedResponse } from './imapflow-internals.ts';
import { commandBytesMax, idleBytesMax, searchBytesMax } from './limits.ts';
import { listedMax, UidCollector, uidMax } from './responses/uid-collector.ts';

/** Ten digits and a space. */
const uidBytesMax = 11;
/** Some ten thousand folders. */
const foldersBytesMax = 4 * 1024 * 1024;

const isInbox = (path: string): boolean => path.toUpperCase() === 'INBOX';
const unselectable: ReadonlySet<string> = new Set(['\\NOSELECT', '\\NONEXISTENT']);

/**
 * True when the server lists INBOX by its name. A listing below the prefix of the namespace leaves it out where that is
 * `INBOX.`, as in Courier: INBOX is outside of it (RFC 2342 section 5, RFC 9051 section 5.1).
 */
async function hasInbox(connection: ImapConnection): Promise<boolean> {
  let isFound = false;
  const name = [
    { type: 'STRING', value: '' },
    { type: 'STRING', value: 'INBOX' },
  ] as const;
  const read = async ({ attributes }: UntaggedResponse): Promise<void> => {
    const [flags, , path] = attributes || [];
    const words = Array.isArray(flags) ? flags.map((flag) => tokenText(flag)?.toUpperCase() ?? '') : [];
    isFound ||= isInbox(tokenText(path) ?? '') && !words.some((word) => unselectable.has(word));
  };
  try {
    await connection.run('listing the folders', () => execute(connection.imap, 'LIST', name, { LIST: read }));
  } catch (error) {
    // The folders are listed already, and this adds to them.
    if (!isFailure(error, 'server_refused') || connection.isEnded) throw error;
  }
  return isFound;
}

/** Unicode paths of the selectable folders. */
export async function listFolders(connection: ImapConnection): Promise<readonly string[]> {
  const entries: readonly ListResponse[] = await connection.require(
    'listing the folders',
    () => connection.imap.list({ listOnly: true }),
    { bytesMax: foldersBytesMax },
  );
  const isSelectable = ({ flags }: ListResponse): boolean => !flags.has('\\Noselect') && !flags.has('\\NonExistent');
  const paths = entries.filter(isSelectable).map(({ path }) => path);
  const isComplete = connection.imap.namespace?.prefix === '' || entries.some(({ path }) => isInbox(path));
  return isComplete || !(await hasInbox(connection)) ? paths : ['INBOX', ...paths];
}

/** True when the server lists the folder, with or without the namespace prefix. */
export async function isListed(connection: ImapConnection, path: string): Promise<boolean> {
  const prefix = connection.imap.namespace?.prefix ?? '';
  const folders = await listFolders(connection);
  return folders.some((folder) => folder === path || folder === prefix + path || (isInbox(path) && isInbox(folder)));
}

/** Criteria of a SEARCH: the messages of a set, or those since a day. */
export type SearchCriteria = { readonly uid?: string; readonly since?: Date };

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

function dateText(date: Date): string {
  return `${date.getUTCDate()}-${months[date.getUTCMonth()]}-${date.getUTCFullYear()}`;
}

function searchTokens({ uid, since }: SearchCriteria): readonly CommandToken[] {
  const key = (value: string): CommandToken => ({ type: 'ATOM', value });
  return [
    ...(uid === undefined ? [] : [key('UID'), { type: 'SEQUENCE', value: uid } as const]),
    ...(since === undefined ? [] : [key('SINCE'), key(dateText(since))]),
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
    throw new Failure('folder_missing', folderMissing, { fields: error.fields, cause: error.cause });
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
