/**
 * What is known while a window is decided: what the database said, and what the mails before in the window have added.
 *
 * Tickets are looked up as they are by now: one that was merged leads to the other, one that was opened again is open.
 */

import type { ParsedMessage } from '../../mail/message.ts';
import { participantKinds, type StoredThreads } from '../../mail/thread/match.ts';
import { isValidToken, withoutSubaddress } from '../../mail/thread/reply-token.ts';
import type { LookupMessage, LookupResult, LookupTicket, Mailbox, NewMessage } from '../model.ts';

export type BatchState = {
  /** For the rules of thread.ts. */
  readonly stored: StoredThreads<LookupTicket>;
  /** The stored message that is this very mail, in this very mailbox. */
  duplicateOf(parsed: ParsedMessage): LookupMessage | null;
  /** The same mail in other mailboxes, where it has a ticket. */
  copiesOf(parsed: ParsedMessage): readonly (LookupMessage & { readonly ticket: LookupTicket })[];
  /** `kept`: it is in quarantine. null: not handled before. */
  handledAs(dedupKey: string): 'stored' | 'kept' | null;
  /** True for an address of this mailbox: another one of ours is somebody else here. */
  isOwn(address: string): boolean;
  /** True for an address of any mailbox of ours. */
  isHelpdeskAddress(address: string): boolean;
  /** Mails of that sender (lower-case) that are stored, or will be, and arrived within the hour up to then. */
  sentWithinHour(sender: string, atMs: number): number;
  readonly addedAtMs: number;
  /** A message that is going to be stored, with its ticket. */
  add(message: NewMessage, ticket: LookupTicket | null): void;
  /** A mail that is going to be quarantined. */
  noteQuarantined(dedupKey: string): void;
  /** Tickets that continue that closed one, oldest first. */
  continuationsOf(ticketId: string): readonly LookupTicket[];
  /** `ticket` is going to continue the closed one of that id. */
  noteContinuation(closedId: string, ticket: LookupTicket): void;
  /** `ticket` stands for the ticket of that id from now on. */
  replace(id: string, ticket: LookupTicket): void;
};

const minuteMs = 60_000;
const hourMs = 3_600_000;

export function batchState(known: LookupResult, maker: BatchContext): BatchState {
  const messages = groups(known.messages, ({ messageId }) => messageId);
  const naming = groups(known.naming, ({ named }) => named);
  const sent = groups(known.sent, ({ address }) => address);
  const handled = new Map(known.handled.map(({ dedupKey, isQuarantined }) => [dedupKey, isQuarantined]));
  for (const { dedupKey, isQuarantined } of known.handled) if (!isQuarantined) handled.set(dedupKey, false);
  const own = new Set(maker.addresses.map(withoutSubaddress));
  const later = new Map<string, LookupTicket>();
  const latest = (ticket: LookupTicket | null): LookupTicket | null => {
    for (let now = ticket; ; ) {
      const next = now === null ? undefined : later.get(now.id);
      if (next === undefined || next === now) return now;
      now = next;
    }
  };
  const current = <M extends { readonly ticket: LookupTicket | null }>(found: readonly M[] | undefined) =>
    (found ?? []).map((message) => ({ ...message, ticket: latest(message.ticket) }));
  const withId = (id: string) => current(messages.get(id));
  const isOwn = (address: string) => own.has(withoutSubaddress(address));
  const continuations = groups(known.continuations, ({ closedId }) => closedId);
  const people = participants(known);
  const sameAs = (parsed: ParsedMessage) =>
    withId(parsed.messageId).filter((other) => other.contentHash === parsed.contentHash);
  return {
    stored: {
      withId,
      referencing: (id) => current(naming.get(id)),
      ticketOf: (ref) => latest(known.tickets.find((named) => named.ref === ref)?.ticket ?? null),
      isParticipant: people.takesPart,
      isValidToken: (token) => known.replyKey !== null && isValidToken(known.replyKey, token),
    },
    duplicateOf: (parsed) => sameAs(parsed).find(({ mailboxId }) => mailboxId === maker.mailboxId) ?? null,
    copiesOf: (parsed) =>
      sameAs(parsed).flatMap((other) =>
        other.ticket === null || other.mailboxId === maker.mailboxId ? [] : [{ ...other, ticket: other.ticket }],
      ),
    handledAs: (dedupKey) => {
      const isQuarantined = handled.get(dedupKey);
      return isQuarantined === undefined ? null : isQuarantined ? 'kept' : 'stored';
    },
    isOwn,
    isHelpdeskAddress: (address) => isOwn(address) || known.ownAddresses.has(withoutSubaddress(address)),
    sentWithinHour: (sender, atMs) =>
      (sent.get(sender) ?? [])
        .filter((part) => part.atMs > atMs - hourMs - minuteMs && part.atMs <= atMs)
        .reduce((sum, { count }) => sum + count, 0),
    addedAtMs: known.addedAtMs,
    add: (message, ticket) => {
      const { id, parsed, receivedAtMs, missing } = message;
      const { messageId, contentHash } = parsed;
      put(messages, messageId, { id, mailboxId: maker.mailboxId, messageId, contentHash, ticket });
      const from = addressOf(parsed);
      const recipients = recipientsOf(parsed);
      for (const named of missing) put(naming, named, { named, ticket, from, recipients });
      if (ticket !== null && participantKinds.includes(parsed.kind)) people.add(ticket.id, [from, ...recipients]);
      put(sent, from, { address: from, atMs: receivedAtMs - (receivedAtMs % minuteMs), count: 1 });
    },
    noteQuarantined: (dedupKey) => {
      if (!handled.has(dedupKey)) handled.set(dedupKey, true);
    },
    continuationsOf: (ticketId) => current(continuations.get(ticketId)).map(({ ticket }) => ticket),
    noteContinuation: (closedId, ticket) => put(continuations, closedId, { closedId, ticket }),
    replace: (id, ticket) => void later.set(id, ticket),
  };
}

