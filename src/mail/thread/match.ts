/**
 * Message threading: finds the ticket that a message belongs to, from its thread keys and what is stored.
 *
 * Rules run in order and the first match decides: a reply token in a recipient address; Message-IDs that the message
 * references or that a report is about, the nearest first, those that the helpdesk sent or of its own mailbox first,
 * where its people fit (people.ts) or the id has a token; messages that arrived out of order; at last a tag in subject
 * or text, which counts only for a participant of that ticket. A forward is no reply: only a token in a recipient
 * address takes it into a ticket. Pure; never fails.
 */
import type { MessageKind } from '../message.ts';
import { type CopyContent, comparedCopiesMax, isCopy, isSameDate } from './copies.ts';
import type { ThreadKeys } from './keys.ts';
import { canParticipate, fitOf, fitsHelpdesk, isReport, knowEachOther, type MessagePeople } from './people.ts';
import { type ReplyToken, tokenInMessageId } from './reply-token.ts';

/**
 * Why a message joined its ticket. `copy`: it is the message that opened the ticket, with additions of a list;
 * `descendant`: a stored message references it; `sibling`: a stored message references the same message, which is not
 * stored; `repeat`: the same was sent within the hour; `own`: the helpdesk sent it, and it came back.
 */
export type ThreadRule =
  | 'reported'
  | 'in_reply_to'
  | 'references'
  | 'reply_token'
  | 'copy'
  | 'descendant'
  | 'sibling'
  | 'subject_tag'
  | 'body_tag'
  | 'repeat'
  | 'own';

/**
 * Evidence for a ticket that a forged From alone does not give: a reply token, or a Message-ID of the ticket. `report`:
 * either of them, in a delivery report, complaint or receipt.
 */
export type TicketTie = 'token' | 'message_id' | 'report';

/** The rules that tie a message to its ticket. */
export const ruleTies: { readonly [R in ThreadRule]?: TicketTie } = {
  reply_token: 'token',
  in_reply_to: 'message_id',
  references: 'message_id',
  copy: 'message_id',
};

/**
 * Rules of messages that have the same people as the one that opened the ticket, and that one itself (null): copies and
 * repeats join these alone, so that nothing takes a message into a ticket of other people.
 */
export const openingRules: readonly (ThreadRule | null)[] = [null, 'copy', 'repeat'];

/** What ties a message of that kind to the ticket that the rule found; undefined: nothing but its From. */
export function tieOf(kind: MessageKind, rule: ThreadRule): TicketTie | undefined {
  return isReport(kind) ? 'report' : ruleTies[rule];
}

type Ticket = {
  readonly id: string;
  readonly mailboxId: string;
  readonly requesterAddress: string;
  readonly status: string;
};

type StoredMessage<T> = {
  readonly mailboxId: string;
  readonly ticket: T | null;
  readonly people: MessagePeople;
  /** Of a message that opened its ticket, or is a copy of that one; null: it is neither, or it was not read. */
  readonly copied: CopyContent | null;
};

/** Lookups in what is stored. A deleted ticket is null. */
export type StoredThreads<T extends Ticket> = {
  /** Messages of that Message-ID in all mailboxes, oldest first. */
  readonly withId: (id: string) => readonly StoredMessage<T>[];
  /** The ticket in which the helpdesk sent a message with that Message-ID, as it says itself; null for none. */
  readonly sentIn: (id: string) => T | null;
  /** Messages of the same mailbox that reference that Message-ID, oldest first. */
  readonly referencing: (id: string) => readonly StoredReference<T>[];
  readonly ticketOf: (ref: string) => T | null;
  readonly isParticipant: (ticket: T, address: string) => boolean;
  /** True for a token that was made with the key of this installation. */
  readonly isValidToken: (token: ReplyToken) => boolean;
  /** True for an address of any mailbox of the helpdesk. */
  readonly isOurs: (address: string) => boolean;
  /** True for the mailbox of the message, and for others of its account. */
  readonly isHere: (mailboxId: string) => boolean;
};

type StoredReference<T> = { readonly ticket: T | null; readonly people: MessagePeople };

/** A message to be threaded. `isOwn`: its sender is an address of that mailbox. */
export type Candidate = {
  readonly threadKeys: ThreadKeys;
  readonly mailboxId: string;
  readonly kind: MessageKind;
  readonly isOwn: boolean;
  readonly people: () => MessagePeople;
};

