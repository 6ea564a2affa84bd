/**
 * Model of the ingest: mailboxes, tickets, messages and outcomes as plain values; its comments are the glossary.
 *
 * Times are milliseconds since 1970 (UTC), durations milliseconds, sizes bytes. Column types and lengths are those of
 * the database adapter: a value here has any length.
 */
import type { Bounce, Mark, ParsedMessage } from '../mail/message.ts';
import type { ThreadRule } from '../mail/thread/match.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';

/** How a connection is encrypted: from the first byte (RFC 8314), by a required STARTTLS, or not at all. */
export type TlsMode = 'implicit' | 'starttls' | 'none';

/** A connection: the settings to reach a folder on a mail server, all that a probe needs besides the password. */
export type Connection = {
  readonly host: string;
  readonly port: number;
  readonly tls: TlsMode;
  /** Certificate authorities (PEM) to trust; null: those of the system. */
  readonly caPem: string | null;
  /**
   * Pinned certificate: its SHA-256, 64 lower-case hex digits. Only this one is trusted, whatever its name or issuer.
   * null: not pinned.
   */
  readonly fingerprint: string | null;
  /** True when the password may cross the network in plain text (`tls` is `none`, and the host is another machine). */
  readonly allowPlaintext: boolean;
  readonly user: string;
  /** Folder name in Unicode, not in modified UTF-7. */
  readonly folder: string;
};

/** A mail server: a host and port, whatever its mailboxes set beside that. */
export type Server = Pick<Connection, 'host' | 'port'>;

/** `host:port`. */
export function serverKey({ host, port }: Server): string {
  return `${host}:${port}`;
}

/** A starting point: which messages of a folder are fetched, all or those that arrived at `atMs` or later. */
export type StartPoint = { readonly from: 'all' } | { readonly from: 'time'; readonly atMs: number };

/** A post-action: what is done to a message on the server once it is committed. */
export type PostAction =
  | { readonly kind: 'seen' }
  | { readonly kind: 'move'; readonly folder: string }
  | { readonly kind: 'delete' }
  | { readonly kind: 'leave' };

type PostActionRules = { readonly isNeeded: boolean; readonly removesMessage: boolean; readonly verb: string };

/**
 * The rules of each post-action, for all code that depends on it; `verb` completes "are still to be … on the server".
 */
export const postActionRules: Readonly<Record<PostAction['kind'], PostActionRules>> = {
  seen: { isNeeded: true, removesMessage: false, verb: 'marked' },
  move: { isNeeded: true, removesMessage: true, verb: 'moved' },
  delete: { isNeeded: true, removesMessage: true, verb: 'deleted' },
  leave: { isNeeded: false, removesMessage: false, verb: 'left' },
};

/** A mailbox: a folder on a mail server that is polled, with its settings. */
export type Mailbox = {
  /** UUID (RFC 9562), text form. */
  readonly id: string;
  readonly name: string;
  readonly connection: Connection;
  readonly start: StartPoint;
  readonly postAction: PostAction;
  /** Poll interval; null: the configured one. */
  readonly pollIntervalMs: number | null;
  /** Name of the OAuth grant whose tokens open it; null: its password does. */
  readonly grant: string | null;
  /** Addresses at which it receives messages, in lower case; by default the user name, if that is an address. */
  readonly addresses: readonly string[];
  /** `removing`: a removal was interrupted; removing the mailbox again completes it. */
  readonly state: 'active' | 'paused' | 'removing';
};

/** The health of a mailbox: the results of its last polls, as `mailbox list` and `/readyz` show them. */
export type MailboxHealth = {
  /** When it is due; null: not scheduled yet. */
  readonly nextPollAtMs: number | null;
  /** Failed polls in a row; 0 after a success. */
  readonly failures: number;
  /** When the first of them was; null: none. */
  readonly failingSinceMs: number | null;
  /** Refused logins in a row; from `[poll] login_failures_max` on logins are suspended. */
  readonly loginFailures: number;
  /** null: never polled successfully. */
  readonly lastSuccessAtMs: number | null;
  /** The failure of the last poll; null: it succeeded. */
  readonly lastError: {
    readonly code: string;
    readonly message: string;
    readonly hint: string;
    readonly atMs: number;
  } | null;
  /** null: never polled. */
  readonly cursor: Cursor | null;
  /** How its password is stored. `keyId` is its column, not read from the JWE; null: empty. */
  readonly password: { readonly form: 'plain' | 'sealed'; readonly keyId: string | null };
  /** The column `settings_seal`, which a writer of the database may have changed; null: none. */
  readonly settingsSeal: string | null;
};

