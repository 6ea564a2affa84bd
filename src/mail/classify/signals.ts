/**
 * Classification signals: the sender's role, the reverse-path, the content type and Auto-Submitted, read from the
 * header.
 *
 * Each signal costs one lookup of a header field. Rules ask for signals before they search any text, so that a message
 * of a person is classified by a few lookups.
 */
import type { MessageContent } from '../message.ts';

/**
 * Role of the From field: a delivery program, a postmaster, another mail administrator (person or program), none for a
 * missing sender, or any other.
 */
export type Sender = 'mailer' | 'postmaster' | 'mail_admin' | 'none' | 'other';

export type Signals = {
  readonly contentType: string;
  /** `report-type` of a `multipart/report` (RFC 6522); empty where it has none; null for any other form. */
  readonly reportType: string | null;
  readonly sender: Sender;
  /** Null reverse-path (RFC 5321 section 4.5.5), or MAILER-DAEMON, which servers write instead. */
  readonly hasNullReversePath: boolean;
  /** First word of Auto-Submitted (RFC 3834 section 5), lower case; empty where it is missing or `no`. */
  readonly autoSubmitted: string;
};

export function readSignals(message: MessageContent): Signals {
  const contentType = (message.fields('content-type')[0] ?? '').toLowerCase();
  const returnPath = message.fields('return-path')[0];
  return {
    contentType,
    reportType: contentType.startsWith('multipart/report') ? reportTypeOf(contentType) : null,
    sender: senderOf(message),
    hasNullReversePath:
      returnPath !== undefined && /^(?:<\s*>$|<?mailer-daemon[>@]|mailer-daemon$|$)/iu.test(returnPath.slice(0, 32)),
    autoSubmitted: firstWord(message.fields('auto-submitted')[0] ?? ''),
  };
}

function reportTypeOf(contentType: string): string {
  return /;\s{0,20}report-type\s{0,20}=\s{0,20}"?([\w-]{1,60})/u.exec(contentType.slice(0, 2000))?.[1] ?? '';
}

function firstWord(value: string): string {
  const word = /^[\w-]{1,40}/u.exec(value.trimStart().toLowerCase())?.[0] ?? '';
  return word === 'no' ? '' : word;
}

/** Delivery programs, by the local part of their address. */
const mailerAddress =
  /^(?:mailer[-_. ]?da?emon|mail[-_.]?daemon|mdaemon|mail[-_. ]?deliver[a-z]{0,3}(?:[-_. ]?(?:sub)?system)?|delivery[-_. ]?(?:sub)?system|mail[-_]?failure|ndr|dsn|non-?delivery|smtpd?-?daemon)(?:@|\\?@|$)/iu;
/** Delivery programs, by their display name. */
const mailerName =
  /^["' ]{0,3}(?:(?:internet )?mail deliver[a-z]{0,3} (?:sub)?(?:system|service)|delivery (?:sub)?system|mailer[- ]?da?emon|interscan|pmdf)\b/iu;
/** Programs that do more than deliver (web forms too), and their administrators; classification needs more evidence. */
const mailAdminAddress =
  /^(?:[\w-]{0,24}(?:anti[-_]?(?:virus|spam)|gateway)[\w-]{0,40}|mail[-_]?(?:er|system)|auto-?mailer)@/iu;
const mailAdminName =
  /^["' ]{0,3}(?:mail system|mail administrator|system administrator|microsoft (?:exchange|outlook)|symantec|mail gateway|content.filter)\b/iu;
const postmasterAddress = /^(?:po{1,2}st|pos)[-_. ]?ma?ster\b/iu;

function senderOf({ from }: MessageContent): Sender {
  const address = (from?.address ?? '').slice(0, 320);
  const name = (from?.name ?? '').slice(0, 320);
  const isNamed = mailerName.test(name) || mailerAddress.test(name);
  const isPostmaster = postmasterAddress.test(address);
  if (mailerAddress.test(address) || (isNamed && (address === '' || isPostmaster))) return 'mailer';
  if (isPostmaster) return 'postmaster';
  if (isNamed || postmasterAddress.test(name) || mailAdminAddress.test(address) || mailAdminName.test(name))
    return 'mail_admin';
  return address === '' && name === '' ? 'none' : 'other';
}

/** The first value of a field, or the empty string. */
export function field(message: MessageContent, name: string): string {
  return message.fields(name)[0] ?? '';
}

export function has(message: MessageContent, name: string): boolean {
  return message.fields(name).length > 0;
}

export function hasPart(message: MessageContent, type: string): boolean {
  return message.attachments.some((attachment) => attachment.type === type);
}

/** X-Auto-Response-Suppress of Exchange and others; helpdesks, forms and whole firms add it to mail of persons too. */
export function isSuppressed(message: MessageContent): boolean {
  return /^\s{0,5}(?!none\b)\S/iu.test(field(message, 'x-auto-response-suppress'));
}

/** Precedence of old autoresponders, but also of newsletters and forms. */
export function isBulk(message: MessageContent): boolean {
  return /^\s{0,5}(?:bulk|junk)\b/iu.test(field(message, 'precedence'));
}

/** True for a message that references the one it replies to. */
export function refers(message: MessageContent): boolean {
  return has(message, 'in-reply-to') || has(message, 'references');
}
