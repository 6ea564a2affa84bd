/**
 * Quoted history and signatures: marks what in the text of a message is not new (reply extraction).
 *
 * History is lines with `>` and their attribution, and everything after a title ("Original Message"), a header block,
 * an attribution without `>`, or the line of a helpdesk. Replies between quotes stay. A forwarded message is no
 * history. The text is never cut. Linear in the length of the text; never fails.
 */
import type { Mark } from '../message.ts';
import { plainReplyAbove, type SubjectKind, subjectKind, titleAt } from './forward.ts';
import { attributionFinder, headerBlockFinder, labelledEnd, mayEndAttribution } from './introductions.ts';
import {
  endsWithColon,
  isRule,
  type LineRange,
  lengthOf,
  lineAt,
  lineKinds,
  skipBlank,
  skipBlankBack,
  splitLines,
  startOf,
  type TextLines,
} from './lines.ts';
import { signatureRanges } from './signature.ts';

/** Start of a history, end of its introduction, and the form of it. */
type Introduction = LineRange & { readonly by: 'title' | 'fields' | 'attribution' | 'reply_above' };

type Scan = {
  readonly lines: TextLines;
  readonly findAttribution: ReturnType<typeof attributionFinder>;
  readonly findHeaderBlock: ReturnType<typeof headerBlockFinder>;
  readonly subject: SubjectKind | null;
  /** The undecorated line that asks for the reply above it; -1 for none. */
  readonly plainReplyAboveLine: number;
  readonly quotes: LineRange[];
  /** The first line after the last quote. */
  floor: number;
  /** True after words of the sender. */
  hasWords: boolean;
};

/** Characters of a text that are searched; people write less, and programs do not sign. */
const searchedMax = 400_000;

/**
 * Marks of `text`, ascending and without overlap, each of whole lines. In a forward, by the subject, nothing is marked
 * from the forwarded message on. Beyond `searchedMax` characters no mark begins, and none is a signature.
 */
export function markText(text: string, subject = ''): readonly Mark[] {
  if (text.length <= searchedMax) return marksIn(text, subject);
  const cut = text.lastIndexOf('\n', searchedMax - 1) + 1;
  const start = text.slice(0, cut);
  const lastWords = start.trimEnd();
  const lastLine = lastWords.slice(lastWords.lastIndexOf('\n') + 1).trimStart();
  return marksIn(start, subject).flatMap((mark) => {
    if (mark.end < lastWords.length) return [mark];
    if (mark.kind === 'signature') return [];
    // Lines quoted one by one may have a reply below, history has none.
    return [lastLine.startsWith('>') ? mark : { ...mark, end: text.length }];
  });
}

function marksIn(text: string, subject: string): readonly Mark[] {
  const lines = splitLines(text);
  const scan: Scan = {
    lines,
    findAttribution: attributionFinder(lines),
    findHeaderBlock: headerBlockFinder(lines),
    subject: subjectKind(subject),
    plainReplyAboveLine: plainReplyAbove(lines),
    quotes: [],
    floor: 0,
    hasWords: false,
  };
  const end = scanLines(scan);
  return allMarks(lines, scan.quotes, end);
}

/** The line that is read next; or the end, the line from which on nothing is marked. */
type Step = { readonly next: number } | { readonly end: number };

/** Fills `scan.quotes`. Returns the line from which on nothing is marked: the beginning of a forwarded message. */
function scanLines(scan: Scan): number {
  const { lines } = scan;
  let index = skipBlank(lines, 0, lines.count);
  while (index < lines.count) {
    const step = lines.kinds[index] === lineKinds.text ? textStep(scan, index) : quoteStep(scan, index);
    if ('end' in step) return step.end;
    index = skipBlank(lines, step.next, lines.count);
  }
  return lines.count;
}

function quoteStep(scan: Scan, index: number): Step {
  const run = quotedRun(scan, index);
  if (run === null) return { next: index + 1 };
  return scan.subject === 'forward' ? { end: run.start } : { next: addQuote(scan, run) };
}

