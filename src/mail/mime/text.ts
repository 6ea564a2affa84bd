/**
 * Makes text that can be stored and read: LF line ends, no NUL, no broken surrogates; and text out of HTML.
 *
 * HTML of strangers is measured before it is converted, since the converter's cost, and the length of what it makes,
 * grow with the number of elements and words times how deep they nest. What is too long, too deep or too much, alone or
 * for all parts of a mail together, gets its tags cut out instead. It never fails and renders nothing.
 */

import { isUtf8 } from 'node:buffer';
import { decodeText } from '../charset/decode.ts';
import { lazyRequire } from '../lazy-require.ts';
import { type EmbeddedFile, findEmbeddedFiles, viewDecoded } from './transfer-encoding.ts';
import type { MimePart } from './tree.ts';

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const space = 0x20;
const tagClose = 0x3e;

const convertedLengthMax = 2_000_000;
const nestingMax = 100;
const tagsMax = 20_000;
/** Text that is so much longer than its HTML is indentation, not writing. */
const growthMax = 3;
/** Of `costOf`, for one mail: under a second. Mails that people wrote cost 1,000 to 200,000. */
const budgetMax = 1_500_000;
/** A counted level is up to four real ones (table, tbody, tr, td), so that nothing of what is converted is cut. */
const convertedDepthMax = 4 * nestingMax + 1;

const hiddenSelectors = [
  ...['title', '[hidden]', '[style*="display:none" i]', '[style*="display: none" i]'],
  ...['[style*="mso-hide:all" i]', '[style*="mso-hide: all" i]', '[style*="visibility:hidden" i]'],
];

/** Stands between the cells of a row until all text is there; a tab would be taken for white space. */
const cellMark = '\u001f';

const converter = lazyRequire((require) => {
  const { compile } = require('html-to-text') as typeof import('html-to-text');
  return compile({
    wordwrap: false,
    selectors: [
      { selector: 'img', format: 'skip' },
      // The button that indents: no quotation.
      { selector: 'blockquote[style*="border:none" i]', format: 'block' },
      { selector: 'blockquote[style*="border: none" i]', format: 'block' },
      // Of newsletters: a line for the list of mails, which the reader of the mail does not see.
      ...hiddenSelectors.map((selector) => ({ selector, format: 'skip' })),
      { selector: 'tr', format: 'block', options: { leadingLineBreaks: 1, trailingLineBreaks: 1 } },
      ...['td', 'th'].map((selector) => ({ selector, format: 'inlineSurround', options: { suffix: cellMark } })),
      { selector: 'a', options: { hideLinkHrefIfSameAsText: true, noAnchorUrl: true } },
      ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((selector) => ({ selector, options: { uppercase: false } })),
    ],
    limits: { maxDepth: convertedDepthMax },
  });
});

/** LF line ends, no NUL, no lone surrogate. */
export function storable(text: string): string {
  const lines = text.includes('\r') ? withLineFeeds(text) : text;
  return (lines.includes('\0') ? lines.replaceAll('\0', '') : lines).toWellFormed();
}

const pieceLength = 100_000;

/** Long texts in pieces, and as numbers: replacing millions of line ends takes seconds. */
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

/** What is left for converting the HTML of one mail, in the units of `costOf`. */
export type HtmlBudget = { left: number };

export const htmlBudget = (): HtmlBudget => ({ left: budgetMax });

/** Readable text of HTML. `budget` is taken from; all parts of a mail share one. */
export function textOfHtml(html: string, budget: HtmlBudget = htmlBudget()): string {
  const cost = html.length > convertedLengthMax ? Infinity : costOf(html, budget.left);
  const fits = cost <= budget.left;
  // Measuring takes its time too: what does not fit takes half of what is left.
  budget.left -= fits ? cost : budget.left / 2;
  if (!fits) return storable(withoutTags(html)).trim();
  try {
    const text = withTabs(converter()(html));
    // Where all of it is hidden, it is hidden for another reason.
    const isUseless = text.trim() === '' || text.length > growthMax * html.length;
    return storable(isUseless ? withoutTags(html) : text).trim();
  } catch (error) {
    // The converter calls itself for each level, and how many fit depends on the stack of the thread.
    if (!(error instanceof RangeError)) throw error;
    return storable(withoutTags(html)).trim();
  }
}