/** True for a row with an invalid value, written by another program: it is listed as paused, with the error. */
export function isInvalid({ health }: { readonly health: MailboxHealth }): boolean {
  return health.lastError?.code === 'mailbox_invalid';
}

/**
 * A stored password, as one query read it with the revision of the switch (null: the switch row is missing). `form` is
 * the column `password_form`, never guessed from the bytes.
 */
export type StoredPassword = {
  readonly form: 'plain' | 'sealed';
  readonly bytes: Uint8Array;
  readonly switchRevision: number | null;
  /** Of the same row: where the password may be sent. */
  readonly connection: Omit<Connection, 'tls' | 'folder'> & { readonly tls: string };
};

/**
 * A new password, in the form that the switch requires at `switchRevision` (0: there is no switch row); it is stored at
 * no other revision. `sealed` is a JWE in ASCII; `settingsSeal` is stored with it.
 */
export type NewPassword = { readonly switchRevision: number } & (
  | { readonly form: 'plain'; readonly password: SecretBytes }
  | {
      readonly form: 'sealed';
      readonly sealed: Uint8Array;
      readonly keyId: string;
      readonly settingsSeal: string | null;
    }
);

/** A new settings seal (secret/settings-seal.ts), stored at no other revision of the switch; null: of no part. */
export type NewSettingsSeal = { readonly switchRevision: number; readonly settingsSeal: string | null };

/** An audit actor: the `user@host` behind a change, and the host alone. */
export type AuditActor = { readonly who: string; readonly host: string };

/** A cursor: the last handled UID in an epoch of the folder (folder-epoch.ts). */
export type Cursor = { readonly folderEpoch: number; readonly uid: number };

/**
 * An outcome: how a message on the server was handled, one row for each. `recorded`: stored without a ticket.
 * `vanished`: gone before it could be fetched.
 */
export type Outcome = 'ticket_opened' | 'reply_added' | 'recorded' | 'duplicate' | 'quarantined' | 'vanished';

/** An outcome whose message is on a ticket. */
export type TicketOutcome = 'ticket_opened' | 'reply_added';

type OutcomeRules<O extends Outcome = Outcome> = {
  /** False: the message was gone before it could be fetched. */
  readonly isReceived: boolean;
  /** A message row exists. */
  readonly isStored: boolean;
  readonly isOnTicket: O extends TicketOutcome ? true : false;
  /** The mailbox's post-action is run on the message; false: it stays untouched on the server. */
  readonly runsPostAction: boolean;
  /** What makes another message with its dedup key a duplicate; null: its row makes none. */
  readonly handledAs: 'stored' | 'quarantined' | null;
  /** Its row when the folder starts another epoch. `deleted_without_source`: if it waits, and has no stored source. */
  readonly inEarlierEpoch: 'retained' | 'deleted' | 'deleted_without_source';
};

/**
 * The rules of each outcome, for all code that depends on it. A new outcome does not compile until it has rules here,
 * an event (fetch/pipeline.ts), a resolution (quarantine/resolve.ts) and words (commands/poll.ts).
 */
