/**
 * Line ends of a message (RFC 5322 section 2.3), as far as they differ between servers that hold the same message.
 */

const lineFeed = 0x0a;
const carriageReturn = 0x0d;

/** Messages of old Macintoshes end their lines with CR alone; a server may have added one line end of its own. */
export function withLineFeeds(bytes: Buffer): Buffer {
  const found = bytes.indexOf(lineFeed);
  if ((found >= 0 && found < lengthWithoutLastBreaks(bytes)) || !bytes.includes(carriageReturn)) return bytes;
  return Buffer.from(bytes.map((byte) => (byte === carriageReturn ? lineFeed : byte)));
}

/** The length without the line ends at the end: empty lines, and the end of the last line that is not empty. */
function lengthWithoutLastBreaks(bytes: Uint8Array): number {
  let length = bytes.length;
  while (length > 0 && (bytes[length - 1] === lineFeed || bytes[length - 1] === carriageReturn)) length -= 1;
  return length;
}

const bytesAtOnce = 65_536;

/** The bytes without the last line ends, in chunks, each line end as CRLF; only a chunk that has others is copied. */
export function* withCanonicalBreaks(bytes: Buffer): Generator<Buffer, void, undefined> {
  const length = lengthWithoutLastBreaks(bytes);
  for (let start = 0; start < length; ) {
    let end = Math.min(start + bytesAtOnce, length);
    // CR and LF stay together.
    while (end < length && bytes[end - 1] === carriageReturn) end += 1;
    const chunk = bytes.subarray(start, end);
    yield hasBareLineFeed(chunk) ? Buffer.from(chunk.toString('latin1').replace(/\r?\n/gu, '\r\n'), 'latin1') : chunk;
    start = end;
  }
}

function hasBareLineFeed(chunk: Buffer): boolean {
  for (let at = chunk.indexOf(lineFeed); at >= 0; at = chunk.indexOf(lineFeed, at + 1))
    if (chunk[at - 1] !== carriageReturn) return true;
  return false;
}
