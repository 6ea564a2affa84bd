/**
 * Decision rules: what becomes of each fetched message: ticket, reply, record, duplicate, quarantined or vanished.
 *
 * A message is a duplicate only when mailbox, Message-ID and content are all the same (a folder with a new UIDVALIDITY,
 * a crash between fetch and commit), even if its message and ticket were deleted since; the same Message-ID with other
 * content is another message. Messages of one batch see each other, in the order of their UIDs. Pure: what is stored,
 * ids, references and the time are passed in.
 */

import type { Address, ParsedMessage } from '../../mail/message.ts';
import type { ThreadKeys } from '../../mail/thread/keys.ts';
import { type Candidate, findTicket, missingIds, neverOpensTicket, type ThreadRule } from '../../mail/thread/match.ts';
import { peopleOf } from '../../mail/thread/people.ts';
import type { LookupFacts, LookupTicket } from '../batch-lookup.ts';
import type { StoredMessage } from '../fetch/fetched-message.ts';
import {
  type NewMessage,
  type NewOutcome,
  type NewTicket,
  type Outcome,
  outcomeRules,
  type QuarantineReason,
  type TicketLink,
  type TicketMerge,
} from '../model.ts';
import { type BatchContext, type BatchState, batchState } from './batch-context.ts';
import { floodReason, isLooping, representedBy } from './loop-protection.ts';
import { linksOf, mergesOf, ticketForReply } from './ticket-relations.ts';

export type Decision = {
  /** Reference of the ticket that the message opened or joined, for the log. */
  readonly ref: string | null;
  readonly ticket: NewTicket | null;
  readonly message: NewMessage | null;
  readonly outcome: NewOutcome;
  readonly links: readonly TicketLink[];
  readonly merges: readonly TicketMerge[];
  /** The ticket that a person answered, to be reopened if it is closed; or null. */
  readonly answered: string | null;
  /** Further changes of tickets, for the log. */
  readonly changes: readonly TicketChange[];
};

/** By reference: a closed ticket was answered; one ticket was merged into another. */
type TicketChange =
  | { readonly what: 'reopened'; readonly ref: string }
  | { readonly what: 'merged'; readonly ref: string; readonly into: string };

/** A message to decide about. `base`: what its outcome has in any case. */
type Incoming = {
  readonly parsed: ParsedMessage;
  readonly threadKeys: ThreadKeys;
  readonly candidate: Candidate;
  readonly arrivedAtMs: number;
  readonly base: Pick<NewOutcome, 'uid' | 'sizeBytes' | 'receivedAtMs' | 'raw' | 'dedupKey'>;
};

const nothing = { ref: null, ticket: null, message: null, links: [], merges: [], answered: null, changes: [] };

/** One decision for each message, in order. */
export function decide(
  batch: readonly StoredMessage[],
  found: LookupFacts,
  context: BatchContext,
): readonly Decision[] {
  const state = batchState(found, context);
  return batch.map((message) =>
    message.what === 'parsed'
      ? decideParsed(incoming(message, state, context), state, context)
      : notParsed(message, context),
  );
}

function incoming(message: StoredMessage & { what: 'parsed' }, state: BatchState, context: BatchContext): Incoming {
  const { uid, sizeBytes, receivedAtMs, parsed, threadKeys, dedupKey, raw } = message;
  return {
    ...{ parsed, threadKeys },
    candidate: {
      ...{ threadKeys, mailboxId: context.mailboxId, kind: parsed.kind },
      isOwn: threadKeys.sender !== '' && state.isOwn(threadKeys.sender),
      people: once(() => peopleOf(parsed)),
    },
    arrivedAtMs: receivedAtMs ?? context.nowMs,
    base: { uid, sizeBytes, receivedAtMs, raw, dedupKey },
  };
}

function once<T>(make: () => T): () => T {
  let made: { readonly value: T } | null = null;
  return () => {
    made ??= { value: make() };
    return made.value;
  };
}

type PostActionChoice = Pick<BatchContext, 'hasPostAction'>;

/** The outcome to store. Its post-action is pending where the mailbox has one and the rules of the outcome run it. */
function newOutcome(
  outcome: Outcome,
  values: Omit<NewOutcome, 'outcome' | 'actionPending'>,
  { hasPostAction }: PostActionChoice,
): NewOutcome {
  return { ...values, outcome, actionPending: hasPostAction && outcomeRules[outcome].runsPostAction };
}

