/**
 * Terminal escape injection (CWE-150) and bidirectional overrides (Unicode TR36): makes foreign text safe to print.
 *
 * A subject may carry ANSI sequences that recolour, retitle or type into a terminal, and overrides that show it in
 * another order. Both are printed as visible escapes, `\x1b` and `\u202e`. Never throws: any text has a printable form.
 */

// C0 (but tab and line feed), DEL, C1; line and paragraph separators; directional marks, embeddings, isolates.
const harmful = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
// JSON escapes C0 already; the rest is valid in JSON but must not reach a terminal either.
const harmfulInJson = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Line ends and tabs stay. */
export function printableText(text: string): string {
  return text.toWellFormed().replaceAll('\r\n', '\n').replace(harmful, escaped);
}

/** Line ends and tabs become spaces. */
export function printableLine(text: string): string {
  return printableText(text.replace(/[\r\n\t]+/g, ' '));
}

/** One line of JSON that parses to the same value; what would harm a terminal is escaped. */
export function jsonLine(value: unknown): string {
  return JSON.stringify(value).replace(harmfulInJson, unicodeEscape);
}

function escaped(character: string): string {
  const code = character.charCodeAt(0);
  return code < 0x100 ? `\\x${code.toString(16).padStart(2, '0')}` : unicodeEscape(character);
}

function unicodeEscape(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}

/** The text with its first letter in upper case, for a message that begins a sentence. */
export function capitalized(text: string): string {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}`;
}
