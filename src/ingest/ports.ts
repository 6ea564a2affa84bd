/**
 * Ports: what the workflows need from outside, implemented by adapters and wired in `compose/`; stores are in
 * stores.ts.
 *
 * Every method rejects with a `Failure` (errors.ts) and with nothing else. Times are milliseconds since 1970 (UTC),
 * durations milliseconds, sizes bytes.
 */

import type { Failure, FailureCode } from '../errors.ts';
import type { FingerprintedMessage } from '../mail/fingerprint.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import type { Connection, Mailbox, Outcome, PostAction, StoredSource } from './model.ts';
import type { PoolCheck } from './readiness.ts';

/**
 * A credential for one IMAP login: a password (SASL PLAIN, LOGIN) or an access token (XOAUTH2, OAUTHBEARER).
 * `sessionMs`: the server ends the session after that time; null: it does not.
 */
export type Credential =
  | { readonly kind: 'password'; readonly secret: SecretBytes }
  | { readonly kind: 'token'; readonly secret: SecretBytes; readonly sessionMs: number | null };

/** Opens stored credentials, each for one login: it is wiped when the folder is open, or the attempt has failed. */
export interface Credentials {
  /**
   * Passes the credential of `mailbox` to `use`, with the connection that it may be sent over, and wipes it then. It
   * opens only for the connection in `mailbox`. Calls `use` again, with a new token, when the server refused one that
   * was good by the clock. Throws `not_found`, `key_file_missing`, `key_unknown`, `password_damaged`,
   * `password_binding_mismatch`, `token_*`, `oauth_*`, `database_*`.
   */
  withCredential<T>(mailbox: Mailbox, use: (credential: Credential, connection: Connection) => Promise<T>): Promise<T>;
  /**
   * Ids of the keys that are open now. A mailbox whose password is sealed under another one waits: it is not polled.
   */
  keyIds(): readonly string[];
}

/** Guard of the post-actions that remove messages from the server: what a writer of the database set waits. */
export interface PostActionGuard {
  /**
   * True while encryption is off, and where a command or the page confirmed exactly these settings. Reads the stored
   * seal.
   */
  mayRemove(mailbox: Mailbox): Promise<boolean>;
  /**
   * Seal of an outcome that is stored with a pending post-action (secret/outcome-seal.ts); null while no key seals, or
   * where the post-action removes nothing.
   */
  sealOutcome(mailbox: Mailbox, outcome: PendingAction): string | null;
  /** True while encryption is off, and for an outcome that this program stored by its seal. */
  wasStored(mailbox: Mailbox, outcome: PendingAction, seal: string | null): boolean;
  /** True for a listed mailbox whose post-action waits for a confirmation. */
  isUnconfirmed(mailbox: Mailbox, seal: string | null): boolean;
}

/** An outcome with a pending post-action, as far as a seal covers it. */
export type PendingAction = Pick<ListedMessage, 'uid' | 'sizeBytes' | 'receivedAtMs'> & {
  readonly folderEpoch: number;
};

/** The state of a folder when it was selected. */
export type FolderState = {
  readonly uidValidity: number;
  readonly uidNext: number;
  readonly messageCount: number;
  /** The server gives no UIDNEXT: it is computed as the highest UID plus one. */
  readonly isUidNextGuessed?: true;
};

/** A message in a folder listing; `receivedAtMs` is INTERNALDATE, null: the server gives none. */
export type ListedMessage = { readonly uid: number; readonly sizeBytes: number; readonly receivedAtMs: number | null };

/** With its Message-ID, without angle brackets; null: none, or one that is not compared (not ASCII, very long). */
export type IdentifiedMessage = ListedMessage & { readonly messageId: string | null };

/** As it was when it was handled; `sourceSha256`: of its whole source, null where that is unknown. */
export type HandledSource = IdentifiedMessage & { readonly sourceSha256: string | null };