type Match<T> = { readonly ticket: T; readonly rule: ThreadRule };

type ThreadingRule = {
  readonly appliesToForwards: boolean;
  /** Applies to messages from addresses of their own mailbox. */
  readonly appliesToOwn: boolean;
  readonly find: <T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>) => Match<T> | null;
};

const rules: readonly ThreadingRule[] = [
  { appliesToForwards: true, appliesToOwn: true, find: ({ threadKeys }, s) => byToken(threadKeys.recipientTokens, s) },
  { appliesToForwards: false, appliesToOwn: true, find: byReferencedId },
  { appliesToForwards: true, appliesToOwn: true, find: ({ threadKeys }, s) => byToken([threadKeys.ownToken], s) },
  { appliesToForwards: true, appliesToOwn: false, find: (...given) => firstMatch('copy', copiesHere(...given)) },
  { appliesToForwards: true, appliesToOwn: false, find: (...given) => firstMatch('descendant', descendants(...given)) },
  { appliesToForwards: false, appliesToOwn: false, find: (...given) => firstMatch('sibling', siblings(...given)) },
  { appliesToForwards: false, appliesToOwn: false, find: byTag },
];

/** The ticket that the message belongs to, and the rule that found it; null for none. */
export function findTicket<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): Match<T> | null {
  for (const rule of rules) {
    if ((isHumanForward(candidate) && !rule.appliesToForwards) || (candidate.isOwn && !rule.appliesToOwn)) continue;
    const match = rule.find(candidate, stored);
    if (match !== null) return match;
  }
  return null;
}

/** The ticket that a forward was forwarded from; null for none, and for a message that is no forward. */
export function forwardedFrom<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): T | null {
  if (!isHumanForward(candidate)) return null;
  const found = byReferencedId(candidate, stored)?.ticket ?? referencedTickets(candidate, stored)[0];
  return found ?? (candidate.isOwn ? null : (byTag(candidate, stored)?.ticket ?? null));
}

/** Tickets linked with a new one because of a Message-ID alone. */
const relatedMax = 5;

/**
 * Tickets of messages that the message references, and of those that reference it, without regard to their people;
 * each once, at most five. They are linked where the message joins none of them.
 */
export function relatedTickets<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): readonly T[] {
  const { messageId, content } = candidate.threadKeys;
  const answers = stored.referencing(messageId).flatMap(({ ticket }) => ticket ?? []);
  const claims = stored
    .withId(messageId)
    .flatMap(({ ticket, copied }) => (copied !== null && isSameDate(copied, content) ? (ticket ?? []) : []));
  return distinct([...referencedTickets(candidate, stored), ...answers, ...claims]).slice(0, relatedMax);
}

/** Tickets of other accounts that a copy of the message opened. */
export function copiedTickets<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): readonly T[] {
  const copies = [...copiesOf(candidate, stored, ({ mailboxId }) => !stored.isHere(mailboxId))];
  return copies.flatMap(({ ticket }) => ticket ?? []);
}

function referencedTickets<T extends Ticket>(
  { threadKeys, mailboxId }: Candidate,
  stored: StoredThreads<T>,
): readonly T[] {
  const sent = threadKeys.referencedIds.flatMap(({ id }) => stored.sentIn(id) ?? []);
  const messages = threadKeys.referencedIds.flatMap(({ id }) => stored.withId(id));
  const [here, elsewhere] = [true, false].map((isHere) =>
    messages.flatMap((message) =>
      message.ticket !== null && (message.mailboxId === mailboxId) === isHere ? message.ticket : [],
    ),
  );
  return [...sent, ...(here ?? []), ...(elsewhere ?? [])];
}

function distinct<T extends Ticket>(tickets: readonly T[]): readonly T[] {
  return [...new Map(tickets.map((ticket) => [ticket.id, ticket])).values()];
}

/**
 * Tickets of its mailbox that the message connects into one conversation, each once; none for forwards and programs.
 */
