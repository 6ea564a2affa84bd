/**
 * What the workflows need from the outside, as types: with the other files called `*-ports.ts` the only thing that
 * `ingest/` knows about adapters.
 *
 * Adapters implement these; `compose.ts` hands them in. Every method rejects with a `Failure` (errors.ts) and with
 * nothing else. Times are milliseconds since 1970 (UTC), durations are milliseconds, sizes are bytes.
 */

import type { Recognised } from '../mail/fingerprint.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import type { KnownStore } from './known.ts';
import type { AfterAction, Connection, Cursor, Mailbox } from './mailbox.ts';
import type { Batch, OutcomeRow, PollResult, RawPlace, Reconciliation, StoredMessage, TicketSummary } from './rows.ts';

/** Opens passwords, each for the length of one login. */
export interface Passwords {
  /**
   * Lends the password of `mailbox` to `use` and wipes it. It is opened for the very connection in `mailbox`. Throws
   * `not_found`, `key_file_missing`, `key_unknown`, `password_damaged`, `password_bound_elsewhere`, `database_*`.
   */
  lend<T>(mailbox: Mailbox, use: (password: SecretBytes) => Promise<T>): Promise<T>;
  /** The keys that are open now. A mailbox whose password is sealed under none of them waits: it is not visited. */
  keyIds(): readonly string[];
}

/** One worker's claim on a mailbox. Every write of a poll carries `epoch`: who lost the lease cannot write. */
export type Lease = { readonly mailboxId: string; readonly owner: string; readonly epoch: number };

/** A mailbox that is due. */
export type DueMailbox = Mailbox & {
  readonly due: {
    /** How long ago it became due. */
    readonly overdueMs: number;
    readonly failures: number;
    /** Refused logins in a row with the row as it is now. */
    readonly loginRefusals: number;
    /** Changes whenever somebody changes the row. */
    readonly version: string;
    /** How often it had been leased. */
    readonly epoch: number;
  };
};

export type WatchedRow = { readonly version: string; readonly isActive: boolean };

export interface IngestStore extends KnownStore {
  /**
   * Mailboxes that are active, due by the database's clock and not leased, the longest overdue first; but for those
   * whose password is sealed under a key (its column) that is none of `keyIds`. One that is left alone after
   * `loginRefusalsMax` refused logins is due as soon as its row changes. Where there are more than `limit`, those that
   * failed get half of the list at most while others are due, and no server takes all of it from the others. Mailboxes of
   * `closed` servers are left out, of as many of these as one statement can name.
   */
  dueMailboxes(
    limit: number,
    keyIds: readonly string[],
    loginRefusalsMax: number,
    closed?: readonly Pick<Connection, 'host' | 'port'>[],
  ): Promise<readonly DueMailbox[]>;
  /** How the schedule has a mailbox, due or not; null when it is gone. */
  scheduleOf(mailboxId: string): Promise<DueMailbox['due'] | null>;
  /** Makes the mailboxes due, of `host` or of any, that wait after a failure with one of `codes`. */
  hurry(codes: readonly string[], host?: string): Promise<void>;
  /** After the database's clock was set back: what waits without having failed is due, and no failure is in the future. */
  hurryAll(): Promise<void>;
  /**
   * The same for what was written while the database's clock ran ahead, as far as that can be seen afterwards: mailboxes that
   * wait longer than any does are due. `intervalMs`: of those that have no interval of their own.
   */
  hurryStranded(intervalMs: number): Promise<void>;
  /** How the rows of these mailboxes are now; one that is gone is left out. */
  watchedRows(mailboxIds: readonly string[]): Promise<ReadonlyMap<string, WatchedRow>>;
  /**
   * One conditional UPDATE. `dead` names the owner of a lease whose process is known to be gone. null: somebody has it, or
   * has had it since it had the epoch `seenEpoch`.
   */
  takeLease(
    mailboxId: string,
    owner: string,
    leaseMs: number,
    dead: string | null,
    seenEpoch?: number,
  ): Promise<Lease | null>;
  /** The owner of the lease in force, or null. */
  leaseOwner(mailboxId: string): Promise<string | null>;
  /** Ends the lease of `owner`, who is known not to use it any more, at once, and makes the mailbox due. */
  freeLease(mailboxId: string, owner: string): Promise<void>;
  /** Frees the mailboxes of `owner`, who is known to be gone, and makes them due; tells whether there were any. */
  freeLeasesOf(owner: string): Promise<boolean>;
  /** Frees the mailboxes of workers other than `me` that have not reported for `liveMs`; tells whose those were. */
  freeDeadLeases(liveMs: number, me: string): Promise<readonly string[]>;
  /** Prolongs leases of one owner; gives back those that are lost. */
  renewLeases(leases: readonly Lease[], leaseMs: number): Promise<readonly Lease[]>;
  /** Writes that a visit went well and keeps the lease. Does nothing if it is lost. */
  noteVisit(lease: Lease, nextPollAfterMs: number): Promise<void>;
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
   * numbering of `cursor`, that waits in quarantine. `database_conflict` when one of those does not wait any more.
   */
  commitReleased(mailboxId: string, batch: Batch): Promise<void>;
  /** UIDs whose after-action is still to be driven, ascending. */
  pendingActions(mailboxId: string, uidValidity: number, limit: number): Promise<readonly number[]>;
  actionsDone(lease: Lease, uidValidity: number, uids: readonly number[]): Promise<void>;
}