function textStep(scan: Scan, index: number): Step {
  if (titleAt(scan.lines, index) === 'forward') return { end: withRuleAbove(scan, index) };
  const introduction = introductionAt(scan, index);
  if (introduction === null) return { next: index + 1 };
  if (scan.subject === 'forward' && introduction.by !== 'reply_above') return { end: introduction.start };
  const next = addHistory(scan, introduction);
  return next === null ? { end: scan.lines.count } : { next };
}

/** Lines with `>`, blank ones between them, and the attribution above; null for no quote. */
function quotedRun(scan: Scan, index: number): LineRange | null {
  const { lines, floor } = scan;
  const above = skipBlankBack(lines, index, floor) - 1;
  const isNear = above >= floor && lines.kinds[above] === lineKinds.text;
  const attribution = isNear ? scan.findAttribution(above, floor, true) : -1;
  // The run is measured only where it counts, since it may be the whole text.
  if (attribution === -1 && lines.kinds[index] === lineKinds.weak && !areInitials(lines, index)) return null;
  const end = endOfRun(lines, index);
  if (attribution !== -1) return { start: withRuleAbove(scan, attribution), end };
  return end === index + 1 && isStrayBracket(lines, index) ? null : { start: index, end };
}

const initials = /^\s{0,3}[A-Z]{1,3}>(?:[ >]|$)/u;

/** Two lines with initials before `>` are a quote, one may be a comparison. */
function areInitials(lines: TextLines, index: number): boolean {
  if (index + 1 >= lines.count || lines.kinds[index + 1] !== lineKinds.weak) return false;
  return initials.test(lineAt(lines, index)) && initials.test(lineAt(lines, index + 1));
}

function endOfRun(lines: TextLines, index: number): number {
  let end = index + 1;
  for (let at = end; at < lines.count; at += 1) {
    if (lines.kinds[at] === lineKinds.text) return end;
    if (lines.kinds[at] !== lineKinds.blank) end = at + 1;
  }
  return end;
}

/** A `>` that quotes nothing: `>From ` as mbox files escape it, and the end of a wrapped address in `<…>`. */
function isStrayBracket(lines: TextLines, index: number): boolean {
  const line = lineAt(lines, index);
  if (line.startsWith('>From ')) return true;
  if (index === 0 || line.length > 200) return false;
  const above = lines.kinds[index - 1] === lineKinds.text ? lineAt(lines, index - 1) : '';
  return above.lastIndexOf('<') > above.lastIndexOf('>');
}

function introductionAt(scan: Scan, index: number): Introduction | null {
  const { lines, floor } = scan;
  const title = titleAt(lines, index);
  if (title === 'reply_above' || index === scan.plainReplyAboveLine) {
    return { start: withAttributionAbove(scan, index), end: index + 1, by: 'reply_above' };
  }
  if (title !== null) return { start: withRuleAbove(scan, index), end: endOfTitle(scan, index), by: 'title' };
  const fieldsEnd = scan.findHeaderBlock(index);
  if (fieldsEnd !== -1) return { start: withAttributionAbove(scan, index), end: fieldsEnd, by: 'fields' };
  if (!mayEndAttribution(lines, index)) return null;
  const below = skipBlank(lines, index + 1, lines.count);
  // Quoted lines that follow include the attribution.
  if (below < lines.count && lines.kinds[below] !== lineKinds.text) return null;
  const attribution = scan.findAttribution(index, floor, false);
  return attribution === -1 ? null : { start: withRuleAbove(scan, attribution), end: index + 1, by: 'attribution' };
}

/** The end of a title with the header block, or the attribution, below it. */
function endOfTitle(scan: Scan, index: number): number {
  const { lines } = scan;
  const below = skipBlank(lines, index + 1, lines.count);
  const fieldsEnd = below < lines.count ? scan.findHeaderBlock(below) : -1;
  if (fieldsEnd !== -1) return fieldsEnd;
  for (let at = below; at < lines.count && at < below + 5 && lines.kinds[at] === lineKinds.text; at += 1) {
    if (endsWithColon(lines, at) && scan.findAttribution(at, below, true) !== -1) return at + 1;
  }
  const fields = labelledEnd(lines, below);
  return fields > below ? fields : index + 1;
}

