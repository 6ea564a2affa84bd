/**
 * Undoes the transfer encoding of a part (RFC 2045 section 6): base64, quoted-printable, uuencode, or none.
 *
 * Reads what mailers break: padding in the middle, lines cut anywhere, characters that do not belong, soft line
 * breaks with blanks behind them, codes that are none (they stay as they are), names with rubbish around them. The
 * result owns its whole ArrayBuffer. It never fails.
 */

type Encoding = 'base64' | 'quoted-printable' | 'uuencode' | 'none';

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const tab = 0x09;
const equalsSign = 0x3d;
const base64Blanks: ReadonlySet<number> = new Set([tab, lineFeed, 0x0c, carriageReturn, space]);

/** `value` is the field as sent. What is no known name means that nothing is to be undone. */
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

/** The bytes that were sent. */
export function decodeTransfer(raw: Buffer, encoding: Encoding): Uint8Array<ArrayBuffer> {
  switch (encoding) {
    case 'base64':
      return decodeBase64(raw);
    case 'quoted-printable':
      return ownBytes(decodeQuotedPrintable(raw));
    case 'uuencode':
      return decodeUuencode(raw) ?? new Uint8Array(raw);
    default:
      return new Uint8Array(raw);
  }
}

/** As `decodeTransfer`, for bytes that are only looked at: they may be a view of `raw`. */
export function viewDecoded(raw: Buffer, encoding: Encoding): Uint8Array<ArrayBufferLike> {
  if (encoding === 'none') return raw;
  return encoding === 'quoted-printable' ? decodeQuotedPrintable(raw) : decodeTransfer(raw, encoding);
}

/** What `bytes` view, at the beginning of a buffer that is nobody else's and is freed. */
function ownBytes({ buffer, length }: Uint8Array<ArrayBuffer>): Uint8Array<ArrayBuffer> {
  return new Uint8Array(buffer.byteLength === length ? buffer : buffer.transfer(length));
}

function decodeBase64(raw: Buffer): Uint8Array<ArrayBuffer> {
  const decoded = decodeWholeBase64(raw);
  if (decoded !== null) return decoded;
  return isPlainText(raw.toString('latin1', 0, 1000)) ? new Uint8Array(raw) : decodeBrokenBase64(raw);
}

/** Text that is decoded at a time. */
const pieceBytes = 64 * 1024;

/** Piece by piece into the place where it stays, so that a large file is in memory once. null when a character is strange. */
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
  return isBlank(raw, at) ? ownBytes(out.subarray(0, length)) : null;
}

function decodePiece(text: string, out: Uint8Array, isLast: boolean): { read: number; written: number } | null {
  try {
    return out.setFromBase64(text, { lastChunkHandling: isLast ? 'loose' : 'stop-before-partial' });
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    return null;
  }
}

/** Just what comes out where nothing but breaks stands between lines of one length. */
function decodedSizeMax(raw: Buffer): number {
  let end = raw.length;
  while (end > 0 && ((raw[end - 1] ?? 0) <= space || raw[end - 1] === equalsSign)) end -= 1;
  const lineBytes = raw.indexOf(lineFeed) + 1;
  let breaks = 0;
  for (let at = lineBytes - 1; at >= 0 && at < end && raw[at] === lineFeed; at += lineBytes)
    breaks += raw[at - 1] === carriageReturn ? 2 : 1;
  return Math.floor(((end - breaks) * 3) / 4);
}

/** True when nothing but the white space that base64 may have comes from `start` on. */
function isBlank(raw: Buffer, start: number): boolean {
  let at = start;
  while (at < raw.length && base64Blanks.has(raw[at] ?? 0)) at += 1;
  return at === raw.length;
}

/** Words with punctuation: somebody wrote `base64` over a text that is none. */
function isPlainText(start: string): boolean {
  const sample = start.replace(/\s/gu, '');
  const strangers = sample.match(/[^A-Za-z0-9+/=_-]/gu)?.length ?? 0;
  return /\w \w/u.test(start) && strangers * 50 > sample.length;
}

const wholeBase64Line = /[A-Za-z0-9+/]+={0,2}\s*$/uy;
const lineBytesMax = 1000;

