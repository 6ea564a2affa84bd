/**
 * Delivery reports (RFC 3464, RFC 6522): recipients that the message did not reach, status, diagnostic, and the
 * Message-ID of the message reported on.
 *
 * Sources of recipients, in order: the machine-readable part, Amazon SES notifications, X-Failed-Recipients, the prose,
 * the return path of the original message (VERP), the original message itself. Without any of them there are none.
 * Bounded: 200 recipients. Never fails.
 */
import type { Bounce, BouncedRecipient, MessageContent } from '../message.ts';
import { firstRaw, type RawHeader, splitMessage, unfold } from '../mime/headers.ts';
import { readMessageId, readMessageIds } from '../mime/structured-fields.ts';
import {
  addressesIn,
  diagnosticIn,
  localRecipientsIn,
  type NamedRecipient,
  recipientsIn,
  reportWords,
} from './prose.ts';
import { type BounceReason, isHard, reasonIn } from './reasons.ts';
import {
  isAddress,
  readSesNotification,
  readStatusPart,
  readStatusText,
  type StatusGroup,
  statusIn,
} from './status.ts';

/** RFC 3464 and RFC 6533. */
const statusTypes: ReadonlySet<string> = new Set(['message/delivery-status', 'message/global-delivery-status']);

/** Recipients of one report; real ones name fewer. */
const recipientsMax = 200;

type RecipientReport = StatusGroup & { readonly words: string };

export function readBounce(message: MessageContent): Bounce {
  const words = reportWords(message.text);
  const isDelay = saysDelay(message.subject, words);
  const recipients = recipientReports(message, words).map((recipient) => outcomeOf(recipient, isDelay));
  const failed = recipients.find(({ hard }) => hard) ?? recipients[0];
  if (failed !== undefined) return { recipients, status: failed.status, hard: failed.hard };
  const whole = outcomeOf({ ...noStatus, words, diagnostic: diagnosticIn(words, '') }, isDelay);
  const isStated = whole.diagnostic !== '' || isDelay;
  return { recipients, status: isStated ? whole.status : null, hard: whole.hard };
}

const noStatus: StatusGroup = { address: '', addresses: [], action: '', status: '', diagnostic: '' };

function recipientReports(message: MessageContent, words: string): readonly RecipientReport[] {
  const parties = [message.from?.address ?? '', ...message.fields('to').flatMap((to) => to.split(/[\s,<>]+/u))];
  const excluded = new Set(parties.map((one) => one.toLowerCase()));
  const named = recipientsIn(words, excluded);
  const own = statusGroups(message);
  // A report may wrap another one without any recipients of its own.
  const all = own.length > 0 || named.length > 0 ? own : groupsOf(message, (type) => type === 'message/rfc822');
  const groups = notDelivered(all).slice(0, recipientsMax);
  if (groups.length > 0)
    return withoutDuplicates(groups.map((group) => withWords(group, named, words, groups.length === 1)));
  const failed = failedRecipients(message);
  const fromHeader = failed.map((address) => recipientNamed(address, named, words));
  const namedAnywhere = failed.length > 0 ? fromHeader : named;
  const found = namedAnywhere.length > 0 ? namedAnywhere : otherRecipients(message, words);
  return withoutDuplicates(
    found.map(({ address, words: own, diagnostic }) => ({ ...noStatus, address, words: own, diagnostic })),
  );
}

/** The groups that failed or are delayed; all of them in a report on successful deliveries. */
function notDelivered(groups: readonly StatusGroup[]): readonly StatusGroup[] {
  const open = groups.filter(
    ({ action, status }) => !/^(?:deliver|relay|expand)/u.test(action) && !status.startsWith('2'),
  );
  return open.length > 0 ? open : groups;
}

function statusGroups(message: MessageContent): readonly StatusGroup[] {
  const notification = readSesNotification(message);
  if (notification !== null) return notification.groups;
  const groups = groupsOf(message, (type) => statusTypes.has(type));
  if (groups.length > 0 || !/-recipient:/iu.test(message.text.slice(0, 200_000))) return groups;
  return readStatusText(message.text);
}

function groupsOf(message: MessageContent, isWanted: (type: string) => boolean): readonly StatusGroup[] {
  return message.attachments.flatMap(({ type, content }) => (isWanted(type) ? readStatusPart(content) : []));
}

/** A group with the words of the text about its recipient, and with the address from there if the group has none. */
function withWords(
  group: StatusGroup,
  named: readonly NamedRecipient[],
  words: string,
  isOnly: boolean,
): RecipientReport {
  const match = named.find(({ address }) => group.addresses.some((one) => one.toLowerCase() === address.toLowerCase()));
  const only = isOnly && named.length === 1 ? named[0] : undefined;
  const address = isAddress(group.address) ? group.address : (only?.address ?? group.address);
  return { ...group, address, words: match?.words ?? only?.words ?? (isOnly ? words : '') };
}

function failedRecipients(message: MessageContent): readonly string[] {
  const named = message.fields('x-failed-recipients').flatMap((value) => value.slice(0, 10_000).split(/[\s,;<>]+/u));
  return named.filter(isAddress).slice(0, recipientsMax);
}

