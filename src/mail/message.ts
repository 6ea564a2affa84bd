/**
 * The data of one mail once it is parsed: plain frozen values, nothing of any library.
 *
 * Everything in `mail/` takes and returns these types. Lists keep the order of the mail. A value that the mail does
 * not have is `null` or an empty list, never a made-up one, but for the Message-ID (see `messageId`).
 */

/** One mailbox of RFC 5322 section 3.4; groups are flattened. Both fields are decoded text, `name` may be empty. */
export type Address = { readonly name: string; readonly address: string };

/**
 * What wrote the mail: a person, an automatic answer (RFC 3834), a delivery report (RFC 3464, and those older than it),
 * a mailing list (RFC 2919), a complaint (RFC 5965), a confirmation of reading (RFC 8098).
 */
export type MessageKind = 'human' | 'auto_reply' | 'bounce' | 'list' | 'feedback_report' | 'read_receipt';

/** One recipient of a delivery report. */
export type BouncedRecipient = {
  /** As the report names it, without angle brackets and type (`rfc822;`). */
  readonly address: string;
  /** Enhanced status code of RFC 3463, as `5.1.1`; null where the report has none and none follows from it. */
  readonly status: string | null;
  /** True when the mail will never be delivered to this recipient and a later one would not be either. */
  readonly hard: boolean;
  /** What the other server said, one line; empty where the report does not tell. */
  readonly diagnostic: string;
};

/** What a delivery report says. */
export type Bounce = {
  /** Each recipient once, in the order of the report; empty where it names none. */
  readonly recipients: readonly BouncedRecipient[];
  /** Of the whole report: that of the first recipient which failed for good, else of the first. */
  readonly status: string | null;
  /** True when it failed for good for any recipient. False for a delay, and for trouble that may pass. */
  readonly hard: boolean;
};

/** A stretch of `text`, in UTF-16 code units, that is not the sender's new words: `end` is the first one after it. */
export type Mark = { readonly kind: 'quote' | 'signature'; readonly start: number; readonly end: number };

/** Signed or encrypted by S/MIME (RFC 8551) or PGP (RFC 3156, RFC 9580), as far as the mail's form says; not verified. */
export type Protection = 'smime_signed' | 'smime_encrypted' | 'pgp_signed' | 'pgp_encrypted';

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
  /** What a delivery report says; null for every other kind. */
  readonly bounce: Bounce | null;
  /** For a bounce, a feedback report, a read receipt: the Message-ID of the mail that it is about, where it tells. */
  readonly reportedMessageId: string | null;
  /** Quoted history and signature in `text`, ascending and without overlap; `text` itself is never cut. */
  readonly marks: readonly Mark[];
  readonly protection: Protection | null;
  readonly attachments: readonly Attachment[];
  /**
   * SHA-256 (64 hex digits) of what the sender wrote: originator fields and body bytes, but no trace fields (Received,
   * Delivered-To, Return-Path), so that the same mail is recognised after a server moved it. Of a mail without a
   * Message-ID, of all its bytes.
   */
  readonly contentHash: string;
  /** Servers that it passed (fields Received); absent where nobody counted. */
  readonly hopCount?: number;
};

/** What the classification of a message and the reading of a delivery report look at. */
export type MessageContent = {
  /** All values of a header field, unfolded and decoded, by its lower-case name. */
  readonly fields: (name: string) => readonly string[];
} & Pick<ParsedMessage, 'from' | 'subject' | 'text' | 'html' | 'attachments'>;
