/**
 * Opaque S/MIME signatures: extracts the MIME content of a CMS SignedData (RFC 8551 section 3.5.2, RFC 5652 section 5).
 *
 * The BER and DER reader (X.690) is own code: it reads only what this envelope needs, copies only content that is in
 * pieces, and counts its work. It trusts no length: what reaches past the end, nests deeper than ten levels, has tags
 * of several bytes, or exceeds the work shared by all envelopes of a message is null. Signatures are not verified.
 */
import type { DescribedPart } from './protection.ts';

/**
 * True for a part that may hold a message in a CMS envelope (RFC 8551 section 3.2): not for a signed file, whose name
 * has the extension of the file before `.p7m`, unless its fields declare otherwise.
 */
export function isEnvelope({ type, params, name }: DescribedPart): boolean {
  if (type === 'application/octet-stream') return /^smime\.p7m$/iu.test(name.trim());
  if (!/^application\/(?:x-)?pkcs7-mime$/u.test(type)) return false;
  return params.has('smime-type') || /^$|^[^.]*(?:\.p7m)?$/iu.test(name.trim());
}

/** Object identifier 1.2.840.113549.1.7.2. */
const signedData = '2a864886f70d010702';

/** Elements of all envelopes of one message: about a fifth of a second. */
const workMax = 1_000_000;

/** Number of elements that may still be read; an element counts each time it is passed. */
type Work = { left: number };

/** The work for the envelopes of one message. */
export const envelopeWork = (): Work => ({ left: workMax });

/**
 * The MIME bytes within a SignedData, in DER or BER. null for any other content, for a detached signature, and for what
 * cannot be read within the work.
 */
export function readOpaqueSigned(bytes: Uint8Array, work: Work = envelopeWork()): Uint8Array | null {
  const [type, wrapped] = childrenOf(readElement(bytes, work), work);
  if (type?.tag !== tags.objectIdentifier || Buffer.from(type.content).toString('hex') !== signedData) return null;
  if (wrapped?.tag !== tags.first) return null;
  // Version, digest algorithms, then the signed content: its type and, explicitly tagged, its bytes.
  const [, , signed] = childrenOf(readElement(wrapped.content, work), work);
  const [, content] = childrenOf(signed ?? null, work);
  if (content?.tag !== tags.first) return null;
  const octets = readElement(content.content, work);
  return octets === null ? null : octetsOf(octets, work);
}

function childrenOf(element: Element | null, work: Work): readonly Element[] {
  return element?.tag === tags.sequence ? elementsIn(element.content, work, 3) : [];
}

// BER and DER (X.690)

/**
 * One element; `content` ends before the end mark of an indefinite length, `end` is the first byte after the element.
 */
type Element = {
  /** Class, constructed bit and number in one byte. */
  readonly tag: number;
  readonly content: Uint8Array;
  readonly end: number;
};

const tags = {
  objectIdentifier: 0x06,
  octetString: 0x04,
  octetStringOfPieces: 0x24,
  sequence: 0x30,
  /** Context-specific, constructed, number 0. */
  first: 0xa0,
} as const;

const depthMax = 10;
/** Levels of pieces within pieces; programs write one. */
const piecesDepthMax = 4;
const constructedBit = 0x20;

/** The element at `at`; null when it cannot be read to its end. */
function readElement(bytes: Uint8Array, work: Work, at = 0): Element | null {
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

/** Content of indefinite length: elements until two zero bytes. */
function readToEndMark(bytes: Uint8Array, work: Work, { tag, start }: Head, depth: number): Element | null {
  let at = start;
  while (bytes[at] !== 0 || bytes[at + 1] !== 0) {
    const inner = read(bytes, work, at, depth + 1);
    if (inner === null) return null;
    at = inner.end;
  }
  return { tag, content: bytes.subarray(start, at), end: at + 2 };
}

/** The elements within a constructed one, at most `countMax`; an unreadable one ends the list. */
function elementsIn(content: Uint8Array, work: Work, countMax: number): readonly Element[] {
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

/** The bytes of an octet string, joined where it is constructed of pieces; null for any other element. */
function octetsOf(element: Element, work: Work): Uint8Array | null {
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
