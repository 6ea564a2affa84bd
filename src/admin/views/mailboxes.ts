/**
 * The mailboxes as the overview lists them: those in trouble first, then by name; a page of those that are asked for.
 */
import { hintOf } from '../../errors.ts';
import type { Mailbox, MailboxHealth } from '../../ingest/model.ts';
import type { CheckStatus, MailboxCheck } from '../../ingest/readiness.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import type { ListPage, MailboxLine, OverviewQuery } from '../service.ts';

/** `words`: what a search looks into, lower-case. */
export type ListedMailbox = { readonly line: MailboxLine; readonly words: readonly [name: string, host: string] };

export type StoredMailbox = Mailbox & { readonly health: MailboxHealth };

const order: readonly CheckStatus[] = ['failing', 'waiting', 'warning', 'unknown', 'ok'];
const collator = new Intl.Collator('en');

/** `beside`: those that are not among the checks, as nobody visits them. */
export function listedMailboxes(
  checks: readonly MailboxCheck[],
  beside: readonly StoredMailbox[],
): readonly ListedMailbox[] {
  const active = checks.map((check) => ({ rank: order.indexOf(check.status), line: checkedLine(check) }));
  const paused = beside.map((mailbox) => ({ rank: order.indexOf('ok'), line: pausedLine(mailbox) }));
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

/** A warning keeps nobody from visiting it. */
function stateOf({ status, last_success: success }: MailboxCheck): MailboxLine['state'] {
  if (status !== 'ok' && status !== 'warning') return status;
  return success === null ? 'unknown' : 'ok';
}

const otherCode = 'an error that this version does not know';

/**
 * A stored error: by its code the program knows what to do; what else the table has is not told as if the program said so.
 * One that this worker met itself since it started is all its own words.
 */
function errorOf({ reason, hint, since, stored }: MailboxCheck): MailboxLine['error'] {
  if (reason === null) return null;
  const sinceMs = timestampMs(since);
  if (stored === undefined) return { reason, storedMessage: null, hint, sinceMs };
  const { code, message } = stored;
  const ours = hintOf(code);
  // Behind the message stands what was made of it.
  const added = reason.slice(`${code}: ${message}`.length).trim();
  const advice = [added, ours ?? ''].filter((part) => part !== '').join(' ');
  return {
    ...{ reason: ours === null ? otherCode : code, storedMessage: message === '' ? null : message },
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

/** Of ISO 8601. What is no time is null. */
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

/** Where `page` lies among `total`, counted from 1; one behind the last is the last. `from`: of its first, from 0. */
export function pageBounds(
  total: number,
  page: number,
  size: number,
): Omit<ListPage<never>, 'list'> & { readonly from: number } {
  const pages = Math.max(1, Math.ceil(total / size));
  const shown = Math.min(Math.max(1, Math.trunc(page) || 1), pages);
  return { page: shown, pages, total, from: (shown - 1) * size };
}
