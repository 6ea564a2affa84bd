/**
 * Who sent a mail and what it is about, from the first bytes of it: for lists of mails that could not be parsed.
 *
 * Works on any bytes, also when they end in the middle of the header; what is not there is empty. It never fails.
 */
import { declaredCharset, decodeField, firstRaw, splitMail, unfold } from './headers.ts';
import { readMessageId } from './message-id.ts';

export type MailHead = {
  /** The From field as text. */
  readonly from: string;
  /** The address in it, lower case; empty where there is none. */
  readonly address: string;
  readonly subject: string;
};

const headBytesMax = 256 * 1024;
const fieldLengthMax = 2000;

export function readHead(source: Uint8Array): MailHead {
  const mail = splitMail(source.subarray(0, headBytesMax));
  const charset = declaredCharset(mail);
  const field = (name: string) => decodeField((firstRaw(mail.headers, name) ?? '').slice(0, fieldLengthMax), charset);
  const from = field('from');
  return { from, address: addressIn(from), subject: field('subject') };
}

/** null where there is none. The same as the parser finds. */
export function messageIdIn(source: Uint8Array): string | null {
  const mail = splitMail(source.subarray(0, headBytesMax));
  const raw = (firstRaw(mail.headers, 'message-id') ?? '').slice(0, fieldLengthMax);
  return readMessageId(unfold(raw, declaredCharset(mail)));
}

/** What stands in the last angle brackets, else the first word with an at sign. */
function addressIn(from: string): string {
  const end = from.lastIndexOf('>');
  const start = from.lastIndexOf('<', end);
  const inBrackets = start >= 0 && end > start ? from.slice(start + 1, end).trim() : null;
  const word = inBrackets ?? from.split(/[\s,;]/u).find((one) => one.includes('@')) ?? '';
  return word.toLowerCase();
}
