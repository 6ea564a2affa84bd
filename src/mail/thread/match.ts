/**
 * Which ticket a mail belongs to, from what is known: pure.
 *
 * The rules are tried in their order, and the first that finds a ticket decides: Message-IDs that the mail names (RFC 5322
 * section 3.6.4) or that a report is about, the nearest first, in the own mailbox first; a reply token; mail that came too
 * early; at last a tag in subject or text, which counts only for somebody who takes part in that ticket. A forward is no
 * answer: a token in its recipient address alone takes it into a ticket. Nothing here fails.
 */

import type { Address, MessageKind, ParsedMessage } from '../message.ts';
import { isForward, subjectKind } from '../quote/forward.ts';
import { type ReplyToken, tokenInMessageId, tokensInAddresses } from './reply-token.ts';

/**
 * Why a mail joined the ticket that it joined. `descendant`: a stored message names it; `sibling`: one names the same mail,
 * which is not here; `own`: the helpdesk sent it, and it came back.
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

/** What is stored, as far as a mail may ask. A ticket that is gone is null. */
export type StoredThreads<T extends Ticket> = {
  /** Messages of that Message-ID in all mailboxes, oldest first. */
  readonly withId: (id: string) => readonly { readonly mailboxId: string; readonly ticket: T | null }[];
  /** Messages of the mail's own mailbox that name that Message-ID, oldest first. Addresses in lower case. */
  readonly referencing: (id: string) => readonly ReferencingMessage<T>[];
  readonly ticketOf: (ref: string) => T | null;
  readonly isParticipant: (ticket: T, address: string) => boolean;
  /** Whether the token was made with the key of this installation. */
  readonly isValidToken: (token: ReplyToken) => boolean;
};

type ReferencingMessage<T> = {
  readonly ticket: T | null;
  readonly from: string;
  readonly recipients: readonly string[];
};

/** The mail that looks for its ticket. `isOwn`: from an address of that mailbox. Addresses in lower case. */
export type Candidate = {
  readonly threadKeys: ThreadKeys;
  readonly mailboxId: string;
  readonly kind: MessageKind;
  readonly isOwn: boolean;
  readonly recipients: () => readonly string[];
};

type Match<T> = { readonly ticket: T; readonly rule: ThreadRule };

type ThreadingRule = {
  /** Whether it holds for a forward, and for mail from addresses of its own mailbox. */
  readonly appliesToForwards: boolean;
  readonly appliesToOwn: boolean;
  readonly find: <T extends Ticket>(mail: Candidate, stored: StoredThreads<T>) => Match<T> | null;
};

/** Names of mail servers themselves (RFC 2142 section 5, and what most of them send their reports from). */
const serverNames: ReadonlySet<string> = new Set(['mailer-daemon', 'postmaster']);

const rules: readonly ThreadingRule[] = [
  { forwards: false, own: true, find: byReferencedId },
  { forwards: true, own: true, find: byRecipient },
  { forwards: true, own: false, find: byDescendant },
  { forwards: false, own: false, find: bySibling },
  { forwards: false, own: false, find: byTag },
];

/** The ticket that the mail belongs to, or null when it belongs to none. */
export function findTicket<T extends Ticket>(mail: Candidate, stored: StoredThreads<T>): Match<T> | null {
  for (const rule of rules) {
    if ((isHumanForward(mail) && !rule.forwards) || (mail.isOwn && !rule.own)) continue;
    const tie = rule.find(mail, stored);
    if (tie !== null) return tie;
  }
  return null;
}

/** The ticket of which the mail is a forward; null for none, and for a mail that is no forward. */
export function forwardedFrom<T extends Ticket>(mail: Candidate, stored: StoredThreads<T>): T | null {
  if (!isHumanForward(mail)) return null;
  return (byReferencedId(mail, stored) ?? (mail.isOwn ? null : byTag(mail, stored)))?.ticket ?? null;
}

