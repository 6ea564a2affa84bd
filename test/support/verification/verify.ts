/**
 * Compares what is stored with the messages that were sent: nothing lost, nothing doubled, nothing empty, every
 * attachment there byte for byte.
 *
 * It reads the tables with SQL of its own and the attachment files from the data folder, and asks the product
 * nothing, so that a mistake of the product cannot hide itself. Messages are known by their Message-ID. Neither the
 * messages nor the rows are in memory all at once. It throws when the database cannot be read; what is wrong in it
 * comes back as lists.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { createConnection } from 'mysql2';
import { causeCode } from '../../../src/errors.ts';
import type { GeneratedMail } from '../../bench/messages/generate.ts';
import { type AttachmentRow, type Comparison, type MessageRow, openComparison, type TicketRow } from './comparison.ts';

/** What is known of a message that was sent; its source is not needed. */
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
  /**
   * Message-IDs of replies that are not in the ticket of the message they reply to, and of others that are not in one
   * of their own.
   */
  readonly misplaced: readonly string[];
  /** Message-IDs of messages whose attachment is not there, or not the one that was sent. */
  readonly missingAttachments: readonly string[];
};

export type VerifyOptions = {
  readonly mails: Iterable<ExpectedMail>;
  /** As in the configuration: `mysql://…` or `sqlite:PATH`. */
  readonly databaseUrl: string;
  readonly dataDir: string;
};

export async function verifyIngest({ mails, databaseUrl, dataDir }: VerifyOptions): Promise<Verification> {
  using comparison = openComparison();
  for (const mail of mails) comparison.sent(mail);
  await readStored(databaseUrl, comparison);
  const compared = comparison.compare();
  const missingAttachments: string[] = [];
  let attachmentsIdentical = 0;
  for (const { messageId, sha256, isNamed } of comparison.attached()) {
    if (isNamed && (await blobSha256(dataDir, sha256)) === sha256) attachmentsIdentical += 1;
    else missingAttachments.push(messageId);
  }
  return { ...compared, attachmentsIdentical, missingAttachments };
}

/** True when everything is stored as it was sent: one message a message, one ticket a message that is no reply. */
export function isExact(mails: Iterable<ExpectedMail>, verification: Verification): boolean {
  const expected = { messages: 0, tickets: 0 };
  for (const { replyTo } of mails) {
    expected.messages += 1;
    if (replyTo === null) expected.tickets += 1;
  }
  const { lost, doubled, emptyTickets, misplaced, missingAttachments } = verification;
  const wrong = [lost, doubled, emptyTickets, misplaced, missingAttachments].flat();
  return wrong.length === 0 && verification.messages === expected.messages && verification.tickets === expected.tickets;
}

/** SHA-256 of the bytes of a stored attachment; null when there is no such file. */
export async function blobSha256(dataDir: string, sha256: string): Promise<string | null> {
  try {
    const bytes = await readFile(join(dataDir, 'blobs', sha256.slice(0, 2), sha256));
    return createHash('sha256').update(bytes).digest('hex');
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}

const queries = {
  tickets: 'SELECT id FROM ticket',
  messages: 'SELECT id, message_id AS messageId, ticket_id AS ticketId FROM message',
  attachments: 'SELECT message_id AS messageRowId, sha256 FROM attachment',
} as const;

/** All three tables at one moment. */
async function readStored(databaseUrl: string, comparison: Comparison): Promise<void> {
  if (databaseUrl.startsWith('sqlite:')) readSqlite(databaseUrl.slice('sqlite:'.length), comparison);
  else await readMysql(databaseUrl, comparison);
}

function readSqlite(path: string, comparison: Comparison): void {
  const database = new DatabaseSync(path, { readOnly: true });
  try {
    database.exec('BEGIN');
    const rows = <T>(query: string) => database.prepare(query).iterate() as unknown as Iterable<T>;
    for (const row of rows<TicketRow>(queries.tickets)) comparison.ticket(row);
    for (const row of rows<MessageRow>(queries.messages)) comparison.message(row);
    for (const row of rows<AttachmentRow>(queries.attachments)) comparison.attachment(row);
  } finally {
    database.close();
  }
}

async function readMysql(url: string, comparison: Comparison): Promise<void> {
  const connection = createConnection(url);
  const rows = <T>(query: string) => connection.query(query).stream() as AsyncIterable<T>;
  try {
    await connection.promise().query('START TRANSACTION WITH CONSISTENT SNAPSHOT, READ ONLY');
    for await (const row of rows<TicketRow>(queries.tickets)) comparison.ticket(row);
    for await (const row of rows<MessageRow>(queries.messages)) comparison.message(row);
    for await (const row of rows<AttachmentRow>(queries.attachments)) comparison.attachment(row);
  } finally {
    await connection.promise().end();
  }
}
