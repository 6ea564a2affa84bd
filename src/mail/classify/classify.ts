/**
 * Message classification: person, automatic reply, delivery report, mailing list, complaint or read receipt.
 *
 * One table of rules: the first that matches decides, and none means a person. Unsolicited mail of a program
 * (`Auto-Submitted: auto-generated`) counts as from a person, since monitoring opens tickets. Never fails.
 */
import { readBounce, reportedMessageId } from '../bounce/report.ts';
import { readSesNotification } from '../bounce/status.ts';
import type { MessageContent, MessageKind, ParsedMessage } from '../message.ts';
import { splitMessage } from '../mime/headers.ts';
import { isAutoReply, isChallenge } from './auto-reply.ts';
import { isBounce } from './bounce.ts';
import { field, has, hasPart, isSuppressed, readSignals, type Signals } from './signals.ts';

type Classification = Pick<ParsedMessage, 'kind' | 'bounce' | 'reportedMessageId'>;

type Rule = { readonly kind: MessageKind; readonly matches: (message: MessageContent, signals: Signals) => boolean };

const rules: readonly Rule[] = [
  // RFC 5965 and its predecessors
  { kind: 'feedback_report', matches: (...given) => feedbackRules.some((matches) => matches(...given)) },
  // RFC 8098
  { kind: 'read_receipt', matches: isReceipt },
  // Challenges in the form of a delivery report
  { kind: 'auto_reply', matches: (message, signals) => signals.reportType !== null && isChallenge(message, signals) },
  // RFC 3464, RFC 6522, and what servers send instead
  { kind: 'bounce', matches: isBounce },
  // RFC 3834 and its predecessors
  { kind: 'auto_reply', matches: isAutoReply },
  // RFC 2919, RFC 2369
  { kind: 'list', matches: isList },
];

const kindsOfReport: ReadonlySet<MessageKind> = new Set(['bounce', 'feedback_report', 'read_receipt']);

export function classify(message: MessageContent): Classification {
  const signals = readSignals(message);
  const kind = rules.find((rule) => rule.matches(message, signals))?.kind ?? 'human';
  return {
    kind,
    bounce: kind === 'bounce' ? readBounce(message) : null,
    reportedMessageId: kindsOfReport.has(kind) ? reportedMessageId(message) : null,
  };
}

// Complaints: RFC 5965 reports, and the forms that large providers used before and beside them

const feedbackRules: readonly Rule['matches'][] = [
  // RFC 5965, RFC 6591 (authentication failures), RFC 6522
  (_, { reportType }) => reportType === 'feedback-report',
  (message, { reportType }) => reportType !== null && hasPart(message, 'message/feedback-report'),
  // Hotmail's Junk Mail Reporting Program: the original message, with a field about the complaint
  (message) => /^\s{0,3}complaint about message from \d/iu.test(message.subject) && hasReporterField(message),
  // Amazon SES over SNS
  (message) => readSesNotification(message)?.type === 'complaint',
  // A mail program that answers List-Unsubscribe (RFC 2369) automatically
  (message, { autoSubmitted }) => autoSubmitted !== '' && unsubscribe.test(message.subject.slice(0, 300)),
];

/** The word alone or with the token of a list after it; a person who asks about it writes more. */
const unsubscribe = /^\s{0,3}unsubscribe(?:[\s:]{1,3}(?=\S{0,200}[@\d=<_])\S{1,200})?\s{0,3}$/iu;

function hasReporterField(message: MessageContent): boolean {
  const original = message.attachments.find(({ type }) => type === 'message/rfc822');
  return original !== undefined && splitMessage(original.content).headers.some(([name]) => name.startsWith('x-hmxmr'));
}

// Read receipts: RFC 8098 reports, whatever they report (displayed, deleted, failed), and those of Exchange

/** Beginnings of the subject by Outlook and Exchange; the text must have the form of a receipt as well. */
const receiptSubject =
  /^(?:read|not read|deleted|gelesen|nicht gelesen|ungelesen gelöscht|lu|non lu|le[ií]d[oa]|no le[ií]do|não lida|lida|letto|non letto|gelezen|niet gelezen|läst|inte läst|læst|lest|luettu|přečteno|przeczytano|olvasva|citit|прочтено|прочитано|okundu|開封済み|已读|已讀|읽음|return receipt(?: \(displayed\))?)\s{0,2}[:：-]/iu;

/** Fields that Exchange and Outlook write. */
const machineFields = (
  'x-ms-has-attach x-ms-tnef-correlator x-ms-exchange-organization-authas x-ms-exchange-crosstenant-id ' +
  'x-ms-exchange-transport-crosstenantheadersstamped x-ms-publictraffictype x-mimeole'
).split(' ');

/** Exchange's own form: `Your message`, then `To:` and `Subject:` on lines of their own, then the outcome. */
const receiptForm =
  /^\s{0,40}(?:your message|ihre nachricht|votre message|su mensaje|el mensaje|il messaggio|sua mensagem|a sua mensagem|uw bericht|ditt meddelande|din meddelelse|meldingen|viestisi|vaše zpráva|twoja wiadomość|ваше сообщение|您的(?:邮件|郵件))[^\n]{0,60}\n\s{0,40}[^\n:：]{1,30}[:：][^\n]{0,300}\n\s{0,40}[^\n:：]{1,30}[:：][^\n]{0,1000}\n/iu;

const receiptText =
  /(?:was|were) (?:read|deleted without being read|displayed) on|wurde(?: am [^\n]{1,60})? (?:gelesen|angezeigt)|gelesen am|a été lu|se leyó|fue leíd[oa]|è stato letto|foi lida|werd gelezen|is gelezen|lästes|blev læst|ble lest|has been (?:displayed|read|opened)|прочитано|прочтено|は[^\n]{0,40}開封されました/iu;

function isReceipt(message: MessageContent, signals: Signals): boolean {
  const { reportType, contentType } = signals;
  if (reportType === 'disposition-notification') return true;
  if (reportType !== null) return hasPart(message, 'message/disposition-notification');
  if (contentType.startsWith('message/disposition-notification')) return true;
  if (!receiptSubject.test(message.subject)) return false;
  if (/\bmdn\b/iu.test(field(message, 'content-class'))) return true;
  const start = message.text.slice(0, 1500);
  return isMachine(message, signals) && receiptForm.test(start) && receiptText.test(start);
}

function isMachine(message: MessageContent, { autoSubmitted, hasNullReversePath }: Signals): boolean {
  if (autoSubmitted !== '' || hasNullReversePath || isSuppressed(message)) return true;
  return machineFields.some((name) => has(message, name));
}

// Mailing lists (RFC 2919, RFC 2369) and newsletters. List-Id names the list. Without it, the fields of RFC 2369 need a
// second sign, since shops and ticket systems put List-Unsubscribe on messages to one person.

/** Fields that only list programs write: RFC 2919; ezmlm and Yahoo Groups; Majordomo; Mailman; FML. */
const listOnly = 'list-id mailing-list x-mailing-list x-mailman-version x-beenthere x-ml-name'.split(' ');

/** Fields of RFC 2369. List-Unsubscribe-Post (RFC 8058) is on bulk mail only. */
const listCommands = ['list-unsubscribe', 'list-post', 'list-help', 'list-subscribe'] as const;

function isList(message: MessageContent): boolean {
  if (listOnly.some((name) => has(message, name))) return true;
  if (!listCommands.some((name) => has(message, name))) return false;
  return /^(?:list|bulk|junk)\b/iu.test(field(message, 'precedence')) || has(message, 'list-unsubscribe-post');
}
