/**
 * The steps that came with the admin page: who may sign in, who is signed in, sign-ins that were tried, and the operation
 * that was started there last. Numbered, never edited, one statement each, as in migrations.ts.
 */
import { ascii, exact, hash, index, type Migration, tableOptions, uuid, word } from './migration-step.ts';

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
