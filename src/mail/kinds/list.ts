/**
 * Mail that came through a list: a person on a mailing list (RFC 2919, RFC 2369), or a newsletter.
 *
 * List-Id names the list. Without it, the fields of RFC 2369 need a second sign, since shops and ticket systems put
 * List-Unsubscribe on mail that is for one person.
 */
import { type Facts, field, has } from './signs.ts';

/** Fields that only list programs write. */
const listOnly = [
  // RFC 2919
  'list-id',
  // ezmlm, Yahoo Groups
  'mailing-list',
  // Majordomo and its heirs
  'x-mailing-list',
  // Mailman
  'x-mailman-version',
  'x-beenthere',
  // FML
  'x-ml-name',
] as const;

/** Fields of RFC 2369, and RFC 8058 (one click to leave: only bulk mail has it). */
const listCommands = ['list-unsubscribe', 'list-post', 'list-help', 'list-subscribe'] as const;

export function isList(facts: Facts): boolean {
  if (listOnly.some((name) => has(facts, name))) return true;
  if (!listCommands.some((name) => has(facts, name))) return false;
  return /^(?:list|bulk|junk)\b/iu.test(field(facts, 'precedence')) || has(facts, 'list-unsubscribe-post');
}
