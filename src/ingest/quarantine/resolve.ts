/**
 * Takes mails out of quarantine: parsed and decided again, or taken in whatever held them back.
 *
 * A worker may be at the same mailbox meanwhile, for hours: no lease is taken. The row in quarantine is the claim: the
 * transaction that stores the mail replaces it and fails where it does not wait any more, so that of two who take the same
 * mail out one does, and a crash leaves it where it was. What is to be done on the server then (seen, move, delete) is left
 * to the next round of the worker. Throws what the database, the disk and the server throw.
 */
import { isFailure } from '../../errors.ts';
import { headAlone, salvage } from '../../mail/fallback-message.ts';
import { recognised } from '../../mail/fingerprint.ts';
import type { ParsedMessage } from '../../mail/message.ts';
import { makerOf } from '../decide/batch-context.ts';
import { commitWindow } from '../decide/commit.ts';
import type { Decision } from '../decide/decide.ts';
import type { KeptRaw, Mailbox, Outcome } from '../model.ts';
import { isElsewhere } from '../poll/cursor.ts';
import type { PollPorts, PollSettings } from '../poll/poll-context.ts';
import type { Digested } from '../ports.ts';
import type { HeldMail, LostMessage, MailboxStore, QuarantineStore, ReconcileStore } from '../stores.ts';
import { hasWholeSource, reasonMeaning } from './reasons.ts';
import { type Restored, restoreMessage, type ServerSources, serverSources } from './source.ts';

/** `retry`: under the rules and limits of now. `release`: as it is, whatever they say. */
export type Way = 'retry' | 'release';

export type Settled =
  | {
      readonly what: 'taken_in';
      readonly outcome: Outcome;
      /** Reference of its ticket. */
      readonly ref: string | null;
      readonly messageId: string | null;
      /**
       * `attached`: it could not be parsed, or not be stored as it is: its header, and the whole mail attached. `header`: it is
       * gone from the server, and its header is all that was ever fetched.
       */
      readonly form: 'whole' | 'attached' | 'header';
    }
  /** It stays, for that reason. */
  | { readonly what: 'held'; readonly reason: string }
  /** Its source is neither here nor on the server. */
  | { readonly what: 'gone' }
  /** Somebody else has resolved it meanwhile. */
  | { readonly what: 'resolved' };

export type ResolvingPorts = Pick<
  PollPorts,
  'digester' | 'blobs' | 'raw' | 'clock' | 'newId' | 'newRef' | 'passwords' | 'sessions'
> & {
  readonly store: PollPorts['store'] &
    QuarantineStore &
    Pick<ReconcileStore, 'restoreMessage'> &
    Pick<MailboxStore, 'mailboxById'>;
};

export interface Resolver extends AsyncDisposable {
  settle(mail: HeldMail, way: Way): Promise<Settled>;
  /** See restore.ts. */
  restore(lost: LostMessage): Promise<Restored>;
}

type Settling = {
  readonly mail: HeldMail;
  readonly mailbox: Mailbox;
  readonly way: Way;
  readonly ports: ResolvingPorts;
  readonly settings: Pick<PollSettings, 'desk' | 'limits'>;
  readonly servers: ServerSources;
};

type Found =
  | { readonly what: 'whole'; readonly source: Uint8Array; readonly raw: KeptRaw | null }
  | { readonly what: 'held'; readonly reason: 'too_large' | 'source_empty' }
  | { readonly what: 'gone'; readonly isSure: boolean };

export function createResolver(ports: ResolvingPorts, settings: Settling['settings']): Resolver {
  const servers = serverSources(ports, settings.limits.messageBytesMax);
  return {
    async settle(mail, way) {
      const mailbox = await ports.store.mailboxById(mail.mailboxId);
      if (mailbox === null) return { what: 'resolved' };
      return await settle({ mail, mailbox, way, ports, settings, servers });
    },
    async restore(lost) {
      const mailbox = await ports.store.mailboxById(lost.mailboxId);
      return mailbox === null ? 'resolved' : await restoreMessage(lost, mailbox, ports, servers);
    },
    [Symbol.asyncDispose]: () => servers[Symbol.asyncDispose](),
  };
}

async function settle(settling: Settling): Promise<Settled> {
  const { mail, way, ports } = settling;
  const found = await wholeSource(settling);
  if (found.what === 'gone') return (found.isSure ? await takeHeader(settling) : null) ?? { what: 'gone' };
  if (found.what === 'held') return (await takeHeader(settling)) ?? (await stays(settling, found.reason, mail.raw));
  const { length } = found.source;
  const digested = await ports.digester.digest(found.source, mail.mailboxId);
  const raw = found.raw ?? (await keep(digested, ports));
  if (!digested.ok && way === 'retry') return await stays(settling, digested.reason, raw);
  const parsed = digested.ok ? digested.parsed : await salvaged(settling, raw, digested.reason);
  const first = await take(settling, parsed, raw, length);
  if (first === null) return { what: 'resolved' };
  const { outcome } = first;
  const isRefused = outcome.outcome === 'quarantined' && outcome.reason === 'row_refused';
  if (!isRefused || way === 'retry' || !digested.ok) return toldOf(first, digested.ok ? 'whole' : 'attached');
  const second = await take(settling, await salvaged(settling, raw, 'row_refused'), raw, length);
  return second === null ? { what: 'resolved' } : toldOf(second, 'attached');
}

