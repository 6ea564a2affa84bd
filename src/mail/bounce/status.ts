/**
 * Reads the machine's part of a delivery report: message/delivery-status (RFC 3464) and its internationalised form
 * (RFC 6533), also where a broken report left it in the text.
 *
 * Groups of fields are told apart by empty lines and by a second address, since both are used loosely. What is no
 * field is skipped; it never fails.
 */

/** What one group of fields says of one recipient; empty text where it does not say. */
export type StatusGroup = {
  /** The address that the sender wrote where the report tells, else the final one; may be no address at all. */
  readonly address: string;
  /** Every address that the group names, for reports that are wrong in one of them. */
  readonly addresses: readonly string[];
  /** First word of Action, lower case: failed, delayed, delivered, relayed, expanded (RFC 3464 section 2.3.3). */
  readonly action: string;
  /** As `5.1.1`, or empty. */
  readonly status: string;
  readonly diagnostic: string;
  /** The type of the diagnostic code, as `smtp`, `x-unix`. */
  readonly diagnosticType: string;
};

const textMax = 200_000;
const groupsMax = 1000;
const fieldLine = /^[ \t]{0,3}([A-Za-z][A-Za-z-]{2,40}):[ \t]{0,10}(.*)$/u;
const statusCode = /(?:^|[^\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)/u;

type Fields = Map<string, string>;

/** The groups of one delivery-status part, in its order. */
export function readStatusPart(content: Uint8Array): readonly StatusGroup[] {
  return readStatusText(decode(content.subarray(0, textMax)));
}

/** The groups that stand in a text, as of a report whose parts were not told apart. */
export function readStatusText(text: string): readonly StatusGroup[] {
  const groups: StatusGroup[] = [];
  let fields: Fields = new Map();
  let last = '';
  const end = (): void => {
    if (groups.length < groupsMax && isGroup(fields)) groups.push(toGroup(fields));
    fields = new Map();
    last = '';
  };
  for (const line of text.slice(0, textMax).split(/\r?\n/u)) {
    const [, name = '', value = ''] = fieldLine.exec(line) ?? [];
    const key = name.toLowerCase();
    if (line.trim() === '') end();
    else if (key !== '' && groupFields.has(key)) {
      if (startsAnother(key, fields)) end();
      if (!fields.has(key)) fields.set(key, value.trim());
      last = key;
    } else if (/^[ \t]/u.test(line) && last !== '')
      fields.set(last, `${fields.get(last)} ${line.trim()}`.slice(0, 4000));
    else last = '';
  }
  end();
  return groups;
}

const groupFields: ReadonlySet<string> = new Set([
  'original-recipient',
  'final-recipient',
  'x-actual-recipient',
  'action',
  'status',
  'diagnostic-code',
]);

function startsAnother(key: string, fields: Fields): boolean {
  return key.endsWith('-recipient') && fields.has(key);
}

function isGroup(fields: Fields): boolean {
  return ['final-recipient', 'original-recipient', 'x-actual-recipient'].some((name) => fields.has(name));
}

function toGroup(fields: Fields): StatusGroup {
  const addresses = ['original-recipient', 'final-recipient', 'x-actual-recipient']
    .map((name) => readTyped(fields.get(name) ?? ''))
    .filter((address) => address !== '');
  const [, diagnosticType = '', said = ''] =
    /^([\w.-]{1,40})\s{0,5};(.*)$/su.exec(fields.get('diagnostic-code') ?? '') ?? [];
  return {
    address: addresses.find(isAddress) ?? addresses[0] ?? '',
    addresses,
    action: /^[a-z]{1,20}/u.exec((fields.get('action') ?? '').toLowerCase())?.[0] ?? '',
    status: statusCode.exec(fields.get('status') ?? '')?.[1] ?? '',
    diagnostic: oneLine(diagnosticType === '' ? (fields.get('diagnostic-code') ?? '') : said),
    diagnosticType: diagnosticType.toLowerCase(),
  };
}

/** An address without its type, brackets and source route (RFC 5321 appendix C); `\x{..}` is decoded (RFC 6533). */
function readTyped(value: string): string {
  const typed = value.slice(0, 1000).replace(/^\s*[\w-]{1,20}\s{0,5};/u, '');
  const bare = /<([^<>]{1,500})>/u.exec(typed)?.[1] ?? typed;
  return bare
    .replace(/\s*\([^()]*\)\s*$/u, '')
    .replace(/\\x\{([0-9a-f]{1,6})\}/giu, (coded, digits: string) => characterOf(digits) ?? coded)
    .trim()
    .replace(/^@[\w.,@-]{1,255}:(?=.*@)/u, '')
    .replace(/^(?:smtp|mailto)[:=]/iu, '')
    .replace(/^'([^']*)'$/u, '$1');
}

