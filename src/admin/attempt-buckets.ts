/**
 * Under which bucket an attempt to sign in is counted: one of the client's address, one of the name that was typed.
 *
 * What people type into the field of a name may be a password, so its bucket says nothing to whoever reads the database: it is
 * an HMAC under a key that this process alone knows.
 */
import { createHash, createHmac } from 'node:crypto';

/** 64 hex digits, of the group of the address. */
export function addressBucket(address: string): string {
  return createHash('sha256')
    .update(`address:${addressGroup(address).toWellFormed()}`)
    .digest('hex');
}

/**
 * 64 hex digits; the same for every case of the letters. A name whose password was changed since begins anew: that is the way
 * out for somebody whose name others have used up. `changedAtMs` null: there is no such account.
 */
export function nameBucket(key: Uint8Array, name: string, changedAtMs: number | null): string {
  const text = name.normalize('NFC').toLowerCase().toWellFormed();
  return createHmac('sha256', key)
    .update(`name:${changedAtMs ?? 0}:${text}`)
    .digest('hex');
}

/**
 * Addresses that one client may choose from: of IPv6 the /64, which one has as a whole (RFC 6177); all of this machine
 * (127.0.0.0/8, RFC 1122 section 3.2.1.3; ::1, RFC 4291 section 2.5.3) as `loopback`; an IPv4 address as it is, however
 * it is written (mapped ones: RFC 4291 section 2.5.5.2).
 */
export function addressGroup(address: string): string {
  const ipv6 = address.includes(':') ? groupsOf(address) : null;
  const ipv4 = ipv6 === null ? address : mappedIn(ipv6);
  if (ipv4 !== null) return /^127(?:\.\d{1,3}){3}$/.test(ipv4) ? loopback : ipv4;
  const text = (ipv6 ?? []).join(':');
  return text === '0:0:0:0:0:0:0:1' ? loopback : `${text.split(':', 4).join(':')}::/64`;
}

const loopback = 'loopback';

/** The eight groups of 16 bits of an IPv6 address, in hex without leading zeros. */
function groupsOf(address: string): readonly string[] {
  const [head = '', tail] = (address.split('%')[0] ?? '').toLowerCase().split('::');
  const first = groups(head);
  const last = tail === undefined ? [] : groups(tail);
  const zeros = Array.from({ length: Math.max(0, 8 - first.length - last.length) }, () => '0');
  return [...first, ...zeros, ...last];
}

/** A dotted end is two of them. */
function groups(text: string): readonly string[] {
  if (text === '') return [];
  return text.split(':').flatMap((group) => {
    if (!group.includes('.')) return [group.replace(/^0+(?=.)/, '')];
    const [a = 0, b = 0, c = 0, d = 0] = group.split('.').map(Number);
    return [a * 256 + b, c * 256 + d].map((number) => number.toString(16));
  });
}

/** The IPv4 address in `::ffff:0:0/96`, with dots; null: it is no such address. */
function mappedIn(ipv6: readonly string[]): string | null {
  const [, high = '', low = ''] = /^(?:0:){5}ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(ipv6.join(':')) ?? [];
  if (high === '') return null;
  const bytes = [high, low].map((group) => Number.parseInt(group, 16)).flatMap((number) => [number >> 8, number & 255]);
  return bytes.join('.');
}
