/**
 * Tells whether a mail is signed or encrypted, by S/MIME or PGP, from its form alone; and opens what is only signed.
 *
 * Nothing is verified or decrypted: who signed, and whether it holds, is not known here. A mail that is both is called
 * encrypted, since that is what keeps it from being read. Keys and signed files that are merely attached do not count.
 */
import type { Protection } from '../message.ts';

/** A part as its fields describe it: `type` in lower case, values of `params` as sent. */
export type DescribedPart = {
  readonly type: string;
  readonly params: ReadonlyMap<string, string>;
  readonly name: string;
};

type PartRule = {
  readonly type: RegExp;
  /** A parameter that must have a value of this form. */
  readonly param?: readonly [name: string, value: RegExp];
  /** The file name must have this form. */
  readonly name?: RegExp;
  readonly says: Protection | null;
};

/** The first rule that fits a part decides about it. */
const partRules: readonly PartRule[] = [
  // RFC 3156 sections 4 and 5, RFC 8551 section 3.5.3
  { type: /^multipart\/encrypted$/u, param: ['protocol', /pgp/iu], says: 'pgp_encrypted' },
  { type: /^multipart\/encrypted$/u, param: ['protocol', /pkcs7/iu], says: 'smime_encrypted' },
  { type: /^multipart\/signed$/u, param: ['protocol', /pgp/iu], says: 'pgp_signed' },
  { type: /^multipart\/signed$/u, param: ['protocol', /pkcs7/iu], says: 'smime_signed' },
  // The parts themselves: Exchange and list servers rewrite the multipart around them
  { type: /^application\/pgp-encrypted$/u, says: 'pgp_encrypted' },
  { type: /^application\/pgp-signature$/u, says: 'pgp_signed' },
  { type: /^application\/(?:x-)?pkcs7-signature$/u, name: /^$|^[^.]*\.p7[sm]$/iu, says: 'smime_signed' },
  // RFC 8551 section 3.2.2
  { type: /^application\/(?:x-)?pkcs7-mime$/u, param: ['smime-type', /^signed-data$/iu], says: 'smime_signed' },
  { type: /^application\/(?:x-)?pkcs7-mime$/u, param: ['smime-type', /enveloped-data$/iu], says: 'smime_encrypted' },
  { type: /^application\/(?:x-)?pkcs7-mime$/u, param: ['smime-type', /./u], says: null },
  // Without that parameter (Outlook, old programs) it is nearly always encrypted. A name like `contract.pdf.p7m` is a
  // signed file, of which the signature laws of some countries make many.
  { type: /^application\/(?:x-)?pkcs7-mime$/u, name: /^$|^[^.]*\.p7m$/iu, says: 'smime_encrypted' },
  // Gateways that do not know the type
  { type: /^application\/octet-stream$/u, name: /^smime\.p7m$/iu, says: 'smime_encrypted' },
  { type: /^application\/octet-stream$/u, name: /^smime\.p7s$/iu, says: 'smime_signed' },
  // Before RFC 2015: mutt, Kmail 1 and others
  { type: /^application\/pgp$/u, param: ['x-action', /^sign/iu], says: 'pgp_signed' },
  { type: /^application\/pgp$/u, says: 'pgp_encrypted' },
];

/** The strongest protection that any part, or armour in the text (RFC 9580 section 6.2), tells of; null for none. */
export function protectionOf(parts: readonly DescribedPart[], text: string): Protection | null {
  const found = [...parts.map(protectionOfPart), armourIn(text)].filter((one) => one !== null);
  return found.find((one) => one.endsWith('_encrypted')) ?? found[0] ?? null;
}

function protectionOfPart(part: DescribedPart): Protection | null {
  return partRules.find((rule) => fits(rule, part))?.says ?? null;
}

function fits(rule: PartRule, { type, params, name }: DescribedPart): boolean {
  if (!rule.type.test(type)) return false;
  if (rule.param !== undefined && !rule.param[1].test(params.get(rule.param[0])?.trim() ?? '')) return false;
  return rule.name === undefined || rule.name.test(name.trim());
}

const armourStart = '-----BEGIN PGP ';

/** Armour at the start of a line; quoted or indented it is history, or an example. */
function armourIn(text: string): Protection | null {
  if (!text.includes(armourStart)) return null;
  if (/^-----BEGIN PGP MESSAGE(?:, PART [\d/]{1,20})?-----[^\S\n]{0,20}$/mu.test(text)) return 'pgp_encrypted';
  // HTML that forgot its line breaks: what follows in the same line is no sentence.
  if (/(?<!> ?)-----BEGIN PGP MESSAGE-----\s{1,20}[A-Za-z0-9+/]{60}/u.test(text)) return 'pgp_encrypted';
  const isSigned =
    /^-----BEGIN PGP SIGNED MESSAGE-----[^\S\n]{0,20}$/mu.test(text) &&
    /^-----BEGIN PGP SIGNATURE-----[^\S\n]{0,20}$/mu.test(text);
  return isSigned ? 'pgp_signed' : null;
}

