/**
 * The stretches of readable text of a mail, and how they become one text and one HTML.
 *
 * A piece is text, HTML, or both when the mail gives them as alternatives of each other. Pieces are joined in order; a
 * single piece stays as it was sent. What HTML says is asked for within the budget of the mail.
 */
import { type HtmlBudget, textOfHtml } from './text.ts';

/** At least one of the two is there. */
export type Piece = { readonly text: string | null; readonly html: string | null };

const isBlank = (text: string | null) => text === null || text.trim() === '';

/** All children of an alternative as one piece: their texts, each once, and the best (last) HTML; null for nothing. */
export function joinAlternatives(children: readonly (readonly Piece[])[], budget: HtmlBudget): Piece | null {
  const joined = children.map((pieces) => joinPieces(pieces, budget)).filter((piece) => piece !== null);
  if (joined.length < 2) return joined[0] ?? null;
  const plain = joined.filter(({ text, html }) => html === null && !isBlank(text)).map(({ text }) => text ?? '');
  const both = joined.find(({ text, html }) => html !== null && !isBlank(text))?.text ?? null;
  const texts = [...new Map(plain.map((text) => [text.trim(), text])).values()];
  const html = joined.findLast((piece) => !isBlank(piece.html))?.html ?? null;
  return { text: texts.length > 0 ? joinTexts(texts) : both, html };
}

/** All pieces as one, in order; null when there are none. */
export function joinPieces(sent: readonly Piece[], budget: HtmlBudget): Piece | null {
  const [first] = sent;
  if (first === undefined) return null;
  if (sent.length === 1) return first;
  const filled = sent.filter(({ text, html }) => !isBlank(text) || !isBlank(html));
  const pieces = withoutRepeats(filled, budget);
  if (pieces.length < 2) return pieces[0] ?? first;
  const hasHtml = pieces.some(({ html }) => html !== null);
  const isMixed = hasHtml && pieces.some(({ text }) => !isBlank(text));
  const texts = pieces
    .map((piece) => (isMixed || !hasHtml ? readableText(piece, budget) : ''))
    .filter((text) => text !== '');
  return { text: texts.length === 0 ? null : joinTexts(texts), html: hasHtml ? joinHtml(pieces) : null };
}

/** What the HTML of a piece says: it is asked for more than once, and takes long. */
const told = new WeakMap<Piece, string>();

/** What is to be read of a piece: its text, else what its HTML says. */
export function readableText(piece: Piece, budget: HtmlBudget): string {
  const { text, html } = piece;
  if (html === null || !isBlank(text)) return text ?? '';
  const known = told.get(piece) ?? textOfHtml(html, budget);
  told.set(piece, known);
  return known;
}

/** Text, and the same as HTML beside it where it should be an alternative: some programs know no other form. */
function withoutRepeats(pieces: readonly Piece[], budget: HtmlBudget): readonly Piece[] {
  const kept: Piece[] = [];
  for (const piece of pieces) {
    const previous = kept.at(-1);
    const isRepeat =
      previous !== undefined &&
      previous.html === null &&
      isBlank(piece.text) &&
      sameWords(previous.text ?? '', readableText(piece, budget));
    if (isRepeat) kept[kept.length - 1] = { text: previous.text, html: piece.html };
    else kept.push(piece);
  }
  return kept;
}

function sameWords(left: string, right: string): boolean {
  const words = (text: string) => text.replace(/[^\p{L}\p{N}]+/gu, '');
  return words(left) === words(right);
}

const comparedLengthMax = 200_000;

/** True when every word of `part` is in `text` too; a very long part is taken for something else. */
export function hasWords(text: string, part: string): boolean {
  if (part.length > comparedLengthMax) return false;
  const wordsOf = (one: string) => one.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? [];
  const known = new Set(wordsOf(text.slice(0, 2 * comparedLengthMax)));
  return wordsOf(part).every((word) => known.has(word));
}

function joinTexts(texts: readonly string[]): string {
  return texts.map((text, at) => (at === texts.length - 1 || text.endsWith('\n') ? text : `${text}\n`)).join('');
}

function joinHtml(pieces: readonly Piece[]): string {
  return pieces
    .map(({ text, html }) => html ?? `<div style="white-space: pre-wrap">${escaped(text ?? '')}</div>`)
    .join('\n');
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;');
}
