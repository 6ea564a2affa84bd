/**
 * Makes text that can be stored and read: LF line ends, no NUL, no broken surrogates; and text out of HTML.
 *
 * HTML of strangers is measured before it is converted, since the converter's cost, and the length of what it makes,
 * grow with the number of elements times how deep they nest. What is too long, too deep or too much gets its tags cut
 * out instead. It never fails and renders nothing.
 */
import { compile } from 'html-to-text';

const convertedLengthMax = 2_000_000;
const nestingMax = 100;
const tagsMax = 20_000;
/** Text that is so much longer than its HTML is indentation, not writing. */
const growthMax = 3;
/** A counted level is up to four real ones (table, tbody, tr, td), so that nothing of what is converted is cut. */
const convertedDepthMax = 4 * nestingMax + 1;

const convert = compile({
  wordwrap: false,
  selectors: [
    { selector: 'img', format: 'skip' },
    { selector: 'a', options: { hideLinkHrefIfSameAsText: true, noAnchorUrl: true } },
    ...['h1', 'h2', 'h3', 'h4', 'h5', 'h6'].map((selector) => ({ selector, options: { uppercase: false } })),
  ],
  limits: { maxDepth: convertedDepthMax },
});

/** LF line ends, no NUL, no lone surrogate. */
export function storable(text: string): string {
  return (text.includes('\r') ? text.replace(/\r\n?/gu, '\n') : text).replaceAll('\0', '').toWellFormed();
}

/** Readable text of an HTML mail. */
export function textOfHtml(html: string): string {
  if (html.length > convertedLengthMax || !isModest(html)) return storable(withoutTags(html)).trim();
  try {
    const text = convert(html);
    return storable(text.length > growthMax * html.length ? withoutTags(html) : text).trim();
  } catch (error) {
    // The converter calls itself for each level, and how many fit depends on the stack of the thread.
    if (!(error instanceof RangeError)) throw error;
    return storable(withoutTags(html)).trim();
  }
}

/** Elements that hold nothing, and those that the next of their kind closes: an unclosed run of them is not deep. */
const flatElements: ReadonlySet<string> = new Set(
  (
    'area base br col embed hr img input link meta param source track wbr ' +
    'p li dt dd option optgroup tr td th thead tbody tfoot rt rp'
  ).split(' '),
);

/** Few enough tags, nested not too deep; counts too much rather than too little where tags are crossed. */
function isModest(html: string): boolean {
  const open = new Map<string, number>();
  let depth = 0;
  let tags = 0;
  for (const [, slash, sentName = ''] of html.matchAll(/<(\/?)([a-z][a-z0-9:-]*)/giu)) {
    tags += 1;
    if (tags > tagsMax) return false;
    const name = sentName.toLowerCase();
    const count = open.get(name) ?? 0;
    if (flatElements.has(name) || (slash === '/' && count === 0)) continue;
    open.set(name, slash === '/' ? count - 1 : count + 1);
    depth += slash === '/' ? -1 : 1;
    if (depth > nestingMax) return false;
  }
  return true;
}

function withoutTags(html: string): string {
  return html
    .replace(/<(style|script)\b[^<>]*>[^<]*/giu, '')
    .replace(/<(?:br|\/p|\/div|\/tr|\/li)\b[^<>]*>/giu, '\n')
    .replace(/<[^<>]*>/gu, ' ')
    .replace(/&(nbsp|lt|gt|quot|amp);/gu, (_, name: string) => entities[name] ?? ' ');
}

const entities: Readonly<Record<string, string>> = { nbsp: ' ', lt: '<', gt: '>', quot: '"', amp: '&' };
