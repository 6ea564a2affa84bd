/**
 * Form encoding (application/x-www-form-urlencoded, WHATWG URL section 5.2) of fields whose values may be secret bytes.
 */
import { secretBuffer } from '../../secret/secret-bytes.ts';

export type FormField = readonly [name: string, value: string | Uint8Array];

const [ampersand, equals, percent] = [0x26, 0x3d, 0x25];
const hexDigits = Buffer.from('0123456789ABCDEF');

function isUnreserved(byte: number): boolean {
  const isDigit = byte >= 0x30 && byte <= 0x39;
  const isLetter = (byte >= 0x41 && byte <= 0x5a) || (byte >= 0x61 && byte <= 0x7a);
  // Hyphen, full stop, underscore, tilde.
  return isDigit || isLetter || byte === 0x2d || byte === 0x2e || byte === 0x5f || byte === 0x7e;
}

/** The caller wipes the result. */
export function encodeForm(fields: readonly FormField[]): Uint8Array<ArrayBuffer> {
  const pairs = fields.map(([name, value]) => [Buffer.from(name), bytesOf(value)] as const);
  const target = secretBuffer(pairs.reduce((sum, [name, value]) => sum + 3 * (name.length + value.length) + 2, 0));
  let at = 0;
  const put = (bytes: Uint8Array): void => {
    for (const byte of bytes) {
      if (isUnreserved(byte)) target[at] = byte;
      else {
        target[at] = percent;
        target[at + 1] = hexDigits[byte >> 4] ?? 0;
        target[at + 2] = hexDigits[byte & 15] ?? 0;
        at += 2;
      }
      at += 1;
    }
  };
  for (const [name, value] of pairs) {
    if (at > 0) {
      target[at] = ampersand;
      at += 1;
    }
    put(name);
    target[at] = equals;
    at += 1;
    put(value);
  }
  return target.subarray(0, at);
}

function bytesOf(value: string | Uint8Array): Uint8Array {
  return typeof value === 'string' ? Buffer.from(value) : value;
}
