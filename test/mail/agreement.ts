/**
 * Compares one parsed mail with what an upstream test suite states about it, field by field.
 *
 * A comparison is loose where upstream suites differ from each other by habit: white space is collapsed, and an
 * attachment agrees when any part of the mail has all that is stated of it.
 */
import type { ParsedMessage } from '../../src/mail/message.ts';
import type { Expectation } from './corpus.ts';

/** What is compared, whoever parsed it. */
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

/** What our own reader makes of a mail. */
export const readingOf = (parsed: ParsedMessage): ParsedFields => ({
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

/** Name of a field, and whether the reading agrees. Only stated fields are given. */
export type FieldAgreement = readonly [field: string, agrees: boolean];

const collapsed = (text: string) => text.replace(/\s+/gu, ' ').trim();
const sameText = (left: string, right: string) => collapsed(left) === collapsed(right);
const contains = (text: string, wanted: readonly string[]) =>
  wanted.every((piece) => collapsed(text).includes(collapsed(piece)));
const firstLine = (text: string) => text.split('\n').find((line) => line.trim() !== '') ?? '';

/** Every stated field of `expected` with its verdict. */
export function compare(expected: Expectation, reading: ParsedFields): readonly FieldAgreement[] {
  return [...compareHeaders(expected, reading), ...compareBody(expected, reading), ...compareParts(expected, reading)];
}

function compareHeaders(expected: Expectation, reading: ParsedFields): readonly FieldAgreement[] {
  const { subject, from_addr, from_name, to_addrs, message_id, date_utc } = expected;
  const verdicts: FieldAgreement[] = [];
  if (subject !== undefined) verdicts.push(['subject', sameText(subject, reading.subject)]);
  if (from_addr !== undefined)
    verdicts.push(['from_addr', from_addr.toLowerCase() === reading.fromAddress.toLowerCase()]);
  if (from_name !== undefined) verdicts.push(['from_name', sameText(from_name, reading.fromName)]);
  if (to_addrs !== undefined) verdicts.push(['to_addrs', sameText(to_addrs.join(), reading.toAddresses.join())]);
  if (message_id !== undefined) verdicts.push(['message_id', sameText(message_id, reading.messageId)]);
  if (date_utc !== undefined) verdicts.push(['date', Date.parse(`${date_utc}Z`) === reading.sentAtMs]);
  return verdicts;
}

function compareBody(expected: Expectation, reading: ParsedFields): readonly FieldAgreement[] {
  const { text_first_line, text_equals, text_contains, html_contains } = expected;
  const verdicts: FieldAgreement[] = [];
  if (text_first_line !== undefined)
    verdicts.push(['text_first_line', sameText(text_first_line, firstLine(reading.text))]);
  if (text_equals !== undefined) verdicts.push(['text_equals', sameText(text_equals, reading.text)]);
  if (text_contains !== undefined) verdicts.push(['text_contains', contains(reading.text, text_contains)]);
  if (html_contains !== undefined) verdicts.push(['html_contains', contains(reading.html, html_contains)]);
  return verdicts;
}

function compareParts(expected: Expectation, reading: ParsedFields): readonly FieldAgreement[] {
  const verdicts: FieldAgreement[] = [];
  for (const [index, { name, type, size, sha256 }] of (expected.attachments ?? []).entries()) {
    const part =
      reading.attachments.find((one) => sha256 !== undefined && one.sha256 === sha256) ??
      reading.attachments.find((one) => typeof name === 'string' && one.name === name) ??
      reading.attachments[index];
    if (typeof name === 'string') verdicts.push(['attachment name', part?.name === name]);
    if (type !== undefined) verdicts.push(['attachment type', part?.type === type]);
    if (size !== undefined) verdicts.push(['attachment size', part?.size === size]);
    if (sha256 !== undefined) verdicts.push(['attachment sha256', part?.sha256 === sha256]);
  }
  return verdicts;
}

/** Agreed and disagreed per field. */
export type Tally = Map<string, { agreed: number; disagreed: number }>;

export function count(tally: Tally, verdicts: readonly FieldAgreement[]): void {
  for (const [field, agrees] of verdicts) {
    const entry = tally.get(field) ?? { agreed: 0, disagreed: 0 };
    if (agrees) entry.agreed++;
    else entry.disagreed++;
    tally.set(field, entry);
  }
}