/** A tab between two cells, none at the ends of a row: most tables only arrange what is in them. */
function withTabs(text: string): string {
  if (!text.includes(cellMark)) return text;
  const lines: string[] = [];
  let isAfterMarks = false;
  for (const line of text.split('\n')) {
    const cells = withoutEnd(line.replace(/^[\u001f ]+/u, (start) => start.replaceAll(cellMark, '')));
    const isEmpty = cells.trim() === '';
    // What ends a cell after a paragraph stands alone in its line, and makes two gaps of one.
    const isGap = isEmpty && (isAfterMarks || line !== cells) && lines.at(-1) === '';
    isAfterMarks = isEmpty && (isAfterMarks || line !== cells);
    if (!isGap) lines.push(isEmpty ? '' : cells);
  }
  return lines.join('\n').replaceAll(cellMark, '\t');
}

/** In one pass: a pattern that tries every start takes the square. */
function withoutEnd(line: string): string {
  let end = line.length;
  while (end > 0 && line.charAt(end - 1) === cellMark) end -= 1;
  return line.slice(0, end);
}

/** Elements that hold nothing, and those that the next of their kind closes: an unclosed run of them is not deep. */
const flatElements: ReadonlySet<string> = new Set(
  (
    'area base br col embed hr img input link meta param source track wbr ' +
    'p li dt dd option optgroup tr td th thead tbody tfoot rt rp'
  ).split(' '),
);

/** What each costs beside the levels it is in: a character a quarter, a tag this. */
const tagCost = 20;
/** Words that cost as much as one tag or one line of a `pre`, for each level. */
const wordsPerTag = 3;

/**
 * About how long the converter takes, in half microseconds; without end where there are too many tags or levels, or it
 * is more than `costMax`. Counts too much rather than too little where tags are crossed.
 */
function costOf(html: string, costMax: number): number {
  const open = new Map<string, number>();
  const wordCost = /<pre\b/iu.test(html) ? 1 : 1 / wordsPerTag;
  let depth = 0;
  let tags = 0;
  let cost = html.length / 4;
  let tagEnd = 0;
  for (const { 1: slash, 2: sentName = '', index } of html.matchAll(/<(\/?)([a-z][a-z0-9:-]*)/giu)) {
    tags += 1;
    if (tags > tagsMax || cost > costMax) return Infinity;
    cost += tagCost + depth + (depth === 0 ? 0 : depth * wordCost * blanksIn(html, tagEnd, index));
    tagEnd = index + 1;
    const name = sentName.toLowerCase();
    const count = open.get(name) ?? 0;
    if (flatElements.has(name) || (slash === '/' && count === 0)) continue;
    open.set(name, slash === '/' ? count - 1 : count + 1);
    depth += slash === '/' ? -1 : 1;
    if (depth > nestingMax) return Infinity;
  }
  return cost + depth * wordCost * blanksIn(html, tagEnd, html.length);
}

/** How many blanks and line ends stand between a tag, of which `start` is within, and the next one at `end`. */
function blanksIn(html: string, start: number, end: number): number {
  let count = 0;
  for (let at = end - 1; at >= start; at -= 1) {
    const code = html.charCodeAt(at);
    if (code === tagClose) break;
    if (code <= space) count += 1;
  }
  return count;
}

/** Tags cut out of it, and the commonest entities put in. */
function withoutTags(html: string): string {
  // Nothing that is replaced reaches over such a sign.
  return inPieces(inPieces(html, '<', cutTags), '&', (piece) =>
    piece.replace(/&(nbsp|lt|gt|quot|amp);/gu, (_, name: string) => entities[name] ?? ' '),
  );
}

function cutTags(html: string): string {
  return html
    .replace(/<(style|script)\b[^<>]*>[^<]*/giu, '')
    .replace(/<(?:br|hr|\/p|\/div|\/tr|\/li|\/blockquote|\/h[1-6])\b[^<>]*>/giu, '\n')
    .replace(/<[^<>]*>/gu, ' ');
}

/** Long texts are changed piece by piece: millions of replacements at once take gigabytes. Each piece begins with `sign`. */
function inPieces(text: string, sign: string, change: (piece: string) => string): string {
  if (text.length <= pieceLength) return change(text);
  const pieces: string[] = [];
  for (let start = 0; start < text.length; ) {
    const end = Math.min(text.length, start + pieceLength);
    const before = end === text.length ? end : text.lastIndexOf(sign, end);
    const next = before > start ? before : text.indexOf(sign, end);
    pieces.push(change(text.slice(start, next < 0 ? text.length : next)));
    start = next < 0 ? text.length : next;
  }
  return pieces.join('');
}

const entities: Readonly<Record<string, string>> = { nbsp: ' ', lt: '<', gt: '>', quot: '"', amp: '&' };

