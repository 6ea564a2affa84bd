/**
 * Reads elements of ASN.1 in BER and DER (X.690), as far as the envelope of a signed mail needs them.
 *
 * Lengths may be indefinite and texts constructed of pieces. Takes any bytes, trusts no length: what reaches past the
 * end, nests deeper than `depthMax`, has tags of several bytes, or takes more work than is left is null. Nothing is
 * copied but pieces put together.
 */

/** One element; `content` ends before the end mark where the length is indefinite, `end` is the first byte after it. */
export type Element = {
  /** Class, constructed bit and number in one byte. */
  readonly tag: number;
  readonly content: Uint8Array;
  readonly end: number;
};

export const tags = {
  objectIdentifier: 0x06,
  octetString: 0x04,
  octetStringOfPieces: 0x24,
  sequence: 0x30,
  /** Context-specific, constructed, number 0. */
  first: 0xa0,
} as const;

/** How many elements may still be read, each as often as it is passed. */
export type Work = { left: number };

const depthMax = 10;
/** Of pieces within pieces: nobody writes more than one level. */
const piecesDepthMax = 4;
const constructedBit = 0x20;

/** The element that starts at `at`; null when it cannot be read to its end. */
export function readElement(bytes: Uint8Array, work: Work, at = 0): Element | null {
  return read(bytes, work, at, 0);
}

type Head = { readonly tag: number; readonly start: number; readonly length: number | 'indefinite' };

function readHead(bytes: Uint8Array, at: number): Head | null {
  const tag = bytes[at];
  const first = bytes[at + 1];
  if (tag === undefined || first === undefined || (tag & 0x1f) === 0x1f) return null;
  if (first < 0x80) return { tag, start: at + 2, length: first };
  if (first === 0x80) return (tag & constructedBit) === 0 ? null : { tag, start: at + 2, length: 'indefinite' };
  const digits = first & 0x7f;
  if (digits > 6) return null;
  let length = 0;
  for (let index = 0; index < digits; index++) length = length * 256 + (bytes[at + 2 + index] ?? Number.NaN);
  return Number.isNaN(length) ? null : { tag, start: at + 2 + digits, length };
}

function read(bytes: Uint8Array, work: Work, at: number, depth: number): Element | null {
  const head = readHead(bytes, at);
  work.left -= 1;
  if (head === null || depth > depthMax || work.left < 0) return null;
  const { tag, start, length } = head;
  if (length === 'indefinite') return readToEndMark(bytes, work, head, depth);
  const end = start + length;
  return end > bytes.length ? null : { tag, content: bytes.subarray(start, end), end };
}

/** Elements one after the other until two zero bytes. */
function readToEndMark(bytes: Uint8Array, work: Work, { tag, start }: Head, depth: number): Element | null {
  let at = start;
  while (bytes[at] !== 0 || bytes[at + 1] !== 0) {
    const inner = read(bytes, work, at, depth + 1);
    if (inner === null) return null;
    at = inner.end;
  }
  return { tag, content: bytes.subarray(start, at), end: at + 2 };
}

/** The elements within a constructed one, at most `countMax`; what cannot be read ends the list. */
export function elementsIn(content: Uint8Array, work: Work, countMax: number): readonly Element[] {
  const found: Element[] = [];
  let at = 0;
  while (found.length < countMax && at < content.length) {
    const element = readElement(content, work, at);
    if (element === null) break;
    found.push(element);
    at = element.end;
  }
  return found;
}

/** The bytes of an octet string, put together where it is constructed of pieces; null for any other element. */
export function octetsOf(element: Element, work: Work): Uint8Array | null {
  if (element.tag === tags.octetString) return element.content;
  const whole = { bytes: new Uint8Array(element.content.length), length: 0 };
  return gather(element, work, whole, 0) ? whole.bytes.subarray(0, whole.length) : null;
}

type Whole = { readonly bytes: Uint8Array; length: number };

function gather({ tag, content }: Element, work: Work, whole: Whole, depth: number): boolean {
  if (tag === tags.octetString) {
    whole.bytes.set(content, whole.length);
    whole.length += content.length;
    return true;
  }
  if (tag !== tags.octetStringOfPieces || depth > piecesDepthMax) return false;
  for (let at = 0; at < content.length; ) {
    const piece = readElement(content, work, at);
    if (piece === null || !gather(piece, work, whole, depth + 1)) return false;
    at = piece.end;
  }
  return true;
}
