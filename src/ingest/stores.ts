/**
 * Store ports: the database operations that ingest, quarantine and repair need, implemented by `adapters/database`.
 *
 * Every method may reject with a `Failure` of domain `database`, and rejects with nothing else. Times are milliseconds
 * since 1970 (UTC).
 */
import { Failure } from '../errors.ts';
import type { ParsedMessage } from '../mail/message.ts';
import type { LookupStore } from './batch-lookup.ts';
import type {
  AuditActor,
  Batch,
  ConsistencyCounts,
  Cursor,
  Mailbox,
  MailboxHealth,
  MessageDetails,
  NewPassword,
  NewSettingsSeal,
  Outcome,
  OutcomeRow,
  PollResult,
  StoredPassword,
  StoredSource,
  TicketSummary,
} from './model.ts';
import type { Endpoint } from './poll/server-failures.ts';
import type { WaitingMailbox } from './polling-policy.ts';
import type { HandledSource, ListedMessage, UidSelection } from './ports.ts';

/** A mailbox with the version of its row, which changes with every change except the sealing of its password. */
export type VersionedMailbox = {
  readonly mailbox: Mailbox;
  readonly version: string;
  readonly password: MailboxHealth['password'];
  readonly settingsSeal: string | null;
};

/**
 * The table of mailboxes. A method that stores a password throws `switch_changed` when the switch is not at the
 * revision that the password was prepared for.
 */
export interface MailboxStore {
  /**
   * Throws `already_exists` when the name is taken. `password` null: a grant opens the mailbox, and `seal` is written,
   * unless it is null. `cursor` is the baseline that a probe found, or null. Audited.
   */
  addMailbox(
    mailbox: Mailbox,
    password: NewPassword | null,
    cursor: Cursor | null,
    by: AuditActor,
    seal?: NewSettingsSeal | null,
  ): Promise<void>;
  /** Throws `not_found`. */
  mailboxByName(name: string): Promise<Mailbox>;
  mailboxById(id: string): Promise<Mailbox | null>;
  listMailboxes(): Promise<readonly (Mailbox & { readonly health: MailboxHealth })[]>;
  /** Mailboxes with a lease in force, and its owner. */
  leasedMailboxes(): Promise<readonly { readonly id: string; readonly name: string; readonly owner: string }[]>;
  /** Pausing stops polls from the next one on; resuming makes the mailbox due at once. Audited. */
  setMailboxState(id: string, state: 'active' | 'paused', by: AuditActor): Promise<void>;
  /** Empty: the user name, if that is an address. Audited. Throws `not_found`. */
  setAddresses(id: string, addresses: readonly string[], by: AuditActor): Promise<void>;
  /** Also makes the mailbox due at once and forgets its failures. Audited. */
  setPassword(id: string, password: NewPassword, by: AuditActor): Promise<void>;
  /**
   * Writes what differs between two states of a mailbox, and its password unless that is null, in one statement; makes
   * it due at once and forgets its failures. A grant takes the place of the password. A new password is audited.
   * Throws `already_exists` when the name is taken, `refused` when the row, or how its password is sealed, is not as in
   * `before` any more. Without a password `seal` is written, unless it is null.
   */
  changeMailbox(
    before: VersionedMailbox,
    after: Mailbox,
    password: NewPassword | null,
    by: AuditActor,
    seal?: NewSettingsSeal | null,
  ): Promise<void>;
  /** Stores the seal of confirmed settings and makes the mailbox due at once. Throws `not_found`. Audited. */
  confirmSettings(id: string, seal: NewSettingsSeal, by: AuditActor): Promise<void>;
  /** null: none, or the mailbox is gone. */
  readSettingsSeal(id: string): Promise<string | null>;
  /** Throws `not_found`. */
  versionedMailbox(name: string): Promise<VersionedMailbox>;
  /** Removes settings, password, cursor and outcomes; tickets and messages stay. Audited. */
  removeMailbox(id: string, by: AuditActor): Promise<void>;
  /** Adds a schedule, due at once, for mailboxes that another program inserted; returns their number. */
  scheduleNewMailboxes(): Promise<number>;
  /** null when the mailbox is gone. */
  readPassword(id: string): Promise<StoredPassword | null>;
}

