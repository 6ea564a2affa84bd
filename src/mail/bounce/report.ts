/**
 * Delivery reports (RFC 3464, RFC 6522): recipients that the message did not reach, status, diagnostic, and the Message-ID
 * of the message reported on.
 *
 * Sources of recipients, in order: the machine-readable part, Amazon SES notifications, X-Failed-Recipients, the prose, the
 * return path of the original message (VERP), the original message itself. Without any of them there are none. Bounded: 200
 * recipients. Never fails.
 */
import type { Bounce, BouncedRecipient, MessageContent } from '../message.ts';
import { firstRaw, type RawHeader, splitMessage, unfold } from '../mime/headers.ts';
import { readMessageId, readMessageIds } from '../mime/structured-fields.ts';
import { addressesIn, isAddress } from './addresses.ts';
import { diagnosticIn, localRecipientsIn, type NamedRecipient, recipientsIn, reportWords } from './prose.ts';
import { type BounceReason, isHard, reasonIn } from './reasons.ts';
import { readSesNotification } from './ses.ts';
import { readStatusPart, readStatusText, type StatusGroup, statusIn } from './status.ts';

/** RFC 3464 and RFC 6533. */
const statusTypes: ReadonlySet<string> = new Set(['message/delivery-status', 'message/global-delivery-status']);

/** Reports name fewer. */
const recipientsMax = 200;

/** What is known of one recipient before it is judged. */
type RecipientReport = StatusGroup & { readonly words: string };

/** Reads a mail that is known to be a delivery report. */
export function readBounce(message: MessageContent): Bounce {
  const words = reportWords(message.text);
  const isDelay = saysDelay(message.subject, words);
  const recipients = knownRecipients(message, words).map((known) => judge(known, isDelay));
  const failed = recipients.find(({ hard }) => hard) ?? recipients[0];
  if (failed !== undefined) return { recipients, status: failed.status, hard: failed.hard };
  const alone = judge({ ...noStatus, words, diagnostic: diagnosticIn(words, '') }, isDelay);
  const isKnown = alone.diagnostic !== '' || isDelay;
  return { recipients, status: isKnown ? alone.status : null, hard: alone.hard };
}

const noStatus: StatusGroup = {
  address: '',
  addresses: [],
  action: '',
  status: '',
  diagnostic: '',
  diagnosticType: '',
};

function knownRecipients(message: MessageContent, words: string): readonly RecipientReport[] {
  const strangers = new Set(
    [message.from?.address ?? '', ...message.fields('to').flatMap((to) => to.split(/[\s,<>]+/u))].map((one) =>
      one.toLowerCase(),
    ),
  );
  const told = recipientsIn(words, strangers);
  const own = statusGroups(message);
  // A report may wrap another one and say nothing itself.
  const all = own.length > 0 || told.length > 0 ? own : groupsOf(message, (type) => type === 'message/rfc822');
  const groups = notDelivered(all).slice(0, recipientsMax);
  if (groups.length > 0) return once(groups.map((group) => withWords(group, told, words, groups.length === 1)));
  const failed = failedRecipients(message);
  const named = failed.length > 0 ? failed.map((address) => toldOf(address, told, words)) : told;
  const found = named.length > 0 ? named : fallback(message, words);
  return once(found.map(({ address, words: own, diagnostic }) => ({ ...noStatus, address, words: own, diagnostic })));
}

/** A report on deliveries that went well names noStatus else. */
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

/** Words of the text about a recipient of the machine's part, and its address from there where the part has none. */
function withWords(
  group: StatusGroup,
  told: readonly NamedRecipient[],
  words: string,
  isOnly: boolean,
): RecipientReport {
  const named = told.find(({ address }) => group.addresses.some((one) => one.toLowerCase() === address.toLowerCase()));
  const only = isOnly && told.length === 1 ? told[0] : undefined;
  const address = isAddress(group.address) ? group.address : (only?.address ?? group.address);
  return { ...group, address, words: named?.words ?? only?.words ?? (isOnly ? words : '') };
}

function failedRecipients(message: MessageContent): readonly string[] {
  const named = message.fields('x-failed-recipients').flatMap((value) => value.slice(0, 10_000).split(/[\s,;<>]+/u));
  return named.filter(isAddress).slice(0, recipientsMax);
}

function toldOf(address: string, told: readonly NamedRecipient[], words: string): NamedRecipient {
  const same = told.find((one) => one.address.toLowerCase() === address.toLowerCase());
  return same ?? { address, words: words.slice(0, 4000), diagnostic: diagnosticIn(words.slice(0, 4000), address) };
}

