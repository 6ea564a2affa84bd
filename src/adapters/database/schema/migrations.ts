/**
 * The tables, step by step: numbered, never edited, one statement each, for both dialects.
 *
 * MySQL cannot roll back DDL, so a step is one statement and may be met half way: applied but not yet recorded. An
 * index therefore is a step of its own. A step that one dialect does not need is null there, but keeps its number.
 */
import { ascii, column, exact, hash, index, type Migration, tableOptions, uuid, word } from '../sql/dialect.ts';
import { adminMigrations, encryptionMigrations } from './migrations-encryption.ts';

const mailbox: Migration = {
  number: 1,
  name: 'mailbox',
  mysql: `create table mailbox (
    id ${uuid} not null primary key,
    name varchar(255) ${exact} not null,
    host varchar(255) not null,
    port int unsigned not null,
    tls ${word} not null,
    ca_pem longtext null,
    fingerprint ${hash} null,
    allow_plaintext tinyint unsigned not null,
    user_name text not null,
    folder text not null,
    start_from ${word} not null,
    start_at datetime(3) null,
    after_kind ${word} not null,
    after_folder text null,
    poll_interval_ms bigint unsigned null,
    state ${word} not null,
    password varbinary(4096) not null,
    password_form ${word} not null,
    created_at datetime(3) not null,
    unique key mailbox_name (name)
  ) ${tableOptions}`,
  sqlite: `create table mailbox (
    id text not null primary key,
    name text not null unique,
    host text not null,
    port integer not null,
    tls text not null,
    ca_pem text null,
    fingerprint text null,
    allow_plaintext integer not null,
    user_name text not null,
    folder text not null,
    start_from text not null,
    start_at text null,
    after_kind text not null,
    after_folder text null,
    poll_interval_ms integer null,
    state text not null,
    password blob not null,
    password_form text not null,
    created_at text not null
  ) strict, without rowid`,
};

const mailboxState: Migration = {
  number: 2,
  name: 'mailbox_state',
  mysql: `create table mailbox_state (
    mailbox_id ${uuid} not null primary key,
    cursor_uid_validity bigint unsigned null,
    cursor_uid bigint unsigned null,
    lease_owner varchar(255) ${exact} null,
    lease_epoch bigint unsigned not null default 0,
    lease_until datetime(3) null,
    next_poll_at datetime(3) not null,
    failures int unsigned not null default 0,
    last_success_at datetime(3) null,
    last_error_code ${word} null,
    last_error_message text null,
    last_error_hint text null,
    last_error_at datetime(3) null
  ) ${tableOptions}`,
  sqlite: `create table mailbox_state (
    mailbox_id text not null primary key,
    cursor_uid_validity integer null,
    cursor_uid integer null,
    lease_owner text null,
    lease_epoch integer not null default 0,
    lease_until text null,
    next_poll_at text not null,
    failures integer not null default 0,
    last_success_at text null,
    last_error_code text null,
    last_error_message text null,
    last_error_hint text null,
    last_error_at text null
  ) strict, without rowid`,
};

const ticket: Migration = {
  number: 4,
  name: 'ticket',
  mysql: `create table ticket (
    id ${uuid} not null primary key,
    ref varchar(64) ${exact} not null,
    mailbox_id ${uuid} not null,
    subject varchar(255) not null,
    subject_full longtext null,
    requester_name varchar(255) not null,
    requester_address varchar(320) not null,
    status ${word} not null,
    created_at datetime(3) not null,
    updated_at datetime(3) not null,
    unique key ticket_ref (ref)
  ) ${tableOptions}`,
  sqlite: `create table ticket (
    id text not null primary key,
    ref text not null unique,
    mailbox_id text not null,
    subject text not null,
    subject_full text null,
    requester_name text not null,
    requester_address text not null,
    status text not null,
    created_at text not null,
    updated_at text not null
  ) strict`,
};

