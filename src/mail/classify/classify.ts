/**
 * What wrote a mail: a person, an automatic answer, a delivery report, a list, a complaint, a confirmation of reading.
 *
 * One table, read from the top; the first rule that matches decides, and no rule means a person. Mail that a machine
 * sent without being asked (`Auto-Submitted: auto-generated`) counts as from a person: monitoring opens tickets. The
 * rules of each kind, and what they look at, are in `kinds/`. It never fails.
 */

import { readBounce, reportedMessageId } from '../bounce/report.ts';
import { readSesNotification } from '../bounce/status.ts';
import type { MessageKind, ParsedMessage } from '../message.ts';
import { splitMessage } from '../mime/headers.ts';
import { field, has, hasPart, isSuppressed, type MessageContent, readSignals, type Signals } from '../signals.ts';
import { isAutoReply, isChallenge } from './auto-reply.ts';
import { isBounce } from './bounce.ts';

/** What the rules found. */
type Classification = Pick<ParsedMessage, 'kind' | 'bounce' | 'reportedMessageId'>;

type Rule = { readonly kind: MessageKind; readonly matches: (facts: MessageContent, signs: Signals) => boolean };

/**
 * Complaints about our mail: RFC 5965 reports, and the forms that large providers used before and beside them.
 */

const feedbackRules: readonly FeedbackRule[] = [
  // RFC 5965, RFC 6591 (authentication failures), RFC 6522
  (_, { reportType }) => reportType === 'feedback-report',
  (facts, { reportType }) => reportType !== null && hasPart(facts, 'message/feedback-report'),
  // Hotmail's Junk Mail Reporting Program: the mail itself, with a field that names who complained
  (facts) => /^\s{0,3}complaint about message from \d/iu.test(facts.subject) && hasReporterField(facts),
  // Amazon SES over SNS
  (facts) => readSesNotification(facts)?.type === 'complaint',
  // A mail program that answers List-Unsubscribe (RFC 2369) by itself
  (facts, { autoSubmitted }) => autoSubmitted !== '' && unsubscribe.test(facts.subject.slice(0, 300)),
];

/**
 * Confirmations of reading: RFC 8098 reports, whatever they say (displayed, deleted, failed), and Exchange's own.
 */

/** How Outlook and Exchange begin the subject, with what the text says then. */
const receiptSubject =
  /^(?:read|not read|deleted|gelesen|nicht gelesen|ungelesen gelöscht|lu|non lu|le[ií]d[oa]|no le[ií]do|não lida|lida|letto|non letto|gelezen|niet gelezen|läst|inte läst|læst|lest|luettu|přečteno|przeczytano|olvasva|citit|прочтено|прочитано|okundu|開封済み|已读|已讀|읽음|return receipt(?: \(displayed\))?)\s{0,2}[:：-]/iu;

/** What Exchange, Outlook, and programs that nobody answers to write. */
const machineFields = [
  'x-ms-has-attach',
  'x-ms-tnef-correlator',
  'x-ms-exchange-organization-authas',
  'x-ms-exchange-crosstenant-id',
  'x-ms-exchange-transport-crosstenantheadersstamped',
  'x-ms-publictraffictype',
  'x-mimeole',
] as const;

/** Exchange's own form: `Your message`, then `To:` and `Subject:` in lines of their own, then what became of it. */
const receiptForm =
  /^\s{0,40}(?:your message|ihre nachricht|votre message|su mensaje|el mensaje|il messaggio|sua mensagem|a sua mensagem|uw bericht|ditt meddelande|din meddelelse|meldingen|viestisi|vaše zpráva|twoja wiadomość|ваше сообщение|您的(?:邮件|郵件))[^\n]{0,60}\n\s{0,40}[^\n:：]{1,30}[:：][^\n]{0,300}\n\s{0,40}[^\n:：]{1,30}[:：][^\n]{0,1000}\n/iu;

