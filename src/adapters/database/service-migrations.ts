/**
 * The steps that came with several workers and refused logins. Numbered, never edited, one statement each, as in
 * migrations.ts.
 */
import { index, type Migration } from './migration-step.ts';

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
export const serviceMigrations: readonly Migration[] = [
  refusals,
  refusedVersion,
  changedAt,
  changedAtOfSqlite,
  index(30, 'mailbox_state', ['lease_owner']),
  index(31, 'outcome', ['outcome', 'resolved_at', 'created_at']),
  failingSince,
];
