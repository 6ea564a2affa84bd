/**
 * Row mapper of messages, attachments, tickets and outcomes; messages also back.
 *
 * No text of a message is too long or malformed for its column: an indexed text is cut at a code point, with the whole
 * value in a long column beside it, and half a surrogate pair becomes U+FFFD. Lists are JSON text.
 */
import { hash } from 'node:crypto';
import type { Insertable, RawBuilder } from 'kysely';
import type { MessageDetails, NewMessage, NewOutcome, NewTicket, StoredSource } from '../../../ingest/model.ts';
import type { Attachment, Header } from '../../../mail/message.ts';
import { countedAddresses } from '../../../mail/thread/people.ts';
import {
  type AttachmentRow,
  type AttachmentTable,
  fromDatabaseTime,
  fromOptionalTime,
  type MessageRow,
  type MessageTable,
  type OutcomeTable,
  type TicketTable,
  toClaimedTime,
  toDatabaseTime,
  truncate,
} from '../sql/tables.ts';
import { addressesFrom, addressFrom, bounceFrom, headersFrom, marksFrom, textsFrom } from './json-columns.ts';

/** A row to insert: plain values, but for the insertion time, which is the clock of the database. */
type Row<T> = Insertable<T>;

const shortCharacters = 255;
const addressCharacters = 320;

/** SHA-256 of a Message-ID of any length. */
export function hashOf(text: string): string {
  return hash('sha256', text.toWellFormed(), 'hex');
}

export function ticketRow(ticket: NewTicket, mailboxId: string): Row<TicketTable> {
  const created = toDatabaseTime(ticket.createdAtMs);
  return {
    id: ticket.id,
    ref: ticket.ref,
    mailbox_id: mailboxId,
    ...shortAndFull('subject', ticket.subject),
    requester_name: truncate(ticket.requester.name, shortCharacters),
    requester_address: truncate(ticket.requester.address, addressCharacters),
    status: 'open',
    is_orphan: flag(ticket.isOrphan),
    created_at: created,
    updated_at: created,
  };
}

export function messageRow(message: NewMessage, mailboxId: string, now: RawBuilder<string>) {
  const { parsed } = message;
  return {
    id: message.id,
    mailbox_id: mailboxId,
    ticket_id: message.ticketId,
    kind: parsed.kind,
    message_id: parsed.messageId.toWellFormed(),
    message_id_hash: hashOf(parsed.messageId),
    message_id_missing: flag(parsed.messageIdMissing),
    reported_message_id: parsed.reportedMessageId?.toWellFormed() ?? null,
    content_hash: parsed.contentHash,
    from_name: truncate(parsed.from?.name ?? '', shortCharacters),
    from_address: truncate(parsed.from?.address ?? '', addressCharacters),
    from_json: parsed.from === null ? null : JSON.stringify(parsed.from),
    reply_to_json: JSON.stringify(parsed.replyTo),
    to_json: JSON.stringify(parsed.to),
    cc_json: JSON.stringify(parsed.cc),
    recipients_json: JSON.stringify(countedAddresses([...parsed.to, ...parsed.cc])),
    replies_to_json: JSON.stringify(countedAddresses(parsed.replyTo)),
    in_reply_to_json: JSON.stringify(parsed.inReplyTo),
    references_json: JSON.stringify(parsed.references),
    headers_json: JSON.stringify(parsed.headers),
    ...shortAndFull('subject', parsed.subject),
    body_text: parsed.text.toWellFormed(),
    body_html: parsed.html?.toWellFormed() ?? null,
    sent_at: toClaimedTime(parsed.sentAtMs),
    received_at: toDatabaseTime(message.receivedAtMs),
    created_at: now,
    bounce_json: parsed.bounce === null ? null : JSON.stringify(parsed.bounce),
    marks_json: parsed.marks.length === 0 ? null : JSON.stringify(parsed.marks),
    protection: parsed.protection,
    thread_rule: message.threadRule,
    repeat_key: message.repeatKey,
  } satisfies Record<keyof MessageTable, unknown>;
}

