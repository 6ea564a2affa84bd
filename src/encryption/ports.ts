/**
 * Ports of the encryption workflows: key file, switch state file, store and proof file, as interfaces.
 *
 * Adapters implement them; `compose/` passes them in. Every method rejects with a `Failure` and nothing else. Times are
 * milliseconds since 1970 (UTC).
 */
import type { Failure } from '../errors.ts';
import type { Mailbox } from '../ingest/model.ts';
import type { KeyId, KeySet } from '../secret/key.ts';
import type { StoredReplyKey } from '../secret/reply-key.ts';
import type { SealContext } from '../secret/sealed-password.ts';
import type { TokenContext } from '../secret/sealed-token.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import type { SwitchRow } from '../secret/switch.ts';
import type { DatabaseServer } from './remnants.ts';
import type { SwitchMemory, SwitchOrigin } from './switch-memory.ts';

/** Result of reading the key file. `wrapped`: its content when a passphrase protects it (age). */
export type KeyFileReading =
  | { readonly kind: 'absent' }
  | { readonly kind: 'keys'; readonly keys: KeySet; readonly wrapped: Uint8Array | null }
  /** `key_file_refused` (owner, mode, size, kind), `key_file_locked` (passphrase missing or wrong), `disk_failed`. */
  | { readonly kind: 'refused'; readonly failure: Failure };

/** The key file. Every write is atomic, and durable when it resolves; each throws `disk_full`, `disk_failed`. */
export interface KeyFile {
  readonly path: string;
  /** A refused file is a result, not a rejection. An unchanged file is neither read nor unwrapped again. */
  read(): Promise<KeyFileReading>;
  /**
   * Throws `already_exists` for anything at its path. `wrapped`, if given, is written as it is, instead of the keys.
   */
  create(keys: KeySet, wrapped?: Uint8Array | null): Promise<void>;
  /** Replaces the file. A protected file stays protected by the same passphrase. */
  replace(keys: KeySet): Promise<void>;
  /** Renames the file to `encryption-key.bin.REASON-TIME-RANDOM`. Returns the new path; null: no file. */
  setAside(reason: 'disabled' | 'damaged'): Promise<string | null>;
}

/** A file as the kernel knows it. `path`: the real one. */
export type FilePlace = { readonly device: bigint; readonly inode: bigint; readonly path: string };

/** The content of a copy of the key file. The caller wipes it. */
export type KeyBackup = FilePlace & { readonly content: Uint8Array };

/** `key_file`: it is the key file itself. `data_dir`: it is below the folder of the key file. */
export type BackupPlace = 'key_file' | 'data_dir' | 'same_file_system' | 'elsewhere';

/** The switch row that was accepted last, and those that were issued since, in `data/switch-state`. */
export interface SwitchStateFile {
  /** null: no row was ever accepted here. Throws `disk_failed` for a damaged file. */
  read(): Promise<SwitchRow | null>;
  readMemory(): Promise<SwitchMemory>;
  /** Before a sealed row is handed to the database by the worker `by`. */
  issue(row: SwitchRow, origin: SwitchOrigin, by: string): Promise<void>;
  /** The row of this seal counts here no more. */
  withdraw(seal: string): Promise<void>;
  /** Does nothing when the file has a later revision. `origin`: if not that of the issued row. */
  remember(row: SwitchRow, origin?: SwitchOrigin | null): Promise<void>;
  /** For `encryption trust-restored`: whatever the file contains. */
  overwrite(row: SwitchRow): Promise<void>;
}

export type SwitchReading = {
  /** null: the table is empty. */
  readonly row: SwitchRow | null;
  /** A password or a refresh token that can be sealed is stored in plain text. */
  readonly hasPlaintext: boolean;
  /** A password or a token in the tables is sealed. */
  readonly hasSealed: boolean;
};

/** One row of the audit table; the database sets its time. */
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

/** Rows of the audit, which a writer of the database can forge. */
export interface AuditReader {
  /** The newest row of that action. */
  lastAudit(action: string): Promise<StoredAuditEntry | null>;
  /** The newest row about the switch that names the key. */
  lastSwitchAudit(keyId: KeyId): Promise<StoredAuditEntry | null>;
}

/** `admin`: accounts, and actions and refusals of the admin page other than those about encryption. */
export type AuditTopic = 'quarantine' | 'admin';

