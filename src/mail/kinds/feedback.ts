/**
 * Complaints about our mail: RFC 5965 reports, and the forms that large providers used before and beside them.
 */

import { readNotification } from '../bounce-notification.ts';
import { splitMail } from '../headers.ts';
import { type Facts, hasPart, type Signs } from './signs.ts';

type FeedbackRule = (facts: Facts, signs: Signs) => boolean;

/** The word, with nothing or the token of a list after it: a person who asks about it writes more, or else. */
const unsubscribe = /^\s{0,3}unsubscribe(?:[\s:]{1,3}(?=\S{0,200}[@\d=<_])\S{1,200})?\s{0,3}$/iu;

const feedbackRules: readonly FeedbackRule[] = [
  // RFC 5965, RFC 6591 (authentication failures), RFC 6522
  (_, { reportType }) => reportType === 'feedback-report',
  (facts, { reportType }) => reportType !== null && hasPart(facts, 'message/feedback-report'),
  // Hotmail's Junk Mail Reporting Program: the mail itself, with a field that names who complained
  (facts) => /^\s{0,3}complaint about message from \d/iu.test(facts.subject) && hasReporterField(facts),
  // Amazon SES over SNS
  (facts) => readNotification(facts)?.type === 'complaint',
  // A mail program that answers List-Unsubscribe (RFC 2369) by itself
  (facts, { autoSubmitted }) => autoSubmitted !== '' && unsubscribe.test(facts.subject.slice(0, 300)),
];

export function isFeedback(facts: Facts, signs: Signs): boolean {
  return feedbackRules.some((matches) => matches(facts, signs));
}

function hasReporterField(facts: Facts): boolean {
  const original = facts.attachments.find(({ type }) => type === 'message/rfc822');
  return original !== undefined && splitMail(original.content).headers.some(([name]) => name.startsWith('x-hmxmr'));
}
