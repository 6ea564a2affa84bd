/**
 * Message fingerprint for deduplication: a content hash that survives a move between servers, and the key under which a
 * mailbox remembers that a message was handled.
 *
 * SHA-256 over the named fields and the bytes of the body. Trace fields (RFC 5322 section 3.6.7) are left out, since
 * each server on the way adds its own; white space in fields is collapsed, since servers fold lines again. What decides
 * how a message is handled counts too, wherever it stands: else a copy with one field more, sent first, would make the
 * genuine message its duplicate. Of a message
 * without a Message-ID all bytes are hashed, trace fields included: a device may send the same words twice on purpose.
 * The bytes are hashed without a copy.
 */
import { createHash, hash } from 'node:crypto';
import type { ParsedMessage } from './message.ts';
import type { SplitMessage } from './mime/headers.ts';
import { type HandlingFields, isAutomatic, recipientTokensOf, type ThreadKeys, threadKeysOf } from './thread/keys.ts';

/** A parsed message with the keys of its lookups, which are made once, in the parse thread. */
export type FingerprintedMessage = {
  readonly parsed: ParsedMessage;
  readonly threadKeys: ThreadKeys;
  readonly dedupKey: string;
};

export function fingerprintMessage(parsed: ParsedMessage): FingerprintedMessage {
  return { parsed, threadKeys: threadKeysOf(parsed), dedupKey: dedupKey(parsed) };
}

/**
 * SHA-256 (64 hex digits) of Message-ID and content hash, the same in every mailbox. A mailbox remembers it after the
 * message and its ticket were deleted.
 */
export function dedupKey({ messageId, contentHash }: Pick<ParsedMessage, 'messageId' | 'contentHash'>): string {
  return hash('sha256', `${contentHash} ${messageId.toWellFormed()}`, 'hex');
}

const hashedFields = [
  ...['from', 'sender', 'reply-to', 'to', 'cc', 'date', 'subject', 'message-id', 'in-reply-to', 'references'],
  ...['content-type', 'content-transfer-encoding'],
];

/** Received fields beyond which a message loops (RFC 5321 section 6.3: servers refuse at 100). */
export const hopsMax = 50;

/** The hash of what the sender wrote and of how it is handled, 64 lower-case hex digits. */
export function contentHash({ headers, body }: SplitMessage, parsed: HandlingFields & { hopCount?: number }): string {
  const hash = createHash('sha256');
  const tokens = new Set(recipientTokensOf(parsed).map(({ ref, mac }) => `${ref} ${mac}`));
  const isLooping = (parsed.hopCount ?? 0) > hopsMax;
  hash.update(`${parsed.kind} ${isAutomatic(parsed)} ${isLooping} ${[...tokens].sort().join(',')}\n`, 'latin1');
  for (const field of hashedFields) {
    for (const [name, rawValue] of headers) {
      if (name === field) hash.update(`${name}:${collapsed(rawValue)}\n`, 'latin1');
    }
  }
  return hash.update('\n').update(body).digest('hex');
}

const collapsedLengthMax = 1_000_000;

/** The value with white space collapsed; a value too long for that, which no mail program writes, as it is. */
function collapsed(rawValue: string): string {
  return rawValue.length > collapsedLengthMax ? rawValue : rawValue.replace(/\s+/gu, ' ').trim();
}

/** The hash of all bytes, for a message without a Message-ID; 64 lower-case hex digits. */
export function sourceHash(source: Uint8Array): string {
  return createHash('sha256').update(source).digest('hex');
}

/** Message-ID for a message without one, made from its hash (`invalid`: RFC 2606 section 2). */
export function placeholderMessageId(hash: string): string {
  return `${hash}@missing.invalid`;
}
