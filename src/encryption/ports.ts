/**
 * What the workflows of keys, sealed passwords and the switch need from the outside, as types.
 *
 * Adapters implement these; `compose.ts` hands them in. Every method rejects with a `Failure` and with nothing else.
 * Times are milliseconds since 1970 (UTC).
 */
import type { Failure } from '../errors.ts';
import type { KeyId, KeySet } from '../secret/key.ts';
import type { SealContext } from '../secret/sealed-password.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import type { SwitchRow } from '../secret/switch.ts';

/** What is at the place of the key file. `wrapped`: the file as it is, when a passphrase protects it (age). */
export type KeyFileReading =
  | { readonly kind: 'absent' }
  | { readonly kind: 'keys'; readonly keys: KeySet; readonly wrapped: Uint8Array | null }
  /** `key_file_refused` (owner, mode, size, kind), `key_file_locked` (passphrase missing or wrong), `disk_failed`. */
  | { readonly kind: 'refused'; readonly failure: Failure };

/** The key file. Every write is atomic, and on the disk when it resolves; each throws `disk_full`, `disk_failed`. */
export interface KeyFile {
  readonly path: string;
  /** Never rejects because of what is there; a file that did not change is not read (nor unwrapped) again. */
  read(): Promise<KeyFileReading>;
  /** Throws `already_exists` when there is anything at its place. `wrapped` is written as it is, instead of the keys. */
  create(keys: KeySet, wrapped?: Uint8Array | null): Promise<void>;
  /** Takes the place of what is there. Protected by the same passphrase when what is there is. */
  replace(keys: KeySet): Promise<void>;
  /** Renames what is there to `encryption-key.bin.REASON-TIME`, overwriting nothing; its new path, or null without a file. */
  setAside(reason: 'disabled' | 'damaged'): Promise<string | null>;
}

/** The switch row that was accepted last, beside the key file (`data/switch-state`). */
export interface SwitchStateFile {
  /** null: none was ever accepted here. Throws `disk_failed` when the file is there and cannot be understood. */
  read(): Promise<SwitchRow | null>;
  /** Does nothing when a later revision is remembered. */
  remember(row: SwitchRow): Promise<void>;
  /** `trust-restored` alone: whatever was remembered. */
  overwrite(row: SwitchRow): Promise<void>;
}

export type SwitchReading = {
  /** null: the table is empty. */
  readonly row: SwitchRow | null;
  /** True when a password that can be sealed stands readable in the table. */
  readonly hasPlaintext: boolean;
  /** A password in the table is sealed. */
  readonly hasSealed: boolean;
};

/** One line of the audit table; `at` is the database's clock. */
export type AuditEntry = {
  /** `user@host`. */
  readonly who: string;
  readonly host: string;
  /** As `switch.on`, `key.created`, `password.sealed`. */
  readonly action: string;
  readonly keyId: KeyId | null;
  readonly nextKeyId: KeyId | null;
  readonly mailboxId: string | null;
  /** Short text; never a secret. */
  readonly detail: string | null;
};

export type StoredAuditEntry = AuditEntry & { readonly atMs: number };

/** `admin`: accounts, and what was done or refused on the admin page beside keys and the switch. */
export type AuditTopic = 'quarantine' | 'admin';

/** A password in the middle of a change. `bytes` are wiped by the store when `change` is done. */
export type PasswordRow = SealContext & {
  readonly name: string;
  readonly form: 'plain' | 'sealed';
  readonly bytes: Uint8Array;
};

/** null: leave it as it is. */
export type PasswordRewrite =
  | { readonly form: 'sealed'; readonly sealed: Uint8Array; readonly keyId: KeyId }
  | { readonly form: 'plain'; readonly password: SecretBytes }
  | null;

/**
 * Which passwords a stretch takes: `plain`; `sealable`: plain, and neither empty nor too long nor with a NUL byte;
 * `sealed`; sealed, but by its column not under this key.
 */
export type PasswordSelection = 'plain' | 'sealable' | 'sealed' | { readonly notUnder: KeyId };

