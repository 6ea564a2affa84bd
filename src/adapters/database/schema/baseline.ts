/**
 * Baseline schema: every table of version 1, described once for MySQL and SQLite.
 *
 * A column of `Tables` that is missing here does not compile. The helpdesk and scripts write rows of `mailboxes` too:
 * `name`, `host`, `username` and `password` are all that a row needs, everything else has a default. Rows of
 * `sent_message` are written by the helpdesk alone. Until version 1.0 this file may change; from then on a later
 * migration adds to it.
 */
import type { Tables } from '../sql/tables.ts';
import {
  anySafeInteger,
  ascii,
  asciiText,
  bigint,
  boundedText,
  type ColumnDefinition,
  columnType,
  exactLongText,
  exactText,
  flag,
  int,
  keyId,
  longText,
  safeInteger,
  sha256,
  shortText,
  sqliteUuid,
  text,
  time,
  timeDefaultNow,
  uuid,
  word,
} from './column-types.ts';

export type TableDefinition<Row> = {
  readonly columns: { readonly [C in keyof Row]: ColumnDefinition };
  readonly primaryKey: readonly (keyof Row)[];
  readonly unique?: keyof Row;
  /** Named after the table and their first column. */
  readonly indexes?: readonly (readonly [keyof Row, ...(keyof Row | ColumnDefinition)[]])[];
  /** SQLite: clustered by a key other than an integer. */
  readonly withoutRowid: boolean;
};

const mailboxes: TableDefinition<Tables['mailboxes']> = {
  columns: {
    id: { mysql: `char(36) ${ascii} not null default (uuid())`, sqlite: `text not null default ${sqliteUuid}` },
    name: exactText(255)('not null'),
    host: shortText(255)('not null'),
    port: anySafeInteger(int('not null default 993'), 'port'),
    tls_mode: word(`not null default 'implicit'`),
    ca_pem: longText('null'),
    fingerprint: sha256('null'),
    allow_plaintext: anySafeInteger(flag('not null default 0'), 'allow_plaintext'),
    username: text('not null'),
    folder: text(`not null default ('INBOX')`),
    since_kind: word(`not null default 'time'`),
    since_at: timeDefaultNow('null'),
    on_success: word(`not null default 'seen'`),
    on_success_folder: text('null'),
    poll_interval_ms: anySafeInteger(bigint('null'), 'poll_interval_ms'),
    addresses: text('null'),
    state: word(`not null default 'active'`),
    // Other programs may write the password as text.
    password: { mysql: `varbinary(4096) not null default ''`, sqlite: `any not null default ''` },
    password_form: word(`not null default 'plain'`),
    password_key_id: keyId('null'),
    settings_seal: asciiText(255)('null'),
    plaintext_since: time('null'),
    plaintext_until: time('null'),
    auth: word(`not null default 'password'`),
    grant_name: exactText(255)('null'),
    created_at: timeDefaultNow('not null'),
    // Maintained by the database; in SQLite by the trigger.
    changed_at: {
      mysql: 'datetime(6) not null default current_timestamp(6) on update current_timestamp(6)',
      sqlite: `text not null default ''`,
    },
  },
  primaryKey: ['id'],
  unique: 'name',
  indexes: [['password_form'], ['grant_name', { mysql: 'username(191)', sqlite: 'username collate nocase' }]],
  withoutRowid: true,
};

const mailboxState: TableDefinition<Tables['mailbox_state']> = {
  columns: {
    mailbox_id: uuid('not null'),
    cursor_folder_epoch: safeInteger(bigint('null'), 'cursor_folder_epoch', 0),
    cursor_uid: safeInteger(bigint('null'), 'cursor_uid', 0),
    cursor_start_uid: safeInteger(bigint('null'), 'cursor_start_uid', 0),
    cursor_folder_hash: sha256('null'),
    account_hash: sha256('null'),
    folder_generation: safeInteger(int('not null default 0'), 'folder_generation', 0),
    lease_owner: exactText(255)('null'),
    lease_epoch: safeInteger(bigint('not null default 0'), 'lease_epoch', 0),
    lease_until: time('null'),
    ...{ next_poll_at: time('not null'), retry_requested_at: time('null') },
    failures: safeInteger(int('not null default 0'), 'failures', 0),
    failing_since: time('null'),
    login_failures: safeInteger(int('not null default 0'), 'login_failures', 0),
    login_failed_version: { mysql: 'varchar(32) null', sqlite: 'text null' },
    last_success_at: time('null'),
    last_error_code: word('null'),
    last_error_message: text('null'),
    last_error_hint: text('null'),
    last_error_at: time('null'),
  },
  primaryKey: ['mailbox_id'],
  indexes: [['next_poll_at'], ['lease_owner'], ['account_hash']],
  withoutRowid: true,
};