/** UIDs above `above`, up to and including `upTo`; or those of a list. */
export type UidSelection = { readonly above: number; readonly upTo: number } | { readonly list: readonly number[] };

/** A fetched source; null: the server answered without a body. */
export type FetchedSource = { readonly uid: number; readonly source: Uint8Array | null };

/** Why an IDLE ended. */
export type IdleEnd = 'new_messages' | 'timed_out' | 'stopped';

/** One IMAP connection with its folder selected. Every command has a deadline. Closing never throws. */
export interface Session extends AsyncDisposable {
  readonly folder: FolderState;
  /**
   * UIDs above `uid`, ascending, without those that are not below UIDNEXT (RFC 9051 section 2.3.1.1), which the server
   * is asked for again before one is left out. At most 250,000: the lowest, with `hasMore`.
   */
  listAbove(uid: number): Promise<readonly number[]>;
  /** True when there may be messages above the last one of the last `listAbove`. */
  readonly hasMore: boolean;
  /** `server_protocol_error`: a listing of this session left out a UID; null: none did. */
  readonly listingFailure: Failure | null;
  /** The UID before the first message with INTERNALDATE at or after `atMs`; `uidNext - 1` when there is none. */
  uidBefore(atMs: number): Promise<number>;
  /** Sizes and arrival times; a UID that no longer exists is left out. */
  sizes(uids: readonly number[]): Promise<readonly ListedMessage[]>;
  /** The same with the Message-ID, in one FETCH; a UID that no longer exists is left out. */
  identify(uids: readonly number[]): Promise<readonly IdentifiedMessage[]>;
  /** Whole sources (BODY.PEEK[]); a UID that no longer exists is left out. */
  fetch(uids: readonly number[]): AsyncIterable<FetchedSource>;
  /** The header alone, at most `bytesMax` bytes. */
  fetchHeader(uid: number, bytesMax: number): Promise<Uint8Array | null>;
  /** notAfter of the server's certificate; null without TLS. */
  readonly certificateEndsAtMs: number | null;
  /**
   * Time until the session should be left, since the access token of its login ends soon after; not positive: it is
   * time; null: it lasts. A command that the end of the token cuts off throws `session_expired`.
   */
  readonly endsInMs: number | null;
  /** True when the server supports IDLE (RFC 2177). */
  readonly supportsIdle: boolean;
  /**
   * Waits in IDLE for new messages. `new_messages`: the server announced some since the last `listAbove`, also before
   * this call; `timed_out`: none within `ms`; `stopped`: `stop` fired. IDLE has ended in all three, so that the session
   * can be used further. Throws when the connection is lost, or the server does not answer in time.
   */
  idle(ms: number, stop: AbortSignal): Promise<IdleEnd>;
  /**
   * Makes an idling session send DONE and IDLE again, so that the server has to answer. False: it does not idle now. A
   * server that does not answer ends the session as it ends any command.
   */
  verify(): boolean;
  /**
   * Idempotent. A UID that no longer exists is no error. `isRepeat`: an earlier attempt may have copied the messages.
   * Throws `server_refused` when the server does not show that it did it.
   */
  apply(action: PostAction, uids: readonly number[], isRepeat?: boolean): Promise<void>;
  /** Idempotent. */
  close(): Promise<void>;
}

/** The result of a probe, which changes nothing on the server. */
export type ProbeReport = {
  readonly address: string;
  readonly certificate: {
    readonly subject: string;
    readonly issuer: string;
    readonly validUntilMs: number;
    readonly fingerprint: string;
  } | null;
  /** SASL mechanism of the login, such as PLAIN or XOAUTH2; null: the server had logged in already (PREAUTH). */
  readonly mechanism: string | null;
  readonly capabilities: readonly string[];
  readonly folder: FolderState;
  readonly folders: readonly string[];
  /** The server accepted the login and named another host for the mailbox (REFERRAL, RFC 2221). */
  readonly isReferred: boolean;
  /** Number of folders and capabilities that are left out, since their names repeat the secret of the login. */
  readonly leftOut: number;
};

