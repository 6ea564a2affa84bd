/**
 * Recognises delivery reports (RFC 3464, RFC 6522, RFC 6533, and what servers send instead of them).
 *
 * A report in the standard form is one. Anything else needs several signals together, the more the less its sender looks like
 * a delivery program: a subject, words of failure at the top of the text, a recipient that the text names. So a person who
 * writes about a bounce, quotes one or attaches one stays a person.
 */
import {
  asksLikePerson,
  diagnosticIn,
  isAnsweredOrForwarded,
  isFailureSubject,
  namesRecipient,
  reportWords,
  saysAutomatic,
  saysFailure,
} from '../bounce/prose.ts';
import { readSesNotification } from '../bounce/ses.ts';
import type { MessageContent } from '../message.ts';
import { has, hasPart, isBulk, isSuppressed, type Sender, type Signals } from './signals.ts';

/** How far into the text the first words of a report reach. */
const openingMax = 2500;

export function isBounce(message: MessageContent, signals: Signals): boolean {
  if (signals.reportType === 'delivery-status') return true;
  const isMachine = signals.sender !== 'other' || signals.hasNullReversePath || signals.reportType !== null;
  const hasStatus = hasPart(message, 'message/delivery-status') || hasPart(message, 'message/global-delivery-status');
  if (hasStatus && isMachine && !isPassedOn(message, signals)) return true;
  const hasSubject = isFailureSubject(message.subject);
  if (!isMachine && !hasSubject && !has(message, 'x-failed-recipients')) return false;
  if (readSesNotification(message) !== null) return true;
  return hasEnoughSigns(message, signals, hasSubject);
}

/** Postmasters are persons too, who answer to a report or forward it. */
function isPassedOn(
  message: MessageContent,
  { sender, hasNullReversePath: hasNullPath, reportType }: Signals,
): boolean {
  if (sender === 'mailer' || hasNullPath || reportType !== null) return false;
  return has(message, 'in-reply-to') || isAnsweredOrForwarded(message.subject);
}

/** What speaks for a report; what is a function is looked for only when it counts. */
type Evidence = {
  readonly subject: boolean;
  /** The top of the text says failure. */
  readonly says: boolean;
  /** It says so to somebody about his mail, or is no person's. */
  readonly speaks: boolean;
  readonly isAnswer: boolean;
  /** The text begins with an error: Apache James answers to the mail with its transcript. */
  readonly isHeadline: boolean;
  readonly hasParts: boolean;
  /** A field or sentence says that a program wrote it. */
  readonly isMarked: boolean;
  /** The mail that came back is there. */
  readonly returned: () => boolean;
  /** Address or answer of the server stand in lines of their own, not in the sentences of a person. */
  readonly isForm: boolean;
  /** It came back, or there are the words of the server that refused it, or a form that programs fill in. */
  readonly proves: () => boolean;
  /** A line tells why. */
  readonly reasons: () => boolean;
  readonly names: () => boolean;
  readonly transcript: () => boolean;
  /** It asks, greets or tells as persons do. */
  readonly asks: () => boolean;
};

type Row = Exclude<Sender, 'mail_admin'> | 'pathless';

/** How much is enough, by who sends; `pathless` is anybody whose envelope names nobody. */
const enough: Readonly<Record<Row, (evidence: Evidence) => boolean>> = {
  mailer: ({ subject, says }) => subject || says,
  postmaster: ({
    subject,
    says,
    isAnswer,
    isMarked,
    isForm,
    returned,
    names,
    hasParts,
    isHeadline,
    transcript,
    asks,
  }) => {
    if (asks()) return false;
    if (isAnswer) return isHeadline && transcript();
    if (subject && isMarked) return says || hasParts || names();
    return subject ? (returned() || isForm) && (says || names()) : transcript();
  },
  none: ({ subject, says, names }) => says && (subject || names()),
  pathless: ({ subject, says, isAnswer, isMarked, speaks, isForm, names, returned, proves, reasons, asks }) => {
    if (!says || isAnswer || asks() || !(speaks || returned() || isForm)) return false;
    if (subject) return isMarked || proves() || (reasons() && names());
    return names() && (isMarked || proves());
  },
  other: ({ subject, says, isAnswer, isMarked, speaks, names, proves, asks }) =>
    subject && says && !isAnswer && isMarked && speaks && !asks() && (names() || proves()),
};

