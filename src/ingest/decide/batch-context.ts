/**
 * Batch context and state: whose batch is decided, under which rules, and what is known while it is decided.
 *
 * The state is what the lookup found and what earlier messages of the batch add. Tickets are returned as they are by
 * then: a merged ticket leads to the one it was merged into, a reopened one is open.
 */

import type { ParsedMessage } from '../../mail/message.ts';
import {
  type Candidate,
  openingRules,
  participantKinds,
  type StoredThreads,
  type TicketTie,
  tieOf,
} from '../../mail/thread/match.ts';
import { countedAddresses, everyoneIn } from '../../mail/thread/people.ts';
import { isValidToken, type ReplyToken, withoutSubaddress } from '../../mail/thread/reply-token.ts';
import type {
  LookupFacts,
  LookupMessage,
  LookupTicket,
  OpenReplyKeys,
  RepeatedNotice,
  SentCount,
} from '../batch-lookup.ts';
import { type Mailbox, type NewMessage, postActionRules } from '../model.ts';

/** Rules that the operator sets. */
export type TicketRules = {
  /** Messages of one sender in one mailbox within an hour; more are quarantined. null: any number. */
  readonly senderPerHourMax: number | null;
  /** From addresses, lower-case, that are exempt from that limit. */
  readonly senderExempt: readonly string[];
  /** A reply that arrives later than that after its ticket was closed opens a new one. null: never. */
  readonly reopenMs: number | null;
};

/** Whose batch it is, and what new rows are made from. */
export type BatchContext = {
  readonly mailboxId: string;
  /** Addresses at which the mailbox receives. */
  readonly addresses: readonly string[];
  readonly nowMs: number;
  /** True when stored messages are to be changed on the server afterwards. */
  readonly hasPostAction: boolean;
  /** True for messages that are released from quarantine: no guard quarantines them again. */
  readonly isReleased: boolean;
  readonly rules: TicketRules;
  readonly newId: () => string;
  readonly newRef: () => string;
  readonly openReplyKeys: OpenReplyKeys;
};

type Generators = Pick<BatchContext, 'newId' | 'newRef' | 'openReplyKeys'> & {
  readonly clock: { nowMs(): number };
};

export function batchContextOf(
  mailbox: Mailbox,
  { clock, ...generators }: Generators,
  rules: TicketRules,
  isReleased = false,
): BatchContext {
  const { id: mailboxId, addresses, postAction } = mailbox;
  const hasPostAction = postActionRules[postAction.kind].isNeeded;
  const { newId, newRef, openReplyKeys } = generators;
  return {
    ...{ mailboxId, addresses, nowMs: clock.nowMs(), hasPostAction, isReleased, rules },
    ...{ newId, newRef, openReplyKeys },
  };
}

export type BatchState = {
  /** For threading (match.ts). */
  readonly stored: StoredThreads<LookupTicket>;
  /** The stored message that is this very message, in this mailbox or another one of its account. */
  duplicateOf(parsed: ParsedMessage): LookupMessage | null;
  /** The same message in mailboxes of other accounts, where it has a ticket. */
  copiesOf(parsed: ParsedMessage): readonly (LookupMessage & { readonly ticket: LookupTicket })[];
  /** Equal notices of the hour before or after: how many, and the newest of their tickets that is open, or null. */
  repeated(key: string, atMs: number): { readonly count: number; readonly ticket: LookupTicket | null };
  /** null: not handled before. */
  handledAs(dedupKey: string): 'stored' | 'quarantined' | null;
  /** True for an address of this mailbox. */
  isOwn(address: string): boolean;
  /** True for an address of any mailbox of this helpdesk. */
  isHelpdeskAddress(address: string): boolean;
  /** Messages of that sender (lower-case), stored or about to be and tied to no ticket, of the hour before. */
  sentWithinHour(sender: string, atMs: number): number;
  /**
   * Messages that the same evidence tied to that ticket in the hour before: of its requester, or of all others; reports
   * of anyone.
   */
  tiedWithinHour(ticket: LookupTicket, tie: TicketTie, sender: string, atMs: number): number;
  /** All people of that ticket but the helpdesk's own addresses; null: not known, or more than 500. */
  peopleOfTicket(ticketId: string): ReadonlySet<string> | null;
  readonly addedAtMs: number;
  /** Adds a message that is about to be stored, with its ticket. */
  add(message: NewMessage, ticket: LookupTicket | null, candidate: Candidate): void;
  /** Adds a message that is about to be quarantined. */
  noteQuarantined(dedupKey: string): void;
  /** Tickets that continue that closed one, oldest first. */
  continuationsOf(ticketId: string): readonly LookupTicket[];
  /** `ticket` is about to continue the closed one. */
  noteContinuation(closedId: string, ticket: LookupTicket): void;
  /** From now on `ticket` is returned for the ticket of that id. */
  replace(id: string, ticket: LookupTicket): void;
};

