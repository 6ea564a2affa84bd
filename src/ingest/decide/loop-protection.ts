/**
 * What keeps mail from going in circles: addresses of the mailbox itself, mail that passed too many servers, and senders that flood.
 *
 * Nothing is dropped: what is kept aside here is in quarantine with its source, and can be released. What arrived before
 * its mailbox was added is an import and no flood; reports of servers are bounded by the mail that they are about.
 */
import type { Address, MessageKind, ParsedMessage } from '../../mail/message.ts';
import type { ThreadKeys } from '../../mail/thread/keys.ts';
import type { QuarantineReason, SenderSpan } from '../model.ts';
import type { BatchContext, BatchState, TicketRules } from './batch-context.ts';

/** RFC 5321 section 6.3: servers count Received fields, and refuse at 100. A circle through here is shorter a round. */
const hopsMax = 50;
const hourMs = 3_600_000;
const neverFloods: ReadonlySet<MessageKind> = new Set(['bounce', 'feedback_report', 'read_receipt']);

/** Why the mail is kept aside whatever it says, or null. */
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

/** Which arrivals of which senders are to be counted before these mails can be decided. */
export function senderSpan(
  mails: readonly { readonly parsed: ParsedMessage; readonly threadKeys: ThreadKeys; readonly arrivedAtMs: number }[],
  { rules, isReleased }: Pick<BatchContext, 'rules' | 'isReleased'>,
): SenderSpan | null {
  if (rules.senderPerHourMax === null || isReleased) return null;
  const counted = mails.filter(({ parsed, threadKeys }) => countsAsSent(parsed.kind, threadKeys.sender, rules));
  const times = counted.map(({ arrivedAtMs }) => arrivedAtMs);
  if (times.length === 0) return null;
  const addresses = [...new Set(counted.map(({ threadKeys }) => threadKeys.sender))];
  return { addresses, fromMs: Math.min(...times) - hourMs, toMs: Math.max(...times) };
}

function countsAsSent(kind: MessageKind, sender: string, { senderExempt }: TicketRules): boolean {
  return sender !== '' && !neverFloods.has(kind) && !senderExempt.includes(sender);
}

/**
 * Whom a mail from an address of ours stands for: a web form names whoever filled it in as the one to answer. null
 * for nobody but ourselves.
 */
export function representedBy({ replyTo }: ParsedMessage, isOwn: (address: string) => boolean): Address | null {
  return replyTo.find(({ address }) => address.includes('@') && !isOwn(address)) ?? null;
}
