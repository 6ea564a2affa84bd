/**
 * The steps that came with bounces, marks, links between tickets and quarantine. Numbered, never edited, one statement
 * each, as in migrations.ts.
 */
import { ascii, column, hash, index, type Migration, tableOptions, uuid, word } from './migration-step.ts';

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
export const mailMigrations: readonly Migration[] = [
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