export function attachmentRow(attachment: Attachment, messageId: string, position: number): Row<AttachmentTable> {
  return {
    message_id: messageId,
    position,
    ...shortAndFull('name', attachment.name),
    type: truncate(attachment.type, shortCharacters),
    size_bytes: attachment.sizeBytes,
    sha256: attachment.sha256,
    content_id: attachment.contentId?.toWellFormed() ?? null,
    inline: flag(attachment.inline),
  };
}

export function outcomeRow(outcome: NewOutcome, mailboxId: string, folderEpoch: number, now: RawBuilder<string>) {
  return {
    mailbox_id: mailboxId,
    folder_epoch: folderEpoch,
    uid: outcome.uid,
    outcome: outcome.outcome,
    reason: outcome.reason,
    ticket_id: outcome.ticketId,
    message_id: outcome.messageId,
    size_bytes: outcome.sizeBytes,
    received_at: toClaimedTime(outcome.receivedAtMs),
    raw_segment: outcome.raw?.segment ?? null,
    raw_offset: outcome.raw?.offset ?? null,
    raw_length: outcome.raw?.lengthBytes ?? null,
    raw_sha256: outcome.raw?.sha256 ?? null,
    action_pending: flag(outcome.actionPending),
    action_seal: outcome.actionSeal ?? null,
    created_at: now,
    resolved_at: null,
    dedup_key: outcome.dedupKey,
  } satisfies Record<keyof OutcomeTable, unknown>;
}

type SourceColumns = 'raw_segment' | 'raw_offset' | 'raw_length' | 'raw_sha256';

/** null: none is stored. A missing SHA-256 matches no source. */
export function toStoredSource(row: Pick<OutcomeTable, SourceColumns>): StoredSource | null {
  const { raw_segment: segment, raw_offset: offset, raw_length: lengthBytes, raw_sha256: sha256 } = row;
  if (segment === null || offset === null || lengthBytes === null) return null;
  return { segment, offset, lengthBytes, sha256: sha256 ?? '' };
}

export function toStoredMessage(row: MessageRow, attachments: readonly AttachmentRow[]): MessageDetails {
  return {
    id: row.id,
    messageId: row.message_id,
    from: addressFrom(row.from_json),
    to: addressesFrom(row.to_json),
    cc: addressesFrom(row.cc_json),
    replyTo: addressesFrom(row.reply_to_json),
    subject: row.subject_full ?? row.subject,
    sentAtMs: fromOptionalTime(row.sent_at),
    receivedAtMs: fromDatabaseTime(row.received_at),
    kind: row.kind,
    autoSubmitted: fieldOf(headersFrom(row.headers_json), 'auto-submitted'),
    bounce: bounceFrom(row.bounce_json),
    reportedMessageId: row.reported_message_id,
    threadRule: row.thread_rule,
    protection: row.protection,
    text: row.body_text,
    marks: marksFrom(row.marks_json),
    html: row.body_html,
    inReplyTo: textsFrom(row.in_reply_to_json),
    references: textsFrom(row.references_json),
    attachments: attachments.map((attachment) => ({
      name: attachment.name_full ?? attachment.name,
      type: attachment.type,
      sizeBytes: attachment.size_bytes,
      sha256: attachment.sha256,
      contentId: attachment.content_id,
      inline: attachment.inline === 1,
    })),
  };
}

function shortAndFull<K extends 'subject' | 'name'>(column: K, text: string) {
  const short = truncate(text, shortCharacters);
  const whole = text.toWellFormed();
  return { [column]: short, [`${column}_full`]: short === whole ? null : whole } as Record<K, string> &
    Record<`${K}_full`, string | null>;
}

function flag(value: boolean): 0 | 1 {
  return value ? 1 : 0;
}

function fieldOf(headers: readonly Header[], name: string): string | null {
  return headers.find((header) => header[0] === name)?.[1] ?? null;
}
