/**
 * A mailbox as it is set up: where its server is, what is fetched, what is done afterwards, and how it fares.
 *
 * Plain values; times are milliseconds since 1970 (UTC), durations milliseconds.
 */

import type { Bounce, Mark, ParsedMessage } from '../mail/message.ts';
import type { ThreadRule } from '../mail/thread/match.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';

/** `implicit`: TLS from the first byte (RFC 8314). `starttls`: required upgrade. `none`: in clear. */
export type TlsMode = 'implicit' | 'starttls' | 'none';

/** How to reach a mail server; all that a probe needs beside the password. */
export type Connection = {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsMode;
  /** Certificates (PEM) to trust instead of the system's authorities; null for those. */
  readonly caPem: string | null;
  /** SHA-256 of the server's certificate, 64 lower-case hex digits; trusted alone, whatever its name or issuer. */
  readonly fingerprint: string | null;
  /** True when the password may cross the network in clear (`tls` is `none`, the host not this machine). */
  readonly allowPlaintext: boolean;
  readonly user: string;
  /** Folder name as people write it, in Unicode. */
  readonly folder: string;
};

/** Which mails count: those that arrive from `atMs` on, or all that are there. */
export type StartPoint = { readonly from: 'all' } | { readonly from: 'time'; readonly atMs: number };

/** What is done to a message on the server once it is committed. */
export type PostAction =
  | { readonly kind: 'seen' }
  | { readonly kind: 'move'; readonly folder: string }
  | { readonly kind: 'delete' }
  | { readonly kind: 'leave' };

/** Each post-action. All that depends on post-actions reads this; `verb` completes "are still to be … on the server". */
export const postActionRules = {
  seen: { isNeeded: true, removesMessage: false, verb: 'marked' },
  move: { isNeeded: true, removesMessage: true, verb: 'moved' },
  delete: { isNeeded: true, removesMessage: true, verb: 'deleted' },
  leave: { isNeeded: false, removesMessage: false, verb: 'left' },
} as const satisfies Record<
  PostAction['kind'],
  { readonly isNeeded: boolean; readonly removesMessage: boolean; readonly verb: string }
>;

export type Mailbox = {
  /** UUID (RFC 9562), text form. */
  readonly id: string;
  readonly name: string;
  readonly connection: Connection;
  readonly start: StartPoint;
  readonly postAction: PostAction;
  /** null: the configured default. */
  readonly pollIntervalMs: number | null;
  /** The addresses at which it gets its mail, lower-case; the user name where it is one and nothing else was told. */
  readonly addresses: readonly string[];
  /** `removing`: a removal was interrupted; it is ended by removing the mailbox again. */
  readonly state: 'active' | 'paused' | 'removing';
};

/** How a mailbox fares; shown by `mailbox list` and `/readyz`. */
export type MailboxHealth = {
  readonly nextPollAtMs: number | null;
  /** Failed polls in a row; 0 after a success. */
  readonly failures: number;
  /** When the first of them was. */
  readonly failingSinceMs: number | null;
  /** Refused logins in a row; from `[poll] login_failures_max` on it is left alone for long. */
  readonly loginFailures: number;
  readonly lastSuccessAtMs: number | null;
  readonly lastError: {
    readonly code: string;
    readonly message: string;
    readonly hint: string;
    readonly atMs: number;
  } | null;
  readonly cursor: Cursor | null;
  /** How its password is stored; `keyId` is the column beside it, null where that is empty. */
  readonly password: { readonly form: 'plain' | 'sealed'; readonly keyId: string | null };
};

/** True for a row that somebody else wrote with a value that is not allowed: it is listed as paused, with what is wrong. */
export function isInvalid({ health }: { readonly health: MailboxHealth }): boolean {
  return health.lastError?.code === 'mailbox_invalid';
}

/**
 * A password as it is read, with the revision of the switch in the same query (null: the switch row is gone). The form is
 * the column `password_form`, never guessed from the bytes.
 */
export type StoredPassword = {
  readonly form: 'plain' | 'sealed';
  readonly bytes: Uint8Array;
  readonly switchRevision: number | null;
  /** Of the same row: where it is to be sent. */
  readonly connection: Omit<Connection, 'tls' | 'folder'> & { readonly tls: string };
};

/**
 * A password as it is to be stored, in the form that the switch asked for at this revision (0: there is no row). It is
 * stored at no other. `sealed` is a JWE in ASCII.
 */
