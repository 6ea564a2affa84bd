/**
 * Tickets that a mail shows to be one conversation: mail that came out of order was answered before it was here. Pure.
 *
 * The younger one goes into the older one, and only where nobody can mind: it was opened by an answer to mail that was not
 * here, both are open, and who opened it is in the mail that connects them, or opened the other one, too. Tickets of one mailbox alone: its lease keeps others away.
 */
import { connectedTickets, type Seeker } from '../mail/thread/match.ts';
import type { KnownTicket } from './known.ts';
import type { WindowState } from './window-state.ts';

type Merge = { readonly from: KnownTicket; readonly into: KnownTicket };

/** A mail that names more conversations than that connects none. */
const ticketsMax = 50;

/** Merges that follow from a mail which joins `joined`; the tickets in `state` are merged then. All go into the same one. */
export function mergesOf(seeker: Seeker, joined: KnownTicket, state: WindowState): readonly Merge[] {
  const connected = connectedTickets(seeker, state.stored);
  const tickets = [joined, ...connected.filter(({ id }) => id !== joined.id)].filter(isOpenIn(seeker.mailboxId));
  if (tickets.length < 2 || tickets.length > ticketsMax || !tickets.includes(joined)) return [];
  const [into, ...younger] = tickets.toSorted((a, b) => a.createdAtMs - b.createdAtMs || (a.id < b.id ? -1 : 1));
  if (into === undefined) return [];
  const merges = younger
    .filter((from) => from.isOrphan && knowEachOther(from, into, seeker))
    .map((from) => ({ from, into }));
  // The mail goes where its ticket goes; when that one stays, nothing else is drawn past it.
  if (into.id !== joined.id && !joined.isOrphan) return [];
  for (const { from } of merges) state.replace(from.id, into);
  return merges;
}

function knowEachOther(from: KnownTicket, into: KnownTicket, seeker: Seeker): boolean {
  const requester = from.requesterAddress.toLowerCase();
  const people = [into.requesterAddress.toLowerCase(), seeker.clues.sender, ...seeker.recipients()];
  return requester !== '' && people.includes(requester);
}

function isOpenIn(mailboxId: string) {
  return (ticket: KnownTicket) => ticket.mailboxId === mailboxId && ticket.status === 'open';
}