/** What a session reports while it is open and while it is opened, of the network alone. Cheap to call. */
export interface AnswerWatch {
  /** From now on an answer of the server is awaited. */
  awaited(): void;
  /** Bytes of the server arrived. */
  received(): void;
  /** None is awaited: the command has ended, or the connection idles. */
  settled(): void;
}

/** Opens IMAP sessions. */
export interface Sessions {
  /** `how.readOnly`: EXAMINE instead of SELECT; `how.literalBytesMax`: accepts messages up to that size. */
  open(
    connection: Connection,
    credential: Credential,
    signal: AbortSignal,
    how?: { readonly readOnly?: true; readonly literalBytesMax?: number; readonly watch?: AnswerWatch },
  ): Promise<Session>;
  /** Name, TLS, login, folder (EXAMINE, read-only). `step` is called with each stage, for the terminal. */
  probe(connection: Connection, credential: Credential, step: (name: string) => void): Promise<ProbeReport>;
}

/** A raw source, compressed (zstd), and the SHA-256 of the bytes before compression. */
export type CompressedSource = { readonly compressed: Uint8Array; readonly sha256: string };

/** The result of parsing one source. */
export type ParseResult = CompressedSource &
  (
    | (FingerprintedMessage & { readonly ok: true })
    | { readonly ok: false; readonly reason: 'parse_timeout' | 'parse_memory' | 'parse_failed' }
  );

/** Parse threads: parse, hash and compress sources. A source is consumed: its memory is released afterwards. */
export interface MessageParser extends AsyncDisposable {
  /** Starts threads in the background, as sources follow soon. */
  prepare(): void;
  /**
   * `lane` is the mailbox: lanes are served round robin, so that slow messages of one do not delay the others.
   * `hasMore`: more sources of the lane follow at once, until `flush`, and may be batched with this one.
   */
  parse(source: Uint8Array, lane: string, hasMore?: boolean): Promise<ParseResult>;
  /** No more sources follow in that lane for now. */
  flush(lane: string): void;
  /** Compresses (zstd) and hashes without parsing. */
  compress(source: Uint8Array): Promise<CompressedSource>;
}

/** Content-addressed files of attachments. */
export interface Blobs {
  /**
   * Writes those that do not exist yet; durable (fsync, folder included) when it resolves. Contents are consumed, also
   * on failure: a content that is the whole of its buffer has length 0 afterwards.
   */
  write(blobs: readonly { readonly sha256: string; readonly content: Uint8Array }[]): Promise<void>;
  /** Throws `source_refused` for another name, and for bytes with another hash. */
  read(sha256: string): Promise<Uint8Array>;
  /** null: there is no such file. */
  lengthOf(sha256: string): Promise<number | null>;
  /** Names of files that were not written since `beforeMs`. */
  untouchedSince(beforeMs: number): AsyncIterable<string>;
  /** Removes one of those. False: it was written meanwhile, and stays. */
  removeUntouched(name: string, beforeMs: number): Promise<boolean>;
}

/** Append-only segment files of raw sources. */
export interface RawSources {
  /** Appends in order; durable (one fsync) when it resolves. Sources are consumed, as contents of blobs are. */
  append(sources: readonly CompressedSource[]): Promise<readonly StoredSource[]>;
  /**
   * The source as it was fetched, or its first `bytesMax` bytes, verified as a whole. Throws `source_missing` when its
   * segment has expired, `source_refused` when `source` names anything that was not stored for it.
   */
  read(source: StoredSource, bytesMax?: number): Promise<Uint8Array<ArrayBuffer>>;
  /** null: there is no such segment. */
  lengthOf(segment: string): Promise<number | null>;
  /** True when its name says that nothing was appended since `beforeMs`. */
  isBefore(segment: string, beforeMs: number): boolean;
  /** Segments that were started before `beforeMs`. */
  segmentsBefore(beforeMs: number): Promise<readonly string[]>;
  remove(segment: string): Promise<void>;
}

