/**
 * Finds what in the text of a mail is not new: the quoted history of the conversation, and the signature.
 *
 * History is lines with `>` and their attribution, and everything from a title ("Original Message"), a block of
 * fields, an attribution without `>`, or the line of a helpdesk on. Answers between quotes stay. What a forward
 * passes on is no history. The text is never cut; it never fails, and takes time linear in the length of the text.
 */

import type { Mark } from '../message.ts';
import { type AttributionFinder, attributionFinder } from './attribution.ts';
import { type HeaderBlockFinder, headerBlockFinder, labelledEnd } from './header-block.ts';
import { lengthOf, lineAt, lineKinds, skipBlank, skipBlankBack, splitLines, startOf, type TextLines } from './lines.ts';
import { signatureRanges } from './signature.ts';
import { subjectKind } from './subject.ts';
import { endsWithColon, isRule, mayEndAttribution, plainReplyAbove, titleAt } from './titles.ts';

/** Lines from `start` until before `end`. */
type Range = { readonly start: number; readonly end: number };

/** Where a history begins, where its introduction ends, and what introduces it. */
type Introduction = Range & { readonly by: 'title' | 'fields' | 'attribution' | 'reply_above' };

type Walk = {
  readonly lines: TextLines;
  readonly findAttribution: AttributionFinder;
  readonly findHeaderBlock: HeaderBlockFinder;
  readonly subject: ReturnType<typeof subjectKind>;
  /** The line that asks for the answer above it, without any decoration; -1 where there is none. */
  readonly plainAbove: number;
  readonly quotes: Range[];
  /** The first line that no quote has taken yet. */
  floor: number;
  /** True once the sender's own words were passed. */
  hasWords: boolean;
};

/** Of a longer text only so much is looked at: nobody writes so much, and programs sign nothing. */
const lookedAtMax = 400_000;

/**
 * Stretches of `text`, ascending and without overlap, each of whole lines. The subject tells a forward, whose text
 * from the first sign of an older mail on is left alone. Beyond `lookedAtMax` characters nothing begins or is signed.
 */
export function markText(text: string, subject = ''): readonly Mark[] {
  if (text.length <= lookedAtMax) return marksIn(text, subject);
  const cut = text.lastIndexOf('\n', lookedAtMax - 1) + 1;
  const start = text.slice(0, cut);
  const lastWords = start.trimEnd();
  const lastLine = lastWords.slice(lastWords.lastIndexOf('\n') + 1).trimStart();
  return marksIn(start, subject).flatMap((mark) => {
    if (mark.end < lastWords.length) return [mark];
    if (mark.kind === 'signature') return [];
    // What is quoted line by line may have an answer below, history has not.
    return [lastLine.startsWith('>') ? mark : { ...mark, end: text.length }];
  });
}

function marksIn(text: string, subject: string): readonly Mark[] {
  const lines = splitLines(text);
  const walk: Walk = {
    lines,
    findAttribution: attributionFinder(lines),
    findHeaderBlock: headerBlockFinder(lines),
    subject: subjectKind(subject),
    plainAbove: plainReplyAbove(lines),
    quotes: [],
    floor: 0,
    hasWords: false,
  };
  const end = walkLines(walk);
  return allMarks(lines, walk.quotes, end);
}

/** Where the walk goes on, or that it is over: `end` is the line from which on nothing is marked. */
type Step = { readonly next: number } | { readonly end: number };

/** Fills `walk.quotes`; the line from which on nothing is marked, which is where a forwarded mail begins. */
function walkLines(walk: Walk): number {
  const { lines } = walk;
  let index = skipBlank(lines, 0, lines.count);
  while (index < lines.count) {
    const step = lines.kinds[index] === lineKinds.text ? textStep(walk, index) : quoteStep(walk, index);
    if ('end' in step) return step.end;
    index = skipBlank(lines, step.next, lines.count);
  }
  return lines.count;
}

function quoteStep(walk: Walk, index: number): Step {
  const run = quotedRun(walk, index);
  if (run === null) return { next: index + 1 };
  return walk.subject === 'forward' ? { end: run.start } : { next: take(walk, run) };
}

function textStep(walk: Walk, index: number): Step {
  if (titleAt(walk.lines, index) === 'forward') return { end: withRuleAbove(walk, index) };
  const introduction = introductionAt(walk, index);
  if (introduction === null) return { next: index + 1 };
  if (walk.subject === 'forward' && introduction.by !== 'reply_above') return { end: introduction.start };
  const next = takeHistory(walk, introduction);
  return next === null ? { end: walk.lines.count } : { next };
}

