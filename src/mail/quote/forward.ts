/**
 * Forwards and replies: subject prefixes (RFC 5322 section 3.6.5, RFC 5256 section 2.1) and title lines in text
 * ("Forwarded message", "Original message", "Reply above this line"), in many languages.
 *
 * The outermost prefix of a subject counts: `Re: Fwd: x` is a reply, and `[list] Re: x`. A prefix that is a reply in
 * one language and a forward in another is a reply unless the text has the title of a forward. The two ends of a line
 * are read before its words, so that nearly all lines cost a few characters. Linear in the length; never fails.
 */
import {
  decoration,
  endsWithColon,
  firstCharacter,
  isBlankCode,
  lengthOf,
  lineAt,
  lineKinds,
  lowered,
  splitLines,
  type TextLines,
} from './lines.ts';
import { anyOf, entriesOf, forwardTitleBeginnings, forwardTitles, originalTitles, replyAboveParts } from './words.ts';

/** `either` is a reply in one language and a forward in another. */
export type SubjectKind = 'reply' | 'forward' | 'either';

/** The title of a forward is near the beginning. */
const titleSearchMax = 400_000;

/** True for a forwarded message: by its subject; where that is ambiguous, by a title above any quoted line. */
export function isForward(subject: string, text: string): boolean {
  const kind = subjectKind(subject);
  if (kind !== 'either') return kind === 'forward';
  const lines = splitLines(text.slice(0, titleSearchMax));
  for (let index = 0; index < lines.count; index += 1) {
    if (lines.kinds[index] === lineKinds.quote) return false;
    const title = lines.kinds[index] === lineKinds.text ? titleAt(lines, index) : null;
    if (title !== null) return title === 'forward';
  }
  return false;
}

/** The kind of the first prefix; null for none. */
export function subjectKind(subject: string): SubjectKind | null {
  const whole = subject.trim();
  if (bracketForm.test(whole)) return 'forward';
  const hasTrailer = trailer.test(whole);
  const kind = firstPrefix(hasTrailer ? whole.slice(0, -'(fwd)'.length).trimEnd() : whole);
  return kind ?? (hasTrailer ? 'forward' : null);
}

function firstPrefix(subject: string): SubjectKind | null {
  for (let at = 0; ; at = tagForm.lastIndex) {
    const kind = prefixAt(subject, at);
    tagForm.lastIndex = at;
    if (kind !== null || !tagForm.test(subject)) return kind;
  }
}

function prefixAt(subject: string, at: number): SubjectKind | null {
  wordForm.lastIndex = at;
  const [, word = '', blank = ''] = wordForm.exec(subject) ?? [];
  return prefixes.get(word.toLowerCase()) ?? (blank === '' ? null : (letters.get(word) ?? null));
}

/** Prefixes in lower case; matched in any case, with a counter (`[2]`, `(2)`, `^2`), before `:` or `：`. */
const prefixRows: readonly (readonly [reply: string, forward: string])[] = [
  // Latin, as RFC 5322 section 3.6.5 recommends; the second reply in Cyrillic letters.
  ['re|ре', 'fwd|fw|forward|forwarded'],
  // German ("Antw" is GroupWise, in Dutch as well); Dutch.
  ['aw|antw|antwort', 'wg|weitergeleitet'],
  ['antwoord|betr', 'doorst|doorgestuurd'],
  // Danish, Norwegian, Swedish, Icelandic; Finnish, Estonian.
  ['sv|svar', 'vb|fs|videresendt|vidarebefordrat|vidarebefordran'],
  ['vast', 'vl|edasi'],
  // French. Notes writes "Réf."; "Rép" and "Rep" are webmails.
  ['rép|rep|réf|ref', 'tr|transf|transféré'],
  // Spanish and Catalan; Portuguese, whose "ENC" is "encaminhado".
  ['resp|respuesta', 'rv|rev|reenv|reenviado'],
  ['res', 'enc|encam|encaminhada'],
  // Italian, see also the single letters.
  ['rif|ris', 'inol|inoltra'],
  // Polish. "PD" is "podaj dalej"; Czech and Slovak write "Odp" as well.
  ['odp|odpověď|odpoveď', 'pd|přep|předat|preposlať'],
  // Hungarian, Romanian.
  ['vá|válasz|răsp|rasp', 'továbbítás|továbbítva|tov|redirecționat|redirecţionat'],
  // Croatian, Serbian, Slovenian; Lithuanian, Latvian.
  ['odg|одг|ats|atb', 'pros|prosl|posr|pers|pārs|прослеђено'],
  // Russian, Ukrainian, Bulgarian. "НА" is an old translation of "Re" in Outlook.
  ['отв|ответ|на|відп|отг', 'пер|пересл|переслано|переадр|препр'],
  // Greek.
  ['απ|απάντ|απάντηση|σχετ', 'πρθ|προώθ|προώθηση'],
  // Turkish, with and without the dotted capital.
  ['ynt|yan|yanıt', 'i̇lt|ilt|İlt'],
  // Welsh, Indonesian and Malay.
  ['bls|balas', 'yml|trs|terusan'],
  // Vietnamese, Thai.
  ['trả lời|tl|ตอบ|ตอบกลับ', 'chuyển tiếp|ct|ส่งต่อ'],
  // Hebrew, Arabic.
  ['השב|תגובה|תשובה|رد|ردّ', 'הועבר|העברה|إعادة توجيه|محول'],
  // Chinese, simplified and traditional; Japanese; Korean.
  ['回复|回覆|答复|答覆|返信|返|회신|답장|답변', '转发|轉寄|轉發|転送|전달'],
];

