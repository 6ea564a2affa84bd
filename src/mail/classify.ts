/**
 * What wrote a mail: a person, an automatic answer, a delivery report, a list, a complaint, a confirmation of reading.
 *
 * One table, read from the top; the first rule that matches decides, and no rule means a person. Mail that a machine
 * sent without being asked (`Auto-Submitted: auto-generated`) counts as from a person: monitoring opens tickets. The
 * rules of each kind, and what they look at, are in `kinds/`. It never fails.
 */
import { readBounce } from './bounce.ts';
import { isAutoReply } from './kinds/auto-reply.ts';
import { isBounce } from './kinds/bounce.ts';
import { isChallenge } from './kinds/challenge.ts';
import { isFeedback } from './kinds/feedback.ts';
import { isList } from './kinds/list.ts';
import { isReceipt } from './kinds/receipt.ts';
import { type Facts, readSigns, type Signs } from './kinds/signs.ts';
import type { MessageKind, ParsedMessage } from './message.ts';
import { reportedMessageId } from './report.ts';

/** What the rules found. */
export type Verdict = Pick<ParsedMessage, 'kind' | 'bounce' | 'reportedMessageId'>;

type Rule = { readonly kind: MessageKind; readonly matches: (facts: Facts, signs: Signs) => boolean };

const rules: readonly Rule[] = [
  // RFC 5965 and what was before it
  { kind: 'feedback_report', matches: isFeedback },
  // RFC 8098
  { kind: 'read_receipt', matches: isReceipt },
  // A challenge in the form of a delivery report
  { kind: 'auto_reply', matches: (facts, signs) => signs.reportType !== null && isChallenge(facts, signs) },
  // RFC 3464, RFC 6522, and what servers send instead
  { kind: 'bounce', matches: isBounce },
  // RFC 3834 and what was before it
  { kind: 'auto_reply', matches: isAutoReply },
  // RFC 2919, RFC 2369
  { kind: 'list', matches: isList },
];

const kindsOfReport: ReadonlySet<MessageKind> = new Set(['bounce', 'feedback_report', 'read_receipt']);

/** The kind of a mail, and for a report what it tells and of which mail. */
export function classify(facts: Facts): Verdict {
  const signs = readSigns(facts);
  const kind = rules.find((rule) => rule.matches(facts, signs))?.kind ?? 'human';
  return {
    kind,
    bounce: kind === 'bounce' ? readBounce(facts) : null,
    reportedMessageId: kindsOfReport.has(kind) ? reportedMessageId(facts) : null,
  };
}
