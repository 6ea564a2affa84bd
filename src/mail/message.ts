/**
 * Parsed message: the plain, frozen values that everything in `mail/` takes and returns; no type of any library.
 *
 * Lists are in the order of the message. A missing value is `null` or an empty list, never a made-up one, except the
 * Message-ID (see `messageId`).
 */

/**
 * One mailbox of RFC 5322 section 3.4; groups are flattened. Both fields are decoded text; `name` may be empty, and has
 * no directional overrides and no characters that are never drawn.
 */
export type Address = { readonly name: string; readonly address: string };

/**
 * Kind of a message: from a person, an automatic reply (RFC 3834), a delivery report (RFC 3464, and older forms), from
 * a mailing list (RFC 2919), a complaint (RFC 5965), a read receipt (RFC 8098).
 */
export type MessageKind = 'human' | 'auto_reply' | 'bounce' | 'list' | 'feedback_report' | 'read_receipt';

export type BouncedRecipient = {
  /** As in the report, without angle brackets and type (`rfc822;`). */
  readonly address: string;
  /** Enhanced status code (RFC 3463), as `5.1.1`; null where the report has none and none can be inferred. */
  readonly status: string | null;
  /** Hard bounce: no later message would be delivered to this recipient either. */
  readonly hard: boolean;
  /** Reply of the refusing server, one line; empty where the report has none. */
  readonly diagnostic: string;
};

export type Bounce = {
  /** Each recipient once, in the order of the report. */
  readonly recipients: readonly BouncedRecipient[];
  /** Status of the first hard bounce, else of the first recipient. */
  readonly status: string | null;
  /** True when any recipient bounced hard. False for a delay, and for failures that may pass. */
  readonly hard: boolean;
};

/** A range of `text`, in UTF-16 code units, that is not the sender's new words: `end` is the first unit after it. */
export type Mark = { readonly kind: 'quote' | 'signature'; readonly start: number; readonly end: number };

/** Signed or encrypted by S/MIME (RFC 8551) or PGP (RFC 3156, RFC 9580), by the form of the message; not verified. */
export type Protection = 'smime_signed' | 'smime_encrypted' | 'pgp_signed' | 'pgp_encrypted';

/** A part of the message that is not its readable text. `sha256` is of the decoded bytes, 64 hex digits. */
export type Attachment = {
  /** File name as sent, control characters and path separators replaced; made from the type for a part without one. */
  readonly name: string;
  /** Media type, lower case, as `application/pdf`. */
  readonly type: string;
  readonly sizeBytes: number;
  readonly sha256: string;
  /** Content-ID without angle brackets (RFC 2045 section 7). */
  readonly contentId: string | null;
  /** Shown within the HTML: disposition inline, or its Content-ID is referred to. */
  readonly inline: boolean;
  /** The decoded bytes; they own their whole ArrayBuffer, so that they can be transferred to another thread. */
  readonly content: Uint8Array<ArrayBuffer>;
};

/** A header field: name in lower case, value unfolded and decoded (RFC 2047). */
export type Header = readonly [name: string, value: string];

export type ParsedMessage = {
  /** Without angle brackets, any length. Missing or empty in the message: `<content hash>@missing.invalid`. */
  readonly messageId: string;
  readonly messageIdMissing: boolean;
  /** Message-IDs without angle brackets, in the order of the field. */
  readonly inReplyTo: readonly string[];
  readonly references: readonly string[];
  readonly from: Address | null;
  readonly replyTo: readonly Address[];
  readonly to: readonly Address[];
  readonly cc: readonly Address[];
  /** Decoded, unfolded, control characters removed; any length. */
  readonly subject: string;
  /** Date field in milliseconds since 1970 (UTC); null where it is missing or unreadable. */
  readonly sentAtMs: number | null;
  /** Readable text: text/plain parts, else made from the HTML. LF line ends, no NUL. */
  readonly text: string;
  /** The HTML as sent, decoded to text, not sanitised; null where there is none. */
  readonly html: string | null;
  /** The fields listed in `storedHeaderNames` of `mime/headers.ts`. */
  readonly headers: readonly Header[];
  readonly kind: MessageKind;
  /** Content of a delivery report; null for every other kind. */
  readonly bounce: Bounce | null;
  /**
   * Message-ID of the message that a bounce, a feedback report or a read receipt is about; null where it is missing.
   */
  readonly reportedMessageId: string | null;
  /** Quoted history and signature in `text`, ascending and without overlap; `text` itself is never cut. */
  readonly marks: readonly Mark[];
  readonly protection: Protection | null;
  readonly attachments: readonly Attachment[];
  /**
   * SHA-256 (64 hex digits) of what the sender wrote, in a canonical form that survives a move between servers:
   * originator fields and body, but no trace fields. Of a message without a Message-ID, of its trace fields too.
   */
  readonly contentHash: string;
  /** Number of Received fields; absent where they were not counted. */
  readonly hopCount?: number;
};

/** The part of a message that classification and delivery reports are read from. */
export type MessageContent = {
  /** All values of a header field, unfolded and decoded, by its lower-case name. */
  readonly fields: (name: string) => readonly string[];
} & Pick<ParsedMessage, 'from' | 'subject' | 'text' | 'html' | 'attachments'>;
