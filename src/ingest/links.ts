/**
 * Tickets that a new ticket has to do with, although its mail did not join them. Pure.
 *
 * A link gives nobody access: it tells those who work on a ticket that there is another one.
 */
import type { ParsedMessage } from '../mail/message.ts';
import { forwardedFrom, type Seeker } from '../mail/thread/match.ts';
import type { KnownTicket } from './known.ts';
import type { LinkReason } from './rows.ts';
import type { WindowState } from './window-state.ts';

export type LinkFrom = {
  readonly seeker: Seeker;
  readonly parsed: ParsedMessage;
  /** The ticket that was closed too long ago to be joined; or null. */
  readonly continued: KnownTicket | null;
};

type Found = { readonly other: KnownTicket; readonly reason: LinkReason };

/** One for each other ticket, with the most telling reason. */
export function linksOf({ seeker, parsed, continued }: LinkFrom, state: WindowState): readonly Found[] {
  const forwarded = forwardedFrom(seeker, state.stored);
  const found: readonly Found[] = [
    ...(continued === null ? [] : [{ other: continued, reason: 'continues' as const }]),
    ...(forwarded === null ? [] : [{ other: forwarded, reason: 'forward' as const }]),
    ...state.copiesOf(parsed).map(({ ticket }) => ({ other: ticket, reason: 'same_message' as const })),
    ...mentioned(seeker, state).map((other) => ({ other, reason: 'mentions' as const })),
  ];
  const seen = new Set<string>();
  return found.filter(({ other }) => !seen.has(other.id) && seen.add(other.id));
}

function mentioned({ clues }: Seeker, { stored }: WindowState): readonly KnownTicket[] {
  const refs = new Set([...clues.subjectTags, ...clues.mentions, ...clues.textTags]);
  return [...refs].flatMap((ref) => stored.ticketOf(ref) ?? []);
}