export const outcomeRules: { readonly [O in Outcome]: OutcomeRules<O> } = {
  ticket_opened: {
    isReceived: true,
    isStored: true,
    isOnTicket: true,
    runsPostAction: true,
    handledAs: 'stored',
    inEarlierEpoch: 'retained',
  },
  reply_added: {
    isReceived: true,
    isStored: true,
    isOnTicket: true,
    runsPostAction: true,
    handledAs: 'stored',
    inEarlierEpoch: 'retained',
  },
  recorded: {
    isReceived: true,
    isStored: true,
    isOnTicket: false,
    runsPostAction: true,
    handledAs: 'stored',
    inEarlierEpoch: 'retained',
  },
  // The original has an outcome of its own.
  duplicate: {
    isReceived: true,
    isStored: false,
    isOnTicket: false,
    runsPostAction: true,
    handledAs: null,
    inEarlierEpoch: 'deleted',
  },
  quarantined: {
    isReceived: true,
    isStored: false,
    isOnTicket: false,
    runsPostAction: false,
    handledAs: 'quarantined',
    inEarlierEpoch: 'deleted_without_source',
  },
  vanished: {
    isReceived: false,
    isStored: false,
    isOnTicket: false,
    runsPostAction: false,
    handledAs: null,
    inEarlierEpoch: 'retained',
  },
};

export const allOutcomes = Object.keys(outcomeRules) as readonly Outcome[];

/** The outcomes whose rules have a property, for queries and for rows that a newer version may have written. */
export function outcomesWhere(holds: (rules: OutcomeRules) => boolean): readonly Outcome[] {
  return allOutcomes.filter((outcome) => holds(outcomeRules[outcome]));
}

export const storedOutcomes = outcomesWhere(({ isStored }) => isStored);

export function isOnTicket(outcome: Outcome): outcome is TicketOutcome {
  return outcomeRules[outcome].isOnTicket;
}

export function noOutcomes(): Record<Outcome, number> {
  return Object.fromEntries(allOutcomes.map((outcome) => [outcome, 0])) as Record<Outcome, number>;
}

/** A quarantine reason: why a message waits for an operator; quarantine/reasons.ts describes each. */
export type QuarantineReason =
  | 'too_large'
  | 'source_empty'
  | 'fetch_failed'
  | 'parse_timeout'
  | 'parse_memory'
  | 'parse_failed'
  | 'row_refused'
  /** It was skipped, and `reconcile` found it. */
  | 'missed'
  | 'own_address'
  | 'sender_flood'
  | 'ticket_flood'
  | 'mail_loop';

/** A stored source: its place in a segment file (zstd, RFC 8878), and its SHA-256 before compression. */
export type StoredSource = {
  readonly segment: string;
  readonly offset: number;
  readonly lengthBytes: number;
  readonly sha256: string;
};

/** A ticket that a poll opens. */
export type NewTicket = {
  readonly id: string;
  readonly ref: string;
  readonly subject: string;
  readonly requester: { readonly name: string; readonly address: string };
  readonly createdAtMs: number;
  /** True when a reply to an unknown message opened it: it may turn out to belong to an older ticket. */
  readonly isOrphan: boolean;
};

/**
 * Why a ticket is linked to another one.
 *
 * `forward`: it forwards a message of the other one; `mentions`: it names the other one; `continues`: it is a reply to
 * the other one, which was closed for too long; `same_message`: the same message in another mailbox; `merged`: it was
 * merged into the other one; `same_thread`: Message-IDs connect them, and their people differ.
 */
export type LinkReason = 'forward' | 'mentions' | 'continues' | 'same_message' | 'merged' | 'same_thread';

/** A link from a ticket to another one. */
export type TicketLink = { readonly ticketId: string; readonly otherId: string; readonly reason: LinkReason };

/** A merge: messages and outcomes of the younger ticket move into the older one. */
export type TicketMerge = { readonly ticketId: string; readonly intoId: string };

/** A message to store; the attachments of `parsed` become rows of their own, and their bytes are blobs already. */
export type NewMessage = {
  readonly id: string;
  /** null: it is recorded without a ticket. */
  readonly ticketId: string | null;
  /** The rule by which it joined its ticket; null: it opened one, or has none. */
  readonly threadRule: ThreadRule | null;
  readonly receivedAtMs: number;
  readonly parsed: ParsedMessage;
  /** Message-IDs in its references that no message of its mailbox has. */
  readonly missing: readonly string[];
  readonly repeatKey: string | null;
};

