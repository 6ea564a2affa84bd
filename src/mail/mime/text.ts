/**
 * Text parts of a message: transfer encoding and charset decoded, embedded files taken out, format=flowed (RFC 3676)
 * and text/enriched (RFC 1896) undone.
 *
 * libmime's decodeFlowed lost: it joins `-- ` to the paragraph above it and drops the last line end. HTML may declare
 * its own charset, which counts where the part declares none. Any bytes give text with LF line ends and no NUL; never
 * fails.
 */
import { isUtf8 } from 'node:buffer';
import { bufferOf, decodeText } from '../charset/decode.ts';
import { type EmbeddedFile, findEmbeddedFiles } from './embedded-files.ts';
import type { MimePart } from './part.ts';
import { viewDecoded } from './transfer-encoding.ts';

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const metaSearchBytes = 2048;

/** The HTML of a part as sent, with LF line ends. */
export function readHtmlPart(part: MimePart): string {
  const bytes = viewDecoded(part.raw, part.encoding);
  const label = part.parameters.get('charset') ?? null;
  const isKnown = label !== null || isUtf8(bytes);
  return storable(decodeText(bytes, label, isKnown ? null : charsetOfHtml(bytes)));
}

/** The charset that the HTML declares (`meta`), or null. */
function charsetOfHtml(bytes: Uint8Array): string | null {
  const start = bufferOf(bytes).toString('latin1', 0, metaSearchBytes);
  return /\bcharset\s{0,9}=\s{0,9}["']?([\w.:-]{1,40})/iu.exec(start)?.[1] ?? null;
}

/** The text of a part without markup, and the files embedded in it. */
export function readPlainPart(part: MimePart): { readonly text: string; readonly files: readonly EmbeddedFile[] } {
  const bytes = bufferOf(viewDecoded(part.raw, part.encoding));
  const files = findEmbeddedFiles(bytes);
  const text = storable(decodeText(withoutFiles(bytes, files), part.parameters.get('charset') ?? null));
  return { text: readable(part, text), files };
}

function withoutFiles(bytes: Buffer, files: readonly EmbeddedFile[]): Buffer {
  if (files.length === 0) return bytes;
  const ends = [0, ...files.map(({ end }) => end)];
  return Buffer.concat(ends.map((end, index) => bytes.subarray(end, files[index]?.start)));
}

function readable({ type, parameters }: MimePart, text: string): string {
  if (type !== 'text/plain') return withoutMarkup(text);
  const isFlowed = parameters.get('format')?.trim().toLowerCase() === 'flowed';
  return isFlowed ? unflow(text, parameters.get('delsp')?.trim().toLowerCase() === 'yes') : text;
}

/**
 * text/enriched and its predecessor (RFC 1896): commands in angle brackets, `<<` for a bracket. What cannot be the name
 * of a command, as an address, stays.
 */
function withoutMarkup(text: string): string {
  return text.replace(/<<|<param>[^<]{0,1000}<\/param>|<\/?[a-z][a-z0-9-]{0,59}>/giu, (mark) =>
    mark === '<<' ? '<' : '',
  );
}

const signatureLine = '-- ';

/** Pieces are joined when there are so many: joining millions at once takes a gigabyte. */
const piecesMax = 10_000;

/**
 * Joins the lines of format=flowed (RFC 3676) to paragraphs, quoted ones too, in one pass. `deletesSpace` is the DelSp
 * parameter: the blank that marks a soft break belongs to no word (section 4.3).
 */
function unflow(text: string, deletesSpace: boolean): string {
  const whole: string[] = [];
  const pieces: string[] = [];
  /** True while a paragraph continues; all its lines have one depth. */
  let isOpen = false;
  let openDepth = 0;
  for (let start = 0; start <= text.length; ) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    const { depth, content } = readLine(text.slice(start, end));
    // A paragraph ends where the depth changes, even if its last line is flowed (section 4.5).
    const isContinued = isOpen && depth === openDepth && content !== signatureLine;
    if (!isContinued) pieces.push(start === 0 ? '' : '\n', depth === 0 ? '' : `${'>'.repeat(depth)} `);
    openDepth = depth;
    isOpen = content.endsWith(' ') && content !== signatureLine;
    pieces.push(isOpen && deletesSpace ? content.slice(0, -1) : content);
    if (pieces.length > piecesMax) whole.push(pieces.splice(0).join(''));
    start = end + 1;
  }
  whole.push(pieces.join(''));
  return whole.join('');
}

/** Quote depth and content of a line, the space-stuffing (section 4.4) removed. */
function readLine(line: string): { readonly depth: number; readonly content: string } {
  let depth = 0;
  while (line.charCodeAt(depth) === 0x3e) depth += 1;
  return { depth, content: line.slice(line.charAt(depth) === ' ' ? depth + 1 : depth) };
}

/** The text as it can be stored: LF line ends, no NUL, no lone surrogate. */
export function storable(text: string): string {
  const lines = text.includes('\r') ? withLineFeeds(text) : text;
  return (lines.includes('\0') ? lines.replaceAll('\0', '') : lines).toWellFormed();
}

/** Characters that are changed at a time. */
const pieceLength = 100_000;

/** Long texts are changed in pieces and as character codes: replacing millions of line ends takes seconds. */
function withLineFeeds(text: string): string {
  if (text.length <= pieceLength) return text.replace(/\r\n?/gu, '\n');
  const pieces: string[] = [];
  for (let start = 0; start < text.length; ) {
    const end = start + pieceLength;
    const next = text.startsWith('\r\n', end - 1) ? end + 1 : end;
    pieces.push(pieceWithLineFeeds(text.slice(start, next)));
    start = next;
  }
  return pieces.join('');
}

function pieceWithLineFeeds(piece: string): string {
  const isLatin = !/[^\u0000-\u00ff]/u.test(piece);
  const codes = isLatin ? new Uint8Array(piece.length) : new Uint16Array(piece.length);
  let length = 0;
  for (let at = 0; at < piece.length; at += 1) {
    const code = piece.charCodeAt(at);
    codes[length++] = code === carriageReturn ? lineFeed : code;
    if (code === carriageReturn && piece.charCodeAt(at + 1) === lineFeed) at += 1;
  }
  const bytes = Buffer.from(codes.buffer, 0, length * codes.BYTES_PER_ELEMENT);
  return bytes.toString(isLatin ? 'latin1' : 'utf16le');
}
