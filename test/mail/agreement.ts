/**
 * Compares one parsed message with the statements of an upstream test suite about it, field by field.
 *
 * A comparison is loose where upstream suites differ from each other by habit: white space is collapsed, and an
 * attachment agrees when any part of the message has all that is stated about it.
 */
import type { ParsedMessage } from '../../src/mail/message.ts';
import type { Expectation } from './corpus.ts';

/** The compared fields, from any parser. */
export type ParsedFields = {
  readonly subject: string;
  readonly fromAddress: string;
  readonly fromName: string;
  readonly toAddresses: readonly string[];
  readonly messageId: string;
  readonly sentAtMs: number | null;
  readonly text: string;
  readonly html: string;
  readonly attachments: readonly {
    readonly name: string;
    readonly type: string;
    readonly size: number;
    readonly sha256: string;
  }[];
};

/** The fields as our own parser reads them. */
export const parsedFieldsOf = (parsed: ParsedMessage): ParsedFields => ({
  subject: parsed.subject,
  fromAddress: parsed.from?.address ?? '',
  fromName: parsed.from?.name ?? '',
  toAddresses: parsed.to.map((one) => one.address),
  messageId: parsed.messageId,
  sentAtMs: parsed.sentAtMs,
  text: parsed.text,
  html: parsed.html ?? '',
  attachments: parsed.attachments.map(({ name, type, sizeBytes, sha256 }) => ({ name, type, size: sizeBytes, sha256 })),
});

/** Name of a stated field, and true where the parsed field agrees. */
export type FieldAgreement = readonly [field: string, agrees: boolean];

const collapsed = (text: string) => text.replace(/\s+/gu, ' ').trim();
const sameText = (left: string, right: string) => collapsed(left) === collapsed(right);
const contains = (text: string, wanted: readonly string[]) =>
  wanted.every((piece) => collapsed(text).includes(collapsed(piece)));
const firstLine = (text: string) => text.split('\n').find((line) => line.trim() !== '') ?? '';

/** Every stated field of `expected` with its agreement. */
export function compare(expected: Expectation, parsed: ParsedFields): readonly FieldAgreement[] {
  return [...compareHeaders(expected, parsed), ...compareBody(expected, parsed), ...compareParts(expected, parsed)];
}

function compareHeaders(expected: Expectation, parsed: ParsedFields): readonly FieldAgreement[] {
  const { subject, from_addr, from_name, to_addrs, message_id, date_utc } = expected;
  const agreements: FieldAgreement[] = [];
  if (subject !== undefined) agreements.push(['subject', sameText(subject, parsed.subject)]);
  if (from_addr !== undefined)
    agreements.push(['from_addr', from_addr.toLowerCase() === parsed.fromAddress.toLowerCase()]);
  if (from_name !== undefined) agreements.push(['from_name', sameText(from_name, parsed.fromName)]);
  if (to_addrs !== undefined) agreements.push(['to_addrs', sameText(to_addrs.join(), parsed.toAddresses.join())]);
  if (message_id !== undefined) agreements.push(['message_id', sameText(message_id, parsed.messageId)]);
  if (date_utc !== undefined) agreements.push(['date', Date.parse(`${date_utc}Z`) === parsed.sentAtMs]);
  return agreements;
}

function compareBody(expected: Expectation, parsed: ParsedFields): readonly FieldAgreement[] {
  const { text_first_line, text_equals, text_contains, html_contains } = expected;
  const agreements: FieldAgreement[] = [];
  if (text_first_line !== undefined)
    agreements.push(['text_first_line', sameText(text_first_line, firstLine(parsed.text))]);
  if (text_equals !== undefined) agreements.push(['text_equals', sameText(text_equals, parsed.text)]);
  if (text_contains !== undefined) agreements.push(['text_contains', contains(parsed.text, text_contains)]);
  if (html_contains !== undefined) agreements.push(['html_contains', contains(parsed.html, html_contains)]);
  return agreements;
}

function compareParts(expected: Expectation, parsed: ParsedFields): readonly FieldAgreement[] {
  const agreements: FieldAgreement[] = [];
  for (const [index, { name, type, size, sha256 }] of (expected.attachments ?? []).entries()) {
    const part =
      parsed.attachments.find((one) => sha256 !== undefined && one.sha256 === sha256) ??
      parsed.attachments.find((one) => typeof name === 'string' && one.name === name) ??
      parsed.attachments[index];
    if (typeof name === 'string') agreements.push(['attachment name', part?.name === name]);
    if (type !== undefined) agreements.push(['attachment type', part?.type === type]);
    if (size !== undefined) agreements.push(['attachment size', part?.size === size]);
    if (sha256 !== undefined) agreements.push(['attachment sha256', part?.sha256 === sha256]);
  }
  return agreements;
}

/** Agreed and disagreed per field. */
export type Tally = Map<string, { agreed: number; disagreed: number }>;

export function count(tally: Tally, agreements: readonly FieldAgreement[]): void {
  for (const [field, agrees] of agreements) {
    const entry = tally.get(field) ?? { agreed: 0, disagreed: 0 };
    if (agrees) entry.agreed++;
    else entry.disagreed++;
    tally.set(field, entry);
  }
}
