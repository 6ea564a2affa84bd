/**
 * Signatures in the unquoted lines of a text: after `-- ` (RFC 3676 section 4.3), a contact block under a drawn line,
 * the line of a mobile device, a legal notice, PGP armour.
 *
 * Closing words with a name are no signature. Except for `-- ` only the last 60 lines are searched. Never fails.
 */
import {
  endsWithColon,
  isRule,
  type LineRange,
  lengthOf,
  lineAt,
  lineKinds,
  skipBlank,
  skipBlankBack,
  startOf,
  type TextLines,
} from './lines.ts';
import {
  anyOf,
  deviceNames,
  entriesOf,
  mobileBeginnings,
  mobileEndings,
  noticeBeginnings,
  noticeSubjects,
} from './words.ts';

/** Lines from the end that are searched for signatures without `-- `. */
const tailLinesMax = 60;
/** Lines after `-- `: the footer of a list is longer than the signature of a person. */
const markedLinesMax = 60;
const unmarkedLinesMax = 12;
const contactLinesMax = 8;
const contactLengthMax = 100;
const linkedLengthMax = 800;
const mobileLengthMax = 160;
const noticeHeadLength = 600;
const pgpLengthMax = 80;

const beginsMobile = new RegExp(`^[*_\\[\\p{Cf}]{0,4}(?:${anyOf(mobileBeginnings)})`, 'iu');
const endings = entriesOf(mobileEndings);
/** A full stop and formatting after the last word. */
const afterEnding = /[*_\]\p{Cf}]{0,4}[.。]?[*_\]\p{Cf}]{0,4}$/u;
const endingLengthMax = 24;
const namesDevice = new RegExp(`(?<!\\p{L})(?:${anyOf(deviceNames)})`, 'iu');
const beginsNotice = new RegExp(`^[*_\\p{Cf}]{0,4}(?:${anyOf(noticeBeginnings)})`, 'iu');
const noticeWords = new RegExp(anyOf(noticeSubjects), 'giu');
const question = /[?？](?:\s|$)/u;
const linkPattern = /[<[(]?https?:\/\/[^\s>\])]{1,300}[>\])]?/giu;
const contactPattern = /[^\s<>@]@[^\s<>@]|https?:\/\/|\bwww\.|(?:\+|\(0|\b0)\d[\d ()/.-]{5,20}/iu;
/** A drawn line of dashes; other signs underline a heading, or make a table. */
const dashLine = /^\s{0,8}[-_‐‑–—―─]{3,}\s*$/u;
/** A field as in a web form, unless it is a contact field. */
const fieldPattern = /^\s{0,8}[^\s:：,][^:：,]{0,24}[:：](?!\/\/)/u;
const contactField =
  /^\s{0,8}(?:t|p|f|m|e|w|tel|phone|fax|mobil|mob|cell|office|direct|e-?mail|mail|web|www|internet|home|skype|url|list|see|icq|tél|e-?post|correo|téléphone|telefon|telefono|teléfono|website|site)(?!\p{L})/iu;
const sentenceSign = /[.,;!?。！？]/u;
const wordsMax = 8;

/** Signatures in the lines from `start` until before `end`, ascending and without overlap. */
export function signatureRanges(lines: TextLines, start: number, end: number): readonly LineRange[] {
  const first = skipBlank(lines, start, end);
  const last = skipBlankBack(lines, end, first);
  if (first >= last) return [];
  const delimiter = delimiterIn(lines, first, last);
  const bodyEnd = skipBlankBack(lines, delimiter, first);
  const tail = Math.max(first, bodyEnd - tailLinesMax);
  const found: LineRange[] = [];
  const opening = trailingSignature(lines, tail, bodyEnd);
  for (let index = tail; index < opening; index += 1) {
    if (isMobileSignature(lines, index, first, last)) found.push({ start: index, end: index + 1 });
  }
  const from = opening < bodyEnd ? opening : delimiter;
  if (from < last) found.push({ start: from, end: last });
  return joined(lines, found);
}

/** The line of `-- `, else `end`. The first one, unless too much follows for a signature. */
function delimiterIn(lines: TextLines, start: number, end: number): number {
  for (let index = start; index < end; index += 1) {
    if (lengthOf(lines, index) > 8 || lines.kinds[index] !== lineKinds.text) continue;
    const line = lines.text.slice(startOf(lines, index), startOf(lines, index + 1)).replace('\n', '');
    // PGP escapes a leading dash (RFC 9580 section 7.1).
    if (/^(?:- )?--[ \u00a0]$/u.test(line) && end - index <= markedLinesMax) return index;
    if (/^(?:--|—|–)\s{0,2}$/u.test(line) && isShortBlock(lines, index + 1, end, unmarkedLinesMax)) return index;
  }
  return end;
}

/** The first line of a signature that reaches to the end: a notice, a contact block, PGP armour; else `end`. */
function trailingSignature(lines: TextLines, start: number, end: number): number {
  for (let index = start; index < end; index += 1) {
    if (lines.kinds[index] !== lineKinds.text) continue;
    const isFirst = index === start || lines.kinds[index - 1] === lineKinds.blank || isRule(lineAt(lines, index - 1));
    if (isFirst && index > start && isNotice(lines, index, end)) return withRule(lines, index, start);
    if (isContactBlock(lines, index, start, end)) return index;
    if (lengthOf(lines, index) < pgpLengthMax && lineAt(lines, index) === '-----BEGIN PGP SIGNATURE-----') return index;
  }
  return end;
}

function withRule(lines: TextLines, index: number, start: number): number {
  const above = skipBlankBack(lines, index, start) - 1;
  return above > start && isRule(lineAt(lines, above)) ? above : index;
}

/**
 * A paragraph that begins as a legal notice and has two of its words, but no question. One word is sufficient under a
 * drawn line, and in the last paragraph.
 */
function isNotice(lines: TextLines, index: number, end: number): boolean {
  const start = startOf(lines, index);
  const text = lines.text.slice(start, Math.min(startOf(lines, end), start + noticeHeadLength));
  if (!beginsNotice.test(text.trimStart()) || question.test(text)) return false;
  const subjects = new Set((text.match(noticeWords) ?? []).map((word) => word.toLowerCase())).size;
  if (subjects !== 1) return subjects > 1;
  return isRule(lineAt(lines, index - 1)) || isLastParagraph(lines, index, end);
}

function isLastParagraph(lines: TextLines, index: number, end: number): boolean {
  let at = index;
  while (at < end && lines.kinds[at] !== lineKinds.blank) at += 1;
  return skipBlank(lines, at, end) === end;
}

/** A drawn line with text above it, and a few short lines below until the end, one of them with contact data. */
function isContactBlock(lines: TextLines, index: number, start: number, end: number): boolean {
  if (lengthOf(lines, index) > 200 || !dashLine.test(lineAt(lines, index))) return false;
  const above = skipBlankBack(lines, index, 0);
  const isHeading = index > start && above === index && skipBlankBack(lines, index - 1, start) <= start;
  if (above === 0 || isHeading || endsWithColon(lines, above - 1)) return false;
  if (!isShortBlock(lines, index + 1, end, contactLinesMax)) return false;
  let hasContact = false;
  let fields = 0;
  for (let at = index + 1; at < end; at += 1) {
    const line = lineAt(lines, at);
    hasContact ||= contactPattern.test(line);
    if (fieldPattern.test(line) && !contactField.test(line)) fields += 1;
  }
  return hasContact && fields < 2;
}

/** At least one non-blank line and at most `max`, none of them long. */
function isShortBlock(lines: TextLines, start: number, end: number, max: number): boolean {
  let count = 0;
  for (let at = start; at < end; at += 1) {
    if (lines.kinds[at] === lineKinds.blank) continue;
    count += 1;
    if (count > max || !isShort(lines, at)) return false;
  }
  return count > 0;
}

/** Short without the URLs of links. */
function isShort(lines: TextLines, index: number): boolean {
  const length = lengthOf(lines, index);
  if (length <= contactLengthMax) return true;
  return length <= linkedLengthMax && lineAt(lines, index).replace(linkPattern, '').length <= contactLengthMax;
}

/** "Sent from my iPhone" on a line of its own: with a blank line, or none, above or below. */
function isMobileSignature(lines: TextLines, index: number, first: number, last: number): boolean {
  if (lines.kinds[index] !== lineKinds.text || lengthOf(lines, index) > 2 * mobileLengthMax) return false;
  const isAlone =
    index === first ||
    index === last - 1 ||
    lines.kinds[index - 1] === lineKinds.blank ||
    lines.kinds[index + 1] === lineKinds.blank;
  return isAlone && isMobileLine(lineAt(lines, index).trimStart());
}

function isMobileLine(sent: string): boolean {
  const begins = beginsMobile.test(sent);
  if (!begins && !(endsMobile(sent) && namesDevice.test(sent))) return false;
  const line = sent.replace(linkPattern, '').trim();
  if (line.length > mobileLengthMax) return false;
  if (namesDevice.test(line)) return true;
  return !sentenceSign.test(line) && line.split(' ').length <= wordsMax;
}

function endsMobile(sent: string): boolean {
  const end = sent.slice(-endingLengthMax).toLowerCase().replace(afterEnding, '');
  return endings.some((ending) => end.endsWith(ending));
}

/** Joins ranges with nothing but blank lines between them. */
function joined(lines: TextLines, ranges: readonly LineRange[]): readonly LineRange[] {
  const whole: LineRange[] = [];
  for (const range of ranges) {
    const before = whole.at(-1);
    if (before !== undefined && skipBlank(lines, before.end, range.start) === range.start) {
      whole[whole.length - 1] = { start: before.start, end: range.end };
    } else whole.push(range);
  }
  return whole;
}
