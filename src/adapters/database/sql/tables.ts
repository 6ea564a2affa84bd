/**
 * The tables as Kysely sees them; the same columns in both dialects (made by migrations.ts).
 *
 * Ids are UUIDs in text form; others may give a mailbox any id of up to 36 characters. Times are text (times.ts). Yes and no are 1 and 0. Columns that end in `_json` hold JSON
 * text. A column `x` beside `x_full` holds what fits an index; `x_full` holds the whole value, where it was longer.
 */
import type { ColumnType, Generated, Kysely, Selectable } from 'kysely';

type Flag = 0 | 1;
/** Written once: no statement may set it again. */
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
  /** Separated by commas; null: the user name, if it is an address. */
  addresses: Generated<string | null>;
  state: string;
  password: Uint8Array;
  password_form: string;
  /** Of a sealed password; null where somebody else wrote the row. */
  password_key_id: string | null;
  /** The password stood readable here between these times, as far as this program saw it. */
  plaintext_since: string | null;
  plaintext_until: string | null;
  created_at: Fixed<string>;
  /** Changes with every change of the row; kept by the database. */
  changed_at: Generated<string>;
};

export type MailboxStateTable = {
  mailbox_id: Fixed<string>;
  cursor_folder_epoch: number | null;
  cursor_uid: number | null;
  lease_owner: string | null;
  lease_epoch: number;
  lease_until: string | null;
  next_poll_at: string;
  failures: number;
  last_success_at: string | null;
  last_error_code: string | null;
  last_error_message: string | null;
  last_error_hint: string | null;
  last_error_at: string | null;
  failing_since: string | null;
  /** Refused logins in a row with the row as it was at `login_failed_version`. */
  login_failures: Generated<number>;
  login_failed_version: string | null;
  /** How often the folder was found set back under the same UIDVALIDITY. */
  folder_generation: Generated<number>;
  /** The cursor at which the first visit in this UIDVALIDITY began. */
  cursor_start_uid: Generated<number | null>;
  /** Of which folder the cursor is (SHA-256); null: not known. */
  cursor_folder_hash: Generated<string | null>;
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
  /** When the status became `closed`; null where whoever wrote that did not say: `updated_at` then. */
  closed_at: Generated<string | null>;
  merged_into: Generated<string | null>;
  /** Opened by an answer to mail that was not here. */
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
  created_at: Fixed<string>;
  resolved_at: string | null;
  /** SHA-256 of Message-ID and content; null for what was never parsed. */
  dedup_key: Generated<string | null>;
};

export type TicketLinkTable = {
  ticket_id: Fixed<string>;
  other_id: Fixed<string>;
  reason: Fixed<string>;
  created_at: Fixed<string>;
};

/** A stored message (`message_id` is its row) names the Message-ID with that SHA-256. */
export type MessageReferenceTable = {
  mailbox_id: Fixed<string>;
  reference_hash: Fixed<string>;
  message_id: Fixed<string>;
};

/** One row, whose id is 1. */
export type ReplyKeyTable = { id: Fixed<number>; secret: Fixed<Uint8Array>; created_at: Fixed<string> };

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
  /** How many transactions have changed passwords. */
  password_writes: Generated<number>;
};

export type WorkerTable = {
  worker: Fixed<string>;
  host: string;
  pid: number;
  /** Separated by commas. */
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
  /** The name as it is compared. */
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

/** Sign-ins that were tried, counted in a bucket (an address, a name) until its window ends. */
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
  reply_key: ReplyKeyTable;
  encryption_switch: EncryptionSwitchTable;
  workers: WorkerTable;
  audit: AuditTable;
  admin_account: AdminAccountTable;
  admin_session: AdminSessionTable;
  admin_attempt: AdminAttemptTable;
  admin_operation: AdminOperationTable;
  schema_migration: { number: number; name: string; applied_at: string };
};

export type SqlExecutor = Kysely<Tables>;

export type MailboxRow = Selectable<MailboxTable>;
export type MailboxStateRow = Selectable<MailboxStateTable>;
export type MessageRow = Selectable<MessageTable>;
export type AttachmentRow = Selectable<AttachmentTable>;
