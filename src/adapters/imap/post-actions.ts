/**
 * Post-actions over IMAP: flags, deletes, or moves messages of the selected folder, and reads back what came of it.
 *
 * An action is idempotent; a UID that no longer exists is no error. It counts when the server shows it: some servers
 * answer OK without a right of the user (RFC 4314), or for a flag that they do not keep. A plain EXPUNGE is never sent:
 * it would remove messages that other clients marked. Without UIDPLUS (RFC 4315) messages are only marked as deleted.
 * Without MOVE (RFC 6851) a message is copied, then removed. Before that is repeated, copies of an earlier attempt are
 * looked up in the target folder, so that a refused removal, or a connection cut after COPY, leaves one copy.
 */

import { createHash } from 'node:crypto';
import type { FetchMessageObject } from 'imapflow';
import { encodePath, normalizePath } from 'imapflow/lib/tools.js';
import { Failure, hintOf, isFailure } from '../../errors.ts';
import type { PostAction } from '../../ingest/model.ts';
import { hints } from '../../text/hints.ts';
import { countText } from '../../text/units.ts';
import type { ImapConnection } from './connection.ts';
import { existsIn, isListed, selectFolder, uidSets } from './folder.ts';
import { execute } from './imapflow-internals.ts';
import { commandBytesMax } from './limits.ts';

const byUid = { uid: true, silent: true } as const;
/** Of a FETCH response without literals. */
const rowBytesMax = 512;
/** Flags of so many messages are expected at once: EXISTS is only what the server says. */
const flagsMax = 50_000;
/** Last messages of the target folder among which copies are looked for. */
const comparedMax = 5000;
const headerBytesMax = 64 * 1024;
/** They tell messages of the same size apart; Received names each delivery. */
const comparedHeaders = ['Message-ID', 'Date', 'Received', 'From', 'To', 'Subject'];

/** Flags of those messages of the set that exist. */
async function readFlags(connection: ImapConnection, set: string): Promise<ReadonlyMap<number, ReadonlySet<string>>> {
  const found = new Map<number, ReadonlySet<string>>();
  const bytesMax = commandBytesMax + Math.min(existsIn(connection), flagsMax) * rowBytesMax;
  await connection.run(
    'reading flags',
    async () => {
      for await (const { uid, flags } of connection.imap.fetch(set, { uid: true, flags: true }, { uid: true }))
        if (flags !== undefined) found.set(uid, flags);
    },
    { bytesMax },
  );
  return found;
}

function withoutEffect(what: string, count: number): Failure {
  const message = `The server accepted the command, but ${countText(count, 'message is', 'messages are')} not ${what}.`;
  return new Failure('server_refused', message, { hint: hints.actionWithoutEffect, fields: { messages: count } });
}

/** Throws `server_refused` unless every message of the set that is still there has the flag. */
async function assertFlagged(connection: ImapConnection, set: string, flag: string, what: string): Promise<void> {
  const flags = await readFlags(connection, set);
  const count = [...flags.values()].filter((one) => !one.has(flag)).length;
  if (count > 0) throw withoutEffect(what, count);
}

async function assertGone(connection: ImapConnection, set: string): Promise<void> {
  const { size } = await readFlags(connection, set);
  if (size > 0) throw withoutEffect('gone', size);
}

async function markSeen(connection: ImapConnection, set: string): Promise<void> {
  await connection.require('marking messages as read', () => connection.imap.messageFlagsAdd(set, ['\\Seen'], byUid));
  await assertFlagged(connection, set, '\\Seen', 'marked as read');
}