function once(all: readonly RecipientReport[]): readonly RecipientReport[] {
  const seen = new Map<string, RecipientReport>();
  for (const known of all) {
    const key = known.address.toLowerCase();
    if (known.address !== '' && !seen.has(key)) seen.set(key, known);
  }
  return [...seen.values()];
}

// Recipients that the text does not name

/** Without an address in the text: VERP, the one recipient of the mail that came back, the subject, users of the server. */
function fallback(message: MessageContent, words: string): readonly NamedRecipient[] {
  const address =
    verpAddress(message) ??
    originalRecipient(message) ??
    quotedRecipient(message.text.slice(words.length)) ??
    addressesIn(message.subject.slice(0, 1000))[0]?.address ??
    null;
  const domain = message.from?.address.split('@').at(-1) ?? '';
  const addresses = address === null ? localRecipientsIn(words, domain.toLowerCase()) : [address];
  return addresses.map((one) => toldOf(one, [], words));
}

/** `anything+local=domain@ours`: the recipient inside the return path. */
function verpAddress(message: MessageContent): string | null {
  const to = firstField(message, 'to').slice(0, 1000);
  const [, local = '', domain = ''] = /[+-]([\w.]{1,64})=([\w-]{1,63}(?:\.[\w-]{1,63}){1,6})@/u.exec(to) ?? [];
  return local === '' ? null : `${local}@${domain}`;
}

function originalRecipient(message: MessageContent): string | null {
  const original = message.attachments.find(({ type }) => type === 'message/rfc822' || type === 'text/rfc822-headers');
  if (original === undefined) return null;
  const { headers } = splitMessage(original.content);
  // A list's mail is addressed to the list.
  if (firstRaw(headers, 'list-id') !== null || firstRaw(headers, 'list-post') !== null) return null;
  const to = unfold(firstRaw(headers, 'to') ?? '', null).slice(0, 1000);
  const bare = /<([^<>]{1,320})>/u.exec(to)?.[1] ?? to.trim();
  return isAddress(bare) && !to.includes(',') ? bare : null;
}

/** The To field of a mail that came back inside the text. */
function quotedRecipient(text: string): string | null {
  const start = text.slice(0, 16_000);
  if (/\nList-(?:Id|Post):/iu.test(start)) return null;
  const field =
    /(?:^|\n)[ \t>|*]{0,8}To: {0,9}(?:[^\n<@]{0,100}<)?([^\s<>@,]{1,128}@[^\s<>@,]{1,255})>?[ \t\r]{0,9}(?:\n|$)/iu;
  return field.exec(start)?.[1] ?? null;
}

// Delays and outcomes

/** The words of a program that has not given up. */
const delaySubject =
  /\bdelay|^\W{0,5}(?:mail delivery )?warning\b(?!.{0,80}user unknown)|still being retried|verzögert|retard|retras|atraso|ritardo|vertraagd|försen|forsink|opóźni|zpožd|задерж|遅延|延迟|延遲|지연/iu;
const delayText =
  /not yet been delivered|(?:has|have|been) (?:been )?(?:delayed|postponed)|warning (?:message )?only|do not need to resend|will (?:be retried|retry|keep trying|continue (?:to try|trying))|attempts will continue|still undelivered|will be retried|temporary problem delivering|delivery incomplete|wird weiter(?:hin)? versucht/iu;
/** And of one that has. */
const finalText =
  /permanent(?:ly)?\b|giv(?:en|ing) up|has been removed|could not be delivered for \d{1,3} (?:day|hour)|will be deleted/iu;

function saysDelay(subject: string, words: string): boolean {
  if (delaySubject.test(subject.slice(0, 300))) return !/user unknown|no such user/iu.test(words.slice(0, 2000));
  return delayText.test(words.slice(0, 4000)) && !finalText.test(words.slice(0, 4000));
}

/** Status, cause and outlook of one recipient. */
function judge(known: RecipientReport, saidDelay: boolean): BouncedRecipient {
  const isDelay = known.action === '' ? saidDelay : known.action.startsWith('delay');
  const diagnostic = diagnosticOf(known);
  const spoken = spokenStatus(diagnostic);
  const reason = reasonOf(diagnostic, known);
  const given = spoken !== '' && !isVague(spoken) ? spoken : told(known.status, diagnostic) || spoken;
  const status = given || inferred(reason, diagnostic || known.words, isDelay);
  const isAfterContent = /\bend of data\b|smtp command\s{0,4}data\b/iu.test(
    `${diagnostic} ${known.words}`.slice(0, 4000),
  );
  const isSpoken = spoken !== '' && spoken === given;
  const verdict = { status: given || `${status[0]}.0.0`, isSpoken, reason, isAfterContent };
  return { address: known.address, status, hard: !isDelay && isHard(verdict), diagnostic };
}

