/**
 * Loop protection and rate limit: quarantines messages that passed too many servers, and those beyond the limit per
 * hour of their sender or of their ticket.
 *
 * A message that a reply token or a Message-ID ties to its ticket is not counted for its From, which can be forged, so
 * that a flood in the name of a customer does not stop the replies of that customer. It counts for the ticket instead,
 * by the evidence that ties it, the requester apart from all others: a token floods its own ticket up to the same
 * limit, and no other. Reports of servers count for their ticket alone, with a limit ten times as high.
 * Nothing is dropped: such a message is in quarantine with its source and can be released. Messages that arrived before
 * their mailbox was added are an import and no flood.
 */
import { hopsMax } from '../../mail/fingerprint.ts';
import type { Address, MessageKind, ParsedMessage } from '../../mail/message.ts';
import type { ThreadKeys } from '../../mail/thread/keys.ts';
import { ruleTies, type ThreadRule } from '../../mail/thread/match.ts';
import { isReport } from '../../mail/thread/people.ts';
import type { LookupTicket, RepeatSpan, SenderSpan } from '../batch-lookup.ts';
import type { QuarantineReason } from '../model.ts';
import type { BatchContext, BatchState, TicketRules } from './batch-context.ts';

const hourMs = 3_600_000;
/** A message to many recipients may get a report for each. */
const reportsFactor = 10;

type GuardedMessage = {
  readonly parsed: ParsedMessage;
  readonly threadKeys: ThreadKeys;
  readonly arrivedAtMs: number;
};

/** True for a message to quarantine whatever it says. */
export function isLooping({ parsed }: GuardedMessage, { isReleased }: Pick<BatchContext, 'isReleased'>): boolean {
  return !isReleased && (parsed.hopCount ?? 0) > hopsMax;
}

/** The reason to quarantine a message that would join `match`, or no ticket if that is null; null: none. */
export function floodReason(
  { parsed, threadKeys: { sender }, arrivedAtMs }: GuardedMessage,
  match: { readonly ticket: LookupTicket; readonly rule: ThreadRule } | null,
  state: BatchState,
  { rules, isReleased }: Pick<BatchContext, 'rules' | 'isReleased'>,
): QuarantineReason | null {
  const max = rules.senderPerHourMax;
  if (isReleased || max === null || arrivedAtMs < state.addedAtMs) return null;
  if (isReport(parsed.kind)) {
    const reports = match === null ? 0 : state.tiedWithinHour(match.ticket, 'report', sender, arrivedAtMs);
    return reports >= max * reportsFactor ? 'ticket_flood' : null;
  }
  if (!countsAsSent(parsed.kind, sender, rules)) return null;
  const tie = match === null ? undefined : ruleTies[match.rule];
  if (match === null || tie === undefined)
    return state.sentWithinHour(sender, arrivedAtMs) >= max ? 'sender_flood' : null;
  return state.tiedWithinHour(match.ticket, tie, sender, arrivedAtMs) >= max ? 'ticket_flood' : null;
}

/** The senders and the time for which stored messages are counted before these messages are decided. */
export function senderSpan(
  messages: readonly GuardedMessage[],
  { rules, isReleased }: Pick<BatchContext, 'rules' | 'isReleased'>,
): SenderSpan | null {
  if (rules.senderPerHourMax === null || isReleased) return null;
  const counted = messages.filter(({ parsed, threadKeys }) => countsAsSent(parsed.kind, threadKeys.sender, rules));
  const reports = messages.filter(({ parsed }) => isReport(parsed.kind));
  const times = [...counted, ...reports].map(({ arrivedAtMs }) => arrivedAtMs);
  if (times.length === 0) return null;
  const addresses = [...new Set(counted.map(({ threadKeys }) => threadKeys.sender))];
  return { addresses, fromMs: Math.min(...times) - hourMs, toMs: Math.max(...times) };
}

/** Notices of the batch that may be repeats, and when the ones before them arrived. null: none. */
export function repeatSpan(messages: readonly GuardedMessage[]): RepeatSpan | null {
  const notices = messages.filter(({ threadKeys }) => threadKeys.repeatKey !== null);
  if (notices.length === 0) return null;
  const times = notices.map(({ arrivedAtMs }) => arrivedAtMs);
  return {
    keys: [...new Set(notices.flatMap(({ threadKeys }) => threadKeys.repeatKey ?? []))],
    addresses: [...new Set(notices.map(({ threadKeys }) => threadKeys.sender))],
    fromMs: Math.min(...times) - hourMs,
    toMs: Math.max(...times) + hourMs,
  };
}

function countsAsSent(kind: MessageKind, sender: string, { senderExempt }: TicketRules): boolean {
  return sender !== '' && !isReport(kind) && !senderExempt.includes(sender);
}

/**
 * The person whom a message from the helpdesk's own address represents: a web form puts its user into Reply-To. null:
 * none.
 */
export function representedBy({ replyTo }: ParsedMessage, isOwn: (address: string) => boolean): Address | null {
  return replyTo.find(({ address }) => address.includes('@') && !isOwn(address)) ?? null;
}