/** Value of each character of base64, and of the two of base64url; -1 for all else. */
const sixBits = Int8Array.from({ length: 256 }, (_, code) =>
  'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'.indexOf(
    String.fromCharCode(code).replace('-', '+').replace('_', '/'),
  ),
);

/**
 * Skips strange characters. Padding ends a run; after it another one may begin, as where files were joined, if its line
 * is nothing but base64: else it is a footer that was put below.
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

/** True for words behind the padding, and for a line below it that is not base64 alone. */
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

/** Value of each hex digit, lower case too; -1 for all else. */
const hexDigits = Int8Array.from({ length: 256 }, (_, code) => {
  const value = Number.parseInt(String.fromCharCode(code), 16);
  return Number.isNaN(value) ? -1 : value;
});

/** Blanks at the end of a line are no part of it (RFC 2045 section 6.7, rule 3). The result is a view. */
function decodeQuotedPrintable(raw: Uint8Array): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(raw.length);
  const end = raw.length;
  let length = 0;
  /** What comes before it was written as a code, or is before a soft break: it stays. */
  let solid = 0;
  for (let at = 0; at < end; at += 1) {
    const byte = raw[at] ?? 0;
    if (byte !== equalsSign) {
      if (byte === lineFeed) length = withoutBlanks(out, solid, length);
      out[length++] = byte;
      continue;
    }
    const code = codeAt(raw, at + 1);
    const next = code >= 0 ? at + 3 : endOfSoftBreak(raw, at + 1);
    if (code >= 0) out[length++] = code;
    else if (next < 0) out[length++] = byte;
    if (next >= 0) at = next - 1;
    solid = length;
  }
  return out.subarray(0, length);
}

/** The byte of two hex digits, or a negative number. */
function codeAt(raw: Uint8Array, at: number): number {
  return ((hexDigits[raw[at] ?? 0] ?? -1) << 4) | (hexDigits[raw[at + 1] ?? 0] ?? -1);
}

/** The length without the blanks at the end of the line, a CR kept. */
function withoutBlanks(out: Uint8Array, solid: number, length: number): number {
  const isBroken = length > solid && out[length - 1] === carriageReturn;
  let end = isBroken ? length - 1 : length;
  while (end > solid && (out[end - 1] === space || out[end - 1] === tab)) end -= 1;
  if (isBroken) out[end++] = carriageReturn;
  return end;
}

/** Where the line after a soft line break begins, or -1 when it is none. Blanks behind the sign were added on the way. */
function endOfSoftBreak(raw: Uint8Array, start: number): number {
  let at = start;
  while (raw[at] === space || raw[at] === tab) at += 1;
  if (at >= raw.length) return at;
  if (raw[at] === lineFeed) return at + 1;
  if (raw[at] !== carriageReturn) return -1;
  return raw[at + 1] === lineFeed ? at + 2 : at + 1;
}

/**
 * Finds and decodes files that are written into a text: uuencode (POSIX `uuencode`) and yEnc (version 1.3).
 *
 * A file is only taken for one when every line holds what it says and the file ends as it should, or with the text;
 * all else stays text. One or two blanks that a line lost at its end are filled up. What comes out is never longer than
 * what went in. It never fails.
 */

/** A file, and the stretch of the text that it took: `end` is the first byte after it. */
export type EmbeddedFile = {
  readonly name: string;
  readonly content: Uint8Array<ArrayBuffer>;
  readonly start: number;
  readonly end: number;
};

const filesMax = 1000;
const headLengthMax = 1000;
/** The longest line: a length of 63 and as many bytes in fours, and what some programs put behind. */
const uuencodeLineBytesMax = 100;
/** What all programs write into a line, but for the last. */
const usualLineBytes = 45;
/** Characters that a line may have too few or too many. */
const strayMax = 2;

type Format = {
  readonly mark: string;
  /** Of the first line; `name` is the file's. */
  readonly head: RegExp;
  /** The file whose data begins at `start`; null when it is none. */
  readonly decode: (bytes: Buffer, start: number, head: string) => Decoded | null;
};

type Decoded = { readonly content: Uint8Array<ArrayBuffer>; readonly end: number };

const uuencodeHead = /^begin [0-7]{3,4} (?<name>\S.*)$/u;

const countOf = (bytes: Buffer, at: number) => ((bytes[at] ?? 0) - 0x20) & 0x3f;

