/**
 * Signed and encrypted messages: S/MIME (RFC 8551) and PGP (RFC 3156, RFC 9580), recognised by their form alone; and
 * the content of cleartext and opaque signatures.
 *
 * Nothing is verified or decrypted: neither the signer nor the validity of a signature is known here. A message that is
 * both signed and encrypted counts as encrypted. Keys and signed files that are merely attached do not count.
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
  /** A parameter whose value must match. */
  readonly param?: readonly [name: string, value: RegExp];
  readonly name?: RegExp;
  readonly protection: Protection | null;
};

/** The first rule that matches a part decides. */
const partRules: readonly PartRule[] = [
  // RFC 3156 sections 4 and 5, RFC 8551 section 3.5.3
  { type: /^multipart\/encrypted$/u, param: ['protocol', /pgp/iu], protection: 'pgp_encrypted' },
  { type: /^multipart\/encrypted$/u, param: ['protocol', /pkcs7/iu], protection: 'smime_encrypted' },
  { type: /^multipart\/signed$/u, param: ['protocol', /pgp/iu], protection: 'pgp_signed' },
  { type: /^multipart\/signed$/u, param: ['protocol', /pkcs7/iu], protection: 'smime_signed' },
  // Single parts: Exchange and list servers rewrite the multipart around them
  { type: /^application\/pgp-encrypted$/u, protection: 'pgp_encrypted' },
  { type: /^application\/pgp-signature$/u, protection: 'pgp_signed' },
  { type: /^application\/(?:x-)?pkcs7-signature$/u, name: /^$|^[^.]*\.p7[sm]$/iu, protection: 'smime_signed' },
  // RFC 8551 section 3.2.2
  { type: /^application\/(?:x-)?pkcs7-mime$/u, param: ['smime-type', /^signed-data$/iu], protection: 'smime_signed' },
  {
    type: /^application\/(?:x-)?pkcs7-mime$/u,
    param: ['smime-type', /enveloped-data$/iu],
    protection: 'smime_encrypted',
  },
  { type: /^application\/(?:x-)?pkcs7-mime$/u, param: ['smime-type', /./u], protection: null },
  // Without that parameter (Outlook, old programs) it is nearly always encrypted. A name like `contract.pdf.p7m` is a
  // signed file, as the signature laws of some countries require.
  { type: /^application\/(?:x-)?pkcs7-mime$/u, name: /^$|^[^.]*\.p7m$/iu, protection: 'smime_encrypted' },
  // Gateways that do not know the type
  { type: /^application\/octet-stream$/u, name: /^smime\.p7m$/iu, protection: 'smime_encrypted' },
  { type: /^application\/octet-stream$/u, name: /^smime\.p7s$/iu, protection: 'smime_signed' },
  // Before RFC 2015: mutt, Kmail 1 and others
  { type: /^application\/pgp$/u, param: ['x-action', /^sign/iu], protection: 'pgp_signed' },
  { type: /^application\/pgp$/u, protection: 'pgp_encrypted' },
];

/** The strongest protection that a part, or armour in the text (RFC 9580 section 6.2), declares; null for none. */
export function protectionOf(parts: readonly DescribedPart[], text: string): Protection | null {
  const declared = parts.map((part) => partRules.find((rule) => matches(rule, part))?.protection ?? null);
  const found = [...declared, armourIn(text)].filter((one) => one !== null);
  return found.find((one) => one.endsWith('_encrypted')) ?? found[0] ?? null;
}

function matches(rule: PartRule, { type, params, name }: DescribedPart): boolean {
  if (!rule.type.test(type)) return false;
  if (rule.param !== undefined && !rule.param[1].test(params.get(rule.param[0])?.trim() ?? '')) return false;
  return rule.name === undefined || rule.name.test(name.trim());
}

const armourStart = '-----BEGIN PGP ';