const prefixes: ReadonlyMap<string, SubjectKind> = new Map<string, SubjectKind>([
  ...entriesOf(prefixRows.map(([reply]) => reply)).map((word) => [word, 'reply'] as const),
  ...entriesOf(prefixRows.map(([, forward]) => forward)).map((word) => [word, 'forward'] as const),
  // Danish and Norwegian "videresendt" is a forward, Finnish "vastaus" and Estonian "vastus" are replies.
  ['vs', 'either'],
]);
/** Italian "risposta" and "inoltro". A single letter counts only as a capital, and with a blank after the colon. */
const letters: ReadonlyMap<string, SubjectKind> = new Map([
  ['R', 'reply'],
  ['I', 'forward'],
]);

/** A word of up to two parts, a counter, a colon. The table decides whether it is a prefix. */
const wordForm =
  /([\p{L}\p{M}]{1,15}(?: [\p{L}\p{M}]{1,10})?)\.?(?: ?[[(^*-]? ?\d{1,4} ?[\])]?)?\s{0,3}[:：](\s?)\s*/uy;
/** A tag of a list or a ticket system. */
const tagForm = /\[[^[\]]{1,80}\]\s*/uy;
/** `[Fwd: x]` of Mozilla and `x (fwd)` of Pine: RFC 5256 section 2.1, subj-fwd. */
const bracketForm = /^\[fwd:\s?.{0,2000}\]$/isu;
const trailer = /\(fwd\)$/iu;

// Title lines

/** A title announces a forwarded message, the message replied to, or that the reply goes above it. */
type TitleKind = 'forward' | 'original' | 'reply_above';

const titleLengthMax = 200;

const titles: ReadonlyMap<string, TitleKind> = new Map<string, TitleKind>([
  ...entriesOf(originalTitles).map((title) => [title, 'original'] as const),
  ...entriesOf(forwardTitles).map((title) => [title, 'forward'] as const),
]);
const beginnings = entriesOf(forwardTitleBeginnings);
const above = new RegExp(anyOf(replyAboveParts), 'u');
/** Some helpdesks write their line without decoration; it is searched for in the whole text. */
const plainAbove = ['above this line', 'Above this line', 'ABOVE THIS LINE', 'Above This Line'];

/** The title at `index`; null for nearly all lines. */
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
  // Apple Mail has no dashes but a colon; "Original message" without dashes may be a sentence of a person.
  if (found === 'forward' || (found === 'original' && isDecorated)) return found;
  return isDecorated && above.test(words) ? 'reply_above' : null;
}

/** The first undecorated line that asks for the reply above it; -1 for none. */
export function plainReplyAbove(lines: TextLines): number {
  for (const words of plainAbove) {
    const at = lines.text.indexOf(words);
    if (at === -1) continue;
    const index = lines.starts.subarray(0, lines.count).findLastIndex((start) => start <= at);
    if (lengthOf(lines, index) <= titleLengthMax && above.test(lowered(lineAt(lines, index)))) return index;
  }
  return -1;
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