const sizeIn = (line: string) => Number(/ size=(\d{1,15})/u.exec(line)?.[1] ?? -1);

const formats: readonly Format[] = [
  { mark: 'begin ', head: uuencodeHead, decode: decodeWholeLines },
  // The name is the last field, since it may hold blanks.
  { mark: '=ybegin ', head: /^=ybegin (?=.*\bline=\d)(?=.*\bsize=\d).*\bname=(?<name>.+)$/u, decode: decodeYenc },
];

/** All files in their order; empty for almost every text. */
export function findEmbeddedFiles(bytes: Buffer): readonly EmbeddedFile[] {
  const files = formats.flatMap((format) => filesOf(bytes, format));
  return files.length < 2 ? files : withoutOverlap(files.toSorted((one, other) => one.start - other.start));
}

function withoutOverlap(files: readonly EmbeddedFile[]): readonly EmbeddedFile[] {
  let end = 0;
  return files.filter((file) => {
    const isFree = file.start >= end;
    if (isFree) end = file.end;
    return isFree;
  });
}

function filesOf(bytes: Buffer, { mark, head, decode }: Format): EmbeddedFile[] {
  const files: EmbeddedFile[] = [];
  let tries = 0;
  for (let at = bytes.indexOf(mark); at >= 0 && tries < filesMax; ) {
    let next = at + mark.length;
    if (at === 0 || bytes[at - 1] === lineFeed) {
      tries += 1;
      const lineEnd = endOfLine(bytes, at, headLengthMax);
      const line = bytes.toString('latin1', at, lineEnd);
      const name = head.exec(line)?.groups?.name;
      const file = name === undefined ? null : decode(bytes, afterBreak(bytes, lineEnd), line);
      if (file !== null && name !== undefined) {
        files.push({ name: bytesToName(name.trim()), content: file.content, start: at, end: file.end });
        next = file.end;
      }
    }
    at = bytes.indexOf(mark, next);
  }
  return files;
}

const bytesToName = (name: string) => Buffer.from(name, 'latin1').toString('utf8');

/** The bytes of a part that is declared as uuencode, with or without its first line; null when it is none. */
function decodeUuencode(bytes: Buffer): Uint8Array<ArrayBuffer> | null {
  const firstEnd = endOfLine(bytes, 0, headLengthMax);
  const start = uuencodeHead.test(bytes.toString('latin1', 0, firstEnd)) ? afterBreak(bytes, firstEnd) : 0;
  return findEmbeddedFiles(bytes)[0]?.content ?? decodeLines(bytes, start, measureLines(bytes, start));
}

/** A file within a text: without its `end` it must reach to the end of the text, and have one line of the usual length. */
function decodeWholeLines(bytes: Buffer, start: number): Decoded | null {
  const measured = measureLines(bytes, start);
  const end = afterEnd(bytes, measured.end);
  const isCutOff = measured.hasFullLine && isBlankFrom(bytes, measured.end);
  if (end === measured.end && !isCutOff) return null;
  const content = decodeLines(bytes, start, measured);
  return content === null ? null : { content, end };
}

function isBlankFrom(bytes: Buffer, start: number): boolean {
  let at = start;
  while (at < bytes.length && (bytes[at] ?? 0) <= 0x20) at += 1;
  return at === bytes.length;
}

/** How far the lines of a file reach, and how many bytes they hold. */
type Measured = { readonly end: number; readonly size: number; readonly hasFullLine: boolean };

function decodeLines(bytes: Buffer, start: number, { size }: Measured): Uint8Array<ArrayBuffer> | null {
  if (size === 0) return null;
  const content = new Uint8Array(size);
  let length = 0;
  for (let at = start; length < size; ) {
    const lineEnd = endOfLine(bytes, at, uuencodeLineBytesMax);
    length = decodeLine(bytes, at, lineEnd, content, length);
    at = afterBreak(bytes, lineEnd);
  }
  return content;
}

function measureLines(bytes: Buffer, start: number): Measured {
  let size = 0;
  let hasFullLine = false;
  let at = start;
  while (at < bytes.length) {
    const lineEnd = endOfLine(bytes, at, uuencodeLineBytesMax);
    const count = countOf(bytes, at);
    if (!isFileLine(bytes, at, lineEnd, count)) break;
    size += count;
    hasFullLine ||= count === usualLineBytes && lineEnd - at - 1 >= (usualLineBytes * 4) / 3;
    at = afterBreak(bytes, lineEnd);
    if (count === 0) break;
  }
  return { end: at, size, hasFullLine };
}

