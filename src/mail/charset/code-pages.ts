/**
 * Windows code pages: decodes bytes by the code page number with which TNEF and RTF declare a charset.
 *
 * The number is believed, since a run of RTF is too short for detection. Unknown numbers are read as windows-1252, in
 * which at least ASCII is right. Unreadable bytes become U+FFFD; never fails.
 */
import { isUtf8 } from 'node:buffer';
import { lazyRequire } from '../lazy-require.ts';

const iconv = lazyRequire((require) => require('iconv-lite') as typeof import('iconv-lite'));

const fallbackLabel = 'windows-1252';

/** Code pages whose label in the Encoding Standard does not follow from the number. */
const labels: ReadonlyMap<number, string> = new Map([
  [866, 'ibm866'],
  [874, 'windows-874'],
  [932, 'shift_jis'],
  [936, 'gbk'],
  [949, 'euc-kr'],
  [950, 'big5'],
  [1200, 'utf-16le'],
  [1201, 'utf-16be'],
  [1361, 'euc-kr'],
  [10000, 'macintosh'],
  [10007, 'x-mac-cyrillic'],
  // US-ASCII
  [20127, fallbackLabel],
  [20866, 'koi8-r'],
  [20932, 'euc-jp'],
  [20936, 'gbk'],
  [20949, 'euc-kr'],
  [21866, 'koi8-u'],
  // ISO-8859-1 and -9 are read as their supersets of Windows, as browsers do
  [28591, fallbackLabel],
  [28599, 'windows-1254'],
  [38598, 'iso-8859-8'],
  [50220, 'iso-2022-jp'],
  [50221, 'iso-2022-jp'],
  [50222, 'iso-2022-jp'],
  [50225, 'euc-kr'],
  [51932, 'euc-jp'],
  [51936, 'gbk'],
  [51949, 'euc-kr'],
  [51950, 'big5'],
  [52936, 'gbk'],
  [54936, 'gb18030'],
  [65001, 'utf-8'],
]);

/** Code pages of DOS, which the Encoding Standard does not have. */
const dosCodePages: ReadonlySet<number> = new Set([
  437, 720, 737, 775, 850, 852, 855, 857, 858, 860, 861, 862, 863, 864, 865, 869,
]);

/** Text of `bytes` in that code page. */
export function decodeCodePage(bytes: Uint8Array, codePage: number): string {
  const label = labelOf(codePage);
  if (dosCodePages.has(codePage)) return iconv().decode(bytes, `cp${codePage}`);
  return decoderOf(label ?? fallbackLabel).decode(bytes);
}

const utf16 = 1200;

/** Double-byte code pages, in which valid UTF-8 may be other text. */
const doubleByteCodePages: ReadonlySet<number> = new Set([932, 936, 949, 950, 1361, 54936]);

/** As `decodeCodePage`, for a whole text, which some programs write in UTF-8 under any number. */
export function decodeWholeText(bytes: Uint8Array, codePage: number): string {
  const isWrongNumber = codePage !== utf16 && !doubleByteCodePages.has(codePage) && isUtf8(bytes);
  return decodeCodePage(bytes, isWrongNumber && bytes.some((byte) => byte > 0x7f) ? 65_001 : codePage);
}

const decoders = new Map<string, TextDecoder>();

function decoderOf(label: string): TextDecoder {
  const known = decoders.get(label);
  if (known !== undefined) return known;
  const decoder = new TextDecoder(label);
  decoders.set(label, decoder);
  return decoder;
}

function labelOf(codePage: number): string | null {
  const label = labels.get(codePage);
  if (label !== undefined) return label;
  if (codePage >= 1250 && codePage <= 1258) return `windows-${codePage}`;
  const part = codePage - 28590;
  return part >= 2 && part <= 16 && part !== 11 && part !== 12 ? `iso-8859-${part}` : null;
}
