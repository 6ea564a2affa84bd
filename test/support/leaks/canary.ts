/**
 * A canary: random letters and digits that stand for a password, and every form in which they could turn up somewhere.
 *
 * It is bytes and never text, so that a search does not find the searcher's own string. Each form is looked for in two
 * halves too: what a freed piece of memory still holds is often half overwritten, and half a password is a leak. A
 * form that equals another one (the JSON text of letters is the letters) is left out.
 */
import { randomInt } from 'node:crypto';

const alphabet = Buffer.from('ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/');
const lettersAndDigits = alphabet.length - 2;
/** Small typed arrays live on V8's moving heap and leave copies behind. */
const ownBufferBytes = 4096;

export const canaryBytes = 16;

/** Each half has a byte with a letter in its hex form, so that no half of one form is the same in another one. */
export function newCanary(lengthBytes = canaryBytes): Uint8Array {
  const canary = new Uint8Array(new ArrayBuffer(ownBufferBytes), 0, lengthBytes);
  const half = lengthBytes >> 1;
  do {
    for (let at = 0; at < lengthBytes; at += 1) canary[at] = alphabet[randomInt(lettersAndDigits)] ?? 0;
  } while (lengthBytes >= canaryBytes && !(hasHexLetter(canary, 0, half) && hasHexLetter(canary, half, lengthBytes)));
  return canary;
}

function hasHexLetter(bytes: Uint8Array, from: number, to: number): boolean {
  for (let at = from; at < to; at += 1) if (((bytes[at] ?? 0) & 15) > 9) return true;
  return false;
}

/** The names say what was done to the bytes; `base64_1` is base64 with one byte before the canary, modulo 3. */
export type FormName = `base64_${0 | 1 | 2}` | `base64url_${0 | 1 | 2}` | Exclude<keyof typeof perByte, 'utf16_be'>;

export type Form = { readonly name: FormName; readonly bytes: Buffer };

/** How one byte of the canary is written in each form. */
const perByte = {
  text: (byte: number) => [byte],
  utf16: (byte: number) => [byte, 0],
  hex: (byte: number) => ascii(hexOf(byte)),
  hex_upper: (byte: number) => ascii(hexOf(byte).toUpperCase()),
  /** As Node prints a buffer. */
  hex_spaced: (byte: number) => ascii(`${hexOf(byte)} `),
  /** As a buffer in JSON, or a typed array as text. */
  decimal: (byte: number) => ascii(`${byte},`),
  percent: (byte: number) => ascii(`%${hexOf(byte)}`),
  percent_upper: (byte: number) => ascii(`%${hexOf(byte).toUpperCase()}`),
  /** As in a URL: letters and digits stay. */
  url: (byte: number) => ascii(isPlain(byte) ? String.fromCharCode(byte) : `%${hexOf(byte).toUpperCase()}`),
  json: (byte: number) => ascii(JSON.stringify(String.fromCharCode(byte)).slice(1, -1)),
  json_escaped: (byte: number) => ascii(`\\u00${hexOf(byte)}`),
  json_escaped_upper: (byte: number) => ascii(`\\u00${hexOf(byte).toUpperCase()}`),
} as const;

/** Written after each byte but not after the last one. */
const betweenBytes = new Set<FormName>(['hex_spaced', 'decimal']);

function hexOf(byte: number): string {
  return byte.toString(16).padStart(2, '0');
}

function isPlain(byte: number): boolean {
  return alphabet.subarray(0, lettersAndDigits).includes(byte) || '-_.~'.includes(String.fromCharCode(byte));
}

function ascii(text: string): readonly number[] {
  return [...Buffer.from(text, 'latin1')];
}

/**
 * Every form of `canary`, the most usual ones first. The base64 inside a SASL answer is one of its three alignments.
 */
export function formsOf(canary: Uint8Array): readonly Form[] {
  const forms: Form[] = [];
  const add = (name: FormName, bytes: Buffer): void => {
    if (!forms.some((form) => form.bytes.equals(bytes))) forms.push({ name, bytes });
  };
  for (const name of Object.keys(perByte) as (keyof typeof perByte)[]) {
    const bytes = Buffer.from([...canary].flatMap((byte) => [...perByte[name](byte)]));
    add(name, betweenBytes.has(name) ? bytes.subarray(0, -1) : bytes);
  }
  for (const offset of [0, 1, 2] as const) {
    add(`base64_${offset}`, base64Core(canary, offset));
    add(`base64url_${offset}`, urlSafe(base64Core(canary, offset)));
  }
  return forms;
}

/** The alignment of the base64 in a SASL PLAIN answer (RFC 4616): two zero bytes and the user stand before it. */
export function saslPlainForm(userBytes: number): FormName {
  return `base64_${((userBytes + 2) % 3) as 0 | 1 | 2}`;
}

/** The part of the base64 form that does not depend on its neighbours, with `offset` bytes before the canary. */
function base64Core(canary: Uint8Array, offset: number): Buffer {
  const core: number[] = [];
  for (let at = (3 - offset) % 3; at + 2 < canary.length; at += 3) {
    const bits = ((canary[at] ?? 0) << 16) | ((canary[at + 1] ?? 0) << 8) | (canary[at + 2] ?? 0);
    for (const shift of [18, 12, 6, 0]) core.push(alphabet[(bits >> shift) & 63] ?? 0);
  }
  return Buffer.from(core);
}

function urlSafe(base64: Buffer): Buffer {
  const [plus, slash, minus, underscore] = Buffer.from('+/-_');
  return base64.map((byte) => (byte === plus ? (minus ?? 0) : byte === slash ? (underscore ?? 0) : byte)) as Buffer;
}