/** Tickets of its mailbox that the mail shows to be one conversation, each once. A forward, or a machine, shows nothing. */
export function connectedTickets<T extends Ticket>(mail: Candidate, stored: StoredThreads<T>): readonly T[] {
  if (mail.threadKeys.isForward || mail.isOwn || neverOpensTicket(mail.kind)) return [];
  const { referencedIds: named } = mail.threadKeys;
  const ancestors = named.flatMap(({ id }) =>
    stored.withId(id).filter(({ mailboxId }) => mailboxId === mail.mailboxId),
  );
  const found = [...ancestors, ...descendants(mail, stored), ...siblings(mail, stored)].flatMap(
    ({ ticket }) => ticket ?? [],
  );
  return [...new Map(found.map((ticket) => [ticket.id, ticket])).values()];
}

/** True for mail that a machine wrote about another mail, or in answer to one: it never opens a ticket. */
export function neverOpensTicket(kind: MessageKind): boolean {
  return kind === 'bounce' || kind === 'auto_reply' || kind === 'feedback_report' || kind === 'read_receipt';
}

/** Mail whose sender and recipients take part in its ticket: a machine names whom it likes. */
export const participantKinds: readonly MessageKind[] = ['human', 'list'];

/** Whether that address (lower-case) may use a tag at all: a mail server takes part in nothing. */
export function canParticipate(address: string): boolean {
  const [name = ''] = address.slice(0, Math.max(address.lastIndexOf('@'), 0)).split('+');
  return address !== '' && !serverNames.has(name);
}

/** What a machine passes on is a report, not a forward. */
function isHumanForward({ threadKeys: clues, kind }: Candidate): boolean {
  return clues.isForward && !neverOpensTicket(kind);
}

/** Messages of the own mailbox and our tokens first, of any id; then those of other mailboxes. */
function byReferencedId<T extends Ticket>(
  { threadKeys: clues, mailboxId }: Candidate,
  stored: StoredThreads<T>,
): Match<T> | null {
  for (const { id, rule } of clues.referencedIds) {
    const ours = stored.withId(id).find((message) => message.mailboxId === mailboxId && message.ticket !== null);
    if (ours !== undefined && ours.ticket !== null) return { ticket: ours.ticket, rule };
    const ticket = ticketOfTokens([tokenInMessageId(id)], stored);
    if (ticket !== null) return { ticket, rule: rule === 'reported' ? rule : 'reply_token' };
  }
  for (const { id, rule } of clues.referencedIds) {
    const ticket = stored.withId(id).find((message) => message.ticket !== null)?.ticket ?? null;
    if (ticket !== null) return { ticket, rule };
  }
  return null;
}

function byRecipient<T extends Ticket>({ threadKeys: clues }: Candidate, stored: StoredThreads<T>): Match<T> | null {
  const ticket = ticketOfTokens([...clues.recipientTokens, clues.ownToken], stored);
  return ticket === null ? null : { ticket, rule: 'reply_token' };
}

function ticketOfTokens<T extends Ticket>(tokens: readonly (ReplyToken | null)[], stored: StoredThreads<T>): T | null {
  for (const token of tokens) {
    const ticket = token === null ? null : stored.ticketOf(token.ref);
    if (token !== null && ticket !== null && stored.isValidToken(token)) return ticket;
  }
  return null;
}

function byDescendant<T extends Ticket>(mail: Candidate, stored: StoredThreads<T>): Match<T> | null {
  return firstMatch('descendant', descendants(mail, stored));
}

/** Messages that name this mail and whose people know its sender: its id alone may have come to many. */
function descendants<T extends Ticket>(
  { threadKeys: clues }: Candidate,
  stored: StoredThreads<T>,
): readonly ReferencingMessage<T>[] {
  return stored.referencing(clues.messageId).filter(involves(clues.sender));
}

/** True for messages from that sender or to it. What a newcomer says of himself is no proof: the stored mail has to know him. */
function involves(sender: string): (message: ReferencingMessage<unknown>) => boolean {
  return ({ from, recipients }) => sender !== '' && (from === sender || recipients.includes(sender));
}

