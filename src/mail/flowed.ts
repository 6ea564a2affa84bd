/**
 * Undoes `format=flowed` (RFC 3676): lines that were broken to fit become paragraphs again, quoted ones too.
 *
 * Takes any text with LF line ends, one pass; what was never flowed comes out as it is.
 */

const signatureLine = '-- ';

/** Pieces are put together when there are so many: millions at once take a gigabyte. */
const piecesMax = 10_000;

/** `deletesSpace` is the DelSp parameter: the blank that marks a soft break belongs to no word (section 4.3). */
export function unflow(text: string, deletesSpace: boolean): string {
  const whole: string[] = [];
  const pieces: string[] = [];
  /** True while a paragraph goes on, all of one depth. */
  let isOpen = false;
  let openDepth = 0;
  for (let start = 0; start <= text.length; ) {
    const found = text.indexOf('\n', start);
    const end = found < 0 ? text.length : found;
    const { depth, content } = readLine(text.slice(start, end));
    // A paragraph ends where the depth changes, whatever its last line says (section 4.5).
    const goesOn = isOpen && depth === openDepth && content !== signatureLine;
    if (!goesOn) pieces.push(start === 0 ? '' : '\n', depth === 0 ? '' : `${'>'.repeat(depth)} `);
    openDepth = depth;
    isOpen = content.endsWith(' ') && content !== signatureLine;
    pieces.push(isOpen && deletesSpace ? content.slice(0, -1) : content);
    if (pieces.length > piecesMax) whole.push(pieces.splice(0).join(''));
    start = end + 1;
  }
  whole.push(pieces.join(''));
  return whole.join('');
}

/** One blank is put before lines that begin with a blank, a `>`, or `From ` (section 4.4). */
function readLine(line: string): { readonly depth: number; readonly content: string } {
  let depth = 0;
  while (line.charCodeAt(depth) === 0x3e) depth += 1;
  return { depth, content: line.slice(line.charAt(depth) === ' ' ? depth + 1 : depth) };
}