/** The outcome of one UID, to store. */
export type NewOutcome = {
  readonly uid: number;
  readonly outcome: Outcome;
  /** A code such as `too_large`, for quarantined, recorded and duplicate; else null. */
  readonly reason: string | null;
  readonly ticketId: string | null;
  readonly messageId: string | null;
  readonly sizeBytes: number;
  /** INTERNALDATE; null: the server gave none. */
  readonly receivedAtMs: number | null;
  /** null: no source was stored. */
  readonly raw: StoredSource | null;
  /** True when the post-action is to be applied once the batch is committed. */
  readonly actionPending: boolean;
  /** Outcome seal (secret/outcome-seal.ts), which a pending removal from the server takes; added at the commit. */
  readonly actionSeal?: string | null;
  /** Deduplication key (mail/fingerprint.ts); null: it was not parsed. */
  readonly dedupKey: string | null;
  /** When only its header was fetched: with its size this recognizes the message again. Not stored. */
  readonly headMessageId?: string | undefined;
};

/** A batch: everything that one transaction writes, in the order of the UIDs. */
export type Batch = {
  readonly cursor: Cursor;
  readonly tickets: readonly NewTicket[];
  readonly messages: readonly NewMessage[];
  readonly outcomes: readonly NewOutcome[];
  readonly links: readonly TicketLink[];
  /** In the order to apply them. */
  readonly merges: readonly TicketMerge[];
  /** Ids of tickets that a person replied to: a closed one is reopened. */
  readonly answered: readonly string[];
};

/** The result of a poll, as the schedule stores it. */
export type PollResult =
  | { readonly ok: true; readonly nextPollAfterMs: number }
  | {
      readonly ok: false;
      readonly nextPollAfterMs: number;
      readonly error: { readonly code: string; readonly message: string; readonly hint: string };
      /** The version of the row whose login was refused; null: the failure is another one. */
      readonly refusedVersion: string | null;
    };

/** A ticket as `ticket list` prints it. */
export type TicketSummary = {
  readonly ref: string;
  readonly subject: string;
  readonly requester: { readonly name: string; readonly address: string };
  readonly status: string;
  /** null: not closed, or closed by a program that stored no time. */
  readonly closedAtMs: number | null;
  /** Reference of the ticket that it was merged into; null: none. */
  readonly mergedInto: string | null;
  readonly links: readonly TicketLinkView[];
  /** Name of its mailbox; null: removed. */
  readonly mailbox: string | null;
  readonly messageCount: number;
  readonly createdAtMs: number;
  readonly updatedAtMs: number;
};

/** A stored message, as `ticket show` and `message list --full` print it. */
export type MessageDetails = {
  /** Of its row; the argument of `message reprocess`. */
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
  /** The field Auto-Submitted (RFC 3834 section 5): a message with it gets no automatic reply. null: none. */
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

/** A stored outcome, as `message list` prints it. */
export type OutcomeRow = {
  readonly folderEpoch: number;
  readonly uid: number;
  readonly outcome: Outcome;
  readonly reason: string | null;
  /** Reference of its ticket; null: none. */
  readonly ticket: string | null;
  readonly atMs: number;
  /** When it left quarantine or, if `outcome` is still `quarantined`, when it was discarded. null: neither. */
  readonly resolvedAtMs: number | null;
  readonly sizeBytes: number;
  /** The stored source of a quarantined message; null: none. */
  readonly quarantinedSource: StoredSource | null;
  /** null: no message row, or it was not requested. */
  readonly message: MessageDetails | null;
};

/** Consistency of the database: the counts that `reconcile` prints. */
export type ConsistencyCounts = {
  /** Totals. */
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
  /** Left over when a helpdesk deletes tickets and messages. `deletedMessages`: outcomes without ticket and message. */
  readonly deletedMessages: number;
  readonly linksWithoutTicket: number;
  readonly referencesWithoutMessage: number;
};

/** A link of a ticket, as it is printed. `direction`: `to` when this ticket refers to the other one, else `from`. */
export type TicketLinkView = {
  readonly ticket: string;
  readonly reason: LinkReason;
  readonly direction: 'to' | 'from';
};
