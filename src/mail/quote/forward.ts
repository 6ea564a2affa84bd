/**
 * Tells a forward: by its subject, and by the title that stands above what is passed on.
 *
 * Of a forward the passed-on mail is what the sender wants read, so that nothing of it counts as history. It takes
 * any text, never fails, and looks at the two ends of each line before it looks at the words.
 */

import { isBlankCode, lengthOf, lineAt, lineKinds, splitLines, startOf, type TextLines } from './lines.ts';
import { forwardTitleBeginnings, forwardTitles, originalTitles, replyAboveParts } from './words.ts';

/** What a line announces: a mail passed on, the mail that is answered, or that the answer stands above it. */
type TitleKind = 'forward' | 'original' | 'reply_above';

const titleLengthMax = 200;
/** The title of a forward is near the beginning. */
const titleSearchMax = 400_000;
const rows = (table: readonly string[]) => table.flatMap((row) => row.split('|'));
const titles: ReadonlyMap<string, TitleKind> = new Map<string, TitleKind>([
  ...rows(originalTitles).map((title) => [title, 'original'] as const),
  ...rows(forwardTitles).map((title) => [title, 'forward'] as const),
]);
const beginnings = rows(forwardTitleBeginnings);
const above = new RegExp(rows(replyAboveParts).join('|'), 'u');
/** Some helpdesks put no sign before their line; these are looked for in the whole text. */
const plainAbove = ['above this line', 'Above this line', 'ABOVE THIS LINE', 'Above This Line'];

/** Dashes of all kinds, and what else is put around a title or drawn as a line. */
const decoration = new Set('-‐‑‒–—―─━═_=*~#+');

/** True for a line of at least three signs of decoration, and nothing else but blanks. */
export function isRule(line: string): boolean {
  if (line.length > titleLengthMax) return false;
  let signs = 0;
  for (const sign of line) {
    if (decoration.has(sign)) signs += 1;
    else if (!isBlankCode(sign.charCodeAt(0))) return false;
  }
  return signs >= 3;
}

/** What the line at `index` announces, null for nearly all. */
export function titleAt(lines: TextLines, index: number): TitleKind | null {
  if (lengthOf(lines, index) > titleLengthMax) return null;
  const start = firstCharacter(lines, index);
  const isDecorated = decoration.has(lines.text.charAt(start)) || lines.text.charAt(start) === '[';
  if (!(isDecorated || endsWithColon(lines, index))) return null;
  return titleOf(lineAt(lines, index), isDecorated);
}

function titleOf(line: string, isDecorated: boolean): TitleKind | null {
  const words = lowered(withoutDecoration(line));
  if (words === '') return null;
  const found = titles.get(words) ?? (beginnings.some((beginning) => words.startsWith(beginning)) ? 'forward' : null);
  // Apple Mail has no dashes but a colon; "Original message" without dashes is how people speak.
  if (found === 'forward' || (found === 'original' && isDecorated)) return found;
  return isDecorated && above.test(words) ? 'reply_above' : null;
}

/** The first line that asks for the answer above it although nothing decorates it, or -1. */
export function plainReplyAbove(lines: TextLines): number {
  for (const words of plainAbove) {
    const at = lines.text.indexOf(words);
    if (at === -1) continue;
    const index = lineOfOffset(lines, at);
    if (lengthOf(lines, index) <= titleLengthMax && above.test(lowered(lineAt(lines, index)))) return index;
  }
  return -1;
}