const ticket: TableDefinition<Tables['ticket']> = {
  columns: {
    id: uuid('not null'),
    ref: exactText(64)('not null'),
    mailbox_id: uuid('not null'),
    subject: shortText(255)('not null'),
    subject_full: longText('null'),
    requester_name: shortText(255)('not null'),
    requester_address: shortText(320)('not null'),
    status: word('not null'),
    closed_at: time('null'),
    merged_into: uuid('null'),
    is_orphan: flag('not null default 0'),
    created_at: time('not null'),
    updated_at: time('not null'),
  },
  primaryKey: ['id'],
  unique: 'ref',
  indexes: [['created_at']],
  withoutRowid: false,
};

const message: TableDefinition<Tables['message']> = {
  columns: {
    id: uuid('not null'),
    mailbox_id: uuid('not null'),
    ticket_id: uuid('null'),
    kind: word('not null'),
    message_id: exactLongText('not null'),
    message_id_hash: sha256('not null'),
    message_id_missing: flag('not null'),
    reported_message_id: exactLongText('null'),
    content_hash: sha256('not null'),
    from_name: shortText(255)('not null'),
    from_address: shortText(320)('not null'),
    from_json: longText('null'),
    reply_to_json: longText('not null'),
    to_json: longText('not null'),
    cc_json: longText('not null'),
    recipients_json: text('not null'),
    replies_to_json: text('not null'),
    in_reply_to_json: longText('not null'),
    references_json: longText('not null'),
    headers_json: longText('not null'),
    subject: shortText(255)('not null'),
    subject_full: longText('null'),
    body_text: longText('not null'),
    body_html: longText('null'),
    sent_at: time('null'),
    received_at: time('not null'),
    created_at: time('not null'),
    bounce_json: longText('null'),
    marks_json: longText('null'),
    protection: word('null'),
    thread_rule: word('null'),
    repeat_key: sha256('null'),
  },
  primaryKey: ['id'],
  indexes: [
    // Many messages with one Message-ID are ranked in the index alone.
    ['message_id_hash', 'mailbox_id', 'from_address'],
    ['ticket_id', 'received_at'],
    // How much a sender sent, in any case of letters: the collation of MySQL ignores case.
    ['mailbox_id', { mysql: 'from_address', sqlite: 'from_address collate nocase' }, 'received_at'],
  ],
  withoutRowid: false,
};

const attachment: TableDefinition<Tables['attachment']> = {
  columns: {
    message_id: uuid('not null'),
    position: int('not null'),
    name: shortText(255)('not null'),
    name_full: longText('null'),
    type: shortText(255)('not null'),
    size_bytes: bigint('not null'),
    sha256: sha256('not null'),
    content_id: longText('null'),
    inline: flag('not null'),
  },
  primaryKey: ['message_id', 'position'],
  indexes: [['sha256']],
  withoutRowid: true,
};

