/**
 * Reprocessing: parses a stored message again from its raw source, by the rules in force, and updates its row in place.
 *
 * Text, kind, marks, headers and attachments are updated in one transaction. A message that was only recorded joins or
 * opens a ticket where the rules now say so; one with a ticket stays in it. Idempotent: the row keeps its id. Throws
 * what database and disk throw.
 */
import { type Failure, isFailure } from '../../errors.ts';
import { fingerprintMessage } from '../../mail/fingerprint.ts';
import type { ParsedMessage } from '../../mail/message.ts';
import { batchContextOf } from '../decide/batch-context.ts';
import { type Decision, decide } from '../decide/decide.ts';
import { lookupRequestFor } from '../decide/lookup-request.ts';
import type { StoredMessage } from '../fetch/fetched-message.ts';
import { isOnTicket, type TicketOutcome } from '../model.ts';
import type { PollPorts, PollSettings } from '../poll/poll-context.ts';
import { storedSource } from '../quarantine/source.ts';
import type { MailboxStore, MessageReplacement, ReprocessStore, ReprocessTarget } from '../stores.ts';

export type ReprocessResult =
  /** `changed`: names of what changed. `ref`: of the ticket that it joined or opened now; null: none. */
  | {
      readonly what: 'reprocessed';
      readonly changed: readonly string[];
      readonly ref: string | null;
      readonly outcome: TicketOutcome | null;
    }
  /** It cannot be parsed now, and is unchanged. */
  | { readonly what: 'failed'; readonly reason: string }
  | { readonly what: 'source_missing' }
  /** The row names another source than was stored; the message is unchanged. */
  | { readonly what: 'source_refused'; readonly refusal: Failure };

type ReprocessPorts = Pick<PollPorts, 'parser' | 'blobs' | 'raw' | 'clock' | 'newId' | 'newRef' | 'openReplyKeys'> & {
  readonly store: PollPorts['store'] & ReprocessStore & Pick<MailboxStore, 'mailboxById'>;
};

const attemptsMax = 4;

/** `id` is that of the message row. Throws `not_found`. */
export async function reprocessMessage(
  id: string,
  ports: ReprocessPorts,
  settings: Pick<PollSettings, 'rules'>,
): Promise<ReprocessResult> {
  const target = await ports.store.reprocessTarget(id);
  const source = await sourceOf(target, ports);
  if (!(source instanceof Uint8Array)) return source;
  const result = await ports.parser.parse(source, target.mailboxId);
  if (!result.ok) return { what: 'failed', reason: result.reason };
  const { parsed } = result;
  await ports.blobs.write(parsed.attachments);
  return await replace(target, parsed, ports, settings, attemptsMax);
}

async function sourceOf({ source }: ReprocessTarget, ports: ReprocessPorts): Promise<Uint8Array | ReprocessResult> {
  try {
    return (await storedSource(source?.raw ?? null, ports)) ?? { what: 'source_missing' };
  } catch (error) {
    if (isFailure(error, 'source_refused')) return { what: 'source_refused', refusal: error };
    throw error;
  }
}

async function replace(
  target: ReprocessTarget,
  parsed: ParsedMessage,
  ports: ReprocessPorts,
  settings: Pick<PollSettings, 'rules'>,
  attemptsLeft: number,
): Promise<ReprocessResult> {
  const decision = isOnlyRecorded(target) ? await decideAgain(target, parsed, ports, settings) : null;
  try {
    const changed = await ports.store.replaceMessage(target, { parsed, joined: joinedBy(decision, target) });
    const outcome = decision?.outcome.outcome;
    const joined = outcome !== undefined && isOnTicket(outcome) ? outcome : null;
    return { what: 'reprocessed', changed, ref: joined === null ? null : (decision?.ref ?? null), outcome: joined };
  } catch (error) {
    if (!isFailure(error, 'database_conflict') || attemptsLeft <= 1) throw error;
    return await replace(await ports.store.reprocessTarget(target.id), parsed, ports, settings, attemptsLeft - 1);
  }
}

function isOnlyRecorded({ ticketId, source }: ReprocessTarget): boolean {
  return ticketId === null && source?.outcome === 'recorded';
}

/**
 * Decides as for a new message, without the guards against loops and floods, which it passed on arrival. null: no
 * ticket.
 */
async function decideAgain(
  target: ReprocessTarget,
  parsed: ParsedMessage,
  ports: ReprocessPorts,
  settings: Pick<PollSettings, 'rules'>,
): Promise<Decision | null> {
  const mailbox = await ports.store.mailboxById(target.mailboxId);
  if (mailbox === null || target.source === null) return null;
  const { uid, sizeBytes, raw } = target.source;
  const message: StoredMessage = {
    what: 'parsed',
    uid,
    sizeBytes,
    receivedAtMs: target.receivedAtMs,
    ...fingerprintMessage(parsed),
    raw,
  };
  const context = batchContextOf(mailbox, ports, settings.rules, true);
  const known = await ports.store.lookUp(lookupRequestFor([message], context));
  const replyKeys = await context.openReplyKeys(known.replyKeys);
  const others = known.messages.filter(({ id }) => id !== target.id);
  const [decision] = decide([message], { ...known, messages: others, handled: [], replyKeys }, context);
  if (decision === undefined || decision.message?.ticketId === null) return null;
  return isOnTicket(decision.outcome.outcome) ? decision : null;
}

function joinedBy(decision: Decision | null, { id }: ReprocessTarget): MessageReplacement['joined'] {
  if (decision === null || decision.message === null) return null;
  const { ticket, message, outcome, links, merges, answered } = decision;
  return {
    tickets: ticket === null ? [] : [ticket],
    messages: [{ ...message, id }],
    outcomes: [{ ...outcome, messageId: id }],
    ...{ links, merges },
    answered: answered === null ? [] : [answered],
  };
}
