/**
 * The two cookies, and the token that a form must carry.
 *
 * Over https their names begin with `__Host-`: then no other host, and nobody on a connection in clear, can set them
 * (RFC 6265bis section 4.1.3.2), which asks for the path `/`. Before sign-in the form carries the hash of a random cookie:
 * who sends it has seen our page in this browser.
 */
import { createHash, randomBytes, timingSafeEqual } from 'node:crypto';

export type Cookies = {
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

export function cookiesOf(isSecure: boolean): Cookies {
  const prefix = isSecure ? '__Host-' : '';
  const attributes = { path: isSecure ? '/' : '/admin', httpOnly: true, sameSite: 'strict', secure: isSecure } as const;
  return { session: `${prefix}ticketmaild`, visitor: `${prefix}ticketmaild-visitor`, attributes };
}

/** The value of a cookie of ours; null for anything else. */
export function tokenIn(value: string | undefined): string | null {
  return value !== undefined && /^[A-Za-z0-9_-]{43}$/.test(value) ? value : null;
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