const outcome: TableDefinition<Tables['outcome']> = {
  columns: {
    mailbox_id: uuid('not null'),
    folder_epoch: safeInteger(bigint('not null'), 'folder_epoch', 0),
    uid: safeInteger(bigint('not null'), 'uid', 0),
    outcome: word('not null'),
    reason: asciiText(255)('null'),
    ticket_id: uuid('null'),
    message_id: uuid('null'),
    dedup_key: sha256('null'),
    size_bytes: safeInteger(bigint('not null'), 'size_bytes', 0),
    received_at: time('null'),
    raw_segment: exactText(255)('null'),
    raw_offset: safeInteger(bigint('null'), 'raw_offset', 0),
    raw_length: safeInteger(bigint('null'), 'raw_length', 0),
    raw_sha256: sha256('null'),
    action_pending: flag('not null'),
    action_seal: asciiText(64)('null'),
    created_at: time('not null'),
    resolved_at: time('null'),
  },
  primaryKey: ['mailbox_id', 'folder_epoch', 'uid'],
  indexes: [
    ['message_id'],
    ['action_pending', 'mailbox_id', 'folder_epoch', 'uid'],
    ['raw_segment'],
    ['outcome', 'resolved_at', 'created_at'],
    ['mailbox_id', 'dedup_key'],
  ],
  withoutRowid: true,
};

const ticketLink: TableDefinition<Tables['ticket_link']> = {
  columns: {
    ticket_id: uuid('not null'),
    other_id: uuid('not null'),
    reason: word('not null'),
    created_at: time('not null'),
  },
  primaryKey: ['ticket_id', 'other_id', 'reason'],
  indexes: [['other_id']],
  withoutRowid: true,
};

const messageReference: TableDefinition<Tables['message_reference']> = {
  columns: { mailbox_id: uuid('not null'), reference_hash: sha256('not null'), message_id: uuid('not null') },
  primaryKey: ['mailbox_id', 'reference_hash', 'message_id'],
  withoutRowid: true,
};

const sentMessage: TableDefinition<Tables['sent_message']> = {
  columns: {
    // RFC 5322 section 2.1.1: the length of a line.
    message_id: boundedText(asciiText(998)('not null'), 'message_id', 998),
    ticket_id: boundedText(uuid('not null'), 'ticket_id', 36),
    sent_at: timeDefaultNow('not null'),
  },
  primaryKey: ['message_id'],
  // By which a helpdesk deletes rows.
  indexes: [['ticket_id'], ['sent_at']],
  withoutRowid: true,
};

const replyKey: TableDefinition<Tables['reply_key']> = {
  columns: {
    id: int('not null'),
    secret: { mysql: 'varbinary(60) not null', sqlite: 'blob not null' },
    key_id: keyId('null'),
    created_at: time('not null'),
    retired_at: time('null'),
  },
  primaryKey: ['id'],
  withoutRowid: false,
};

const encryptionSwitch: TableDefinition<Tables['encryption_switch']> = {
  columns: {
    id: flag('not null'),
    state: word('not null'),
    key_id: keyId('null'),
    next_key_id: keyId('null'),
    // A larger revision would not be an exact number here.
    revision: {
      mysql: `bigint unsigned not null check (revision <= ${Number.MAX_SAFE_INTEGER})`,
      sqlite: safeInteger(bigint('not null'), 'revision', 0).sqlite,
    },
    seal: asciiText(255)('null'),
    changed_at: time('not null'),
    changed_by: exactText(255)('not null'),
    operation_owner: exactText(255)('null'),
    operation_until: time('null'),
    password_writes: bigint('not null default 0'),
  },
  primaryKey: ['id'],
  withoutRowid: false,
};

const oauthGrant: TableDefinition<Tables['oauth_grant']> = {
  columns: {
    id: { mysql: `char(36) ${ascii} not null default (uuid())`, sqlite: `text not null default ${sqliteUuid}` },
    name: exactText(255)('not null'),
    provider: exactText(64)('not null'),
    flow: word(`not null default 'person'`),
    account: exactText(320)('null'),
    scope: text('null'),
    // Other programs may write the token as text.
    refresh: { mysql: 'varbinary(16384) null', sqlite: 'any null' },
    refresh_form: word(`not null default 'plain'`),
    refresh_key_id: keyId('null'),
    state: word(`not null default 'ready'`),
    state_since: timeDefaultNow('not null'),
    error_code: asciiText(64)('null'),
    error_message: text('null'),
    retry_at: time('null'),
    asked_at: time('null'),
    renewed_at: time('null'),
    consented_at: time('null'),
    consented_by: exactText(255)('null'),
    created_at: timeDefaultNow('not null'),
  },
  primaryKey: ['id'],
  unique: 'name',
  withoutRowid: true,
};

