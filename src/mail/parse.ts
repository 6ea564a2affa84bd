/**
 * Parses one message (RFC 5322, MIME): bytes in, plain data out.
 *
 * Takes any bytes, as mail servers do: missing and unreadable fields are null or empty, a missing Message-ID is made
 * from the content. Only decoded bytes are copied. No message is known that cannot be parsed; an error in a rule throws
 * `parse_failed` with its cause, a library that cannot be loaded `parser_unavailable`. The time grows with the message:
 * the caller sets the deadline.
 */
import { Failure, isFailure } from '../errors.ts';
import { readBody } from './body.ts';
import { classify } from './classify/classify.ts';
import { contentHash, placeholderMessageId } from './fingerprint.ts';
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
import { withLineFeeds } from './mime/line-ends.ts';
import { readAddresses, readMessageId, readMessageIds, readSentAt } from './mime/structured-fields.ts';
import { readTree } from './mime/tree.ts';
import { markText } from './quote/quote.ts';

/** Parses `source`, which is only read; nothing of the result refers to it. */
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
  const message = splitMessage(bytes);
  const { headers } = message;
  const charset = headerCharset(bytes, message);
  const raw = (name: string) => firstRaw(headers, name) ?? '';
  const addresses = (name: string) => readAddresses(headers, name, charset);

  const tree = readTree(bytes, headers, bytes.length - message.body.length, charset);
  const { text, html, protection, attachments } = readBody(tree, charset);
  const messageId = readMessageId(unfold(raw('message-id'), charset));
  const senders = addresses('from');
  // A broken address may precede the valid one.
  const from = senders.find(({ address }) => address.includes('@')) ?? senders[0] ?? null;
  const stored = storedHeaders(headers, charset);
  const subject = decodeField(raw('subject'), charset);
  const to = addresses('to');
  const cc = addresses('cc');
  const hopCount = headers.filter(([name]) => name === 'received').length;
  const classification = classify({ fields: fieldsOf(headers, charset), from, subject, text, html, attachments });
  const handling = { headers: stored, kind: classification.kind, to, cc, hopCount };
  const hash = contentHash(bytes, message, handling, messageId !== null);
  return {
    messageId: messageId ?? placeholderMessageId(hash),
    messageIdMissing: messageId === null,
    inReplyTo: readMessageIds(unfold(raw('in-reply-to'), charset)),
    references: readMessageIds(unfold(raw('references'), charset)),
    from,
    replyTo: addresses('reply-to'),
    to,
    cc,
    subject,
    sentAtMs: readSentAt(unfold(raw('date'), charset)),
    text,
    html,
    headers: stored,
    ...classification,
    marks: markText(text, subject),
    protection,
    attachments,
    contentHash: hash,
    hopCount,
  };
}

/** A rule looks at the first values of a field: no mail program writes as many. */
const valuesMax = 20;
const valueLengthMax = 100_000;

/**
 * A lookup of the first values of a field by its lower-case name. They are decoded once, on request: the detection of a
 * charset costs a second for a megabyte.
 */
function fieldsOf(headers: readonly RawHeader[], charset: string | null): (name: string) => readonly string[] {
  const rawValues = Map.groupBy(headers, ([name]) => name);
  const decoded = new Map<string, readonly string[]>();
  return (name) => {
    const known = decoded.get(name);
    if (known !== undefined) return known;
    const first = (rawValues.get(name) ?? []).slice(0, valuesMax);
    const values = first.map(([, rawValue]) => decodeField(rawValue.slice(0, valueLengthMax), charset));
    decoded.set(name, values);
    return values;
  };
}
