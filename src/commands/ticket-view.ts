/**
 * Tickets and messages as `--json` prints them: the field names are a promise to scripts.
 */

import { lifeOf, uidValidityOf } from '../ingest/folder-epoch.ts';
import type { OutcomeRow, StoredMessage, TicketSummary } from '../ingest/model.ts';
import type { Bounce } from '../mail/message.ts';
import { replyTextOf } from '../mail/quote/quote.ts';
import { isoTime } from '../text/time.ts';

export function ticketJson(ticket: TicketSummary): Record<string, unknown> {
  return {
    ref: ticket.ref,
    subject: ticket.subject,
    requester: person(ticket.requester),
    status: ticket.status,
    closed_at: isoTime(ticket.closedAtMs),
    merged_into: ticket.mergedInto,
    links: ticket.links,
    mailbox: ticket.mailbox,
    message_count: ticket.messageCount,
    created_at: isoTime(ticket.createdAtMs),
    updated_at: isoTime(ticket.updatedAtMs),
  };
}

export function messageJson(message: StoredMessage): Record<string, unknown> {
  return {
    id: message.id,
    message_id: message.messageId,
    from: message.from === null ? null : person(message.from),
    to: message.to.map(person),
    cc: message.cc.map(person),
    reply_to: message.replyTo.map(person),
    subject: message.subject,
    sent_at: isoTime(message.sentAtMs),
    received_at: isoTime(message.receivedAtMs),
    kind: message.kind,
    auto_submitted: message.autoSubmitted,
    bounce: message.bounce === null ? null : bounceJson(message.bounce, message.reportedMessageId),
    reported_message_id: message.reportedMessageId,
    thread_rule: message.threadRule,
    protection: message.protection,
    text: message.text,
    reply_text: replyTextOf(message.text, message.marks),
    marks: message.marks,
    html: message.html,
    in_reply_to: message.inReplyTo,
    references: message.references,
    attachments: message.attachments.map(attachmentJson),
  };
}

function bounceJson({ recipients, status, hard }: Bounce, original: string | null): Record<string, unknown> {
  const addresses = recipients.map(({ address }) => address);
  return { recipients: addresses, status, hard, original_message_id: original, details: recipients };
}

/** One line of `message list`; the fields of the message follow where one is stored and was asked for. */
export function outcomeJson(row: OutcomeRow): Record<string, unknown> {
  return {
    uid: row.uid,
    uid_validity: uidValidityOf(row.uidValidity),
    folder_life: lifeOf(row.uidValidity),
    outcome: row.outcome,
    reason: row.reason,
    ticket: row.ticket,
    at: isoTime(row.atMs),
    resolved_at: isoTime(row.resolvedAtMs),
    size: row.sizeBytes,
    ...(row.message === null ? {} : messageJson(row.message)),
  };
}

function attachmentJson(attachment: StoredMessage['attachments'][number]): Record<string, unknown> {
  const { name, type, sizeBytes: size, sha256, contentId: content_id, inline } = attachment;
  return { name, type, size, sha256, content_id, inline };
}

function person({ name, address }: { readonly name: string; readonly address: string }): Record<string, string> {
  return { name, address };
}

/** `Name <address>`, or what there is of it. */
export function personText(of: { readonly name: string; readonly address: string } | null): string {
  if (of === null) return '(nobody)';
  return of.name === '' ? of.address : `${of.name} <${of.address}>`;
}
