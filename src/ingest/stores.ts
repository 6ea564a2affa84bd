/**
 * Store ports: the database operations that ingest, quarantine and repair need, implemented by `adapters/database`.
 *
 * Every call may throw a `Failure` of the database. Times are milliseconds since 1970 (UTC).
 */

import type { ParsedMessage } from '../mail/message.ts';
import type { LookupStore } from './batch-lookup.ts';
import type {
  AuditActor,
  Batch,
  Connection,
  ConsistencyCounts,
  Cursor,
  Mailbox,
  MailboxHealth,
  MessageDetails,
  NewPassword,
  Outcome,
  OutcomeRow,
  PollResult,
  RawLocation,
  StoredPassword,
  StoredSource,
  TicketSummary,
} from './model.ts';
import type { WaitingMailbox } from './polling-policy.ts';
import type { ListedMessage } from './ports.ts';

/** A mailbox as it is stored: `version` changes with every change of the row but the sealing of its password. */
export type VersionedMailbox = {
  readonly mailbox: Mailbox;
  readonly version: string;
  readonly password: MailboxHealth['password'];
};

/** Where a password is stored, `switch_changed` is thrown when the switch is not at the revision that it is prepared for. */
export interface MailboxStore {
  /** Throws `already_exists` when the name is taken. `cursor` is the baseline that a probe found, or null. Audited. */
  addMailbox(mailbox: Mailbox, password: NewPassword, cursor: Cursor | null, by: AuditActor): Promise<void>;
  /** Throws `not_found`. */
  mailboxByName(name: string): Promise<Mailbox>;
  mailboxById(id: string): Promise<Mailbox | null>;
  listMailboxes(): Promise<readonly (Mailbox & { readonly health: MailboxHealth })[]>;
  /** Those with a lease in force, and whose it is. */
  leasedMailboxes(): Promise<readonly { readonly id: string; readonly name: string; readonly owner: string }[]>;
  /** Pausing stops polls from the next one on; resuming makes the mailbox due at once. */
  setMailboxState(id: string, state: 'active' | 'paused'): Promise<void>;
  /** None: the user name counts, where it is an address. Throws `not_found`. */
  setAddresses(id: string, addresses: readonly string[]): Promise<void>;
  /** Also makes the mailbox due at once and forgets its failures. Audited. */
  setPassword(id: string, password: NewPassword, by: AuditActor): Promise<void>;
  /**
   * Writes what differs between two states of a mailbox, and its password unless that is null, in one statement; makes it
   * due at once and forgets its failures. A new password is audited. Throws `already_exists` when the name is taken,
   * `refused` when the row, or how its password is sealed, is not as in `before` any more.
   */
  changeMailbox(before: VersionedMailbox, after: Mailbox, password: NewPassword | null, by: AuditActor): Promise<void>;
  /** Throws `not_found`. */
  versionedMailbox(name: string): Promise<VersionedMailbox>;
  /** Removes settings, password, cursor and outcomes; tickets and messages stay. Audited. */
  removeMailbox(id: string, by: AuditActor): Promise<void>;
  /** Gives mailboxes that somebody else wrote into the table their schedule, due at once; tells how many. */
  scheduleNewMailboxes(): Promise<number>;
  /** null when the mailbox is gone. */
  readPassword(id: string): Promise<StoredPassword | null>;
}

/** What is stored about the folder epoch of a mailbox's folder (folder-epoch.ts), as a port. */

/** How far a mailbox is. `life`: the last one that was used for any of its folder epochs. */
export type FolderProgress = {
  readonly cursor: Cursor | null;
  readonly generation: number;
  /** Where the first visit in this folder epoch began; null where that was before this was kept. */
  readonly startUid: number | null;
  /** Of which folder the cursor is (`folderKey`); null where that was not kept. */
  readonly folder: string | null;
};

/** A folder epoch that begins, with the folder that it is of (`folderKey`). */
export type NewFolderEpoch = { readonly cursor: Cursor; readonly generation: number; readonly folder: string };

/** `Cursor.uidValidity` is a folder epoch here and everywhere else. */
export interface FolderStore {
  /** Throws `not_found` when the mailbox is gone. */
  readFolderProgress(mailboxId: string): Promise<FolderProgress>;
  /** True when an outcome is kept under that folder epoch. */
  isEpochUsed(mailboxId: string, folderEpoch: number): Promise<boolean>;
  /** The last mails up to that cursor that have an outcome, at most `limit`. */
  lastHandled(mailboxId: string, cursor: Cursor, limit: number): Promise<readonly ListedMessage[]>;
  /** Throws `lease_lost`. */
  beginFolderEpoch(lease: Lease, beginning: NewFolderEpoch): Promise<void>;
  /** Keeps of which folder the cursor is, which goes on. Throws `lease_lost`. */
  recordFolder(lease: Lease, folder: string): Promise<void>;
  /**
   * Forgets what only the folder epochs before `folderEpoch` needed: outcomes of duplicates, whose mail is told by another
   * outcome; mails in quarantine of which nothing was kept; after-actions, whose mails have other UIDs now. Throws
   * `lease_lost`.
   */
  forgetEarlierEpochs(lease: Lease, folderEpoch: number): Promise<void>;
}

