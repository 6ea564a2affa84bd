/**
 * Finds the signature in what the sender wrote: lines of text, none of them quoted.
 *
 * A signature is what follows `-- ` (RFC 3676 section 4.3), a short block with contact data after a drawn line, the
 * line of a mobile, a legal notice at the end, the armor of a PGP signature. Closing words with a name are none: they
 * are the letter's own. It never fails, and looks at the last lines only, but for `-- `.
 */
import { lengthOf, lineAt, lineKinds, skipBlank, skipBlankBack, startOf, type TextLines } from './lines.ts';
import { endsWithColon, isRule } from './titles.ts';
import { deviceNames, mobileBeginnings, mobileEndings, noticeBeginnings, noticeSubjects } from './words.ts';

/** Lines from `start` until before `end`. */
type Range = { readonly start: number; readonly end: number };

/** How many lines from the end are looked at for what has no `-- ` above it. */
const tailLinesMax = 60;
/** A list's footer is longer than a person's card. */
const markedLinesMax = 60;
const unmarkedLinesMax = 12;
const contactLinesMax = 8;
const contactLengthMax = 100;
const linkedLengthMax = 800;
const mobileLengthMax = 160;
const noticeHeadLength = 600;
const pgpLengthMax = 80;

const rows = (table: readonly string[]) => table.flatMap((row) => row.split('|'));
const escaped = (words: string) => words.replace(/[.()]/gu, String.raw`\$&`);
const anyOf = (table: readonly string[]) => rows(table).map(escaped).join('|');
const beginsMobile = new RegExp(`^[*_\\[\\p{Cf}]{0,4}(?:${anyOf(mobileBeginnings)})`, 'iu');
const endings = rows(mobileEndings);
/** What may follow the last word: a full stop, then formatting. */
const afterEnding = /[*_\]\p{Cf}]{0,4}[.。]?[*_\]\p{Cf}]{0,4}$/u;
const endingLengthMax = 24;
const namesDevice = new RegExp(`(?<!\\p{L})(?:${anyOf(deviceNames)})`, 'iu');
const beginsNotice = new RegExp(`^[*_\\p{Cf}]{0,4}(?:${anyOf(noticeBeginnings)})`, 'iu');
const noticeWords = new RegExp(anyOf(noticeSubjects), 'giu');
const asks = /[?？](?:\s|$)/u;
/** A link, as text made of HTML has it. */
const link = /[<[(]?https?:\/\/[^\s>\])]{1,300}[>\])]?/giu;
const contact = /[^\s<>@]@[^\s<>@]|https?:\/\/|\bwww\.|(?:\+|\(0|\b0)\d[\d ()/.-]{5,20}/iu;
/** Signs of other kinds underline a heading, or make a table. */
const drawn = /^\s{0,8}[-_‐‑–—―─]{3,}\s*$/u;
/** What a form on a web page sends, unless it is how to reach someone. */
const field = /^\s{0,8}[^\s:：,][^:：,]{0,24}[:：](?!\/\/)/u;
const contactField =
  /^\s{0,8}(?:t|p|f|m|e|w|tel|phone|fax|mobil|mob|cell|office|direct|e-?mail|mail|web|www|internet|home|skype|url|list|see|icq|tél|e-?post|correo|téléphone|telefon|telefono|teléfono|website|site)(?!\p{L})/iu;
const sentenceSign = /[.,;!?。！？]/u;
const wordsMax = 8;

/** Signatures among the lines from `start` until before `end`: ascending, without overlap. */
export function signatureRanges(lines: TextLines, start: number, end: number): readonly Range[] {
  const first = skipBlank(lines, start, end);
  const last = skipBlankBack(lines, end, first);
  if (first >= last) return [];
  const delimiter = delimiterIn(lines, first, last);
  const bodyEnd = skipBlankBack(lines, delimiter, first);
  const tail = Math.max(first, bodyEnd - tailLinesMax);
  const found: Range[] = [];
  const opening = openEnded(lines, tail, bodyEnd);
  for (let index = tail; index < opening; index += 1) {
    if (isMobile(lines, index, first, last)) found.push({ start: index, end: index + 1 });
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

/** The first line of what is signature until the end: a notice, a contact block, PGP's armor; else `end`. */
function openEnded(lines: TextLines, start: number, end: number): number {
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
 * A paragraph that begins as a notice does and speaks of what notices speak of, but asks nothing. Once is enough under
 * a drawn line, and where the text ends with it.
 */
function isNotice(lines: TextLines, index: number, end: number): boolean {
  const start = startOf(lines, index);
  const text = lines.text.slice(start, Math.min(startOf(lines, end), start + noticeHeadLength));
  if (!beginsNotice.test(text.trimStart()) || asks.test(text)) return false;
  const subjects = new Set((text.match(noticeWords) ?? []).map((word) => word.toLowerCase())).size;
  if (subjects !== 1) return subjects > 1;
  return isRule(lineAt(lines, index - 1)) || isLastParagraph(lines, index, end);
}

function isLastParagraph(lines: TextLines, index: number, end: number): boolean {
  let at = index;
  while (at < end && lines.kinds[at] !== lineKinds.blank) at += 1;
  return skipBlank(lines, at, end) === end;
}

/** A drawn line with text above, and a few short lines below until the end, of which one says how to reach someone. */
function isContactBlock(lines: TextLines, index: number, start: number, end: number): boolean {
  if (lengthOf(lines, index) > 200 || !drawn.test(lineAt(lines, index))) return false;
  const above = skipBlankBack(lines, index, 0);
  const isHeading = index > start && above === index && skipBlankBack(lines, index - 1, start) <= start;
  if (above === 0 || isHeading || endsWithColon(lines, above - 1)) return false;
  if (!isShortBlock(lines, index + 1, end, contactLinesMax)) return false;
  let hasContact = false;
  let fields = 0;
  for (let at = index + 1; at < end; at += 1) {
    const line = lineAt(lines, at);
    hasContact ||= contact.test(line);
    if (field.test(line) && !contactField.test(line)) fields += 1;
  }
  return hasContact && fields < 2;
}

/** At most so many lines that are not blank, at least one, none of them long. */
function isShortBlock(lines: TextLines, start: number, end: number, max: number): boolean {
  let count = 0;
  for (let at = start; at < end; at += 1) {
    if (lines.kinds[at] === lineKinds.blank) continue;
    count += 1;
    if (count > max || !isShort(lines, at)) return false;
  }
  return count > 0;
}

/** Short, but for the addresses of links. */
function isShort(lines: TextLines, index: number): boolean {
  const length = lengthOf(lines, index);
  if (length <= contactLengthMax) return true;
  return length <= linkedLengthMax && lineAt(lines, index).replace(link, '').length <= contactLengthMax;
}

/** "Sent from my iPhone" on a line of its own: with a blank line, or nothing, above or below. */
function isMobile(lines: TextLines, index: number, first: number, last: number): boolean {
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
  const line = sent.replace(link, '').trim();
  if (line.length > mobileLengthMax) return false;
  if (namesDevice.test(line)) return true;
  return !sentenceSign.test(line) && line.split(' ').length <= wordsMax;
}

function endsMobile(sent: string): boolean {
  const end = sent.slice(-endingLengthMax).toLowerCase().replace(afterEnding, '');
  return endings.some((ending) => end.endsWith(ending));
}

/** Ranges with nothing but blank lines between them are one. */
function joined(lines: TextLines, ranges: readonly Range[]): readonly Range[] {
  const whole: Range[] = [];
  for (const range of ranges) {
    const before = whole.at(-1);
    if (before !== undefined && skipBlank(lines, before.end, range.start) === range.start) {
      whole[whole.length - 1] = { start: before.start, end: range.end };
    } else {
      whole.push(range);
    }
  }
  return whole;
}
