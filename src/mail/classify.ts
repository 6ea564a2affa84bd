/**
 * Who wrote a mail: a person, an automatic answer, a delivery report, a mailing list.
 *
 * One table, read from the top; the first rule that matches decides, and no rule means a person. Mail that a machine
 * sent without being asked (`Auto-Submitted: auto-generated`) counts as from a person: monitoring opens tickets.
 */
import type { Header, MessageKind } from './message.ts';

/** What the rules look at. `partTypes` are the media types of all attachments. */
export type Facts = {
  readonly headers: readonly Header[];
  readonly fromAddress: string;
  readonly partTypes: readonly string[];
};

type Rule = { readonly kind: MessageKind; readonly matches: (facts: Facts) => boolean };

const rules: readonly Rule[] = [
  // RFC 3462, RFC 3464: a report on delivery; a report on reading (RFC 8098) has another report-type.
  { kind: 'bounce', matches: (facts) => isReport(facts, 'delivery-status') },
  { kind: 'bounce', matches: (facts) => isReport(facts, '') && facts.partTypes.includes('message/delivery-status') },
  // Servers older than the reports: nobody to answer, and whom it did not reach.
  {
    kind: 'bounce',
    matches: (facts) => isFromMailer(facts) && hasNullPath(facts) && has(facts, 'x-failed-recipients'),
  },
  // RFC 3834 section 5, and what was in use before it.
  { kind: 'auto_reply', matches: (facts) => /^auto-replied\b/iu.test(field(facts, 'auto-submitted')) },
  { kind: 'auto_reply', matches: (facts) => isYes(facts, 'x-autoreply') || isYes(facts, 'x-autorespond') },
  { kind: 'auto_reply', matches: (facts) => /^auto[_-]reply$/iu.test(field(facts, 'precedence')) },
  // RFC 2919, RFC 2369.
  { kind: 'list', matches: (facts) => hasListField(facts) && /^(?:list|bulk)$/iu.test(field(facts, 'precedence')) },
];

export function classify(facts: Facts): MessageKind {
  return rules.find((rule) => rule.matches(facts))?.kind ?? 'human';
}

function field(facts: Facts, name: string): string {
  return facts.headers.find((header) => header[0] === name)?.[1] ?? '';
}

function has(facts: Facts, name: string): boolean {
  return facts.headers.some((header) => header[0] === name);
}

function isYes(facts: Facts, name: string): boolean {
  return has(facts, name) && !/^(?:no|false|0|)$/iu.test(field(facts, name));
}

/** `reportType` empty: a report of any or no type. */
function isReport(facts: Facts, reportType: string): boolean {
  const contentType = field(facts, 'content-type').toLowerCase();
  if (!contentType.startsWith('multipart/report')) return false;
  return reportType === '' || new RegExp(`;\\s*report-type\\s*=\\s*"?${reportType}\\b`, 'u').test(contentType);
}

function isFromMailer(facts: Facts): boolean {
  return /^(?:mailer-daemon|postmaster)(?:@|$)/iu.test(facts.fromAddress);
}

function hasNullPath(facts: Facts): boolean {
  return /^<\s*>$/u.test(field(facts, 'return-path'));
}

function hasListField(facts: Facts): boolean {
  return has(facts, 'list-id') || has(facts, 'list-unsubscribe');
}
