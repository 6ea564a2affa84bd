/**
 * Message fingerprint for deduplication: a content hash that survives a move between servers, and the key under which a
 * mailbox remembers that a message was handled.
 *
 * SHA-256 over a canonical form, as in DKIM (RFC 6376 section 3.4): the fields relaxed, the body simple. White space in
 * fields is collapsed; line ends of the body are CRLF, and those at its end do not count, since servers store LF, add a
 * last line end, or an empty line. White space at the end of a line counts (`-- `, format=flowed), and so does a bare
 * CR: a reader shows it, and it ends no line of MIME.
 *
 * Of the header only fields that the sender wrote count: each server on the way adds trace fields (RFC 5322 section
 * 3.6.7). What decides how a message is handled counts too, wherever it stands: else a copy with one field more, sent
 * first, would make the genuine message its duplicate. Of a message without a Message-ID all fields count, Received
 * included: a device may send the same words twice on purpose. Only those that mail stores write themselves do not.
 */
import { createHash, type Hash, hash } from 'node:crypto';
import { bufferOf } from './charset/decode.ts';
import type { ParsedMessage } from './message.ts';
import { endOfField, fieldsMax, type SplitMessage } from './mime/headers.ts';
import { withCanonicalBreaks } from './mime/line-ends.ts';
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

/** Of a message with a Message-ID. */
const hashedFields: ReadonlySet<string> = new Set([
  ...['from', 'sender', 'reply-to', 'to', 'cc', 'date', 'subject', 'message-id', 'in-reply-to', 'references'],
  ...['content-type', 'content-transfer-encoding', 'content-disposition', 'content-id'],
]);

/** Written by delivery agents, and by stores that keep flags and lengths in the message (mbox). */
const storeFields: ReadonlySet<string> = new Set([
  ...['return-path', 'delivered-to', 'status', 'x-status', 'x-keywords', 'x-uid', 'x-uidl', 'x-imap', 'x-imapbase'],
  ...['content-length', 'lines'],
]);

/** Received fields beyond which a message loops (RFC 5321 section 6.3: servers refuse at 100). */
export const hopsMax = 50;

/**
 * The hash of what the sender wrote and of how it is handled, 64 lower-case hex digits. `source` is the message that
 * was split; `hasId`: it has a Message-ID.
 */
export function contentHash(
  source: Buffer,
  message: SplitMessage,
  handling: HandlingFields & { hopCount?: number },
  hasId: boolean,
): string {
  const hash = createHash('sha256');
  const tokens = new Set(recipientTokensOf(handling).map(({ ref, mac }) => `${ref} ${mac}`));
  const isLooping = (handling.hopCount ?? 0) > hopsMax;
  hash.update(`${handling.kind} ${isAutomatic(handling)} ${isLooping} ${[...tokens].sort().join(',')}\n`, 'latin1');
  // Without a field of its own all of it is text, or one line that lost its line ends.
  const isBare = message.headers.every(([name]) => storeFields.has(name));
  if (hasId) hashSenderFields(hash, message);
  else if (!isBare) hashAllFields(hash, source.toString('latin1', 0, source.length - message.body.length));
  hash.update('\n');
  for (const chunk of withCanonicalBreaks(isBare ? source : bufferOf(message.body))) hash.update(chunk);
  return hash.digest('hex');
}

/** In the order of `hashedFields`, since servers may write fields in another one. */
function hashSenderFields(hash: Hash, { headers }: SplitMessage): void {
  for (const field of hashedFields) {
    for (const [name, rawValue] of headers) {
      if (name === field) hash.update(`${name}:${collapsed(rawValue)}\n`, 'latin1');
    }
  }
}

/** Every field in its order, also lines that are none; beyond `fieldsMax` the bytes as they are. */
function hashAllFields(hash: Hash, block: string): void {
  let start = 0;
  for (let count = 0; start < block.length && count < fieldsMax; count += 1) {
    const end = endOfField(block, start);
    const field = block.slice(start, end);
    start = end;
    const colon = field.indexOf(':');
    const name = colon < 0 ? '' : collapsed(field.slice(0, colon)).toLowerCase();
    const value = collapsed(field.slice(colon + 1));
    const isEmptyLine = name === '' && value === '';
    const isEnvelopeLine = count === 0 && /^From [^:]/u.test(field);
    if (!isEmptyLine && !isEnvelopeLine && !storeFields.has(name)) hash.update(`${name}:${value}\n`, 'latin1');
  }
  hash.update(block.slice(start), 'latin1');
}

const collapsedLengthMax = 1_000_000;

/** The value with white space collapsed; a value too long for that, which no mail program writes, as it is. */
function collapsed(rawValue: string): string {
  return rawValue.length > collapsedLengthMax ? rawValue : rawValue.replace(/\s+/gu, ' ').trim();
}

/** Message-ID for a message without one, made from its hash (`invalid`: RFC 2606 section 2). */
export function placeholderMessageId(hash: string): string {
  return `${hash}@missing.invalid`;
}

const comparableLengthMax = 1000;

/** A Message-ID that is read alike wherever it comes from; null: it is no ASCII text, or too long. */
export function comparableId(messageId: string | null): string | null {
  return messageId !== null && messageId.length <= comparableLengthMax && /^[\x21-\x7e]+$/u.test(messageId)
    ? messageId
    : null;
}
