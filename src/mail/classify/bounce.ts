/**
 * Bounce detection: recognises delivery reports (RFC 3464, RFC 6522, RFC 6533), and what servers send instead of them.
 *
 * A report in the standard form is one. Anything else needs several signals together, the more the less its sender
 * resembles a delivery program: a subject, words of failure at the top of the text, a recipient that the text names. So
 * a person who writes about a bounce, quotes one or attaches one stays a person.
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
import { readSesNotification } from '../bounce/status.ts';
import type { MessageContent } from '../message.ts';
import { has, hasPart, isBulk, isSuppressed, type Sender, type Signals } from './signals.ts';

/** Characters of the text that count as its top. */
const openingMax = 2500;

export function isBounce(message: MessageContent, signals: Signals): boolean {
  if (signals.reportType === 'delivery-status') return true;
  const isMachine = signals.sender !== 'other' || signals.hasNullReversePath || signals.reportType !== null;
  const hasStatus = hasPart(message, 'message/delivery-status') || hasPart(message, 'message/global-delivery-status');
  if (hasStatus && isMachine && !isRepliedOrForwarded(message, signals)) return true;
  const hasSubject = isFailureSubject(message.subject);
  if (!isMachine && !hasSubject && !has(message, 'x-failed-recipients')) return false;
  if (readSesNotification(message) !== null) return true;
  return isSufficient(message, signals, hasSubject);
}

/** True for a report that a person replies to or forwards; postmasters are persons too. */
function isRepliedOrForwarded(message: MessageContent, { sender, hasNullReversePath, reportType }: Signals): boolean {
  if (sender === 'mailer' || hasNullReversePath || reportType !== null) return false;
  return has(message, 'in-reply-to') || isAnsweredOrForwarded(message.subject);
}

/** Evidence for a report; functions are evaluated only when they count. */
type Evidence = ReturnType<typeof evidenceOf>;
type SenderRow = Exclude<Sender, 'mail_admin'> | 'pathless';

/** Sufficient evidence by sender; `pathless` is any other sender with a null reverse-path. */
const sufficient: Readonly<Record<SenderRow, (evidence: Evidence) => boolean>> = {
  mailer: ({ hasSubject, opensWithFailure, givesReason, hasNamedRecipient }) =>
    hasSubject || opensWithFailure || (givesReason() && hasNamedRecipient()),
  postmaster: (found) => {
    if (found.soundsLikePerson()) return false;
    if (found.isReply) return found.isHeadline && found.isTranscript();
    if (!found.hasSubject) return found.isTranscript();
    if (found.isMarked) return found.opensWithFailure || found.hasParts || found.hasNamedRecipient();
    return (found.hasOriginal() || found.isForm) && (found.opensWithFailure || found.hasNamedRecipient());
  },
  none: ({ hasSubject, opensWithFailure, hasNamedRecipient }) =>
    opensWithFailure && (hasSubject || hasNamedRecipient()),
  pathless: (found) => {
    if (!found.opensWithFailure || found.isReply || found.soundsLikePerson()) return false;
    if (!(found.addressesSender || found.hasOriginal() || found.isForm)) return false;
    if (!found.hasSubject) return found.hasNamedRecipient() && (found.isMarked || found.hasProof());
    return found.isMarked || found.hasProof() || (found.givesReason() && found.hasNamedRecipient());
  },
  other: (found) =>
    found.hasSubject &&
    found.opensWithFailure &&
    !found.isReply &&
    found.isMarked &&
    found.addressesSender &&
    !found.soundsLikePerson() &&
    (found.hasNamedRecipient() || found.hasProof()),
};

function isSufficient(message: MessageContent, signals: Signals, hasSubject: boolean): boolean {
  const evidence = evidenceOf(message, signals, hasSubject);
  if (has(message, 'x-failed-recipients'))
    return signals.sender !== 'other' || (signals.hasNullReversePath && evidence.opensWithFailure);
  return sufficient[rowOf(signals)](evidence);
}

