/**
 * Machine-readable delivery status: message/delivery-status (RFC 3464; internationalised, RFC 6533), also where a
 * broken report left it in the text, and the JSON notifications of Amazon SES.
 *
 * Groups of fields are separated by empty lines and by a second recipient field, since programs use both loosely. Lines
 * that are no known field are skipped. Bounded: 200,000 characters, 1,000 groups. Never fails.
 */

/** The fields of one recipient; empty text for missing ones. */
export type StatusGroup = {
  /** Original-Recipient, else Final-Recipient; may be no address at all. */
  readonly address: string;
  /** All addresses of the group, for reports that are wrong in one of them. */
  readonly addresses: readonly string[];
  /** First word of Action, lower case: failed, delayed, delivered, relayed, expanded (RFC 3464 section 2.3.3). */
  readonly action: string;
  /** Enhanced status code (RFC 3463), as `5.1.1`. */
  readonly status: string;
  readonly diagnostic: string;
};

const textMax = 200_000;
const groupsMax = 1000;
const fieldLine = /^[ \t]{0,3}([A-Za-z][A-Za-z-]{2,40}):[ \t]{0,10}(.*)$/u;
const statusCode = /(?:^|[^\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)/u;

type Fields = Map<string, string>;

export function readStatusPart(content: Uint8Array): readonly StatusGroup[] {
  const bytes = content.subarray(0, textMax);
  // Escape sequences mean ISO-2022-JP.
  return readStatusText(new TextDecoder(bytes.includes(0x1b) ? 'iso-2022-jp' : 'utf-8').decode(bytes));
}

/** The groups in a text, as of a report whose parts were not separated. */
export function readStatusText(text: string): readonly StatusGroup[] {
  const groups: StatusGroup[] = [];
  let fields: Fields = new Map();
  let last = '';
  const end = (): void => {
    if (groups.length < groupsMax && addressFields.some((name) => fields.has(name))) groups.push(groupOf(fields));
    fields = new Map();
    last = '';
  };
  for (const line of text.slice(0, textMax).split(/\r?\n/u)) {
    const [, name = '', value = ''] = fieldLine.exec(line) ?? [];
    const key = name.toLowerCase();
    if (line.trim() === '') end();
    else if (key !== '' && groupFields.has(key)) {
      if (addressFields.includes(key) && fields.has(key)) end();
      if (!fields.has(key)) fields.set(key, value.trim());
      last = key;
    } else if (/^[ \t]/u.test(line) && last !== '')
      fields.set(last, `${fields.get(last)} ${line.trim()}`.slice(0, 4000));
    else last = '';
  }
  end();
  return groups;
}

const addressFields = ['original-recipient', 'final-recipient', 'x-actual-recipient'];
const groupFields: ReadonlySet<string> = new Set([...addressFields, 'action', 'status', 'diagnostic-code']);

function groupOf(fields: Fields): StatusGroup {
  const addresses = addressFields
    .map((name) => readAddress(fields.get(name) ?? ''))
    .filter((address) => address !== '');
  const diagnostic = fields.get('diagnostic-code') ?? '';
  return {
    address: addresses.find(isAddress) ?? addresses[0] ?? '',
    addresses,
    action: /^[a-z]{1,20}/u.exec((fields.get('action') ?? '').toLowerCase())?.[0] ?? '',
    status: statusIn(fields.get('status') ?? ''),
    // Without its type, as `smtp;` or `x-unix;`
    diagnostic: oneLine(diagnostic.replace(/^[\w.-]{1,40}\s{0,5};/u, '')),
  };
}

/** An address without its type, brackets and source route (RFC 5321 appendix C); `\x{..}` is decoded (RFC 6533). */
function readAddress(value: string): string {
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

/** The first status code of RFC 3463 in a text, or the empty string. */
export function statusIn(text: string): string {
  return statusCode.exec(text)?.[1] ?? '';
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

/** True for `local@domain`, whatever the two parts are. */
export function isAddress(text: string): boolean {
  return /^[^\s<>]{1,256}@[^\s<>@]{1,255}$/u.test(text);
}

// Amazon SES notifications (bounces, complaints, deliveries), which arrive as JSON through SNS: it may wrap the JSON as
// a string, append an explanation and break its lines

type SesNotification = {
  readonly type: 'bounce' | 'complaint' | 'delivery';
  readonly groups: readonly StatusGroup[];
  /** Message-ID field of the original message, as written; null where it is missing. */
  readonly messageId: string | null;
};

const sesTypes: ReadonlyMap<string, SesNotification['type']> = new Map([
  ['Bounce', 'bounce'],
  ['Complaint', 'complaint'],
  ['Delivery', 'delivery'],
]);

type Json = Readonly<Record<string, unknown>>;

export function readSesNotification({ text }: { readonly text: string }): SesNotification | null {
  const start = /^\s{0,20}\{/u.test(text.slice(0, 32)) && text.length <= textMax;
  if (!start || !/"(?:notificationType|eventType|Message)\\?"\s{0,3}:/u.test(text)) return null;
  const outer = parseJson(text);
  const inner = typeof outer?.Message === 'string' ? parseJson(outer.Message) : outer;
  const type = sesTypes.get(String(inner?.notificationType ?? inner?.eventType));
  return inner === null || type === undefined ? null : readSesEvent(type, inner);
}

function parseJson(text: string): Json | null {
  // Broken lines: "!", line end, blank
  const whole = text.slice(0, text.lastIndexOf('}') + 1).replace(/!\r?\n ?/gu, '');
  const footer = whole.indexOf('\n--\n');
  const body = footer < 0 ? whole : whole.slice(0, whole.lastIndexOf('}', footer) + 1);
  for (const candidate of [whole, body, whole.replace(/\r?\n ?/gu, '')]) {
    try {
      const value: unknown = JSON.parse(candidate);
      if (isObject(value)) return value;
    } catch (error) {
      if (!(error instanceof SyntaxError)) throw error;
    }
  }
  return null;
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

const text = (value: unknown) => (typeof value === 'string' ? value : '');
const list = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value.slice(0, 1000) : []);
const object = (value: unknown): Json => (isObject(value) ? value : {});

function readSesEvent(type: SesNotification['type'], json: Json): SesNotification {
  const event = object(json[type]);
  const recipients = list(event.bouncedRecipients ?? event.complainedRecipients ?? event.recipients);
  return {
    type,
    groups: recipients
      .map((one) => statusGroupOf(one, text(event.smtpResponse)))
      .filter(({ address }) => isAddress(address)),
    messageId: messageIdOf(object(json.mail)),
  };
}

function statusGroupOf(one: unknown, response: string): StatusGroup {
  const address = typeof one === 'string' ? one : text(object(one).emailAddress);
  const diagnostic = text(object(one).diagnosticCode) || response;
  return {
    address,
    addresses: [address],
    action: text(object(one).action).toLowerCase() || (response === '' ? '' : 'delivered'),
    status: statusIn(text(object(one).status)) || statusIn(response),
    diagnostic: oneLine(diagnostic.replace(/^[\w-]{1,20};/u, '')),
  };
}

function messageIdOf(mail: Json): string | null {
  const common = text(object(mail.commonHeaders).messageId);
  const header = list(mail.headers)
    .map(object)
    .find(({ name }) => text(name).toLowerCase() === 'message-id');
  return text(header?.value) || common || null;
}