export function connectedTickets<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): readonly T[] {
  if (candidate.threadKeys.isForward || candidate.isOwn || neverOpensTicket(candidate.kind)) return [];
  const { referencedIds } = candidate.threadKeys;
  const ancestors = referencedIds.flatMap((reference) => followedHere(candidate, stored, reference));
  const sent = referencedIds.flatMap((reference) => sentTicket(candidate, stored, reference) ?? []);
  const found = [...ancestors, ...descendants(candidate, stored), ...siblings(candidate, stored)];
  return distinct([...sent, ...found.flatMap(({ ticket }) => ticket ?? [])]);
}

/** Referenced Message-IDs of which this mailbox has no message that fits: the original may still arrive. */
export function missingIds<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): readonly string[] {
  return candidate.threadKeys.referencedIds
    .filter(
      (reference) =>
        sentTicket(candidate, stored, reference) === null && followedHere(candidate, stored, reference).length === 0,
    )
    .map(({ id }) => id);
}

/** True for kinds that a program writes about another message, or in reply to one: they never open a ticket. */
export function neverOpensTicket(kind: MessageKind): boolean {
  return kind === 'bounce' || kind === 'auto_reply' || kind === 'feedback_report' || kind === 'read_receipt';
}

/** Kinds whose sender and recipients become participants of the ticket; a program may name any address. */
export const participantKinds: readonly MessageKind[] = ['human', 'list'];

/** What a program passes on is a report, not a forward. */
function isHumanForward({ threadKeys, kind }: Candidate): boolean {
  return threadKeys.isForward && !neverOpensTicket(kind);
}

/**
 * First what the helpdesk sent, which no other sender claims, messages of the own mailbox, and valid tokens in any
 * referenced id; then messages of other mailboxes.
 */
function byReferencedId<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): Match<T> | null {
  const { referencedIds } = candidate.threadKeys;
  for (const reference of referencedIds) {
    const { id, rule } = reference;
    const sent = sentTicket(candidate, stored, reference);
    if (sent !== null) return { ticket: sent, rule };
    const inMailbox = firstMatch(rule, followedHere(candidate, stored, reference));
    if (inMailbox !== null) return inMailbox;
    const ticket = ticketOfTokens([tokenInMessageId(id)], stored);
    if (ticket !== null) return { ticket, rule: rule === 'reported' ? rule : 'reply_token' };
  }
  for (const reference of referencedIds) {
    const match = firstMatch(reference.rule, followed(candidate, stored, reference));
    if (match !== null) return match;
  }
  return null;
}

type ReferencedId = ThreadKeys['referencedIds'][number];

/**
 * The ticket in which the helpdesk sent that id. An id may be guessed, and the recipients are not known: its answer is
 * from a participant, or fits as that to any message of the helpdesk.
 */
function sentTicket<T extends Ticket>(
  { threadKeys, people }: Candidate,
  stored: StoredThreads<T>,
  { id }: ReferencedId,
): T | null {
  const ticket = stored.sentIn(id);
  if (ticket === null) return null;
  const isParticipant = canParticipate(threadKeys.sender) && stored.isParticipant(ticket, threadKeys.sender);
  const { requesterAddress: requester } = ticket;
  const reference = { requester, isTagged: isTagged(threadKeys, ticket, stored), isOurs: stored.isOurs };
  return isParticipant || fitsHelpdesk(people(), reference) ? ticket : null;
}

function isTagged<T extends Ticket>({ subjectTags, textTags }: ThreadKeys, { id }: T, stored: StoredThreads<T>) {
  return [...subjectTags, ...textTags].some((ref) => stored.ticketOf(ref)?.id === id);
}

/** By candidate and reference: several rules ask for them, and many messages may claim each id. */
const followedBy = new WeakMap<Candidate, Map<ReferencedId, readonly StoredMessage<Ticket>[]>>();

/** Messages of that id whose people fit, the best fit first, of equal ones the oldest first. */
function followed<T extends Ticket>(
  candidate: Candidate,
  stored: StoredThreads<T>,
  reference: ReferencedId,
): readonly StoredMessage<T>[] {
  const byReference = followedBy.get(candidate) ?? new Map<ReferencedId, readonly StoredMessage<Ticket>[]>();
  followedBy.set(candidate, byReference);
  const known = byReference.get(reference) ?? fitting(candidate, stored, reference);
  byReference.set(reference, known);
  // A candidate is decided by the lookups of one batch alone.
  return known as readonly StoredMessage<T>[];
}

