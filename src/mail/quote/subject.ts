/**
 * Subject prefixes of replies and forwards (RFC 5322 section 3.6.5, RFC 5256 section 2.1), in many languages; and
 * forwards by their text.
 *
 * The outermost prefix counts: `Re: Fwd: x` is a reply. A prefix that is a reply in one language and a forward in
 * another counts as a reply, unless the text has the title of a forward. Tags in brackets stay, and what follows them
 * is read: `[list] Re: x` is a reply. Linear in the length of the subject; never fails.
 */
import { lineKinds, splitLines } from './lines.ts';
import { titleAt } from './titles.ts';

/** `either` is a reply in one language and a forward in another. */
type SubjectKind = 'reply' | 'forward' | 'either';

/** The title of a forward is near the beginning. */
const titleSearchMax = 400_000;

/** The kind of the first prefix: `either` where only the text can decide; null for none. */
export function subjectKind(subject: string): SubjectKind | null {
  return parseSubject(subject).kind;
}

/**
 * True for a forwarded message. An unambiguous prefix of the subject decides, also against the text; without one, or
 * with `VS:`, the title of a forward above any quoted line decides.
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

/** True where the first prefix is a forward in every language that uses it. */
export function isForwardSubject(subject: string): boolean {
  return subjectKind(subject) === 'forward';
}

/** True where the first prefix is a reply, in some language at least. */
export function isReplySubject(subject: string): boolean {
  const kind = subjectKind(subject);
  return kind === 'reply' || kind === 'either';
}

/** The subject without reply and forward prefixes and their counters, trimmed; tags in brackets stay. */
export function bareSubject(subject: string): string {
  return parseSubject(subject).bare;
}

/** The kind of the first prefix, and the subject without all of them. */
type ParsedSubject = { readonly kind: SubjectKind | null; readonly bare: string };

function parseSubject(subject: string): ParsedSubject {
  const whole = subject.trim();
  const inner = bracketForm.exec(whole)?.[1];
  if (inner !== undefined) return { kind: 'forward', bare: parseSubject(inner).bare };
  const hasTrailer = trailer.test(whole);
  const { kind, bare } = readPrefixes(hasTrailer ? whole.slice(0, -'(fwd)'.length).trimEnd() : whole);
  return { kind: kind ?? (hasTrailer ? 'forward' : null), bare };
}

function readPrefixes(subject: string): ParsedSubject {
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

/** Prefixes in lower case; matched in any case, with a counter (`[2]`, `(2)`, `^2`), before `:` or `：`. */
const prefixes: readonly (readonly [kind: SubjectKind, words: string])[] = [
  // Latin, as RFC 5322 section 3.6.5 recommends; the second in Cyrillic letters.
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

/** Italian "risposta" and "inoltro". A single letter counts only as a capital, and with a blank after the colon. */
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
/** A tag of a list or a ticket system; it stays. */
const tagForm = /\[[^[\]]{1,80}\]\s*/uy;
/** `[Fwd: x]` of Mozilla and `x (fwd)` of Pine: RFC 5256 section 2.1, subj-fwd. */
const bracketForm = /^\[fwd:\s?(.{0,2000})\]$/isu;
const trailer = /\(fwd\)$/iu;
