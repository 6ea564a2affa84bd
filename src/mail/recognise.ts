/** What a mail is looked up by, made once, beside the mail itself: in a parse thread, as far as it comes from one. */
import { type Clues, cluesOf } from './clues.ts';
import { mailIdentity } from './mail-identity.ts';
import type { ParsedMessage } from './message.ts';

export type Recognised = {
  readonly parsed: ParsedMessage;
  readonly clues: Clues;
  /** See `mailIdentity`. */
  readonly identity: string;
};

export function recognised(parsed: ParsedMessage): Recognised {
  return { parsed, clues: cluesOf(parsed), identity: mailIdentity(parsed) };
}