/** Mails in quarantine as rows: what is read of them, and what is written but for taking them in (a batch does that). */

/** A mail that is in quarantine: it waits, or it was discarded. */
export type QuarantinedMessage = {
  readonly mailboxId: string;
  /** Name of the mailbox. */
  readonly mailbox: string;
  /** See folder-epoch.ts. */
  readonly folderEpoch: number;
  readonly uid: number;
  readonly reason: string;
  readonly quarantinedAtMs: number;
  /** null: it waits. */
  readonly discardedAtMs: number | null;
  readonly receivedAtMs: number | null;
  /** As the server told it. */
  readonly sizeBytes: number;
  /** What is kept of it: the whole mail, its header alone, or nothing (see quarantine-reasons.ts). */
  readonly raw: (RawLocation & { readonly sha256: string }) | null;
};

/** null: any. `discarded`: those that were discarded, instead of those that wait. */
export type QuarantineFilter = {
  readonly mailboxId: string | null;
  readonly reason: string | null;
  readonly discarded?: boolean;
};

/** What another look at a mail found, while it stays in quarantine. */
export type Requarantine = Pick<QuarantinedMessage, 'reason' | 'raw' | 'sizeBytes'>;

export interface QuarantineStore {
  /** By mailbox, folder epoch and UID, page after page. */
  quarantinedMessages(filter: QuarantineFilter): AsyncIterable<QuarantinedMessage>;
  /** Those of that UID that wait, or that were discarded; `folderEpoch` null: in any folder epoch. */
  quarantinedByUid(
    mailboxId: string,
    folderEpoch: number | null,
    uid: number,
    discarded?: boolean,
  ): Promise<readonly QuarantinedMessage[]>;
  /** The same by the name of the mailbox. */
  quarantinedByName(name: QuarantineName, discarded: boolean): Promise<readonly QuarantinedMessage[]>;
  /**
   * Of those that wait, from the `offset`th on, no more than `limit`: the newest first, and of one time the highest mailbox
   * id, folder epoch and UID. `reason` null: any.
   */
  quarantinePage(reason: string | null, offset: number, limit: number): Promise<readonly QuarantinedMessage[]>;
  /** Ends its waiting without taking it in. False: it did not wait any more. */
  discard(mail: QuarantinedMessage): Promise<boolean>;
  /** One that was discarded waits again. False: it is not discarded any more. */
  undiscard(mail: QuarantinedMessage): Promise<boolean>;
  /** False: it did not wait any more. */
  requarantine(mail: QuarantinedMessage, found: Requarantine): Promise<boolean>;
}

/** What `reconcile` reads and writes beside its counts, as a port. */

/** An outcome as far as it is compared with the server. */
export type ComparedOutcome = {
  readonly uid: number;
  readonly outcome: Outcome;
  /** In quarantine, and nobody has resolved it. */
  readonly waits: boolean;
  readonly actionPending: boolean;
};

/** A mail that was stored, whose message is not there any more, and was not deleted together with its ticket. */
export type LostMessage = {
  readonly mailboxId: string;
  readonly folderEpoch: number;
  readonly uid: number;
  readonly ticketId: string | null;
  /** Reference of its ticket. */
  readonly ticket: string | null;
  readonly messageId: string;
  readonly sizeBytes: number;
  /** Where the server did not tell: when it was stored. */
  readonly receivedAtMs: number;
  readonly raw: StoredSource | null;
  readonly dedupKey: string | null;
};

/** One row that is wrong; what it has nothing to do with is null. */
export type InconsistentRow = {
  /** Which of the counts it is in. */
  readonly count: keyof ConsistencyCounts;
  readonly mailbox: string | null;
  readonly uid: number | null;
  readonly ticket: string | null;
  /** Id of the message row. */
  readonly message: string | null;
};

/** A file of an attachment that messages name. */
export type ReferencedBlob = { readonly sha256: string; readonly sizeBytes: number; readonly messageId: string };

/** A file of raw sources that outcomes name. */
export type ReferencedSegment = {
  readonly segment: string;
  /** Where the last source that is named ends. */
  readonly endOffset: number;
  readonly messages: number;
  /** Of them, those that wait in quarantine: for these the source is all there is. */
  readonly waiting: number;
};

export interface ReconcileStore {
  countReferencedBlobs(): Promise<number>;
  /** Each file once, by its hash, page after page. */
  referencedBlobs(): AsyncIterable<ReferencedBlob>;
  referencedSegments(): Promise<readonly ReferencedSegment[]>;

