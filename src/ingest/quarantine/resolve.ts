/**
 * Quarantine release with optimistic locking: parses and decides a quarantined message again and stores it.
 *
 * No lease is acquired, as a worker may poll the same mailbox for hours. The quarantined row is the claim: the
 * transaction that stores the message replaces it, and fails where it no longer waits. Of two concurrent releases one
 * succeeds, and a crash leaves the message in quarantine. The post-action (seen, move, delete) is left to the next
 * poll. Throws what the database, the disk and the server throw.
 */
import { type Failure, isFailure } from '../../errors.ts';
import { fallbackMessage, headerOnlyMessage } from '../../mail/fallback-message.ts';
import { fingerprintMessage } from '../../mail/fingerprint.ts';
import type { ParsedMessage } from '../../mail/message.ts';
import { batchContextOf } from '../decide/batch-context.ts';
import { commitMessages } from '../decide/commit.ts';
import type { Decision } from '../decide/decide.ts';
import type { Mailbox, Outcome, StoredSource } from '../model.ts';
import { isOtherFolder } from '../poll/cursor.ts';
import type { PollPorts, PollSettings } from '../poll/poll-context.ts';
import type { ParseResult, PendingAction } from '../ports.ts';
import type { LostMessage, MailboxStore, QuarantinedMessage, QuarantineStore, ReconcileStore } from '../stores.ts';
import { describeReason, hasWholeSource } from './reasons.ts';
import { type RestoreResult, restoreMessage, type ServerSources, serverSources, storedSource } from './source.ts';

/** `requeue`: by the rules and limits in force. `release`: regardless of them. */
export type ResolveMode = 'requeue' | 'release';

/** How each outcome of an attempt resolves the message. A released message has a source, and cannot vanish. */
const resolvedAs = {
  ticket_opened: 'stored',
  reply_added: 'stored',
  recorded: 'stored',
  duplicate: 'stored',
  quarantined: 'quarantined',
  vanished: 'gone',
} as const satisfies Record<Outcome, 'stored' | 'quarantined' | 'gone'>;

/** The outcomes with which a message leaves quarantine. */
type ReleasedOutcome = { [O in Outcome]: (typeof resolvedAs)[O] extends 'stored' ? O : never }[Outcome];

function isReleased(outcome: Outcome): outcome is ReleasedOutcome {
  return resolvedAs[outcome] === 'stored';
}

/** The result of one attempt. */
export type Resolution =
  | {
      readonly what: 'stored';
      readonly outcome: ReleasedOutcome;
      /** Reference of its ticket; null when it has none. */
      readonly ref: string | null;
      readonly messageId: string | null;
      /**
       * `attached`: it could not be parsed, or not be stored as it is: its header, with the whole message attached.
       * `header`: only its header was ever fetched, and it is gone from the server.
       */
      readonly form: 'whole' | 'attached' | 'header';
    }
  /** It stays in quarantine, for this reason. */
  | { readonly what: 'quarantined'; readonly reason: string }
  /** Its source is neither stored nor on the server. */
  | { readonly what: 'gone' }
  /** It was already resolved elsewhere. */
  | { readonly what: 'resolved' };

export type ResolverPorts = Pick<
  PollPorts,
  | ('parser' | 'blobs' | 'raw' | 'clock' | 'newId' | 'newRef' | 'openReplyKeys')
  | ('credentials' | 'sessions' | 'postActionGuard')
> & {
  readonly store: PollPorts['store'] &
    QuarantineStore &
    Pick<ReconcileStore, 'restoreMessage'> &
    Pick<MailboxStore, 'mailboxById'>;
};

export interface Resolver extends AsyncDisposable {
  resolve(message: QuarantinedMessage, mode: ResolveMode): Promise<Resolution>;
  /** Stores a message again whose row is gone (source.ts). */
  restore(lost: LostMessage): Promise<RestoreResult>;
}

type ResolveContext = {
  readonly message: QuarantinedMessage;
  readonly mailbox: Mailbox;
  readonly mode: ResolveMode;
  readonly ports: ResolverPorts;
  readonly settings: Pick<PollSettings, 'limits' | 'rules'>;
  readonly servers: ServerSources;
};

type SourceLookup =
  | { readonly what: 'whole'; readonly source: Uint8Array; readonly raw: StoredSource | null }
  | { readonly what: 'quarantined'; readonly reason: 'too_large' | 'source_empty' }
  | { readonly what: 'gone'; readonly isSure: boolean };

export function createResolver(ports: ResolverPorts, settings: ResolveContext['settings']): Resolver {
  const servers = serverSources(ports, settings.limits);
  return {
    async resolve(message, mode) {
      const mailbox = await ports.store.mailboxById(message.mailboxId);
      if (mailbox === null) return { what: 'resolved' };
      return await resolveMessage({ message, mailbox, mode, ports, settings, servers });
    },
    async restore(lost) {
      const mailbox = await ports.store.mailboxById(lost.mailboxId);
      return mailbox === null ? 'resolved' : await restoreMessage(lost, mailbox, ports, servers);
    },
    [Symbol.asyncDispose]: () => servers[Symbol.asyncDispose](),
  };
}

