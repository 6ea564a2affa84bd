/**
 * Guesses the charset of 8-bit bytes that are no UTF-8 and whose label is missing or wrong.
 *
 * A statistical detector is asked about a sample, and believed only where it is fairly sure: of a few letters it knows
 * nothing, and then windows-1252 is the likeliest. It never fails; null means that nothing can be said.
 */
import { onDemand } from './on-demand.ts';

const chardet = onDemand((require) => require('chardet') as typeof import('chardet'));

const sampleBytesMax = 16_384;
const foreignBytesMin = 4;
const confidenceMin = 30;

/** What the detector answers, and what it is read as. Rows that are missing are not believed in unlabelled bytes. */
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

/** A charset for `decodeText`, or null. Looks at the stretch around the first foreign byte. */
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
  let foreign = 0;
  for (const byte of sample) {
    if (byte > 0x7f) foreign += 1;
    if (foreign >= foreignBytesMin) return true;
  }
  return false;
}
