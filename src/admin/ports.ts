/**
 * Database port of the admin page: accounts, sessions, rate-limit counters, the operation row, activity.
 *
 * Every method rejects with a `Failure` only. Times are milliseconds since 1970 (UTC).
 */

import type { AuditEntry } from '../encryption/ports.ts';
import type { AuditActor } from '../ingest/model.ts';
import type { HourlyActivity, OperationKind } from './service.ts';

/** `passwordHash`: Argon2id (RFC 9106) in PHC string format. */
export type AdminAccount = {
  /** UUID (RFC 9562). */
  readonly id: string;
  /** As entered; names are compared without case. */
  readonly name: string;
  readonly passwordHash: string;
  readonly createdAtMs: number;
  readonly passwordChangedAtMs: number;
  readonly lastSignInAtMs: number | null;
};

export type StoredAdminSession = {
  readonly account: AdminAccount;
  readonly createdAtMs: number;
  readonly seenAtMs: number;
};

/** The row of the last operation. */
export type StoredOperation = {
  /** Counts the operations. Compare-and-swap checks it, `worker` and `state`. */
  readonly number: number;
  readonly kind: OperationKind;
  /** As in the audit. */
  readonly by: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  /** Name of the worker that runs it. */
  readonly worker: string;
  readonly state: 'running' | 'done' | 'failed';
  /** An `OperationRecord` as JSON. */
  readonly detail: string;
};

export interface AdminStore {
  /** Without regard to case. */
  accountByName(name: string): Promise<AdminAccount | null>;
  listAccounts(): Promise<readonly AdminAccount[]>;
  countAccounts(): Promise<number>;
  /** Throws `already_exists`. */
  addAccount(account: Omit<AdminAccount, 'lastSignInAtMs'>, audit: AuditEntry): Promise<void>;
  /** Also ends every session of the account. False: there is no such account. */
  setPasswordHash(accountId: string, passwordHash: string, changedAtMs: number, audit: AuditEntry): Promise<boolean>;
  /**
   * Stores a hash of the same password with higher parameters: sessions stay. Does nothing when the hash is no longer
   * `before`.
   */
  upgradePasswordHash(accountId: string, before: string, passwordHash: string): Promise<void>;
  /** Also ends its sessions. False: there is no such account. */
  removeAccount(accountId: string, audit: AuditEntry): Promise<boolean>;

  /**
   * `tokenHash`: SHA-256 of the token, 64 hex digits. Also sets `lastSignInAtMs`. False, and nothing is written: the
   * account was removed, or its password changed, since it was read.
   */
  addSession(
    tokenHash: string,
    account: Pick<AdminAccount, 'id' | 'passwordChangedAtMs'>,
    atMs: number,
    audit: AuditEntry,
  ): Promise<boolean>;
  readSession(tokenHash: string): Promise<StoredAdminSession | null>;
  touchSession(tokenHash: string, atMs: number): Promise<void>;
  removeSession(tokenHash: string): Promise<void>;
  /** Sessions not used since `seenAtMs`, or created before `createdAtMs`. */
  removeSessionsBefore(seenAtMs: number, createdAtMs: number): Promise<void>;

  /** Increments the bucket (64 hex digits). Returns the count of its time window, by the clock of the database. */
  countAttempt(bucket: string, windowMs: number): Promise<{ readonly count: number; readonly endsInMs: number }>;
  /** Decrements the bucket, not below 0. */
  uncountAttempt(bucket: string): Promise<void>;
  clearAttempts(bucket: string): Promise<void>;
  /** Clears all buckets. */
  clearAllAttempts(audit: AuditEntry): Promise<void>;

  readOperation(): Promise<StoredOperation | null>;
  /** Compare-and-swap: replaces the row that was read (`before`; null: none). False: it was replaced meanwhile. */
  beginOperation(next: StoredOperation, before: StoredOperation | null): Promise<boolean>;
  /** False: the operation belongs to another worker by now. */
  updateOperation(
    next: Pick<StoredOperation, 'number' | 'worker' | 'state' | 'endedAtMs' | 'detail'>,
  ): Promise<boolean>;

  /**
   * By full hours in UTC, by the clock of the database, without empty hours. Messages: outcomes stored since then,
   * duplicates and quarantine included, but not messages that vanished before they were fetched. Tickets: opened by
   * such messages; a quarantined message counts when it is released.
   */
  activitySince(sinceMs: number): Promise<HourlyActivity>;
}

/** Shown where there is no account. Never the typed name: people type passwords into the name field. */
const unknownUser = 'unknown';

/** 1 to 64 printable characters (Unicode scalar values), no space but U+0020 within, no `-` first; not `unknown`. */
export function isAdminName(name: string): boolean {
  return (
    /^(?![ -])[\p{L}\p{M}\p{N}\p{P}\p{S} ]{1,64}(?<! )$/u.test(name) &&
    name === name.normalize('NFC') &&
    name.toLowerCase() !== unknownUser
  );
}

/** The actor of an audit row about the page. `name` null: no account. */
export function pageActor(name: string | null): string {
  return `${name ?? unknownUser} (admin page)`;
}

/** An audit row about accounts and the page. `detail`: never a text that a stranger typed. */
export function adminAudit(actor: AuditActor, action: `admin.${string}`, detail: string | null): AuditEntry {
  return { ...actor, action, keyId: null, nextKeyId: null, mailboxId: null, detail };
}
