/**
 * Reads a form (`application/x-www-form-urlencoded`, URL standard section 5) out of bytes.
 *
 * The password is taken out as bytes and never becomes a string; everything else must be UTF-8 without control characters.
 * What is not such a form is refused as a whole: a name twice, a name that no form of ours could have, more than 50 fields, a
 * percent sign without two hex digits. The bytes are wiped, whatever becomes of them.
 */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { SecretBytes } from '../../../secret/secret-bytes.ts';

export type SubmittedForm = {
  /** Every field but the password. */
  readonly fields: ReadonlyMap<string, string>;
  readonly password: SecretBytes | null;
};

const fieldsMax = 50;
const ampersand = 0x26;
const equals = 0x3d;
const percent = 0x25;
const plus = 0x2b;

/** null: it is no form. Wipes `body`. */
export function readForm(body: Uint8Array): SubmittedForm | null {
  const texts = new Map<string, string>();
  const passwords: SecretBytes[] = [];
  const fields = [...split(body, ampersand)].filter((field) => field.length > 0);
  const isForm = fields.length <= fieldsMax && fields.every((field) => takeField(field, texts, passwords));
  body.fill(0);
  if (isForm && passwords.length <= 1) return { fields: texts, password: passwords[0] ?? null };
  for (const password of passwords) password.wipe();
  return null;
}

/** False: it is none, or one of a name that was there before. */
function takeField(field: Uint8Array, texts: Map<string, string>, passwords: SecretBytes[]): boolean {
  const at = field.indexOf(equals);
  const end = at < 0 ? field.length : at;
  const name = textOf(field.subarray(0, end));
  if (name === null || !/^[a-z_]{1,40}$/.test(name) || texts.has(name)) return false;
  const value = field.subarray(end + 1);
  if (name === 'password') {
    const decoded = percentDecoded(value);
    if (decoded !== null) passwords.push(SecretBytes.take(decoded));
    return decoded !== null;
  }
  const text = textOf(value);
  if (text === null || /[\u0000-\u001f\u007f]/.test(text)) return false;
  texts.set(name, text);
  return true;
}

function* split(bytes: Uint8Array, separator: number): Generator<Uint8Array> {
  let start = 0;
  for (let end = bytes.indexOf(separator); end >= 0; end = bytes.indexOf(separator, start)) {
    yield bytes.subarray(start, end);
    start = end + 1;
  }
  yield bytes.subarray(start);
}

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function textOf(bytes: Uint8Array): string | null {
  const decoded = percentDecoded(bytes);
  if (decoded === null) return null;
  try {
    return utf8.decode(decoded);
  } catch {
    return null;
  }
}

/** In place, so that there is no second copy to wipe; null: a percent sign that begins nothing. */
function percentDecoded(bytes: Uint8Array): Uint8Array | null {
  let length = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    if (byte !== percent) {
      bytes[length] = byte === plus ? 0x20 : byte;
    } else {
      const high = hexDigit(bytes[at + 1]);
      const low = hexDigit(bytes[at + 2]);
      if (high < 0 || low < 0) return null;
      bytes[length] = high * 16 + low;
      at += 2;
    }
    length += 1;
  }
  return bytes.subarray(0, length);
}

function hexDigit(byte = 0): number {
  if (byte >= 0x30 && byte <= 0x39) return byte - 0x30;
  const letter = byte | 0x20;
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x61 + 10 : -1;
}

/**
 * The two cookies, and the token that a form must carry.
 *
 * Over https their names begin with `__Host-`: then no other host, and nobody on a connection in clear, can set them
 * (RFC 6265bis section 4.1.3.2), which asks for the path `/`. Before sign-in the form carries the hash of a random cookie:
 * who sends it has seen our page in this browser.
 */

export type CookieSettings = {
  /** Of who is signed in, and of a browser that has seen the sign-in page. */
  readonly session: string;
  readonly visitor: string;
  readonly attributes: {
    readonly path: string;
    readonly httpOnly: true;
    readonly sameSite: 'strict';
    readonly secure: boolean;
  };
};

export function cookieSettings(isSecure: boolean): CookieSettings {
  const prefix = isSecure ? '__Host-' : '';
  const attributes = { path: isSecure ? '/' : '/admin', httpOnly: true, sameSite: 'strict', secure: isSecure } as const;
  return { session: `${prefix}ticketmaild`, visitor: `${prefix}ticketmaild-visitor`, attributes };
}

/** The token in the first cookie of that name in a Cookie header (RFC 6265); null: there is none, or it is written otherwise. */
export function tokenInCookie(header: string | undefined, name: string): string | null {
  const cookies = (header ?? '').split(';').map((cookie) => cookie.trim());
  const value = cookies.find((cookie) => cookie.startsWith(`${name}=`))?.slice(name.length + 1) ?? '';
  return /^[A-Za-z0-9_-]{43}$/.test(value) ? value : null;
}

/** 256 bits of chance, 43 characters of base64url. */
export function newToken(): string {
  return randomBytes(32).toString('base64url');
}

/** What the sign-in form carries in a browser that has this cookie. */
export function signInCsrf(visitor: string): string {
  return createHash('sha256').update(`ticketmaild sign-in form\0${visitor}`).digest('base64url');
}

/** Takes the same time wherever the two differ. */
export function isSameToken(sent: string | undefined, expected: string): boolean {
  const [one, other] = [sent ?? '', expected].map((text) => createHash('sha256').update(text).digest());
  return one !== undefined && other !== undefined && sent !== undefined && timingSafeEqual(one, other);
}
