/**
 * The two 7-bit charsets that shift into a two-byte set and that no decoder of the platform has: ISO-2022-KR (RFC 1557)
 * and HZ (RFC 1843). Both are their 8-bit form with the upper bits taken off; what is shifted gets them back. Any
 * bytes are read; it never fails.
 */

const shiftOut = 0x0e;
const shiftIn = 0x0f;
const lineFeed = 0x0a;
const tilde = 0x7e;
const openBrace = 0x7b;
const closeBrace = 0x7d;

const korean = new TextDecoder('euc-kr');
const chinese = new TextDecoder('gb18030');

/** Text of ISO-2022-KR: SO and SI shift, the designator at the beginning is left out. */
export function decodeIso2022Kr(bytes: Uint8Array): string {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let upper = 0;
  for (const byte of bytes) {
    if (byte === shiftOut) upper = 0x80;
    else if (byte === shiftIn) upper = 0;
    else out[length++] = byte > 0x20 ? byte | upper : byte;
  }
  return korean.decode(out.subarray(0, length)).replaceAll('\x1b$)C', '');
}

/** Text of HZ: `~{` and `~}` shift, `~~` is a tilde, a tilde at the end of a line joins it to the next. */
export function decodeHz(bytes: Uint8Array): string {
  const out = new Uint8Array(bytes.length);
  let length = 0;
  let upper = 0;
  for (let at = 0; at < bytes.length; at += 1) {
    const byte = bytes[at] ?? 0;
    const next = bytes[at + 1] ?? 0;
    if (byte === lineFeed) upper = 0;
    const isMark = byte === tilde && (next === openBrace || next === closeBrace || next === lineFeed || next === tilde);
    if (!isMark) {
      out[length++] = byte > 0x20 ? byte | upper : byte;
      continue;
    }
    at += 1;
    if (next === tilde) out[length++] = tilde;
    else upper = next === openBrace ? 0x80 : 0;
  }
  return chinese.decode(out.subarray(0, length));
}
