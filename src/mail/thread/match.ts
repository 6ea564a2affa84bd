/**
 * Message threading: finds the ticket that a message belongs to, from its thread keys and what is stored.
 *
 * Rules run in order and the first match decides: Message-IDs that the message references or that a report is about,
 * the nearest first, those of its own mailbox first; a reply token; messages that arrived out of order; at last a tag
 * in subject or text, which counts only for a participant of that ticket. A forward is no reply: only a reply token in
 * a recipient address takes it into a ticket. Pure; never fails.
 */
import type { MessageKind } from '../message.ts';
import type { ThreadKeys } from './keys.ts';
import { type ReplyToken, tokenInMessageId } from './reply-token.ts';

/**
 * Why a message joined its ticket. `descendant`: a stored message references it; `sibling`: a stored message references
 * the same message, which is not stored; `own`: the helpdesk sent it, and it came back.
 */
export type ThreadRule =
  | 'reported'
  | 'in_reply_to'
  | 'references'
  | 'reply_token'
  | 'descendant'
  | 'sibling'
  | 'subject_tag'
  | 'body_tag'
  | 'own';

type Ticket = { readonly id: string; readonly mailboxId: string };

/** Lookups in what is stored. A deleted ticket is null. */
export type StoredThreads<T extends Ticket> = {
  /** Messages of that Message-ID in all mailboxes, oldest first. */
  readonly withId: (id: string) => readonly { readonly mailboxId: string; readonly ticket: T | null }[];
  /** Messages of the same mailbox that reference that Message-ID, oldest first. Addresses in lower case. */
  readonly referencing: (id: string) => readonly StoredReference<T>[];
  readonly ticketOf: (ref: string) => T | null;
  readonly isParticipant: (ticket: T, address: string) => boolean;
  /** True for a token that was made with the key of this installation. */
  readonly isValidToken: (token: ReplyToken) => boolean;
};

type StoredReference<T> = {
  readonly ticket: T | null;
  readonly from: string;
  readonly recipients: readonly string[];
};

/** A message to be threaded. `isOwn`: its sender is an address of that mailbox. Addresses in lower case. */
export type Candidate = {
  readonly threadKeys: ThreadKeys;
  readonly mailboxId: string;
  readonly kind: MessageKind;
  readonly isOwn: boolean;
  readonly recipients: () => readonly string[];
};

type Match<T> = { readonly ticket: T; readonly rule: ThreadRule };

type ThreadingRule = {
  readonly appliesToForwards: boolean;
  /** Applies to messages from addresses of their own mailbox. */
  readonly appliesToOwn: boolean;
  readonly find: <T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>) => Match<T> | null;
};

const rules: readonly ThreadingRule[] = [
  { appliesToForwards: false, appliesToOwn: true, find: byReferencedId },
  { appliesToForwards: true, appliesToOwn: true, find: byRecipient },
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
  return (byReferencedId(candidate, stored) ?? (candidate.isOwn ? null : byTag(candidate, stored)))?.ticket ?? null;
}

/**
 * Tickets of its mailbox that the message connects into one conversation, each once; none for forwards and programs.
 */
export function connectedTickets<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): readonly T[] {
  if (candidate.threadKeys.isForward || candidate.isOwn || neverOpensTicket(candidate.kind)) return [];
  const { referencedIds } = candidate.threadKeys;
  const ancestors = referencedIds.flatMap(({ id }) =>
    stored.withId(id).filter(({ mailboxId }) => mailboxId === candidate.mailboxId),
  );
  const found = [...ancestors, ...descendants(candidate, stored), ...siblings(candidate, stored)].flatMap(
    ({ ticket }) => ticket ?? [],
  );
  return [...new Map(found.map((ticket) => [ticket.id, ticket])).values()];
}

/** True for kinds that a program writes about another message, or in reply to one: they never open a ticket. */
export function neverOpensTicket(kind: MessageKind): boolean {
  return kind === 'bounce' || kind === 'auto_reply' || kind === 'feedback_report' || kind === 'read_receipt';
}

