/** Base64 (RFC 4648 section 4) from bytes to bytes, without a string that could not be wiped. */

const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const padding = 0x3d;

/** Writes the base64 of `source` to the start of `target`; returns the number of bytes. */
export function writeBase64(target: Uint8Array, source: Uint8Array): number {
  let at = 0;
  for (let i = 0; i < source.length; i += 3) {
    const bits = ((source[i] ?? 0) << 16) | ((source[i + 1] ?? 0) << 8) | (source[i + 2] ?? 0);
    target[at++] = alphabet[bits >> 18] ?? 0;
    target[at++] = alphabet[(bits >> 12) & 63] ?? 0;
    target[at++] = i + 1 < source.length ? (alphabet[(bits >> 6) & 63] ?? 0) : padding;
    target[at++] = i + 2 < source.length ? (alphabet[bits & 63] ?? 0) : padding;
  }
  return at;
}

/** True for a character of base64 text, padding included. */
export function isBase64Byte(byte: number): boolean {
  const isLetter = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
  return isLetter || (byte >= 0x30 && byte <= 0x39) || byte === 0x2b || byte === 0x2f || byte === padding;
}
