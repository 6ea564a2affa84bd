/**
 * Which addresses never leave this machine (RFC 1122 section 3.2.1.3, RFC 4291 section 2.5.3, RFC 6761 section 6.3).
 */
import { isIPv4 } from 'node:net';

/** True for `localhost`, 127.0.0.0/8 and `::1`. Any other name is not, wherever it may resolve to. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase();
  return name === 'localhost' || name === '::1' || (isIPv4(name) && name.startsWith('127.'));
}