function notParsed(message: Exclude<StoredMessage, { what: 'parsed' }>, context: BatchContext): Decision {
  const { uid, sizeBytes, receivedAtMs } = message;
  const base = { uid, sizeBytes, receivedAtMs, ticketId: null, messageId: null, dedupKey: null };
  if (message.what === 'vanished')
    return { ...nothing, outcome: newOutcome('vanished', { ...base, reason: null, raw: null }, context) };
  const { reason, raw, headMessageId } = message;
  return { ...nothing, outcome: newOutcome('quarantined', { ...base, reason, raw, headMessageId }, context) };
}

/** The first rule that applies decides. */
function decideParsed(message: Incoming, state: BatchState, context: BatchContext): Decision {
  return (
    seenBefore(message, state, context) ??
    sentByHelpdesk(message, state, context) ??
    quarantinedAsLoop(message, state, context) ??
    threaded(message, state, context)
  );
}

/** A message that was handled before: only its outcome is stored. */
function seenBefore(message: Incoming, state: BatchState, context: BatchContext): Decision | null {
  const stored = state.duplicateOf(message.parsed);
  if (stored !== null) return duplicate(message, stored.id, stored.ticket, context);
  const handled = message.base.dedupKey === null ? null : state.handledAs(message.base.dedupKey);
  if (handled === 'stored') return duplicate(message, null, null, context);
  // Its source is in quarantine: like that one, it stays untouched on the server.
  return handled === 'quarantined' ? duplicate(message, null, null, { hasPostAction: false }) : null;
}

function duplicate(
  { base }: Incoming,
  messageId: string | null,
  ticket: LookupTicket | null,
  choice: PostActionChoice,
): Decision {
  const values = { ...base, reason: 'seen_before', ticketId: ticket?.id ?? null, messageId };
  return { ...nothing, ref: ticket?.ref ?? null, outcome: newOutcome('duplicate', values, choice) };
}

/**
 * A message that the helpdesk sent and that came back belongs to its ticket and is not news. The sender must be an
 * address of the helpdesk: every recipient of a message of the ticket knows its token.
 */
function sentByHelpdesk(message: Incoming, state: BatchState, context: BatchContext): Decision | null {
  const { ownToken, sender } = message.threadKeys;
  if (ownToken === null || !state.isHelpdeskAddress(sender) || !state.stored.isValidToken(ownToken)) return null;
  const ticket = state.stored.ticketOf(ownToken.ref);
  return stored(message, state, context, { ticket, rule: ticket === null ? null : 'own', reason: 'own_mail' });
}

function quarantinedAsLoop(message: Incoming, state: BatchState, context: BatchContext): Decision | null {
  return isLooping(message, context) ? quarantined(message, 'mail_loop', state, context) : null;
}

/** Quarantined with its source. */
function quarantined({ base }: Incoming, reason: QuarantineReason, state: BatchState, context: BatchContext): Decision {
  if (base.dedupKey !== null) state.noteQuarantined(base.dedupKey);
  const values = { ...base, reason, ticketId: null, messageId: null };
  return { ...nothing, outcome: newOutcome('quarantined', values, context) };
}

/** Joins the ticket that threading finds, opens one, or is recorded without one; beyond its limit it is quarantined. */
function threaded(message: Incoming, state: BatchState, context: BatchContext): Decision {
  const { parsed, candidate } = message;
  const match = findTicket(candidate, state.stored) ?? repeated(message, state);
  const flood = floodReason(message, match, state, context);
  if (flood !== null) return quarantined(message, flood, state, context);
  if (match === null && neverOpensTicket(parsed.kind))
    return stored(message, state, context, { ticket: null, rule: null, reason: parsed.kind });
  if (match === null) return opened(message, state, context, null);
  const target = isAnswer(candidate, match.rule)
    ? ticketForReply(match.ticket, message.arrivedAtMs, state, context.rules)
    : { joined: match.ticket };
  if (target.joined === null) return opened(message, state, context, target.continued);
  const { joined } = target;
  const copy = joined.mailboxId === context.mailboxId ? undefined : copyIn(joined, message, state);
  if (copy !== undefined) return duplicate(message, copy.id, joined, context);
  const { merges, links } = mergesOf(candidate, joined, state);
  const ticket = merges[0]?.into ?? joined;
  const decision = stored(message, state, context, { ticket, rule: match.rule, reason: null });
  const merged = merges.map(({ from, into }) => ({ what: 'merged', ref: from.ref, into: into.ref }) as const);
  const ids = merges.map(({ from, into }) => ({ ticketId: from.id, intoId: into.id }));
  return { ...decision, links, merges: ids, changes: [...merged, ...decision.changes] };
}

/** Equal messages of an hour that each open a ticket: two alarms are two tickets, also where they say the same. */
const equalMessagesMax = 5;

