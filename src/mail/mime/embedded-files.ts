/**
 * Files embedded in plain text: uuencode (POSIX `uuencode`) and yEnc (version 1.3), found and decoded.
 *
 * A file is taken out of the text only if each line holds as many bytes as it claims and the file ends as it should, or
 * with the text; everything else stays text. Up to two blanks that a line lost at its end are restored. At most 1,000
 * candidates are tried; the decoded bytes are never more than the encoded ones. Never fails.
 */

/** A file, and the bytes of the text that it occupies: `end` is the first byte after it. */
export type EmbeddedFile = {
  readonly name: string;
  readonly content: Uint8Array<ArrayBuffer>;
  readonly start: number;
  readonly end: number;
};

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

const filesMax = 1000;
const headLengthMax = 1000;

type FileFormat = {
  readonly mark: string;
  /** Matches the first line; the group `name` is the file name. */
  readonly head: RegExp;
  /** The file whose data begins at `start`; null when it is none. */
  readonly decode: (bytes: Buffer, start: number, head: string) => DecodedFile | null;
};

type DecodedFile = { readonly content: Uint8Array<ArrayBuffer>; readonly end: number };

const uuencodeHead = /^begin [0-7]{3,4} (?<name>\S.*)$/u;

const formats: readonly FileFormat[] = [
  { mark: 'begin ', head: uuencodeHead, decode: decodeWholeLines },
  // The name is the last field, since it may contain blanks.
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

function filesOf(bytes: Buffer, { mark, head, decode }: FileFormat): EmbeddedFile[] {
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
        files.push({
          name: Buffer.from(name.trim(), 'latin1').toString('utf8'),
          content: file.content,
          start: at,
          end: file.end,
        });
        next = file.end;
      }
    }
    at = bytes.indexOf(mark, next);
  }
  return files;
}

// uuencode

/** The longest line: 63 bytes in groups of four characters, and what some programs append. */
const lineBytesMax = 100;
/** Bytes that programs encode in each line but the last. */
const fullLineBytes = 45;
/** Characters that a line may have too few or too many. */
const strayMax = 2;

/** The bytes of a part that is declared as uuencode, with or without its first line; null when it is no uuencode. */
export function decodeUuencode(bytes: Buffer): Uint8Array<ArrayBuffer> | null {
  const firstEnd = endOfLine(bytes, 0, headLengthMax);
  const start = uuencodeHead.test(bytes.toString('latin1', 0, firstEnd)) ? afterBreak(bytes, firstEnd) : 0;
  return findEmbeddedFiles(bytes)[0]?.content ?? decodeUuencodedLines(bytes, start, measureLines(bytes, start));
}

/** A file within a text. Without an `end` line it must reach to the end of the text and have one full line. */
function decodeWholeLines(bytes: Buffer, start: number): DecodedFile | null {
  const extent = measureLines(bytes, start);
  const end = afterEnd(bytes, extent.end);
  const isCutOff = extent.hasFullLine && bytes.subarray(extent.end).every((byte) => byte <= 0x20);
  if (end === extent.end && !isCutOff) return null;
  const content = decodeUuencodedLines(bytes, start, extent);
  return content === null ? null : { content, end };
}

/** End of the lines of a file, and the number of bytes that they encode. */
type FileExtent = { readonly end: number; readonly size: number; readonly hasFullLine: boolean };

function decodeUuencodedLines(bytes: Buffer, start: number, { size }: FileExtent): Uint8Array<ArrayBuffer> | null {
  if (size === 0) return null;
  const content = new Uint8Array(size);
  let length = 0;
  for (let at = start; length < size; ) {
    const lineEnd = endOfLine(bytes, at, lineBytesMax);
    length = decodeLine(bytes, at, lineEnd, content, length);
    at = afterBreak(bytes, lineEnd);
  }
  return content;
}

function measureLines(bytes: Buffer, start: number): FileExtent {
  let size = 0;
  let hasFullLine = false;
  let at = start;
  while (at < bytes.length) {
    const lineEnd = endOfLine(bytes, at, lineBytesMax);
    const count = countOf(bytes, at);
    if (!isFileLine(bytes, at, lineEnd, count)) break;
    size += count;
    hasFullLine ||= count === fullLineBytes && lineEnd - at - 1 >= (fullLineBytes * 4) / 3;
    at = afterBreak(bytes, lineEnd);
    if (count === 0) break;
  }
  return { end: at, size, hasFullLine };
}

/** True for a line whose length fits its count, also with a few blanks lost at its end or a checksum appended. */
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

const countOf = (bytes: Buffer, at: number) => ((bytes[at] ?? 0) - 0x20) & 0x3f;

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

/** Offset after an `end` line, or `start` where there is none. */
function afterEnd(bytes: Buffer, start: number): number {
  let at = start;
  // Some programs end with an empty line instead of one of length zero.
  if (bytes[at] === lineFeed || bytes[at] === carriageReturn) at = afterBreak(bytes, at);
  const lineEnd = endOfLine(bytes, at, lineBytesMax);
  return bytes.toString('latin1', at, lineEnd).trimEnd() === 'end' ? afterBreak(bytes, lineEnd) : start;
}

// yEnc

/**
 * Each byte is offset by 42, an escaped one by 64 more; a `=ypart` line before the data is skipped. The size in the
 * last line must be the decoded size, and so must that in the first line, unless the file is one part of several.
 */
function decodeYenc(bytes: Buffer, dataStart: number, head: string): DecodedFile | null {
  const isPart = bytes.toString('latin1', dataStart, dataStart + 7) === '=ypart ';
  const start = isPart ? afterBreak(bytes, endOfLine(bytes, dataStart, headLengthMax)) : dataStart;
  // The sign is always escaped in data, so that no bytes are searched for two files.
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

const sizeIn = (line: string) => Number(/ size=(\d{1,15})/u.exec(line)?.[1] ?? -1);

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

// Lines of either format

/** Offset of the line end, at most `lengthMax` bytes on. */
function endOfLine(bytes: Buffer, start: number, lengthMax: number): number {
  const end = Math.min(bytes.length, start + lengthMax);
  for (let at = start; at < end; at += 1) {
    const byte = bytes[at];
    if (byte === lineFeed || (byte === carriageReturn && bytes[at + 1] === lineFeed)) return at;
  }
  return end;
}

/** Offset after the line end at `at`. */
function afterBreak(bytes: Buffer, at: number): number {
  if (bytes[at] === carriageReturn && bytes[at + 1] === lineFeed) return at + 2;
  return bytes[at] === lineFeed ? at + 1 : at;
}
