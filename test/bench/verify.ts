/**
 * Compares what is stored with the mails that were sent: nothing lost, nothing doubled, nothing empty, every
 * attachment there byte for byte.
 *
 * It reads the tables with SQL of its own and the attachment files from the data folder, and asks the product
 * nothing, so that a mistake of the product cannot hide itself. Mails are known by their Message-ID. It throws when
 * the database cannot be read; what is wrong in it comes back as lists.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createConnection } from 'mysql2/promise';
import { causeCode } from '../../src/errors.ts';
import type { GeneratedMail } from './generate.ts';

/** What is known of a mail that was sent; its source is not needed. */
export type ExpectedMail = Omit<GeneratedMail, 'bytes'>;

export type Verification = {
  /** Rows in the database. */
  readonly tickets: number;
  readonly messages: number;
  /** Attachments whose bytes on the disk are the ones that were sent. */
  readonly attachmentsIdentical: number;
  /** Message-IDs that were sent and are not stored. */
  readonly lost: readonly string[];
  /** Message-IDs that are stored more than once. */
  readonly doubled: readonly string[];
  /** Ids of tickets without a message. */
  readonly emptyTickets: readonly string[];
  /** Message-IDs of replies that are not in the ticket of the mail they reply to, and of others that are not in one of their own. */
  readonly misplaced: readonly string[];
  /** Message-IDs of mails whose attachment is not there, or not the one that was sent. */
  readonly missingAttachments: readonly string[];
};

export type VerifyOptions = {
  readonly mails: Iterable<ExpectedMail>;
  /** As in the configuration: `mysql://…` or `sqlite:PATH`. */
  readonly databaseUrl: string;
  readonly dataDir: string;
};

type TicketRow = { readonly id: string };
type MessageRow = { readonly id: string; readonly messageId: string; readonly ticketId: string | null };
type AttachmentRow = { readonly messageRowId: string; readonly sha256: string };
type Stored = {
  readonly tickets: readonly TicketRow[];
  readonly messages: readonly MessageRow[];
  readonly attachments: readonly AttachmentRow[];
};

export async function verifyIngest({ mails, databaseUrl, dataDir }: VerifyOptions): Promise<Verification> {
  const expected = [...mails];
  const stored = await readStored(databaseUrl);
  const missingAttachments = await withoutAttachment(expected, stored, dataDir);
  const attached = expected.filter((mail) => mail.attachSha256 !== null).length;
  return {
    tickets: stored.tickets.length,
    messages: stored.messages.length,
    attachmentsIdentical: attached - missingAttachments.length,
    missingAttachments,
    ...compareMessages(expected, stored),
  };
}

/** True when everything is stored as it was sent: one message a mail, one ticket a mail that is no reply. */
export function isExact(mails: Iterable<ExpectedMail>, verification: Verification): boolean {
  const expected = [...mails];
  const { lost, doubled, emptyTickets, misplaced, missingAttachments } = verification;
  const wrong = [lost, doubled, emptyTickets, misplaced, missingAttachments].flat();
  const tickets = expected.filter((mail) => mail.replyTo === null).length;
  return wrong.length === 0 && verification.messages === expected.length && verification.tickets === tickets;
}

function compareMessages(
  expected: readonly ExpectedMail[],
  { tickets, messages }: Stored,
): Pick<Verification, 'lost' | 'doubled' | 'emptyTickets' | 'misplaced'> {
  const rows = Map.groupBy(messages, (message) => bracketed(message.messageId));
  const used = new Set(messages.map((message) => message.ticketId));
  return {
    lost: expected.map((mail) => mail.messageId).filter((id) => !rows.has(id)),
    doubled: [...rows].filter(([, same]) => same.length > 1).map(([id]) => id),
    emptyTickets: tickets.map((ticket) => ticket.id).filter((id) => !used.has(id)),
    misplaced: misplacedMails(expected, rows),
  };
}

function misplacedMails(expected: readonly ExpectedMail[], rows: ReadonlyMap<string, MessageRow[]>): readonly string[] {
  const ticketOf = (messageId: string) => rows.get(messageId)?.[0]?.ticketId ?? null;
  const openers = new Set<string>();
  const misplaced: string[] = [];
  for (const { messageId, replyTo } of expected) {
    const ticketId = ticketOf(messageId);
    if (!rows.has(messageId)) continue;
    if (replyTo === null) {
      if (ticketId === null || openers.has(ticketId)) misplaced.push(messageId);
      else openers.add(ticketId);
    } else if (ticketId === null || ticketId !== ticketOf(replyTo)) misplaced.push(messageId);
  }
  return misplaced;
}

async function withoutAttachment(
  expected: readonly ExpectedMail[],
  { messages, attachments }: Stored,
  dataDir: string,
): Promise<readonly string[]> {
  const rowIds = new Map(messages.map((message) => [bracketed(message.messageId), message.id]));
  const named = new Set(attachments.map(({ messageRowId, sha256 }) => `${messageRowId} ${sha256}`));
  const missing: string[] = [];
  for (const { messageId, attachSha256 } of expected) {
    if (attachSha256 === null) continue;
    const isNamed = named.has(`${rowIds.get(messageId)} ${attachSha256}`);
    if (!isNamed || (await blobSha256(dataDir, attachSha256)) !== attachSha256) missing.push(messageId);
  }
  return missing;
}

/** Of the bytes on the disk; null when there is no such file. */
async function blobSha256(dataDir: string, sha256: string): Promise<string | null> {
  try {
    const bytes = await readFile(join(dataDir, 'blobs', sha256.slice(0, 2), sha256));
    return createHash('sha256').update(bytes).digest('hex');
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}

function bracketed(messageId: string): string {
  return `<${messageId}>`;
}

const queries = {
  tickets: 'SELECT id FROM ticket',
  messages: 'SELECT id, message_id AS messageId, ticket_id AS ticketId FROM message',
  attachments: 'SELECT message_id AS messageRowId, sha256 FROM attachment',
} as const;

/** All three tables at one moment. */
async function readStored(databaseUrl: string): Promise<Stored> {
  return databaseUrl.startsWith('sqlite:')
    ? readSqlite(databaseUrl.slice('sqlite:'.length))
    : await readMysql(databaseUrl);
}

function readSqlite(path: string): Stored {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    const rows = <T>(query: string) => database.prepare(query).all() as unknown as T[];
    return {
      tickets: rows<TicketRow>(queries.tickets),
      messages: rows<MessageRow>(queries.messages),
      attachments: rows<AttachmentRow>(queries.attachments),
    };
  } finally {
    database.close();
  }
}

async function readMysql(url: string): Promise<Stored> {
  const connection = await createConnection(url);
  try {
    const rows = async <T>(query: string) => (await connection.query(query))[0] as T[];
    await connection.query('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY');
    return {
      tickets: await rows<TicketRow>(queries.tickets),
      messages: await rows<MessageRow>(queries.messages),
      attachments: await rows<AttachmentRow>(queries.attachments),
    };
  } finally {
    await connection.end();
  }
}
