/**
 * Content-Transfer-Encoding (RFC 2045 section 6): decodes base64, quoted-printable and uuencode; anything else is
 * copied.
 *
 * Reads what mail programs break: padding in the middle, lines cut anywhere, characters outside the alphabet, soft line
 * breaks with trailing blanks, invalid escapes (unchanged), encoding names with rubbish around them. The result
 * owns its whole ArrayBuffer. Never fails.
 */
import { decodeUuencode } from './embedded-files.ts';

type Encoding = 'base64' | 'quoted-printable' | 'uuencode' | 'none';

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const tab = 0x09;
const equalsSign = 0x3d;
const base64Blanks: ReadonlySet<number> = new Set([tab, lineFeed, 0x0c, carriageReturn, space]);

/** The encoding that a Content-Transfer-Encoding field declares; unknown names mean `none`. `value` as sent. */
export function encodingOf(value: string): Encoding {
  const name = value
    .slice(0, 100)
    .replace(/\([^()]*\)/gu, '')
    .toLowerCase()
    .replace(/[^a-z0-9]/gu, '');
  if (name.startsWith('base64')) return 'base64';
  if (name.startsWith('quoted')) return 'quoted-printable';
  return /^(?:x?uue|xuu$|uu$)/u.test(name) ? 'uuencode' : 'none';
}

/** The decoded bytes, in an ArrayBuffer of their own. */
export function decodeTransfer(raw: Buffer, encoding: Encoding): Uint8Array<ArrayBuffer> {
  if (encoding === 'base64') return decodeBase64(raw);
  if (encoding === 'quoted-printable') return ownBytes(decodeQuotedPrintable(raw));
  return (encoding === 'uuencode' ? decodeUuencode(raw) : null) ?? new Uint8Array(raw);
}

/** As `decodeTransfer`, for bytes that are only read: they may be a view of `raw`. */
export function viewDecoded(raw: Buffer, encoding: Encoding): Uint8Array<ArrayBufferLike> {
  if (encoding === 'none') return raw;
  return encoding === 'quoted-printable' ? decodeQuotedPrintable(raw) : decodeTransfer(raw, encoding);
}

/**
 * The bytes in a buffer of exactly their size. They must start at offset 0 of an unshared buffer, which is detached.
 */
function ownBytes({ buffer, length }: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer.byteLength === length ? buffer : buffer.transfer(length));
}

// Base64 (RFC 2045 section 6.8, and the alphabet of RFC 4648 section 5)

function decodeBase64(raw: Buffer): Uint8Array<ArrayBuffer> {
  const decoded = decodeWholeBase64(raw);
  if (decoded !== null) return decoded;
  return isUnencodedText(raw.toString('latin1', 0, 1000)) ? new Uint8Array(raw) : decodeBrokenBase64(raw);
}

/** Bytes that are decoded at a time. */
const pieceBytes = 64 * 1024;

/** Decodes piece by piece into the result, so that a large file is in memory once. null for any invalid character. */
function decodeWholeBase64(raw: Buffer): Uint8Array<ArrayBuffer> | null {
  const out = new Uint8Array(decodedSizeMax(raw));
  let length = 0;
  let at = 0;
  for (let isPadded = false; !isPadded && length < out.length; ) {
    const text = raw.toString('latin1', at, at + pieceBytes);
    const isLast = at + pieceBytes >= raw.length;
    const done = decodePiece(text, out.subarray(length), isLast);
    if (done === null || done.read === 0) return null;
    const padding = text.indexOf('=');
    isPadded = padding >= 0 && padding < done.read;
    at += done.read;
    length += done.written;
  }
  return raw.subarray(at).every((byte) => base64Blanks.has(byte)) ? ownBytes(out.subarray(0, length)) : null;
}

function decodePiece(text: string, out: Uint8Array, isLast: boolean): { read: number; written: number } | null {
  try {
    return out.setFromBase64(text, { lastChunkHandling: isLast ? 'loose' : 'stop-before-partial' });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return null;
  }
}

/** Size of the decoded bytes, exact where the lines have one length and no other characters. */
function decodedSizeMax(raw: Buffer): number {
  let end = raw.length;
  while (end > 0 && ((raw[end - 1] ?? 0) <= space || raw[end - 1] === equalsSign)) end -= 1;
  const lineBytes = raw.indexOf(lineFeed) + 1;
  let breaks = 0;
  for (let at = lineBytes - 1; at >= 0 && at < end && raw[at] === lineFeed; at += lineBytes)
    breaks += raw[at - 1] === carriageReturn ? 2 : 1;
  return Math.floor(((end - breaks) * 3) / 4);
}

