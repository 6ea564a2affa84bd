/**
 * The data of one mail once it is parsed: plain frozen values, nothing of any library.
 *
 * Everything in `mail/` takes and returns these types. Lists keep the order of the mail. A value that the mail does
 * not have is `null` or an empty list, never a made-up one, but for the Message-ID (see `messageId`).
 */

/** One mailbox of RFC 5322 section 3.4; groups are flattened. Both fields are decoded text, `name` may be empty. */
export type Address = { readonly name: string; readonly address: string };

/** What wrote the mail: a person, an automatic answer, a delivery report, a mailing list. */
export type MessageKind = 'human' | 'auto_reply' | 'bounce' | 'list';

/** A part of the mail that is not its readable text. `sha256` is of the decoded bytes, 64 hex digits. */
export type Attachment = {
  /** File name as sent, control characters and path separators replaced; made from the type if none was given. */
  readonly name: string;
  /** Media type, lower case, as `application/pdf`. */
  readonly type: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Content-ID without angle brackets (RFC 2045 section 7). */
  readonly contentId: string | null;
  /** True for a part that the HTML shows in place: disposition inline, or its Content-ID is referred to. */
  readonly inline: boolean;
  /** The decoded bytes; they own their whole ArrayBuffer, so that they can be moved to another thread. */
  readonly content: Uint8Array<ArrayBuffer>;
};

/** A header field: name in lower case, value unfolded and decoded (RFC 2047). */
export type Header = readonly [name: string, value: string];

export type ParsedMessage = {
  /** Without angle brackets, any length. Missing or empty in the mail: `<content hash>@missing.invalid`. */
  readonly messageId: string;
  readonly messageIdMissing: boolean;
  /** Message-IDs without angle brackets, in the order of the field; empty where there is none. */
  readonly inReplyTo: readonly string[];
  readonly references: readonly string[];
  readonly from: Address | null;
  readonly replyTo: readonly Address[];
  readonly to: readonly Address[];
  readonly cc: readonly Address[];
  /** Decoded, unfolded, control characters removed; any length; empty where there is none. */
  readonly subject: string;
  /** Date field in milliseconds since 1970 (UTC); null where it is missing or unreadable. */
  readonly sentAtMs: number | null;
  /** The readable text: text/plain parts, else made from the HTML. Line ends are LF, no NUL. */
  readonly text: string;
  /** The HTML as sent, decoded to text, never sanitised here; null where there is none. */
  readonly html: string | null;
  /** The fields that later rules ask for, see `keptHeaders` in `headers.ts`. */
  readonly headers: readonly Header[];
  readonly kind: MessageKind;
  /** For a bounce: the Message-ID of the mail that could not be delivered, where the report tells it. */
  readonly reportedMessageId: string | null;
  readonly attachments: readonly Attachment[];
  /**
   * SHA-256 (64 hex digits) of what the sender wrote: originator fields and body bytes, but no trace fields (Received,
   * Delivered-To, Return-Path), so that the same mail is recognised after a server moved it. Of a mail without a
   * Message-ID, of all its bytes.
   */
  readonly contentHash: string;
};
