/**
 * Sources of messages that are parsed again: read from disk, or refetched for quarantined and lost messages.
 *
 * Refetching uses a read-only session of its own (EXAMINE, RFC 9051 section 6.3.3) beside that of a worker; cursor and
 * lease are not touched. The session stays open for the next message of the same mailbox until it is disposed.
 */
import type { Clock } from '../../async/clock.ts';
import { isFailure } from '../../errors.ts';
import { dedupKey } from '../../mail/fingerprint.ts';
import { chunksOf, type FetchLimits } from '../fetch/batches.ts';
import { listingsAbove } from '../fetch/listing.ts';
import { withDeadline } from '../fetch/transfer-deadline.ts';
import { uidValidityOf } from '../folder-epoch.ts';
import type { Mailbox, StoredSource } from '../model.ts';
import { isOtherFolder } from '../poll/cursor.ts';
import type { PollPorts } from '../poll/poll-context.ts';
import type { Credentials, RawSources, Session, Sessions } from '../ports.ts';
import type { FolderStore, LostMessage, QuarantinedMessage, ReconcileStore } from '../stores.ts';

type ServerSourcesPorts = {
  readonly credentials: Credentials;
  readonly sessions: Sessions;
  readonly store: Pick<FolderStore, 'readFolderProgress'>;
  readonly clock: Clock;
};

type ServerFetch =
  | { readonly what: 'whole'; readonly source: Uint8Array }
  | { readonly what: 'too_large' | 'source_empty'; readonly sizeBytes: number }
  /** It was deleted (`isSure`), or its UIDs are no longer valid and it may be there under another UID. */
  | { readonly what: 'gone'; readonly isSure: boolean };

type ServerMessage = Pick<QuarantinedMessage, 'folderEpoch' | 'uid' | 'sizeBytes'>;

export interface ServerSources extends AsyncDisposable {
  /** `sizeBytesMax` null: no limit. Throws what opening a session throws. */
  fetch(message: ServerMessage, mailbox: Mailbox, sizeBytesMax: number | null): Promise<ServerFetch>;
}

/**
 * null: none was stored, its segment expired, or it is on the host of another worker. Throws `source_refused` for a row
 * that names anything else than what was stored for it.
 */
export async function storedSource(
  source: StoredSource | null,
  { raw }: { readonly raw: Pick<RawSources, 'read'> },
): Promise<Uint8Array | null> {
  if (source === null) return null;
  try {
    return await raw.read(source);
  } catch (error) {
    if (isFailure(error, 'source_missing')) return null;
    throw error;
  }
}

type OpenSession = { readonly mailboxId: string; readonly literalBytesMax: number; readonly session: Session };

const sizesPerQuery = 500;
/** A server may send a little more than the size that it announced. */
const excessBytesMax = 1024 * 1024;