/** What the report gives, unless it is only the number with which a program ended; else what the text says. */
function diagnosticOf({ diagnostic, status, words, address }: RecipientReport): string {
  if (/\p{L}{2}/u.test(diagnostic)) return diagnostic;
  return (status === '' || isVague(status) ? diagnosticIn(words, address) : '') || diagnostic;
}

const isVague = (status: string) => status.endsWith('.0.0');

function reasonOf(diagnostic: string, { address, words }: RecipientReport): BounceReason | null {
  const without = (text: string) => (address === '' ? text : text.replaceAll(address, ' '));
  return reasonIn(without(diagnostic)) ?? reasonIn(without(words));
}

/** A status right after a reply code is the other server's own (RFC 2034); it counts before the reporting server's. */
function spokenStatus(diagnostic: string): string {
  const pairs = diagnostic.matchAll(/(?:^|[^\d.])([45])\d\d[- ][\s#'"(<]{0,4}([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)/gu);
  return pairs.find(([, code = '', status = '']) => status.startsWith(code))?.[2] ?? '';
}

/** The status of the report, or a more telling one of the diagnostic. */
function told(status: string, diagnostic: string): string {
  if (status !== '' && !isVague(status)) return status;
  const said = statusIn(diagnostic);
  return said === '' || (status !== '' && said[0] !== status[0]) ? status : said;
}

/** From the reply code, the reason, or that it failed at all. */
function inferred(reason: BounceReason | null, text: string, isDelay: boolean): string {
  const reply = /(?:^|[\s:'"(])([45])\d\d(?:[- :]|$)/u.exec(text.slice(0, 4000))?.[1];
  return `${isDelay ? '4' : (reply ?? '5')}.${reason?.detail ?? '0.0'}`;
}

// The message reported on

/** Parts that begin with the header block of the mail that is reported on, and how its id is called there. */
const returnedTypes: ReadonlyMap<string, string> = new Map([
  ['message/rfc822', 'message-id'],
  ['message/rfc822-headers', 'message-id'],
  ['text/rfc822-headers', 'message-id'],
  ['text/rfc822-header', 'message-id'],
  ['text/rfc822', 'message-id'],
  ['message/global', 'message-id'],
  ['message/global-headers', 'message-id'],
  ['message/partial', 'message-id'],
  // RFC 8098 section 3.2.5
  ['message/disposition-notification', 'original-message-id'],
  // RFC 6591 section 3.1
  ['message/feedback-report', 'message-id'],
  ['message/delivery-status', 'original-message-id'],
]);
/** Parts that hold it though they say something else. */
const looseTypes = /^(?:text\/plain|application\/octet-stream|text\/x-[\w-]{1,40})$/u;

const blockMax = 64_000;

/** Message-ID without brackets of the mail that a report is about, or null. */
export function reportedMessageId(message: MessageContent): string | null {
  return inParts(message) ?? inNotification(message) ?? inText(message.text) ?? inStatus(message) ?? inAnswer(message);
}

function inParts({ attachments }: MessageContent): string | null {
  for (const { type, content } of attachments) {
    const name = returnedTypes.get(type) ?? (looseTypes.test(type) ? 'message-id' : null);
    if (name === null) continue;
    const { headers, body } = splitMessage(content.subarray(0, blockMax));
    // A report inside a report: the mail that it is about is further inside.
    const isReport = /^\s*multipart\/report\b/iu.test(firstRaw(headers, 'content-type') ?? '');
    const id = (isReport ? inText(Buffer.from(body).toString('latin1')) : null) ?? idIn(headers, name);
    if (id !== null) return id;
  }
  return null;
}

function idIn(headers: readonly RawHeader[], name: string): string | null {
  const id = readMessageId(unfold(firstRaw(headers, name) ?? '', null));
  return id?.includes('@') === true ? id : null;
}

function inNotification(message: MessageContent): string | null {
  return readMessageId(readSesNotification(message)?.messageId ?? '');
}

/** A header block in the text, quoted and indented as it may be; its value may stand on the next line. */
function inText(text: string): string | null {
  const [, value = ''] =
    /(?:^|\n)[ \t>|*]{0,20}(?:original[- ])?message[- ]id: {0,20}(?:\r?\n[ \t>|]{1,20})?([^\s<>]{0,10}<[^<>\n]{1,998}>|[^\s@<>]{1,300}@[^\s<>]{1,255})/iu.exec(
      text.slice(0, blockMax),
    ) ?? [];
  return value === '' ? null : readMessageId(value);
}

/** A part of a broken report that ran into the next. */
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