const message: Migration = {
  number: 6,
  name: 'message',
  mysql: `create table message (
    id ${uuid} not null primary key,
    mailbox_id ${uuid} not null,
    ticket_id ${uuid} null,
    kind ${word} not null,
    message_id longtext ${exact} not null,
    message_id_hash ${hash} not null,
    message_id_missing tinyint unsigned not null,
    reported_message_id longtext ${exact} null,
    content_hash ${hash} not null,
    from_name varchar(255) not null,
    from_address varchar(320) not null,
    from_json longtext null,
    reply_to_json longtext not null,
    to_json longtext not null,
    cc_json longtext not null,
    in_reply_to_json longtext not null,
    references_json longtext not null,
    headers_json longtext not null,
    subject varchar(255) not null,
    subject_full longtext null,
    body_text longtext not null,
    body_html longtext null,
    sent_at datetime(3) null,
    received_at datetime(3) not null,
    created_at datetime(3) not null
  ) ${tableOptions}`,
  sqlite: `create table message (
    id text not null primary key,
    mailbox_id text not null,
    ticket_id text null,
    kind text not null,
    message_id text not null,
    message_id_hash text not null,
    message_id_missing integer not null,
    reported_message_id text null,
    content_hash text not null,
    from_name text not null,
    from_address text not null,
    from_json text null,
    reply_to_json text not null,
    to_json text not null,
    cc_json text not null,
    in_reply_to_json text not null,
    references_json text not null,
    headers_json text not null,
    subject text not null,
    subject_full text null,
    body_text text not null,
    body_html text null,
    sent_at text null,
    received_at text not null,
    created_at text not null
  ) strict`,
};

const attachment: Migration = {
  number: 9,
  name: 'attachment',
  mysql: `create table attachment (
    message_id ${uuid} not null,
    position int unsigned not null,
    name varchar(255) not null,
    name_full longtext null,
    type varchar(255) not null,
    size_bytes bigint unsigned not null,
    sha256 ${hash} not null,
    content_id longtext null,
    inline tinyint unsigned not null,
    primary key (message_id, position)
  ) ${tableOptions}`,
  sqlite: `create table attachment (
    message_id text not null,
    position integer not null,
    name text not null,
    name_full text null,
    type text not null,
    size_bytes integer not null,
    sha256 text not null,
    content_id text null,
    inline integer not null,
    primary key (message_id, position)
  ) strict, without rowid`,
};

const outcome: Migration = {
  number: 11,
  name: 'outcome',
  mysql: `create table outcome (
    mailbox_id ${uuid} not null,
    uid_validity bigint unsigned not null,
    uid bigint unsigned not null,
    outcome ${word} not null,
    reason varchar(255) ${ascii} null,
    ticket_id ${uuid} null,
    message_id ${uuid} null,
    size_bytes bigint unsigned not null,
    received_at datetime(3) null,
    raw_segment varchar(255) ${exact} null,
    raw_offset bigint unsigned null,
    raw_length bigint unsigned null,
    raw_sha256 ${hash} null,
    action_pending tinyint unsigned not null,
    created_at datetime(3) not null,
    resolved_at datetime(3) null,
    primary key (mailbox_id, uid_validity, uid)
  ) ${tableOptions}`,
  sqlite: `create table outcome (
    mailbox_id text not null,
    uid_validity integer not null,
    uid integer not null,
    outcome text not null,
    reason text null,
    ticket_id text null,
    message_id text null,
    size_bytes integer not null,
    received_at text null,
    raw_segment text null,
    raw_offset integer null,
    raw_length integer null,
    raw_sha256 text null,
    action_pending integer not null,
    created_at text not null,
    resolved_at text null,
    primary key (mailbox_id, uid_validity, uid)
  ) strict, without rowid`,
};

/**
 * The steps that came with several workers and refused logins. Numbered, never edited, one statement each, as in
 * migrations.ts.
 */

