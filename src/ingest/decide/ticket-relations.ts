/**
 * Tickets that a new ticket has to do with, although its mail did not join them. Pure.
 *
 * A link gives nobody access: it tells those who work on a ticket that there is another one.
 */

import type { ParsedMessage } from '../../mail/message.ts';
import { type Candidate, connectedTickets, forwardedFrom } from '../../mail/thread/match.ts';
import type { LinkReason, LookupTicket } from '../model.ts';
import type { BatchState, TicketRules } from './batch-context.ts';

export type LinkSource = {
  readonly candidate: Candidate;
  readonly parsed: ParsedMessage;
  /** The ticket that was closed too long ago to be joined; or null. */
  readonly continued: LookupTicket | null;
};

type Found = { readonly other: LookupTicket; readonly reason: LinkReason };

/** One for each other ticket, with the most telling reason. */
export function linksOf({ candidate, parsed, continued }: LinkSource, state: BatchState): readonly Found[] {
  const forwarded = forwardedFrom(candidate, state.stored);
  const found: readonly Found[] = [
    ...(continued === null ? [] : [{ other: continued, reason: 'continues' as const }]),
    ...(forwarded === null ? [] : [{ other: forwarded, reason: 'forward' as const }]),
    ...state.copiesOf(parsed).map(({ ticket }) => ({ other: ticket, reason: 'same_message' as const })),
    ...mentioned(candidate, state).map((other) => ({ other, reason: 'mentions' as const })),
  ];
  const seen = new Set<string>();
  return found.filter(({ other }) => !seen.has(other.id) && seen.add(other.id));
}

function mentioned({ threadKeys }: Candidate, { stored }: BatchState): readonly LookupTicket[] {
  const refs = new Set([...threadKeys.subjectTags, ...threadKeys.mentions, ...threadKeys.textTags]);
  return [...refs].flatMap((ref) => stored.ticketOf(ref) ?? []);
}

/**
 * Tickets that a mail shows to be one conversation: mail that came out of order was answered before it was here. Pure.
 *
 * The younger one goes into the older one, and only where nobody can mind: it was opened by an answer to mail that was not
 * here, both are open, and who opened it is in the mail that connects them, or opened the other one, too. Tickets of one mailbox alone: its lease keeps others away.
 */

type Merge = { readonly from: LookupTicket; readonly into: LookupTicket };

/** A mail that names more conversations than that connects none. */
const ticketsMax = 50;

/** Merges that follow from a mail which joins `joined`; the tickets in `state` are merged then. All go into the same one. */
export function mergesOf(candidate: Candidate, joined: LookupTicket, state: BatchState): readonly Merge[] {
  const connected = connectedTickets(candidate, state.stored);
  const tickets = [joined, ...connected.filter(({ id }) => id !== joined.id)].filter(isOpenIn(candidate.mailboxId));
  if (tickets.length < 2 || tickets.length > ticketsMax || !tickets.includes(joined)) return [];
  const [into, ...younger] = tickets.toSorted((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
  if (into === undefined) return [];
  const merges = younger
    .filter((from) => from.isOrphan && knowEachOther(from, into, candidate))
    .map((from) => ({ from, into }));
  // The mail goes where its ticket goes; when that one stays, nothing else is drawn past it.
  if (into.id !== joined.id && !joined.isOrphan) return [];
  for (const { from } of merges) state.replace(from.id, into);
  return merges;
}

function knowEachOther(from: LookupTicket, into: LookupTicket, candidate: Candidate): boolean {
  const requester = from.requesterAddress.toLowerCase();
  const people = [into.requesterAddress.toLowerCase(), candidate.threadKeys.sender, ...candidate.recipients()];
  return requester !== '' && people.includes(requester);
}

function isOpenIn(mailboxId: string) {
  return (ticket: LookupTicket) => ticket.mailboxId === mailboxId && ticket.status === 'open';
}

/**
 * Tickets that were closed too long ago to be opened again by an answer, and what goes on in their place. Pure.
 *
 * The first late answer opens a ticket that continues the closed one; the answers after it join that one, so that a
 * conversation which goes on does not open a ticket a mail. Continuations can be continued; nobody follows them in a circle.
 */

/** Either the ticket that an answer joins, or the last one that is over, to be continued by a new one. */
type StandIn =
  | { readonly joined: LookupTicket; readonly over?: never }
  | { readonly joined: null; readonly over: LookupTicket };

/** What an answer of a person that arrived `atMs` and belongs to `ticket` joins. */
export function ticketForReply(ticket: LookupTicket, atMs: number, state: BatchState, rules: TicketRules): StandIn {
  const seen = new Set<string>();
  let over = ticket;
  for (let now: LookupTicket | undefined = ticket; now !== undefined; ) {
    if (!isOver(now, atMs, rules)) return { joined: now };
    over = now;
    seen.add(now.id);
    const next: readonly LookupTicket[] = state.continuationsOf(now.id).filter(({ id }) => !seen.has(id));
    now =
      next.findLast(({ status }) => status !== 'closed') ??
      next.findLast((one) => !isOver(one, atMs, rules)) ??
      next.at(-1);
  }
  return { joined: null, over };
}

/** Tickets that were closed before that time are over for some of the mails; null: none ever is. */
export function closedBefore(arrivalsMs: readonly number[], { reopenMs }: TicketRules): number | null {
  return reopenMs === null || arrivalsMs.length === 0 ? null : Math.max(...arrivalsMs) - reopenMs;
}

function isOver({ status, closedAtMs }: LookupTicket, atMs: number, { reopenMs }: TicketRules): boolean {
  return status === 'closed' && closedAtMs !== null && reopenMs !== null && atMs - closedAtMs > reopenMs;
}