function fitting<T extends Ticket>(
  { threadKeys, people }: Candidate,
  stored: StoredThreads<T>,
  { id, isParent }: ReferencedId,
): readonly StoredMessage<T>[] {
  return stored
    .withId(id)
    .map((message) => {
      const { ticket } = message;
      const reference = {
        ...{ requester: ticket?.requesterAddress ?? '', isParent, isOurs: stored.isOurs },
        isTagged: ticket !== null && isTagged(threadKeys, ticket, stored),
      };
      return { message, fit: fitOf(people(), message.people, reference) };
    })
    .filter(({ fit }) => fit > 0)
    .sort((a, b) => b.fit - a.fit)
    .map(({ message }) => message);
}

function followedHere<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>, reference: ReferencedId) {
  return followed(candidate, stored, reference).filter(({ mailboxId }) => stored.isHere(mailboxId));
}

function byToken<T extends Ticket>(tokens: readonly (ReplyToken | null)[], stored: StoredThreads<T>): Match<T> | null {
  const ticket = ticketOfTokens(tokens, stored);
  return ticket === null ? null : { ticket, rule: 'reply_token' };
}

function ticketOfTokens<T extends Ticket>(tokens: readonly (ReplyToken | null)[], stored: StoredThreads<T>): T | null {
  for (const token of tokens) {
    const ticket = token === null ? null : stored.ticketOf(token.ref);
    if (token !== null && ticket !== null && stored.isValidToken(token)) return ticket;
  }
  return null;
}

/** Those in open tickets: what a closed one says may have been closed as the work of an attacker. */
function copiesHere<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): Iterable<StoredMessage<T>> {
  const { mailboxId } = candidate;
  return copiesOf(candidate, stored, (other) => other.mailboxId === mailboxId && other.ticket?.status !== 'closed');
}

/** Messages with its Message-ID that are the same, but for what a list added (copies.ts); lazily, of the oldest few. */
function copiesOf<T extends Ticket>(
  { threadKeys: { messageId, content }, kind, people }: Candidate,
  stored: StoredThreads<T>,
  isWanted: (message: StoredMessage<T>) => boolean,
): IteratorObject<StoredMessage<T>> {
  const claims = neverOpensTicket(kind) ? [] : stored.withId(messageId);
  return claims
    .values()
    .flatMap((other) =>
      other.copied !== null && isSameDate(other.copied, content) && isWanted(other)
        ? [{ other, copied: other.copied }]
        : [],
    )
    .take(comparedCopiesMax)
    .filter(({ other, copied }) => isCopy([content, people()], [copied, other.people], stored.isOurs))
    .map(({ other }) => other);
}

/** Messages that reference this one, by people it knows: the id alone may have gone to many recipients. */
function descendants<T extends Ticket>(
  { threadKeys, people }: Candidate,
  { referencing, isOurs }: StoredThreads<T>,
): readonly StoredReference<T>[] {
  return referencing(threadKeys.messageId).filter((answer) => knowEachOther(people(), answer.people, isOurs));
}

/**
 * Messages that reference the same message, which is not stored, by people it knows: a circular to hundreds has one
 * Message-ID for all of them, and the replies to it have nothing to do with each other.
 */
function siblings<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): readonly StoredReference<T>[] {
  return missingIds(candidate, stored)
    .flatMap((id) => stored.referencing(id))
    .filter(({ people }) => knowEachOther(candidate.people(), people, stored.isOurs));
}

function firstMatch<T extends Ticket>(
  rule: ThreadRule,
  found: Iterable<{ readonly ticket: T | null }>,
): Match<T> | null {
  for (const { ticket } of found) if (ticket !== null) return { ticket, rule };
  return null;
}

/** Any sender can write a tag: it counts only for participants of the ticket. */
function byTag<T extends Ticket>({ threadKeys }: Candidate, stored: StoredThreads<T>): Match<T> | null {
  if (!canParticipate(threadKeys.sender)) return null;
  for (const [rule, refs] of [
    ['subject_tag', threadKeys.subjectTags],
    ['body_tag', threadKeys.textTags],
  ] as const) {
    for (const ref of refs) {
      const ticket = stored.ticketOf(ref);
      if (ticket !== null && stored.isParticipant(ticket, threadKeys.sender)) return { ticket, rule };
    }
  }
  return null;
}