/** A message whose post-action is pending, by its row, with the outcome seal of that. */
export type StoredPendingAction = ListedMessage & { readonly seal: string | null };

/** Folder progress: how far the folder of a mailbox is handled. */
export type FolderProgress = {
  /** null: never polled. */
  readonly cursor: Cursor | null;
  /** The last generation that was used (folder-epoch.ts). */
  readonly generation: number;
  /** The UID that the first poll in this epoch started above; null: earlier epochs are not cleaned up yet. */
  readonly startUid: number | null;
  /** `folderKey` of the folder that the cursor is for, and `accountKey` of the last poll; null: never polled. */
  readonly folder: string | null;
  readonly account: string | null;
};

/** A new folder epoch, with the `folderKey` of its folder. */
export type NewFolderEpoch = { readonly cursor: Cursor; readonly generation: number; readonly folder: string };

/** Folder epochs and cursors of mailboxes. */
export interface FolderStore {
  /** Throws `not_found` when the mailbox is gone. */
  readFolderProgress(mailboxId: string): Promise<FolderProgress>;
  isEpochUsed(mailboxId: string, folderEpoch: number): Promise<boolean>;
  /** Number of outcomes in that epoch with those UIDs. */
  countOutcomes(mailboxId: string, folderEpoch: number, uids: UidSelection): Promise<number>;
  /** The last messages up to that cursor with an outcome, at most `limit`. */
  lastHandled(mailboxId: string, cursor: Cursor, limit: number): Promise<readonly HandledSource[]>;
  /** Records the account, and revokes the leases of its other mailboxes, whose batches do not know of this one. */
  joinAccount(lease: Lease, account: string): Promise<void>;
  /** True where `joinAccount` revoked it, and no poll has begun since. */
  isLeaseRevoked(lease: Lease): Promise<boolean>;
  /** Stores the cursor without its start UID. Throws `lease_lost`. */
  beginFolderEpoch(lease: Lease, epoch: NewFolderEpoch): Promise<void>;
  /** Deletes duplicates, quarantined messages without a source, and pending actions. Throws `lease_lost`. */
  forgetEarlierEpochs(lease: Lease, folderEpoch: number): Promise<void>;
  /** Earlier epochs are cleaned up. Throws `lease_lost`. */
  recordStartUid(lease: Lease, uid: number): Promise<void>;
}

/** A quarantined message: it waits for an operator, or was discarded. */
export type QuarantinedMessage = {
  readonly mailboxId: string;
  /** Name of the mailbox. */
  readonly mailbox: string;
  readonly folderEpoch: number;
  readonly uid: number;
  /** A `QuarantineReason`, or one of an older or newer version. */
  readonly reason: string;
  readonly quarantinedAtMs: number;
  /** null: it waits. */
  readonly discardedAtMs: number | null;
  readonly receivedAtMs: number | null;
  /** The size that the server announced. */
  readonly sizeBytes: number;
  /** The whole message, its header alone, or null (quarantine/reasons.ts). */
  readonly raw: StoredSource | null;
};

/** null: any. `discarded`: discarded messages instead of waiting ones. */
export type QuarantineFilter = {
  readonly mailboxId: string | null;
  readonly reason: string | null;
  readonly discarded?: boolean;
};

/** What changes when a message is quarantined again. */
export type Requarantine = Pick<QuarantinedMessage, 'reason' | 'raw' | 'sizeBytes'>;

/** Quarantined messages; releasing one is `IngestStore.commitResolved`. */
export interface QuarantineStore {
  /** Ordered by mailbox, folder epoch and UID; reads page after page. */
  quarantinedMessages(filter: QuarantineFilter): AsyncIterable<QuarantinedMessage>;
  /** Those with that UID that wait, or that were discarded; `folderEpoch` null: in any epoch. */
  quarantinedByUid(
    mailboxId: string,
    folderEpoch: number | null,
    uid: number,
    discarded?: boolean,
  ): Promise<readonly QuarantinedMessage[]>;
  /** The same, by the name of the mailbox. */
  quarantinedByName(name: QuarantineName, discarded: boolean): Promise<readonly QuarantinedMessage[]>;
  /**
   * At most `limit` waiting messages from `offset` on: the newest first, then by descending mailbox id, folder epoch
   * and UID. `reason` null: any.
   */
  quarantinePage(reason: string | null, offset: number, limit: number): Promise<readonly QuarantinedMessage[]>;
  /** Gives up a waiting message. False: it no longer waits. */
  discard(message: QuarantinedMessage): Promise<boolean>;
  /** Makes a discarded message wait again. False: it is no longer discarded. */
  undiscard(message: QuarantinedMessage): Promise<boolean>;
  /** False: it no longer waits. */
  requarantine(message: QuarantinedMessage, found: Requarantine): Promise<boolean>;
}

