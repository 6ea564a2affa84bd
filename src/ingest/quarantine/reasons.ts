/**
 * Why a mail is in quarantine: one row a reason, with what it means and what helps.
 *
 * `source` says how much of such a mail was kept. A code that is not here (an older or a newer worker wrote it) is
 * shown as it is.
 */

type Kept = 'whole' | 'header' | 'none';

export type ReasonMeaning = { readonly source: Kept; readonly meaning: string; readonly hint: string };

const releaseHint = 'quarantine release takes it in as it is.';

const reasons: Readonly<Record<string, ReasonMeaning>> = {
  // Not fetched, or not whole
  too_large: {
    source: 'header',
    meaning: 'It is larger than [message] bytes_max_mb: only its header was fetched.',
    hint: 'quarantine release fetches it all the same, or takes in its header where it is gone from the server; or raise the limit, then quarantine retry.',
  },
  source_empty: {
    source: 'header',
    meaning: 'The server lists it and gives no content.',
    hint: 'quarantine retry asks for it again; if it stays so, the mail is damaged on the server, and quarantine release takes in its header.',
  },
  fetch_failed: {
    source: 'none',
    meaning: 'The server lists it and fails whenever it is fetched, while it gives other mails.',
    hint: 'quarantine retry fetches it again: once the server can read it, or, where it is larger than the server says, with a higher [message] bytes_max_mb.',
  },
  missed: {
    source: 'none',
    meaning: 'It was passed over, and reconcile found that.',
    hint: 'quarantine retry fetches it.',
  },
  // Not to be parsed
  parse_timeout: {
    source: 'whole',
    meaning: 'Parsing it took longer than [message] parse_timeout_s.',
    hint: 'quarantine release takes it in with its header and the mail attached as original.eml.',
  },
  parse_memory: {
    source: 'whole',
    meaning: 'Parsing it took more memory than [message] parse_memory_mb.',
    hint: 'Raise the limit, then quarantine retry; or quarantine release: its header, and the mail attached.',
  },
  parse_failed: {
    source: 'whole',
    meaning: 'It could not be parsed.',
    hint: 'quarantine release takes it in with its header and the mail attached as original.eml.',
  },
  row_refused: {
    source: 'whole',
    meaning: 'The database would not take it.',
    hint: 'Where it is too large for max_allowed_packet: raise that, then quarantine retry; or quarantine release.',
  },
  // Held back by a rule
  own_address: {
    source: 'whole',
    meaning: 'It comes from an address of this helpdesk itself: a ticket of it may answer itself for ever.',
    hint: releaseHint,
  },
  sender_flood: {
    source: 'whole',
    meaning: 'Its sender has sent more mails within the hour than the limit allows.',
    hint: `Where they are wanted, quarantine release --sender ADDRESS; else quarantine discard --sender ADDRESS.`,
  },
  mail_loop: {
    source: 'whole',
    meaning: 'It has been through here before, or through too many servers: two machines may answer each other.',
    hint: releaseHint,
  },
};

/** In the order of the table. */
export const knownReasons: readonly string[] = Object.keys(reasons);

/** Never fails: a code that is not known is its own explanation. */
export function reasonMeaning(code: string): ReasonMeaning {
  return (
    (Object.hasOwn(reasons, code) ? reasons[code] : undefined) ?? {
      source: 'whole',
      meaning: `It was put here as ${code}.`,
      hint: releaseHint,
    }
  );
}

/** True when the source that was kept, if any, is the whole mail. */
export function hasWholeSource(code: string): boolean {
  return reasonMeaning(code).source === 'whole';
}
