/**
 * Amazon SES notifications (bounces, complaints, deliveries), which arrive as JSON by mail through SNS.
 *
 * SNS may wrap the JSON as a string, append an explanation and break its lines. Any other text, and one above 200,000
 * characters, is null; never fails.
 */
import { isAddress } from './addresses.ts';
import { oneLine, type StatusGroup, statusIn } from './status.ts';

export type SesNotification = {
  readonly type: 'bounce' | 'complaint' | 'delivery';
  readonly groups: readonly StatusGroup[];
  /** True for a bounce of type Permanent. */
  readonly isPermanent: boolean;
  /** Message-ID field of the original message, as written; null where it is missing. */
  readonly messageId: string | null;
};

const lengthMax = 200_000;
const types: ReadonlyMap<string, SesNotification['type']> = new Map([
  ['Bounce', 'bounce'],
  ['Complaint', 'complaint'],
  ['Delivery', 'delivery'],
]);

type Json = Readonly<Record<string, unknown>>;

/** The notification in a text, or null. */
export function readSesNotification({ text }: { readonly text: string }): SesNotification | null {
  const start = /^\s{0,20}\{/u.test(text.slice(0, 32)) && text.length <= lengthMax;
  if (!start || !/"(?:notificationType|eventType|Message)\\?"\s{0,3}:/u.test(text)) return null;
  const outer = parse(text);
  const inner = typeof outer?.Message === 'string' ? parse(outer.Message) : outer;
  const type = types.get(String(inner?.notificationType ?? inner?.eventType));
  return inner === null || type === undefined ? null : read(type, inner);
}

function parse(text: string): Json | null {
  // Broken lines: "!", line end, blank
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
  const event = object(json[type]);
  const recipients = list(event.bouncedRecipients ?? event.complainedRecipients ?? event.recipients);
  return {
    type,
    groups: recipients
      .map((one) => statusGroupOf(one, text(event.smtpResponse)))
      .filter(({ address }) => isAddress(address)),
    isPermanent: text(event.bounceType) === 'Permanent',
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