function bySibling<T extends Ticket>(mail: Candidate, stored: StoredThreads<T>): Match<T> | null {
  return firstMatch('sibling', siblings(mail, stored));
}

function firstMatch<T extends Ticket>(
  rule: ThreadRule,
  found: readonly { readonly ticket: T | null }[],
): Match<T> | null {
  const ticket = found.find((message) => message.ticket !== null)?.ticket ?? null;
  return ticket === null ? null : { ticket, rule };
}

/**
 * Messages that name the same mail, which is not here, and know its sender: a circular that went to hundreds has one
 * Message-ID for all of them, and their answers have nothing to do with each other.
 */
function siblings<T extends Ticket>(mail: Candidate, stored: StoredThreads<T>): readonly ReferencingMessage<T>[] {
  const { sender, referencedIds: named } = mail.threadKeys;
  if (sender === '') return [];
  return named
    .filter(({ id }) => !stored.withId(id).some(({ mailboxId }) => mailboxId === mail.mailboxId))
    .flatMap(({ id }) => stored.referencing(id))
    .filter(involves(sender));
}

/** Anybody can write a reference: it counts for those alone who are in the conversation. */
function byTag<T extends Ticket>({ threadKeys: clues }: Candidate, stored: StoredThreads<T>): Match<T> | null {
  if (!canParticipate(clues.sender)) return null;
  for (const [rule, refs] of [
    ['subject_tag', clues.subjectTags],
    ['body_tag', clues.textTags],
  ] as const) {
    for (const ref of refs) {
      const ticket = stored.ticketOf(ref);
      if (ticket !== null && stored.isParticipant(ticket, clues.sender)) return { ticket, rule };
    }
  }
  return null;
}

/**
 * What in a mail may lead to a ticket: Message-IDs, reply tokens, references in its subject and text. Pure.
 *
 * A reference is written `[#261124-7KQ3MX]` where it is a tag; without the brackets it is only a mention. Nothing here is
 * believed: who may use a tag, and whether a token is ours, is decided in thread.ts.
 */

/** A Message-ID that the mail names, in the order of how much it tells. */
type ReferencedId = { readonly id: string; readonly rule: 'reported' | 'in_reply_to' | 'references' };

export type ThreadKeys = {
  readonly messageId: string;
  /** Each once: of the report, In-Reply-To, then References from the nearest on. */
  readonly referencedIds: readonly ReferencedId[];
  /** The token of its own Message-ID: a mail of the helpdesk that came back. */
  readonly ownToken: ReplyToken | null;
  readonly recipientTokens: readonly ReplyToken[];
  /** References of tickets, in upper case, each once. */
  readonly subjectTags: readonly string[];
  readonly textTags: readonly string[];
  /** Tags and mere mentions in the subject and at the beginning of the text. */
  readonly mentions: readonly string[];
  /** Address of From, lower-case; empty where there is none. */
  readonly sender: string;
  readonly isForward: boolean;
  /** A machine says of itself that it wrote this (RFC 3834 section 5, and `Precedence` before it). */
  readonly isAutomatic: boolean;
};

/** Of a long chain of References: the nearest ones, and the first, which began it. */
const referencesMax = 20;
const tagsMax = 5;
const tagTextMax = 65_536;
const mentionTextMax = 2_000;