/**
 * Reads a text part: its bytes, decoded from their transfer encoding and charset, as text that can be stored.
 *
 * Files that are written into plain text (uuencode, yEnc) are taken out of it; flowed text is put together again. HTML
 * may name its own charset, which counts where the part names none. Any bytes give text; it never fails.
 */

const metaSearchBytes = 2048;

/** HTML as sent, with LF line ends. */
export function readHtmlPart(part: MimePart): string {
  const bytes = viewDecoded(part.raw, part.encoding);
  const label = part.parameters.get('charset') ?? null;
  const isTold = label !== null || isUtf8(bytes);
  return storable(decodeText(bytes, label, isTold ? null : charsetOfHtml(bytes)));
}

/** The charset that a page names in its head (`meta`), or null. */
function charsetOfHtml(bytes: Uint8Array): string | null {
  const start = asBuffer(bytes).toString('latin1', 0, metaSearchBytes);
  return /\bcharset\s{0,9}=\s{0,9}["']?([\w.:-]{1,40})/iu.exec(start)?.[1] ?? null;
}

/** Plain text, and the files that were in it. */
export function readPlainPart(part: MimePart): { readonly text: string; readonly files: readonly EmbeddedFile[] } {
  const bytes = asBuffer(viewDecoded(part.raw, part.encoding));
  const files = findEmbeddedFiles(bytes);
  const text = storable(decodeText(withoutFiles(bytes, files), part.parameters.get('charset') ?? null));
  return { text: readable(part, text), files };
}

function readable({ type, parameters }: MimePart, text: string): string {
  if (type !== 'text/plain') return withoutMarkup(text);
  const isFlowed = parameters.get('format')?.trim().toLowerCase() === 'flowed';
  return isFlowed ? unflow(text, parameters.get('delsp')?.trim().toLowerCase() === 'yes') : text;
}

/**
 * text/enriched and its forerunner (RFC 1896): commands in angle brackets, `<<` for a bracket. What cannot be the name
 * of a command, as an address, stays.
 */
function withoutMarkup(text: string): string {
  return text.replace(/<<|<param>[^<]{0,1000}<\/param>|<\/?[a-z][a-z0-9-]{0,59}>/giu, (mark) =>
    mark === '<<' ? '<' : '',
  );
}

function withoutFiles(bytes: Buffer, files: readonly EmbeddedFile[]): Buffer {
  if (files.length === 0) return bytes;
  const pieces: Buffer[] = [];
  let from = 0;
  for (const { start, end } of files) {
    pieces.push(bytes.subarray(from, start));
    from = end;
  }
  return Buffer.concat([...pieces, bytes.subarray(from)]);
}

const asBuffer = (bytes: Uint8Array) => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);

/**
 * Undoes `format=flowed` (RFC 3676): lines that were broken to fit become paragraphs again, quoted ones too.
 *
 * Takes any text with LF line ends, one pass; what was never flowed comes out as it is.
 */

const signatureLine = '-- ';

/** Pieces are put together when there are so many: millions at once take a gigabyte. */
const piecesMax = 10_000;

/** `deletesSpace` is the DelSp parameter: the blank that marks a soft break belongs to no word (section 4.3). */
function unflow(text: string, deletesSpace: boolean): string {
  const whole: string[] = [];
  const pieces: string[] = [];
  /** True while a paragraph goes on, all of one depth. */
  let isOpen = false;
  let openDepth = 0;
  for (let start = 0; start <= text.length; ) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    const { depth, content } = readLine(text.slice(start, end));
    // A paragraph ends where the depth changes, whatever its last line says (section 4.5).
    const goesOn = isOpen && depth === openDepth && content !== signatureLine;
    if (!goesOn) pieces.push(start === 0 ? '' : '\n', depth === 0 ? '' : `${'>'.repeat(depth)} `);
    openDepth = depth;
    isOpen = content.endsWith(' ') && content !== signatureLine;
    pieces.push(isOpen && deletesSpace ? content.slice(0, -1) : content);
    if (pieces.length > piecesMax) whole.push(pieces.splice(0).join(''));
    start = end + 1;
  }
  whole.push(pieces.join(''));
  return whole.join('');
}

/** One blank is put before lines that begin with a blank, a `>`, or `From ` (section 4.4). */
function readLine(line: string): { readonly depth: number; readonly content: string } {
  let depth = 0;
  while (line.charCodeAt(depth) === 0x3e) depth += 1;
  return { depth, content: line.slice(line.charAt(depth) === ' ' ? depth + 1 : depth) };
}
