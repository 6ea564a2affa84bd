/**
 * Table types for Kysely, and conversions of column values: the same in both dialects (schema/baseline.ts).
 *
 * Ids are UUIDs in text form; another program may give a mailbox any id of up to 36 characters. Times are texts
 * `YYYY-MM-DD HH:MM:SS.mmm` (UTC), flags are 1 and 0, columns ending in `_json` hold JSON. A column `x` beside `x_full`
 * holds what fits an index, and `x_full` the whole value where that is longer.
 */
import type { ColumnType, Generated, Kysely, Selectable } from 'kysely';
import type { SqlDialect } from './dialect.ts';

type Flag = 0 | 1;
/** Set at insertion alone: no UPDATE compiles. */
type Fixed<T> = ColumnType<T, T, never>;

export type MailboxTable = {
  id: Fixed<string>;
  name: string;
  host: string;
  port: number;
  tls_mode: string;
  ca_pem: string | null;
  fingerprint: string | null;
  allow_plaintext: Flag;
  username: string;
  folder: string;
  since_kind: string;
  since_at: string | null;
  on_success: string;
  on_success_folder: string | null;
  poll_interval_ms: number | null;
  /** Comma-separated; null: the user name, if it is an address. */
  addresses: Generated<string | null>;
  state: string;
  password: Uint8Array;
  password_form: string;
  /** The key of a sealed password; null where another program wrote the row. */
  password_key_id: string | null;
  /** The settings that a command or the page confirmed while encryption was on (secret/settings-seal.ts). */
  settings_seal: Generated<string | null>;
  /** When the password was stored in plain text, as far as this program observed it. */
  plaintext_since: string | null;
  plaintext_until: string | null;
  created_at: Fixed<string>;
  /** `password`, or `oauth`: the tokens of the grant named `grant_name` open it, and `password` is empty. */
  auth: Generated<string>;
  grant_name: Generated<string | null>;
  /** Version of the settings, maintained by the database. */
  changed_at: Generated<string>;
};

/** A grant of OAuth 2 (oauth/model.ts). A helpdesk writes `refresh` with `refresh_form` = `plain`, to be sealed. */
export type OAuthGrantTable = {
  id: Fixed<string>;
  name: string;
  /** Name of a table `[oauth.NAME]` of the configuration. */
  provider: string;
  flow: Generated<string>;
  account: string | null;
  scope: string | null;
  refresh: Uint8Array | null;
  refresh_form: Generated<string>;
  refresh_key_id: string | null;
  state: Generated<string>;
  state_since: Generated<string>;
  error_code: string | null;
  error_message: string | null;
  /** No token request before; null: at any time. */
  retry_at: string | null;
  /** A token request was begun, and its answer is not stored. */
  asked_at: string | null;
  /** When the refresh token was last used or stored. */
  renewed_at: string | null;
  consented_at: string | null;
  consented_by: string | null;
  created_at: Generated<string>;
};

/** An access token: one for each grant (`username` ''), or for each mailbox of a service account. */
export type OAuthAccessTable = {
  grant_id: Fixed<string>;
  username: Fixed<string>;
  access: Uint8Array | null;
  access_form: Generated<string>;
  access_key_id: string | null;
  /** When it ends, and when it is renewed; by the clock of the database. */
  access_until: string | null;
  renew_at: string | null;
  /** Fencing token of the claim: raised by each renewal. */
  version: Generated<number>;
  claim_owner: string | null;
  claim_until: string | null;
};

export type MailboxStateTable = {
  mailbox_id: Fixed<string>;
  cursor_folder_epoch: number | null;
  cursor_uid: number | null;
  lease_owner: string | null;
  lease_epoch: number;
  lease_until: string | null;
  next_poll_at: string;
  /** A person asked for a poll; cleared when one begins. */
  retry_requested_at: Generated<string | null>;
  failures: number;
  last_success_at: string | null;
  last_error_code: string | null;
  last_error_message: string | null;
  last_error_hint: string | null;
  last_error_at: string | null;
  failing_since: string | null;
  /** Consecutive login failures with the row at `changed_at` = `login_failed_version`. */
  login_failures: Generated<number>;
  login_failed_version: string | null;
  /** How often the folder was found restored from a backup under the same UIDVALIDITY. */
  folder_generation: Generated<number>;
  /** The cursor at the first poll in this folder epoch. */
  cursor_start_uid: Generated<number | null>;
  /** SHA-256 of the folder that the cursor belongs to (`folderKey`); null: unknown. */
  cursor_folder_hash: Generated<string | null>;
  /** Server and account (`accountKey`), as the last poll had them. */
  account_hash: Generated<string | null>;
};

