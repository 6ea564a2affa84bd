/**
 * Ticket references and reply tokens: an HMAC-SHA256 (RFC 2104, cut to 80 bits) over the reference, put into the reply
 * address and the Message-ID of mail that the helpdesk sends, so that a reply finds its ticket.
 *
 * A reference is the day and six random letters (`261124-7KQ3MX`): people can spell it, it sorts by day, and it does
 * not reveal how many tickets there are. It is no secret and gives no access. A token cannot be forged without the key;
 * it is read in upper and lower case, since servers change the case, and never expires. Pure: key and randomness are
 * arguments.
 */
import { createHmac, timingSafeEqual } from 'node:crypto';

/** A token as found, not verified (see `isValidToken`). `ref` in upper case, `mac` in lower case. */
export type ReplyToken = { readonly ref: string; readonly mac: string };

/** Crockford's base 32, in lower case: no I, L, O, U, so that nothing is misread or spells a word. */
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

/** The reference of a new ticket. `randomBytes(n)` returns n random bytes; six are used, one per letter. */
export function newReference(nowMs: number, randomBytes: (count: number) => Uint8Array): string {
  const day = new Date(nowMs).toISOString().slice(2, 10).replaceAll('-', '');
  return `${day}-${Array.from(randomBytes(6), (byte) => alphabet[byte & 31])
    .join('')
    .toUpperCase()}`;
}

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
 * `address` with the token as its subaddress (RFC 5233), which replaces one that it has. null when the local part would
 * be longer than 64 characters, or `address` is no address.
 */
export function replyAddress(key: Uint8Array, ref: string, address: string): string | null {
  const at = address.lastIndexOf('@');
  const [name = ''] = address.slice(0, Math.max(at, 0)).split('+');
  const local = `${name}+${ref.toLowerCase()}-${macOf(key, ref)}`;
  return at <= 0 || name === '' || local.length > localPartMax ? null : `${local}${address.slice(at)}`;
}

/** A new Message-ID, without angle brackets. `random`: bytes that make it unique. */
export function replyMessageId(key: Uint8Array, ref: string, random: Uint8Array, domain: string): string {
  return `tm.${ref.toLowerCase()}.${macOf(key, ref)}.${Buffer.from(random).toString('hex')}@${domain}`;
}

/** The tokens in recipient addresses, or in texts that hold addresses; at most 20. */
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

/** The address in lower case without its subaddress (RFC 5233, `+detail`): the same mailbox. */
export function withoutSubaddress(address: string): string {
  const whole = address.toLowerCase();
  const at = whole.lastIndexOf('@');
  const plus = whole.indexOf('+');
  return plus > 0 && plus < at ? whole.slice(0, plus) + whole.slice(at) : whole;
}
