/**
 * The steps that came with sealed passwords: `mailbox` becomes `mailboxes`, and the switch, the workers and the audit
 * get their tables. Numbered, never edited, one statement each, as in migrations.ts.
 *
 * The helpdesk and scripts write rows of `mailboxes` too, so `name`, `host`, `username` and `password` are all that a
 * row needs: everything else has a default.
 */
import { ascii, exact, hash, index, type Migration, tableOptions, uuid, word } from '../sql/dialect.ts';

/** The error "no such table". */
const noSuchTable = 1146;
const keyId = `char(16) ${ascii}`;
const sqliteNow = `(strftime('%Y-%m-%d %H:%M:%f', 'now'))`;
/** A UUID of version 4 (RFC 9562). */
const sqliteUuid = `(lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
      || '-' || substr('89AB', 1 + (random() & 3), 1) || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))))`;

/** One statement, which the server does whole or not at all. SQLite takes three steps for it. */
const mailboxesOfMysql: Migration = {
  number: 15,
  name: 'mailboxes',
  mysql: `alter table mailbox
    change column tls tls_mode ${word} not null default 'implicit',
    change column user_name username text not null,
    modify column port int unsigned not null default 993,
    modify column allow_plaintext tinyint unsigned not null default 0,
    modify column folder text not null default ('INBOX'),
    modify column start_from ${word} not null default 'time',
    modify column after_kind ${word} not null default 'seen',
    modify column state ${word} not null default 'active',
    modify column password_form ${word} not null default 'plain',
    add column password_key_id ${keyId} null,
    add column readable_since datetime(3) null,
    add column readable_until datetime(3) null,
    rename to mailboxes`,
  sqlite: null,
  mysqlDone: [noSuchTable],
};

/** Of its own, because MySQL takes no default that differs from row to row in a statement that adds a column. */
const defaultsOfMysql: Migration = {
  number: 16,
  name: 'mailboxes_defaults',
  mysql: `alter table mailboxes
    modify column id ${uuid} not null default (uuid()),
    modify column start_at datetime(3) null default (utc_timestamp(3)),
    modify column created_at datetime(3) not null default (utc_timestamp(3))`,
  sqlite: null,
};

/** The driver throws at a larger number, and with it the rows beside it would be lost. */
const exactly = (column: string) =>
  `check (${column} between -${Number.MAX_SAFE_INTEGER} and ${Number.MAX_SAFE_INTEGER})`;

const mailboxesOfSqlite: Migration = {
  number: 17,
  name: 'mailboxes_sqlite',
  mysql: null,
  // Others may write the password as text.
  sqlite: `create table mailboxes (
    id text not null primary key default ${sqliteUuid},
    name text not null unique,
    host text not null,
    port integer not null default 993 ${exactly('port')},
    tls_mode text not null default 'implicit',
    ca_pem text null,
    fingerprint text null,
    allow_plaintext integer not null default 0 ${exactly('allow_plaintext')},
    username text not null,
    folder text not null default 'INBOX',
    start_from text not null default 'time',
    start_at text null default ${sqliteNow},
    after_kind text not null default 'seen',
    after_folder text null,
    poll_interval_ms integer null ${exactly('poll_interval_ms')},
    state text not null default 'active',
    password any not null,
    password_form text not null default 'plain',
    created_at text not null default ${sqliteNow},
    password_key_id text null,
    readable_since text null,
    readable_until text null
  ) strict, without rowid`,
};

const mailboxesCopied: Migration = {
  number: 18,
  name: 'mailboxes_copied',
  mysql: null,
  sqlite: `insert into mailboxes (id, name, host, port, tls_mode, ca_pem, fingerprint, allow_plaintext, username, folder,
      start_from, start_at, after_kind, after_folder, poll_interval_ms, state, password, password_form, created_at)
    select id, name, host, port, tls, ca_pem, fingerprint, allow_plaintext, user_name, folder,
      start_from, start_at, after_kind, after_folder, poll_interval_ms, state, password, password_form, created_at
    from mailbox`,
};

const mailboxDropped: Migration = { number: 19, name: 'mailbox_dropped', mysql: null, sqlite: 'drop table mailbox' };

/**
 * One row. `operation_*` are the claim of the operation that runs, and `stretches` counts the transactions that change
 * passwords; neither is part of the seal. A larger revision would not be an exact number here.
 */
const encryptionSwitch: Migration = {
  number: 21,
  name: 'encryption_switch',
  mysql: `create table encryption_switch (
    id tinyint unsigned not null primary key,
    state ${word} not null,
    key_id ${keyId} null,
    next_key_id ${keyId} null,
    revision bigint unsigned not null check (revision <= ${Number.MAX_SAFE_INTEGER}),
    seal varchar(255) ${ascii} null,
    changed_at datetime(3) not null,
    changed_by varchar(255) ${exact} not null,
    operation_owner varchar(255) ${exact} null,
    operation_until datetime(3) null,
    stretches bigint unsigned not null default 0
  ) ${tableOptions}`,
  sqlite: `create table encryption_switch (
    id integer not null primary key,
    state text not null,
    key_id text null,
    next_key_id text null,
    revision integer not null check (revision between 0 and ${Number.MAX_SAFE_INTEGER}),
    seal text null,
    changed_at text not null,
    changed_by text not null,
    operation_owner text null,
    operation_until text null,
    stretches integer not null default 0
  ) strict`,
};