const minuteMs = 60_000;
const hourMs = 3_600_000;

export function batchState(found: LookupFacts, context: BatchContext): BatchState {
  const messages = groups(found.messages, ({ messageId }) => messageId);
  const tickets = new Map(found.tickets.map(({ ref, ticket }) => [ref, ticket]));
  const sentMessages = new Map(found.sentMessages.map(({ messageId, ticket }) => [messageId, ticket]));
  const referencing = groups(found.naming, ({ named }) => named);
  const counts = messageCounts(found);
  const handled = new Map(found.handled.map(({ dedupKey, isQuarantined }) => [dedupKey, isQuarantined]));
  for (const { dedupKey, isQuarantined } of found.handled) if (!isQuarantined) handled.set(dedupKey, false);
  const own = new Set(context.addresses.map(withoutSubaddress));
  const later = new Map<string, LookupTicket>();
  const latest = (ticket: LookupTicket | null) => latestIn(later, ticket);
  const current = <M extends { readonly ticket: LookupTicket | null }>(list: readonly M[] | undefined) =>
    (list ?? []).map((message) => ({ ...message, ticket: latest(message.ticket) }));
  const withId = (id: string) => current(messages.get(id));
  const isOwn = (address: string) => own.has(withoutSubaddress(address));
  const isOurs = (address: string) => isOwn(address) || found.ownAddresses.has(withoutSubaddress(address));
  const ticketPeople = peopleOfTickets(found, isOurs);
  const continuations = groups(found.continuations, ({ closedId }) => closedId);
  const people = participants(found);
  const repeated = groups(found.repeated, ({ key }) => key);
  const isHere = (mailboxId: string) => mailboxId === context.mailboxId || found.accountMailboxes.has(mailboxId);
  const sameAs = (parsed: ParsedMessage) =>
    current(messages.get(parsed.messageId)?.filter(({ contentHash }) => contentHash === parsed.contentHash));
  return {
    stored: {
      withId,
      sentIn: (id) => latest(sentMessages.get(id) ?? null),
      referencing: (id) => current(referencing.get(id)),
      ticketOf: (ref) => latest(tickets.get(ref) ?? null),
      isParticipant: people.isParticipant,
      isValidToken: (token) => isTokenOf(found.replyKeys, token, tickets.get(token.ref)),
      isOurs,
      isHere,
    },
    duplicateOf: (parsed) => sameAs(parsed).find(({ mailboxId }) => isHere(mailboxId)) ?? null,
    copiesOf: (parsed) =>
      sameAs(parsed).flatMap((other) =>
        other.ticket === null || isHere(other.mailboxId) ? [] : [{ ...other, ticket: other.ticket }],
      ),
    repeated: (key, atMs) => repeatedIn(repeated.get(key) ?? [], atMs, latest),
    handledAs: (dedupKey) => (handled.has(dedupKey) ? (handled.get(dedupKey) ? 'quarantined' : 'stored') : null),
    isOwn,
    isHelpdeskAddress: isOurs,
    sentWithinHour: counts.sentWithinHour,
    tiedWithinHour: counts.tiedWithinHour,
    peopleOfTicket: ticketPeople.of,
    addedAtMs: found.addedAtMs,
    add: (message, ticket, candidate) => {
      const { parsed, missing, threadRule, repeatKey: key, receivedAtMs: atMs } = message;
      put(messages, parsed.messageId, lookupMessageOf(message, ticket, candidate));
      if (key !== null && ticket !== null && openingRules.includes(threadRule))
        put(repeated, key, { key, count: 1, atMs, ticket });
      for (const named of missing) put(referencing, named, { named, ticket, people: candidate.people() });
      counts.add(message, ticket);
      if (ticket === null || !participantKinds.includes(parsed.kind)) return;
      people.add(ticket.id, [addressOf(parsed), ...countedAddresses([...parsed.to, ...parsed.cc])]);
      ticketPeople.add(ticket.id, everyoneIn(candidate.people()), threadRule === null);
    },
    noteQuarantined: (dedupKey) => {
      if (!handled.has(dedupKey)) handled.set(dedupKey, true);
    },
    continuationsOf: (ticketId) => current(continuations.get(ticketId)).map(({ ticket }) => ticket),
    noteContinuation: (closedId, ticket) => put(continuations, closedId, { closedId, ticket }),
    replace: (id, ticket) => void later.set(id, ticket),
  };
}

/** Follows a ticket to the one that replaces it by now. */
function latestIn(later: ReadonlyMap<string, LookupTicket>, ticket: LookupTicket | null): LookupTicket | null {
  for (let now = ticket; ; ) {
    const next = now === null ? undefined : later.get(now.id);
    if (next === undefined || next === now) return now;
    now = next;
  }
}

