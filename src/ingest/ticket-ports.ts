/** What commands do to one ticket, and what a helpdesk needs to write to its requester, as a port. */
import type { LinkReason } from './rows.ts';

export type TicketPlace = {
  readonly id: string;
  readonly ref: string;
  readonly status: string;
  /** Reference of the ticket that it went into. */
  readonly mergedInto: string | null;
  /** null when it was removed. */
  readonly mailbox: { readonly name: string; readonly addresses: readonly string[] } | null;
};

/** `direction`: `to` when this ticket is about the other one, `from` when the other one is about this one. */
export type ShownLink = { readonly ticket: string; readonly reason: LinkReason; readonly direction: 'to' | 'from' };

export interface TicketDesk {
  /** Throws `not_found`. */
  ticketPlace(ref: string): Promise<TicketPlace>;
  /** False: it was not in the other state, and nothing was changed. */
  setTicketState(id: string, state: 'open' | 'closed'): Promise<boolean>;
  /** The key of the reply tokens, 32 bytes; made when there is none yet. */
  replyKey(): Promise<Uint8Array>;
}