/** Refused logins in a row, and the version of the row (`mailboxes.changed_at`) that they were tried with. */
const refusals: Migration = {
  number: 26,
  name: 'mailbox_state_refusals',
  mysql: 'alter table mailbox_state add column login_refusals int unsigned not null default 0',
  sqlite: 'alter table mailbox_state add column login_refusals integer not null default 0',
};

const refusedVersion: Migration = {
  number: 27,
  name: 'mailbox_state_refused_version',
  mysql: 'alter table mailbox_state add column refused_version varchar(32) null',
  sqlite: 'alter table mailbox_state add column refused_version text null',
};

/** The database keeps it, whoever writes the row: a stamp by which a change is seen, in whatever time zone. */
const changedAt: Migration = {
  number: 28,
  name: 'mailboxes_changed_at',
  mysql: `alter table mailboxes
    add column changed_at datetime(6) not null default current_timestamp(6) on update current_timestamp(6)`,
  sqlite: `alter table mailboxes add column changed_at text not null default ''`,
};

const settings = [
  ...['name', 'host', 'port', 'tls_mode', 'ca_pem', 'fingerprint', 'allow_plaintext', 'username', 'folder'],
  ...['start_from', 'start_at', 'after_kind', 'after_folder', 'poll_interval_ms', 'state'],
];

const columnsOf = (row: 'new' | 'old') => settings.map((column) => `${row}.${column}`).join(', ');

/** Sealing a password is no change of it; MySQL is told so in the statement that seals. */
const changedAtOfSqlite: Migration = {
  number: 29,
  name: 'mailboxes_changed_at_sqlite',
  mysql: null,
  sqlite: `create trigger mailboxes_changed after update on mailboxes
    when (${columnsOf('new')}) is not (${columnsOf('old')})
      or (new.password is not old.password and (new.password_form = 'plain'
        or (new.password_form is old.password_form and new.password_key_id is old.password_key_id)))
    begin
      update mailboxes set changed_at = strftime('%Y-%m-%d %H:%M:%f', 'now') || ' ' || hex(randomblob(4)) where id = new.id;
    end`,
};

/** Of the first of the failures in a row, whichever worker saw it. */
const failingSince: Migration = {
  number: 32,
  name: 'mailbox_state_failing_since',
  mysql: 'alter table mailbox_state add column failing_since datetime(3) null',
  sqlite: 'alter table mailbox_state add column failing_since text null',
};

/** In the order of their numbers. */
const serviceMigrations: readonly Migration[] = [
  refusals,
  refusedVersion,
  changedAt,
  changedAtOfSqlite,
  index(30, 'mailbox_state', ['lease_owner']),
  index(31, 'outcome', ['outcome', 'resolved_at', 'created_at']),
  failingSince,
];

/**
 * The steps that came with bounces, marks, links between tickets and quarantine. Numbered, never edited, one statement
 * each, as in migrations.ts.
 */

/** Two tickets that have to do with each other: one row for each pair and reason. */
const ticketLink: Migration = {
  number: 39,
  name: 'ticket_link',
  mysql: `create table ticket_link (
    ticket_id ${uuid} not null,
    other_id ${uuid} not null,
    reason ${word} not null,
    created_at datetime(3) not null,
    primary key (ticket_id, other_id, reason)
  ) ${tableOptions}`,
  sqlite: `create table ticket_link (
    ticket_id text not null,
    other_id text not null,
    reason text not null,
    created_at text not null,
    primary key (ticket_id, other_id, reason)
  ) strict, without rowid`,
};

/** Which stored messages name a Message-ID (its SHA-256), stored or not: for mail that arrives out of order. */
const messageReference: Migration = {
  number: 41,
  name: 'message_reference',
  mysql: `create table message_reference (
    mailbox_id ${uuid} not null,
    reference_hash ${hash} not null,
    message_id ${uuid} not null,
    primary key (mailbox_id, reference_hash, message_id)
  ) ${tableOptions}`,
  sqlite: `create table message_reference (
    mailbox_id text not null,
    reference_hash text not null,
    message_id text not null,
    primary key (mailbox_id, reference_hash, message_id)
  ) strict, without rowid`,
};