const tag = /\[#(\d{6}-[0-9a-hjkmnp-tv-z]{6})\]/giu;
const mention = /(?<![\w-])(\d{6}-[0-9a-hjkmnp-tv-z]{6})(?![\w-])/giu;
/** Found much faster than a mention, and in every mention. */
const mentionStart = /\d{6}-/;
/** Fields in which servers say which address a mail came to; there is no standard for any of them. */
const deliveryFields: ReadonlySet<string> = new Set(['delivered-to', 'x-original-to', 'envelope-to', 'x-envelope-to']);

export function threadKeysOf(parsed: ParsedMessage): ThreadKeys {
  const { messageId, subject, text } = parsed;
  const mentioning = `${subject}\n${text.slice(0, mentionTextMax)}`;
  return {
    messageId: messageId,
    referencedIds: referencedIdsOf(parsed),
    ownToken: tokenInMessageId(messageId),
    recipientTokens: tokensInAddresses(recipientTexts(parsed)),
    subjectTags: subject.includes('[#') ? refsIn(subject, tag) : [],
    textTags: text.includes('[#') ? refsIn(text.slice(0, tagTextMax), tag) : [],
    mentions: mentionStart.test(mentioning) ? refsIn(mentioning, mention) : [],
    sender: (parsed.from?.address ?? '').toLowerCase(),
    isForward: forwards(subject, text),
    isAutomatic: isAutomatic(parsed),
  };
}

/** Only a prefix that may be either is looked up in the text: a reply with a new subject may quote a forward. */
function forwards(subject: string, text: string): boolean {
  const kind = subjectKind(subject);
  return kind === 'forward' || (kind === 'either' && isForward(subject, text));
}

function isAutomatic({ headers, kind }: ParsedMessage): boolean {
  const says = (name: string, words: RegExp) => headers.some((header) => header[0] === name && words.test(header[1]));
  return says('auto-submitted', /^\s*auto-/iu) || (kind !== 'list' && says('precedence', /^\s*(?:bulk|junk)\b/iu));
}

function referencedIdsOf({ reportedMessageId, inReplyTo, references }: ParsedMessage): readonly ReferencedId[] {
  const nearest =
    references.length > referencesMax ? [...references.slice(0, 1), ...references.slice(-referencesMax)] : references;
  const all: readonly ReferencedId[] = [
    ...(reportedMessageId === null ? [] : [{ id: reportedMessageId, rule: 'reported' as const }]),
    ...inReplyTo.slice(0, referencesMax).map((id) => ({ id, rule: 'in_reply_to' as const })),
    ...nearest.toReversed().map((id) => ({ id, rule: 'references' as const })),
  ];
  const seen = new Set<string>();
  return all.filter(({ id }) => !seen.has(id) && seen.add(id));
}

function recipientTexts({ to, cc, headers }: ParsedMessage): readonly string[] {
  const fields = headers.flatMap(([name, value]) => (deliveryFields.has(name) ? [value] : []));
  return [...fields, ...to.map(({ address }) => address), ...cc.map(({ address }) => address)];
}

function refsIn(text: string, form: RegExp): readonly string[] {
  const refs = new Set<string>();
  for (const [, ref = ''] of text.matchAll(form)) {
    if (refs.size === tagsMax) break;
    refs.add(ref.toUpperCase());
  }
  return [...refs];
}

/**
 * What a new ticket is called and whom it is from: pure, randomness comes in.
 *
 * A reference is the day and six letters (`261124-7KQ3MX`): people can say it, it sorts by day, and nobody can count
 * tickets with it. It is not a secret: who writes it does not get into a ticket by that alone.
 */

/** Crockford's base 32: no I, L, O, U, so that nothing is misread or spells a word. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** `randomBytes(n)` gives n random bytes; six are used, one a letter. */
export function newReference(nowMs: number, randomBytes: (count: number) => Uint8Array): string {
  const day = new Date(nowMs).toISOString().slice(2, 10).replaceAll('-', '');
  return `${day}-${Array.from(randomBytes(6), (byte) => alphabet[byte & 31]).join('')}`;
}

/** Whom a ticket is from: the sender, or whom the sender wants answers to go to when the sender is missing. */
export function requesterOf(parsed: ParsedMessage): Address {
  return parsed.from ?? parsed.replyTo[0] ?? { name: '', address: '' };
}

/** The subject that a ticket shows; a mail without one gets a placeholder, the message itself keeps its empty one. */
export function ticketSubject(parsed: ParsedMessage): string {
  return parsed.subject.trim() === '' ? '(no subject)' : parsed.subject;
}