export function serverSources(
  ports: ServerSourcesPorts,
  limits: Pick<FetchLimits, 'messageBytesMax' | 'batchTimeoutMs'>,
): ServerSources {
  let open: OpenSession | null = null;
  const close = async (): Promise<void> => {
    const closing = open;
    open = null;
    await closing?.session.close();
  };
  const sessionFor = async (mailbox: Mailbox, sizeBytes: number): Promise<Session> => {
    if (open?.mailboxId === mailbox.id && open.literalBytesMax >= sizeBytes) return open.session;
    await close();
    const literalBytesMax = Math.max(limits.messageBytesMax, sizeBytes) + excessBytesMax;
    const never = new AbortController().signal;
    const session = await ports.credentials.withCredential(mailbox, (credential, connection) =>
      ports.sessions.open(connection, credential, never, { readOnly: true, literalBytesMax }),
    );
    open = { mailboxId: mailbox.id, literalBytesMax, session };
    return session;
  };
  const fetch = async (message: ServerMessage, mailbox: Mailbox, sizeBytesMax: number | null): Promise<ServerFetch> => {
    const { uid } = message;
    const progress = await ports.store.readFolderProgress(mailbox.id);
    const session = await sessionFor(mailbox, sizeBytesMax ?? message.sizeBytes);
    const isSame =
      session.folder.uidValidity === uidValidityOf(message.folderEpoch) && !isOtherFolder(progress, mailbox);
    if (!isSame || progress.cursor?.folderEpoch !== message.folderEpoch)
      return { what: 'gone', isSure: sizeBytesMax === null && !(await hasSize(session, message.sizeBytes)) };
    const [listed] = await session.sizes([uid]);
    if (listed === undefined) return { what: 'gone', isSure: true };
    const { sizeBytes } = listed;
    if (sizeBytesMax !== null && sizeBytes > sizeBytesMax) return { what: 'too_large', sizeBytes };
    const roomy = await sessionFor(mailbox, sizeBytes);
    const transfer = { session: roomy, clock: ports.clock, limits };
    const source = await withDeadline(transfer, sizeBytes, 1, () => sourceOf(roomy, uid));
    return source === null ? { what: 'source_empty', sizeBytes } : { what: 'whole', source };
  };
  return {
    fetch: async (message, mailbox, sizeBytesMax) => {
      try {
        return await fetch(message, mailbox, sizeBytesMax);
      } catch (error) {
        // A session that failed once is not used again.
        await close();
        throw error;
      }
    },
    [Symbol.asyncDispose]: close,
  };
}

async function sourceOf(session: Session, uid: number): Promise<Uint8Array | null> {
  for await (const { source } of session.fetch([uid])) {
    if (source !== null && source.length > 0) return source;
  }
  return null;
}

/** True when any message of the folder has that size. */
async function hasSize(session: Session, sizeBytes: number): Promise<boolean> {
  for await (const listed of listingsAbove(session, 0)) {
    for (const uids of chunksOf(listed, sizesPerQuery)) {
      if ((await session.sizes(uids)).some((message) => message.sizeBytes === sizeBytes)) return true;
    }
  }
  return false;
}

/**
 * `gone`: its source is neither stored nor on the server; `other`: what is there is another message, or cannot be
 * parsed.
 */
export type RestoreResult = 'restored' | 'resolved' | 'gone' | 'other';

type RestorePorts = Pick<PollPorts, 'parser' | 'blobs' | 'raw'> & {
  readonly store: Pick<ReconcileStore, 'restoreMessage'>;
};

/**
 * Restores a message whose row is gone while its outcome and ticket exist: parses its source again, and stores it under
 * the id and the ticket that the outcome names. Throws what disk, server and database throw.
 */
export async function restoreMessage(
  lost: LostMessage,
  mailbox: Mailbox,
  ports: RestorePorts,
  servers: ServerSources,
): Promise<RestoreResult> {
  const stored = await storedOrRefused(lost, ports);
  const source = stored instanceof Uint8Array ? stored : await serverSource(lost, mailbox, servers);
  if (source === null) return stored === 'refused' ? 'other' : 'gone';
  const result = await ports.parser.parse(source, mailbox.id);
  if (!result.ok) return 'other';
  const { parsed } = result;
  if (lost.dedupKey !== null && dedupKey(parsed) !== lost.dedupKey) return 'other';
  await ports.blobs.write(parsed.attachments);
  return (await ports.store.restoreMessage(lost, parsed)) ? 'restored' : 'resolved';
}

/** A refused source is fetched from the server instead. */
async function storedOrRefused({ raw }: LostMessage, ports: RestorePorts): Promise<Uint8Array | 'refused' | null> {
  try {
    return await storedSource(raw, ports);
  } catch (error) {
    if (isFailure(error, 'source_refused')) return 'refused';
    throw error;
  }
}

async function serverSource(lost: LostMessage, mailbox: Mailbox, servers: ServerSources): Promise<Uint8Array | null> {
  const found = await servers.fetch(lost, mailbox, null);
  return found.what === 'whole' ? found.source : null;
}
