/**
 * What becomes of each arrival: ticket, reply, record, duplicate, quarantine or vanished. Pure: what is stored
 * already, ids, references and the time come in.
 *
 * A mail is a duplicate only when mailbox, Message-ID and content are all the same (a folder that was rebuilt under a
 * new UIDVALIDITY, a crash between fetch and commit); an equal Message-ID with other content is another mail. Mails
 * of one window see each other, in the order of their UIDs.
 */
import type { ParsedMessage } from '../mail/message.ts';
import { ancestorIds, ancestorOf, opensNoTicket } from '../mail/thread.ts';
import { requesterOf, ticketSubject } from '../mail/ticket.ts';
import type { Kept } from './keep.ts';
import type { KnownMessage, NewMessage, NewOutcome, NewTicket } from './rows.ts';

export type Decision = {
  /** Reference of the ticket that the mail opened or joined, for the log. */
  readonly ref: string | null;
  readonly ticket: NewTicket | null;
  readonly message: NewMessage | null;
  readonly outcome: NewOutcome;
};

export type Maker = {
  readonly mailboxId: string;
  readonly nowMs: number;
  /** Whether a stored mail is to be touched on the server afterwards. */
  readonly acts: boolean;
  readonly newId: () => string;
  readonly newRef: () => string;
};

/** Every Message-ID to look up before `decide`: their own and those of their ancestors. */
export function idsToKnow(arrivals: readonly Kept[]): readonly string[] {
  const mails = arrivals.flatMap((arrival) => (arrival.what === 'mail' ? [arrival.parsed] : []));
  return [...new Set(mails.flatMap((parsed) => [parsed.messageId, ...ancestorIds(parsed)]))];
}

/** One decision for each arrival, in order. */
export function decide(arrivals: readonly Kept[], stored: readonly KnownMessage[], maker: Maker): readonly Decision[] {
  const known = new Map<string, KnownMessage[]>();
  for (const message of stored) remember(known, message);
  return arrivals.map((arrival) => {
    const decision = arrival.what === 'mail' ? decideMail(arrival, known, maker) : setAside(arrival);
    if (arrival.what === 'mail' && decision.message !== null)
      remember(known, asKnown(decision.message, decision.ref, maker.mailboxId));
    return decision;
  });
}

function remember(known: Map<string, KnownMessage[]>, message: KnownMessage): void {
  const same = known.get(message.messageId);
  if (same === undefined) known.set(message.messageId, [message]);
  else same.push(message);
}

function asKnown(message: NewMessage, ticketRef: string | null, mailboxId: string): KnownMessage {
  const { messageId, contentHash } = message.parsed;
  return { id: message.id, mailboxId, messageId, contentHash, ticketId: message.ticketId, ticketRef };
}

function decideMail(
  arrival: Kept & { what: 'mail' },
  known: ReadonlyMap<string, KnownMessage[]>,
  maker: Maker,
): Decision {
  const { uid, sizeBytes, receivedAtMs, parsed, raw } = arrival;
  const place = { uid, sizeBytes, receivedAtMs, raw, actionPending: maker.acts };
  const twin = twinOf(parsed, known, maker.mailboxId);
  if (twin !== null) {
    const outcome = {
      ...place,
      outcome: 'duplicate',
      reason: 'seen_before',
      ticketId: twin.ticketId,
      messageId: twin.id,
    } as const;
    return { ref: twin.ticketRef, ticket: null, message: null, outcome };
  }
  const joined = ancestorOf(parsed, maker.mailboxId, known);
  const ticket = joined === null && !opensNoTicket(parsed) ? newTicket(parsed, receivedAtMs, maker) : null;
  const ticketId = joined?.ticketId ?? ticket?.id ?? null;
  const ref = joined?.ticketRef ?? ticket?.ref ?? null;
  const message = { id: maker.newId(), ticketId, receivedAtMs: receivedAtMs ?? maker.nowMs, parsed };
  const kindOfOutcome = ticket !== null ? 'ticket_opened' : joined !== null ? 'reply_added' : 'recorded';
  const reason = kindOfOutcome === 'recorded' ? parsed.kind : null;
  return {
    ref,
    ticket,
    message,
    outcome: { ...place, outcome: kindOfOutcome, reason, ticketId, messageId: message.id },
  };
}

/** The stored message that is this very mail, in this very mailbox. */
function twinOf(
  parsed: ParsedMessage,
  known: ReadonlyMap<string, KnownMessage[]>,
  mailboxId: string,
): KnownMessage | null {
  const same = known.get(parsed.messageId) ?? [];
  return same.find((other) => other.mailboxId === mailboxId && other.contentHash === parsed.contentHash) ?? null;
}

function newTicket(parsed: ParsedMessage, receivedAtMs: number | null, maker: Maker): NewTicket {
  return {
    id: maker.newId(),
    ref: maker.newRef(),
    subject: ticketSubject(parsed),
    requester: requesterOf(parsed),
    createdAtMs: receivedAtMs ?? maker.nowMs,
  };
}

/** What is not stored as a message stays untouched on the server. */
function setAside(arrival: Exclude<Kept, { what: 'mail' }>): Decision {
  const { uid, sizeBytes, receivedAtMs } = arrival;
  const place = { uid, sizeBytes, receivedAtMs, actionPending: false, ticketId: null, messageId: null };
  const outcome: NewOutcome =
    arrival.what === 'vanished'
      ? { ...place, outcome: 'vanished', reason: null, raw: null }
      : { ...place, outcome: 'quarantined', reason: arrival.reason, raw: arrival.raw };
  return { ref: null, ticket: null, message: null, outcome };
}