/** The drawn line above `index`, else `index`. */
function withRuleAbove(scan: Scan, index: number): number {
  const above = skipBlankBack(scan.lines, index, scan.floor) - 1;
  return above >= scan.floor && isRule(lineAt(scan.lines, above)) ? above : index;
}

/** A header block and the line of a helpdesk may have an attribution above them, and that a drawn line. */
function withAttributionAbove(scan: Scan, index: number): number {
  const { lines, floor } = scan;
  const above = skipBlankBack(lines, index, floor) - 1;
  const isNear = above >= floor && lines.kinds[above] === lineKinds.text && lengthOf(lines, above) <= 400;
  const attribution = isNear && endsWithColon(lines, above) ? scan.findAttribution(above, floor, true) : -1;
  return withRuleAbove(scan, attribution === -1 ? index : attribution);
}

/** Marks a history. Returns the line after it, or null where nothing else is to be marked. */
function addHistory(scan: Scan, introduction: Introduction): number | null {
  const { lines } = scan;
  const { start, end, by } = introduction;
  const body = skipBlank(lines, end, lines.count);
  const isQuoted = body < lines.count && lines.kinds[body] === lineKinds.quote;
  if (isQuoted && by !== 'reply_above') return addQuote(scan, { start, end: endOfRun(lines, body) });
  const hasWords = scan.hasWords || skipBlank(lines, scan.floor, start) < start;
  if (hasWords || (scan.subject === 'reply' && (by === 'title' || by === 'fields'))) {
    addQuote(scan, { start, end: lines.count });
    return null;
  }
  // With nothing new above, the text below is what the sender wants read.
  if (by === 'title' || by === 'fields') return null;
  return addQuote(scan, { start, end });
}

/** Adds a quote and returns the line after it. */
function addQuote(scan: Scan, { start, end }: LineRange): number {
  scan.hasWords ||= skipBlank(scan.lines, scan.floor, start) < start;
  scan.quotes.push({ start, end });
  scan.floor = end;
  return end;
}

/** Stretches between quotes that are searched for a signature. */
const signedStretchesMax = 1_000;

/** Marks of one message; a conversation of fifty messages has a few hundred. */
const marksMax = 10_000;

/** Quotes, and the signatures in the text between them, before the line `end`. */
function allMarks(lines: TextLines, quotes: readonly LineRange[], end: number): readonly Mark[] {
  const marks: Mark[] = [];
  let floor = 0;
  for (const [index, quote] of [...quotes, { start: end, end }].entries()) {
    if (marks.length >= marksMax) break;
    const signatures = index < signedStretchesMax ? signatureRanges(lines, floor, quote.start) : [];
    for (const range of signatures) marks.push(markOf(lines, 'signature', range));
    if (quote.start < quote.end) marks.push(markOf(lines, 'quote', quote));
    floor = quote.end;
  }
  return marks;
}

function markOf(lines: TextLines, kind: Mark['kind'], range: LineRange): Mark {
  return { kind, start: startOf(lines, range.start), end: startOf(lines, range.end) };
}

/** The text without the marks: the sender's new words, with a blank line instead of each mark. */
export function replyTextOf(text: string, marks: readonly Mark[]): string {
  const pieces: string[] = [];
  let from = 0;
  for (const { start, end } of [...marks, { start: text.length, end: text.length }]) {
    const piece = withoutBlankEnds(text.slice(from, start));
    if (piece !== '') pieces.push(piece);
    from = end;
  }
  return pieces.join('\n\n').trim();
}

/** Strips blank lines at both ends; the indentation of the first line stays. */
function withoutBlankEnds(piece: string): string {
  const first = piece.length - piece.trimStart().length;
  return piece.slice(piece.lastIndexOf('\n', first) + 1).trimEnd();
}
