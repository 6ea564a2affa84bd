/**
 * The messages of the matrix: what servers store or send in different ways, each with a mark as its subject.
 *
 * Attachments with bytes of every value and names outside ASCII, replies, lines of dots, text of 8 bits, bodies that
 * end without a line end or with several, and messages without a Message-ID. The same count and name give the same
 * messages.
 */
import { createHash } from 'node:crypto';
import type { SentMessage } from '../support/verification.ts';

/** `messageId` is the mark: it identifies messages without an id too. */
export type MatrixMessage = SentMessage & { readonly bytes: Buffer };

const kinds = ['plain', 'attachment', 'reply', 'eight_bit', 'no_end', 'no_id', 'many_ends', 'dots'] as const;
type Kind = (typeof kinds)[number];

const startMs = Date.parse('2026-01-05T08:00:00Z');

export function matrixMessages(name: string, count: number): readonly MatrixMessage[] {
  const written: MatrixMessage[] = [];
  for (let index = 0; index < count; index += 1) {
    const kind = kinds[index % kinds.length] ?? 'plain';
    // The first of each round opens the ticket to which its reply belongs.
    const replyTo = kind === 'reply' ? (written[index - 2]?.messageId ?? null) : null;
    written.push(write(kind, `${name}-${index + 1}`, replyTo, startMs + index * 60_000));
  }
  return written;
}

function write(kind: Kind, mark: string, replyTo: string | null, atMs: number): MatrixMessage {
  const attachment = kind === 'attachment' ? bytesOf(mark) : null;
  const sender = replyTo ?? mark;
  const head = [
    `From: "Kundin ${sender}" <${sender}@customer.test>`,
    'To: support@example.test',
    `Subject: ${mark}`,
    `Date: ${new Date(atMs).toUTCString().replace('GMT', '+0000')}`,
    ...(kind === 'no_id' ? [] : [`Message-ID: <${mark}@customer.test>`]),
    ...(replyTo === null ? [] : [`In-Reply-To: <${replyTo}@customer.test>`, `References: <${replyTo}@customer.test>`]),
    'MIME-Version: 1.0',
  ];
  return {
    messageId: mark,
    replyTo,
    attachmentSha256: attachment === null ? null : createHash('sha256').update(attachment).digest('hex'),
    bytes: Buffer.from(
      [...head, ...(attachment === null ? textLines(kind, mark) : mixedLines(mark, attachment))].join('\r\n'),
    ),
  };
}

const text = (charset: string, encoding: string): string[] => [
  `Content-Type: text/plain; charset=${charset}`,
  `Content-Transfer-Encoding: ${encoding}`,
  '',
];

function textLines(kind: Kind, mark: string): readonly string[] {
  const greeting = [`Hello, this is ${mark}.`, ''];
  if (kind === 'eight_bit') return [...text('utf-8', '8bit'), `Grüße aus Köln, ${mark}: 日本語, €.`, ''];
  if (kind === 'no_end') return [...text('us-ascii', '7bit'), `The last line of ${mark} has no end.`];
  if (kind === 'many_ends') return [...text('us-ascii', '7bit'), ...greeting, '', '', '', ''];
  if (kind === 'dots') return [...text('us-ascii', '7bit'), '.', '..', 'From the start of a line', '.', ...greeting];
  return [...text('us-ascii', '7bit'), ...greeting];
}

function mixedLines(mark: string, attachment: Buffer): readonly string[] {
  return [
    'Content-Type: multipart/mixed; boundary="part of it"',
    '',
    'Before the first part.',
    '--part of it',
    ...text('us-ascii', '7bit'),
    `See the attachment of ${mark}.`,
    '--part of it',
    'Content-Type: application/octet-stream',
    'Content-Transfer-Encoding: base64',
    `Content-Disposition: attachment; filename*=utf-8''${encodeURIComponent(`Größe ${mark} 図.bin`)}`,
    '',
    ...(attachment.toString('base64').match(/.{1,76}/g) ?? []),
    '--part of it--',
    '',
  ];
}

/** Bytes of every value; 1 to 40 KB. */
function bytesOf(mark: string): Buffer {
  const seed = createHash('sha256').update(mark).digest();
  const length = 1_000 + (seed.readUInt16BE(0) % 39_000);
  const bytes = Buffer.alloc(length);
  for (let at = 0, block = seed; at < length; at += block.length) {
    block = createHash('sha256').update(block).digest();
    block.copy(bytes, at);
  }
  return bytes;
}
