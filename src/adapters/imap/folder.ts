/**
 * Selecting a folder, and telling a folder that is not there from one that the server does not give.
 *
 * Names are Unicode here; imapflow encodes them (modified UTF-7, or UTF-8 where the server allows it) and puts the
 * personal name space's prefix in front where the server wants one.
 */
import type { ListResponse, MailboxObject } from 'imapflow';
import { Failure, isFailure } from '../../errors.ts';
import type { FolderState } from '../../ingest/ports.ts';
import { lineBytesMax } from './client.ts';
import { commandBytesMax, restBytesMax } from './intake.ts';
import type { Link } from './link.ts';

const uidMax = 2 ** 32 - 1;
/** Ten digits and a space. */
const uidBytesMax = 11;
/** Some ten thousand folders. */
const foldersBytesMax = 4 * 1024 * 1024;

/** Paths of the folders that can hold mail, as people write them. */
export async function listFolders(link: Link): Promise<readonly string[]> {
  const entries: readonly ListResponse[] = await link.require(
    'listing the folders',
    () => link.imap.list({ listOnly: true }),
    { bytesMax: foldersBytesMax },
  );
  return entries.filter(({ flags }) => !flags.has('\\Noselect') && !flags.has('\\NonExistent')).map(({ path }) => path);
}

/** True when the server lists the folder; the prefix of the name space counts as written. */
export async function isListed(link: Link, path: string): Promise<boolean> {
  const prefix = link.imap.namespace?.prefix ?? '';
  const folders = await listFolders(link);
  return folders.some(
    (folder) => folder === path || folder === prefix + path || (path.toUpperCase() === 'INBOX' && folder === 'INBOX'),
  );
}

/** UIDs of the selected folder; the answer may name each of its mails. */
export async function search(
  link: Link,
  doing: string,
  query: Parameters<Link['imap']['search']>[0],
): Promise<readonly number[]> {
  const { mailbox } = link.imap;
  const answerBytes = mailbox === false ? 0 : Math.min(mailbox.exists * uidBytesMax, lineBytesMax);
  const bytesMax = commandBytesMax + answerBytes;
  const found = await link.require(doing, () => link.imap.search(query, { uid: true }), { bytesMax });
  return Array.isArray(found) ? found : [];
}

/** UIDNEXT where the server does not tell it at SELECT (RFC 9051 section 6.3.2 requires it, old servers do not). */
async function uidNextOf(link: Link, mailbox: MailboxObject): Promise<number> {
  if (mailbox.uidNext > 0) return mailbox.uidNext;
  return ((await search(link, 'finding the last mail', { uid: '1:*' })).at(-1) ?? 0) + 1;
}

async function open(link: Link, path: string, isReadOnly: boolean): Promise<MailboxObject> {
  try {
    return await link.at('folder', () =>
      link.run('opening the folder', () => link.imap.mailboxOpen(path, { readOnly: isReadOnly }), {
        bytesMax: restBytesMax,
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
 * `server_nonsense` when the server has no usable UIDVALIDITY.
 */
export async function selectFolder(link: Link, path: string, isReadOnly: boolean): Promise<FolderState> {
  const mailbox = await open(link, path, isReadOnly);
  const uidValidity = Number(mailbox.uidValidity ?? 0);
  if (uidValidity < 1 || uidValidity > uidMax)
    throw new Failure('server_nonsense', 'The server tells no usable UIDVALIDITY for the folder.');
  const folder = { uidValidity, uidNext: await uidNextOf(link, mailbox), messageCount: mailbox.exists };
  return Object.freeze(mailbox.uidNext > 0 ? folder : { ...folder, isUidNextGuessed: true });
}