function lineOfOffset(lines: TextLines, offset: number): number {
  let low = 0;
  let high = lines.count - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (startOf(lines, middle) <= offset) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** In lower case as the tables are; the dotted capital of Turkish becomes two characters otherwise. */
export function lowered(words: string): string {
  const low = words.toLowerCase();
  return low.includes('\u0307') ? low.replaceAll('i\u0307', 'i') : low;
}

/** Offset of the first character of a line that is no blank. */
export function firstCharacter(lines: TextLines, index: number): number {
  let at = startOf(lines, index);
  const end = startOf(lines, index + 1);
  while (at < end && isBlankCode(lines.text.charCodeAt(at))) at += 1;
  return at;
}

/** True where the last sign of the line is a colon; blanks, `*` and `_` after it are formatting. */
export function endsWithColon(lines: TextLines, index: number): boolean {
  let at = startOf(lines, index + 1) - 1;
  const start = startOf(lines, index);
  while (at > start && isFormatting(lines.text.charCodeAt(at))) at -= 1;
  const code = lines.text.charCodeAt(at);
  return code === 58 || code === 0xff1a;
}

/** True where a line may end an attribution: with a colon, or between dashes as Zoho writes it. */
export function mayEndAttribution(lines: TextLines, index: number): boolean {
  if (endsWithColon(lines, index)) return true;
  if (!lines.text.startsWith('--', firstCharacter(lines, index)) || lengthOf(lines, index) > 400) return false;
  return lineAt(lines, index).endsWith(' ----');
}

function isFormatting(code: number): boolean {
  return code === 42 || code === 95 || code === 45 || isBlankCode(code);
}

function withoutDecoration(line: string): string {
  const around = (sign: string) =>
    decoration.has(sign) || '[]<>|:：()'.includes(sign) || isBlankCode(sign.charCodeAt(0));
  let start = 0;
  let end = line.length;
  while (start < end && around(line.charAt(start))) start += 1;
  while (end > start && around(line.charAt(end - 1))) end -= 1;
  return line.slice(start, end).replaceAll('\u00a0', ' ');
}

/**
 * True for a mail that passes another one on. The subject decides where its prefix is clear, also against the text;
 * without one, or with `VS:`, a title of a forward decides that stands before any quoted line.
 */
export function isForward(subject: string, text: string): boolean {
  const kind = subjectKind(subject);
  if (kind === 'forward' || kind === 'reply') return kind === 'forward';
  const lines = splitLines(text.slice(0, titleSearchMax));
  for (let index = 0; index < lines.count; index += 1) {
    if (lines.kinds[index] === lineKinds.quote) return false;
    const title = lines.kinds[index] === lineKinds.text ? titleAt(lines, index) : null;
    if (title !== null) return title === 'forward';
  }
  return false;
}

/**
 * Prefixes of a subject: which say reply, which say forward, and what the subject is without them.
 *
 * The outermost prefix counts: `Re: Fwd: x` is a reply. A prefix that one language uses for replies and another for
 * forwards counts as reply here; `isForward` looks into the text for those. Tags in brackets stay in place, and what
 * follows them is looked at: `[list] Re: x` is a reply. It takes any text, never fails, and is linear in its length.
 */

/** `either` is reply in one language and forward in another. */
type SubjectKind = 'reply' | 'forward' | 'either';

/** Words in lower case; they are found in any case, with a counter (`[2]`, `(2)`, `^2`) and before `:` or `：`. */
const prefixes: readonly (readonly [kind: SubjectKind, words: string])[] = [
  // Latin, and what every program writes that follows RFC 5322 section 3.6.5; the second in Cyrillic letters.
  ['reply', 're|ре'],
  ['forward', 'fwd|fw|forward|forwarded'],
  // German. "Antw" is GroupWise, in Dutch as well.
  ['reply', 'aw|antw|antwort'],
  ['forward', 'wg|weitergeleitet'],
  // Dutch.
  ['reply', 'antwoord|betr'],
  ['forward', 'doorst|doorgestuurd'],
  // Danish, Norwegian, Swedish, Icelandic.
  ['reply', 'sv|svar'],
  ['forward', 'vb|fs|videresendt|vidarebefordrat|vidarebefordran'],
  // Danish and Norwegian "videresendt" is a forward, Finnish "vastaus" and Estonian "vastus" are replies.
  ['either', 'vs'],
  // Finnish, Estonian.
  ['reply', 'vast'],
  ['forward', 'vl|edasi'],
  // French. Notes writes "Réf."; "Rép" and "Rep" are webmails.
  ['reply', 'rép|rep|réf|ref'],
  ['forward', 'tr|transf|transféré'],
  // Spanish and Catalan. Of Portuguese, "ENC" is "encaminhado".
  ['reply', 'resp|respuesta'],
  ['forward', 'rv|rev|reenv|reenviado'],
  ['reply', 'res'],
  ['forward', 'enc|encam|encaminhada'],
  // Italian, see also the single letters.
  ['reply', 'rif|ris'],
  ['forward', 'inol|inoltra'],
  // Polish. "PD" is "podaj dalej"; Czech and Slovak write "Odp" as well.
  ['reply', 'odp|odpověď|odpoveď'],
  ['forward', 'pd|přep|předat|preposlať'],
  // Hungarian, Romanian.
  ['reply', 'vá|válasz|răsp|rasp'],
  ['forward', 'továbbítás|továbbítva|tov|redirecționat|redirecţionat'],
  // Croatian, Serbian, Slovenian; Lithuanian, Latvian.
  ['reply', 'odg|одг|ats|atb'],
  ['forward', 'pros|prosl|posr|pers|pārs|прослеђено'],
  // Russian, Ukrainian, Bulgarian. "НА" is an old translation of "Re" in Outlook.
  ['reply', 'отв|ответ|на|відп|отг'],
  ['forward', 'пер|пересл|переслано|переадр|препр'],
  // Greek.
  ['reply', 'απ|απάντ|απάντηση|σχετ'],
  ['forward', 'πρθ|προώθ|προώθηση'],
  // Turkish, with and without the dotted capital.
  ['reply', 'ynt|yan|yanıt'],
  ['forward', 'i̇lt|ilt|İlt'],
  // Welsh, Indonesian and Malay.
  ['reply', 'bls|balas'],
  ['forward', 'yml|trs|terusan'],
  // Vietnamese, Thai.
  ['reply', 'trả lời|tl|ตอบ|ตอบกลับ'],
  ['forward', 'chuyển tiếp|ct|ส่งต่อ'],
  // Hebrew, Arabic.
  ['reply', 'השב|תגובה|תשובה|رد|ردّ'],
  ['forward', 'הועבר|העברה|إعادة توجيه|محول'],
  // Chinese, simplified and traditional; Japanese; Korean.
  ['reply', '回复|回覆|答复|答覆|返信|返|회신|답장|답변'],
  ['forward', '转发|轉寄|轉發|転送|전달'],
];

/** Italian "risposta" and "inoltro". A single letter counts as a capital alone, and with a blank after the colon. */
const letters: readonly (readonly [kind: SubjectKind, letter: string])[] = [
  ['reply', 'R'],
  ['forward', 'I'],
];

const kinds: ReadonlyMap<string, SubjectKind> = new Map(
  prefixes.flatMap(([kind, words]) => words.split('|').map((word) => [word, kind] as const)),
);
const letterKinds: ReadonlyMap<string, SubjectKind> = new Map(letters.map(([kind, letter]) => [letter, kind]));

/** A word of up to two parts, a counter, a colon. The table decides whether it is a prefix. */
const wordForm =
  /([\p{L}\p{M}]{1,15}(?: [\p{L}\p{M}]{1,10})?)\.?(?: ?[[(^*-]? ?\d{1,4} ?[\])]?)?\s{0,3}[:：](\s?)\s*/uy;
/** A tag that a list or a ticket system put in front; it stays. */
const tagForm = /\[[^[\]]{1,80}\]\s*/uy;
/** `[Fwd: x]` of Mozilla and `x (fwd)` of Pine: RFC 5256 section 2.1, subj-fwd. */
const wrapped = /^\[fwd:\s?(.{0,2000})\]$/isu;
const trailer = /\(fwd\)$/iu;

/** What the subject is, read from its left end: the kind of its first prefix, and the rest without all of them. */
type Reading = { readonly kind: SubjectKind | null; readonly bare: string };

function read(subject: string): Reading {
  const whole = subject.trim();
  const inner = wrapped.exec(whole)?.[1];
  if (inner !== undefined) return { kind: 'forward', bare: read(inner).bare };
  const hasTrailer = trailer.test(whole);
  const { kind, bare } = readPrefixes(hasTrailer ? whole.slice(0, -'(fwd)'.length).trimEnd() : whole);
  return { kind: kind ?? (hasTrailer ? 'forward' : null), bare };
}

function readPrefixes(subject: string): Reading {
  let kind: SubjectKind | null = null;
  let tags = '';
  let at = 0;
  for (;;) {
    const prefix = prefixAt(subject, at);
    if (prefix !== null) {
      kind ??= prefix.kind;
      at = prefix.end;
      continue;
    }
    tagForm.lastIndex = at;
    const tag = tagForm.exec(subject)?.[0];
    if (tag === undefined) return { kind, bare: (tags + subject.slice(at)).trim() };
    tags += tag;
    at += tag.length;
  }
}

function prefixAt(subject: string, at: number): { readonly kind: SubjectKind; readonly end: number } | null {
  wordForm.lastIndex = at;
  const found = wordForm.exec(subject);
  if (found === null) return null;
  const [, word = '', blank] = found;
  const kind = kinds.get(word.toLowerCase()) ?? (blank === '' ? undefined : letterKinds.get(word));
  return kind === undefined ? null : { kind, end: wordForm.lastIndex };
}

/** How a subject begins: `either` for a prefix that only the text can tell; null where it has none. */
export function subjectKind(subject: string): SubjectKind | null {
  return read(subject).kind;
}

/** True where the first prefix says forward in every language that uses it. */
export function isForwardSubject(subject: string): boolean {
  return subjectKind(subject) === 'forward';
}

/** True where the first prefix says reply, in some language at least. */
export function isReplySubject(subject: string): boolean {
  const kind = subjectKind(subject);
  return kind === 'reply' || kind === 'either';
}

/** The subject without reply and forward prefixes and their counters, trimmed; tags in brackets stay in place. */
export function bareSubject(subject: string): string {
  return read(subject).bare;
}