function recipientNamed(address: string, named: readonly NamedRecipient[], words: string): NamedRecipient {
  const same = named.find((one) => one.address.toLowerCase() === address.toLowerCase());
  return same ?? { address, words: words.slice(0, 4000), diagnostic: diagnosticIn(words.slice(0, 4000), address) };
}

function withoutDuplicates(all: readonly RecipientReport[]): readonly RecipientReport[] {
  const seen = new Set(['']);
  return all.filter(({ address }) => !seen.has(address.toLowerCase()) && seen.add(address.toLowerCase()));
}

// Recipients that the text does not name

/** Recipients from VERP, the only recipient of the original message, the subject, or local users of the server. */
function otherRecipients(message: MessageContent, words: string): readonly NamedRecipient[] {
  const address =
    verpAddress(message) ??
    originalRecipient(message) ??
    quotedRecipient(message.text.slice(words.length)) ??
    addressesIn(message.subject.slice(0, 1000))[0]?.address ??
    null;
  const domain = message.from?.address.split('@').at(-1) ?? '';
  const addresses = address === null ? localRecipientsIn(words, domain.toLowerCase()) : [address];
  return addresses.map((one) => recipientNamed(one, [], words));
}

/** VERP, the recipient encoded in the return path: `anything+local=domain@example.org`. */
function verpAddress(message: MessageContent): string | null {
  const to = firstField(message, 'to').slice(0, 1000);
  const [, local = '', domain = ''] = /[+-]([\w.]{1,64})=([\w-]{1,63}(?:\.[\w-]{1,63}){1,6})@/u.exec(to) ?? [];
  return local === '' ? null : `${local}@${domain}`;
}

function originalRecipient(message: MessageContent): string | null {
  const original = message.attachments.find(({ type }) => type === 'message/rfc822' || type === 'text/rfc822-headers');
  if (original === undefined) return null;
  const { headers } = splitMessage(original.content);
  // A message of a list is addressed to the list.
  if (firstRaw(headers, 'list-id') !== null || firstRaw(headers, 'list-post') !== null) return null;
  const to = unfold(firstRaw(headers, 'to') ?? '', null).slice(0, 1000);
  const bare = /<([^<>]{1,320})>/u.exec(to)?.[1] ?? to.trim();
  return isAddress(bare) && !to.includes(',') ? bare : null;
}

/** The recipient in the To field of an original message within the text. */
function quotedRecipient(text: string): string | null {
  const start = text.slice(0, 16_000);
  if (/\nList-(?:Id|Post):/iu.test(start)) return null;
  const field =
    /(?:^|\n)[ \t>|*]{0,8}To: {0,9}(?:[^\n<@]{0,100}<)?([^\s<>@,]{1,128}@[^\s<>@,]{1,255})>?[ \t\r]{0,9}(?:\n|$)/iu;
  return field.exec(start)?.[1] ?? null;
}

// Delays and outcomes

/** Words of a program that will try again. */
const delaySubject =
  /\bdelay|^\W{0,5}(?:mail delivery )?warning\b(?!.{0,80}user unknown)|still being retried|verzögert|retard|retras|atraso|ritardo|vertraagd|försen|forsink|opóźni|zpožd|задерж|遅延|延迟|延遲|지연/iu;
const delayText =
  /not yet been delivered|(?:has|have|been) (?:been )?(?:delayed|postponed)|warning (?:message )?only|do not need to resend|will (?:be retried|retry|keep trying|continue (?:to try|trying))|attempts will continue|still undelivered|will be retried|temporary problem delivering|delivery incomplete|wird weiter(?:hin)? versucht/iu;
/** Words of a program that has given up. */
const finalText =
  /permanent(?:ly)?\b|giv(?:en|ing) up|has been removed|could not be delivered for \d{1,3} (?:day|hour)|will be deleted/iu;

function saysDelay(subject: string, words: string): boolean {
  if (delaySubject.test(subject.slice(0, 300))) return !/user unknown|no such user/iu.test(words.slice(0, 2000));
  return delayText.test(words.slice(0, 4000)) && !finalText.test(words.slice(0, 4000));
}

function outcomeOf(recipient: RecipientReport, isReportOfDelay: boolean): BouncedRecipient {
  const isDelay = recipient.action === '' ? isReportOfDelay : recipient.action.startsWith('delay');
  const diagnostic = diagnosticOf(recipient);
  const said = serverStatus(diagnostic);
  const reason = reasonOf(diagnostic, recipient);
  const given = said !== '' && !isVague(said) ? said : clearerStatus(recipient.status, diagnostic) || said;
  const status = given || inferredStatus(reason, diagnostic || recipient.words, isDelay);
  const isAfterContent = /\bend of data\b|smtp command\s{0,4}data\b/iu.test(
    `${diagnostic} ${recipient.words}`.slice(0, 4000),
  );
  const isServerStatus = said !== '' && said === given;
  const evidence = { status: given || `${status[0]}.0.0`, isServerStatus, reason, isAfterContent };
  return { address: recipient.address, status, hard: !isDelay && isHard(evidence), diagnostic };
}