/** Lines with `>`, blank ones between them, and the attribution above; null where it is none. */
function quotedRun(walk: Walk, index: number): Range | null {
  const { lines, floor } = walk;
  const above = skipBlankBack(lines, index, floor) - 1;
  const isNear = above >= floor && lines.kinds[above] === lineKinds.text;
  const attribution = isNear ? walk.findAttribution(above, floor, true) : -1;
  // The run is measured only where it counts, since it is long in a text of nothing else.
  if (attribution === -1 && lines.kinds[index] === lineKinds.weak && !areInitials(lines, index)) return null;
  const end = endOfRun(lines, index);
  if (attribution !== -1) return { start: withRuleAbove(walk, attribution), end };
  return end === index + 1 && isStray(lines, index) ? null : { start: index, end };
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

/** A `>` that quotes nothing: `>From ` as mailbox files escape it, and the end of an address in `<…>` that was wrapped. */
function isStray(lines: TextLines, index: number): boolean {
  const line = lineAt(lines, index);
  if (line.startsWith('>From ')) return true;
  if (index === 0 || line.length > 200) return false;
  const above = lines.kinds[index - 1] === lineKinds.text ? lineAt(lines, index - 1) : '';
  return above.lastIndexOf('<') > above.lastIndexOf('>');
}

function introductionAt(walk: Walk, index: number): Introduction | null {
  const { lines, floor } = walk;
  const title = titleAt(lines, index);
  if (title === 'reply_above' || index === walk.plainAbove) {
    return { start: withAttributionAbove(walk, index), end: index + 1, by: 'reply_above' };
  }
  if (title !== null) return { start: withRuleAbove(walk, index), end: endOfTitle(walk, index), by: 'title' };
  const fieldsEnd = walk.findHeaderBlock(index);
  if (fieldsEnd !== -1) return { start: withAttributionAbove(walk, index), end: fieldsEnd, by: 'fields' };
  if (!mayEndAttribution(lines, index)) return null;
  const below = skipBlank(lines, index + 1, lines.count);
  // Where quoted lines follow they take the attribution with them.
  if (below < lines.count && lines.kinds[below] !== lineKinds.text) return null;
  const attribution = walk.findAttribution(index, floor, false);
  return attribution === -1 ? null : { start: withRuleAbove(walk, attribution), end: index + 1, by: 'attribution' };
}

/** A title has a block of fields below it, or an attribution, or neither. */
function endOfTitle(walk: Walk, index: number): number {
  const { lines } = walk;
  const below = skipBlank(lines, index + 1, lines.count);
  const fieldsEnd = below < lines.count ? walk.findHeaderBlock(below) : -1;
  if (fieldsEnd !== -1) return fieldsEnd;
  for (let at = below; at < lines.count && at < below + 5 && lines.kinds[at] === lineKinds.text; at += 1) {
    if (endsWithColon(lines, at) && walk.findAttribution(at, below, true) !== -1) return at + 1;
  }
  const fields = labelledEnd(lines, below);
  return fields > below ? fields : index + 1;
}

/** The line that is drawn above `index`, if one is. */
function withRuleAbove(walk: Walk, index: number): number {
  const above = skipBlankBack(walk.lines, index, walk.floor) - 1;
  return above >= walk.floor && isRule(lineAt(walk.lines, above)) ? above : index;
}

/** Fields, and the line of a helpdesk, may stand under an attribution; and that under a drawn line. */
function withAttributionAbove(walk: Walk, index: number): number {
  const { lines, floor } = walk;
  const above = skipBlankBack(lines, index, floor) - 1;
  const isNear = above >= floor && lines.kinds[above] === lineKinds.text && lengthOf(lines, above) <= 400;
  const attribution = isNear && endsWithColon(lines, above) ? walk.findAttribution(above, floor, true) : -1;
  return withRuleAbove(walk, attribution === -1 ? index : attribution);
}

/** Takes a history; the line to go on from, or null where everything is told. */
function takeHistory(walk: Walk, introduction: Introduction): number | null {
  const { lines } = walk;
  const { start, end, by } = introduction;
  const body = skipBlank(lines, end, lines.count);
  const isQuoted = body < lines.count && lines.kinds[body] === lineKinds.quote;
  if (isQuoted && by !== 'reply_above') return take(walk, { start, end: endOfRun(lines, body) });
  const hasWords = walk.hasWords || skipBlank(lines, walk.floor, start) < start;
  if (hasWords || (walk.subject === 'reply' && (by === 'title' || by === 'fields'))) {
    take(walk, { start, end: lines.count });
    return null;
  }
  // Nothing new stands above, so that what is below is what the sender wants read.
  if (by === 'title' || by === 'fields') return null;
  return take(walk, { start, end });
}

/** Notes a quote; the line after it. */
function take(walk: Walk, { start, end }: Range): number {
  walk.hasWords ||= skipBlank(walk.lines, walk.floor, start) < start;
  walk.quotes.push({ start, end });
  walk.floor = end;
  return end;
}

/** Nobody signs so many answers in one mail. */
const signedStretchesMax = 1_000;

/** A conversation of fifty mails has a few hundred; what comes after so many is not marked. */
const marksMax = 10_000;

/** Quotes, and the signatures of what stands between them, until before the line `end`. */
function allMarks(lines: TextLines, quotes: readonly Range[], end: number): readonly Mark[] {
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

function markOf(lines: TextLines, kind: Mark['kind'], range: Range): Mark {
  return { kind, start: startOf(lines, range.start), end: startOf(lines, range.end) };
}

/** What is left without the marked stretches: the sender's new words, a blank line where something was. */
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

/** Without blank lines at both ends; the indentation of the first line stays. */
function withoutBlankEnds(piece: string): string {
  const first = piece.length - piece.trimStart().length;
  return piece.slice(piece.lastIndexOf('\n', first) + 1).trimEnd();
}