export interface TicketReader {
  /** Newest first. */
  listTickets(limit: number): Promise<readonly TicketSummary[]>;
  /** Throws `not_found`. Messages oldest first. */
  ticketByRef(ref: string): Promise<TicketSummary & { readonly messages: readonly StoredMessage[] }>;
  /** By UIDVALIDITY and UID, page after page, so that memory stays flat; `full` brings the messages along. */
  outcomes(mailboxId: string, full: boolean): AsyncIterable<OutcomeRow>;
  reconcile(): Promise<Reconciliation>;
  /** Of `hashes` (SHA-256 of blobs), those that no attachment row names. */
  unnamedBlobs(hashes: readonly string[]): Promise<readonly string[]>;
  /** Of `segments`, those that an unresolved quarantined outcome still needs. */
  neededSegments(segments: readonly string[]): Promise<readonly string[]>;
}

/** The folder as it was when it was selected. */
export type FolderState = {
  readonly uidValidity: number;
  readonly uidNext: number;
  readonly messageCount: number;
  /** The server tells no UIDNEXT: it is one more than the last UID that is there now. */
  readonly isUidNextGuessed?: true;
};

export type Listed = { readonly uid: number; readonly sizeBytes: number; readonly receivedAtMs: number | null };

/** One fetched mail. `source` is null when the server answered without a body. */
export type Fetched = { readonly uid: number; readonly source: Uint8Array | null };

/** One IMAP connection with its folder selected. Every command has a deadline. Closing never throws. */
export interface Session extends AsyncDisposable {
  readonly folder: FolderState;
  /** UIDs above `uid`, ascending. */
  listAbove(uid: number): Promise<readonly number[]>;
  /** The UID below the first mail that arrived at or after `atMs` (INTERNALDATE); `uidNext - 1` when there is none. */
  uidBefore(atMs: number): Promise<number>;
  /** Sizes and arrival times; a UID that is gone is left out. */
  sizes(uids: readonly number[]): Promise<readonly Listed[]>;
  /** Whole sources, never setting the read flag; a UID that is gone is left out. */
  fetch(uids: readonly number[]): AsyncIterable<Fetched>;
  /** Header block alone, at most `bytesMax` bytes. */
  fetchHeader(uid: number, bytesMax: number): Promise<Uint8Array | null>;
  /** When the certificate of the server ends; null without TLS. */
  readonly certificateEndsAtMs: number | null;
  /** True when the server announces new mail by itself (IDLE, RFC 2177). */
  readonly canWatch: boolean;
  /**
   * Waits for new mail. `news`: the server has announced mail since `listAbove` was asked last, also before this was
   * called; `quiet`: nothing within `ms`; `stopped`: `stop` fired. The server has answered in all three, so that the session
   * can be used on. Throws when the connection is gone, or the server does not answer in time.
   */
  watch(ms: number, stop: AbortSignal): Promise<'news' | 'quiet' | 'stopped'>;
  /** Idempotent. A UID that is gone is no error. */
  apply(action: AfterAction, uids: readonly number[]): Promise<void>;
  /** The password is only borrowed by `open`; the session keeps none. */
  close(): Promise<void>;
}

