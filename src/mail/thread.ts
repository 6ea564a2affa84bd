/**
 * Which ticket a mail belongs to, from what is known: pure.
 *
 * In order: a bounce or automatic answer joins the ticket of the mail it reports on; then In-Reply-To and References
 * (RFC 5322 section 3.6.4) against the Message-IDs that are stored, the nearest ancestor first. Messages of the same
 * mailbox win over those of other mailboxes, since one mail to two mailboxes has a ticket in each. Keyed reply
 * tokens and subject tags have their place here, after the references.
 */
import type { ParsedMessage } from './message.ts';

/** A stored message that some Message-ID leads to. `ticketId` is null for one that is recorded without a ticket. */
type Ancestor = { readonly mailboxId: string; readonly ticketId: string | null };

/** Stored messages by Message-ID, oldest first. */
type Ancestors<A extends Ancestor> = ReadonlyMap<string, readonly A[]>;

/** Every Message-ID that could name the ticket of `parsed`, the most telling first. */
export function ancestorIds(parsed: ParsedMessage): readonly string[] {
  const reported = parsed.reportedMessageId === null ? [] : [parsed.reportedMessageId];
  return [...new Set([...reported, ...parsed.inReplyTo, ...parsed.references.toReversed()])];
}

/** The stored message whose ticket `parsed` belongs to, or null when it belongs to none. */
export function ancestorOf<A extends Ancestor>(
  parsed: ParsedMessage,
  mailboxId: string,
  ancestors: Ancestors<A>,
): A | null {
  for (const id of ancestorIds(parsed)) {
    const found = (ancestors.get(id) ?? []).filter((ancestor) => ancestor.ticketId !== null);
    const nearest = found.find((ancestor) => ancestor.mailboxId === mailboxId) ?? found[0];
    if (nearest !== undefined) return nearest;
  }
  return null;
}

/** True for mail that a machine wrote in answer to something: it never opens a ticket. */
export function opensNoTicket(parsed: ParsedMessage): boolean {
  return parsed.kind === 'bounce' || parsed.kind === 'auto_reply';
}