/** A stored password during a rewrite. The store wipes `bytes` when the callback is done. */
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
 * Selection of passwords: `plain`; `sealable`: plain, and neither empty nor too long nor with a NUL byte; `sealed`; or
 * sealed, but by its column not under this key.
 */
export type PasswordSelection = 'plain' | 'sealable' | 'sealed' | { readonly notUnder: KeyId };

export type PasswordBatch = {
  readonly selection: PasswordSelection;
  /** Mailbox ids above this one, ascending; null: from the first. */
  readonly after: string | null;
  readonly limit: number;
  /** The switch must be at this revision when the change is committed. */
  readonly revision: number;
  /** For the audit rows, one for each changed password. */
  readonly audit: Pick<AuditEntry, 'who' | 'host' | 'action'>;
};

/** `lastId` null: none was left. */
export type PasswordBatchResult = { readonly lastId: string | null; readonly seen: number; readonly changed: number };

export type SettingsSealBatch = Pick<PasswordBatch, 'after' | 'limit' | 'revision'>;

/** A mailbox with its stored settings seal. */
export type SettingsRow = { readonly mailbox: Mailbox; readonly seal: string | null };

/** `lastId`: of the batch, also of an invalid row; null: none was left. */
export type SettingsReading = { readonly rows: readonly SettingsRow[]; readonly lastId: string | null };

/** A stored token during a rewrite. The store wipes `bytes` when the callback is done. */
export type TokenRewriteRow = Omit<TokenContext, 'binding'> & {
  /** Of its grant. */
  readonly name: string;
  readonly provider: string;
  readonly form: 'plain' | 'sealed';
  readonly bytes: Uint8Array;
};

/** `dropped`: the column is emptied. null: leave it as it is. */
export type TokenRewrite =
  | { readonly form: 'sealed'; readonly sealed: Uint8Array; readonly keyId: KeyId }
  | { readonly form: 'plain'; readonly token: SecretBytes }
  | { readonly form: 'dropped' }
  | null;

/** `after`: `lastId` of the batch before. One audit row for each changed refresh token, none for access tokens. */
export type TokenBatch = PasswordBatch & { readonly kind: TokenContext['kind'] };

/** Number of stored secrets by form, and of the sealed ones by key. */
export type SealCounts = {
  readonly sealed: number;
  readonly plaintext: number;
  readonly byKey: readonly { readonly keyId: KeyId | null; readonly count: number }[];
};

export type TokenCounts = Readonly<Record<TokenContext['kind'], SealCounts>>;

/** A period in which a password was stored in plain text. */
export type PlaintextPeriod = {
  readonly mailbox: string;
  /** It began at this time or before. */
  readonly sinceMs: number;
  /** null: it still lasts. */
  readonly untilMs: number | null;
};

export type WorkerReport = {
  /** As in `WorkerIdentity.name`. */
  readonly worker: string;
  readonly host: string;
  readonly pid: number;
  readonly keyIds: readonly KeyId[];
  readonly vault: string;
  /** The switch revision in force there. */
  readonly revision: number;
};

export type StoredWorker = WorkerReport & {
  readonly startedAtMs: number;
  readonly seenAtMs: number;
  /** Its last heartbeat is at most `liveMs` old, by the database's clock. */
  readonly live: boolean;
};

/** The keys of the reply tokens, a row each. */
export interface ReplyKeyStore {
  /** Oldest first. */
  readReplyKeys(): Promise<readonly StoredReplyKey[]>;
  /** In one transaction. Retires by the clock of the database, once. */
  writeReplyKeys(changes: readonly ReplyKeyChange[]): Promise<void>;
}

/** `before` null: a new row, unless there is one with that id. Else: that row, unless it has another secret by now. */
export type ReplyKeyChange = Omit<StoredReplyKey, 'retiredAtMs'> & {
  readonly before: StoredReplyKey | null;
  readonly isRetired: boolean;
};