const oauthAccess: TableDefinition<Tables['oauth_access']> = {
  columns: {
    grant_id: uuid('not null'),
    username: exactText(320)('not null'),
    access: { mysql: 'varbinary(16384) null', sqlite: 'blob null' },
    access_form: word(`not null default 'plain'`),
    access_key_id: keyId('null'),
    access_until: time('null'),
    renew_at: time('null'),
    version: safeInteger(bigint('not null default 0'), 'version', 0),
    claim_owner: exactText(255)('null'),
    claim_until: time('null'),
  },
  primaryKey: ['grant_id', 'username'],
  indexes: [['renew_at']],
  withoutRowid: true,
};

const workers: TableDefinition<Tables['workers']> = {
  columns: {
    worker: exactText(255)('not null'),
    host: exactText(255)('not null'),
    pid: bigint('not null'),
    key_ids: columnType(`text ${ascii}`, 'text')('not null'),
    vault: word('not null'),
    revision: bigint('not null'),
    started_at: time('not null'),
    heartbeat_at: time('not null'),
  },
  primaryKey: ['worker'],
  withoutRowid: true,
};

const audit: TableDefinition<Tables['audit']> = {
  columns: {
    id: { mysql: 'bigint unsigned not null auto_increment', sqlite: 'integer not null' },
    at: time('not null'),
    actor: exactText(255)('not null'),
    host: exactText(255)('not null'),
    action: asciiText(64)('not null'),
    key_id: keyId('null'),
    next_key_id: keyId('null'),
    mailbox_id: uuid('null'),
    detail: exactText(1000)('null'),
  },
  primaryKey: ['id'],
  indexes: [['at'], ['action']],
  withoutRowid: false,
};

const adminAccount: TableDefinition<Tables['admin_account']> = {
  columns: {
    id: uuid('not null'),
    name: exactText(64)('not null'),
    name_key: exactText(255)('not null'),
    password_hash: asciiText(255)('not null'),
    created_at: time('not null'),
    password_changed_at: time('not null'),
    last_sign_in_at: time('null'),
  },
  primaryKey: ['id'],
  unique: 'name_key',
  withoutRowid: true,
};

const adminSession: TableDefinition<Tables['admin_session']> = {
  columns: {
    token_hash: sha256('not null'),
    account_id: uuid('not null'),
    created_at: time('not null'),
    seen_at: time('not null'),
  },
  primaryKey: ['token_hash'],
  indexes: [['account_id']],
  withoutRowid: true,
};

const adminAttempt: TableDefinition<Tables['admin_attempt']> = {
  columns: {
    bucket: sha256('not null'),
    count: safeInteger(int('not null'), 'count', 0),
    window_until: time('not null'),
  },
  primaryKey: ['bucket'],
  indexes: [['window_until']],
  withoutRowid: true,
};

const adminOperation: TableDefinition<Tables['admin_operation']> = {
  columns: {
    id: flag('not null'),
    number: safeInteger(bigint('not null'), 'number', 0),
    kind: word('not null'),
    started_by: exactText(255)('not null'),
    started_at: time('not null'),
    ended_at: time('null'),
    worker: exactText(255)('not null'),
    state: word('not null'),
    detail: longText('not null'),
  },
  primaryKey: ['id'],
  withoutRowid: false,
};

/** Every table but `schema_migration`, which migrate.ts creates. */
export const baselineTables: { readonly [T in Exclude<keyof Tables, 'schema_migration'>]: TableDefinition<Tables[T]> } =
  {
    mailboxes,
    mailbox_state: mailboxState,
    ticket,
    message,
    attachment,
    outcome,
    ticket_link: ticketLink,
    message_reference: messageReference,
    sent_message: sentMessage,
    reply_key: replyKey,
    encryption_switch: encryptionSwitch,
    oauth_grant: oauthGrant,
    oauth_access: oauthAccess,
    workers,
    audit,
    admin_account: adminAccount,
    admin_session: adminSession,
    admin_attempt: adminAttempt,
    admin_operation: adminOperation,
  };
