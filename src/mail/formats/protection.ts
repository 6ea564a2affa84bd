/**
 * Signed and encrypted messages: S/MIME (RFC 8551) and PGP (RFC 3156, RFC 9580), recognised by their form alone.
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

// Cleartext signatures (RFC 9580 section 7)

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
