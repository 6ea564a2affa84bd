/**
 * What the workflows need from the outside, as types: with the other files called `*-ports.ts` the only thing that
 * `ingest/` knows about adapters.
 *
 * Adapters implement these; `compose.ts` hands them in. Every method rejects with a `Failure` (errors.ts) and with
 * nothing else. Times are milliseconds since 1970 (UTC), durations are milliseconds, sizes are bytes.
 */

import type { FailureCode } from '../errors.ts';
import type { FingerprintedMessage } from '../mail/fingerprint.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import type { Connection, Mailbox, Outcome, PostAction, RawLocation } from './model.ts';
import type { PoolCheck } from './readiness.ts';

/** Opens passwords, each for the length of one login. */
export interface Passwords {
  /**
   * Lends the password of `mailbox` to `use` and wipes it. It is opened for the very connection in `mailbox`. Throws
   * `not_found`, `key_file_missing`, `key_unknown`, `password_damaged`, `password_binding_mismatch`, `database_*`.
   */
  withPassword<T>(mailbox: Mailbox, use: (password: SecretBytes) => Promise<T>): Promise<T>;
  /** The keys that are open now. A mailbox whose password is sealed under none of them waits: it is not visited. */
  keyIds(): readonly string[];
}

/** The folder as it was when it was selected. */
export type FolderState = {
  readonly uidValidity: number;
  readonly uidNext: number;
  readonly messageCount: number;
  /** The server tells no UIDNEXT: it is one more than the last UID that is there now. */
  readonly isUidNextGuessed?: true;
};

export type ListedMessage = { readonly uid: number; readonly sizeBytes: number; readonly receivedAtMs: number | null };

/** One fetched mail. `source` is null when the server answered without a body. */
export type FetchedSource = { readonly uid: number; readonly source: Uint8Array | null };