/** An outcome as it is compared with the folder on the server. */
export type ComparedOutcome = {
  readonly uid: number;
  readonly outcome: Outcome;
  /** In quarantine, and not resolved. */
  readonly waits: boolean;
  readonly actionPending: boolean;
};

/** A message that was stored and whose row is missing, though its ticket was not deleted. */
export type LostMessage = {
  readonly mailboxId: string;
  readonly folderEpoch: number;
  readonly uid: number;
  readonly ticketId: string | null;
  /** Reference of its ticket; null: recorded without one. */
  readonly ticket: string | null;
  readonly messageId: string;
  readonly sizeBytes: number;
  /** INTERNALDATE, or when it was stored if the server gave none. */
  readonly receivedAtMs: number;
  readonly raw: StoredSource | null;
  readonly dedupKey: string | null;
};

/** An inconsistent row; fields that do not apply are null. */
export type InconsistentRow = {
  /** The count that it is part of. */
  readonly count: keyof ConsistencyCounts;
  readonly mailbox: string | null;
  readonly uid: number | null;
  readonly ticket: string | null;
  /** Id of the message row. */
  readonly message: string | null;
};

/** An attachment file that messages reference. */
export type ReferencedBlob = { readonly sha256: string; readonly sizeBytes: number; readonly messageId: string };

/** A segment file of raw sources that outcomes reference. */
export type ReferencedSegment = {
  readonly segment: string;
  /** End of the last referenced source. */
  readonly endOffset: number;
  readonly messages: number;
  /** Those of them that wait in quarantine: their source is their only copy. */
  readonly waiting: number;
};

/** What `reconcile` reads and repairs. */
export interface ReconcileStore {
  countReferencedBlobs(): Promise<number>;
  /** Each file once, ordered by hash; reads page after page. */
  referencedBlobs(): AsyncIterable<ReferencedBlob>;
  referencedSegments(): Promise<readonly ReferencedSegment[]>;
  /** The first `limit` rows of each of these counts. */
  inconsistentRows(counts: readonly (keyof ConsistencyCounts)[], limit: number): Promise<readonly InconsistentRow[]>;
  /** In all epochs. */
  lostMessages(mailboxId: string): AsyncIterable<LostMessage>;
  /** Stores it again under its id and ticket. False: its row exists again, or its ticket is gone. */
  restoreMessage(lost: LostMessage, parsed: ParsedMessage): Promise<boolean>;
  /** Ordered by UID; reads page after page. */
  comparedOutcomes(mailboxId: string, folderEpoch: number): AsyncIterable<ComparedOutcome>;
  /** Quarantines a message without an outcome, as `missed`. False: it has one. */
  quarantineMissed(
    mailboxId: string,
    folderEpoch: number,
    message: { readonly uid: number; readonly sizeBytes: number; readonly receivedAtMs: number | null },
  ): Promise<boolean>;
}

/** A stored message to reprocess, with its source. */
export type ReprocessTarget = {
  readonly id: string;
  readonly mailboxId: string;
  readonly ticketId: string | null;
  readonly receivedAtMs: number;
  /** null: its outcome or its source is no longer stored. */
  readonly source: {
    readonly folderEpoch: number;
    readonly uid: number;
    readonly outcome: Outcome;
    readonly sizeBytes: number;
    readonly raw: StoredSource;
  } | null;
};

/** The new content of a reprocessed message. */
export type MessageReplacement = {
  readonly parsed: ParsedMessage;
  /** What to write when a recorded message joins a ticket now, itself included under its id; null: it does not. */
  readonly joined: Omit<Batch, 'cursor'> | null;
};