type Form = (Settled & { what: 'taken_in' })['form'];

function toldOf({ outcome, ref }: Decision, form: Form): Settled {
  if (outcome.outcome === 'quarantined') return { what: 'held', reason: outcome.reason ?? '' };
  return { what: 'taken_in', outcome: outcome.outcome, ref, messageId: outcome.messageId, form };
}

async function wholeSource(settling: Settling): Promise<Found> {
  const { mail, mailbox, way, settings, servers } = settling;
  if (mail.raw !== null && hasWholeSource(mail.reason)) {
    const source = await keptSource(settling);
    if (source !== null) return { what: 'whole', source, raw: mail.raw };
  }
  const again = await servers.fetch(mail, mailbox, way === 'retry' ? settings.limits.messageBytesMax : null);
  if (again.what === 'whole') return { ...again, raw: null };
  return again.what === 'gone' ? again : { what: 'held', reason: again.what };
}

async function keep({ compressed, sha256 }: Digested, { raw }: ResolvingPorts): Promise<KeptRaw> {
  const [place] = await raw.append([compressed]);
  if (place === undefined) throw new Error('a raw source was appended and has no place');
  return { ...place, sha256 };
}

async function stays({ mail, ports }: Settling, reason: string, raw: HeldMail['raw']): Promise<Settled> {
  const isSame = reason === mail.reason && raw?.segment === mail.raw?.segment && raw?.offset === mail.raw?.offset;
  const waits = isSame || (await ports.store.holdAgain(mail, { reason, raw, sizeBytes: mail.sizeBytes }));
  return waits ? { what: 'held', reason } : { what: 'resolved' };
}

/** The header goes through the parse threads, too: nothing of a mail that broke one is parsed in this one. */
async function salvaged({ mail, ports }: Settling, raw: KeptRaw, reason: string): Promise<ParsedMessage> {
  const source = await ports.raw.read(raw);
  const head = await ports.digester.digest(headAlone(source), mail.mailboxId);
  const note = `This mail could not be taken in as it is (${reason}): ${reasonMeaning(reason).meaning}\nIt is attached as it came, as original.eml.\n`;
  return salvage(source, head.ok ? head.parsed : null, note);
}

/** A small mail of its own: what was kept of the header, with a note for a text. null where not even that is here. */
async function takeHeader(settling: Settling): Promise<Settled | null> {
  const { mail, way, ports } = settling;
  if (way === 'retry' || mail.raw === null || hasWholeSource(mail.reason)) return null;
  const header = await keptSource(settling);
  if (header === null) return null;
  const note = `Only the header of this mail is known (${mail.reason}, ${mail.sizeBytes} bytes): its content was never fetched, and the\nserver does not have it.\n`;
  const source = headAlone(header, note);
  const { length } = source;
  const digested = await ports.digester.digest(source, mail.mailboxId);
  if (!digested.ok) return null;
  const taken = await take(settling, digested.parsed, await keep(digested, ports), length);
  return taken === null ? { what: 'resolved' } : toldOf(taken, 'header');
}

/** null: it is not on this disk (any more). */
async function keptSource({ mail, ports }: Settling): Promise<Uint8Array | null> {
  if (mail.raw === null) return null;
  try {
    return await ports.raw.read(mail.raw);
  } catch (error) {
    // It lies with the worker of another host.
    if (isFailure(error, 'source_gone')) return null;
    throw error;
  }
}

/** null: it does not wait any more. */
async function take(
  { mail, mailbox, way, ports, settings }: Settling,
  parsed: ParsedMessage,
  raw: KeptRaw,
  sourceBytes: number,
): Promise<Decision | null> {
  const { uid, receivedAtMs, numbering } = mail;
  await ports.blobs.write(parsed.attachments);
  const place = await ports.store.readPlace(mailbox.id);
  const maker = makerOf(mailbox, ports, settings.desk, way === 'release');
  // In a numbering that is over, or in another folder, the mail has another UID now.
  const acts = maker.acts && place.cursor?.uidValidity === numbering && !isElsewhere(place, mailbox);
  const into = { mailboxId: mailbox.id, lease: null, uidValidity: numbering, maker: { ...maker, acts } };
  const sizeBytes = mail.sizeBytes > 0 ? mail.sizeBytes : sourceBytes;
  try {
    const kept = { what: 'mail' as const, uid, sizeBytes, receivedAtMs, ...recognised(parsed), raw };
    const [decision] = await commitWindow([kept], into, ports.store);
    return decision ?? null;
  } catch (error) {
    if (!isFailure(error, 'database_conflict')) throw error;
    const waits = await ports.store.heldMail(mailbox.id, numbering, uid);
    if (waits.length > 0) throw error;
    return null;
  }
}
