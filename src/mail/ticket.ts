/**
 * What a new ticket is called and whom it is from: pure, randomness comes in.
 *
 * A reference is the day and six letters (`261124-7KQ3MX`): people can say it, it sorts by day, and nobody can count
 * tickets with it. It is not a secret: who writes it does not get into a ticket by that alone.
 */
import type { Address, ParsedMessage } from './message.ts';

/** Crockford's base 32: no I, L, O, U, so that nothing is misread or spells a word. */
const alphabet = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';

/** `randomBytes(n)` gives n random bytes; six are used, one a letter. */
export function newReference(nowMs: number, randomBytes: (count: number) => Uint8Array): string {
  const day = new Date(nowMs).toISOString().slice(2, 10).replaceAll('-', '');
  return `${day}-${Array.from(randomBytes(6), (byte) => alphabet[byte & 31]).join('')}`;
}

/** Whom a ticket is from: the sender, or whom the sender wants answers to go to when the sender is missing. */
export function requesterOf(parsed: ParsedMessage): Address {
  return parsed.from ?? parsed.replyTo[0] ?? { name: '', address: '' };
}

/** The subject that a ticket shows; a mail without one gets a placeholder, the message itself keeps its empty one. */
export function ticketSubject(parsed: ParsedMessage): string {
  return parsed.subject.trim() === '' ? '(no subject)' : parsed.subject;
}