/** Kinds whose sender and recipients become participants of the ticket; a program may name any address. */
export const participantKinds: readonly MessageKind[] = ['human', 'list'];

/** Local parts of mail servers (RFC 2142 section 5, and what most of them send their reports from). */
const serverNames: ReadonlySet<string> = new Set(['mailer-daemon', 'postmaster']);

/** False for addresses of mail servers, which never are participants. `address` in lower case. */
export function canParticipate(address: string): boolean {
  const [name = ''] = address.slice(0, Math.max(address.lastIndexOf('@'), 0)).split('+');
  return address !== '' && !serverNames.has(name);
}

/** What a program passes on is a report, not a forward. */
function isHumanForward({ threadKeys, kind }: Candidate): boolean {
  return threadKeys.isForward && !neverOpensTicket(kind);
}

/** First messages of the own mailbox, and valid tokens in any referenced id; then messages of other mailboxes. */
function byReferencedId<T extends Ticket>(
  { threadKeys, mailboxId }: Candidate,
  stored: StoredThreads<T>,
): Match<T> | null {
  for (const { id, rule } of threadKeys.referencedIds) {
    const inMailbox = stored.withId(id).find((message) => message.mailboxId === mailboxId && message.ticket !== null);
    if (inMailbox !== undefined && inMailbox.ticket !== null) return { ticket: inMailbox.ticket, rule };
    const ticket = ticketOfTokens([tokenInMessageId(id)], stored);
    if (ticket !== null) return { ticket, rule: rule === 'reported' ? rule : 'reply_token' };
  }
  for (const { id, rule } of threadKeys.referencedIds) {
    const ticket = stored.withId(id).find((message) => message.ticket !== null)?.ticket ?? null;
    if (ticket !== null) return { ticket, rule };
  }
  return null;
}

function byRecipient<T extends Ticket>({ threadKeys }: Candidate, stored: StoredThreads<T>): Match<T> | null {
  const ticket = ticketOfTokens([...threadKeys.recipientTokens, threadKeys.ownToken], stored);
  return ticket === null ? null : { ticket, rule: 'reply_token' };
}

function ticketOfTokens<T extends Ticket>(tokens: readonly (ReplyToken | null)[], stored: StoredThreads<T>): T | null {
  for (const token of tokens) {
    const ticket = token === null ? null : stored.ticketOf(token.ref);
    if (token !== null && ticket !== null && stored.isValidToken(token)) return ticket;
  }
  return null;
}

/** Messages that reference this one and involve its sender: the id alone may have gone to many recipients. */
function descendants<T extends Ticket>(
  { threadKeys }: Candidate,
  stored: StoredThreads<T>,
): readonly StoredReference<T>[] {
  return stored.referencing(threadKeys.messageId).filter(involves(threadKeys.sender));
}

/**
 * Messages that reference the same message, which is not stored, and involve the sender: a circular to hundreds has one
 * Message-ID for all of them, and the replies to it have nothing to do with each other.
 */
function siblings<T extends Ticket>(candidate: Candidate, stored: StoredThreads<T>): readonly StoredReference<T>[] {
  const { sender, referencedIds } = candidate.threadKeys;
  if (sender === '') return [];
  return referencedIds
    .filter(({ id }) => !stored.withId(id).some(({ mailboxId }) => mailboxId === candidate.mailboxId))
    .flatMap(({ id }) => stored.referencing(id))
    .filter(involves(sender));
}

/**
 * True for messages from that sender or to it. The claim of a newcomer is no proof: the stored message must name him.
 */
function involves(sender: string): (message: StoredReference<unknown>) => boolean {
  return ({ from, recipients }) => sender !== '' && (from === sender || recipients.includes(sender));
}

function firstMatch<T extends Ticket>(
  rule: ThreadRule,
  found: readonly { readonly ticket: T | null }[],
): Match<T> | null {
  const ticket = found.find((message) => message.ticket !== null)?.ticket ?? null;
  return ticket === null ? null : { ticket, rule };
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