/** The message as a lookup would find it. */
function lookupMessageOf(
  { id, parsed: { messageId, contentHash }, threadRule }: NewMessage,
  ticket: LookupTicket | null,
  { mailboxId, people, threadKeys }: Candidate,
): LookupMessage {
  const copied = ticket !== null && openingRules.includes(threadRule) ? threadKeys.content : null;
  return { id, mailboxId, messageId, contentHash, people: people(), ticket, copied };
}

function repeatedIn(
  notices: readonly RepeatedNotice[],
  atMs: number,
  latest: (ticket: LookupTicket | null) => LookupTicket | null,
) {
  const near = notices.filter((notice) => Math.abs(atMs - notice.atMs) <= hourMs);
  const tickets = near.toSorted((a, b) => a.atMs - b.atMs).map(({ ticket }) => latest(ticket));
  return {
    count: near.reduce((sum, { count }) => sum + count, 0),
    ticket: tickets.findLast((ticket) => ticket !== null && ticket.status !== 'closed') ?? null,
  };
}

/** Messages of the last hour by sender; those tied to a ticket apart, by ticket and kind of evidence. */
function messageCounts(found: LookupFacts) {
  const sent = groups(found.sent, ({ address }) => address);
  const tied = groups(found.tied, ({ ticketId, tie }) => `${ticketId} ${tie}`);
  return {
    sentWithinHour: (sender: string, atMs: number) => countWithinHour(sent.get(sender), atMs),
    tiedWithinHour: (ticket: LookupTicket, tie: TicketTie, sender: string, atMs: number) => {
      const counts = tied
        .get(`${ticket.id} ${tie}`)
        ?.filter(({ address }) => tie === 'report' || isRequester(ticket, address) === isRequester(ticket, sender));
      return countWithinHour(counts, atMs);
    },
    add: ({ parsed, receivedAtMs, threadRule }: NewMessage, ticket: LookupTicket | null) => {
      const address = addressOf(parsed);
      const count = { address, atMs: receivedAtMs - (receivedAtMs % minuteMs), count: 1 };
      const tie = threadRule === null ? undefined : tieOf(parsed.kind, threadRule);
      if (ticket === null || tie === undefined) put(sent, address, count);
      else put(tied, `${ticket.id} ${tie}`, { ...count, ticketId: ticket.id, tie });
    },
  };
}

function countWithinHour(counts: readonly SentCount[] | undefined, atMs: number): number {
  return (counts ?? [])
    .filter((part) => part.atMs > atMs - hourMs - minuteMs && part.atMs <= atMs)
    .reduce((sum, { count }) => sum + count, 0);
}

function isRequester({ requesterAddress }: LookupTicket, address: string): boolean {
  return withoutSubaddress(requesterAddress) === withoutSubaddress(address);
}

/** A retired reply key counts for tickets that existed when it was retired, and for those that are gone. */
function isTokenOf(
  replyKeys: LookupFacts['replyKeys'],
  token: ReplyToken,
  { createdAtMs } = { createdAtMs: 0 },
): boolean {
  return replyKeys.some(
    ({ secret, ticketsUntilMs }) =>
      (ticketsUntilMs === null || createdAtMs <= ticketsUntilMs) && isValidToken(secret, token),
  );
}

/** Participants by ticket. The mailbox's own addresses are among them; the rules never ask for those. */
function participants(found: LookupFacts) {
  const byTicket = new Map<string, Set<string>>();
  const add = (ticketId: string, addresses: readonly string[]) => {
    const known = byTicket.get(ticketId) ?? new Set();
    byTicket.set(ticketId, known);
    for (const address of addresses) known.add(address);
  };
  for (const { ticketId, address } of found.participants) add(ticketId, [address]);
  return {
    isParticipant: (ticket: LookupTicket, address: string) =>
      byTicket.get(ticket.id)?.has(address) === true || ticket.requesterAddress.toLowerCase() === address,
    add,
  };
}

/** A ticket of more people is merged into no other: the two would be compared for each message that names both. */
const ticketPeopleMax = 500;

/** The people of each ticket of which all are known. */
function peopleOfTickets({ ticketPeople }: LookupFacts, isOurs: (address: string) => boolean) {
  const byTicket = new Map<string, Set<string>>();
  const add = (ticketId: string, addresses: readonly string[], isNew: boolean) => {
    const known = isNew ? new Set<string>() : byTicket.get(ticketId);
    if (known === undefined) return;
    for (const address of addresses) if (!isOurs(address)) known.add(address);
    if (known.size <= ticketPeopleMax) byTicket.set(ticketId, known);
    else byTicket.delete(ticketId);
  };
  for (const { ticketId, addresses } of ticketPeople) add(ticketId, addresses, true);
  return { add, of: (ticketId: string): ReadonlySet<string> | null => byTicket.get(ticketId) ?? null };
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
