/**
 * What becomes of each arrival: ticket, reply, record, duplicate, quarantine or vanished. Pure: what is stored
 * already, ids, references and the time come in.
 *
 * A mail is a duplicate only when mailbox, Message-ID and content are all the same (a folder that was rebuilt under a
 * new UIDVALIDITY, a crash between fetch and commit), also when its message and its ticket were deleted since; an equal
 * Message-ID with other content is another mail. Mails of one window see each other, in the order of their UIDs.
 */

import type { Address, ParsedMessage } from '../../mail/message.ts';
import type { ThreadKeys } from '../../mail/thread/keys.ts';
import { type Candidate, findTicket, neverOpensTicket, type ThreadRule } from '../../mail/thread/match.ts';
import type { StoredMessage } from '../fetch/fetched-message.ts';
import type {
  LookupResult,
  LookupTicket,
  NewMessage,
  NewOutcome,
  NewTicket,
  QuarantineReason,
  StoredSource,
  TicketLink,
  TicketMerge,
} from '../model.ts';
import type { BatchContext } from './batch-context.ts';
import { type BatchState, batchState, recipientsOf } from './batch-context.ts';
import { loopOrFloodReason, representedBy } from './loop-protection.ts';
import { type LinkSource, linksOf, mergesOf, ticketForReply } from './ticket-relations.ts';

export type Decision = {
  /** Reference of the ticket that the mail opened or joined, for the log. */
  readonly ref: string | null;
  readonly ticket: NewTicket | null;
  readonly message: NewMessage | null;
  readonly outcome: NewOutcome;
  readonly links: readonly TicketLink[];
  readonly merges: readonly TicketMerge[];
  /** The ticket that a person answered, to be opened again if it is closed; or null. */
  readonly answered: string | null;
  /** What happened to tickets besides, for the log. */
  readonly changes: readonly TicketChange[];
};

/** By their references: a closed ticket was answered; one went into another. */
export type TicketChange =
  | { readonly what: 'reopened'; readonly ref: string }
  | { readonly what: 'merged'; readonly ref: string; readonly into: string };

/** A mail while it is decided. */
type Mail = {
  readonly parsed: ParsedMessage;
  readonly threadKeys: ThreadKeys;
  readonly candidate: Candidate;
  readonly arrivedAtMs: number;
  readonly place: Pick<NewOutcome, 'uid' | 'sizeBytes' | 'receivedAtMs' | 'raw' | 'actionPending' | 'dedupKey'>;
};

const nothing = { ref: null, ticket: null, message: null, links: [], merges: [], answered: null, changes: [] };

/** One decision for each arrival, in order. */
export function decide(
  arrivals: readonly StoredMessage[],
  known: LookupResult,
  maker: BatchContext,
): readonly Decision[] {
  const state = batchState(known, maker);
  return arrivals.map((arrival) =>
    arrival.what === 'parsed' ? decideMail(mailOf(arrival, state, maker), state, maker) : setAside(arrival),
  );
}

