/**
 * By what a mail is recognised again, wherever a server moved it: the hash of what its sender wrote.
 *
 * SHA-256 over the named fields and the body bytes. Trace fields (RFC 5322 section 3.6.7) are left out, since each
 * server on the way adds its own; white space in fields is collapsed, since servers fold anew. A mail without a
 * Message-ID is another matter: a device may send the same words twice and mean it, so there every byte counts, trace
 * fields included. Everything is hashed where it lies, without a copy.
 */

import { createHash, hash } from 'node:crypto';
import type { ParsedMessage } from './message.ts';
import type { SplitMessage } from './mime/headers.ts';
import { type ThreadKeys, threadKeysOf } from './thread/keys.ts';

const hashedFields = [
  ...['from', 'sender', 'reply-to', 'to', 'cc', 'date', 'subject', 'message-id', 'in-reply-to', 'references'],
  ...['content-type', 'content-transfer-encoding'],
];

/** 64 lower-case hex digits. */
export function contentHash({ headers, body }: SplitMessage): string {
  const hash = createHash('sha256');
  for (const field of hashedFields) {
    for (const [name, rawValue] of headers) {
      if (name === field) hash.update(`${name}:${squeezed(rawValue)}\n`, 'latin1');
    }
  }
  return hash.update('\n').update(body).digest('hex');
}

const squeezedLengthMax = 1_000_000;

/** Folded the same way everywhere; what is too long for that was not written by a mailer, and counts as it is. */
function squeezed(rawValue: string): string {
  return rawValue.length > squeezedLengthMax ? rawValue : rawValue.replace(/\s+/gu, ' ').trim();
}

/** 64 lower-case hex digits, for a mail without a Message-ID. */
export function sourceHash(source: Uint8Array): string {
  return createHash('sha256').update(source).digest('hex');
}

/** The made-up Message-ID of a mail without one: the same mail gets the same one (`invalid`: RFC 2606 section 2). */
export function placeholderMessageId(hash: string): string {
  return `${hash}@missing.invalid`;
}

/** By what a mail is known again in its mailbox even after its ticket and its message were deleted. */

/** SHA-256 (64 hex digits) of Message-ID and content; the same in every mailbox. */
export function dedupKey({ messageId, contentHash }: Pick<ParsedMessage, 'messageId' | 'contentHash'>): string {
  return hash('sha256', `${contentHash} ${messageId.toWellFormed()}`, 'hex');
}

/** What a mail is looked up by, made once, beside the mail itself: in a parse thread, as far as it comes from one. */

export type FingerprintedMessage = {
  readonly parsed: ParsedMessage;
  readonly threadKeys: ThreadKeys;
  /** See `mailIdentity`. */
  readonly dedupKey: string;
};

export function fingerprintMessage(parsed: ParsedMessage): FingerprintedMessage {
  return { parsed, threadKeys: threadKeysOf(parsed), dedupKey: dedupKey(parsed) };
}
