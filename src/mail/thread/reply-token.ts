/**
 * Reply tokens: what a helpdesk puts into the answer address and the Message-ID of its mails, so that the reply finds its
 * ticket whatever else is lost on the way. Pure: key and randomness come in.
 *
 * A token is the reference and 80 bits of HMAC-SHA256 (RFC 2104) over it: nobody without the key makes one for a ticket
 * that he has no token of. It is read in any case of letters, since servers on the way change it. It never expires: who
 * was given one may answer to its ticket.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** As it was found; whether it is ours tells `isOurToken`. `ref` in upper case, `mac` in lower case. */
export type ReplyToken = { readonly ref: string; readonly mac: string };

/** Crockford's base 32, in lower case. */
const alphabet = '0123456789abcdefghjkmnpqrstvwxyz';
const macCharacters = 16;
const purpose = 'ticketmaild reply token\0';
/** RFC 5321 section 4.5.3.1.1. */
const localPartMax = 64;
const tokensMax = 20;

const tokenForm = String.raw`(\d{6}-[0-9a-hjkmnp-tv-z]{6})`;
const macForm = '([0-9a-hjkmnp-tv-z]{16})';
const plusPart = new RegExp(String.raw`\+${tokenForm}-${macForm}@`, 'giu');
const idForm = new RegExp(String.raw`^tm\.${tokenForm}\.${macForm}\.[^@]{1,200}@`, 'iu');

/** The MAC of the token of that ticket. `key`: 32 bytes. */
function macOf(key: Uint8Array, ref: string): string {
  const digest = createHmac('sha256', key).update(purpose).update(ref.toUpperCase()).digest();
  let mac = '';
  // 16 letters of 5 bits are the first 10 bytes: two groups of 40 bits.
  for (const at of [0, 5]) {
    const group = digest.readUIntBE(at, 5);
    for (let letter = 7; letter >= 0; letter -= 1) mac += alphabet[Math.floor(group / 32 ** letter) % 32];
  }
  return mac;
}

/** True for a token that was made with `key`; takes the same time wherever it differs. */
export function isValidToken(key: Uint8Array, { ref, mac }: ReplyToken): boolean {
  return mac.length === macCharacters && timingSafeEqual(Buffer.from(macOf(key, ref)), Buffer.from(mac));
}

/**
 * `address` with the token as its plus part (RFC 5233), in place of one that it has. null when the local part would be
 * longer than 64 characters, or `address` is none.
 */
export function replyAddress(key: Uint8Array, ref: string, address: string): string | null {
  const at = address.lastIndexOf('@');
  const [name = ''] = address.slice(0, Math.max(at, 0)).split('+');
  const local = `${name}+${ref.toLowerCase()}-${macOf(key, ref)}`;
  return at <= 0 || name === '' || local.length > localPartMax ? null : `${local}${address.slice(at)}`;
}

/** A new Message-ID, without angle brackets. `random`: bytes that make it the only one of its kind. */
export function replyMessageId(key: Uint8Array, ref: string, random: Uint8Array, domain: string): string {
  return `tm.${ref.toLowerCase()}.${macOf(key, ref)}.${Buffer.from(random).toString('hex')}@${domain}`;
}

/** The tokens in recipient addresses, or in texts that hold some. */
export function tokensInAddresses(texts: readonly string[]): readonly ReplyToken[] {
  const found: ReplyToken[] = [];
  for (const text of texts) {
    if (found.length >= tokensMax) break;
    if (!text.includes('+')) continue;
    for (const [, ref = '', mac = ''] of text.matchAll(plusPart)) found.push(tokenOf(ref, mac));
  }
  return found.slice(0, tokensMax);
}

/** The token in a Message-ID without angle brackets, or null. */
export function tokenInMessageId(id: string): ReplyToken | null {
  const [, ref, mac] = idForm.exec(id) ?? [];
  return ref === undefined || mac === undefined ? null : tokenOf(ref, mac);
}

function tokenOf(ref: string, mac: string): ReplyToken {
  return { ref: ref.toUpperCase(), mac: mac.toLowerCase() };
}

/**
 * What keeps mail from going in circles: addresses of the mailbox itself, mail that passed too many servers, and senders that flood.
 *
 * Nothing is dropped: what is kept aside here is in quarantine with its source, and can be released. What arrived before
 * its mailbox was added is an import and no flood; reports of servers are bounded by the mail that they are about.
 */

/** Lower-case, without the plus part (RFC 5233): it is the same mailbox. */
export function withoutPlus(address: string): string {
  const whole = address.toLowerCase();
  const at = whole.lastIndexOf('@');
  const plus = whole.indexOf('+');
  return plus > 0 && plus < at ? whole.slice(0, plus) + whole.slice(at) : whole;
}
