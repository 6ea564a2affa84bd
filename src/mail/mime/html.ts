/**
 * HTML to readable text, within a budget of conversion cost for each message; nothing is rendered or sanitised.
 *
 * html-to-text converts; its cost and the length of its output grow with elements and words times their nesting depth,
 * so that the cost of untrusted HTML is measured first. HTML that is too long, too deep or over the budget gets its
 * tags cut out instead. Never fails.
 */
import { lazyRequire } from '../lazy-require.ts';
import { storable } from './text.ts';

const space = 0x20;
const tagClose = 0x3e;

const convertedLengthMax = 2_000_000;
const nestingMax = 100;
const tagsMax = 20_000;
/** Text that is so much longer than its HTML is mostly indentation. */
const growthMax = 3;
/** Units of `costOf` for one message: under a second. Messages that people wrote cost 1,000 to 200,000. */
const budgetMax = 1_500_000;
/** One counted level is up to four for the converter (table, tbody, tr, td), so that it cuts nothing. */
const convertedDepthMax = 4 * nestingMax + 1;

const hiddenSelectors = [
  ...['title', '[hidden]', '[style*="display:none" i]', '[style*="display: none" i]'],
  ...['[style*="mso-hide:all" i]', '[style*="mso-hide: all" i]', '[style*="visibility:hidden" i]'],
];

/** Separates the cells of a row during conversion; the converter would collapse a tab as white space. */
const cellMark = '\u001f';

const converter = lazyRequire((require) => {
  const { compile } = require('html-to-text') as { compile: (options: object) => (html: string) => string };
  return compile({
    wordwrap: false,
    selectors: [
      { selector: 'img', format: 'skip' },
      // Indentation made by an editor, no quotation.
      { selector: 'blockquote[style*="border:none" i]', format: 'block' },
      { selector: 'blockquote[style*="border: none" i]', format: 'block' },
      // Preview lines of newsletters, which are shown in message lists only.
      ...hiddenSelectors.map((selector) => ({ selector, format: 'skip' })),
      { selector: 'tr', format: 'block', options: { leadingLineBreaks: 1, trailingLineBreaks: 1 } },
      ...['td', 'th'].map((selector) => ({ selector, format: 'inlineSurround', options: { suffix: cellMark } })),
      { selector: 'a', options: { hideLinkHrefIfSameAsText: true, noAnchorUrl: true } },
      ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((selector) => ({ selector, options: { uppercase: false } })),
    ],
    limits: { maxDepth: convertedDepthMax },
  });
});

/** Conversion cost left for one message, in the units of `costOf`. */
export type HtmlBudget = { left: number };

export const htmlBudget = (): HtmlBudget => ({ left: budgetMax });

/** Readable text of HTML. The cost is deducted from `budget`, which all parts of a message share. */
export function textOfHtml(html: string, budget: HtmlBudget = htmlBudget()): string {
  const cost = html.length > convertedLengthMax ? Infinity : costOf(html, budget.left);
  const fits = cost <= budget.left;
  // Measuring costs time too: HTML that does not fit takes half of what is left.
  budget.left -= fits ? cost : budget.left / 2;
  if (!fits) return storable(withoutTags(html)).trim();
  try {
    const text = withTabs(converter()(html));
    // HTML that is hidden as a whole is hidden for another reason, and shown.
    const isUseless = text.trim() === '' || text.length > growthMax * html.length;
    return storable(isUseless ? withoutTags(html) : text).trim();
  } catch (error) {
    // The converter recurses for each level, and the depth that fits depends on the stack of the thread.
    if (!(error instanceof RangeError)) throw error;
    return storable(withoutTags(html)).trim();
  }
}

/** Puts a tab between two cells, none at the ends of a row: most tables are mere layout. */
function withTabs(text: string): string {
  if (!text.includes(cellMark)) return text;
  const lines: string[] = [];
  let isAfterMarks = false;
  for (const line of text.split('\n')) {
    const cells = withoutEnd(line.replace(/^[\u001f ]+/u, (start) => start.replaceAll(cellMark, '')));
    const isEmpty = cells.trim() === '';
    // The mark after a paragraph in a cell has a line of its own, which would double the gap.
    const isGap = isEmpty && (isAfterMarks || line !== cells) && lines.at(-1) === '';
    isAfterMarks = isEmpty && (isAfterMarks || line !== cells);
    if (!isGap) lines.push(isEmpty ? '' : cells);
  }
  return lines.join('\n').replaceAll(cellMark, '\t');
}

/** One pass: a pattern that tries every start takes quadratic time. */
function withoutEnd(line: string): string {
  let end = line.length;
  while (end > 0 && line.charAt(end - 1) === cellMark) end -= 1;
  return line.slice(0, end);
}

/** Void elements, and those that the next of their kind closes: an unclosed run of them is not deep. */
const flatElements: ReadonlySet<string> = new Set(
  (
    'area base br col embed hr img input link meta param source track wbr ' +
    'p li dt dd option optgroup tr td th thead tbody tfoot rt rp'
  ).split(' '),
);

/** Cost of a tag beside that of the levels it is in; a character costs a quarter. */
const tagCost = 20;
/** Words that cost as much, per level, as one tag or one line of a `pre`. */
const wordsPerTag = 3;

/**
 * Estimated time of the conversion in half microseconds; Infinity for too many tags or levels, or above `costMax`.
 * Overestimates rather than underestimates where tags overlap.
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

/** Number of blanks and line ends between the tag around `start` and the next tag at `end`. */
function blanksIn(html: string, start: number, end: number): number {
  let count = 0;
  for (let at = end - 1; at >= start; at -= 1) {
    const code = html.charCodeAt(at);
    if (code === tagClose) break;
    if (code <= space) count += 1;
  }
  return count;
}

/** The HTML with its tags cut out and the commonest entities replaced. */
function withoutTags(html: string): string {
  // No replacement spans such a sign.
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

/** Characters that are changed at a time. */
const pieceLength = 100_000;

/** Changes a long text in pieces that begin with `sign`: millions of replacements at once take gigabytes. */
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
