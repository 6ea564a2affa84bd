/**
 * Decompresses the RTF that Outlook stores with a message (MS-OXRTFCP): LZFu, or stored as it is (MELA).
 *
 * Takes any bytes. What is no compressed RTF is null; a stream that breaks off gives what came before. The sizes in
 * its header are never trusted: the result has at most `lengthMax` bytes, and at most nine for each one read.
 */

const compressedMark = 0x75465a4c;
const storedMark = 0x414c454d;
const headerBytes = 16;
const dictionaryBytes = 4096;

/** What the dictionary holds before the first byte (MS-OXRTFCP section 2.1.2.1). */
const initialDictionary =
  '{\\rtf1\\ansi\\mac\\deff0\\deftab720{\\fonttbl;}{\\f0\\fnil \\froman \\fswiss \\fmodern \\fscript \\fdecor MS Sans ' +
  'SerifSymbolArialTimes New RomanCourier{\\colortbl\\red0\\green0\\blue0\r\n\\par \\pard\\plain\\f0\\fs20\\b\\i\\u\\tab\\tx';

/** Null for what is neither compressed nor stored. */
export function decompressRtf(bytes: Uint8Array, lengthMax: number): Uint8Array | null {
  if (bytes.length < headerBytes) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const statedLength = view.getUint32(4, true);
  const mark = view.getUint32(8, true);
  const body = bytes.subarray(headerBytes);
  if (mark === storedMark) return body.subarray(0, Math.min(statedLength, lengthMax));
  return mark === compressedMark ? inflate(body, Math.min(statedLength, lengthMax, body.length * 9)) : null;
}

/** Flag bytes, each for eight tokens: a byte as it is, or offset (12 bits) and length (4 bits) in the dictionary. */
function inflate(body: Uint8Array, lengthMax: number): Uint8Array {
  const dictionary = new Uint8Array(dictionaryBytes);
  dictionary.set(Buffer.from(initialDictionary, 'latin1'));
  let writeAt = initialDictionary.length;
  const output = new Uint8Array(lengthMax);
  let length = 0;
  const put = (byte: number): void => {
    output[length++] = byte;
    dictionary[writeAt] = byte;
    writeAt = (writeAt + 1) % dictionaryBytes;
  };

  let flags = 1;
  for (let readAt = 0; readAt < body.length && length < lengthMax; ) {
    // The bit above the eight flags tells when all of them are used.
    if (flags === 1) flags = 0x100 | (body[readAt++] ?? 0);
    const isReference = (flags & 1) === 1;
    flags >>= 1;
    const byte = body[readAt++] ?? 0;
    if (!isReference) {
      put(byte);
      continue;
    }
    const reference = (byte << 8) | (body[readAt++] ?? 0);
    const offset = reference >> 4;
    // A reference to the place that is written next is the end mark.
    if (offset === writeAt) break;
    const end = Math.min(lengthMax, length + (reference & 15) + 2);
    for (let from = offset; length < end; from++) put(dictionary[from % dictionaryBytes] ?? 0);
  }
  return output.subarray(0, length);
}