export interface EncryptionStore extends ReplyKeyStore {
  readSwitch(): Promise<SwitchReading>;
  /** Compare-and-swap on the revision, with its audit rows. Throws `switch_changed` for another revision. */
  writeSwitch(row: SwitchRow, expectedRevision: number, audit: readonly AuditEntry[]): Promise<void>;
  /**
   * Claim on the switch for one operation. Returns null: acquired; else its owner. A claim of a dead owner is taken
   * over.
   */
  claimOperation(owner: string, forMs: number, isDead: (owner: string) => boolean): Promise<string | null>;
  /** Owner of the claim in force; null: none. */
  operationOwner(): Promise<string | null>;
  /** Throws `operation_running` when another owner has it. */
  renewOperation(owner: string, forMs: number): Promise<void>;
  endOperation(owner: string): Promise<void>;
  /**
   * One transaction: checks the revision, locks the next passwords of the selection, calls `change` for each, and
   * writes its results with an audit row each. Throws `switch_changed`. Retries after a deadlock.
   */
  rewritePasswords(
    batch: PasswordBatch,
    change: (row: PasswordRow) => Promise<PasswordRewrite>,
  ): Promise<PasswordBatchResult>;
  /** As `rewritePasswords`, for the tokens of one kind. */
  rewriteTokens(
    batch: TokenBatch,
    change: (row: TokenRewriteRow) => Promise<TokenRewrite>,
  ): Promise<PasswordBatchResult>;
  /** Empties the access tokens of that form: they are requested again. Throws `switch_changed`. */
  dropAccessTokens(form: 'plain' | 'sealed', revision: number): Promise<void>;
  /**
   * As `writeSwitch`, and in the same transaction empties every token that is sealed under another key than that of the
   * row; the grants of persons need a consent then (`key_lost`), audited each. Returns the number of refresh tokens.
   */
  replaceSwitchKey(
    row: SwitchRow & { readonly keyId: KeyId },
    expectedRevision: number,
    entry: AuditEntry,
  ): Promise<number>;
  /**
   * One transaction: checks the revision, calls `change` for the next mailboxes, and writes the seals that it returns
   * (null: as it is). Returns the last mailbox id; null: none was left. Throws `switch_changed`.
   */
  rewriteSettingsSeals(batch: SettingsSealBatch, change: (row: SettingsRow) => string | null): Promise<string | null>;
  /** The next mailboxes, without a lock or a transaction. */
  readSettings(batch: Pick<SettingsSealBatch, 'after' | 'limit'>): Promise<SettingsReading>;
  /** Null: SQLite. */
  databaseServer(): Promise<DatabaseServer | null>;
  passwordCounts(): Promise<SealCounts>;
  tokenCounts(): Promise<TokenCounts>;
  plaintextPeriods(): Promise<readonly PlaintextPeriod[]>;
  /** Active mailboxes whose password is sealed under none of `keyIds`. */
  countMailboxesWithoutKey(keyIds: readonly KeyId[]): Promise<number>;
  /** Rewrites the tables of mailboxes and grants, so that their files contain no earlier values. */
  rebuildMailboxTable(): Promise<void>;
  audit(entries: readonly AuditEntry[]): Promise<void>;
  /** Newest first: those about quarantine, or about the admin page, or all the others. */
  readAudit(limit: number, about?: AuditTopic): Promise<readonly StoredAuditEntry[]>;
  reportWorker(report: WorkerReport): Promise<void>;
  removeWorker(worker: string): Promise<void>;
  /** Also forgets those that have been silent for a day. Live ones: `liveWorkers` (scheduler/workers.ts). */
  listWorkers(liveMs: number): Promise<readonly StoredWorker[]>;
}

/** Fault of the proof file. `unchecked`: there is no regular file to check. */
export type ProofFault =
  | 'missing'
  | 'link'
  | 'not_a_file'
  | 'wrong_owner'
  | 'writable_by_others'
  | 'too_old'
  | 'unchecked';

/** One condition on the proof file, in the order of the checks. */
export type ProofCheck = {
  /** `exists`: a regular file. `owner`: of a trusted user, not writable by others. `newer`: than the request. */
  readonly name: 'exists' | 'owner' | 'newer';
  readonly ok: boolean;
  /** null: fulfilled. */
  readonly fault: ProofFault | null;
  /** One sentence; null: fulfilled, or there is no file to check. */
  readonly why: string | null;
  /** The repair, where the sentence does not say it. */
  readonly hint: string | null;
};

/** Proof of file system access: `data/can-disable-encryption.txt`. */
export interface ProofFile {
  readonly path: string;
  /** The three checks, for a request of `sinceMs`. Throws `disk_failed` when the file is not accessible. */
  checks(sinceMs: number): Promise<readonly ProofCheck[]>;
  remove(): Promise<void>;
}