export type PasswordBatch = {
  readonly selection: PasswordSelection;
  /** Mailbox ids above this one, ascending; null: from the first. */
  readonly after: string | null;
  readonly limit: number;
  /** The switch must be at this revision when the change is committed. */
  readonly revision: number;
  /** Of the audit rows, one for each changed password. */
  readonly audit: Pick<AuditEntry, 'who' | 'host' | 'action'>;
};

/** `lastId` null: nothing was left. */
export type PasswordBatchResult = { readonly lastId: string | null; readonly seen: number; readonly changed: number };

export type PasswordCounts = {
  readonly sealed: number;
  readonly plaintext: number;
  readonly byKey: readonly { readonly keyId: KeyId | null; readonly count: number }[];
};

/** A password that is or once was readable in the database. */
export type PlaintextPeriod = {
  readonly mailbox: string;
  /** At the latest since then. */
  readonly sinceMs: number;
  /** null: it still is. */
  readonly untilMs: number | null;
};

export type WorkerReport = {
  /** As in `Workers.me`. */
  readonly worker: string;
  readonly host: string;
  readonly pid: number;
  readonly keyIds: readonly KeyId[];
  readonly vault: string;
  /** The revision of the switch that it goes by. */
  readonly revision: number;
};

export type StoredWorker = WorkerReport & {
  readonly startedAtMs: number;
  readonly seenAtMs: number;
  /** It reported within `liveMs`, by the database's clock. */
  readonly live: boolean;
};

export interface EncryptionStore {
  readSwitch(): Promise<SwitchReading>;
  /** Compare and swap on the revision, with its audit row. Throws `switch_changed` when it is at another revision. */
  writeSwitch(row: SwitchRow, expectedRevision: number, audit: readonly AuditEntry[]): Promise<void>;
  /** Claims the switch for one operation; null when it is ours now, else who has it. `isDead` frees a claim at once. */
  claimOperation(owner: string, forMs: number, isDead: (owner: string) => boolean): Promise<string | null>;
  /** Throws `operation_running` when it is lost. */
  renewOperation(owner: string, forMs: number): Promise<void>;
  endOperation(owner: string): Promise<void>;
  /**
   * One transaction: checks the revision, locks the next passwords of the choice, hands each to `change`, writes what
   * it gives back with an audit row for each. Throws `switch_changed`. A deadlock is tried again.
   */
  rewritePasswords(
    stretch: PasswordBatch,
    change: (row: PasswordRow) => Promise<PasswordRewrite>,
  ): Promise<PasswordBatchResult>;
  passwordCounts(): Promise<PasswordCounts>;
  plaintextPeriods(): Promise<readonly PlaintextPeriod[]>;
  /** Active mailboxes whose password is sealed under none of `keyIds`. */
  countMailboxesWithoutKey(keyIds: readonly KeyId[]): Promise<number>;
  /** Writes the table of mailboxes anew, so that its file holds nothing of what was there before. */
  rebuildMailboxTable(): Promise<void>;
  audit(entries: readonly AuditEntry[]): Promise<void>;
  /** Newest first: those about quarantine, or about the admin page, or all the others. */
  readAudit(limit: number, about?: AuditTopic): Promise<readonly StoredAuditEntry[]>;
  reportWorker(report: WorkerReport): Promise<void>;
  removeWorker(worker: string): Promise<void>;
  /** Also forgets those that have been silent for a day. */
  listWorkers(liveMs: number): Promise<readonly StoredWorker[]>;
}

/** One thing that a proof file must be, in the order in which they are looked at. */
export type ProofCheck = {
  /** It is there, as a regular file; it is of a user whom we trust, and others cannot write it; it is newer than the request. */
  readonly name: 'exists' | 'owner' | 'newer';
  readonly ok: boolean;
  /** One sentence; null: it is so, or there is no file to look at. */
  readonly why: string | null;
  /** What to do, where the sentence does not say it. */
  readonly hint: string | null;
};

/** The file by which somebody shows that they reach the file system: `data/can-disable-encryption.txt`. */
export interface ProofFile {
  readonly path: string;
  /** Each of the three checks, against a request of `sinceMs`. Throws `disk_failed` when it cannot be looked at. */
  checks(sinceMs: number): Promise<readonly ProofCheck[]>;
  remove(): Promise<void>;
}
