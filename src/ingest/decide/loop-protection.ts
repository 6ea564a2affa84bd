/**
 * Loop and flood protection: quarantines messages that passed too many servers, and those of a sender beyond its limit.
 *
 * Nothing is dropped: such a message is in quarantine with its source and can be released. Messages that arrived before
 * their mailbox was added are an import and no flood; reports of servers are limited by the messages they are about.
 */
import type { Address, MessageKind, ParsedMessage } from '../../mail/message.ts';
import type { ThreadKeys } from '../../mail/thread/keys.ts';
import type { SenderSpan } from '../batch-lookup.ts';
import type { QuarantineReason } from '../model.ts';
import type { BatchContext, BatchState, TicketRules } from './batch-context.ts';

/** Received fields. RFC 5321 section 6.3: servers refuse at 100. A loop through a helpdesk adds few per round. */
const hopsMax = 50;
const hourMs = 3_600_000;
const neverFloods: ReadonlySet<MessageKind> = new Set(['bounce', 'feedback_report', 'read_receipt']);

/** The reason to quarantine the message whatever it says; null: none. */
export function loopOrFloodReason(
  {
    parsed,
    threadKeys,
    arrivedAtMs,
  }: { readonly parsed: ParsedMessage; readonly threadKeys: ThreadKeys; readonly arrivedAtMs: number },
  state: BatchState,
  { rules, isReleased }: Pick<BatchContext, 'rules' | 'isReleased'>,
): QuarantineReason | null {
  if (isReleased) return null;
  if ((parsed.hopCount ?? 0) > hopsMax) return 'mail_loop';
  const max = rules.senderPerHourMax;
  if (max === null || !countsAsSent(parsed.kind, threadKeys.sender, rules) || arrivedAtMs < state.addedAtMs)
    return null;
  return state.sentWithinHour(threadKeys.sender, arrivedAtMs) >= max ? 'sender_flood' : null;
}

/** The senders and the time for which stored messages are counted before these messages are decided. */
export function senderSpan(
  messages: readonly {
    readonly parsed: ParsedMessage;
    readonly threadKeys: ThreadKeys;
    readonly arrivedAtMs: number;
  }[],
  { rules, isReleased }: Pick<BatchContext, 'rules' | 'isReleased'>,
): SenderSpan | null {
  if (rules.senderPerHourMax === null || isReleased) return null;
  const counted = messages.filter(({ parsed, threadKeys }) => countsAsSent(parsed.kind, threadKeys.sender, rules));
  const times = counted.map(({ arrivedAtMs }) => arrivedAtMs);
  if (times.length === 0) return null;
  const addresses = [...new Set(counted.map(({ threadKeys }) => threadKeys.sender))];
  return { addresses, fromMs: Math.min(...times) - hourMs, toMs: Math.max(...times) };
}

function countsAsSent(kind: MessageKind, sender: string, { senderExempt }: TicketRules): boolean {
  return sender !== '' && !neverFloods.has(kind) && !senderExempt.includes(sender);
}

/**
 * The person whom a message from the helpdesk's own address represents: a web form puts its user into Reply-To. null:
 * none.
 */
export function representedBy({ replyTo }: ParsedMessage, isOwn: (address: string) => boolean): Address | null {
  return replyTo.find(({ address }) => address.includes('@') && !isOwn(address)) ?? null;
}