function characterOf(digits: string): string | null {
  const code = Number.parseInt(digits, 16);
  return code > 0x1f && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff) ? String.fromCodePoint(code) : null;
}

/** White space collapsed, control characters left out, at most 1000 characters. */
export function oneLine(text: string): string {
  return text
    .slice(0, 4000)
    .replace(/\s+/gu, ' ')
    .replace(/[\u0000-\u001f\u007f-\u009f]/gu, '')
    .trim()
    .slice(0, 1000)
    .toWellFormed();
}

/** UTF-8, or ISO-2022-JP by its escape sequences. */
function decode(content: Uint8Array): string {
  const charset = content.includes(0x1b) ? 'iso-2022-jp' : 'utf-8';
  return new TextDecoder(charset).decode(content);
}

/** The first status code of RFC 3463 in a text, or the empty string. */
export function statusIn(text: string): string {
  return statusCode.exec(text)?.[1] ?? '';
}

/**
 * Finds mail addresses in prose, as people and servers write them; nothing here is a full RFC 5321 parser.
 *
 * Walks outwards from each @, so that its cost grows with the text and no more; a local part is at most 128 characters.
 */

const localMax = 128;
const domainMax = 255;
/** Letters beyond ASCII (RFC 6531) are taken of scripts that part their words, so that no sentence is swallowed. */
const localPart = /[\w!#$%&'*+/=?^`{|}~.\u00c0-\u024f\u0370-\u052f-]/u;
const domainPart = /[\w.\u00c0-\u024f\u0370-\u052f-]/u;

/** An address and where in the text it stands. */
export type AddressMatch = { readonly address: string; readonly start: number; readonly end: number };

/** Every address of a text, in its order. */
export function addressesIn(text: string): readonly AddressMatch[] {
  const found: AddressMatch[] = [];
  for (let at = text.indexOf('@'); at >= 0; at = text.indexOf('@', at + 1)) {
    const start = localStart(text, at);
    const end = domainEnd(text, at + 1);
    const address = text.slice(start, end);
    if (start < at && /@[^@]*[^@.]$/u.test(address) && end > at + 1) found.push({ address, start, end });
  }
  return found;
}

function localStart(text: string, at: number): number {
  const quote = text[at - 1] === '"' ? text.lastIndexOf('"', at - 2) : -1;
  if (quote >= 0 && at - quote <= localMax && !text.slice(quote, at).includes('\n')) return quote;
  let start = at;
  while (start > 0 && at - start < localMax && localPart.test(text[start - 1] ?? '')) start -= 1;
  // Quotation marks and markup around an address are none of it.
  while (start < at && /['`*=|{}/&~]/u.test(text[start] ?? '') && !text.startsWith('=?', start)) start += 1;
  return start;
}

function domainEnd(text: string, from: number): number {
  let end = from;
  while (end < text.length && end - from < domainMax && domainPart.test(text[end] ?? '')) end += 1;
  while (end > from && /[.\-_]/u.test(text[end - 1] ?? '')) end -= 1;
  return end;
}

/** True for `local@domain`, whatever the parts. */
export function isAddress(text: string): boolean {
  return /^[^\s<>]{1,256}@[^\s<>@]{1,255}$/u.test(text);
}

/**
 * Reads the JSON that Amazon SES sends by mail (through SNS) instead of reports: bounces, complaints, deliveries.
 *
 * SNS may wrap it as a string, add an explanation after it and break its lines. What is no such JSON, or larger than
 * 200,000 characters, is not for this reader.
 */

export type SesNotification = {
  readonly type: 'bounce' | 'complaint' | 'delivery';
  readonly groups: readonly StatusGroup[];
  /** True for a bounce that SES calls permanent. */
  readonly isPermanent: boolean;
  /** Message-ID field of the mail that it is about, as written; null where it is not told. */
  readonly messageId: string | null;
};

const lengthMax = 200_000;
const types: ReadonlyMap<string, SesNotification['type']> = new Map([
  ['Bounce', 'bounce'],
  ['Complaint', 'complaint'],
  ['Delivery', 'delivery'],
]);

type Json = Readonly<Record<string, unknown>>;

/** The notification that a text holds, or null. */
export function readSesNotification({ text }: { readonly text: string }): SesNotification | null {
  const start = /^\s{0,20}\{/u.test(text.slice(0, 32)) && text.length <= lengthMax;
  if (!start || !/"(?:notificationType|eventType|Message)\\?"\s{0,3}:/u.test(text)) return null;
  const outer = parse(text);
  const inner = typeof outer?.Message === 'string' ? parse(outer.Message) : outer;
  const type = types.get(String(inner?.notificationType ?? inner?.eventType));
  return inner === null || type === undefined ? null : read(type, inner);
}

function parse(text: string): Json | null {
  // Lines broken in the middle: "!", line end, blank
  const whole = text.slice(0, text.lastIndexOf('}') + 1).replace(/!\r?\n ?/gu, '');
  for (const candidate of [whole, whole.slice(0, lastBefore(whole, '\n--\n')), whole.replace(/\r?\n ?/gu, '')]) {
    try {
      const value: unknown = JSON.parse(candidate);
      if (isObject(value)) return value;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return null;
}

function lastBefore(text: string, mark: string): number {
  const at = text.indexOf(mark);
  return at < 0 ? text.length : text.lastIndexOf('}', at) + 1;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const text = (value: unknown) => (typeof value === 'string' ? value : '');
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value.slice(0, 1000) : []);
const object = (value: unknown): Json => (isObject(value) ? value : {});

function read(type: SesNotification['type'], json: Json): SesNotification {
  const about = object(json[type]);
  const told = list(about.bouncedRecipients ?? about.complainedRecipients ?? about.recipients);
  return {
    type,
    groups: told
      .map((one) => notificationToGroup(one, text(about.smtpResponse)))
      .filter(({ address }) => isAddress(address)),
    isPermanent: text(about.bounceType) === 'Permanent',
    messageId: messageIdOf(object(json.mail)),
  };
}

function notificationToGroup(one: unknown, response: string): StatusGroup {
  const address = typeof one === 'string' ? one : text(object(one).emailAddress);
  const diagnostic = text(object(one).diagnosticCode) || response;
  return {
    address,
    addresses: [address],
    action: text(object(one).action).toLowerCase() || (response === '' ? '' : 'delivered'),
    status: statusIn(text(object(one).status)) || statusIn(response),
    diagnostic: oneLine(diagnostic.replace(/^[\w-]{1,20};/u, '')),
    diagnosticType: 'smtp',
  };
}

function messageIdOf(mail: Json): string | null {
  const common = text(object(mail.commonHeaders).messageId);
  const header = list(mail.headers)
    .map(object)
    .find(({ name }) => text(name).toLowerCase() === 'message-id');
  return text(header?.value) || common || null;
}
