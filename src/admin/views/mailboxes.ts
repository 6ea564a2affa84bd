/**
 * Mailbox list of the overview: failing mailboxes first, then by name; filter, search and pagination.
 */
import { hintOf } from '../../errors.ts';
import type { Mailbox, MailboxHealth } from '../../ingest/model.ts';
import type { CheckStatus, MailboxCheck } from '../../ingest/readiness.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import type { ListPage, MailboxLine, OverviewQuery } from '../service.ts';

/** `words`: searched, lower-case. */
export type ListedMailbox = { readonly line: MailboxLine; readonly words: readonly [name: string, host: string] };

export type StoredMailbox = Mailbox & { readonly health: MailboxHealth };

const order: readonly CheckStatus[] = ['failing', 'waiting', 'warning', 'unknown', 'ok'];
const collator = new Intl.Collator('en');

/** `unpolled`: mailboxes that have no check. */
export function listedMailboxes(
  checks: readonly MailboxCheck[],
  unpolled: readonly StoredMailbox[],
): readonly ListedMailbox[] {
  const active = checks.map((check) => ({ rank: order.indexOf(check.status), line: checkedLine(check) }));
  const paused = unpolled.map((mailbox) => ({ rank: order.indexOf('ok'), line: pausedLine(mailbox) }));
  return [...active, ...paused]
    .sort((a, b) => a.rank - b.rank || collator.compare(a.line.name, b.line.name))
    .map(({ line }) => ({ line, words: [line.name.toLowerCase(), line.host.toLowerCase()] }));
}

function checkedLine(check: MailboxCheck): MailboxLine {
  const { mailbox, host, last_success: success } = check;
  return {
    name: mailbox,
    host,
    state: stateOf(check),
    lastSuccessMs: timestampMs(success),
    nextPollMs: timestampMs(check.next_poll),
    isIdling: check.idling,
    error: errorOf(check),
  };
}

/** A mailbox with a warning is polled like any other. */
function stateOf({ status, last_success: success }: MailboxCheck): MailboxLine['state'] {
  if (status !== 'ok' && status !== 'warning') return status;
  return success === null ? 'unknown' : 'ok';
}

const unknownError = 'an error that this version does not know';

/**
 * A stored error: its code selects the hint, and its message is quoted, because the table may be forged. An error of
 * this worker since its start contains texts of this program only.
 */
function errorOf({ reason, hint, since, stored }: MailboxCheck): MailboxLine['error'] {
  if (reason === null) return null;
  const sinceMs = timestampMs(since);
  if (stored === undefined) return { reason, storedMessage: null, hint, sinceMs };
  const { code, message } = stored;
  const known = hintOf(code);
  // The check appends its own text to the stored message.
  const added = reason.slice(`${code}: ${message}`.length).trim();
  const advice = [added, known ?? ''].filter((part) => part !== '').join(' ');
  return {
    ...{ reason: known === null ? unknownError : code, storedMessage: message === '' ? null : message },
    ...{ hint: advice === '' ? null : advice, sinceMs },
  };
}

function pausedLine({ name, connection, state, health }: StoredMailbox): MailboxLine {
  const reason = 'its removal was interrupted';
  const hint = `Remove it again: ${commandOrNotice(shellCommand('mailbox remove', name))}`;
  return {
    ...{ name, host: connection.host, state: 'paused', lastSuccessMs: health.lastSuccessAtMs },
    ...{ nextPollMs: null, isIdling: false },
    error: state === 'removing' ? { reason, storedMessage: null, hint, sinceMs: null } : null,
  };
}

/** From ISO 8601; null for anything else. */
export function timestampMs(iso: string | null): number | null {
  const ms = iso === null ? Number.NaN : Date.parse(iso);
  return Number.isNaN(ms) ? null : ms;
}

export function selectMailboxes(
  all: readonly ListedMailbox[],
  { show, search }: OverviewQuery,
): readonly ListedMailbox[] {
  if (show === 'all' && search === '') return all;
  return all.filter(
    ({ line, words }) => (show === 'all' || line.state === show) && words.some((word) => word.includes(search)),
  );
}

/** Pages count from 1; a page after the last is the last. `from`: index of its first entry, from 0. */
export function pageBounds(
  total: number,
  page: number,
  size: number,
): Omit<ListPage<never>, 'list'> & { readonly from: number } {
  const pages = Math.max(1, Math.ceil(total / size));
  const shown = Math.min(Math.max(1, Math.trunc(page) || 1), pages);
  return { page: shown, pages, total, from: (shown - 1) * size };
}
