/**
 * JSON scanner (RFC 8259) that takes secret members out as bytes, before anything becomes a string.
 *
 * Works in place: values of the outermost object that are named as secret are copied out; every other string value is
 * overwritten too, at any depth, but those that are named as public. `JSON.parse` sees the rest.
 */
import { SecretBytes, secretBuffer } from '../../secret/secret-bytes.ts';

export type JsonNames = { readonly secret: ReadonlySet<string>; readonly public: ReadonlySet<string> };

export type JsonObject = Readonly<Record<string, unknown>>;

/** `json` null: not one JSON object, a secret member twice, or one that is no string. The caller wipes the secrets. */
export type ScannedJson = {
  readonly json: JsonObject | null;
  readonly secrets: ReadonlyMap<string, SecretBytes>;
};

const quote = 0x22;
const backslash = 0x5c;
const filler = 0x78;
const [openBrace, closeBrace, openBracket, closeBracket, colon, comma] = [0x7b, 0x7d, 0x5b, 0x5d, 0x3a, 0x2c];

/** Overwrites `body`. */
export function takeSecrets(body: Uint8Array, names: JsonNames): ScannedJson {
  const secrets = new Map<string, SecretBytes>();
  const isSound = scan(body, names, secrets);
  const json = isSound ? parseObject(body) : null;
  body.fill(0);
  if (json !== null) return { json, secrets };
  wipeSecrets(secrets);
  return { json: null, secrets: new Map() };
}

export function wipeSecrets(secrets: ReadonlyMap<string, SecretBytes>): void {
  for (const secret of secrets.values()) secret.wipe();
}

/** A string value belongs to the last key before it; in an array to that of the array. */
type Place = { isObject: boolean; isValue: boolean; key: string };

/** False: a secret member stands there twice, or is no string. */
function scan(body: Uint8Array, names: JsonNames, secrets: Map<string, SecretBytes>): boolean {
  const places: Place[] = [];
  let isSound = true;
  for (let at = 0; at < body.length; at += 1) {
    const byte = body[at] ?? 0;
    const place = places.at(-1);
    const isSecret = places.length === 1 && place?.isValue === true && names.secret.has(place.key);
    if (byte !== quote) {
      if (isSecret && byte !== comma && byte > 0x20 && byte !== closeBrace) isSound = false;
      move(places, byte);
      continue;
    }
    const end = endOfString(body, at + 1);
    const value = body.subarray(at + 1, end);
    if (place?.isValue === false) place.key = keyOf(value);
    else if (isSecret) isSound = take(value, place.key, secrets) && isSound;
    else if (place === undefined || !names.public.has(place.key)) value.fill(filler);
    at = end;
  }
  return isSound;
}

/** One byte outside of strings. */
function move(places: Place[], byte: number): void {
  const place = places.at(-1);
  if (byte === openBrace) places.push({ isObject: true, isValue: false, key: place?.key ?? '' });
  else if (byte === openBracket) places.push({ isObject: false, isValue: true, key: place?.key ?? '' });
  else if (byte === closeBrace || byte === closeBracket) places.pop();
  else if (byte === colon && place !== undefined) place.isValue = true;
  else if (byte === comma && place?.isObject === true) place.isValue = false;
}

function endOfString(body: Uint8Array, start: number): number {
  let at = start;
  while (at < body.length && body[at] !== quote) at += body[at] === backslash ? 2 : 1;
  return Math.min(at, body.length);
}

function keyOf(raw: Uint8Array): string {
  const text = Buffer.from(raw.buffer, raw.byteOffset, raw.length).toString('utf8');
  if (!text.includes('\\')) return text;
  try {
    return JSON.parse(`"${text}"`);
  } catch {
    return text;
  }
}

function take(value: Uint8Array, key: string, secrets: Map<string, SecretBytes>): boolean {
  const isFirst = !secrets.has(key);
  if (isFirst) secrets.set(key, unescaped(value));
  value.fill(filler);
  return isFirst;
}

/** Escapes of one letter: \b \f \n \r \t; any other stands for itself. */
const escapes: ReadonlyMap<number, number> = new Map([
  [0x62, 8],
  [0x66, 12],
  [0x6e, 10],
  [0x72, 13],
  [0x74, 9],
]);
const letterU = 0x75;

/** Tokens are ASCII, but some servers escape `/`, and a key in PEM form has line ends. Wider letters become 0xff. */
function unescaped(value: Uint8Array): SecretBytes {
  const out = secretBuffer(value.length);
  let to = 0;
  for (let at = 0; at < value.length; at += 1) {
    let byte = value[at] ?? 0;
    if (byte === backslash) {
      at += 1;
      const letter = value[at] ?? 0;
      byte = escapes.get(letter) ?? letter;
      if (letter === letterU) {
        byte = Math.min(0xff, hexValue(value, at + 1));
        at += 4;
      }
    }
    out[to] = byte;
    to += 1;
  }
  const secret = SecretBytes.take(out.subarray(0, to));
  out.fill(0);
  return secret;
}

/** Four hexadecimal digits; 0xffff for anything else. */
function hexValue(value: Uint8Array, start: number): number {
  let code = 0;
  for (let at = start; at < start + 4; at += 1) {
    const digit = Number.parseInt(String.fromCharCode(value[at] ?? 0), 16);
    if (Number.isNaN(digit)) return 0xffff;
    code = code * 16 + digit;
  }
  return code;
}

function parseObject(body: Uint8Array): JsonObject | null {
  try {
    const value: unknown = JSON.parse(Buffer.from(body.buffer, body.byteOffset, body.length).toString('utf8'));
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}
