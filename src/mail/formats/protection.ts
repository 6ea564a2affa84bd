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
  /** A parameter whose value must match. */
  readonly param?: readonly [name: string, value: RegExp];
  /** The file name must match. */
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
  const found = [...parts.map(protectionOfPart), armourIn(text)].filter((one) => one !== null);
  return found.find((one) => one.endsWith('_encrypted')) ?? found[0] ?? null;
}

function protectionOfPart(part: DescribedPart): Protection | null {
  return partRules.find((rule) => matches(rule, part))?.protection ?? null;
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
    const next = nextState(state, line);
    if (next === state && !isArmour(state, line)) lines.push(isEscaped(state, line) ? line.slice(2) : line);
    state = next;
  }
  // Armour without an end is shown as it is.
  return state === 'outside' ? lines.join('\n') : null;
}

type ArmourState = 'outside' | 'fields' | 'signed' | 'signature';

/** The line that ends each state, and the state after it. */
const armourLines: Readonly<Record<ArmourState, readonly [line: RegExp, to: ArmourState]>> = {
  outside: [/^-----BEGIN PGP SIGNED MESSAGE-----\s{0,20}$/u, 'fields'],
  fields: [/^\s{0,20}$/u, 'signed'],
  signed: [/^-----BEGIN PGP SIGNATURE-----\s{0,20}$/u, 'signature'],
  signature: [/^-----END PGP SIGNATURE-----\s{0,20}$/u, 'outside'],
};

function nextState(state: ArmourState, line: string): ArmourState {
  const [pattern, to] = armourLines[state];
  return pattern.test(line) ? to : state;
}

const isEscaped = (state: ArmourState, line: string) => state === 'signed' && line.startsWith('- ');

/** Armour headers before the text, and those of a signature (RFC 9580 sections 6.2.2 and 7). */
const signedField = /^(?:Hash|Charset|NotDashEscaped):[\w ,./+-]{0,200}\s{0,20}$/iu;
const signatureField = /^(?:Version|Comment|Hash|Charset|MessageID):.{0,100}$/iu;
/** Base64, the checksum, or an empty line. Sentences have blanks. */
const signatureData = /^(?:[A-Za-z0-9+/]{1,76}={0,2}|=[A-Za-z0-9+/]{4})?\s{0,20}$/u;

function isArmour(state: ArmourState, line: string): boolean {
  if (state === 'fields') return signedField.test(line);
  return state === 'signature' && (signatureData.test(line) || signatureField.test(line));
}
