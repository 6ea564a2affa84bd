/**
 * Form parser (`application/x-www-form-urlencoded`, URL standard, section 5) on bytes: a password never becomes a
 * string.
 *
 * Every other field must be UTF-8 without control characters; certificates (PEM) may have lines. A body is refused as a
 * whole for a repeated name, a name other than `[a-z_]`, more than 50 fields, or a percent sign without two hex digits.
 * The bytes are wiped in any case.
 */

import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';
import { SecretBytes } from '../../../secret/secret-bytes.ts';

export type FormFields = ReadonlyMap<string, string>;

export type SubmittedForm = {
  /** Every field but the passwords. */
  readonly fields: FormFields;
  readonly password: SecretBytes | null;
  /** Of the admin who is signed in, to prove who sends the form; null: not in it. */
  readonly ownPassword: SecretBytes | null;
};

const fieldsMax = 50;
const ampersand = 0x26;
const equals = 0x3d;
const percent = 0x25;
const plus = 0x2b;

const secretNames: ReadonlySet<string> = new Set(['password', 'own_password']);
const linedNames: ReadonlySet<string> = new Set(['authorities']);

/** null: not a valid form. Wipes `body`. */
export function readForm(body: Uint8Array): SubmittedForm | null {
  const texts = new Map<string, string>();
  const secrets = new Map<string, SecretBytes>();
  const fields = [...split(body, ampersand)].filter((field) => field.length > 0);
  const isForm = fields.length <= fieldsMax && fields.every((field) => takeField(field, texts, secrets));
  body.fill(0);
  if (isForm)
    return {
      fields: texts,
      password: secrets.get('password') ?? null,
      ownPassword: secrets.get('own_password') ?? null,
    };
  for (const secret of secrets.values()) secret.wipe();
  return null;
}

/** Wipes what a form holds. */
export function wipeForm({ password, ownPassword }: SubmittedForm): void {
  password?.wipe();
  ownPassword?.wipe();
}

/** False: an invalid field, or a repeated name. */
function takeField(field: Uint8Array, texts: Map<string, string>, secrets: Map<string, SecretBytes>): boolean {
  const at = field.indexOf(equals);
  const end = at < 0 ? field.length : at;
  const name = textOf(field.subarray(0, end));
  if (name === null || !/^[a-z_]{1,40}$/.test(name) || texts.has(name) || secrets.has(name)) return false;
  const value = field.subarray(end + 1);
  if (secretNames.has(name)) {
    const decoded = percentDecoded(value);
    if (decoded !== null) secrets.set(name, SecretBytes.take(decoded));
    return decoded !== null;
  }
  const text = textOf(value);
  const controls = linedNames.has(name) ? /[\u0000-\u0009\u000b\u000c\u000e-\u001f\u007f]/ : /[\u0000-\u001f\u007f]/;
  if (text === null || controls.test(text)) return false;
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

/** In place, so that there is no second copy to wipe; null: an incomplete percent sign. */
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

// Cookies and CSRF tokens. Over https the names begin with `__Host-`, so that no other host and no plaintext connection
// can set them (RFC 6265bis, section 4.1.3.2). Cookies do not distinguish ports (RFC 6265, section 8.5): over http the
// names contain the port, so that pages at other ports of this host neither overwrite nor accept them. A browser still
// sends them to a server at another port: only https prevents that. Before sign-in the form carries the hash of a
// random cookie (double submit), which proves that the page was shown in this browser.

export type CookieSettings = {
  /** Names: of a signed-in session, and of a browser that was shown the sign-in page. */
  readonly session: string;
  readonly visitor: string;
  readonly attributes: {
    readonly path: string;
    readonly httpOnly: true;
    readonly sameSite: 'strict';
    readonly secure: boolean;
  };
};

/** `host`: the Host header of the request. */
export function cookieSettings(isSecure: boolean, host: string): CookieSettings {
  const prefix = isSecure ? '__Host-' : '';
  const suffix = isSecure ? '' : `-${/:(\d{1,5})$/.exec(host)?.[1] ?? '80'}`;
  const attributes = { path: isSecure ? '/' : '/admin', httpOnly: true, sameSite: 'strict', secure: isSecure } as const;
  return { session: `${prefix}ticketmaild${suffix}`, visitor: `${prefix}ticketmaild-visitor${suffix}`, attributes };
}

/**
 * The token in the first cookie of that name in a Cookie header (RFC 6265); null: there is none, or it has another
 * form. `getCookie` of Hono would decode it.
 */
export function tokenInCookie(header: string | undefined, name: string): string | null {
  const cookies = (header ?? '').split(';').map((cookie) => cookie.trim());
  const value = cookies.find((cookie) => cookie.startsWith(`${name}=`))?.slice(name.length + 1) ?? '';
  return /^[A-Za-z0-9_-]{43}$/.test(value) ? value : null;
}

/** 256 random bits, 43 characters of base64url. */
export function newToken(): string {
  return randomBytes(32).toString('base64url');
}

/** The CSRF token of the sign-in form in a browser with this cookie. */
export function signInCsrf(visitor: string): string {
  return createHash('sha256').update(`ticketmaild sign-in form\0${visitor}`).digest('base64url');
}

/** Constant-time comparison. */
export function isSameToken(sent: string | undefined, expected: string): boolean {
  const [one, other] = [sent ?? '', expected].map((text) => createHash('sha256').update(text).digest());
  return one !== undefined && other !== undefined && sent !== undefined && timingSafeEqual(one, other);
}
