/**
 * File name sanitization (CWE-22, CWE-451): a name that is harmless to show and to save on Linux, Windows and macOS.
 *
 * A file name from a message is data, never a path. Invisible characters disappear; controls, bidirectional controls
 * (Unicode TR36), separators and characters that Windows reserves become `_`; blanks and long runs of signs collapse,
 * so that nothing moves the extension out of sight; device names of Windows get a `_`. The name as sent stays in the
 * raw source. Never fails.
 */

/** Longest file name of ext4, APFS and NTFS: bytes of UTF-8 on the first. */
const nameBytesMax = 255;
const extensionBytesMax = 40;

/** Zero-width and other invisible characters (Default_Ignorable_Code_Point), but not the directional ones. */
const invisible = /[^\P{Default_Ignorable_Code_Point}\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]+/gu;
/** C0, DEL, C1; separators; the directional ones; interlinear annotations; reserved on Windows, `:` for streams. */
const unsafe = /[\p{Cc}\u2028\u2029\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufff9-\ufffb/\\:<>"|?*]+/gu;
/** White space, and the blank of Braille. */
const blanks = /[\s\u2800]+/gu;
/** Marks are drawn over and under their letter: no script has more than four on one. */
const stackedMarks = /(\p{M}{4})\p{M}+/gu;
/**
 * More than eight signs, blanks and dots in a row, with marks between them; also private use and unassigned code points
 * and the blank hieroglyphs, which have no glyph.
 */
const signs = /[\p{P}\p{Z}\p{S}\p{M}\p{Co}\p{Cn}\u{13441}\u{13442}]{9,}/gu;
/** Reserved on Windows with any extension. */
const deviceName = /^(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[\d\u00b9\u00b2\u00b3])(?= *(?:\.|$))/iu;

/** The name without anything unsafe, at most 255 bytes, extension included; null when nothing is left of it. */
export function safeName(sent: string): string | null {
  const name = sent
    .toWellFormed()
    .replace(invisible, '')
    .replace(unsafe, '_')
    .replace(blanks, ' ')
    .replace(stackedMarks, '$1')
    .replace(signs, (run) => (run.endsWith('.') ? '_.' : '_'))
    .trim();
  if (/^[._ ]*$/u.test(name)) return null;
  const whole = withoutIgnoredEnd(name).replace(deviceName, '_$&');
  return Buffer.byteLength(whole) <= nameBytesMax ? whole : shortened(whole);
}

/** Cuts the stem; an extension of up to 40 bytes stays. */
function shortened(name: string): string {
  const dot = name.lastIndexOf('.');
  const last = dot > 0 ? name.slice(dot) : '';
  const extension = Buffer.byteLength(last) <= extensionBytesMax ? last : '';
  const stem = extension === '' ? name : name.slice(0, dot);
  return withoutIgnoredEnd(cutToBytes(stem, nameBytesMax - Buffer.byteLength(extension))) + extension;
}

/** Windows drops dots and blanks at the end. In one pass: a pattern that tries every start takes quadratic time. */
function withoutIgnoredEnd(name: string): string {
  let end = name.length;
  while (end > 0 && /[. ]/u.test(name.charAt(end - 1))) end -= 1;
  return name.slice(0, end);
}

/** The longest beginning of whole characters. */
function cutToBytes(text: string, bytesMax: number): string {
  let bytes = 0;
  let end = 0;
  for (const character of text) {
    bytes += Buffer.byteLength(character);
    if (bytes > bytesMax) break;
    end += character.length;
  }
  return text.slice(0, end);
}