/** Identity of this worker, and liveness of processes on this machine. */
export interface WorkerIdentity {
  /** Unique: host, boot, process id and its start time. */
  readonly name: string;
  /** True when `owner` was a process of this machine that no longer runs; false when that is unknown. */
  isDead(owner: string): boolean;
  /** True when `owner` has this host name and ran in another boot of it, or on another machine of that name. */
  isOfEarlierBoot(owner: string): boolean;
}

/** The state of the database connection. */
export interface DatabaseHealth {
  /** Throws `database_*` when it cannot be reached. */
  ping(): Promise<void>;
  /** The database's clock, in milliseconds since 1970. */
  databaseNowMs(): Promise<number>;
  /** The connection pool; null for a SQLite file. */
  pool(): PoolCheck | null;
}

/** Secrets that a reader of the database can use: neither sealed, nor empty or too long to be one. */
export type ReadableSecrets = { readonly passwords: number; readonly refreshTokens: number };

export interface ReadableSecretsReader {
  /** As far as `encryption enable` would seal them. */
  readableSecrets(): Promise<ReadableSecrets>;
}

/** Counts of the quarantine. */
export interface QuarantineReader {
  /** Unresolved messages in quarantine, and when the oldest was quarantined; null: none. */
  quarantineCounts(): Promise<{
    readonly oldestAtMs: number | null;
    /** Number of messages for each reason, the largest first. */
    readonly reasons: readonly { readonly reason: string; readonly count: number }[];
  }>;
}

/** A row of the table of workers. */
export type WorkerRow = {
  readonly worker: string;
  readonly host: string;
  readonly pid: number;
  readonly live: boolean;
  readonly seenAtMs: number;
};

/** The table of workers. */
export interface WorkerList {
  /** `live`: its last heartbeat is at most `liveMs` old, by the database's clock. */
  listWorkers(liveMs: number): Promise<readonly WorkerRow[]>;
}

/** The disk under the data folder. */
export interface Disk {
  /** Writes, syncs and removes a small file, and measures the free space, also where that fails. Never rejects. */
  probe(): Promise<DiskProbe>;
}

/** `failure`: `disk_full` or `disk_failed`; null: the file was written. `freeBytes` null: not known. */
export type DiskProbe = { readonly failure: Failure | null; readonly freeBytes: number | null };

/** A listening server; disposing it closes it. */
export interface HttpServer extends AsyncDisposable {
  /** As `http://127.0.0.1:8025`. */
  readonly address: string;
}

/** The service manager that started the process (systemd), or none. Never throws. */
export interface ServiceManager {
  /** Watchdog timeout: without a `heartbeat` for so long it kills the process. null: no watchdog. */
  readonly watchdogMs: number | null;
  ready(): void;
  reloading(): void;
  stopping(): void;
  /** One sentence, shown by `systemctl status`. */
  status(sentence: string): void;
  heartbeat(): void;
}

/** Cron schedule: five or six fields, seconds first when six. */
export interface Cron {
  schedule(expression: string, run: () => void): Disposable;
}

/** One poll, as the metrics count it. */
type PollSample = {
  readonly mailbox: string;
  readonly host: string;
  /** `ok`, or the failure that ended it. */
  readonly result: 'ok' | 'preempted' | FailureCode;
  readonly durationMs: number;
  /** How long after it was due it started; null for a round after an announcement. */
  readonly lagMs: number | null;
};

/** Counters that are updated as things happen; what can be looked up on request is in the readiness. */
export interface Meter {
  poll(poll: PollSample): void;
  outcome(mailbox: string, outcome: Outcome): void;
  /** Time from the server's announcement of messages in IDLE to their commit. */
  idleDelivery(ms: number): void;
}

/** For commands, which export no metrics. */
export const noMeter: Meter = { poll: () => undefined, outcome: () => undefined, idleDelivery: () => undefined };
