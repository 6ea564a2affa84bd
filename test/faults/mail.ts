/**
 * The messages of the fault campaign, each with a mark in its subject and in a header of its own, and what must
 * become of it.
 *
 * Plain messages, messages with an attachment of up to 2 MB, replies, broken MIME, twins (the Message-ID of an
 * earlier mail, with other content) and messages that are larger than the daemon is reported to fetch. Chance comes
 * in; times do not matter.
 */
import { createHash } from 'node:crypto';
import type { SeededRandom } from '../support/random.ts';

export type MailKind = 'plain' | 'attachment' | 'reply' | 'broken' | 'twin' | 'too_large';

export type SentMail = {
  /** `F000123`, in the subject and in the header X-Fault-Mark. */
  readonly mark: string;
  readonly mailbox: number;
  readonly kind: MailKind;
  /** null: the message has none. */
  readonly messageId: string | null;
  /** Mark of the message that opened the ticket that this one belongs to; null: it opens its own. */
  readonly replyTo: string | null;
  readonly attachmentSha256: string | null;
  readonly sentAtMs: number;
};

export type WrittenMail = { readonly mail: SentMail; readonly bytes: Buffer };

/** The daemon is reported not to fetch messages of more megabytes. */
export const mailMbMax = 4;

const tooLargeBytes = (mailMbMax + 1) * 1_000_000;
const attachmentBytesMax = 2_000_000;
const rememberedMax = 50;

/** One entry of a hundred for each message in a hundred. */
const shares: readonly (readonly [MailKind, number])[] = [
  ['plain', 54],
  ['attachment', 14],
  ['reply', 16],
  ['broken', 9],
  ['twin', 6],
  ['too_large', 1],
];

export type MailWriter = { next(nowMs: number): WrittenMail };

/**
 * Writes messages for `mailboxes` mailboxes; replies and twins are in the mailbox of the message that they refer to.
 */
export function createMailWriter(random: SeededRandom, mailboxes: number): MailWriter {
  let count = 0;
  const openers: SentMail[] = [];
  const twinless: SentMail[] = [];
  return {
    next: (nowMs) => {
      count += 1;
      const mark = `F${String(count).padStart(6, '0')}`;
      const wished = kindByShare(random.between(0, 99));
      const referred = wished === 'reply' ? openers : wished === 'twin' ? twinless : null;
      const other = referred === null || referred.length === 0 ? null : random.pick(referred);
      const kind = referred !== null && other === null ? 'plain' : wished;
      const written = write({ random, mark, kind, other, mailbox: random.between(0, mailboxes - 1), nowMs });
      if (kind === 'plain') remember(openers, written.mail);
      // No message replies to these, so that an equal Message-ID leaves no doubt where a reply belongs.
      if (kind === 'attachment') remember(twinless, written.mail);
      return written;
    },
  };
}

function remember(list: SentMail[], mail: SentMail): void {
  list.push(mail);
  if (list.length > rememberedMax) list.shift();
}

function kindByShare(drawn: number): MailKind {
  let sum = 0;
  for (const [kind, share] of shares) {
    sum += share;
    if (drawn < sum) return kind;
  }
  return 'plain';
}

type Order = {
  readonly random: SeededRandom;
  readonly mark: string;
  readonly kind: MailKind;
  readonly other: SentMail | null;
  readonly mailbox: number;
  readonly nowMs: number;
};

type Body = { readonly fields: readonly string[]; readonly body: Buffer; readonly attachmentSha256: string | null };

