/**
 * Machine-readable delivery status (message/delivery-status, RFC 3464; internationalised, RFC 6533), also where a
 * broken report left it in the text.
 *
 * Groups of fields are separated by empty lines and by a second recipient field, since programs use both loosely. Lines
 * that are no known field are skipped. Bounded: 200,000 characters, 1,000 groups. Never fails.
 */
import { isAddress } from './addresses.ts';

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
  /** The type of the diagnostic code, as `smtp`, `x-unix`. */
  readonly diagnosticType: string;
};

const textMax = 200_000;
const groupsMax = 1000;
const fieldLine = /^[ \t]{0,3}([A-Za-z][A-Za-z-]{2,40}):[ \t]{0,10}(.*)$/u;
const statusCode = /(?:^|[^\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.]*\d)/u;

type Fields = Map<string, string>;

/** The groups of one delivery-status part, in order. */
export function readStatusPart(content: Uint8Array): readonly StatusGroup[] {
  return readStatusText(decodeText(content.subarray(0, textMax)));
}

/** UTF-8, or ISO-2022-JP by its escape sequences. */
function decodeText(content: Uint8Array): string {
  const charset = content.includes(0x1b) ? 'iso-2022-jp' : 'utf-8';
  return new TextDecoder(charset).decode(content);
}

/** The groups in a text, as of a report whose parts were not separated. */
export function readStatusText(text: string): readonly StatusGroup[] {
  const groups: StatusGroup[] = [];
  let fields: Fields = new Map();
  let last = '';
  const end = (): void => {
    if (groups.length < groupsMax && isGroup(fields)) groups.push(groupOf(fields));
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

function groupOf(fields: Fields): StatusGroup {
  const addresses = ['original-recipient', 'final-recipient', 'x-actual-recipient']
    .map((name) => readAddress(fields.get(name) ?? ''))
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
