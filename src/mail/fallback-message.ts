/**
 * A mail that cannot be parsed, as a message all the same: what its header says, and the whole of it attached.
 *
 * The header alone is put into a form that no parser stumbles over: fields about the body are left out, and what is very
 * long is cut. Message-ID and content hash are those of the whole mail, so that it is known again when it comes again.
 */

import { contentHash, placeholderMessageId, sourceHash } from './fingerprint.ts';
import type { ParsedMessage } from './message.ts';
import { makeAttachments } from './mime/attachments.ts';
import { firstRaw, splitMessage } from './mime/headers.ts';

const headBytesMax = 256 * 1024;
const fieldLengthMax = 16 * 1024;
const fieldsMax = 200;
/** They tell how to read a body that is not there, or how the mail came here. */
const leftOut = /^(?:content-|mime-version|received|dkim-|arc-|x-)/u;

/** A small mail with the header of `source` and `text` (ASCII), to be parsed in its place. */
export function headerOnlyMessage(source: Uint8Array, text = ''): Uint8Array<ArrayBuffer> {
  const { headers } = splitMessage(source.subarray(0, headBytesMax));
  const fields = headers
    .filter(([name]) => !leftOut.test(name))
    .slice(0, fieldsMax)
    .map(([name, rawValue]) => `${name}:${rawValue.slice(0, fieldLengthMax)}`);
  return new Uint8Array(Buffer.from(`${fields.join('\r\n')}\r\n\r\n${text}`, 'latin1'));
}

/**
 * `source` as a message. `head` is `headAlone` parsed, null when not even that could be. `note` is its text. `source` is
 * copied into the attachment.
 */
export function fallbackMessage(source: Uint8Array, head: ParsedMessage | null, note: string): ParsedMessage {
  const mail = splitMessage(source);
  const isNamed = head !== null && !head.messageIdMissing && firstRaw(mail.headers, 'message-id') !== null;
  const hash = isNamed ? contentHash(mail) : sourceHash(source);
  const original = {
    name: 'original.eml',
    type: 'message/rfc822',
    disposition: 'attachment',
    contentId: null,
    content: Buffer.from(new Uint8Array(source).buffer),
  };
  return {
    ...(head ?? headless),
    messageId: isNamed ? head.messageId : placeholderMessageId(hash),
    messageIdMissing: !isNamed,
    text: note,
    html: null,
    marks: [],
    attachments: makeAttachments([original], new Set()),
    contentHash: hash,
  };
}

const headless: ParsedMessage = {
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