function write({ random, mark, kind, other, mailbox, nowMs }: Order): WrittenMail {
  const hasNoId = kind === 'broken' && random.chance(0.3);
  const ownId = `<${mark}.${random.between(1e8, 1e9)}@customer.test>`;
  const messageId = hasNoId ? null : kind === 'twin' ? (other?.messageId ?? ownId) : ownId;
  const replyTo = kind === 'reply' ? other : null;
  const { fields, body, attachmentSha256 } = bodyOf(random, mark, kind);
  const head = [
    `Received: from mx.customer.test by in.example.test; ${new Date(nowMs).toUTCString()}`,
    `From: Customer ${mark} <customer-${mark.toLowerCase()}@customer.test>`,
    'To: Support <support@example.test>',
    // The customer of that ticket: a stranger would open another one.
    ...(replyTo === null ? [] : [`Cc: customer-${replyTo.mark.toLowerCase()}@customer.test`]),
    `Subject: ${replyTo === null ? '' : 'Re: '}request ${mark}`,
    `X-Fault-Mark: ${mark}`,
    `Date: ${new Date(nowMs).toUTCString().replace('GMT', '+0000')}`,
    ...(messageId === null ? [] : [`Message-ID: ${messageId}`]),
    ...(replyTo === null ? [] : [`In-Reply-To: ${replyTo.messageId}`, `References: ${replyTo.messageId}`]),
    'MIME-Version: 1.0',
    ...fields,
  ];
  return {
    mail: {
      mark,
      mailbox: other?.mailbox ?? mailbox,
      kind,
      messageId,
      replyTo: replyTo?.mark ?? null,
      attachmentSha256,
      sentAtMs: nowMs,
    },
    bytes: Buffer.concat([Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'), body]),
  };
}

function bodyOf(random: SeededRandom, mark: string, kind: MailKind): Body {
  switch (kind) {
    case 'plain':
    case 'reply':
    case 'twin':
      return textBody(`This is ${mark}.\r\n${words(random, random.between(200, 4_000))}`);
    case 'too_large':
      return textBody(`This is ${mark}.\r\n${'too large for the daemon\r\n'.repeat(tooLargeBytes / 26)}`);
    case 'attachment':
      return attachmentBody(random, mark);
    case 'broken':
      return brokenBody(random, mark);
  }
}

function textBody(text: string): Body {
  return {
    fields: ['Content-Type: text/plain; charset=us-ascii'],
    body: Buffer.from(`${text}\r\n`),
    attachmentSha256: null,
  };
}

function words(random: SeededRandom, bytes: number): string {
  const lines: string[] = [];
  for (let length = 0; length < bytes; length += 66) lines.push(random.bytes(32).toString('hex'));
  return lines.join('\r\n');
}

/** Most of them small, a few of up to 2 MB: the logarithm of the size is even. */
function attachmentBody(random: SeededRandom, mark: string): Body {
  const sizeBytes = Math.floor(1_000 * (attachmentBytesMax / 1_000) ** random.fraction()) & ~3;
  const content = random.bytes(sizeBytes);
  const boundary = `=_${mark}`;
  const parts = [
    `--${boundary}\r\nContent-Type: text/plain\r\n\r\nThis is ${mark}, with a file.\r\n`,
    `--${boundary}\r\nContent-Type: application/pdf; name="scan.pdf"\r\nContent-Transfer-Encoding: base64\r\n`,
    `Content-Disposition: attachment; filename="scan.pdf"\r\n\r\n${base64Lines(content)}\r\n--${boundary}--\r\n`,
  ];
  return {
    fields: [`Content-Type: multipart/mixed; boundary="${boundary}"`],
    body: Buffer.from(parts.join('')),
    attachmentSha256: createHash('sha256').update(content).digest('hex'),
  };
}

function base64Lines(content: Buffer): string {
  return content.toString('base64').replaceAll(/.{76}/g, '$&\r\n');
}

/** Each of them is a message that a person would still want to read. */
function brokenBody(random: SeededRandom, mark: string): Body {
  const text = Buffer.from(`This is ${mark}.\r\n`);
  const bare = (fields: readonly string[], ...more: Uint8Array[]): Body => ({
    fields,
    body: Buffer.concat([text, ...more]),
    attachmentSha256: null,
  });
  const unclosed = Buffer.from(
    `--b\r\nContent-Type: text/plain\r\n\r\nThis is ${mark}.\r\n--b\r\nContent-Type: text/html`,
  );
  return random.pick([
    () => bare(['Content-Type: multipart/mixed; boundary="b"'], unclosed),
    () => bare(['Content-Type: multipart/mixed']),
    () => bare(['Content-Type: text/plain; charset=no-such-charset', 'X-Raw: \u00e4\u00f6\u00fc']),
    () => bare(['Content-Transfer-Encoding: base64'], Buffer.from('!!!! no base64 at all ====\r\nAAA')),
    () => bare(['this line is no header field', 'Content-Type: text/plain'], random.bytes(512)),
    () => bare(['Content-Type: text/plain; charset=utf-8'], Buffer.from([0, 0xc3, 0x28, 0xff, 0x0d, 0x0a, 0x00])),
    () => bare([`X-Long: ${'x'.repeat(20_000)}`, 'Content-Type: message/rfc822']),
  ])();
}
