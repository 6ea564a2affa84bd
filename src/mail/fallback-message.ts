/**
 * Fallback for a message that cannot be parsed: who sent it and its subject, its header as a small message, and the
 * whole of it as an attachment of a message of its own.
 *
 * Works on any bytes, also when they end within the header; of a header 256 KiB are read. Message-ID and content hash
 * are those of the whole message, so that it is a duplicate when it arrives again. Never fails.
 */
import { bufferOf } from './charset/decode.ts';
import { contentHash, placeholderMessageId } from './fingerprint.ts';
import type { ParsedMessage } from './message.ts';
import { makeAttachments } from './mime/attachments.ts';
import { declaredCharset, decodeField, firstRaw, splitMessage, unfold } from './mime/headers.ts';
import { withLineFeeds } from './mime/line-ends.ts';
import { readMessageId } from './mime/structured-fields.ts';

/** Sender and subject; empty where the header has none. */
export type HeaderSummary = {
  readonly from: string;
  /** The address in it, in lower case. */
  readonly address: string;
  readonly subject: string;
};

const headBytesMax = 256 * 1024;
const summaryLengthMax = 2000;

/** Reads the first bytes of a message. */
export function readHeaderSummary(source: Uint8Array): HeaderSummary {
  const message = splitMessage(source.subarray(0, headBytesMax));
  const charset = declaredCharset(message);
  const field = (name: string) =>
    decodeField((firstRaw(message.headers, name) ?? '').slice(0, summaryLengthMax), charset);
  const from = field('from');
  return { from, address: addressIn(from), subject: field('subject') };
}

/** The Message-ID that the parser would find; null where there is none. */
export function messageIdIn(source: Uint8Array): string | null {
  const message = splitMessage(source.subarray(0, headBytesMax));
  return readMessageId(unfold(firstRaw(message.headers, 'message-id') ?? '', declaredCharset(message)));
}

/** The text in the last angle brackets, else the first word with an @. */
function addressIn(from: string): string {
  const end = from.lastIndexOf('>');
  const start = from.lastIndexOf('<', end);
  const inBrackets = start >= 0 && end > start ? from.slice(start + 1, end).trim() : null;
  const word = inBrackets ?? from.split(/[\s,;]/u).find((one) => one.includes('@')) ?? '';
  return word.toLowerCase();
}

const fieldLengthMax = 16 * 1024;
const fieldsMax = 200;
/** Fields about the body, which is left out, and about the transport. */
const omittedFields = /^(?:content-|mime-version|received|dkim-|arc-|x-)/u;

/** A small message with the header of `source` and `text` (ASCII), to be parsed in its stead. */
export function headerOnlyMessage(source: Uint8Array, text = ''): Uint8Array<ArrayBuffer> {
  const { headers } = splitMessage(source.subarray(0, headBytesMax));
  const fields = headers
    .filter(([name]) => !omittedFields.test(name))
    .slice(0, fieldsMax)
    .map(([name, rawValue]) => `${name}:${rawValue.slice(0, fieldLengthMax)}`);
  return new Uint8Array(Buffer.from(`${fields.join('\r\n')}\r\n\r\n${text}`, 'latin1'));
}

/**
 * `source` as an attachment of a message whose text is `note`. `head` is the parsed `headerOnlyMessage`, null when that
 * could not be parsed either. `source` is copied.
 */
export function fallbackMessage(source: Uint8Array, head: ParsedMessage | null, note: string): ParsedMessage {
  const bytes = withLineFeeds(bufferOf(source));
  const message = splitMessage(bytes);
  const isNamed = head !== null && !head.messageIdMissing && firstRaw(message.headers, 'message-id') !== null;
  const hash = contentHash(bytes, message, head ?? emptyMessage, isNamed);
  const original = {
    name: 'original.eml',
    type: 'message/rfc822',
    disposition: 'attachment',
    contentId: null,
    content: Buffer.from(new Uint8Array(source).buffer),
  };
  return {
    ...(head ?? emptyMessage),
    messageId: isNamed ? head.messageId : placeholderMessageId(hash),
    messageIdMissing: !isNamed,
    text: note,
    html: null,
    marks: [],
    attachments: makeAttachments([original], new Set()),
    contentHash: hash,
  };
}

const emptyMessage: ParsedMessage = {
  messageId: '',
  messageIdMissing: true,
  inReplyTo: [],
  references: [],
  from: null,
  replyTo: [],
  to: [],
  cc: [],
  subject: '',
  sentAtMs: null,
  text: '',
  html: null,
  headers: [],
  kind: 'human',
  bounce: null,
  reportedMessageId: null,
  marks: [],
  protection: null,
  attachments: [],
  contentHash: '',
};