export type NewPassword = { readonly switchRevision: number } & (
  | { readonly form: 'plain'; readonly password: SecretBytes }
  | { readonly form: 'sealed'; readonly sealed: Uint8Array; readonly keyId: string }
);

/** Who changes something, for the audit table: `user@host`, and the host alone. */
export type AuditActor = { readonly who: string; readonly host: string };

/** The last handled UID, in an epoch of the folder (folder-epoch.ts). */
export type Cursor = { readonly folderEpoch: number; readonly uid: number };

/**
 * What a poll writes and what is read back, as values: outcomes, tickets, messages, and the batch that holds them.
 *
 * Times are milliseconds since 1970 (UTC), durations milliseconds, sizes bytes. Column types and lengths are the
 * database adapter's business: a value here has any length.
 */

export type Outcome = 'ticket_opened' | 'reply_added' | 'recorded' | 'duplicate' | 'quarantined' | 'vanished';

/** Each outcome: whether its message is stored, and whether it joined a ticket. All that depends on outcomes reads this. */
export const outcomeRules = {
  ticket_opened: { isStored: true, isOnTicket: true },
  reply_added: { isStored: true, isOnTicket: true },
  recorded: { isStored: true, isOnTicket: false },
  duplicate: { isStored: false, isOnTicket: false },
  quarantined: { isStored: false, isOnTicket: false },
  vanished: { isStored: false, isOnTicket: false },
} as const satisfies Record<Outcome, { readonly isStored: boolean; readonly isOnTicket: boolean }>;

export const allOutcomes = Object.keys(outcomeRules) as readonly Outcome[];
/** Outcomes of which a message row exists. */
export const storedOutcomes = allOutcomes.filter((outcome) => outcomeRules[outcome].isStored);

export function noOutcomes(): Record<Outcome, number> {
  return { ticket_opened: 0, reply_added: 0, recorded: 0, duplicate: 0, quarantined: 0, vanished: 0 };
}

/** Why a message was quarantined. See quarantine/reasons.ts for the meaning of each. */
export type QuarantineReason =
  | 'too_large'
  | 'source_empty'
  | 'fetch_failed'
  | 'parse_timeout'
  | 'parse_memory'
  | 'parse_failed'
  | 'row_refused'
  /** It was passed over, and `reconcile` found it. */
  | 'missed'
  | 'own_address'
  | 'sender_flood'
  | 'mail_loop';

/** Where the raw source of a message lies in the segment files (zstd, RFC 8878). */
export type RawLocation = { readonly segment: string; readonly offset: number; readonly lengthBytes: number };

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
  readonly raw: (RawLocation & { readonly sha256: string }) | null;
  /** True when the after-action is to be driven for this UID once the batch is committed. */
  readonly actionPending: boolean;
  /** `dedupKey` of a mail that was parsed, else null. */
  readonly dedupKey: string | null;
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
  readonly links: readonly TicketLinkView[];
  readonly mailbox: string | null;
  readonly messageCount: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
};

/** A stored message as `ticket show` and `message list --full` print it. */
export type MessageDetails = {
  /** Of its row: what `message reprocess` takes. */
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
  /** See folder-epoch.ts. */
  readonly folderEpoch: number;
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
  readonly quarantinedSource: RawLocation | null;
  readonly message: MessageDetails | null;
};

/** What `reconcile` found. */
export type ConsistencyCounts = {
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
  /** Left over where others delete tickets and messages. `deletedMessages`: outcomes whose ticket and message are gone. */
  readonly deletedMessages: number;
  readonly linksWithoutTicket: number;
  readonly referencesWithoutMessage: number;
};

/**
 * What a window asks of the database before it is decided, and the answer, as values.
 *
 * All mails of a window ask together, so that the number of queries does not grow with them; what no mail asks for is not
 * looked up. Ticket references are in upper case, addresses and Message-IDs as `mail/thread/keys.ts` gives them.
 */

/** Of which senders arrivals are to be counted, by the minute; `fromMs` to `toMs` hold all that matter. */
export type SenderSpan = { readonly addresses: readonly string[]; readonly fromMs: number; readonly toMs: number };

