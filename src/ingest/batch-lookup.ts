/**
 * Batch lookup: what the messages of a batch need from the database before they are decided, as one request and result.
 *
 * All messages of a batch are looked up together, so that the number of queries does not grow with them; what no
 * message needs is not queried. Ticket references are in upper case, addresses and Message-IDs as `mail/thread/keys.ts`
 * returns them.
 */

import type { ParsedMessage } from '../mail/message.ts';
import type { CopyContent } from '../mail/thread/copies.ts';
import type { TicketTie } from '../mail/thread/match.ts';
import type { MessagePeople } from '../mail/thread/people.ts';

import type { OpenReplyKey, StoredReplyKey } from '../secret/reply-key.ts';

/** Senders whose messages are counted by the minute, from `fromMs` to `toMs`. */
export type SenderSpan = { readonly addresses: readonly string[]; readonly fromMs: number; readonly toMs: number };

/** Repeat keys and their senders, with the time in which equal ones count. */
export type RepeatSpan = SenderSpan & { readonly keys: readonly string[] };

/** A message of the batch, as it is compared with others that have its Message-ID. */
export type OwnMessage = Pick<ParsedMessage, 'messageId' | 'contentHash' | 'sentAtMs'>;

/** A lookup request: what a batch needs to know. */
export type LookupRequest = {
  readonly mailboxId: string;
  /** Message-IDs of the batch and in its references: which messages have them, and which reference them. */
  readonly messageIds: readonly string[];
  /**
   * Senders and recipients of the batch: of many messages with one Message-ID, those from one of these are returned
   * first.
   */
  readonly people: readonly string[];
  /** Referenced Message-IDs, each with the senders of the messages that name it: the helpdesk may have sent it. */
  readonly answers: readonly { readonly id: string; readonly senders: readonly string[] }[];
  /** Tickets named by a tag or a reply token. */
  readonly refs: readonly string[];
  /** Does this sender participate in this ticket. */
  readonly claims: readonly { readonly ref: string; readonly address: string }[];
  readonly dedupKeys: readonly string[];
  /** The messages of the batch: what others with the same Message-ID and Date say is read, to recognise copies. */
  readonly own: readonly OwnMessage[];
  /** Notices that may be repeats (mail/thread/copies.ts); null: none. */
  readonly repeats: RepeatSpan | null;
  /** null: no sender is counted. */
  readonly senders: SenderSpan | null;
  /** Tickets that continue one closed before this time; null: not needed. */
  readonly closedBeforeMs: number | null;
  /** True when there are reply tokens to verify. */
  readonly needsReplyKeys: boolean;
};

/** A ticket as threading needs it; in place of a merged ticket the one that it was merged into. */
export type LookupTicket = {
  readonly id: string;
  readonly ref: string;
  readonly mailboxId: string;
  readonly status: string;
  readonly createdAtMs: number;
  /** null: not closed. */
  readonly closedAtMs: number | null;
  readonly isOrphan: boolean;
  readonly requesterAddress: string;
};

/** A stored message with one of the Message-IDs. `ticket` null: recorded without one, or its ticket was deleted. */
export type LookupMessage = {
  readonly id: string;
  readonly mailboxId: string;
  readonly messageId: string;
  readonly contentHash: string;
  readonly people: MessagePeople;
  readonly ticket: LookupTicket | null;
  /** Of a message that opened its ticket, or is a copy of that one; null: it is neither, or it was not read. */
  readonly copied: CopyContent | null;
};

/** A stored message of this mailbox that references a Message-ID which was missing then. */
export type ReferencingMessage = {
  readonly named: string;
  readonly ticket: LookupTicket | null;
  readonly people: MessagePeople;
};

/** A message that was handled before in this mailbox or another one of its account: it is stored, or in quarantine. */
export type HandledMessage = { readonly dedupKey: string; readonly isQuarantined: boolean };

/** How many stored messages of a sender that nothing ties to a ticket arrived in the minute that starts at `atMs`. */
export type SentCount = { readonly address: string; readonly atMs: number; readonly count: number };

/** How many stored messages of a sender `tie` tied to that ticket. */
export type TiedCount = SentCount & { readonly ticketId: string; readonly tie: TicketTie };

/** Equal notices in one ticket: how many, and when the last of them arrived. */
export type RepeatedNotice = {
  readonly key: string;
  readonly count: number;
  readonly atMs: number;
  readonly ticket: LookupTicket;
};

/** A lookup result: the answer to a lookup request. */
export type LookupResult = {
  /** Oldest first. */
  readonly messages: readonly LookupMessage[];
  readonly naming: readonly ReferencingMessage[];
  /** Referenced messages that the helpdesk sent, as it says. */
  readonly sentMessages: readonly { readonly messageId: string; readonly ticket: LookupTicket }[];
  readonly tickets: readonly { readonly ref: string; readonly ticket: LookupTicket }[];
  /** The claims that are true, and the senders of answers that take part in the ticket of `sentMessages`. */
  readonly participants: readonly { readonly ticketId: string; readonly address: string }[];
  /** Tickets that continue a closed one (`continues`), oldest first. */
  readonly continuations: readonly { readonly closedId: string; readonly ticket: LookupTicket }[];
  readonly handled: readonly HandledMessage[];
  readonly repeated: readonly RepeatedNotice[];
  readonly sent: readonly SentCount[];
  readonly tied: readonly TiedCount[];
  /** All people of open tickets of this mailbox that were found and have few messages; other tickets are absent. */
  readonly ticketPeople: readonly { readonly ticketId: string; readonly addresses: readonly string[] }[];
  /** When the mailbox was added: earlier messages are no flood, and are not counted. 0: not needed. */
  readonly addedAtMs: number;
  /** Addresses of all mailboxes, in lower case, without subaddress (RFC 5233). */
  readonly ownAddresses: ReadonlySet<string>;
  /** Other mailboxes that are folders of the same account: one account is one place. */
  readonly accountMailboxes: ReadonlySet<string>;
  /** Keys of the reply tokens, as stored; empty: none was ever issued. */
  readonly replyKeys: readonly StoredReplyKey[];
};

/** Facts to decide by: a lookup result with the reply keys that could be opened. */
export type LookupFacts = Omit<LookupResult, 'replyKeys'> & { readonly replyKeys: readonly OpenReplyKey[] };

/** Opens reply keys (encryption/reply-keys.ts). */
export type OpenReplyKeys = (stored: readonly StoredReplyKey[]) => Promise<readonly OpenReplyKey[]>;

/** A committed message whose copies in other mailboxes are to be linked. */
export type MessageCopy = { readonly messageId: string; readonly contentHash: string; readonly ticketId: string };

/** Lookup port, implemented by `adapters/database`. */
export interface LookupStore {
  lookUp(request: LookupRequest): Promise<LookupResult>;
  /**
   * Links the tickets of `copies` with those of the same messages in other mailboxes. Runs after the commit, as two
   * workers do not see before what they commit at the same moment.
   */
  linkCopies(mailboxId: string, copies: readonly MessageCopy[]): Promise<void>;
}
