/**
 * What the workflows of the admin page need from the database, as types.
 *
 * Every method rejects with a `Failure` and with nothing else. Times are milliseconds since 1970 (UTC).
 */

import type { AuditEntry, StoredAuditEntry } from '../encryption/ports.ts';
import type { AuditActor } from '../ingest/model.ts';
import type { HourlyActivity, OperationKind } from './service.ts';

/** Somebody who may sign in. `passwordHash`: Argon2id (RFC 9106) in PHC string format; the password is not to be had from it. */
export type AdminAccount = {
  /** UUID (RFC 9562). */
  readonly id: string;
  /** As it was written; two that differ in case alone are the same name. */
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

/** The one row of the operation that the page started last. */
export type StoredOperation = {
  /** Counts the operations; compare and swap is on it and on `worker`. */
  readonly number: number;
  readonly kind: OperationKind;
  readonly by: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  /** Who runs it, as in `Workers.me`. */
  readonly worker: string;
  readonly state: 'running' | 'done' | 'failed';
  /** JSON, written by `operations.ts` alone. */
  readonly detail: string;
};

export interface AdminStore {
  /** By name, those of the other case included. */
  accountByName(name: string): Promise<AdminAccount | null>;
  listAccounts(): Promise<readonly AdminAccount[]>;
  countAccounts(): Promise<number>;
  /** Throws `already_exists`. */
  addAccount(account: Omit<AdminAccount, 'lastSignInAtMs'>, audit: AuditEntry): Promise<void>;
  /** Ends every session of the account as well. False: there is no such account. */
  setPasswordHash(accountId: string, passwordHash: string, changedAtMs: number, audit: AuditEntry): Promise<boolean>;
  /** Of the same password under higher parameters: sessions stay. Does nothing when the hash is not `before` any more. */
  upgradePasswordHash(accountId: string, before: string, passwordHash: string): Promise<void>;
  /** With its sessions. False: there is no such account. */
  removeAccount(accountId: string, audit: AuditEntry): Promise<boolean>;

  /**
   * `tokenHash`: SHA-256 of the token, 64 hex digits. Also notes the sign-in on the account. False, and nothing is
   * written: the account is gone, or its password was changed since it was read.
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
  /** Those not seen since, or begun before. */
  removeSessionsBefore(seenAtMs: number, createdAtMs: number): Promise<void>;

  /** Adds one to the bucket (64 hex digits) and tells how many there are in its window, by the database's clock. */
  countAttempt(bucket: string, windowMs: number): Promise<{ readonly count: number; readonly endsInMs: number }>;
  /** Takes one off the bucket again, of those that it has. */
  uncountAttempt(bucket: string): Promise<void>;
  clearAttempts(bucket: string): Promise<void>;
  /** Of all buckets. */
  clearAllAttempts(audit: AuditEntry): Promise<void>;

  readOperation(): Promise<StoredOperation | null>;
  /** Takes the place of the row that was read (`before`; null: none). False: another is there by now. */
  beginOperation(next: StoredOperation, before: StoredOperation | null): Promise<boolean>;
  /** False: it is not that worker's operation any more. */
  updateOperation(
    next: Pick<StoredOperation, 'number' | 'worker' | 'state' | 'endedAtMs' | 'detail'>,
  ): Promise<boolean>;

  /** The newest row of that action. */
  lastAudit(action: string): Promise<StoredAuditEntry | null>;
  /**
   * By whole hours in UTC, of the database's clock; hours without any are left out. Mails: those whose outcome was stored
   * since then, duplicates and quarantine included, but not those that were gone before they were fetched. Tickets:
   * those that such mail opened; mail that was released from quarantine opens one when it is released.
   */
  activitySince(sinceMs: number): Promise<HourlyActivity>;
}

/**
 * Names of admins: what one may be, and how one is written into the audit.
 */

/** Who is named where there is no account: people type passwords into the field of a name. */
const unknownUser = 'somebody';

/** 1 to 64 printable characters (Unicode scalar values), no space but U+0020 within, no `-` first; not the word for strangers. */
export function isAdminName(name: string): boolean {
  return (
    /^(?![ -])[\p{L}\p{M}\p{N}\p{P}\p{S} ]{1,64}(?<! )$/u.test(name) &&
    name === name.normalize('NFC') &&
    name.toLowerCase() !== unknownUser
  );
}

/** The `who` of an audit row about something that was done, or tried, on the page. `name` null: nobody with an account. */
export function pageActor(name: string | null): string {
  return `${name ?? unknownUser} (admin page)`;
}

/** An audit row about accounts and the page itself. `detail`: never what a stranger typed. */
export function adminAudit(actor: AuditActor, action: `admin.${string}`, detail: string | null): AuditEntry {
  return { ...actor, action, keyId: null, nextKeyId: null, mailboxId: null, detail };
}
