/**
 * Tickets that were closed too long ago to be opened again by an answer, and what goes on in their place. Pure.
 *
 * The first late answer opens a ticket that continues the closed one; the answers after it join that one, so that a
 * conversation which goes on does not open a ticket a mail. Continuations can be continued; nobody follows them in a circle.
 */
import type { KnownTicket } from './known.ts';
import type { DeskRules } from './maker.ts';
import type { WindowState } from './window-state.ts';

/** Either the ticket that an answer joins, or the last one that is over, to be continued by a new one. */
export type StandIn =
  | { readonly joined: KnownTicket; readonly over?: never }
  | { readonly joined: null; readonly over: KnownTicket };

/** What an answer of a person that arrived `atMs` and belongs to `ticket` joins. */
export function standsFor(ticket: KnownTicket, atMs: number, state: WindowState, rules: DeskRules): StandIn {
  const seen = new Set<string>();
  let over = ticket;
  for (let now: KnownTicket | undefined = ticket; now !== undefined; ) {
    if (!isOver(now, atMs, rules)) return { joined: now };
    over = now;
    seen.add(now.id);
    const next: readonly KnownTicket[] = state.continuationsOf(now.id).filter(({ id }) => !seen.has(id));
    now =
      next.findLast(({ status }) => status !== 'closed') ??
      next.findLast((one) => !isOver(one, atMs, rules)) ??
      next.at(-1);
  }
  return { joined: null, over };
}

/** Tickets that were closed before that time are over for some of the mails; null: none ever is. */
export function overBefore(arrivalsMs: readonly number[], { reopenMs }: DeskRules): number | null {
  return reopenMs === null || arrivalsMs.length === 0 ? null : Math.max(...arrivalsMs) - reopenMs;
}

function isOver({ status, closedAtMs }: KnownTicket, atMs: number, { reopenMs }: DeskRules): boolean {
  return status === 'closed' && closedAtMs !== null && reopenMs !== null && atMs - closedAtMs > reopenMs;
}