async function remove(connection: ImapConnection, set: string): Promise<void> {
  const { imap } = connection;
  await connection.require('marking messages as deleted', () => imap.messageFlagsAdd(set, ['\\Deleted'], byUid));
  if (!imap.capabilities.has('UIDPLUS')) {
    await assertFlagged(connection, set, '\\Deleted', 'marked as deleted');
    return;
  }
  await connection.run('deleting messages', () => execute(imap, 'UID EXPUNGE', [{ type: 'SEQUENCE', value: set }]));
  await assertGone(connection, set);
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

/** Nothing is copied that cannot be removed. `\*` allows keywords alone, no system flag (RFC 9051 section 7.1). */
function assertDeletable({ imap }: ImapConnection): void {
  const permanent = imap.mailbox === false ? undefined : imap.mailbox.permanentFlags;
  if (permanent === undefined || permanent.has('\\Deleted')) return;
  const message = 'The server does not let this user delete messages of the folder, so that none is moved.';
  throw new Failure('server_refused', message, { hint: hints.actionWithoutEffect });
}

/** Sizes and headers of a message, as a key. */
function keyOf({ size, headers }: FetchMessageObject): string {
  return `${size} ${createHash('sha256')
    .update(headers ?? '')
    .digest('hex')}`;
}

async function fetchRows(
  connection: ImapConnection,
  set: string,
  query: Parameters<ImapConnection['imap']['fetch']>[1],
  isUid: boolean,
): Promise<readonly FetchMessageObject[]> {
  const rows: FetchMessageObject[] = [];
  const rowBytes = query.headers === undefined ? rowBytesMax : headerBytesMax;
  await connection.run(
    'looking for copied messages',
    async () => {
      for await (const row of connection.imap.fetch(set, query, { uid: isUid })) rows.push(row);
    },
    { bytesMax: commandBytesMax + comparedMax * rowBytes },
  );
  return rows;
}

const keyed = { uid: true, size: true, headers: comparedHeaders };

/** Keys of the last messages of the selected folder that have one of these sizes, with their number. */
async function keysOfLast(connection: ImapConnection, sizes: ReadonlySet<number>): Promise<Map<string, number>> {
  const keys = new Map<string, number>();
  const exists = existsIn(connection);
  if (exists === 0) return keys;
  const last = await fetchRows(
    connection,
    `${Math.max(1, exists - comparedMax + 1)}:${exists}`,
    { uid: true, size: true },
    false,
  );
  const alike = last.filter(({ size }) => sizes.has(size ?? -1)).map(({ uid }) => uid);
  for (const set of uidSets(alike))
    for (const row of await fetchRows(connection, set, keyed, true)) {
      const key = keyOf(row);
      keys.set(key, (keys.get(key) ?? 0) + 1);
    }
  return keys;
}

/** Selects the target (EXAMINE) for `work`, then the folder of the session again; without that, the session ends. */
async function inTarget<T>(connection: ImapConnection, target: string, work: () => Promise<T>): Promise<T | null> {
  const { mailbox } = connection.imap;
  if (mailbox === false) throw new Failure('unexpected', 'No folder is selected.');
  let result: T | null = null;
  try {
    try {
      await selectFolder(connection, normalizePath(connection.imap, target), true);
      result = await work();
    } catch (error) {
      if (!isFailure(error, 'folder_missing')) throw error;
    }
  } finally {
    await reselect(connection, mailbox.path, Number(mailbox.uidValidity));
  }
  return result;
}

async function reselect(connection: ImapConnection, path: string, uidValidity: number): Promise<void> {
  if (connection.isEnded) return;
  const message = 'The folder of the mailbox changed while copies were looked up.';
  const changed = new Failure('server_protocol_error', message);
  const again = await selectFolder(connection, path, false).catch(() => null);
  if (again?.uidValidity !== uidValidity) connection.end(changed);
}

/** Those of the set that an earlier attempt copied into the target. */
async function copiedBefore(connection: ImapConnection, set: string, target: string): Promise<ReadonlySet<number>> {
  const rows = await fetchRows(connection, set, keyed, true);
  if (rows.length === 0) return new Set();
  const sizes = new Set(rows.map(({ size }) => size ?? -1));
  const keys = (await inTarget(connection, target, () => keysOfLast(connection, sizes))) ?? new Map<string, number>();
  connection.assertOpen();
  const copied = rows.filter((row) => {
    const count = keys.get(keyOf(row)) ?? 0;
    keys.set(keyOf(row), count - 1);
    return count > 0;
  });
  return new Set(copied.map(({ uid }) => uid));
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
    const { fields, cause, hint } = error;
    const responseCode = fields['response_code'];
    // CANNOT: the name is one that the server never takes.
    const isNameRefused = responseCode === 'CANNOT' || hint === hintOf('server_refused');
    const shown = responseCode === undefined ? '' : ` (${fields['status']} [${responseCode}])`;
    const message = `The server refused to create the folder ${JSON.stringify(target)}${shown}.${help}`;
    const advice = isNameRefused ? hints.folderUncreated : hint;
    throw new Failure('server_refused', message, { fields, cause, hint: advice });
  }
}

/** UID COPY or UID MOVE, which creates the target where it is missing. */
async function intoFolder(
  connection: ImapConnection,
  command: 'UID COPY' | 'UID MOVE',
  set: string,
  target: string,
): Promise<void> {
  const doing = command === 'UID COPY' ? 'copying messages' : 'moving messages';
  const work = () => connection.run(doing, () => toFolder(connection, command, set, target));
  try {
    await work();
  } catch (error) {
    if (
      !isFailure(error, 'server_refused') ||
      connection.isEnded ||
      !(await isTargetMissing(connection, error, target))
    )
      throw error;
    await create(connection, target);
    await work();
  }
}

async function copyAndRemove(connection: ImapConnection, set: string, { target, isRepeat }: Move): Promise<void> {
  assertDeletable(connection);
  const flags = await readFlags(connection, set);
  const copied = isRepeat && flags.size > 0 ? await copiedBefore(connection, set, target) : new Set<number>();
  // What is marked already was copied before, or another client has deleted it.
  const uncopied = [...flags].filter(([uid, one]) => !one.has('\\Deleted') && !copied.has(uid)).map(([uid]) => uid);
  for (const rest of uidSets(uncopied)) await intoFolder(connection, 'UID COPY', rest, target);
  await remove(connection, set);
}

type Move = { readonly target: string; readonly isRepeat: boolean };

async function move(connection: ImapConnection, set: string, how: Move): Promise<void> {
  if (!connection.imap.capabilities.has('MOVE')) {
    await copyAndRemove(connection, set, how);
    return;
  }
  await intoFolder(connection, 'UID MOVE', set, how.target);
  await assertGone(connection, set);
}

/** Applies `action` to messages of the selected folder. `isRepeat`: an earlier attempt may have begun. */
export async function applyAction(
  connection: ImapConnection,
  action: PostAction,
  uids: readonly number[],
  isRepeat: boolean,
): Promise<void> {
  if (action.kind === 'leave') return;
  for (const set of uidSets(uids)) {
    // A new action does not compile until it is applied here.
    if (action.kind === 'seen') await markSeen(connection, set);
    else if (action.kind === 'delete') await remove(connection, set);
    else if (action.kind === 'move') await move(connection, set, { target: action.folder, isRepeat });
    else action satisfies never;
  }
}
