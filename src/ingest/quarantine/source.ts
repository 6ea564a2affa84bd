/**
 * Mails in quarantine from their servers, once more: for those of which the whole was never fetched, or is not here any more.
 *
 * A session of its own, for reading alone (EXAMINE) and beside the one that a worker may hold: the cursor and the lease are
 * not touched. It stays open for the next mail of the same mailbox until it is disposed.
 */

import { isFailure } from '../../errors.ts';
import { mailIdentity } from '../../mail/fingerprint.ts';
import { chunksOf } from '../fetch/batches.ts';
import { uidValidityOf } from '../folder-epoch.ts';
import type { Mailbox } from '../model.ts';
import { isElsewhere } from '../poll/cursor.ts';
import type { PollPorts } from '../poll/poll-context.ts';
import type { Passwords, Session, Sessions } from '../ports.ts';
import type { HeldMail, LostMessage, NumberingStore, ReconcileStore } from '../stores.ts';

type Fetching = {
  readonly passwords: Passwords;
  readonly sessions: Sessions;
  readonly store: Pick<NumberingStore, 'readPlace'>;
};

type FetchedAgain =
  | { readonly what: 'whole'; readonly source: Uint8Array }
  | { readonly what: 'too_large' | 'source_empty'; readonly sizeBytes: number }
  /** It was deleted (`isSure`), or its folder has other numbers now and it may be there under one of them. */
  | { readonly what: 'gone'; readonly isSure: boolean };

type ServerMail = Pick<HeldMail, 'numbering' | 'uid' | 'sizeBytes'>;

export interface ServerSources extends AsyncDisposable {
  /** `sizeMax` null: whatever its size. Throws what opening a session throws. */
  fetch(mail: ServerMail, mailbox: Mailbox, sizeMax: number | null): Promise<FetchedAgain>;
}

type Open = { readonly mailboxId: string; readonly literalBytesMax: number; readonly session: Session };

const sizesAtOnce = 500;
/** A server may announce a size and send a little more. */
const slackBytes = 1024 * 1024;

export function serverSources(ports: Fetching, usualBytesMax: number): ServerSources {
  let open: Open | null = null;
  const close = async (): Promise<void> => {
    const closing = open;
    open = null;
    await closing?.session.close();
  };
  const sessionFor = async (mailbox: Mailbox, sizeBytes: number): Promise<Session> => {
    if (open?.mailboxId === mailbox.id && open.literalBytesMax >= sizeBytes) return open.session;
    await close();
    const literalBytesMax = Math.max(usualBytesMax, sizeBytes) + slackBytes;
    const never = new AbortController().signal;
    const session = await ports.passwords.lend(mailbox, (password) =>
      ports.sessions.open(mailbox.connection, password, never, { readOnly: true, literalBytesMax }),
    );
    open = { mailboxId: mailbox.id, literalBytesMax, session };
    return session;
  };
  const fetch = async (mail: ServerMail, mailbox: Mailbox, sizeMax: number | null): Promise<FetchedAgain> => {
    const { uid } = mail;
    const place = await ports.store.readPlace(mailbox.id);
    const session = await sessionFor(mailbox, sizeMax ?? mail.sizeBytes);
    const isSame = session.folder.uidValidity === uidValidityOf(mail.numbering) && !isElsewhere(place, mailbox);
    if (!isSame || place.cursor?.uidValidity !== mail.numbering)
      return { what: 'gone', isSure: sizeMax === null && !(await hasSize(session, mail.sizeBytes)) };
    const [listed] = await session.sizes([uid]);
    if (listed === undefined) return { what: 'gone', isSure: true };
    const { sizeBytes } = listed;
    if (sizeMax !== null && sizeBytes > sizeMax) return { what: 'too_large', sizeBytes };
    const roomy = await sessionFor(mailbox, sizeBytes);
    for await (const { source } of roomy.fetch([uid])) {
      if (source !== null && source.length > 0) return { what: 'whole', source };
    }
    return { what: 'source_empty', sizeBytes };
  };
  return {
    fetch: async (mail, mailbox, sizeMax) => {
      try {
        return await fetch(mail, mailbox, sizeMax);
      } catch (error) {
        // A session that failed once is not asked again.
        await close();
        throw error;
      }
    },
    [Symbol.asyncDispose]: close,
  };
}

/** Whether any mail of the folder has that size. */
async function hasSize(session: Session, sizeBytes: number): Promise<boolean> {
  for (const uids of chunksOf(await session.listAbove(0), sizesAtOnce)) {
    if ((await session.sizes(uids)).some((listed) => listed.sizeBytes === sizeBytes)) return true;
  }
  return false;
}

/**
 * Puts a message back whose row is gone while its outcome and its ticket are still there: parsed again from its kept source, or
 * from the server, and stored under the id and the ticket that the outcome names.
 *
 * Another mail than the one that was stored (its identity says so) is refused. Throws what disk, server and database throw.
 */

/** `gone`: its source is neither here nor on the server; `other`: what is there is another mail, or cannot be parsed. */
export type Restored = 'restored' | 'resolved' | 'gone' | 'other';

type RestorePorts = Pick<PollPorts, 'digester' | 'blobs' | 'raw'> & {
  readonly store: Pick<ReconcileStore, 'restoreMessage'>;
};

export async function restoreMessage(
  lost: LostMessage,
  mailbox: Mailbox,
  ports: RestorePorts,
  servers: ServerSources,
): Promise<Restored> {
  const source = (await kept(lost, ports)) ?? (await fetched(lost, mailbox, servers));
  if (source === null) return 'gone';
  const digested = await ports.digester.digest(source, mailbox.id);
  if (!digested.ok) return 'other';
  const { parsed } = digested;
  if (lost.identity !== null && mailIdentity(parsed) !== lost.identity) return 'other';
  await ports.blobs.write(parsed.attachments);
  return (await ports.store.restoreMessage(lost, parsed)) ? 'restored' : 'resolved';
}

async function kept({ raw }: LostMessage, ports: RestorePorts): Promise<Uint8Array | null> {
  if (raw === null) return null;
  try {
    return await ports.raw.read(raw);
  } catch (error) {
    if (isFailure(error, 'source_gone')) return null;
    throw error;
  }
}

async function fetched(lost: LostMessage, mailbox: Mailbox, servers: ServerSources): Promise<Uint8Array | null> {
  const found = await servers.fetch(lost, mailbox, null);
  return found.what === 'whole' ? found.source : null;
}
