/**
 * The tables in which what was sent and what is stored are compared: a temporary database of SQLite on the disk, so
 * that memory does not grow with the messages.
 *
 * Everything is added first and asked afterwards. Message-IDs have their angle brackets here.
 */
import { DatabaseSync } from 'node:sqlite';
import { temporaryDatabase } from './sent-mails.ts';
import type { ExpectedMail, Verification } from './verify.ts';

export type TicketRow = { readonly id: string };
export type MessageRow = { readonly id: string; readonly messageId: string; readonly ticketId: string | null };
export type AttachmentRow = { readonly messageRowId: string; readonly sha256: string };

export type Attached = { readonly messageId: string; readonly sha256: string; readonly isNamed: boolean };

export type Comparison = {
  sent(mail: ExpectedMail): void;
  ticket(row: TicketRow): void;
  message(row: MessageRow): void;
  attachment(row: AttachmentRow): void;
  /** To be called once, after everything is added. */
  compare(): Pick<Verification, 'tickets' | 'messages' | 'lost' | 'doubled' | 'emptyTickets' | 'misplaced'>;
  /** Of each message that was sent with an attachment, and whether a row of its message names that. */
  attached(): Iterable<Attached>;
} & Disposable;

const tables = `
  CREATE TABLE sent (place INTEGER PRIMARY KEY, message_id TEXT NOT NULL, reply_to TEXT, sha256 TEXT);
  CREATE TABLE ticket (place INTEGER PRIMARY KEY, id TEXT NOT NULL);
  CREATE TABLE message (place INTEGER PRIMARY KEY, id TEXT NOT NULL, message_id TEXT NOT NULL, ticket_id TEXT);
  CREATE TABLE attachment (message_row_id TEXT NOT NULL, sha256 TEXT NOT NULL);
  BEGIN`;

/** `placed`: each sent mail that is stored, with the ticket of its first row. */
const indexes = `
  COMMIT;
  CREATE INDEX message_by_name ON message (message_id);
  CREATE INDEX message_by_ticket ON message (ticket_id);
  CREATE INDEX attachment_by_message ON attachment (message_row_id, sha256);
  CREATE TABLE placed AS
    SELECT place, message_id, reply_to,
      (SELECT ticket_id FROM message WHERE message.message_id = sent.message_id ORDER BY message.place LIMIT 1) AS ticket_id
    FROM sent WHERE EXISTS (SELECT 1 FROM message WHERE message.message_id = sent.message_id);
  CREATE INDEX opener_by_ticket ON placed (ticket_id, place) WHERE reply_to IS NULL`;

const questions = {
  lost: `
    SELECT message_id AS id FROM sent
    WHERE NOT EXISTS (SELECT 1 FROM message WHERE message.message_id = sent.message_id) ORDER BY place`,
  doubled: 'SELECT message_id AS id FROM message GROUP BY message_id HAVING COUNT(*) > 1 ORDER BY MIN(place)',
  emptyTickets: `
    SELECT id FROM ticket WHERE NOT EXISTS (SELECT 1 FROM message WHERE ticket_id = ticket.id) ORDER BY place`,
  misplaced: `
    SELECT message_id AS id FROM placed WHERE ticket_id IS NULL
      OR (reply_to IS NULL AND EXISTS (
        SELECT 1 FROM placed AS other
        WHERE other.reply_to IS NULL AND other.ticket_id = placed.ticket_id AND other.place < placed.place))
      OR (reply_to IS NOT NULL AND ticket_id IS NOT (
        SELECT ticket_id FROM message WHERE message.message_id = placed.reply_to ORDER BY message.place LIMIT 1))
    ORDER BY place`,
  attached: `
    SELECT message_id AS messageId, sha256, EXISTS (
      SELECT 1 FROM message JOIN attachment ON attachment.message_row_id = message.id
      WHERE message.message_id = sent.message_id AND attachment.sha256 = sent.sha256) AS isNamed
    FROM sent WHERE sha256 IS NOT NULL ORDER BY place`,
} as const;

export function openComparison(): Comparison {
  const database = new DatabaseSync(temporaryDatabase);
  database.exec(tables);
  const sent = database.prepare('INSERT INTO sent (message_id, reply_to, sha256) VALUES (?, ?, ?)');
  const ticket = database.prepare('INSERT INTO ticket (id) VALUES (?)');
  const message = database.prepare('INSERT INTO message (id, message_id, ticket_id) VALUES (?, ?, ?)');
  const attachment = database.prepare('INSERT INTO attachment VALUES (?, ?)');
  const ids = (question: string) =>
    database
      .prepare(question)
      .all()
      .map(({ id }) => String(id));
  const count = (table: string) => Number(database.prepare(`SELECT COUNT(*) AS count FROM ${table}`).get()?.['count']);
  return {
    sent: ({ messageId, replyTo, attachSha256 }) => void sent.run(messageId, replyTo, attachSha256),
    ticket: ({ id }) => void ticket.run(id),
    message: ({ id, messageId, ticketId }) => void message.run(id, `<${messageId}>`, ticketId),
    attachment: ({ messageRowId, sha256 }) => void attachment.run(messageRowId, sha256),
    compare: () => {
      database.exec(indexes);
      return {
        tickets: count('ticket'),
        messages: count('message'),
        lost: ids(questions.lost),
        doubled: ids(questions.doubled),
        emptyTickets: ids(questions.emptyTickets),
        misplaced: ids(questions.misplaced),
      };
    },
    *attached() {
      for (const row of database.prepare(questions.attached).iterate()) {
        const { messageId, sha256, isNamed } = row;
        yield { messageId: String(messageId), sha256: String(sha256), isNamed: isNamed === 1 };
      }
    },
    [Symbol.dispose]: () => database.close(),
  };
}