export type LookupRequest = {
  readonly mailboxId: string;
  /** Own Message-IDs, and those that the mails name: who has them, and who names them. */
  readonly messageIds: readonly string[];
  /** Tickets that are named by a tag or a reply token. */
  readonly refs: readonly string[];
  /** Whether that sender takes part in that ticket. */
  readonly claims: readonly { readonly ref: string; readonly address: string }[];
  readonly dedupKeys: readonly string[];
  /** null: nobody's. */
  readonly senders: SenderSpan | null;
  /** Of tickets that were closed before that: which ones continue them. null: of none. */
  readonly closedBeforeMs: number | null;
  /** Whether there are reply tokens to check. */
  readonly needsReplyKey: boolean;
};

/** A ticket as far as threading asks. One that was merged is never here: the one that it went into is. */
export type LookupTicket = {
  readonly id: string;
  readonly ref: string;
  readonly mailboxId: string;
  readonly status: string;
  readonly createdAtMs: number;
  /** Of a closed one. */
  readonly closedAtMs: number | null;
  readonly isOrphan: boolean;
  readonly requesterAddress: string;
};

/** A message that is stored already. `ticket`: null for one that is recorded without, and when the ticket was deleted. */
export type LookupMessage = {
  readonly id: string;
  readonly mailboxId: string;
  readonly messageId: string;
  readonly contentHash: string;
  readonly ticket: LookupTicket | null;
};

/** A message of this mailbox that names a Message-ID which was missing then. */
export type ReferencingMessage = {
  readonly named: string;
  readonly ticket: LookupTicket | null;
  readonly from: string;
  /** Its recipients (To, Cc). */
  readonly recipients: readonly string[];
};

/** A mail that was handled before in this mailbox; `isKept`: it is in quarantine, not stored. */
export type HandledMessage = { readonly dedupKey: string; readonly isQuarantined: boolean };

/** `count` stored messages of that sender arrived in the minute that begins at `atMs`. */
export type SentCount = { readonly address: string; readonly atMs: number; readonly count: number };

export type LookupResult = {
  /** Oldest first. */
  readonly messages: readonly LookupMessage[];
  readonly naming: readonly ReferencingMessage[];
  readonly tickets: readonly { readonly ref: string; readonly ticket: LookupTicket }[];
  /** The claims that are true, by ticket. */
  readonly participants: readonly { readonly ticketId: string; readonly address: string }[];
  /** Tickets that continue a closed one (`continues`), oldest first. */
  readonly continuations: readonly { readonly closedId: string; readonly ticket: LookupTicket }[];
  readonly handled: readonly HandledMessage[];
  readonly sent: readonly SentCount[];
  /** When the mailbox was added; what arrived before that is no flood, and is not counted. 0 where nobody asks. */
  readonly addedAtMs: number;
  /** Addresses of all mailboxes, lower-case, without plus part. */
  readonly ownAddresses: ReadonlySet<string>;
  /** null: there are no tokens, since nobody has asked for one. */
  readonly replyKey: Uint8Array | null;
};

/** The same mail in another mailbox. */
export type MessageCopy = { readonly messageId: string; readonly contentHash: string; readonly ticketId: string };

export interface LookupStore {
  lookUp(question: LookupRequest): Promise<LookupResult>;
  /**
   * Links the tickets of `copies` with those of the same mails in other mailboxes, after all of them are committed. What two
   * workers commit at the same moment they do not see before.
   */
  linkCopies(mailboxId: string, copies: readonly MessageCopy[]): Promise<void>;
}

export type Server = Pick<Connection, 'host' | 'port'>;

export function serverKey({ host, port }: Server): string {
  return `${host}:${port}`;
}

/**
 * Brings the files of a window to the disk, before any row names them: attachments as blobs, raw sources in a segment.
 *
 * When a window comes out of here both are synced, and the memory that held them is gone: they consume it. What a crash leaves
 * behind then is a file that nobody names; housekeeping removes it. A duplicate's source is kept for nothing, which is
 * the price of writing the files while the window before is still being committed.
 */

/** Where a raw source lies, and the SHA-256 of what it was before compression. */
export type StoredSource = RawLocation & { readonly sha256: string };

/** What commands do to one ticket, and what a helpdesk needs to write to its requester, as a port. */

/** `direction`: `to` when this ticket is about the other one, `from` when the other one is about this one. */
export type TicketLinkView = {
  readonly ticket: string;
  readonly reason: LinkReason;
  readonly direction: 'to' | 'from';
};
