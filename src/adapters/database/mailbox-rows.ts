/**
 * Mailbox rows to and from the types of the workflows. A row with a word that this program does not know is refused.
 */
import type { RawBuilder } from 'kysely';
import { Failure } from '../../errors.ts';
import type { AfterAction, Cursor, Mailbox, MailboxHealth, Start, TlsMode } from '../../ingest/mailbox.ts';
import type { MailboxRow, MailboxStateRow } from './tables.ts';
import { fromDatabaseTime, fromOptionalTime, toDatabaseTime } from './times.ts';

/** All columns of a mailbox but its password: listing mailboxes must not touch passwords. */
export const mailboxColumns = [
  'mailbox.id',
  'mailbox.name',
  'mailbox.host',
  'mailbox.port',
  'mailbox.tls',
  'mailbox.ca_pem',
  'mailbox.fingerprint',
  'mailbox.allow_plaintext',
  'mailbox.user_name',
  'mailbox.folder',
  'mailbox.start_from',
  'mailbox.start_at',
  'mailbox.after_kind',
  'mailbox.after_folder',
  'mailbox.poll_interval_ms',
  'mailbox.state',
] as const;

export type PlainMailboxRow = Omit<MailboxRow, 'password' | 'password_form' | 'created_at'>;

export function toMailbox(row: PlainMailboxRow): Mailbox {
  return {
    id: row.id,
    name: row.name,
    connection: {
      host: row.host,
      port: row.port,
      tls: oneOf<TlsMode>(row, 'tls', ['implicit', 'starttls', 'none']),
      caPem: row.ca_pem,
      fingerprint: row.fingerprint,
      allowPlaintext: row.allow_plaintext === 1,
      user: row.user_name,
      folder: row.folder,
    },
    start: toStart(row),
    after: toAfterAction(row),
    pollIntervalMs: row.poll_interval_ms,
    state: oneOf(row, 'state', ['active', 'paused']),
  };
}

export function fromMailbox(mailbox: Mailbox, now: RawBuilder<string>) {
  const { connection, start, after } = mailbox;
  return {
    id: mailbox.id,
    name: mailbox.name,
    host: connection.host,
    port: connection.port,
    tls: connection.tls,
    ca_pem: connection.caPem,
    fingerprint: connection.fingerprint,
    allow_plaintext: connection.allowPlaintext ? (1 as const) : (0 as const),
    user_name: connection.user,
    folder: connection.folder,
    start_from: start.from,
    start_at: start.from === 'time' ? toDatabaseTime(start.atMs) : null,
    after_kind: after.kind,
    after_folder: after.kind === 'move' ? after.folder : null,
    poll_interval_ms: mailbox.pollIntervalMs === null ? null : Math.round(mailbox.pollIntervalMs),
    state: mailbox.state,
    created_at: now,
  };
}

type HealthRow = { readonly [K in Exclude<keyof MailboxStateRow, 'mailbox_id'>]: MailboxStateRow[K] | null };

export function toHealth(row: HealthRow): MailboxHealth {
  return {
    nextPollAtMs: fromOptionalTime(row.next_poll_at),
    failures: row.failures ?? 0,
    lastSuccessAtMs: fromOptionalTime(row.last_success_at),
    lastError:
      row.last_error_code === null
        ? null
        : {
            code: row.last_error_code,
            message: row.last_error_message ?? '',
            hint: row.last_error_hint ?? '',
            atMs: row.last_error_at === null ? 0 : fromDatabaseTime(row.last_error_at),
          },
    cursor: toCursor(row),
  };
}

export function toCursor(row: {
  readonly cursor_uid_validity: number | null;
  readonly cursor_uid: number | null;
}): Cursor | null {
  if (row.cursor_uid_validity === null || row.cursor_uid === null) return null;
  return { uidValidity: row.cursor_uid_validity, uid: row.cursor_uid };
}

function toStart(row: PlainMailboxRow): Start {
  const from = oneOf(row, 'start_from', ['all', 'time']);
  if (from === 'all') return { from };
  return { from, atMs: row.start_at === null ? 0 : fromDatabaseTime(row.start_at) };
}

function toAfterAction(row: PlainMailboxRow): AfterAction {
  const kind = oneOf(row, 'after_kind', ['seen', 'move', 'delete', 'leave']);
  return kind === 'move' ? { kind, folder: row.after_folder ?? '' } : { kind };
}

function oneOf<T extends string>(row: PlainMailboxRow, column: keyof PlainMailboxRow, words: readonly T[]): T {
  const found = words.find((word) => word === row[column]);
  if (found !== undefined) return found;
  const message = `Mailbox ${row.id} has an unknown value in the column ${column}; known are ${words.join(', ')}.`;
  throw new Failure('database_failed', message, { hint: 'Correct the row, or install the version that wrote it.' });
}