/** The diagnostic of the report, unless it is only an exit status; else that of the text. */
function diagnosticOf({ diagnostic, status, words, address }: RecipientReport): string {
  if (/\p{L}{2}/u.test(diagnostic)) return diagnostic;
  return (status === '' || isVague(status) ? diagnosticIn(words, address) : '') || diagnostic;
}

const isVague = (status: string) => status.endsWith('.0.0');

function reasonOf(diagnostic: string, { address, words }: RecipientReport): BounceReason | null {
  const without = (text: string) => (address === '' ? text : text.replaceAll(address, ' '));
  return reasonIn(without(diagnostic)) ?? reasonIn(without(words));
}

/** The status right after a reply code, which the refusing server sent (RFC 2034); it precedes the report's own. */
function serverStatus(diagnostic: string): string {
  const pairs = diagnostic.matchAll(/(?:^|[^\d.])([45])\d\d[- ][\s#'"(<]{0,4}([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)/gu);
  return pairs.find(([, code = '', status = '']) => status.startsWith(code))?.[2] ?? '';
}

/** The status of the report, or a more specific one in the diagnostic. */
function clearerStatus(status: string, diagnostic: string): string {
  if (status !== '' && !isVague(status)) return status;
  const said = statusIn(diagnostic);
  return said === '' || (status !== '' && said[0] !== status[0]) ? status : said;
}

/** A status made from the reply code and the reason; x.0.0 without either. */
function inferredStatus(reason: BounceReason | null, text: string, isDelay: boolean): string {
  const reply = /(?:^|[\s:'"(])([45])\d\d(?:[- :]|$)/u.exec(text.slice(0, 4000))?.[1];
  return `${isDelay ? '4' : (reply ?? '5')}.${reason?.detail ?? '0.0'}`;
}

// The message reported on

/** Parts that begin with the header of the original message, also under the types that some programs declare. */
const returnedTypes =
  /^(?:message\/(?:rfc822|rfc822-headers|global|global-headers|partial|feedback-report)|text\/(?:rfc822|rfc822-headers?|plain|x-[\w-]{1,40})|application\/octet-stream)$/u;
/** Parts that name it in a field of their own: RFC 8098 section 3.2.5, and some delivery reports. */
const namingTypes = /^message\/(?:disposition-notification|delivery-status)$/u;

const blockMax = 64_000;

/**
 * Message-ID, without brackets, of the message that a report is about; null where it is not stated. For delivery
 * reports, complaints (RFC 5965) and read receipts (RFC 8098): from the original message or its header as a part, an
 * SES notification, a header block inside the text, at last what the report replies to.
 */
export function reportedMessageId(message: MessageContent): string | null {
  return (
    inParts(message) ??
    readMessageId(readSesNotification(message)?.messageId ?? '') ??
    inText(message.text) ??
    inStatus(message) ??
    inAnswer(message)
  );
}

function inParts({ attachments }: MessageContent): string | null {
  for (const { type, content } of attachments) {
    const isNaming = namingTypes.test(type);
    if (!isNaming && !returnedTypes.test(type)) continue;
    const { headers, body } = splitMessage(content.subarray(0, blockMax));
    // A report inside a report: the original message is further inside.
    const isReport = /^\s*multipart\/report\b/iu.test(firstRaw(headers, 'content-type') ?? '');
    const id =
      (isReport ? inText(Buffer.from(body).toString('latin1')) : null) ??
      idIn(headers, isNaming ? 'original-message-id' : 'message-id');
    if (id !== null) return id;
  }
  return null;
}

function idIn(headers: readonly RawHeader[], name: string): string | null {
  const id = readMessageId(unfold(firstRaw(headers, name) ?? '', null));
  return id?.includes('@') === true ? id : null;
}

/** A Message-ID field in the text, possibly quoted or indented; its value may be on the next line. */
function inText(text: string): string | null {
  const [, value = ''] =
    /(?:^|\n)[ \t>|*]{0,20}(?:original[- ])?message[- ]id: {0,20}(?:\r?\n[ \t>|]{1,20})?([^\s<>]{0,10}<[^<>\n]{1,998}>|[^\s@<>]{1,300}@[^\s<>]{1,255})/iu.exec(
      text.slice(0, blockMax),
    ) ?? [];
  return value === '' ? null : readMessageId(value);
}

/** In a broken report the status part runs into the original message. */
function inStatus({ attachments }: MessageContent): string | null {
  const status = attachments.find(({ type }) => type === 'message/delivery-status');
  return status === undefined ? null : inText(Buffer.from(status.content.subarray(0, blockMax)).toString('latin1'));
}

function inAnswer(message: MessageContent): string | null {
  return (
    readMessageIds(firstField(message, 'in-reply-to').slice(0, blockMax))[0] ??
    readMessageIds(firstField(message, 'references').slice(-blockMax)).at(-1) ??
    null
  );
}

function firstField({ fields }: MessageContent, name: string): string {
  return fields(name)[0] ?? '';
}
