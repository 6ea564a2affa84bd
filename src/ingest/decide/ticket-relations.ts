/**
 * Ticket relations: links between tickets, merges of tickets that are one conversation, and replies to closed tickets.
 *
 * A link gives no access: it shows those who work on a ticket that there is a related one. Pure.
 */

import type { ParsedMessage } from '../../mail/message.ts';
import {
  type Candidate,
  connectedTickets,
  copiedTickets,
  forwardedFrom,
  relatedTickets,
} from '../../mail/thread/match.ts';
import { everyoneIn } from '../../mail/thread/people.ts';
import type { LookupTicket } from '../batch-lookup.ts';
import type { LinkReason, TicketLink } from '../model.ts';
import type { BatchState, TicketRules } from './batch-context.ts';

/** A message that opens a ticket. */
type Opening = {
  readonly candidate: Candidate;
  readonly parsed: ParsedMessage;
  /** The ticket that was closed too long ago to be joined; or null. */
  readonly continued: LookupTicket | null;
};

type RelatedTicket = { readonly other: LookupTicket; readonly reason: LinkReason };

/** Tickets to link with the new one, each once, with the strongest reason. */
export function linksOf({ candidate, parsed, continued }: Opening, state: BatchState): readonly RelatedTicket[] {
  const forwarded = forwardedFrom(candidate, state.stored);
  // A reply that continues a closed ticket fits that one.
  const related = continued === null ? relatedTickets(candidate, state.stored) : [];
  const found: readonly RelatedTicket[] = [
    ...(continued === null ? [] : [{ other: continued, reason: 'continues' as const }]),
    ...(forwarded === null ? [] : [{ other: forwarded, reason: 'forward' as const }]),
    ...state.copiesOf(parsed).map(({ ticket }) => ({ other: ticket, reason: 'same_message' as const })),
    ...copiedTickets(candidate, state.stored).map((other) => ({ other, reason: 'same_message' as const })),
    ...related.map((other) => ({ other, reason: 'same_thread' as const })),
    ...mentioned(candidate, state).map((other) => ({ other, reason: 'mentions' as const })),
  ];
  const seen = new Set<string>();
  return found.filter(({ other }) => !seen.has(other.id) && seen.add(other.id));
}

function mentioned({ threadKeys }: Candidate, { stored }: BatchState): readonly LookupTicket[] {
  const refs = new Set([...threadKeys.subjectTags, ...threadKeys.mentions, ...threadKeys.textTags]);
  return [...refs].flatMap((ref) => stored.ticketOf(ref) ?? []);
}

// Merges. Messages that arrive out of order may open two tickets for one conversation; a later message connects them.
// Its From is not authenticated, and a Message-ID is known to all its recipients. The younger ticket is therefore
// merged into the older one only where that discloses nothing: both are open, it was opened by a reply to a message
// that was missing, and the people of both are the same. Others are linked. Only tickets of one mailbox are merged: its
// lease keeps other workers away.

type Merge = { readonly from: LookupTicket; readonly into: LookupTicket };

/** What follows for other tickets from a message that joins one. */
type Connection = { readonly merges: readonly Merge[]; readonly links: readonly TicketLink[] };

/** A message that references more tickets than that connects none. */
const connectedMax = 50;

/** Merges that follow from a message that joins `joined`, all into the same ticket. `state` has them merged then. */
export function mergesOf(candidate: Candidate, joined: LookupTicket, state: BatchState): Connection {
  const connected = connectedTickets(candidate, state.stored);
  const tickets = [joined, ...connected.filter(({ id }) => id !== joined.id)].filter(isOpenIn(candidate.mailboxId));
  const [into, ...younger] = tickets.toSorted((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
  if (into === undefined || younger.length === 0 || tickets.length > connectedMax || !tickets.includes(joined))
    return { merges: [], links: [] };
  const peopleOf = (ticket: LookupTicket) => {
    const known = state.peopleOfTicket(ticket.id);
    if (known === null || ticket.id !== joined.id) return known;
    const added = everyoneIn(candidate.people()).filter((address) => !state.isHelpdeskAddress(address));
    return new Set([...known, ...added]);
  };
  const mergeable = younger.filter((from) => from.isOrphan && areSame(peopleOf(from), peopleOf(into)));
  // The message follows its ticket; where that one is not merged, no other is.
  const merged = into.id === joined.id || mergeable.includes(joined) ? mergeable : [];
  for (const from of merged) state.replace(from.id, into);
  const links = younger.map((from) => {
    const reason: LinkReason = merged.includes(from) ? 'merged' : 'same_thread';
    return { ticketId: from.id, otherId: into.id, reason };
  });
  return { merges: merged.map((from) => ({ from, into })), links };
}

function areSame(some: ReadonlySet<string> | null, others: ReadonlySet<string> | null): boolean {
  return some !== null && others !== null && some.size > 0 && some.size === others.size && some.isSubsetOf(others);
}

function isOpenIn(mailboxId: string) {
  return (ticket: LookupTicket) => ticket.mailboxId === mailboxId && ticket.status === 'open';
}

// Reopen policy. A reply that arrives too long after its ticket was closed opens a new ticket, which continues the
// closed one; further replies join that one, so that a conversation does not open a ticket per message. Continuations
// can be continued, and are not followed in a circle.

/** The ticket that a reply joins, or the last one that stays closed, to be continued by a new one. */
type ReplyTarget =
  | { readonly joined: LookupTicket; readonly continued?: never }
  | { readonly joined: null; readonly continued: LookupTicket };

/** Where a person's reply goes that arrived `atMs` and belongs to `ticket`. */
export function ticketForReply(ticket: LookupTicket, atMs: number, state: BatchState, rules: TicketRules): ReplyTarget {
  const seen = new Set<string>();
  let last = ticket;
  for (let now: LookupTicket | undefined = ticket; now !== undefined; ) {
    if (!staysClosed(now, atMs, rules)) return { joined: now };
    last = now;
    seen.add(now.id);
    const next: readonly LookupTicket[] = state.continuationsOf(now.id).filter(({ id }) => !seen.has(id));
    now =
      next.findLast(({ status }) => status !== 'closed') ??
      next.findLast((one) => !staysClosed(one, atMs, rules)) ??
      next.at(-1);
  }
  return { joined: null, continued: last };
}

/** Tickets closed before that time stay closed for some of the messages; null: every ticket can be reopened. */
export function closedBefore(arrivedAtMs: readonly number[], { reopenMs }: TicketRules): number | null {
  return reopenMs === null || arrivedAtMs.length === 0 ? null : Math.max(...arrivedAtMs) - reopenMs;
}

function staysClosed({ status, closedAtMs }: LookupTicket, atMs: number, { reopenMs }: TicketRules): boolean {
  return status === 'closed' && closedAtMs !== null && reopenMs !== null && atMs - closedAtMs > reopenMs;
}