/** One row, whose id is 1: the key of the reply tokens. */
const replyKey: Migration = {
  number: 42,
  name: 'reply_key',
  mysql: `create table reply_key (
    id tinyint unsigned not null primary key,
    secret varbinary(32) not null,
    created_at datetime(3) not null
  ) ${tableOptions}`,
  sqlite: `create table reply_key (
    id integer not null primary key,
    secret blob not null,
    created_at text not null
  ) strict`,
};

/** How much a sender sent within an hour, in any case of letters: the collation in MySQL has none. */
const sentBy: Migration = {
  number: 46,
  name: 'message_sent_by',
  mysql: 'create index message_sent_by on message (mailbox_id, from_address, received_at)',
  sqlite: 'create index message_sent_by on message (mailbox_id, from_address collate nocase, received_at)',
};

/** In the order of their numbers. */
const mailMigrations: readonly Migration[] = [
  column(33, 'message', 'bounce_json', 'longtext null', 'text null'),
  column(34, 'message', 'marks_json', 'longtext null', 'text null'),
  column(35, 'message', 'protection', `${word} null`, 'text null'),
  column(36, 'message', 'thread_rule', `${word} null`, 'text null'),
  column(37, 'ticket', 'closed_at', 'datetime(3) null', 'text null'),
  column(38, 'ticket', 'merged_into', `${uuid} null`, 'text null'),
  ticketLink,
  index(40, 'ticket_link', ['other_id']),
  messageReference,
  replyKey,
  // The addresses at which this mailbox gets its mail, separated by commas; null: the user name, if it is one.
  column(43, 'mailboxes', 'addresses', 'text null', 'text null'),
  // SHA-256 of Message-ID and content: by this a mail is known again even when its message was deleted.
  column(44, 'outcome', 'identity', `char(64) ${ascii} null`, 'text null'),
  index(45, 'outcome', ['mailbox_id', 'identity']),
  sentBy,
  // How often a folder was found set back (restored from a backup) under the same UIDVALIDITY.
  column(47, 'mailbox_state', 'folder_life', 'int unsigned not null default 0', 'integer not null default 0'),
  column(48, 'mailbox_state', 'cursor_start_uid', 'bigint unsigned null', 'integer null'),
  // Opened by an answer to mail that is not here: it may turn out to belong to an older ticket.
  column(49, 'ticket', 'is_orphan', 'tinyint unsigned not null default 0', 'integer not null default 0'),
];

/**
 * The tables, step by step: numbered, never edited, one statement each, for both dialects.
 *
 * MySQL cannot roll back DDL, so a step is one statement and may be met half way: applied but not yet recorded. An
 * index therefore is a step of its own. A step that one dialect does not need is null there, but keeps its number.
 */

/** In the order of their numbers. */
export const migrations: readonly Migration[] = [
  mailbox,
  mailboxState,
  index(3, 'mailbox_state', ['next_poll_at']),
  ticket,
  index(5, 'ticket', ['created_at']),
  message,
  index(7, 'message', ['message_id_hash']),
  index(8, 'message', ['ticket_id', 'received_at']),
  attachment,
  index(10, 'attachment', ['sha256']),
  outcome,
  index(12, 'outcome', ['message_id']),
  index(13, 'outcome', ['action_pending', 'mailbox_id', 'uid_validity', 'uid']),
  index(14, 'outcome', ['raw_segment']),
  ...encryptionMigrations,
  ...serviceMigrations,
  ...mailMigrations,
  ...adminMigrations,
  // Of which folder the cursor is (folder-epoch.ts, `folderKey`); null: of the one that is visited next.
  column(57, 'mailbox_state', 'cursor_folder', `${hash} null`, 'text null'),
];