/** True for a line whose length fits the count that it begins with, a few blanks at its end lost or a check sum put there. */
function isFileLine(bytes: Buffer, at: number, lineEnd: number, count: number): boolean {
  const first = bytes[at] ?? 0;
  if (first < 0x20 || first > 0x60) return false;
  const needed = Math.ceil(count / 3) * 4;
  const given = lineEnd - at - 1;
  if (given > needed + strayMax || given < needed - strayMax) return false;
  for (let index = at + 1; index < lineEnd; index += 1) {
    const byte = bytes[index] ?? 0;
    if (byte < 0x20 || byte > 0x60) return false;
  }
  return true;
}

/** The length of `out` after the line at `start`. */
function decodeLine(bytes: Buffer, start: number, lineEnd: number, out: Uint8Array, from: number): number {
  const value = (at: number) => (at < lineEnd ? ((bytes[at] ?? 0x20) - 0x20) & 0x3f : 0);
  let length = from;
  const end = from + countOf(bytes, start);
  for (let at = start + 1; length < end; at += 4) {
    const group = (value(at) << 18) | (value(at + 1) << 12) | (value(at + 2) << 6) | value(at + 3);
    for (let shift = 16; shift >= 0 && length < end; shift -= 8) out[length++] = (group >> shift) & 0xff;
  }
  return length;
}

/** After an `end` line, if there is one. */
function afterEnd(bytes: Buffer, start: number): number {
  let at = start;
  // Some programs end with an empty line instead of one of length zero.
  if (bytes[at] === lineFeed || bytes[at] === carriageReturn) at = afterBreak(bytes, at);
  const lineEnd = endOfLine(bytes, at, uuencodeLineBytesMax);
  return bytes.toString('latin1', at, lineEnd).trimEnd() === 'end' ? afterBreak(bytes, lineEnd) : start;
}

/**
 * Offset 42, the escape sign offset 64 more; a `=ypart` line before the data is left out. The end must tell the size
 * that was found, and so must the head, unless the file is one part of several.
 */
function decodeYenc(bytes: Buffer, dataStart: number, head: string): Decoded | null {
  const isPart = bytes.toString('latin1', dataStart, dataStart + 7) === '=ypart ';
  const start = isPart ? afterBreak(bytes, endOfLine(bytes, dataStart, headLengthMax)) : dataStart;
  // The sign is always escaped in data: what is looked at for one file is not looked at again for the next.
  const nextHead = bytes.indexOf('\n=ybegin ', start - 1);
  const data = bytes.subarray(start, nextHead < 0 ? bytes.length : nextHead + 1);
  const tail = data.indexOf('\n=yend ');
  if (tail < 0) return null;
  const tailEnd = endOfLine(data, tail + 1, headLengthMax);
  const content = decodeYencBytes(data.subarray(0, tail));
  const isWhole = sizeIn(data.toString('latin1', tail + 1, tailEnd)) === content.length;
  if (!isWhole || (!isPart && sizeIn(head) !== content.length)) return null;
  return { content, end: start + afterBreak(data, tailEnd) };
}

function decodeYencBytes(data: Buffer): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(data.length);
  let length = 0;
  for (let at = 0; at < data.length; at += 1) {
    const byte = data[at] ?? 0;
    if (byte === lineFeed || byte === carriageReturn) continue;
    if (byte === 0x3d) at += 1;
    out[length++] = byte === 0x3d ? (data[at] ?? 0) - 64 - 42 : byte - 42;
  }
  return out.slice(0, length);
}

/** Where the line ends, its break not counted; not further than `lengthMax` bytes on. */
function endOfLine(bytes: Buffer, start: number, lengthMax: number): number {
  const end = Math.min(bytes.length, start + lengthMax);
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at];
    if (byte === lineFeed || (byte === carriageReturn && bytes[at + 1] === lineFeed)) return at;
  }
  return end;
}

function afterBreak(bytes: Buffer, at: number): number {
  if (bytes[at] === carriageReturn && bytes[at + 1] === lineFeed) return at + 2;
  return bytes[at] === lineFeed ? at + 1 : at;
}