export type TicketTable = {
  id: Fixed<string>;
  ref: Fixed<string>;
  mailbox_id: Fixed<string>;
  subject: string;
  subject_full: string | null;
  requester_name: string;
  requester_address: string;
  status: string;
  created_at: Fixed<string>;
  updated_at: string;
  /** When the status became `closed`; null where another program set that without a time: `updated_at` counts. */
  closed_at: Generated<string | null>;
  merged_into: Generated<string | null>;
  /** Opened by a reply to a message that is not stored here. */
  is_orphan: Generated<Flag>;
};

export type MessageTable = {
  id: Fixed<string>;
  mailbox_id: Fixed<string>;
  ticket_id: string | null;
  kind: string;
  /** Message-ID of RFC 5322, and its SHA-256 for the index. */
  message_id: string;
  message_id_hash: string;
  message_id_missing: Flag;
  reported_message_id: string | null;
  content_hash: string;
  from_name: string;
  from_address: string;
  from_json: string | null;
  reply_to_json: string;
  to_json: string;
  cc_json: string;
  /** Addresses that count for threading (`countedAddresses`): To and Cc, and Reply-To. */
  recipients_json: string;
  replies_to_json: string;
  in_reply_to_json: string;
  references_json: string;
  headers_json: string;
  subject: string;
  subject_full: string | null;
  body_text: string;
  body_html: string | null;
  sent_at: string | null;
  received_at: string;
  created_at: Fixed<string>;
  bounce_json: string | null;
  marks_json: string | null;
  protection: string | null;
  thread_rule: string | null;
  /** The same for notices that are sent again (mail/thread/copies.ts). */
  repeat_key: string | null;
};

export type AttachmentTable = {
  /** Id of the message row. */
  message_id: Fixed<string>;
  position: Fixed<number>;
  name: string;
  name_full: string | null;
  type: string;
  size_bytes: number;
  sha256: string;
  content_id: string | null;
  inline: Flag;
};

export type OutcomeTable = {
  mailbox_id: Fixed<string>;
  folder_epoch: Fixed<number>;
  uid: Fixed<number>;
  outcome: string;
  reason: string | null;
  ticket_id: string | null;
  /** Id of the message row. */
  message_id: string | null;
  size_bytes: number;
  received_at: string | null;
  raw_segment: string | null;
  raw_offset: number | null;
  raw_length: number | null;
  raw_sha256: string | null;
  action_pending: Flag;
  /** This program stored the message (secret/outcome-seal.ts); null: encryption was off. */
  action_seal: Generated<string | null>;
  created_at: Fixed<string>;
  resolved_at: string | null;
  /** SHA-256 of Message-ID and content; null for a message that was never parsed. */
  dedup_key: Generated<string | null>;
};

export type TicketLinkTable = {
  ticket_id: Fixed<string>;
  other_id: Fixed<string>;
  reason: Fixed<string>;
  created_at: Fixed<string>;
};

/** The stored message `message_id` references the Message-ID with that SHA-256, for messages out of order. */
export type MessageReferenceTable = {
  mailbox_id: Fixed<string>;
  reference_hash: Fixed<string>;
  message_id: Fixed<string>;
};

/** A message that the helpdesk sent, written by it: an answer to that Message-ID belongs to the ticket. */
export type SentMessageTable = { message_id: Fixed<string>; ticket_id: string; sent_at: Generated<string> };

export type ReplyKeyTable = {
  id: Fixed<number>;
  secret: Uint8Array;
  key_id: string | null;
  created_at: Fixed<string>;
  retired_at: string | null;
};

/** One row, whose id is 1. */
export type EncryptionSwitchTable = {
  id: Fixed<number>;
  state: string;
  key_id: string | null;
  next_key_id: string | null;
  revision: number;
  seal: string | null;
  changed_at: string;
  changed_by: string;
  operation_owner: string | null;
  operation_until: string | null;
  /** Number of transactions that wrote passwords. */
  password_writes: Generated<number>;
};

export type WorkerTable = {
  worker: Fixed<string>;
  host: string;
  pid: number;
  /** Comma-separated. */
  key_ids: string;
  vault: string;
  revision: number;
  started_at: Fixed<string>;
  heartbeat_at: string;
};

export type AuditTable = {
  id: Generated<number>;
  at: Fixed<string>;
  actor: Fixed<string>;
  host: Fixed<string>;
  action: Fixed<string>;
  key_id: Fixed<string | null>;
  next_key_id: Fixed<string | null>;
  mailbox_id: Fixed<string | null>;
  detail: Fixed<string | null>;
};

export type AdminAccountTable = {
  id: Fixed<string>;
  name: Fixed<string>;
  /** The name in the form that is compared. */
  name_key: Fixed<string>;
  password_hash: string;
  created_at: Fixed<string>;
  password_changed_at: string;
  last_sign_in_at: string | null;
};

