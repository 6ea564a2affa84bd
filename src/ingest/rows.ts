/**
 * What a poll writes and what is read back, as values: outcomes, tickets, messages, and the batch that holds them.
 *
 * Times are milliseconds since 1970 (UTC), durations milliseconds, sizes bytes. Column types and lengths are the
 * database adapter's business: a value here has any length.
 */
import type { Bounce, Mark, ParsedMessage } from '../mail/message.ts';
import type { ThreadRule } from '../mail/thread/match.ts';
import type { Cursor } from './mailbox.ts';
import type { ShownLink } from './ticket-ports.ts';

export type Outcome = 'ticket_opened' | 'reply_added' | 'recorded' | 'duplicate' | 'quarantined' | 'vanished';

/** Why a mail was kept aside. The last three: it came from ourselves, from a sender that floods, or in a circle. */
export type QuarantineReason =
  | 'too_large'
  | 'source_empty'
  | 'fetch_failed'
  | 'parse_timeout'
  | 'parse_memory'
  | 'parse_failed'
  | 'row_refused'
  | 'own_address'
  | 'sender_flood'
  | 'mail_loop';

/** Where the raw source of a message lies in the segment files (zstd, RFC 8878). */
export type RawPlace = { readonly segment: string; readonly offset: number; readonly lengthBytes: number };

export type NewTicket = {
  readonly id: string;
  readonly ref: string;
  readonly subject: string;
  readonly requester: { readonly name: string; readonly address: string };
  readonly createdAtMs: number;
  /** True when it was opened by an answer to mail that is not here: it may turn out to belong to an older ticket. */
  readonly isOrphan: boolean;
};

/**
 * Why two tickets have to do with each other. `forward`: a forward of mail of the other one; `mentions`: it names the other
 * one; `continues`: an answer to the other one, which was closed for too long; `same_message`: the same mail in another
 * mailbox; `merged`: that one went into this one.
 */
export type LinkReason = 'forward' | 'mentions' | 'continues' | 'same_message' | 'merged';

export type TicketLink = { readonly ticketId: string; readonly otherId: string; readonly reason: LinkReason };

/** The younger ticket goes into the older one, with its messages and outcomes. */
export type TicketMerge = { readonly ticketId: string; readonly intoId: string };

/** A message row; `attachments` of `parsed` are stored as rows of their own, their bytes are blobs already. */
export type NewMessage = {
  readonly id: string;
  readonly ticketId: string | null;
  /** Why it is in the ticket that it joined; null where it opened one or has none. */
  readonly threadRule: ThreadRule | null;
  readonly receivedAtMs: number;
  readonly parsed: ParsedMessage;
  /** Message-IDs that it names and that no message of its mailbox has. */
  readonly missing: readonly string[];
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
  /** `mailIdentity` of a mail that was parsed, else null. */
  readonly identity: string | null;
  /** Of one of which the header alone was fetched: by that and its size it is known again. Not stored. */
  readonly headMessageId?: string | undefined;
};

/** All of one transaction. Tickets come before the messages that name them, in the order of the UIDs. */
export type Batch = {
  readonly cursor: Cursor;
  readonly tickets: readonly NewTicket[];
  readonly messages: readonly NewMessage[];
  readonly outcomes: readonly NewOutcome[];
  readonly links: readonly TicketLink[];
  /** In the order in which they are to be done. */
  readonly merges: readonly TicketMerge[];
  /** Tickets that people answered: a closed one is open again. */
  readonly answered: readonly string[];
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
  /** null for one that is not closed, and where whoever closed it did not say. */
  readonly closedAtMs: number | null;
  /** Reference of the ticket that it went into. */
  readonly mergedInto: string | null;
  readonly links: readonly ShownLink[];
  readonly mailbox: string | null;
  readonly messageCount: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
};

/** A stored message as `ticket show` and `message list --full` print it. */
export type StoredMessage = {
  /** Of its row: what `message replay` takes. */
  readonly id: string;
  readonly messageId: string;
  readonly from: { readonly name: string; readonly address: string } | null;
  readonly to: readonly { readonly name: string; readonly address: string }[];
  readonly cc: readonly { readonly name: string; readonly address: string }[];
  readonly replyTo: readonly { readonly name: string; readonly address: string }[];
  readonly subject: string;
  readonly sentAtMs: number | null;
  readonly receivedAtMs: number;
  readonly kind: string;
  /** What a machine says of itself (RFC 3834 section 5): who answers by machine must not answer this. */
  readonly autoSubmitted: string | null;
  readonly bounce: Bounce | null;
  readonly reportedMessageId: string | null;
  readonly threadRule: string | null;
  readonly protection: string | null;
  readonly text: string;
  readonly marks: readonly Mark[];
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
  /** See numbering.ts. */
  readonly uidValidity: number;
  readonly uid: number;
  readonly outcome: Outcome;
  readonly reason: string | null;
  /** Reference of the ticket. */
  readonly ticket: string | null;
  readonly atMs: number;
  /** When it came out of quarantine; of one that is `quarantined` still, when it was discarded. */
  readonly resolvedAtMs: number | null;
  readonly sizeBytes: number;
  /** Where what is kept of one in quarantine lies. */
  readonly held: RawPlace | null;
  readonly message: StoredMessage | null;
};

/** What `reconcile` found. */
export type Reconciliation = {
  /** How much there is. */
  readonly outcomes: number;
  readonly messages: number;
  readonly links: number;
  readonly references: number;
  readonly mergedTickets: number;
  /** 0 in a healthy database. */
  readonly outcomesWithoutMessage: number;
  readonly messagesWithoutOutcome: number;
  readonly ticketsWithoutMessage: number;
  readonly mergedTicketsWithMessage: number;
  readonly outcomesAboveCursor: number;
  /** Left over where others delete tickets and messages. `deletedMails`: outcomes whose ticket and message are gone. */
  readonly deletedMails: number;
  readonly linksWithoutTicket: number;
  readonly referencesWithoutMessage: number;
};