const receiptText =
  /(?:was|were) (?:read|deleted without being read|displayed) on|wurde(?: am [^\n]{1,60})? (?:gelesen|angezeigt)|gelesen am|a été lu|se leyó|fue leíd[oa]|è stato letto|foi lida|werd gelezen|is gelezen|lästes|blev læst|ble lest|has been (?:displayed|read|opened)|прочитано|прочтено|は[^\n]{0,40}開封されました/iu;

/**
 * Mail that came through a list: a person on a mailing list (RFC 2919, RFC 2369), or a newsletter.
 *
 * List-Id names the list. Without it, the fields of RFC 2369 need a second sign, since shops and ticket systems put
 * List-Unsubscribe on mail that is for one person.
 */

/** Fields that only list programs write. */
const listOnly = [
  // RFC 2919
  'list-id',
  // ezmlm, Yahoo Groups
  'mailing-list',
  // Majordomo and its heirs
  'x-mailing-list',
  // Mailman
  'x-mailman-version',
  'x-beenthere',
  // FML
  'x-ml-name',
] as const;

/** Fields of RFC 2369, and RFC 8058 (one click to leave: only bulk mail has it). */
const listCommands = ['list-unsubscribe', 'list-post', 'list-help', 'list-subscribe'] as const;

/**
 * What wrote a mail: a person, an automatic answer, a delivery report, a list, a complaint, a confirmation of reading.
 *
 * One table, read from the top; the first rule that matches decides, and no rule means a person. Mail that a machine
 * sent without being asked (`Auto-Submitted: auto-generated`) counts as from a person: monitoring opens tickets. The
 * rules of each kind, and what they look at, are in `kinds/`. It never fails.
 */

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
export function classify(facts: MessageContent): Classification {
  const signs = readSignals(facts);
  const kind = rules.find((rule) => rule.matches(facts, signs))?.kind ?? 'human';
  return {
    kind,
    bounce: kind === 'bounce' ? readBounce(facts) : null,
    reportedMessageId: kindsOfReport.has(kind) ? reportedMessageId(facts) : null,
  };
}

type FeedbackRule = (facts: MessageContent, signs: Signals) => boolean;

/** The word, with nothing or the token of a list after it: a person who asks about it writes more, or else. */
const unsubscribe = /^\s{0,3}unsubscribe(?:[\s:]{1,3}(?=\S{0,200}[@\d=<_])\S{1,200})?\s{0,3}$/iu;

function isFeedback(facts: MessageContent, signs: Signals): boolean {
  return feedbackRules.some((matches) => matches(facts, signs));
}

function hasReporterField(facts: MessageContent): boolean {
  const original = facts.attachments.find(({ type }) => type === 'message/rfc822');
  return original !== undefined && splitMessage(original.content).headers.some(([name]) => name.startsWith('x-hmxmr'));
}

function isList(facts: MessageContent): boolean {
  if (listOnly.some((name) => has(facts, name))) return true;
  if (!listCommands.some((name) => has(facts, name))) return false;
  return /^(?:list|bulk|junk)\b/iu.test(field(facts, 'precedence')) || has(facts, 'list-unsubscribe-post');
}

function isReceipt(facts: MessageContent, signs: Signals): boolean {
  const { reportType, contentType } = signs;
  if (reportType === 'disposition-notification') return true;
  if (reportType !== null) return hasPart(facts, 'message/disposition-notification');
  if (contentType.startsWith('message/disposition-notification')) return true;
  if (!receiptSubject.test(facts.subject)) return false;
  if (/\bmdn\b/iu.test(field(facts, 'content-class'))) return true;
  const start = facts.text.slice(0, 1500);
  return isMachine(facts, signs) && receiptForm.test(start) && receiptText.test(start);
}

function isMachine(facts: MessageContent, { autoSubmitted, hasNullReversePath: hasNullPath }: Signals): boolean {
  if (autoSubmitted !== '' || hasNullPath || isSuppressed(facts)) return true;
  return machineFields.some((name) => has(facts, name));
}