  /** The first `limit` rows of each count that is to be 0. */
  inconsistentRows(counts: readonly (keyof ConsistencyCounts)[], limit: number): Promise<readonly InconsistentRow[]>;
  /** Of all folder epochs. */
  lostMessages(mailboxId: string): AsyncIterable<LostMessage>;
  /** Puts it back under its id and its ticket. False: it is there again, or its ticket is gone by now. */
  restoreMessage(lost: LostMessage, parsed: ParsedMessage): Promise<boolean>;
  /** By UID, page after page. */
  comparedOutcomes(mailboxId: string, folderEpoch: number): AsyncIterable<ComparedOutcome>;
  /** Puts a mail that has no outcome into quarantine, as `missed`. False: it has one. */
  quarantineMissed(
    mailboxId: string,
    folderEpoch: number,
    mail: { readonly uid: number; readonly sizeBytes: number; readonly receivedAtMs: number | null },
  ): Promise<boolean>;
}

/** Stored messages as they are replayed from their raw sources: what is read of them, and what is written. */

/** A stored message with the place of its source. */
export type ReprocessTarget = {
  readonly id: string;
  readonly mailboxId: string;
  readonly ticketId: string | null;
  readonly receivedAtMs: number;
  /** null when its outcome or its source is not kept any more. */
  readonly source: {
    readonly folderEpoch: number;
    readonly uid: number;
    readonly outcome: Outcome;
    readonly sizeBytes: number;
    readonly raw: StoredSource;
  } | null;
};

/** What a message becomes. */
export type MessageReplacement = {
  readonly parsed: ParsedMessage;
  /** Of one that was recorded and belongs to a ticket now: all that goes with that. `messages` has it under its id. */
  readonly joined: Omit<Batch, 'cursor'> | null;
};

export interface ReprocessStore {
  /** Throws `not_found`. */
  reprocessTarget(id: string): Promise<ReprocessTarget>;
  /** Ids of the messages of a mailbox that arrived since then, oldest first; null: all. */
  messageIdsSince(mailboxId: string, sinceMs: number | null): AsyncIterable<string>;
  /**
   * One transaction: the message, its attachments and its outcome as they are now. Gives the names of what changed; writes
   * nothing when that is nothing. Throws `database_conflict` when its ticket is not what `mail` says any more.
   */
  replaceMessage(mail: ReprocessTarget, replacement: MessageReplacement): Promise<readonly string[]>;
}

export type TicketHeader = {
  readonly id: string;
  readonly ref: string;
  readonly status: string;
  /** Reference of the ticket that it went into. */
  readonly mergedInto: string | null;
  /** null when it was removed. */
  readonly mailbox: { readonly name: string; readonly addresses: readonly string[] } | null;
};

export interface TicketStore {
  /** Throws `not_found`. */
  ticketHeader(ref: string): Promise<TicketHeader>;
  /** False: it was not in the other state, and nothing was changed. */
  setTicketState(id: string, state: 'open' | 'closed'): Promise<boolean>;
  /** The key of the reply tokens, 32 bytes; made when there is none yet. */
  replyKey(): Promise<Uint8Array>;
}

/**
 * What the workflows need from the outside, as types: with the other files called `*-ports.ts` the only thing that
 * `ingest/` knows about adapters.
 *
 * Adapters implement these; `compose.ts` hands them in. Every method rejects with a `Failure` (errors.ts) and with
 * nothing else. Times are milliseconds since 1970 (UTC), durations are milliseconds, sizes are bytes.
 */

/** One worker's claim on a mailbox. Every write of a poll carries `epoch`: who lost the lease cannot write. */
export type Lease = { readonly mailboxId: string; readonly owner: string; readonly epoch: number };

/** A mailbox that is due. */
export type DueMailbox = Mailbox & {
  readonly due: {
    /** How long ago it became due. */
    readonly overdueMs: number;
    readonly failures: number;
    /** Refused logins in a row with the row as it is now. */
    readonly loginFailures: number;
    /** Changes whenever somebody changes the row. */
    readonly version: string;
    /** How often it had been leased. */
    readonly epoch: number;
  };
};

export type MailboxVersion = { readonly version: string; readonly isActive: boolean };