/**
 * The readable text of a mail that is signed within its text (RFC 9580 section 7): without armour, dash-escaping
 * undone; what stands before and after is kept, and so are words where only armour belongs: a reader sees them too.
 * Null when nothing in it is signed that way.
 */
export function clearTextOf(text: string): string | null {
  if (armourIn(text) !== 'pgp_signed') return null;
  const kept: string[] = [];
  let place: Place = 'outside';
  for (const line of text.split('\n')) {
    const next = nextPlace(place, line);
    if (next === place && !isArmour(place, line)) kept.push(isEscaped(place, line) ? line.slice(2) : line);
    place = next;
  }
  // What never ends as it should is shown as it is.
  return place === 'outside' ? kept.join('\n') : null;
}

type Place = 'outside' | 'fields' | 'signed' | 'signature';

/** Where a line leads from each place. */
const armourLines: Readonly<Record<Place, readonly [line: RegExp, to: Place]>> = {
  outside: [/^-----BEGIN PGP SIGNED MESSAGE-----\s{0,20}$/u, 'fields'],
  fields: [/^\s{0,20}$/u, 'signed'],
  signed: [/^-----BEGIN PGP SIGNATURE-----\s{0,20}$/u, 'signature'],
  signature: [/^-----END PGP SIGNATURE-----\s{0,20}$/u, 'outside'],
};

function nextPlace(place: Place, line: string): Place {
  const [pattern, to] = armourLines[place];
  return pattern.test(line) ? to : place;
}

const isEscaped = (place: Place, line: string) => place === 'signed' && line.startsWith('- ');

/** RFC 9580 sections 6.2.2 and 7: the fields before the text, and those of a signature. */
const signedField = /^(?:Hash|Charset|NotDashEscaped):[\w ,./+-]{0,200}\s{0,20}$/iu;
const signatureField = /^(?:Version|Comment|Hash|Charset|MessageID):.{0,100}$/iu;
/** Base64, the check sum, or an empty line. Sentences have blanks. */
const signatureData = /^(?:[A-Za-z0-9+/]{1,76}={0,2}|=[A-Za-z0-9+/]{4})?\s{0,20}$/u;

function isArmour(place: Place, line: string): boolean {
  if (place === 'fields') return signedField.test(line);
  return place === 'signature' && (signatureData.test(line) || signatureField.test(line));
}

/**
 * True for a part that may hold a mail in a CMS envelope (RFC 8551 section 3.2): not for a signed file, whose name
 * has the file's own ending before `.p7m`, unless its fields say otherwise.
 */
export function isEnvelope({ type, params, name }: DescribedPart): boolean {
  if (type === 'application/octet-stream') return /^smime\.p7m$/iu.test(name.trim());
  if (!/^application\/(?:x-)?pkcs7-mime$/u.test(type)) return false;
  return params.has('smime-type') || /^$|^[^.]*(?:\.p7m)?$/iu.test(name.trim());
}

const signedData = '2a864886f70d010702';

/** Elements of all envelopes of one mail: about a fifth of a second. */
const workMax = 1_000_000;

/** What may be spent on opening the envelopes of one mail. */
export const envelopeWork = (): Work => ({ left: workMax });

/**
 * The mail within a CMS SignedData (RFC 5652 section 5; DER or BER): its MIME bytes. Null for any other content, for a
 * signature without what it signs, and for what cannot be read within the work, which all envelopes of a mail share.
 */
export function readOpaqueSigned(bytes: Uint8Array, work: Work = envelopeWork()): Uint8Array | null {
  const [type, wrapped] = childrenOf(readElement(bytes, work), work);
  if (type?.tag !== tags.objectIdentifier || Buffer.from(type.content).toString('hex') !== signedData) return null;
  if (wrapped?.tag !== tags.first) return null;
  // Version, digest algorithms, then what is signed: its type and, explicitly tagged, its bytes.
  const [, , signed] = childrenOf(readElement(wrapped.content, work), work);
  const [, content] = childrenOf(signed ?? null, work);
  if (content?.tag !== tags.first) return null;
  const octets = readElement(content.content, work);
  return octets === null ? null : octetsOf(octets, work);
}

function childrenOf(element: Element | null, work: Work): readonly Element[] {
  return element?.tag === tags.sequence ? elementsIn(element.content, work, 3) : [];
}

/**
 * Reads elements of ASN.1 in BER and DER (X.690), as far as the envelope of a signed mail needs them.
 *
 * Lengths may be indefinite and texts constructed of pieces. Takes any bytes, trusts no length: what reaches past the
 * end, nests deeper than `depthMax`, has tags of several bytes, or takes more work than is left is null. Nothing is
 * copied but pieces put together.
 */

/** One element; `content` ends before the end mark where the length is indefinite, `end` is the first byte after it. */
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

/** How many elements may still be read, each as often as it is passed. */
type Work = { left: number };

const depthMax = 10;
/** Of pieces within pieces: nobody writes more than one level. */
const piecesDepthMax = 4;
const constructedBit = 0x20;

/** The element that starts at `at`; null when it cannot be read to its end. */
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

/** The bytes of an octet string, put together where it is constructed of pieces; null for any other element. */
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
