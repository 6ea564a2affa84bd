/**
 * Charset detection for 8-bit bytes that are no UTF-8 and whose label is missing or wrong.
 *
 * chardet is given a sample of 16 KiB around the first non-ASCII byte, and believed at a confidence of 30 and more with
 * at least four such bytes: of fewer it knows nothing, and windows-1252 is likeliest. null means undecided; never
 * fails.
 */
import { lazyRequire } from '../lazy-require.ts';

const chardet = lazyRequire((require) => require('chardet') as typeof import('chardet'));

const countedBytesMax = 65_536;

const sampleBytesMax = 16_384;
const nonAsciiBytesMin = 4;
const confidenceMin = 30;

/** Charsets that chardet reports, and what they are decoded as. Others are not believed. */
const believed: ReadonlyMap<string, string> = new Map([
  ['Shift_JIS', 'shift_jis'],
  ['EUC-JP', 'euc-jp'],
  ['ISO-2022-JP', 'iso-2022-jp'],
  ['ISO-2022-KR', 'iso-2022-kr'],
  ['GB18030', 'gb18030'],
  ['Big5', 'big5'],
  ['EUC-KR', 'euc-kr'],
  ['KOI8-R', 'koi8-r'],
  ['windows-1251', 'windows-1251'],
  ['ISO-8859-5', 'iso-8859-5'],
  ['ISO-8859-7', 'windows-1253'],
  ['windows-1253', 'windows-1253'],
  ['ISO-8859-8', 'windows-1255'],
  ['windows-1255', 'windows-1255'],
  ['ISO-8859-6', 'windows-1256'],
  ['windows-1256', 'windows-1256'],
  ['ISO-8859-2', 'iso-8859-2'],
  ['windows-1250', 'windows-1250'],
  ['ISO-8859-9', 'windows-1254'],
  ['windows-1254', 'windows-1254'],
  ['ISO-8859-1', 'windows-1252'],
  ['windows-1252', 'windows-1252'],
]);

/** A charset for `decodeText`, or null. */
export function detectCharset(bytes: Uint8Array): string | null {
  const first = bytes.findIndex((byte) => byte > 0x7f);
  if (first < 0) return null;
  const start = Math.max(0, first - 256);
  const sample = bytes.subarray(start, start + sampleBytesMax);
  if (!hasEnough(sample)) return null;
  const best = chardet()
    .analyse(sample)
    .find(({ name }) => believed.has(name));
  return best === undefined || best.confidence < confidenceMin ? null : (believed.get(best.name) ?? null);
}

function hasEnough(sample: Uint8Array): boolean {
  let nonAscii = 0;
  for (const byte of sample) {
    if (byte > 0x7f) nonAscii += 1;
    if (nonAscii >= nonAsciiBytesMin) return true;
  }
  return false;
}

/** True where more bytes are non-ASCII than Latin letters: no language has so many, so that a Latin label is wrong. */
export function isMostlyNonAscii(bytes: Uint8Array): boolean {
  let nonAscii = 0;
  let letters = 0;
  for (const byte of bytes.subarray(0, countedBytesMax)) {
    if (byte > 0x7f) nonAscii += 1;
    else if (byte > 0x40) letters += 1;
  }
  return nonAscii > letters;
}