/** What a probe saw; nothing is changed on the server. */
export type ProbeReport = {
  readonly address: string;
  readonly certificate: {
    readonly subject: string;
    readonly issuer: string;
    readonly validUntilMs: number;
    readonly fingerprint: string;
  } | null;
  readonly capabilities: readonly string[];
  readonly folder: FolderState;
  readonly folders: readonly string[];
};

export interface Sessions {
  /** `how.readOnly`: EXAMINE instead of SELECT; `how.literalBytesMax`: takes mails up to that size. */
  open(
    connection: Connection,
    password: SecretBytes,
    signal: AbortSignal,
    how?: { readonly readOnly?: true; readonly literalBytesMax?: number },
  ): Promise<Session>;
  /** Name, TLS, login, folder (EXAMINE, read-only). `step` is told each stage, for the terminal. */
  probe(connection: Connection, password: SecretBytes, step: (name: string) => void): Promise<ProbeReport>;
}

/** What the parse threads give back for one source. */
export type Digested =
  | (Recognised & { readonly ok: true; readonly compressed: Uint8Array; readonly sha256: string })
  | {
      readonly ok: false;
      readonly reason: 'parse_timeout' | 'parse_memory' | 'parse_failed';
      readonly compressed: Uint8Array;
      readonly sha256: string;
    };

/** Parses, hashes and compresses beside the main thread. A source is consumed: its memory is given back when it is done. */
export interface Digester extends AsyncDisposable {
  /** Sources come soon: what is slow to start, if anything is, is started now, and not waited for. */
  prepare(): void;
  /**
   * `lane` names the mailbox: mailboxes take turns, so that one with slow mail does not keep the others waiting.
   * `isFollowed`: more of the same mailbox come at once, until `hurry`, and may be awaited.
   */
  digest(source: Uint8Array, lane: string, isFollowed?: boolean): Promise<Digested>;
  /** Nothing follows in that lane for now. */
  hurry(lane: string): void;
  /** Compresses (zstd) and hashes without parsing. */
  compress(source: Uint8Array): Promise<{ readonly compressed: Uint8Array; readonly sha256: string }>;
}

/** Content-addressed files of attachments. */
export interface Blobs {
  /**
   * Writes those that are not there yet, all of them on the disk (fsync, folder included) when it resolves. Their contents
   * are consumed, also where it fails: what is the whole of its buffer has length 0 afterwards.
   */
  write(blobs: readonly { readonly sha256: string; readonly content: Uint8Array }[]): Promise<void>;
  read(sha256: string): Promise<Uint8Array>;
  /** In bytes; null when there is no such file. */
  lengthOf(sha256: string): Promise<number | null>;
  /** Names of files that were neither written nor written again since `beforeMs`. */
  untouchedSince(beforeMs: number): AsyncIterable<string>;
  /** Removes one of those, unless somebody needed it meanwhile: then false. */
  removeUntouched(name: string, beforeMs: number): Promise<boolean>;
}

/** Append-only segment files of raw sources. */
export interface RawSources {
  /** Appends in order; all of it on the disk (one fsync) when it resolves. Sources are consumed, as those of blobs are. */
  append(sources: readonly Uint8Array[]): Promise<readonly RawPlace[]>;
  /** The source as it was fetched, or its first `bytesMax` bytes. Throws `source_gone` when its segment has expired. */
  read(place: RawPlace, bytesMax?: number): Promise<Uint8Array<ArrayBuffer>>;
  /** In bytes; null when there is no such segment. */
  lengthOf(segment: string): Promise<number | null>;
  /** Whether nothing was appended to it since `beforeMs`, by its name. */
  isBefore(segment: string, beforeMs: number): boolean;
  /** Segments that were begun before `beforeMs`. */
  segmentsBefore(beforeMs: number): Promise<readonly string[]>;
  remove(segment: string): Promise<void>;
}

/** Who this worker is, and who is known to be gone. */
export interface Workers {
  /** Names host, boot, process and its start, so that no two workers ever share it. */
  readonly me: string;
  /** True when `owner` was a process of this machine that no longer runs; false when that cannot be known. */
  isDead(owner: string): boolean;
  /** True when `owner` has the name of this host and ran in another boot of it, or on another machine of that name. */
  isOfEarlierBoot(owner: string): boolean;
}
