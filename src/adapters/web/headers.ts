/** The headers that every answer of the admin page has. */

/**
 * Nothing but our own files, no frame around it, no form to elsewhere. `same-origin` and not `no-referrer`: with the latter
 * browsers send `Origin: null` with a form (Fetch standard, "append a request Origin header"), and the origin could not be
 * checked.
 */
const always = {
  'content-security-policy':
    "default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  'x-frame-options': 'DENY',
  'x-content-type-options': 'nosniff',
  'referrer-policy': 'same-origin',
  'permissions-policy':
    'accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), microphone=(), midi=(), payment=(), publickey-credentials-get=(), screen-wake-lock=(), usb=(), xr-spatial-tracking=()',
  'cross-origin-opener-policy': 'same-origin',
  'cross-origin-resource-policy': 'same-origin',
  'cache-control': 'no-store',
  // A connection is for one request: see one-request.ts.
  connection: 'close',
} as const;

/** A week: it holds for every port of that host name, where others may serve what is not https. */
const strictTransport = { 'strict-transport-security': 'max-age=604800' } as const;

/** `isSecure`: browsers reach the page by https (RFC 6797 section 7.2 forbids the last one elsewhere). */
export function headersOf(isSecure: boolean): Readonly<Record<string, string>> {
  return isSecure ? { ...always, ...strictTransport } : always;
}