function hasEnoughSigns(message: MessageContent, signals: Signals, hasSubject: boolean): boolean {
  const { sender, hasNullReversePath: hasNullPath } = signals;
  const words = reportWords(message.text);
  const opening = unquoted(words.slice(0, openingMax));
  const says = saysFailure(opening);
  const returned = () => hasReturned(message, words);
  const reasons = () => diagnosticIn(opening, '') !== '';
  if (has(message, 'x-failed-recipients')) return sender !== 'other' || (hasNullPath && says);
  return enough[rowOf(signals)]({
    subject: hasSubject,
    says,
    speaks: sender === 'postmaster' || sender === 'none' || speaksToSender.test(opening.slice(0, 500)),
    isAnswer: sender !== 'mailer' && has(message, 'in-reply-to') && !hasPart(message, 'message/rfc822'),
    isHeadline: /^\s{0,20}error: /iu.test(opening),
    hasParts: message.attachments.length > 0,
    isMarked: isMarked(message, signals) || saysAutomatic(message.subject, opening),
    isForm: ownLine.test(opening) || replyLine.test(opening),
    returned,
    proves: () => returned() || hasReply.test(opening) || (ownLine.test(opening) && reasons()),
    reasons,
    names: () => namesRecipient(words, strangersOf(message)),
    transcript: () => hasTranscript(opening),
    asks: () => asksLikePerson(opening),
  });
}

/** A postmaster without path is a program; persons' forms and forwarders have no path either, and some no sender. */
function rowOf({ sender, hasNullReversePath: hasNullPath }: Signals): Row {
  if (sender === 'mailer') return sender;
  if (hasNullPath) return sender === 'other' || sender === 'mail_admin' ? 'pathless' : 'none';
  if (sender === 'mail_admin') return 'postmaster';
  return sender === 'none' ? 'pathless' : sender;
}

function isMarked(message: MessageContent, { autoSubmitted, reportType }: Signals): boolean {
  return autoSubmitted !== '' || reportType !== null || isSuppressed(message) || isBulk(message);
}

/** The mail that came back, as a part or below the words of the report. */
function hasReturned(message: MessageContent, words: string): boolean {
  if (hasPart(message, 'message/rfc822') || hasPart(message, 'text/rfc822-headers')) return true;
  return words.length < Math.min(message.text.length, 8000) - 20;
}

/** Who sends the mail and who gets it are not whom it tells of. */
function strangersOf(message: MessageContent): ReadonlySet<string> {
  const to = message.fields('to').flatMap((value) => value.slice(0, 4000).split(/[\s,<>]+/u));
  return new Set([message.from?.address ?? '', ...to].map((address) => address.toLowerCase()));
}

/** Without lines that somebody quotes and lines that only draw. */
function unquoted(text: string): string {
  return text
    .split('\n')
    .filter((line) => !/^(?:>|[|:] )/u.test(line))
    .join('\n');
}

function hasTranscript(text: string): boolean {
  return /\bRCPT TO:/u.test(text) && /(?:^|\n)\W{0,8}[45]\d\d[- ]/u.test(text);
}

/** The server's answer has a line of its own, or that of the recipient: `<ben@kunde.example>: host mx said: 550 ...`. */
const replyLine = /^(?:\W{0,12}[45]\d\d[- ](?=\D)|[ \t]{0,8}<[^\s<>@]{1,128}@[^\s<>@]{1,255}>[:.])/mu;
/** The recipient has a line of its own, or the end of one: `ben@kunde.example`, `Recipient: <ben@kunde.example>`. */
const ownLine =
  /^(?:[^\n@]{0,60}:)?[ \t>*-]{0,20}<?[^\s<>@]{1,128}@[^\s<>@]{1,255}>?(?: on [A-Z][^\n]{0,40})?[ \t]{0,9}$/mu;
/** What a server answers: `550 ...`, `5.1.1`. */
const hasReply = /(?:^|[\s:'"(<#])(?:[45]\d\d[- ](?=\D)|[45]\.\d\.\d{1,3}\b)/u;

/** Programs tell the sender what became of *his* mail; a person writes of his own. */
const speaksToSender =
  /\b(?:your|votre|vos|ihre?|su|seu|sua|vostro|tuo|uw|din|ditt|twoj[aeą]|váš|vaše) (?:[\w-]{1,20} ){0,2}(?:message|e-?mail|mail|courrier|courriel|nachricht|mensaje|correo|mensagem|messaggio|bericht|meddelande|wiadomość|zpráva)|\b(?:this|the)(?: following| attached)? (?:message|mail|e-?mail)(?: below)? (?:could not|was not|to|cannot|has)|\ba message that you sent|\bthe message (?:that )?you sent|не достав|あなたの|ご送信|您的|you are not an? member of this mailing list|duplicated message-id in <|user'?s mailbox is full|invalid (?:final delivery userid|user address)/iu;
