/**
 * What a poll writes and what is read back, as values: outcomes, tickets, messages, and the batch that holds them.
 *
 * Times are milliseconds since 1970 (UTC), durations milliseconds, sizes bytes. Column types and lengths are the
 * database adapter's business: a value here has any length.
 */
import type { ParsedMessage } from '../mail/message.ts';
import type { Cursor } from './mailbox.ts';

export type Outcome = 'ticket_opened' | 'reply_added' | 'recorded' | 'duplicate' | 'quarantined' | 'vanished';

/** Where the raw source of a message lies in the segment files (zstd, RFC 8878). */
export type RawPlace = { readonly segment: string; readonly offset: number; readonly lengthBytes: number };

export type NewTicket = {
  readonly id: string;
  readonly ref: string;
  readonly subject: string;
  readonly requester: { readonly name: string; readonly address: string };
  readonly createdAtMs: number;
};

/** A message row; `attachments` of `parsed` are stored as rows of their own, their bytes are blobs already. */
export type NewMessage = {
  readonly id: string;
  readonly ticketId: string | null;
  readonly receivedAtMs: number;
  readonly parsed: ParsedMessage;
};

export type NewOutcome = {
  readonly uid: number;
  readonly outcome: Outcome;
  /** Why, for quarantined, recorded and duplicate: a short code such as `too_large`. */
  readonly reason: string | null;
  readonly ticketId: string | null;
  readonly messageId: string | null;
  readonly sizeBytes: number;
  readonly receivedAtMs: number | null;
  readonly raw: (RawPlace & { readonly sha256: string }) | null;
  /** True when the after-action is to be driven for this UID once the batch is committed. */
  readonly actionPending: boolean;
};

/** All of one transaction. Tickets come before the messages that name them, in the order of the UIDs. */
export type Batch = {
  readonly cursor: Cursor;
  readonly tickets: readonly NewTicket[];
  readonly messages: readonly NewMessage[];
  readonly outcomes: readonly NewOutcome[];
};

/** A message that is stored already, as far as threading and duplicates ask. */
export type KnownMessage = {
  readonly id: string;
  readonly mailboxId: string;
  readonly messageId: string;
  readonly contentHash: string;
  /** null for one that is recorded without a ticket, and for one whose ticket was deleted. */
  readonly ticketId: string | null;
  readonly ticketRef: string | null;
};

/** The result of a poll as the schedule keeps it. */
export type PollResult =
  | { readonly ok: true; readonly nextPollAfterMs: number }
  | {
      readonly ok: false;
      readonly nextPollAfterMs: number;
      readonly error: { readonly code: string; readonly message: string; readonly hint: string };
      /** The version of the row with which the login was refused; null when it was not about the login. */
      readonly refusedVersion: string | null;
    };

export type TicketSummary = {
  readonly ref: string;
  readonly subject: string;
  readonly requester: { readonly name: string; readonly address: string };
  readonly status: string;
  readonly mailbox: string | null;
  readonly messageCount: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
};

/** A stored message as `ticket show` and `message list --full` print it. */
export type StoredMessage = {
  readonly messageId: string;
  readonly from: { readonly name: string; readonly address: string } | null;
  readonly to: readonly { readonly name: string; readonly address: string }[];
  readonly cc: readonly { readonly name: string; readonly address: string }[];
  readonly subject: string;
  readonly sentAtMs: number | null;
  readonly receivedAtMs: number;
  readonly kind: string;
  readonly text: string;
  readonly html: string | null;
  readonly inReplyTo: readonly string[];
  readonly references: readonly string[];
  readonly attachments: readonly {
    readonly name: string;
    readonly type: string;
    readonly sizeBytes: number;
    readonly sha256: string;
    readonly contentId: string | null;
    readonly inline: boolean;
  }[];
};

export type OutcomeRow = {
  readonly uidValidity: number;
  readonly uid: number;
  readonly outcome: Outcome;
  readonly reason: string | null;
  /** Reference of the ticket. */
  readonly ticket: string | null;
  readonly atMs: number;
  readonly sizeBytes: number;
  readonly message: StoredMessage | null;
};

/** What `reconcile` found: all numbers of a healthy database are 0 but the first two. */
export type Reconciliation = {
  readonly outcomes: number;
  readonly messages: number;
  readonly outcomesWithoutMessage: number;
  readonly messagesWithoutOutcome: number;
  readonly ticketsWithoutMessage: number;
  readonly outcomesAboveCursor: number;
};