/** Stored messages, to be reprocessed. */
export interface ReprocessStore {
  /** Throws `not_found`. */
  reprocessTarget(id: string): Promise<ReprocessTarget>;
  /** Ids of the messages of a mailbox that arrived at `sinceMs` or later, oldest first; null: all. */
  messageIdsSince(mailboxId: string, sinceMs: number | null): AsyncIterable<string>;
  /**
   * Updates the message, its attachments and its outcome in one transaction. Returns the names of what changed; writes
   * nothing when nothing did. Throws `database_conflict` when its ticket is no longer that of `target`.
   */
  replaceMessage(target: ReprocessTarget, replacement: MessageReplacement): Promise<readonly string[]>;
}

/** A ticket without its messages: its state and its mailbox. */
export type TicketHeader = {
  readonly id: string;
  readonly ref: string;
  readonly status: string;
  /** Reference of the ticket that it was merged into; null: none. */
  readonly mergedInto: string | null;
  /** null: it was removed. */
  readonly mailbox: { readonly name: string; readonly addresses: readonly string[] } | null;
};

export interface TicketStore {
  /** Throws `not_found`. */
  ticketHeader(ref: string): Promise<TicketHeader>;
  /** False: it was not in the other state, and is unchanged. */
  setTicketState(id: string, state: 'open' | 'closed'): Promise<boolean>;
}

/**
 * A lease: the right of one worker to poll a mailbox until it expires. `epoch` is its fencing token: every write of a
 * poll carries it, and is refused once another lease was acquired.
 */
export type Lease = { readonly mailboxId: string; readonly owner: string; readonly epoch: number };

/** `lease_lost`, for the mailbox of that name or id. */
export function leaseLost(mailbox: string): Failure {
  return new Failure('lease_lost', `another worker has acquired the lease of mailbox ${mailbox}`);
}

/** A mailbox whose next poll is due, with its schedule. */
export type DueMailbox = Mailbox & {
  readonly due: {
    /** Time since it became due, and since a person asked for this poll; null: none did. */
    readonly overdueMs: number;
    readonly retryRequestedMs: number | null;
    /** Failed polls in a row. */
    readonly failures: number;
    /** Refused logins in a row with this version of the row. */
    readonly loginFailures: number;
    /** Changes with every change of the row; fencing token of its last lease. */
    readonly version: string;
    readonly epoch: number;
  };
};

/** The version of a mailbox row, whether it is polled at all, and whether a person asked for a poll. */
export type MailboxVersion = { readonly version: string; readonly isActive: boolean; readonly isRetried: boolean };

/** Due times of mailboxes, by the database's clock. */
export interface ScheduleStore {
  /**
   * Mailboxes that are active, due by the database's clock and not leased, the longest overdue first; except those
   * whose password is sealed under a key (its column) that is not in `keyIds`. A mailbox suspended after
   * `loginFailuresMax` refused logins is due as soon as its row changes. Beyond `limit`, failing mailboxes get at most
   * half of the list while others are due, and no server gets all of it. Mailboxes of `excludedServers` are left out,
   * as far as one statement can name these.
   */
  dueMailboxes(
    limit: number,
    keyIds: readonly string[],
    loginFailuresMax: number,
    excludedServers?: readonly Endpoint[],
  ): Promise<readonly DueMailbox[]>;
  /** The schedule of a mailbox, due or not; null: it was removed. */
  scheduleOf(mailboxId: string): Promise<DueMailbox['due'] | null>;
  /** Makes due the mailboxes, of `host` or of any, that wait after a failure with one of `codes`. */
  makeDue(codes: readonly string[], host?: string): Promise<void>;
  /** After the database's clock stepped back: mailboxes that did not fail are due, and no failure is in the future. */
  makeAllDue(): Promise<void>;
  /**
   * The same for a clock that ran ahead before this process started, or a due time of another program, as far as rows
   * show it: mailboxes that wait longer than `longestWaitMs` are due.
   */
  makeStrandedDue(longestWaitMs: (mailbox: WaitingMailbox) => number): Promise<void>;
  /** The versions of these mailboxes; a removed one is left out. */
  mailboxVersions(mailboxIds: readonly string[]): Promise<ReadonlyMap<string, MailboxVersion>>;
}