/** One IMAP connection with its folder selected. Every command has a deadline. Closing never throws. */
export interface Session extends AsyncDisposable {
  readonly folder: FolderState;
  /** UIDs above `uid`, ascending. */
  listAbove(uid: number): Promise<readonly number[]>;
  /** The UID below the first mail that arrived at or after `atMs` (INTERNALDATE); `uidNext - 1` when there is none. */
  uidBefore(atMs: number): Promise<number>;
  /** Sizes and arrival times; a UID that is gone is left out. */
  sizes(uids: readonly number[]): Promise<readonly ListedMessage[]>;
  /** Whole sources, never setting the read flag; a UID that is gone is left out. */
  fetch(uids: readonly number[]): AsyncIterable<FetchedSource>;
  /** Header block alone, at most `bytesMax` bytes. */
  fetchHeader(uid: number, bytesMax: number): Promise<Uint8Array | null>;
  /** When the certificate of the server ends; null without TLS. */
  readonly certificateEndsAtMs: number | null;
  /** True when the server announces new mail by itself (IDLE, RFC 2177). */
  readonly supportsIdle: boolean;
  /**
   * Waits for new mail. `news`: the server has announced mail since `listAbove` was asked last, also before this was
   * called; `quiet`: nothing within `ms`; `stopped`: `stop` fired. The server has answered in all three, so that the session
   * can be used on. Throws when the connection is gone, or the server does not answer in time.
   */
  idle(ms: number, stop: AbortSignal): Promise<'news' | 'quiet' | 'stopped'>;
  /** Idempotent. A UID that is gone is no error. */
  apply(action: PostAction, uids: readonly number[]): Promise<void>;
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
export type ParseResult =
  | (FingerprintedMessage & { readonly ok: true; readonly compressed: Uint8Array; readonly sha256: string })
  | {
      readonly ok: false;
      readonly reason: 'parse_timeout' | 'parse_memory' | 'parse_failed';
      readonly compressed: Uint8Array;
      readonly sha256: string;
    };

/** Parses, hashes and compresses beside the main thread. A source is consumed: its memory is given back when it is done. */
export interface MessageParser extends AsyncDisposable {
  /** Sources come soon: what is slow to start, if anything is, is started now, and not waited for. */
  prepare(): void;
  /**
   * `lane` names the mailbox: mailboxes take turns, so that one with slow mail does not keep the others waiting.
   * `isFollowed`: more of the same mailbox come at once, until `hurry`, and may be awaited.
   */
  parse(source: Uint8Array, lane: string, isFollowed?: boolean): Promise<ParseResult>;
  /** Nothing follows in that lane for now. */
  flush(lane: string): void;
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
  append(sources: readonly Uint8Array[]): Promise<readonly RawLocation[]>;
  /** The source as it was fetched, or its first `bytesMax` bytes. Throws `source_missing` when its segment has expired. */
  read(place: RawLocation, bytesMax?: number): Promise<Uint8Array<ArrayBuffer>>;
  /** In bytes; null when there is no such segment. */
  lengthOf(segment: string): Promise<number | null>;
  /** Whether nothing was appended to it since `beforeMs`, by its name. */
  isBefore(segment: string, beforeMs: number): boolean;
  /** Segments that were begun before `beforeMs`. */
  segmentsBefore(beforeMs: number): Promise<readonly string[]>;
  remove(segment: string): Promise<void>;
}

/** Who this worker is, and who is known to be gone. */
export interface WorkerIdentity {
  /** Names host, boot, process and its start, so that no two workers ever share it. */
  readonly name: string;
  /** True when `owner` was a process of this machine that no longer runs; false when that cannot be known. */
  isDead(owner: string): boolean;
  /** True when `owner` has the name of this host and ran in another boot of it, or on another machine of that name. */
  isOfEarlierBoot(owner: string): boolean;
}

/**
 * What the daemon needs beside what a visit needs (ports.ts): the machine and the database as things that may be ill, other
 * workers, whoever started it, and those who ask how it is.
 */

export interface DatabaseHealth {
  /** Throws `database_*` when it cannot be reached. */
  ping(): Promise<void>;
  /** The time of the database's clock. */
  databaseNowMs(): Promise<number>;
  /** Connections to it; null for a file. */
  pool(): PoolCheck | null;
}

export interface QuarantineReader {
  /** Mails in quarantine that nobody has resolved, and when the first came. */
  quarantineCounts(): Promise<{
    readonly oldestAtMs: number | null;
    /** How many there are for each reason; most first. */
    readonly reasons: readonly { readonly reason: string; readonly count: number }[];
  }>;
}

/** A worker as the database knows it. */
export type WorkerRow = {
  readonly worker: string;
  readonly host: string;
  readonly pid: number;
  readonly live: boolean;
  readonly seenAtMs: number;
};

export interface WorkerList {
  /** `live`: it reported within `liveMs`, by the database's clock. */
  listWorkers(liveMs: number): Promise<readonly WorkerRow[]>;
}

/** The disk under the data folder. */
export interface Disk {
  /** Writes, syncs and removes a small file. Throws `disk_full`, `disk_failed`. */
  probe(): Promise<{ readonly freeBytes: number }>;
}

/** A listening server; disposing it closes it. */
export interface HttpServer extends AsyncDisposable {
  /** As `http://127.0.0.1:8025`. */
  readonly address: string;
}

/** The service manager that started us (systemd), or nobody. Never throws. */
export interface ServiceManager {
  /** Within so many milliseconds it wants to hear `alive`, else it ends us; null: it does not watch. */
  readonly watchdogMs: number | null;
  ready(): void;
  reloading(): void;
  stopping(): void;
  /** One sentence for people, shown by `systemctl status`. */
  status(sentence: string): void;
  heartbeat(): void;
}

/** Wakes on a schedule: five or six cron fields, seconds first when six. */
export interface Cron {
  schedule(expression: string, wake: () => void): Disposable;
}

/**
 * What the workflows count as it happens. What can be looked up when somebody asks is in the readiness (health.ts).
 */

type PollSample = {
  readonly mailbox: string;
  readonly host: string;
  /** `ok`, or the failure that ended it. */
  readonly result: 'ok' | FailureCode;
  readonly durationMs: number;
  /** How long after it was due it began; null for a round that the server's announcement began. */
  readonly lagMs: number | null;
};

export interface Meter {
  poll(poll: PollSample): void;
  outcome(mailbox: string, outcome: Outcome): void;
  /** From the server's announcement of mail to the commit of what it announced. */
  idleDelivery(ms: number): void;
}

/** For commands, whose numbers nobody asks for. */
export const noMeter: Meter = { poll: () => undefined, outcome: () => undefined, idleDelivery: () => undefined };