function mailOf(arrival: StoredMessage & { what: 'parsed' }, state: BatchState, maker: BatchContext): Mail {
  const { uid, sizeBytes, receivedAtMs, parsed, threadKeys, dedupKey, raw } = arrival;
  return {
    ...{ parsed, threadKeys },
    candidate: {
      ...{ threadKeys, mailboxId: maker.mailboxId, kind: parsed.kind },
      isOwn: threadKeys.sender !== '' && state.isOwn(threadKeys.sender),
      recipients: once(() => recipientsOf(parsed)),
    },
    arrivedAtMs: receivedAtMs ?? maker.nowMs,
    place: { uid, sizeBytes, receivedAtMs, raw, actionPending: maker.hasPostAction, dedupKey },
  };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

function decideMail(mail: Mail, state: BatchState, maker: BatchContext): Decision {
  return (
    repeated(mail, state) ?? ownMail(mail, state, maker) ?? kept(mail, state, maker) ?? threaded(mail, state, maker)
  );
}

/** A mail that was handled before: nothing is stored but that it came again. */
function repeated(mail: Mail, state: BatchState): Decision | null {
  const twin = state.duplicateOf(mail.parsed);
  if (twin !== null) return duplicate(mail, twin.id, twin.ticket);
  const handled = mail.place.dedupKey === null ? null : state.handledAs(mail.place.dedupKey);
  if (handled === 'stored') return duplicate(mail, null, null);
  // Its source is in quarantine; what lies on the server is left alone, as that one is.
  return handled === 'kept' ? duplicate({ ...mail, place: { ...mail.place, actionPending: false } }, null, null) : null;
}

function duplicate({ place }: Mail, messageId: string | null, ticket: LookupTicket | null): Decision {
  const outcome = {
    ...place,
    outcome: 'duplicate',
    reason: 'seen_before',
    ticketId: ticket?.id ?? null,
    messageId,
  } as const;
  return { ...nothing, ref: ticket?.ref ?? null, outcome };
}

/**
 * What the helpdesk sent and what came back belongs to its ticket, and is news to nobody. From an address that is none of
 * ours it is no such thing: whoever got a mail of the ticket knows a token.
 */
function ownMail(mail: Mail, state: BatchState, maker: BatchContext): Decision | null {
  const token = mail.threadKeys.ownToken;
  if (token === null || !state.isHelpdeskAddress(mail.threadKeys.sender) || !state.stored.isValidToken(token))
    return null;
  const ticket = state.stored.ticketOf(token.ref);
  return stored(mail, state, maker, { ticket, rule: ticket === null ? null : 'own', reason: 'own_mail' });
}

/** Set aside by a guard, with its source and untouched on the server. */
function kept(mail: Mail, state: BatchState, maker: BatchContext): Decision | null {
  const reason = loopOrFloodReason(mail, state, maker);
  return reason === null ? null : quarantined(mail, reason, state);
}

function quarantined({ place }: Mail, reason: QuarantineReason, state: BatchState): Decision {
  if (place.dedupKey !== null) state.noteQuarantined(place.dedupKey);
  const outcome = {
    ...place,
    outcome: 'quarantined',
    reason,
    ticketId: null,
    messageId: null,
    actionPending: false,
  } as const;
  return { ...nothing, outcome };
}

function threaded(mail: Mail, state: BatchState, maker: BatchContext): Decision {
  const { parsed, candidate } = mail;
  const match = findTicket(candidate, state.stored);
  if (match === null && neverOpensTicket(parsed.kind))
    return stored(mail, state, maker, { ticket: null, rule: null, reason: parsed.kind });
  if (match === null) return opened(mail, state, maker, null);
  const found = isAnswer(candidate)
    ? ticketForReply(match.ticket, mail.arrivedAtMs, state, maker.rules)
    : { joined: match.ticket };
  if (found.joined === null) return opened(mail, state, maker, found.over);
  const { joined } = found;
  const copy = joined.mailboxId === maker.mailboxId ? undefined : copyIn(joined, mail, state);
  if (copy !== undefined) return duplicate(mail, copy.id, joined);
  const merges = mergesOf(candidate, joined, state);
  const ticket = merges[0]?.into ?? joined;
  const decision = stored(mail, state, maker, { ticket, rule: match.rule, reason: null });
  const links = merges.map(({ from, into }) => ({ ticketId: from.id, otherId: into.id, reason: 'merged' }) as const);
  const merged = merges.map(({ from, into }) => ({ what: 'merged', ref: from.ref, into: into.ref }) as const);
  const ids = merges.map(({ from, into }) => ({ ticketId: from.id, intoId: into.id }));
  return { ...decision, links, merges: ids, changes: [...merged, ...decision.changes] };
}

/** A mail to two mailboxes, that both belong to a ticket of one of them, is in there once. */
function copyIn(ticket: LookupTicket, { parsed }: Mail, state: BatchState) {
  return state.copiesOf(parsed).find((copy) => copy.ticket.id === ticket.id);
}

/** True for what brings a ticket back to those who work on it: not machines, not ourselves. */
function isAnswer({ kind, isOwn, threadKeys }: Candidate): boolean {
  return !neverOpensTicket(kind) && !isOwn && !threadKeys.isAutomatic;
}

/** Opens a ticket; `continued` is the closed one that the mail would have joined. */
function opened(mail: Mail, state: BatchState, maker: BatchContext, continued: LookupTicket | null): Decision {
  const { parsed, candidate, arrivedAtMs } = mail;
  const represented = state.isHelpdeskAddress(candidate.threadKeys.sender)
    ? representedBy(parsed, candidate.isOwn ? state.isOwn : state.isHelpdeskAddress)
    : null;
  if (candidate.isOwn && represented === null && !maker.isReleased) return quarantined(mail, 'own_address', state);
  const from: LinkSource = { candidate, parsed, continued };
  const isApart = candidate.threadKeys.isForward || continued !== null;
  const missing = isApart ? [] : missingOf(mail, state, maker);
  const ticket = newTicket(parsed, represented ?? requesterOf(parsed), arrivedAtMs, missing.length > 0, maker);
  const known = {
    ...ticket,
    mailboxId: maker.mailboxId,
    status: 'open',
    closedAtMs: null,
    requesterAddress: ticket.requester.address,
  };
  const message: NewMessage = {
    id: maker.newId(),
    ticketId: ticket.id,
    threadRule: null,
    receivedAtMs: arrivedAtMs,
    parsed,
    missing,
  };
  const links = linksOf(from, state).map(({ other, reason }) => ({ ticketId: ticket.id, otherId: other.id, reason }));
  state.add(message, known);
  if (continued !== null) state.noteContinuation(continued.id, known);
  const outcome = {
    ...mail.place,
    outcome: 'ticket_opened',
    reason: null,
    ticketId: ticket.id,
    messageId: message.id,
  } as const;
  return { ...nothing, ref: ticket.ref, ticket, message, outcome, links };
}

type Into = { readonly ticket: LookupTicket | null; readonly rule: ThreadRule | null; readonly reason: string | null };

/** Stores the mail in a ticket, or recorded (`reason`). */
function stored(mail: Mail, state: BatchState, maker: BatchContext, { ticket, rule, reason }: Into): Decision {
  const { parsed, arrivedAtMs: receivedAtMs, candidate, place } = mail;
  const ticketId = ticket?.id ?? null;
  const missing = reason === null ? missingOf(mail, state, maker) : [];
  const message: NewMessage = { id: maker.newId(), ticketId, threadRule: rule, receivedAtMs, parsed, missing };
  const answers = ticket !== null && reason === null && isAnswer(candidate);
  const now =
    ticket !== null && answers && ticket.status === 'closed' ? { ...ticket, status: 'open', closedAtMs: null } : ticket;
  const isReopened = now !== null && now !== ticket;
  if (isReopened) state.replace(now.id, now);
  state.add(message, now);
  const outcome = {
    ...place,
    outcome: reason === null ? 'reply_added' : 'recorded',
    reason,
    ticketId,
    messageId: message.id,
  } as const;
  const changes = isReopened ? [{ what: 'reopened', ref: now.ref } as const] : [];
  return { ...nothing, ref: ticket?.ref ?? null, message, outcome, answered: answers ? ticketId : null, changes };
}

/** Message-IDs that the mail names and that are not here: who turns up with one of them belongs to it. */
function missingOf(
  { threadKeys, candidate }: Mail,
  { stored: { withId } }: BatchState,
  { mailboxId }: BatchContext,
): readonly string[] {
  if (neverOpensTicket(candidate.kind) || candidate.isOwn) return [];
  const ids = threadKeys.referencedIds.filter(
    ({ id }) => !withId(id).some((message) => message.mailboxId === mailboxId),
  );
  return ids.map(({ id }) => id);
}

function newTicket(
  parsed: ParsedMessage,
  requester: Address,
  createdAtMs: number,
  isOrphan: boolean,
  { newId, newRef }: BatchContext,
): NewTicket {
  // The ticket gets a placeholder, the message keeps its empty subject.
  const subject = parsed.subject.trim() === '' ? '(no subject)' : parsed.subject;
  return { id: newId(), ref: newRef(), subject, requester, createdAtMs, isOrphan };
}

/** The sender, or the first Reply-To address where there is none. */
function requesterOf({ from, replyTo }: ParsedMessage): Address {
  return from ?? replyTo[0] ?? { name: '', address: '' };
}

/** What is not stored as a message stays untouched on the server. */
function setAside(arrival: Exclude<StoredMessage, { what: 'parsed' }>): Decision {
  const { uid, sizeBytes, receivedAtMs } = arrival;
  const place = { uid, sizeBytes, receivedAtMs, actionPending: false, ticketId: null, messageId: null, dedupKey: null };
  const [outcome, reason, raw] =
    arrival.what === 'vanished'
      ? (['vanished', null, null] as const)
      : (['quarantined', arrival.reason, arrival.raw as StoredSource | null] as const);
  const headMessageId = arrival.what === 'vanished' ? undefined : arrival.headMessageId;
  return { ...nothing, outcome: { ...place, outcome, reason, raw, headMessageId } };
}
