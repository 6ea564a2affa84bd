/**
 * Reads which mail a report is about: its Message-ID leads to the ticket.
 *
 * Places in order: the mail that came back, or its header block, as a part (RFC 6522, RFC 6533); the fields of
 * complaints (RFC 5965) and of confirmations (RFC 8098); SES notifications; a header block inside the text; what the
 * report answers to. Where none tells, the answer is null.
 */
import { readNotification } from './bounce-notification.ts';
import { firstRaw, type RawHeader, splitMail, unfold } from './headers.ts';
import { type Facts, field } from './kinds/signs.ts';
import { readMessageId, readMessageIds } from './message-id.ts';

/** Parts that begin with the header block of the mail that is reported on, and how its id is called there. */
const returnedTypes: ReadonlyMap<string, string> = new Map([
  ['message/rfc822', 'message-id'],
  ['message/rfc822-headers', 'message-id'],
  ['text/rfc822-headers', 'message-id'],
  ['text/rfc822-header', 'message-id'],
  ['text/rfc822', 'message-id'],
  ['message/global', 'message-id'],
  ['message/global-headers', 'message-id'],
  ['message/partial', 'message-id'],
  // RFC 8098 section 3.2.5
  ['message/disposition-notification', 'original-message-id'],
  // RFC 6591 section 3.1
  ['message/feedback-report', 'message-id'],
  ['message/delivery-status', 'original-message-id'],
]);
/** Parts that hold it though they say something else. */
const looseTypes = /^(?:text\/plain|application\/octet-stream|text\/x-[\w-]{1,40})$/u;

const blockMax = 64_000;

/** Message-ID without brackets of the mail that a report is about, or null. */
export function reportedMessageId(facts: Facts): string | null {
  return inParts(facts) ?? inNotification(facts) ?? inText(facts.text) ?? inStatus(facts) ?? inAnswer(facts);
}

function inParts({ attachments }: Facts): string | null {
  for (const { type, content } of attachments) {
    const name = returnedTypes.get(type) ?? (looseTypes.test(type) ? 'message-id' : null);
    if (name === null) continue;
    const { headers, body } = splitMail(content.subarray(0, blockMax));
    // A report inside a report: the mail that it is about is further inside.
    const isReport = /^\s*multipart\/report\b/iu.test(firstRaw(headers, 'content-type') ?? '');
    const id = (isReport ? inText(Buffer.from(body).toString('latin1')) : null) ?? idIn(headers, name);
    if (id !== null) return id;
  }
  return null;
}

/** A part of a broken report that ran into the next. */
function inStatus({ attachments }: Facts): string | null {
  const status = attachments.find(({ type }) => type === 'message/delivery-status');
  return status === undefined ? null : inText(Buffer.from(status.content.subarray(0, blockMax)).toString('latin1'));
}

function idIn(headers: readonly RawHeader[], name: string): string | null {
  const id = readMessageId(unfold(firstRaw(headers, name) ?? '', null));
  return id?.includes('@') === true ? id : null;
}

function inNotification(facts: Facts): string | null {
  return readMessageId(readNotification(facts)?.messageId ?? '');
}

/** A header block in the text, quoted and indented as it may be; its value may stand on the next line. */
function inText(text: string): string | null {
  const [, value = ''] =
    /(?:^|\n)[ \t>|*]{0,20}(?:original[- ])?message[- ]id: {0,20}(?:\r?\n[ \t>|]{1,20})?([^\s<>]{0,10}<[^<>\n]{1,998}>|[^\s@<>]{1,300}@[^\s<>]{1,255})/iu.exec(
      text.slice(0, blockMax),
    ) ?? [];
  return value === '' ? null : readMessageId(value);
}

function inAnswer(facts: Facts): string | null {
  return (
    readMessageIds(field(facts, 'in-reply-to').slice(0, blockMax))[0] ??
    readMessageIds(field(facts, 'references').slice(-blockMax)).at(-1) ??
    null
  );
}