/** Leases with fencing tokens, and the results of polls. */
export interface LeaseStore {
  /**
   * Acquires the lease in one conditional UPDATE; null: another worker has it, or had it after epoch `seenEpoch`.
   * `dead`: an owner whose process is known to have ended, and whose lease is taken over.
   */
  acquireLease(
    mailboxId: string,
    owner: string,
    leaseMs: number,
    dead: string | null,
    seenEpoch?: number,
  ): Promise<Lease | null>;
  /** The owner of the lease in force, or null. */
  leaseOwner(mailboxId: string): Promise<string | null>;
  /** Ends every lease of `owner`, which is known to be dead, and makes the mailboxes due. False: there was none. */
  reclaimAllLeases(owner: string): Promise<boolean>;
  /** Ends the lease of `owner` on one mailbox, which is known to be unused, and makes it due. False: there was none. */
  reclaimLease(owner: string, mailboxId: string): Promise<boolean>;
  /** Ends the leases of workers other than `me` without a heartbeat for `liveMs`; returns their owners. */
  reclaimLeasesOfDeadWorkers(liveMs: number, me: string): Promise<readonly string[]>;
  /** Renews leases of one owner; returns those that are lost. */
  renewLeases(leases: readonly Lease[], leaseMs: number): Promise<readonly Lease[]>;
  /** Records a successful poll that continues in IDLE, with its lease. Does nothing if it is lost. */
  recordPollSuccess(lease: Lease, nextPollAfterMs: number): Promise<void>;
  /**
   * Records the result of the poll and releases the lease; null: the poll was cut off, and the mailbox is due as
   * before. Does nothing if the lease is lost. When the row is no longer at `version`, the result is obsolete: the
   * mailbox is due at once, and nothing else is written.
   */
  releaseLease(lease: Lease, result: PollResult | null, version?: string): Promise<void>;
}

/** Batches of decided messages, and their post-actions. */
export interface BatchStore {
  /**
   * Commits a batch in one transaction: cursor, fenced by the lease, tickets, messages, attachments, outcomes,
   * links, merges. Throws `lease_lost`, `database_*` (nothing is stored or, when the connection broke during the
   * commit, it is unknown: read the cursor), or `row_refused` (nothing is stored; one of the rows can never be).
   * Returns the UIDs of rows above the cursor that another program had written: they are replaced. `others`: mailboxes
   * of the same account; `database_conflict` when one of them stored a message of the batch meanwhile.
   */
  commitBatch(lease: Lease, batch: Batch, others?: readonly string[]): Promise<readonly number[]>;
  /**
   * The same without a lease and without moving the cursor: each outcome replaces the one of its UID, in the epoch of
   * `cursor`, that waits in quarantine. Throws `database_conflict` when one of those no longer waits.
   */
  commitResolved(mailboxId: string, batch: Batch, others?: readonly string[]): Promise<void>;
  /**
   * Rows with a pending post-action, by ascending UID: size and arrival as they were stored. A row whose UID or size no
   * message can have is left out.
   */
  pendingActions(mailboxId: string, folderEpoch: number, limit: number): Promise<readonly StoredPendingAction[]>;
  completeActions(lease: Lease, folderEpoch: number, uids: readonly number[]): Promise<void>;
}

/** What a poll reads and writes. */
export interface IngestStore extends ScheduleStore, LeaseStore, LookupStore, BatchStore {}

/** Tickets and outcomes as commands print them, and what retention must not remove. */
export interface TicketReader {
  /** Newest first. */
  listTickets(limit: number): Promise<readonly TicketSummary[]>;
  /** Throws `not_found`. Messages oldest first. */
  ticketByRef(ref: string): Promise<TicketSummary & { readonly messages: readonly MessageDetails[] }>;
  /** Ordered by epoch and UID, with the messages if `full`; reads page after page, so that memory stays bounded. */
  outcomes(mailboxId: string, full: boolean): AsyncIterable<OutcomeRow>;
  reconcile(): Promise<ConsistencyCounts>;
  /** Those of `hashes` (SHA-256 of blobs) that no attachment row references. */
  unreferencedBlobs(hashes: readonly string[]): Promise<readonly string[]>;
  /** Those of `segments` that an unresolved quarantined message still needs. */
  retainedSegments(segments: readonly string[]): Promise<readonly string[]>;
}

/** One way to read a quarantine id; `folderEpoch` null: any. */
export type QuarantineName = { readonly mailbox: string; readonly folderEpoch: number | null; readonly uid: number };
