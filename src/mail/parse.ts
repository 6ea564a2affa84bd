/**
 * Reads one mail: bytes in, plain data out.
 *
 * Takes any bytes, as mail servers do: what is missing or unreadable is null or empty, a missing Message-ID is made
 * up from the content. Works on the bytes in memory and copies only what is decoded. No mail is known that it cannot
 * read; should a rule fail over one all the same, it throws `parse_failed`, with what happened as the cause, and
 * `parser_unavailable` where a library cannot be loaded. The time it takes grows with the mail, and is for the caller to limit.
 */
import { Failure, isFailure } from '../errors.ts';
import { readBody } from './body.ts';
import { classify } from './classify/classify.ts';
import { contentHash, placeholderMessageId, sourceHash } from './fingerprint.ts';
import type { ParsedMessage } from './message.ts';
import {
  decodeField,
  firstRaw,
  headerCharset,
  type RawHeader,
  splitMessage,
  storedHeaders,
  unfold,
} from './mime/headers.ts';
import { readAddresses, readMessageId, readMessageIds, readSentAt } from './mime/structured-fields.ts';
import { readTree } from './mime/tree.ts';
import { markText } from './quote/quote.ts';

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** Everything of one mail. `source` is only read, and nothing of the result refers to it. */
export async function parseMessage(source: Uint8Array): Promise<ParsedMessage> {
  try {
    return readMessage(source);
  } catch (cause) {
    if (isFailure(cause, 'parser_unavailable')) throw cause;
    throw new Failure('parse_failed', 'a rule failed over the message', { cause });
  }
}

function readMessage(source: Uint8Array): ParsedMessage {
  const bytes = withLineFeeds(Buffer.from(source.buffer, source.byteOffset, source.byteLength));
  const mail = splitMessage(bytes);
  const { headers } = mail;
  const charset = headerCharset(bytes, mail);
  const raw = (name: string) => firstRaw(headers, name) ?? '';
  const addresses = (name: string) => readAddresses(headers, name, charset);

  const tree = readTree(bytes, headers, bytes.length - mail.body.length, charset);
  const { text, html, protection, attachments } = readBody(tree, charset);
  const messageId = readMessageId(unfold(raw('message-id'), charset));
  const hash = messageId === null ? sourceHash(source) : contentHash(mail);
  const senders = addresses('from');
  // A broken field may stand before the one that names somebody.
  const from = senders.find(({ address }) => address.includes('@')) ?? senders[0] ?? null;
  const kept = storedHeaders(headers, charset);
  const subject = decodeField(raw('subject'), charset);
  const verdict = classify({ fields: fieldsOf(headers, charset), from, subject, text, html, attachments });
  return {
    messageId: messageId ?? placeholderMessageId(hash),
    messageIdMissing: messageId === null,
    inReplyTo: readMessageIds(unfold(raw('in-reply-to'), charset)),
    references: readMessageIds(unfold(raw('references'), charset)),
    from,
    replyTo: addresses('reply-to'),
    to: addresses('to'),
    cc: addresses('cc'),
    subject,
    sentAtMs: readSentAt(unfold(raw('date'), charset)),
    text,
    html,
    headers: kept,
    ...verdict,
    marks: markText(text, subject),
    protection,
    attachments,
    contentHash: hash,
    hopCount: headers.filter(([name]) => name === 'received').length,
  };
}

/** Mails of old Macintoshes end their lines with CR alone. */
function withLineFeeds(bytes: Buffer): Buffer {
  if (bytes.includes(lineFeed) || !bytes.includes(carriageReturn)) return bytes;
  return Buffer.from(bytes.map((byte) => (byte === carriageReturn ? lineFeed : byte)));
}

/** All values of a field, decoded when they are asked for, by its lower-case name. */
function fieldsOf(headers: readonly RawHeader[], charset: string | null): (name: string) => readonly string[] {
  const rawValues = Map.groupBy(headers, ([name]) => name);
  return (name) => (rawValues.get(name) ?? []).map(([, rawValue]) => decodeField(rawValue, charset));
}