async function resolveMessage(context: ResolveContext): Promise<Resolution> {
  const { message, mode, ports } = context;
  const found = await wholeSource(context);
  if (found.what === 'gone') return (found.isSure ? await storeHeader(context) : null) ?? { what: 'gone' };
  if (found.what === 'quarantined')
    return (await storeHeader(context)) ?? (await requarantined(context, found.reason, message.raw));
  const { length } = found.source;
  const result = await ports.parser.parse(found.source, message.mailboxId);
  const raw = found.raw ?? (await storeSource(result, ports));
  if (!result.ok && mode === 'requeue') return await requarantined(context, result.reason, raw);
  const parsed = result.ok ? result.parsed : await fallbackOf(context, raw, result.reason);
  const first = await store(context, parsed, raw, length);
  if (first === null) return { what: 'resolved' };
  const { outcome } = first;
  const isRefused = outcome.outcome === 'quarantined' && outcome.reason === 'row_refused';
  if (!isRefused || mode === 'requeue' || !result.ok) return resolutionOf(first, result.ok ? 'whole' : 'attached');
  const second = await store(context, await fallbackOf(context, raw, 'row_refused'), raw, length);
  return second === null ? { what: 'resolved' } : resolutionOf(second, 'attached');
}

type Form = (Resolution & { what: 'stored' })['form'];

function resolutionOf({ outcome: { outcome, reason, messageId }, ref }: Decision, form: Form): Resolution {
  if (isReleased(outcome)) return { what: 'stored', outcome, ref, messageId, form };
  return resolvedAs[outcome] === 'gone' ? { what: 'gone' } : { what: 'quarantined', reason: reason ?? '' };
}

/** A requeued message whose stored source is refused is fetched from the server; a released one is not touched. */
async function wholeSource(context: ResolveContext): Promise<SourceLookup> {
  const { message, mailbox, mode, ports, settings, servers } = context;
  let refusal: Failure | null = null;
  if (message.raw !== null && hasWholeSource(message.reason)) {
    try {
      const source = await storedSource(message.raw, ports);
      if (source !== null) return { what: 'whole', source, raw: message.raw };
    } catch (error) {
      if (mode === 'release' || !isFailure(error, 'source_refused')) throw error;
      refusal = error;
    }
  }
  const again = await servers.fetch(message, mailbox, mode === 'requeue' ? settings.limits.messageBytesMax : null);
  if (again.what === 'whole') return { ...again, raw: null };
  if (refusal !== null) throw refusal;
  return again.what === 'gone' ? again : { what: 'quarantined', reason: again.what };
}

async function storeSource({ compressed, sha256 }: ParseResult, { raw }: ResolverPorts): Promise<StoredSource> {
  const [stored] = await raw.append([{ compressed, sha256 }]);
  if (stored === undefined) throw new Error('a raw source was appended and has no location');
  return stored;
}

async function requarantined(
  { message, ports }: ResolveContext,
  reason: string,
  raw: QuarantinedMessage['raw'],
): Promise<Resolution> {
  const isSame =
    reason === message.reason && raw?.segment === message.raw?.segment && raw?.offset === message.raw?.offset;
  const waits = isSame || (await ports.store.requarantine(message, { reason, raw, sizeBytes: message.sizeBytes }));
  return waits ? { what: 'quarantined', reason } : { what: 'resolved' };
}

/** The header is parsed in a parse thread as well: nothing of a message that broke one is parsed in this thread. */
async function fallbackOf(
  { message, ports }: ResolveContext,
  raw: StoredSource,
  reason: string,
): Promise<ParsedMessage> {
  const source = await ports.raw.read(raw);
  const head = await ports.parser.parse(headerOnlyMessage(source), message.mailboxId);
  const note = `This message could not be stored as it is (${reason}): ${describeReason(reason).meaning}\nThe original is attached as original.eml.\n`;
  return fallbackMessage(source, head.ok ? head.parsed : null, note);
}

/** Stores the header as a message with a note as its text; null when the header is not stored either. */
async function storeHeader(context: ResolveContext): Promise<Resolution | null> {
  const { message, mode, ports } = context;
  if (mode === 'requeue' || message.raw === null || hasWholeSource(message.reason)) return null;
  const header = await storedSource(message.raw, ports);
  if (header === null) return null;
  const note = `Only the header of this message is known (${message.reason}, ${message.sizeBytes} bytes): its content was never fetched, and the\nserver does not have it.\n`;
  const source = headerOnlyMessage(header, note);
  const { length } = source;
  const result = await ports.parser.parse(source, message.mailboxId);
  if (!result.ok) return null;
  const taken = await store(context, result.parsed, await storeSource(result, ports), length);
  return taken === null ? { what: 'resolved' } : resolutionOf(taken, 'header');
}

/** null: the message no longer waits. */
async function store(
  { message, mailbox, mode, ports, settings }: ResolveContext,
  parsed: ParsedMessage,
  raw: StoredSource,
  sourceBytes: number,
): Promise<Decision | null> {
  const { uid, receivedAtMs, folderEpoch } = message;
  await ports.blobs.write(parsed.attachments);
  const progress = await ports.store.readFolderProgress(mailbox.id);
  const context = batchContextOf(mailbox, ports, settings.rules, mode === 'release');
  // In a folder epoch that is over, or in another folder, the message has another UID now.
  const hasPostAction =
    context.hasPostAction && progress.cursor?.folderEpoch === folderEpoch && !isOtherFolder(progress, mailbox);
  const sealOutcome = (outcome: PendingAction) => ports.postActionGuard.sealOutcome(mailbox, outcome);
  const into = { lease: null, folderEpoch, batchContext: { ...context, hasPostAction }, sealOutcome };
  const sizeBytes = message.sizeBytes > 0 ? message.sizeBytes : sourceBytes;
  try {
    const stored = { what: 'parsed' as const, uid, sizeBytes, receivedAtMs, ...fingerprintMessage(parsed), raw };
    const [decision] = await commitMessages([stored], into, ports.store);
    return decision ?? null;
  } catch (error) {
    if (!isFailure(error, 'database_conflict')) throw error;
    const waits = await ports.store.quarantinedByUid(mailbox.id, folderEpoch, uid);
    if (waits.length > 0) throw error;
    return null;
  }
}