const switchValues = `encryption_switch (id, state, revision, changed_at, changed_by)
  values (1, 'off', 0, '1970-01-01 00:00:00.000', '')`;

const switchRow: Migration = {
  number: 22,
  name: 'encryption_switch_row',
  mysql: `insert ignore into ${switchValues}`,
  sqlite: `insert into ${switchValues} on conflict do nothing`,
};

const workers: Migration = {
  number: 23,
  name: 'workers',
  mysql: `create table workers (
    worker varchar(255) ${exact} not null primary key,
    host varchar(255) ${exact} not null,
    pid bigint unsigned not null,
    key_ids text ${ascii} not null,
    vault ${word} not null,
    revision bigint unsigned not null,
    started_at datetime(3) not null,
    seen_at datetime(3) not null
  ) ${tableOptions}`,
  sqlite: `create table workers (
    worker text not null primary key,
    host text not null,
    pid integer not null,
    key_ids text not null,
    vault text not null,
    revision integer not null,
    started_at text not null,
    seen_at text not null
  ) strict, without rowid`,
};

const audit: Migration = {
  number: 24,
  name: 'audit',
  mysql: `create table audit (
    id bigint unsigned not null auto_increment primary key,
    at datetime(3) not null,
    who varchar(255) ${exact} not null,
    host varchar(255) ${exact} not null,
    action varchar(64) ${ascii} not null,
    key_id ${keyId} null,
    next_key_id ${keyId} null,
    mailbox_id ${uuid} null,
    detail varchar(1000) ${exact} null
  ) ${tableOptions}`,
  sqlite: `create table audit (
    id integer not null primary key,
    at text not null,
    who text not null,
    host text not null,
    action text not null,
    key_id text null,
    next_key_id text null,
    mailbox_id text null,
    detail text null
  ) strict`,
};

/** In the order of their numbers. */
export const encryptionMigrations: readonly Migration[] = [
  mailboxesOfMysql,
  defaultsOfMysql,
  mailboxesOfSqlite,
  mailboxesCopied,
  mailboxDropped,
  index(20, 'mailboxes', ['password_form']),
  encryptionSwitch,
  switchRow,
  workers,
  audit,
  index(25, 'audit', ['at']),
];

/**
 * The steps that came with the admin page: who may sign in, who is signed in, sign-ins that were tried, and the operation
 * that was started there last. Numbered, never edited, one statement each, as in migrations.ts.
 */

/** `name_key`: the name as it is compared, the same in both dialects (see admin-accounts.ts). */
const account: Migration = {
  number: 50,
  name: 'admin_account',
  mysql: `create table admin_account (
    id ${uuid} not null primary key,
    name varchar(64) ${exact} not null,
    name_key varchar(255) ${exact} not null,
    password_hash varchar(255) ${ascii} not null,
    created_at datetime(3) not null,
    password_changed_at datetime(3) not null,
    last_sign_in_at datetime(3) null,
    unique key admin_account_name (name_key)
  ) ${tableOptions}`,
  sqlite: `create table admin_account (
    id text not null primary key,
    name text not null,
    name_key text not null unique,
    password_hash text not null,
    created_at text not null,
    password_changed_at text not null,
    last_sign_in_at text null
  ) strict, without rowid`,
};

const session: Migration = {
  number: 51,
  name: 'admin_session',
  mysql: `create table admin_session (
    token_hash ${hash} not null primary key,
    account_id ${uuid} not null,
    created_at datetime(3) not null,
    seen_at datetime(3) not null
  ) ${tableOptions}`,
  sqlite: `create table admin_session (
    token_hash text not null primary key,
    account_id text not null,
    created_at text not null,
    seen_at text not null
  ) strict, without rowid`,
};

/** The driver throws at a larger number. */
const exactlyAdmin = (column: string) => `check (${column} between 0 and ${Number.MAX_SAFE_INTEGER})`;

const attempt: Migration = {
  number: 53,
  name: 'admin_attempt',
  mysql: `create table admin_attempt (
    bucket ${hash} not null primary key,
    count int unsigned not null,
    window_until datetime(3) not null
  ) ${tableOptions}`,
  sqlite: `create table admin_attempt (
    bucket text not null primary key,
    count integer not null ${exactlyAdmin('count')},
    window_until text not null
  ) strict, without rowid`,
};

/** One row, whose id is 1. */
const operation: Migration = {
  number: 55,
  name: 'admin_operation',
  mysql: `create table admin_operation (
    id tinyint unsigned not null primary key,
    number bigint unsigned not null,
    kind ${word} not null,
    started_by varchar(255) ${exact} not null,
    started_at datetime(3) not null,
    ended_at datetime(3) null,
    worker varchar(255) ${exact} not null,
    state ${word} not null,
    detail longtext not null
  ) ${tableOptions}`,
  sqlite: `create table admin_operation (
    id integer not null primary key,
    number integer not null ${exactlyAdmin('number')},
    kind text not null,
    started_by text not null,
    started_at text not null,
    ended_at text null,
    worker text not null,
    state text not null,
    detail text not null
  ) strict`,
};

/** In the order of their numbers. */
export const adminMigrations: readonly Migration[] = [
  account,
  session,
  index(52, 'admin_session', ['account_id']),
  attempt,
  index(54, 'admin_attempt', ['window_until']),
  operation,
  // The newest row of one kind, on every page: the audit itself only grows.
  index(56, 'audit', ['action']),
];