/** A notice joins the ticket of equal ones: of the one before, if a program marked it, else from the sixth one on. */
function repeated({ candidate, arrivedAtMs }: Incoming, state: BatchState) {
  const { repeatKey, isAutomatic } = candidate.threadKeys;
  if (repeatKey === null || candidate.isOwn) return null;
  const { count, ticket } = state.repeated(repeatKey, arrivedAtMs);
  return ticket === null || count < (isAutomatic ? 1 : equalMessagesMax) ? null : { ticket, rule: 'repeat' as const };
}

/** A message to two mailboxes that belongs to a ticket of one of them is stored in that ticket once. */
function copyIn(ticket: LookupTicket, { parsed }: Incoming, state: BatchState) {
  return state.copiesOf(parsed).find((copy) => copy.ticket.id === ticket.id);
}

/** True for what reopens a ticket: not for copies, and messages of machines and of the helpdesk. */
function isAnswer({ kind, isOwn, threadKeys }: Candidate, rule: ThreadRule | null): boolean {
  return rule !== 'copy' && !neverOpensTicket(kind) && !isOwn && !threadKeys.isAutomatic;
}

/** Opens a ticket; `continued` is the closed one that the message would have joined. */
function opened(message: Incoming, state: BatchState, context: BatchContext, continued: LookupTicket | null): Decision {
  const { parsed, candidate, arrivedAtMs } = message;
  const represented = state.isHelpdeskAddress(candidate.threadKeys.sender)
    ? representedBy(parsed, candidate.isOwn ? state.isOwn : state.isHelpdeskAddress)
    : null;
  if (candidate.isOwn && represented === null && !context.isReleased)
    return quarantined(message, 'own_address', state, context);
  const isApart = candidate.threadKeys.isForward || continued !== null;
  const missing = isApart ? [] : missingOf(message, state);
  const ticket = newTicket(parsed, represented ?? requesterOf(parsed), arrivedAtMs, missing.length > 0, context);
  const asStored = {
    ...{ ...ticket, mailboxId: context.mailboxId, status: 'open', closedAtMs: null },
    requesterAddress: ticket.requester.address,
  };
  const row: NewMessage = {
    ...{ id: context.newId(), ticketId: ticket.id, threadRule: null },
    ...{ receivedAtMs: arrivedAtMs, parsed, missing, repeatKey: candidate.threadKeys.repeatKey },
  };
  const related = linksOf({ candidate, parsed, continued }, state);
  const links = related.map(({ other, reason }) => ({ ticketId: ticket.id, otherId: other.id, reason }));
  state.add(row, asStored, candidate);
  if (continued !== null) state.noteContinuation(continued.id, asStored);
  const values = { ...message.base, ticketId: ticket.id, messageId: row.id, reason: null };
  const outcome = newOutcome('ticket_opened', values, context);
  return { ...nothing, ref: ticket.ref, ticket, message: row, outcome, links };
}

type Target = {
  readonly ticket: LookupTicket | null;
  readonly rule: ThreadRule | null;
  readonly reason: string | null;
};

/** Stores the message in a ticket, or as recorded (`reason`). */
function stored(
  message: Incoming,
  state: BatchState,
  context: BatchContext,
  { ticket, rule, reason }: Target,
): Decision {
  const { parsed, arrivedAtMs: receivedAtMs, candidate, base } = message;
  const ticketId = ticket?.id ?? null;
  const missing = reason === null ? missingOf(message, state) : [];
  const { repeatKey } = candidate.threadKeys;
  const row: NewMessage = { id: context.newId(), ticketId, threadRule: rule, receivedAtMs, parsed, missing, repeatKey };
  const answers = ticket !== null && reason === null && isAnswer(candidate, rule);
  const now =
    ticket !== null && answers && ticket.status === 'closed' ? { ...ticket, status: 'open', closedAtMs: null } : ticket;
  const isReopened = now !== null && now !== ticket;
  if (isReopened) state.replace(now.id, now);
  state.add(row, now, candidate);
  const name = reason === null ? 'reply_added' : 'recorded';
  const outcome = newOutcome(name, { ...base, reason, ticketId, messageId: row.id }, context);
  const changes = isReopened ? [{ what: 'reopened', ref: now.ref } as const] : [];
  return { ...nothing, ref: ticket?.ref ?? null, message: row, outcome, answered: answers ? ticketId : null, changes };
}

/** Referenced Message-IDs that are not stored: a message that arrives later with one of them may belong to this one. */
function missingOf({ candidate }: Incoming, { stored }: BatchState): readonly string[] {
  return neverOpensTicket(candidate.kind) || candidate.isOwn ? [] : missingIds(candidate, stored);
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
