/**
 * A source file as the rules see it, with two masked copies: one without comments, one without comments and texts.
 *
 * Masked characters become spaces, so that line numbers and columns stay. It is a small scanner and no parser: it
 * knows comments, strings, templates and, by what stands before the slash, regular expressions.
 */

export type Source = {
  /** From the root of the checkout, with slashes. */
  readonly path: string;
  readonly text: string;
  /** The text without its comments. */
  readonly withoutComments: string;
  /** The text without comments, and without what is inside strings, templates and regular expressions. */
  readonly code: string;
  /** Code, comments and titles of tests: what people wrote for people, without the data of a test. */
  readonly prose: string;
};

export type Problem = { readonly path: string; readonly line: number; readonly what: string };

/** A rule looks at one file and says what is wrong in it. */
export type Rule = (source: Source) => Problem[];

export function makeSource(path: string, text: string): Source {
  if (!path.endsWith('.ts')) return { path, text, withoutComments: text, code: text, prose: text };
  const pieces = scan(text);
  const mask = (isMasked: (piece: Piece, index: number) => boolean): string =>
    pieces.map((piece, index) => (isMasked(piece, index) ? piece.text.replace(/[^\n]/g, ' ') : piece.text)).join('');
  return {
    ...{ path, text },
    withoutComments: mask(({ kind }) => kind === 'comment'),
    code: mask(({ kind }) => kind !== 'code'),
    prose: mask(({ kind }, index) => kind === 'text' && !isTitle(pieces, index)),
  };
}

const titled = /(?:\b(?:test|describe)(?:\.\w+)*|[\])])\(\s*['"`]$/;

/** The first argument of `test`, `describe`, and of what `.each` and `.for` give. */
function isTitle(pieces: readonly Piece[], index: number): boolean {
  const before = pieces.slice(Math.max(0, index - 8), index);
  return titled.test(before.map(({ text }) => text).join(''));
}

/** One problem for each match of `pattern`, which needs the flag g, in `text`. */
export function matches(source: Source, text: string, pattern: RegExp, what: (match: string) => string): Problem[] {
  return [...text.matchAll(pattern)].map((match) => ({
    path: source.path,
    line: lineAt(text, match.index),
    what: what(match[0].trim()),
  }));
}

export function lineAt(text: string, index: number): number {
  return text.slice(0, index).split('\n').length;
}

type PieceKind = 'code' | 'comment' | 'text';
type Piece = { readonly kind: PieceKind; readonly text: string };

const comment = /\/\/[^\n]*|\/\*[\s\S]*?\*\//y;
const quoted = /'(?:\\[\s\S]|[^'\\\n])*'|"(?:\\[\s\S]|[^"\\\n])*"/y;
const regularExpression = /\/(?![*/])(?:\\.|\[(?:\\.|[^\]\\\n])*\]|[^/\\[\n])+\/[a-z]*/y;
/** After these a slash begins a regular expression; after a value it divides. */
const beforeExpression = /(?:^|[(,=:[!&|?{};+~<>%*-]|\breturn|\btypeof|\bcase)\s*$/;
/** What needs no look at each character. */
const plain = /[\w\s.,;()]+/y;
const templatePart = /(?:\\[\s\S]|\$(?!\{)|[^`\\$])*/y;

function scan(text: string): Piece[] {
  const scanner = new Scanner(text);
  while (scanner.step());
  return scanner.pieces;
}

class Scanner {
  readonly pieces: Piece[] = [];
  readonly #text: string;
  #at = 0;
  /** For each template we are inside of: how many braces are open in its current placeholder. */
  readonly #templates: number[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  /** Takes the next piece; false at the end. */
  step(): boolean {
    if (this.#at >= this.#text.length) return false;
    if (this.#take('comment', this.#match(comment))) return true;
    const literal = this.#match(quoted) ?? this.#expression();
    if (literal === null) this.#character();
    else this.#literal(literal);
    return true;
  }

  #take(kind: PieceKind, piece: string | null): boolean {
    if (piece === null || piece === '') return false;
    this.pieces.push({ kind, text: piece });
    this.#at += piece.length;
    return true;
  }

  #match(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    return pattern.exec(this.#text)?.[0] ?? null;
  }

  /** A regular expression, if a slash at this place can begin one. */
  #expression(): string | null {
    if (this.#text.charAt(this.#at) !== '/') return null;
    const before = this.pieces.filter((piece) => piece.kind !== 'comment').slice(-20);
    return beforeExpression.test(before.map((piece) => piece.text).join('')) ? this.#match(regularExpression) : null;
  }

  #literal(literal: string): void {
    this.#take('code', literal.charAt(0));
    this.#take('text', literal.slice(1, -1));
    this.#take('code', literal.slice(-1));
  }

  #character(): void {
    if (this.#take('code', this.#match(plain))) return;
    const character = this.#text.charAt(this.#at);
    this.#take('code', character);
    if (character === '`') this.#template();
    else if (this.#templates.length > 0) this.#brace(character);
  }

  #brace(character: string): void {
    const open = this.#templates.pop() ?? 0;
    if (character === '}' && open === 0) this.#template();
    else this.#templates.push(open + (character === '{' ? 1 : character === '}' ? -1 : 0));
  }

  /** The text of a template up to its end or its next placeholder. */
  #template(): void {
    this.#take('text', this.#match(templatePart));
    const isPlaceholder = this.#text.startsWith('${', this.#at);
    this.#take('code', isPlaceholder ? '${' : '`');
    if (isPlaceholder) this.#templates.push(0);
  }
}