export type AdminSessionTable = {
  token_hash: Fixed<string>;
  account_id: Fixed<string>;
  created_at: Fixed<string>;
  seen_at: string;
};

/** Sign-in attempts, counted per bucket (an address, a name) until its window ends. */
export type AdminAttemptTable = { bucket: Fixed<string>; count: number; window_until: string };

/** One row, whose id is 1. */
export type AdminOperationTable = {
  id: Fixed<number>;
  number: number;
  kind: string;
  started_by: string;
  started_at: string;
  ended_at: string | null;
  worker: string;
  state: string;
  detail: string;
};

export type Tables = {
  mailboxes: MailboxTable;
  mailbox_state: MailboxStateTable;
  ticket: TicketTable;
  message: MessageTable;
  attachment: AttachmentTable;
  outcome: OutcomeTable;
  ticket_link: TicketLinkTable;
  message_reference: MessageReferenceTable;
  sent_message: SentMessageTable;
  reply_key: ReplyKeyTable;
  encryption_switch: EncryptionSwitchTable;
  oauth_grant: OAuthGrantTable;
  oauth_access: OAuthAccessTable;
  workers: WorkerTable;
  audit: AuditTable;
  admin_account: AdminAccountTable;
  admin_session: AdminSessionTable;
  admin_attempt: AdminAttemptTable;
  admin_operation: AdminOperationTable;
  schema_migration: { number: number; name: string; applied_at: string };
};

/** A database, a connection or a transaction, with its dialect. */
export type SqlExecutor = Kysely<Tables> & { readonly dialect: SqlDialect };

export function withDialect(db: Kysely<Tables>, dialect: SqlDialect): SqlExecutor {
  return Object.assign(db, { dialect });
}

export type MailboxRow = Selectable<MailboxTable>;
export type MailboxStateRow = Selectable<MailboxStateTable>;
export type MessageRow = Selectable<MessageTable>;
export type AttachmentRow = Selectable<AttachmentTable>;

/*
 * Column values. The text of a time is the DATETIME(3) of MySQL and sorts correctly as text in SQLite. Years outside
 * 1000 to 9999 fit neither: messages with such dates exist, so they become null or the nearest bound, never an error. A
 * value of another program may be no time at all (any text in SQLite, a day 0 in MySQL): NaN or null, never an error
 * either.
 */

const earliestMs = Date.UTC(1000, 0, 1);
const latestMs = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

/** Text of a required time; outside the years 1000 to 9999 the nearest bound. */
export function toDatabaseTime(timeMs: number): string {
  const boundedMs = Math.min(Math.max(Number.isNaN(timeMs) ? 0 : Math.trunc(timeMs), earliestMs), latestMs);
  const iso = new Date(boundedMs).toISOString();
  return `${iso.slice(0, 10)} ${iso.slice(11, 23)}`;
}

/** Text of a time that a message claims; null when it claims none, or one outside the years 1000 to 9999. */
export function toClaimedTime(timeMs: number | null): string | null {
  if (timeMs === null || !(timeMs >= earliestMs && timeMs <= latestMs)) return null;
  return toDatabaseTime(timeMs);
}

/** Milliseconds since 1970 of a time of the database; NaN of an invalid one. */
export function fromDatabaseTime(text: string): number {
  return Date.parse(`${text.replace(' ', 'T')}Z`);
}

/** null for NULL and for an invalid time. */
export function fromOptionalTime(text: string | null): number | null {
  const timeMs = text === null ? Number.NaN : fromDatabaseTime(text);
  return Number.isNaN(timeMs) ? null : timeMs;
}

/** A time that another program may have written; null when it is invalid. A date alone is its first moment. */
export function fromForeignTime(text: string | null): number | null {
  const [, day, time = '00:00'] =
    /^(\d{4}-\d\d-\d\d)(?:[ T](\d\d:\d\d(?::\d\d(?:\.\d{1,9})?)?)Z?)?$/.exec(text ?? '') ?? [];
  const timeMs = Date.parse(`${day}T${time}Z`);
  return Number.isNaN(timeMs) ? null : timeMs;
}

/** The first `charactersMax` code points of `text`, well formed: half a surrogate pair becomes U+FFFD. */
export function truncate(text: string, charactersMax: number): string {
  const whole = text.toWellFormed();
  if (whole.length <= charactersMax) return whole;
  // A code point takes two UTF-16 units at most.
  return [...whole.slice(0, charactersMax * 2)].slice(0, charactersMax).join('').toWellFormed();
}

/** Order of times, ids and other texts of ASCII, as in the table. */
export function compareTexts(a: string, b: string): number {
  if (a === b) return 0;
  return a < b ? -1 : 1;
}
