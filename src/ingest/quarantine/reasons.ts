/**
 * Quarantine reasons: for each its meaning, the operator's remedy, and how much of the source is stored.
 *
 * A reason that is added to `QuarantineReason` does not compile until the table here describes it. An unknown code
 * (from an older or newer worker) is shown as it is.
 */
import type { QuarantineReason } from '../model.ts';

type ReasonDescription = {
  /** How much of the message was stored when it was quarantined. */
  readonly source: 'whole' | 'header' | 'none';
  /** In plain words, for a list: what is wrong with it. */
  readonly title: string;
  readonly meaning: string;
  readonly hint: string;
};

const releaseHint = 'ticketmaild quarantine release ID stores it as it is.';
const attachedHint =
  'ticketmaild quarantine release ID stores its header, with the whole message attached as original.eml.';

const descriptions: Readonly<Record<QuarantineReason, ReasonDescription>> = {
  // Not fetched, or not whole
  too_large: {
    source: 'header',
    title: 'Larger than the limit',
    meaning: 'It is larger than [message] max_size_mb: only its header was fetched.',
    hint: 'ticketmaild quarantine release ID fetches it regardless of its size, or stores its header where it is gone from the server; or raise the limit, then ticketmaild quarantine requeue ID.',
  },
  source_empty: {
    source: 'header',
    title: 'Empty on the server',
    meaning: 'The server lists it and returns no content.',
    hint: 'ticketmaild quarantine requeue ID fetches it again; if it stays empty, the message is damaged on the server, and ticketmaild quarantine release ID stores its header.',
  },
  fetch_failed: {
    source: 'none',
    title: 'Cannot be fetched',
    meaning: 'The server lists it and fails whenever it is fetched, while it returns other messages.',
    hint: 'It is tried again every hour for a week; ticketmaild quarantine requeue ID fetches it at once: when the server can read it, or, where it is larger than announced, with a higher [message] max_size_mb.',
  },
  missed: {
    source: 'none',
    title: 'Was skipped',
    meaning: 'It was skipped, as reconcile found.',
    hint: 'ticketmaild quarantine requeue ID fetches it.',
  },
  // Not parsed, or not stored
  parse_timeout: {
    source: 'whole',
    title: 'Takes too long to read',
    meaning: 'Parsing it took longer than [message] parse_timeout_s.',
    hint: attachedHint,
  },
  parse_memory: {
    source: 'whole',
    title: 'Takes too much memory to read',
    meaning: 'Parsing it took more memory than [message] parse_memory_mb.',
    hint: `Raise the limit, then ticketmaild quarantine requeue ID; or: ${attachedHint}`,
  },
  parse_failed: {
    source: 'whole',
    title: 'Cannot be read',
    meaning: 'It could not be parsed.',
    hint: attachedHint,
  },
  row_refused: {
    source: 'whole',
    title: 'Refused by the database',
    meaning: 'The database refused it.',
    hint: 'Where it is too large for max_allowed_packet, raise that, then ticketmaild quarantine requeue ID; or ticketmaild quarantine release ID.',
  },
  // Guards against loops and floods
  own_address: {
    source: 'whole',
    title: 'From an address of this helpdesk',
    meaning: 'It is from an address of this helpdesk: its ticket could answer itself endlessly.',
    hint: releaseHint,
  },
  sender_flood: {
    source: 'whole',
    title: 'Too many messages of one sender',
    meaning: 'Its sender has sent more messages within the hour than the limit allows.',
    hint: 'If they are wanted, ticketmaild quarantine release --sender ADDRESS; else ticketmaild quarantine discard --sender ADDRESS.',
  },
  ticket_flood: {
    source: 'whole',
    title: 'Too many messages on one ticket',
    meaning: 'Its ticket received more messages by the same token or reference within the hour than the limit allows.',
    hint: releaseHint,
  },
  mail_loop: {
    source: 'whole',
    title: 'Goes in circles',
    meaning: 'It was here before, or passed too many servers: two machines may be answering each other.',
    hint: releaseHint,
  },
};

/** In the order of the table. */
export const quarantineReasons = Object.keys(descriptions) as readonly QuarantineReason[];

export function isQuarantineReason(code: string): code is QuarantineReason {
  return Object.hasOwn(descriptions, code);
}

/** Stands for all codes that this version does not know, in counts and as a filter. */
export const otherReason = 'other';

/** Never fails: an unknown code describes itself. */
export function describeReason(code: string): ReasonDescription {
  if (isQuarantineReason(code)) return descriptions[code];
  return code === otherReason
    ? {
        source: 'whole',
        title: 'Another reason',
        meaning: 'For a reason that this version does not know.',
        hint: releaseHint,
      }
    : { source: 'whole', title: 'Another reason', meaning: `It was quarantined as ${code}.`, hint: releaseHint };
}

/** True when the stored source, if there is one, is the whole message. */
export function hasWholeSource(code: string): boolean {
  return describeReason(code).source === 'whole';
}
