/**
 * Encoded words (RFC 2047): decodes them within a text, malformed ones too.
 *
 * libmime lost: it leaves malformed words, and words in UTF-7 or ISO-2022-JP, undecoded. Adjacent words of one charset
 * are decoded together, since mail programs split characters between them. Blanks inside a word, a language after the
 * charset (RFC 2231 section 5), a missing end and raw text next to a word are read. One pass over the text; never
 * fails.
 */
import { decodeText } from '../charset/decode.ts';

type EncodedWord = { readonly charset: string; readonly bytes: Buffer; readonly end: number };

const charsetLengthMax = 80;
const charsetPattern = /^[\w.:*'"+ -]{1,80}$/u;

/** Adjacent words of one charset. */
type WordRun = { readonly charset: string; readonly pieces: Buffer[] };

/** The text with all its encoded words decoded; anything else stays as it is. */
export function decodeWords(text: string): string {
  let start = text.indexOf('=?');
  if (start < 0) return text;
  const lastEnd = text.lastIndexOf('?=');
  let decoded = '';
  let copied = 0;
  let run: WordRun | null = null;
  while (start >= 0) {
    const word = readWord(text, start, lastEnd);
    if (word === null) {
      start = text.indexOf('=?', start + 2);
      continue;
    }
    const between = text.slice(copied, start);
    // White space between two words is not part of the text (section 6.2).
    const isJoined: boolean = run !== null && between.trim() === '';
    if (!isJoined || run?.charset !== word.charset) {
      decoded += textOf(run) + (isJoined ? '' : between);
      run = { charset: word.charset, pieces: [] };
    }
    run.pieces.push(word.bytes);
    copied = word.end;
    start = text.indexOf('=?', copied);
  }
  return decoded + textOf(run) + text.slice(copied);
}

function textOf(run: WordRun | null): string {
  return run === null ? '' : decodeText(Buffer.concat(run.pieces), run.charset);
}

/** The word at `start`, or null. A word without an end reaches to the next blank. */
function readWord(text: string, start: number, lastEnd: number): EncodedWord | null {
  const charsetEnd = text.indexOf('?', start + 2);
  if (charsetEnd < 0 || charsetEnd - start > charsetLengthMax) return null;
  const charset = text.slice(start + 2, charsetEnd);
  const encoding = text.charAt(charsetEnd + 1).toUpperCase();
  if ((encoding !== 'B' && encoding !== 'Q') || text.charAt(charsetEnd + 2) !== '?') return null;
  if (!charsetPattern.test(charset)) return null;
  const from = charsetEnd + 3;
  const to = from <= lastEnd ? endOfWord(text, from, encoding) : -1;
  const isOpen = to < 0;
  const end = isOpen ? endOfRun(text, from) : to;
  if (isOpen && end === from) return null;
  const encoded = text.slice(from, end);
  const bytes = encoding === 'B' ? Buffer.from(encoded, 'base64') : decodeQ(encoded);
  return { charset: charset.toLowerCase().replace(/\*.*$/u, ''), bytes, end: isOpen ? end : end + 2 };
}

/** In the Q encoding a raw question mark may precede an escape, which looks like the end of the word. */
function endOfWord(text: string, from: number, encoding: string): number {
  let end = text.indexOf('?=', from);
  if (encoding !== 'Q') return end;
  for (let tries = 0; tries < 20 && end >= 0; tries += 1) {
    if (!/^[0-9A-F]{2}[^\s?]*\?=/u.test(text.slice(end + 2, end + 100))) return end;
    end = text.indexOf('?=', end + 2);
  }
  return end;
}

function endOfRun(text: string, from: number): number {
  for (let at = from; at < text.length; at += 1) {
    if (/[\s"<>]/u.test(text.charAt(at))) return at;
  }
  return text.length;
}

/** Characters beyond one byte do not belong there; they are taken as UTF-8. */
function decodeQ(encoded: string): Buffer {
  const text = encoded.replaceAll('_', ' ');
  if (!text.includes('=')) return bytesOf(text);
  const plain = text.replace(/=([0-9a-f]{2})/giu, (_, digits: string) =>
    String.fromCharCode(Number.parseInt(digits, 16)),
  );
  return bytesOf(plain);
}

function bytesOf(text: string): Buffer {
  return /[\u0100-\uffff]/u.test(text) ? Buffer.from(text, 'utf8') : Buffer.from(text, 'latin1');
}
