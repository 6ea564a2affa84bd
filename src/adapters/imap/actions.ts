/**
 * What is done to mails on the server once they are stored here. Each is idempotent; a UID that is gone is no error.
 *
 * A bare EXPUNGE is never sent: it removes what others have marked too. Without UIDPLUS (RFC 4315) mails are marked
 * as deleted and left to the next one who tidies up. Without MOVE (RFC 6851) a mail is copied and then removed; mails
 * that are marked already were copied by an earlier try and are not copied again.
 */
import { Failure, isFailure } from '../../errors.ts';
import type { AfterAction } from '../../ingest/model.ts';
import { isListed, search } from './folder.ts';
import type { Link } from './link.ts';
import { uidSets } from './uid-set.ts';

const byUid = { uid: true, silent: true } as const;

async function markSeen(link: Link, set: string): Promise<void> {
  await link.require('marking mails as read', () => link.imap.messageFlagsAdd(set, ['\\Seen'], byUid));
}

async function remove(link: Link, set: string): Promise<void> {
  if (link.imap.capabilities.has('UIDPLUS')) {
    await link.require('deleting mails', () => link.imap.messageDelete(set, byUid));
  } else {
    await link.require('marking mails as deleted', () => link.imap.messageFlagsAdd(set, ['\\Deleted'], byUid));
  }
}

async function copyAndRemove(link: Link, set: string, target: string): Promise<void> {
  const uncopied = await search(link, 'looking for mails', { uid: set, deleted: false });
  for (const rest of uidSets(uncopied)) {
    await link.require('copying mails', () => link.imap.messageCopy(rest, target, byUid));
  }
  await remove(link, set);
}

async function moveOnce(link: Link, set: string, target: string): Promise<void> {
  if (!link.imap.capabilities.has('MOVE')) await copyAndRemove(link, set, target);
  else await link.require('moving mails', () => link.imap.messageMove(set, target, byUid));
}

/** RFC 9051 section 7.1: TRYCREATE says that the folder is missing; not every server says it. */
async function isTargetMissing(link: Link, refusal: Failure, target: string): Promise<boolean> {
  return refusal.fields.response_code === 'TRYCREATE' || !(await isListed(link, target));
}

async function create(link: Link, target: string): Promise<void> {
  try {
    await link.require('creating the target folder', () => link.imap.mailboxCreate(target));
  } catch (error) {
    if (!isFailure(error, 'server_refused')) throw error;
    const separator = /^[!-~]$/.exec(link.imap.namespace?.delimiter ?? '')?.[0];
    const help = separator === undefined ? '' : ` Its names of folders are separated by "${separator}".`;
    throw new Failure('server_refused', `The server refused to create the folder ${JSON.stringify(target)}.`, {
      ...{ fields: error.fields, cause: error.cause },
      hint: `Make it on the server, or name another one: mailbox set NAME --after move:FOLDER.${help}`,
    });
  }
}

async function move(link: Link, set: string, target: string): Promise<void> {
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
export async function applyAction(link: Link, action: AfterAction, uids: readonly number[]): Promise<void> {
  if (action.kind === 'leave') return;
  for (const set of uidSets(uids)) {
    if (action.kind === 'seen') await markSeen(link, set);
    else if (action.kind === 'delete') await remove(link, set);
    else await move(link, set, action.folder);
  }
}