export interface IngestStore extends LookupStore {
  /**
   * Mailboxes that are active, due by the database's clock and not leased, the longest overdue first; but for those
   * whose password is sealed under a key (its column) that is none of `keyIds`. One that is left alone after
   * `loginFailuresMax` refused logins is due as soon as its row changes. Where there are more than `limit`, those that
   * failed get half of the list at most while others are due, and no server takes all of it from the others. Mailboxes of
   * `closed` servers are left out, of as many of these as one statement can name.
   */
  dueMailboxes(
    limit: number,
    keyIds: readonly string[],
    loginFailuresMax: number,
    closed?: readonly Pick<Connection, 'host' | 'port'>[],
  ): Promise<readonly DueMailbox[]>;
  /** How the schedule has a mailbox, due or not; null when it is gone. */
  scheduleOf(mailboxId: string): Promise<DueMailbox['due'] | null>;
  /** Makes the mailboxes due, of `host` or of any, that wait after a failure with one of `codes`. */
  makeDue(codes: readonly string[], host?: string): Promise<void>;
  /** After the database's clock was set back: what waits without having failed is due, and no failure is in the future. */
  makeAllDue(): Promise<void>;
  /**
   * The same for what was written while the database's clock ran ahead, as far as that can be seen afterwards: mailboxes that
   * wait longer than any does are due. `intervalMs`: of those that have no interval of their own.
   */
  makeStrandedDue(longestWaitMs: (mailbox: WaitingMailbox) => number): Promise<void>;
  /** How the rows of these mailboxes are now; one that is gone is left out. */
  mailboxVersions(mailboxIds: readonly string[]): Promise<ReadonlyMap<string, MailboxVersion>>;
  /**
   * One conditional UPDATE. `dead` names the owner of a lease whose process is known to be gone. null: somebody has it, or
   * has had it since it had the epoch `seenEpoch`.
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
  /** Ends the lease of `owner`, who is known not to use it any more, at once, and makes the mailbox due. */
  reclaimLease(mailboxId: string, owner: string): Promise<void>;
  /** Frees the mailboxes of `owner`, who is known to be gone, and makes them due; tells whether there were any. */
  reclaimLeasesOf(owner: string): Promise<boolean>;
  /** Frees the mailboxes of workers other than `me` that have not reported for `liveMs`; tells whose those were. */
  reclaimDeadLeases(liveMs: number, me: string): Promise<readonly string[]>;
  /** Prolongs leases of one owner; gives back those that are lost. */
  renewLeases(leases: readonly Lease[], leaseMs: number): Promise<readonly Lease[]>;
  /** Writes that a visit went well and keeps the lease. Does nothing if it is lost. */
  recordPollSuccess(lease: Lease, nextPollAfterMs: number): Promise<void>;
  /**
  /**
   * Writes how the poll went and lets go; null: it came to nothing, and the mailbox is due as it was before. Does nothing
   * if the lease is lost. When the row is not `version` any more, the poll was about what is no more: the mailbox is due at
   * once, and nothing is written.
   */
  releaseLease(lease: Lease, result: PollResult | null, version?: string): Promise<void>;
  readCursor(mailboxId: string): Promise<Cursor | null>;
  /** Sets the baseline, or the start in a new UIDVALIDITY. Throws `lease_lost`. */
  setCursor(lease: Lease, cursor: Cursor): Promise<void>;
  /**
   * One transaction: fence check (cursor and epoch), tickets, messages, attachments, outcomes, links, merges.
   * Throws `lease_lost`, `database_*` (nothing is stored, or, when the connection broke during the commit, it is
   * unknown: read the cursor), or `row_refused` (nothing is stored; one of the rows can never be).
   */
  commitBatch(lease: Lease, batch: Batch): Promise<void>;
  /**
   * The same without a lease and without moving the cursor: each outcome takes the place of the one of its UID, in the
   * folder epoch of `cursor`, that waits in quarantine. `database_conflict` when one of those does not wait any more.
   */
  commitResolved(mailboxId: string, batch: Batch): Promise<void>;
  /** UIDs whose after-action is still to be driven, ascending. */
  pendingActions(mailboxId: string, uidValidity: number, limit: number): Promise<readonly number[]>;
  completeActions(lease: Lease, uidValidity: number, uids: readonly number[]): Promise<void>;
}

export interface TicketReader {
  /** Newest first. */
  listTickets(limit: number): Promise<readonly TicketSummary[]>;
  /** Throws `not_found`. Messages oldest first. */
  ticketByRef(ref: string): Promise<TicketSummary & { readonly messages: readonly MessageDetails[] }>;
  /** By UIDVALIDITY and UID, page after page, so that memory stays flat; `full` brings the messages along. */
  outcomes(mailboxId: string, full: boolean): AsyncIterable<OutcomeRow>;
  reconcile(): Promise<ConsistencyCounts>;
  /** Of `hashes` (SHA-256 of blobs), those that no attachment row names. */
  unreferencedBlobs(hashes: readonly string[]): Promise<readonly string[]>;
  /** Of `segments`, those that an unresolved quarantined outcome still needs. */
  retainedSegments(segments: readonly string[]): Promise<readonly string[]>;
}

/** One way to read an id. `folderEpoch` null: any. */
export type QuarantineName = { readonly mailbox: string; readonly folderEpoch: number | null; readonly uid: number };