/** Who takes part in which ticket. That our own addresses are in every mail does not matter: the rules ask for no own one. */
function participants(known: LookupResult) {
  const pair = (ticketId: string, address: string) => `${ticketId} ${address}`;
  const pairs = new Set(known.participants.map(({ ticketId, address }) => pair(ticketId, address)));
  return {
    takesPart: (ticket: LookupTicket, address: string) =>
      pairs.has(pair(ticket.id, address)) || ticket.requesterAddress.toLowerCase() === address,
    add: (ticketId: string, addresses: readonly string[]) => {
      for (const address of addresses) pairs.add(pair(ticketId, address));
    },
  };
}

/** Addresses of To and Cc, in lower case. */
export function recipientsOf({ to, cc }: ParsedMessage): readonly string[] {
  return [...to, ...cc].map(({ address }) => address.toLowerCase());
}

function addressOf({ from }: ParsedMessage): string {
  return (from?.address ?? '').toLowerCase();
}

function groups<V>(values: readonly V[], keyOf: (value: V) => string): Map<string, V[]> {
  const map = new Map<string, V[]>();
  for (const value of values) put(map, keyOf(value), value);
  return map;
}

function put<V>(map: Map<string, V[]>, key: string, value: V): void {
  const same = map.get(key);
  if (same === undefined) map.set(key, [value]);
  else same.push(value);
}

/** What makes the rows of a window: of which mailbox they are, the limits, the time, and new ids. */

/** Limits and choices of the operator. */
export type TicketRules = {
  /** Mails of one sender in one mailbox within an hour; more are quarantined. null: any number. */
  readonly senderPerHourMax: number | null;
  /** From addresses, lower-case, that it does not hold for. */
  readonly senderExempt: readonly string[];
  /** An answer that comes so long after its ticket was closed opens a new one. null: never. */
  readonly reopenMs: number | null;
};

export type BatchContext = {
  readonly mailboxId: string;
  /** Where the mailbox gets its mail. */
  readonly addresses: readonly string[];
  readonly nowMs: number;
  /** Whether a stored mail is to be touched on the server afterwards. */
  readonly hasPostAction: boolean;
  /** True when somebody wants these mails although they were quarantined: no guard keeps them aside again. */
  readonly isReleased: boolean;
  readonly rules: TicketRules;
  readonly newId: () => string;
  readonly newRef: () => string;
};

type Source = { readonly clock: { nowMs(): number }; readonly newId: () => string; readonly newRef: () => string };

export function batchContextOf(
  mailbox: Mailbox,
  { clock, newId, newRef }: Source,
  rules: TicketRules,
  released = false,
): BatchContext {
  const acts = mailbox.postAction.kind !== 'leave';
  return {
    mailboxId: mailbox.id,
    addresses: mailbox.addresses,
    nowMs: clock.nowMs(),
    hasPostAction: acts,
    isReleased: released,
    rules,
    newId,
    newRef,
  };
}