/** Armour at the start of a line; quoted or indented armour is history, or an example. */
function armourIn(text: string): Protection | null {
  if (!text.includes(armourStart)) return null;
  if (/^-----BEGIN PGP MESSAGE(?:, PART [\d/]{1,20})?-----[^\S\n]{0,20}$/mu.test(text)) return 'pgp_encrypted';
  // HTML that lost its line breaks: what follows in the same line is no sentence.
  if (/(?<!> ?)-----BEGIN PGP MESSAGE-----\s{1,20}[A-Za-z0-9+/]{60}/u.test(text)) return 'pgp_encrypted';
  const isSigned =
    /^-----BEGIN PGP SIGNED MESSAGE-----[^\S\n]{0,20}$/mu.test(text) &&
    /^-----BEGIN PGP SIGNATURE-----[^\S\n]{0,20}$/mu.test(text);
  return isSigned ? 'pgp_signed' : null;
}

// Cleartext signatures (RFC 9580 section 7)

/**
 * The readable text of a message with a cleartext signature: without armour, dash-escaping undone. Text before and
 * after it stays, and so do words where only armour belongs, since a reader of the message sees them too. null without
 * such a signature.
 */
export function clearTextOf(text: string): string | null {
  if (armourIn(text) !== 'pgp_signed') return null;
  const lines: string[] = [];
  let state: ArmourState = 'outside';
  for (const line of text.split('\n')) {
    const [end, next]: ArmourLine = armourLines[state];
    const isEscaped = state === 'signed' && line.startsWith('- ');
    if (end.test(line)) state = next;
    else if (!isArmour(state, line)) lines.push(isEscaped ? line.slice(2) : line);
  }
  // Armour without an end is shown as it is.
  return state === 'outside' ? lines.join('\n') : null;
}

type ArmourState = 'outside' | 'fields' | 'signed' | 'signature';

/** The line that ends a state, and the state after it. */
type ArmourLine = readonly [end: RegExp, next: ArmourState];

const armourLines: Readonly<Record<ArmourState, ArmourLine>> = {
  outside: [/^-----BEGIN PGP SIGNED MESSAGE-----\s{0,20}$/u, 'fields'],
  fields: [/^\s{0,20}$/u, 'signed'],
  signed: [/^-----BEGIN PGP SIGNATURE-----\s{0,20}$/u, 'signature'],
  signature: [/^-----END PGP SIGNATURE-----\s{0,20}$/u, 'outside'],
};

/** Armour headers before the text, and those of a signature (RFC 9580 sections 6.2.2 and 7). */
const signedField = /^(?:Hash|Charset|NotDashEscaped):[\w ,./+-]{0,200}\s{0,20}$/iu;
const signatureField = /^(?:Version|Comment|Hash|Charset|MessageID):.{0,100}$/iu;
/** Base64, the checksum, or an empty line. Sentences have blanks. */
const signatureData = /^(?:[A-Za-z0-9+/]{1,76}={0,2}|=[A-Za-z0-9+/]{4})?\s{0,20}$/u;

function isArmour(state: ArmourState, line: string): boolean {
  if (state === 'fields') return signedField.test(line);
  return state === 'signature' && (signatureData.test(line) || signatureField.test(line));
}

// Opaque S/MIME signatures: the MIME content of a CMS SignedData (RFC 8551 section 3.5.2, RFC 5652 section 5)

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

// BER and DER (X.690), own code: it reads only what this envelope needs, copies only content that is in pieces, and
// counts its work. It trusts no length: what reaches past the end, nests deeper than ten levels, has tags of several
// bytes, or exceeds the work shared by all envelopes of a message is null.

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

/** The element at `at`; null when it cannot be read to its end. */
function readElement(bytes: Uint8Array, work: Work, at = 0, depth = 0): Element | null {
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
    const inner = readElement(bytes, work, at, depth + 1);
    if (inner === null) return null;
    at = inner.end;
  }
  return { tag, content: bytes.subarray(start, at), end: at + 2 };
}

/** The first three elements of a sequence, up to an unreadable one; none for any other element. */
function childrenOf(element: Element | null, work: Work): readonly Element[] {
  const found: Element[] = [];
  if (element?.tag !== tags.sequence) return found;
  for (let at = 0; found.length < 3 && at < element.content.length; ) {
    const child = readElement(element.content, work, at);
    if (child === null) break;
    found.push(child);
    at = child.end;
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
