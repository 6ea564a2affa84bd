/**
 * Verifier of stored mail: each message that was sent is stored once, in the ticket where it belongs; no ticket is
 * empty; every attachment is byte-identical.
 *
 * Reads the tables with its own SQL and the attachment files from the data folders, and none of the product's code, so
 * that a mistake of the product cannot hide itself. Throws when the database cannot be read; differences are lists.
 */
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { causeCode } from '../../src/errors.ts';
import { readSnapshot } from './sql.ts';

/** A message that was sent, by its Message-ID in angle brackets or by whatever else identifies its row. */
export type SentMessage = {
  readonly messageId: string;
  /** The message that opened the ticket of this one; null: it opens its own. */
  readonly replyTo: string | null;
  readonly attachmentSha256: string | null;
};

export type StoredRow = {
  readonly id: string;
  readonly messageId: string;
  readonly subject: string;
  readonly ticketId: string | null;
};

/** Differences between what was sent and what is stored, by Message-ID unless said otherwise. */
export type Findings = {
  /** Sent and not stored. */
  readonly lost: readonly string[];
  /** Stored more than once. */
  readonly doubled: readonly string[];
  /** Stored and never sent. */
  readonly unknown: readonly string[];
  /** Ids of tickets without a message. */
  readonly emptyTickets: readonly string[];
  /** Replies outside the ticket of the message they reply to; others without a ticket of their own. */
  readonly misplaced: readonly string[];
  /** Messages whose attachment is not there, or not the one that was sent. */
  readonly missingAttachments: readonly string[];
};

export type Verification = {
  /** Rows in the database. */
  readonly tickets: number;
  readonly messages: number;
  /** Attachments whose bytes on the disk are the ones that were sent. */
  readonly attachmentsIdentical: number;
  readonly findings: Findings;
};

export type VerifyOptions = {
  readonly sent: Iterable<SentMessage>;
  readonly databaseUrl: string;
  /** Several: the attachment is in one of them. */
  readonly dataDir: string | readonly string[];
  /** The `messageId` of what was sent, from its row. */
  readonly identify?: (row: StoredRow) => string;
};

const queries = [
  'SELECT id FROM ticket',
  'SELECT id, message_id AS messageId, subject, ticket_id AS ticketId FROM message',
  'SELECT message_id AS messageId, sha256 FROM attachment',
] as const;

type AttachmentRow = { readonly messageId: string; readonly sha256: string };

export async function verifyStored({
  sent,
  databaseUrl,
  dataDir,
  identify = ({ messageId }) => `<${messageId}>`,
}: VerifyOptions): Promise<Verification> {
  const [tickets, messages, attachments] = (await readSnapshot(databaseUrl, queries)) as [
    { readonly id: string }[],
    StoredRow[],
    AttachmentRow[],
  ];
  const expected = new Map([...sent].map((message) => [message.messageId, message]));
  const stored = Map.groupBy(messages, identify);
  const used = new Set(messages.map(({ ticketId }) => ticketId));
  const files = Map.groupBy(attachments, ({ messageId }) => messageId);
  const missingAttachments: string[] = [];
  let attachmentsIdentical = 0;
  for (const { messageId, attachmentSha256 } of expected.values()) {
    if (attachmentSha256 === null) continue;
    const [file, ...more] = files.get(stored.get(messageId)?.[0]?.id ?? '') ?? [];
    const isNamed = file?.sha256 === attachmentSha256 && more.length === 0;
    if (isNamed && (await isOnDisk([dataDir].flat(), attachmentSha256))) attachmentsIdentical += 1;
    else missingAttachments.push(messageId);
  }
  return {
    tickets: tickets.length,
    messages: messages.length,
    attachmentsIdentical,
    findings: {
      lost: [...expected.keys()].filter((id) => !stored.has(id)),
      doubled: [...stored].filter(([, rows]) => rows.length > 1).map(([id]) => id),
      unknown: [...stored.keys()].filter((id) => !expected.has(id)),
      emptyTickets: tickets.map(({ id }) => id).filter((id) => !used.has(id)),
      misplaced: misplaced([...expected.values()], stored, new Set(tickets.map(({ id }) => id))),
      missingAttachments,
    },
  };
}

export const noFindings: Findings = {
  lost: [],
  doubled: [],
  unknown: [],
  emptyTickets: [],
  misplaced: [],
  missingAttachments: [],
};

/** True when nothing differs; then there is one ticket for each message that is no reply. */
export function isExact({ findings }: Verification): boolean {
  return Object.values(findings).every((list) => list.length === 0);
}

/** The number of each finding, under the names that reports print. */
export function findingCounts({ findings }: Verification): Readonly<Record<string, number>> {
  const names = Object.entries(findings).map(([name, { length }]) => [
    name.replace(/[A-Z]/g, '_$&').toLowerCase(),
    length,
  ]);
  return Object.fromEntries(names);
}

function misplaced(
  sent: readonly SentMessage[],
  stored: ReadonlyMap<string, readonly StoredRow[]>,
  tickets: ReadonlySet<string>,
): string[] {
  const ticketOf = (id: string) => stored.get(id)?.[0]?.ticketId ?? null;
  const opened = new Set<string>();
  const isMisplaced = ({ messageId, replyTo }: SentMessage): boolean => {
    const ticket = ticketOf(messageId);
    if (ticket === null || !tickets.has(ticket)) return true;
    if (replyTo !== null) return ticket !== ticketOf(replyTo);
    const isTaken = opened.has(ticket);
    opened.add(ticket);
    return isTaken;
  };
  return sent.filter((message) => stored.has(message.messageId) && isMisplaced(message)).map((one) => one.messageId);
}

/** In one folder at least, and with these bytes wherever it is. */
async function isOnDisk(dataDirs: readonly string[], sha256: string): Promise<boolean> {
  const found = await Promise.all(dataDirs.map((dataDir) => blobSha256(dataDir, sha256)));
  const present = found.filter((one) => one !== null);
  return present.length > 0 && present.every((one) => one === sha256);
}

/** SHA-256 of the bytes of a stored attachment; null when there is no such file. */
async function blobSha256(dataDir: string, sha256: string): Promise<string | null> {
  try {
    const bytes = await readFile(join(dataDir, 'blobs', sha256.slice(0, 2), sha256));
    return createHash('sha256').update(bytes).digest('hex');
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return null;
    throw error;
  }
}