function evidenceOf(message: MessageContent, signals: Signals, hasSubject: boolean) {
  const { sender } = signals;
  const words = reportWords(message.text);
  const opening = unquoted(words.slice(0, openingMax));
  const hasOriginal = () => hasReturned(message, words);
  /** A line states the reason. */
  const givesReason = () => diagnosticIn(opening, '') !== '';
  return {
    hasSubject,
    opensWithFailure: saysFailure(opening),
    /** It speaks to the sender of the original message, or is not from a person. */
    addressesSender: sender === 'postmaster' || sender === 'none' || wordsToSender.test(opening.slice(0, 500)),
    isReply: sender !== 'mailer' && has(message, 'in-reply-to') && !hasPart(message, 'message/rfc822'),
    /** The text begins with an error: Apache James replies to the message with its transcript. */
    isHeadline: /^\s{0,20}error: /iu.test(opening),
    hasParts: message.attachments.length > 0,
    /** A field or sentence says that a program wrote it. */
    isMarked: isMarked(message, signals) || saysAutomatic(message.subject, opening),
    /** The address or the server's reply has a line of its own, not within the sentences of a person. */
    isForm: ownLine.test(opening) || replyLine.test(opening),
    hasOriginal,
    /** The original message, the reply of the refusing server, or a form that programs fill in. */
    hasProof: () => hasOriginal() || hasReply.test(opening) || (ownLine.test(opening) && givesReason()),
    givesReason,
    hasNamedRecipient: () => namesRecipient(words, partiesOf(message)),
    isTranscript: () => hasTranscript(opening),
    soundsLikePerson: () => asksLikePerson(opening),
  };
}

/**
 * A postmaster with a null reverse-path is a program; so are web forms and forwarders of persons, some without a
 * sender.
 */
function rowOf({ sender, hasNullReversePath }: Signals): SenderRow {
  if (sender === 'mailer') return sender;
  if (hasNullReversePath) return sender === 'other' || sender === 'mail_admin' ? 'pathless' : 'none';
  if (sender === 'mail_admin') return 'postmaster';
  return sender === 'none' ? 'pathless' : sender;
}

function isMarked(message: MessageContent, { autoSubmitted, reportType }: Signals): boolean {
  return autoSubmitted !== '' || reportType !== null || isSuppressed(message) || isBulk(message);
}

/** True where the original message is included, as a part or below the words of the report. */
function hasReturned(message: MessageContent, words: string): boolean {
  if (hasPart(message, 'message/rfc822') || hasPart(message, 'text/rfc822-headers')) return true;
  return words.length < Math.min(message.text.length, 8000) - 20;
}

/** Sender and receivers of the report, which are not its bounced recipients. In lower case. */
function partiesOf(message: MessageContent): ReadonlySet<string> {
  const to = message.fields('to').flatMap((value) => value.slice(0, 4000).split(/[\s,<>]+/u));
  return new Set([message.from?.address ?? '', ...to].map((address) => address.toLowerCase()));
}

/** The text without quoted lines and drawn lines. */
function unquoted(text: string): string {
  return text
    .split('\n')
    .filter((line) => !/^(?:>|[|:] )/u.test(line))
    .join('\n');
}

function hasTranscript(text: string): boolean {
  return /\bRCPT TO:/u.test(text) && /(?:^|\n)\W{0,8}[45]\d\d[- ]/u.test(text);
}

/** The server's reply on a line of its own, or on that of the recipient: `<ben@kunde.example>: host mx said: 550 …`. */
const replyLine = /^(?:\W{0,12}[45]\d\d[- ](?=\D)|[ \t]{0,8}<[^\s<>@]{1,128}@[^\s<>@]{1,255}>[:.])/mu;
/** The recipient on a line of its own, or at the end of one: `ben@kunde.example`, `Recipient: <ben@kunde.example>`. */
const ownLine =
  /^(?:[^\n@]{0,60}:)?[ \t>*-]{0,20}<?[^\s<>@]{1,128}@[^\s<>@]{1,255}>?(?: on [A-Z][^\n]{0,40})?[ \t]{0,9}$/mu;
/** A server's reply: `550 ...`, `5.1.1`. */
const hasReply = /(?:^|[\s:'"(<#])(?:[45]\d\d[- ](?=\D)|[45]\.\d\.\d{1,3}\b)/u;

/** Words to the sender about *your* message; a person writes about his own. */
const wordsToSender =
  /\b(?:your|votre|vos|ihre?|su|seu|sua|vostro|tuo|uw|din|ditt|twoj[aeą]|váš|vaše) (?:[\w-]{1,20} ){0,2}(?:message|e-?mail|mail|courrier|courriel|nachricht|mensaje|correo|mensagem|messaggio|bericht|meddelande|wiadomość|zpráva)|\b(?:this|the)(?: following| attached)? (?:message|mail|e-?mail)(?: below)? (?:could not|was not|to|cannot|has)|\ba message that you sent|\bthe message (?:that )?you sent|не достав|あなたの|ご送信|您的|you are not an? member of this mailing list|duplicated message-id in <|user'?s mailbox is full|invalid (?:final delivery userid|user address)/iu;
