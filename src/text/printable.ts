/**
 * Text from outside made harmless for a terminal.
 *
 * A subject may carry ANSI sequences that recolour, retitle or type into the terminal of whoever lists it (CWE-150),
 * and bidirectional overrides that show it in another order than it has (Unicode TR36). Both come out as visible
 * escapes, `\x1b` and `\u202e`. Nothing is thrown: any text has a printable form.
 */

// C0 (but tab and line feed), DEL, C1; line and paragraph separators; directional marks, embeddings, isolates.
const harmful = /[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;
// JSON escapes C0 by itself; the rest is valid in it but must not reach a terminal either.
const harmfulInJson = /[\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/g;

/** Text of several lines, with its line ends and tabs. */
export function printableText(text: string): string {
  return text.toWellFormed().replaceAll('\r\n', '\n').replace(harmful, escaped);
}

/** Text on one line: line ends and tabs become spaces. */
export function printableLine(text: string): string {
  return printableText(text.replace(/[\r\n\t]+/g, ' '));
}

/** One line of JSON; what would harm a terminal is escaped, so that it parses to the same value. */
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
