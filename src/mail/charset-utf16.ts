/**
 * Decodes UTF-16, also where a transport that knows nothing of it wrote its own line ends of single bytes into it.
 *
 * A CR put before each LF shifts all that follows by half a character: it is taken out again. What is left of half a
 * character at the end is dropped. Any bytes give text; it never fails.
 */

const lineFeed = 0x0a;
const carriageReturn = 0x0d;
const lineEnd = Buffer.from('\r\n');

const utf16Decoders = {
  'utf-16le': new TextDecoder('utf-16le', { ignoreBOM: true }),
  'utf-16be': new TextDecoder('utf-16be', { ignoreBOM: true }),
} as const;

/** `charset` is `utf-16le`, `utf-16be`, or anything else where the bytes are to tell the order. */
export function decodeUtf16(bytes: Uint8Array, charset: string): string {
  const order = charset === 'utf-16le' || charset === 'utf-16be' ? charset : orderOf(bytes);
  const mended = withoutLineEnds(bytes, order === 'utf-16le');
  return utf16Decoders[order].decode(mended.subarray(0, mended.length - (mended.length % 2)));
}

/** Without a mark: the half that is mostly zero is the upper one. RFC 2781 section 4.3 says big-endian else. */
function orderOf(bytes: Uint8Array): keyof typeof utf16Decoders {
  let upperFirst = 0;
  let upperLast = 0;
  for (let at = 0; at + 1 < Math.min(bytes.length, 1000); at += 2) {
    if (bytes[at] === 0) upperFirst += 1;
    if (bytes[at + 1] === 0) upperLast += 1;
  }
  return upperLast > upperFirst ? 'utf-16le' : 'utf-16be';
}

/** Line ends of single bytes become whole ones where they took the place of one, and nothing elsewhere. */
function withoutLineEnds(bytes: Uint8Array, isLittle: boolean): Uint8Array {
  if (!Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).includes(lineEnd)) return bytes;
  const strangeBytes = isLittle ? strangeInLittle : strangeInBig;
  const feed = isLittle ? ([lineFeed, 0] as const) : ([0, lineFeed] as const);
  const out = new Uint8Array(bytes.length);
  let length = 0;
  for (let at = 0; at + 1 < bytes.length; ) {
    const strange = strangeBytes(bytes, at);
    if (strange !== 2) {
      const [first, second] = strange === 3 ? feed : [bytes[at] ?? 0, bytes[at + 1] ?? 0];
      out[length] = first;
      out[length + 1] = second;
      length += 2;
    }
    at += strange || 2;
  }
  return out.subarray(0, length);
}

/** 3 for the bytes of a broken line end, 2 for those of a line end that does not belong, else 0. U+0A0D is no character. */
function strangeInLittle(bytes: Uint8Array, at: number): 0 | 2 | 3 {
  if (bytes[at] !== carriageReturn || bytes[at + 1] !== lineFeed) return 0;
  return bytes[at + 2] === 0 ? 3 : 2;
}

/** U+0D0A is a letter of Malayalam, and stays unless it is the last one. */
function strangeInBig(bytes: Uint8Array, at: number): 0 | 2 | 3 {
  if (bytes[at] === 0 && bytes[at + 1] === carriageReturn && bytes[at + 2] === lineFeed) return 3;
  const isLast = at + 2 >= bytes.length - 1;
  return isLast && bytes[at] === carriageReturn && bytes[at + 1] === lineFeed ? 2 : 0;
}