/** True for words with punctuation: the part declares `base64`, but its text was never encoded. */
function isUnencodedText(start: string): boolean {
  const sample = start.replace(/\s/gu, '');
  const invalidCharacters = sample.match(/[^A-Za-z0-9+/=_-]/gu)?.length ?? 0;
  return /\w \w/u.test(start) && invalidCharacters * 50 > sample.length;
}

const wholeBase64Line = /[A-Za-z0-9+/]+={0,2}\s*$/uy;
const lineBytesMax = 1000;

/** Value of each character of base64, and of the two of base64url; -1 for all others. */
const sixBits = Int8Array.from({ length: 256 }, (_, code) =>
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'.indexOf(
    String.fromCharCode(code).replace('-', '+').replace('_', '/'),
  ),
);

/**
 * Skips invalid characters. Padding ends a run; another run may follow, as where files were joined, if its line is
 * nothing but base64: anything else is a footer that was appended.
 */
function decodeBrokenBase64(raw: Buffer): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(Math.ceil((raw.length * 3) / 4));
  let length = 0;
  let bits = 0;
  let count = 0;
  let isPadded = false;
  for (let at = 0; at < raw.length; at += 1) {
    const byte = raw[at] ?? 0;
    const value = sixBits[byte] ?? -1;
    if (byte === equalsSign) {
      isPadded = true;
      count = 0;
    }
    if (value < 0) continue;
    if (isPadded && isFooter(raw, at)) break;
    isPadded = false;
    bits = ((bits << 6) | value) & 0xfff;
    count += 6;
    if (count < 8) continue;
    count -= 8;
    out[length++] = bits >> count;
  }
  return ownBytes(out.subarray(0, length));
}

/** True for words after the padding, and for a line below it that is not base64 alone. */
function isFooter(raw: Buffer, at: number): boolean {
  const before = raw[at - 1] ?? 0;
  return before === space || before === tab || (before < space && !isBase64Line(raw, at));
}

function isBase64Line(raw: Buffer, start: number): boolean {
  const found = raw.indexOf(lineFeed, start);
  const end = Math.min(found < 0 ? raw.length : found, start + lineBytesMax);
  wholeBase64Line.lastIndex = 0;
  return wholeBase64Line.test(raw.toString('latin1', start, end));
}

// Quoted-printable (RFC 2045 section 6.7)

/** Value of each hex digit, lower case too; -1 for all other characters. */
const hexDigits = Int8Array.from({ length: 256 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(value) ? -1 : value;
});

/** Drops blanks at line ends (RFC 2045 section 6.7, rule 3). The result is a view. */
function decodeQuotedPrintable(raw: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(raw.length);
  const end = raw.length;
  let length = 0;
  /** Bytes before this length were escaped, or stand before a soft break: blanks among them stay. */
  let fixedLength = 0;
  for (let at = 0; at < end; at += 1) {
    const byte = raw[at] ?? 0;
    if (byte !== equalsSign) {
      if (byte === lineFeed) length = withoutBlanks(out, fixedLength, length);
      out[length++] = byte;
      continue;
    }
    const code = codeAt(raw, at + 1);
    const next = code >= 0 ? at + 3 : endOfSoftBreak(raw, at + 1);
    if (code >= 0) out[length++] = code;
    else if (next < 0) out[length++] = byte;
    if (next >= 0) at = next - 1;
    fixedLength = length;
  }
  return out.subarray(0, length);
}

/** The byte that two hex digits at `at` encode; negative for anything else. */
function codeAt(raw: Uint8Array, at: number): number {
  return ((hexDigits[raw[at] ?? 0] ?? -1) << 4) | (hexDigits[raw[at + 1] ?? 0] ?? -1);
}

/** The length without the blanks at the end of the line; a CR stays. */
function withoutBlanks(out: Uint8Array, fixedLength: number, length: number): number {
  const isBroken = length > fixedLength && out[length - 1] === carriageReturn;
  let end = isBroken ? length - 1 : length;
  while (end > fixedLength && (out[end - 1] === space || out[end - 1] === tab)) end -= 1;
  if (isBroken) out[end++] = carriageReturn;
  return end;
}

/** Offset of the line after a soft line break; -1 when it is none. Blanks after the sign were added in transit. */
function endOfSoftBreak(raw: Uint8Array, start: number): number {
  let at = start;
  while (raw[at] === space || raw[at] === tab) at += 1;
  if (at >= raw.length) return at;
  if (raw[at] === lineFeed) return at + 1;
  if (raw[at] !== carriageReturn) return -1;
  return raw[at + 1] === lineFeed ? at + 2 : at + 1;
}
