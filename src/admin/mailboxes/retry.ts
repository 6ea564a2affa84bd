/**
 * Retry of mailboxes that a person asks for, by command or page: one by its name, or all of a host, polled at once by
 * the running daemon.
 *
 * The request is a column of the mailbox's state that every worker reads once a second, so that it also ends the wait
 * of a circuit breaker, and of an IDLE that was given up, in whichever process those are. Refused logins stay counted:
 * a retry of a mailbox whose logins are suspended is one login, asked for by its name. A host that works again says
 * nothing about a refused password, so that those are left out there.
 */
import type { Clock } from '../../async/clock.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { AuditActor, Mailbox, MailboxHealth } from '../../ingest/model.ts';
import { serverFailureCodes } from '../../ingest/poll/server-failures.ts';
import type { RetryProgress, RetryStore } from '../../ingest/retry-store.ts';
import type { MailboxStore } from '../../ingest/stores.ts';
import { capitalized } from '../../text/printable.ts';
import { asRunHere } from '../../text/program-name.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { countText } from '../../text/units.ts';
import { pageActor } from '../ports.ts';
import type { ActionResult, AdminService } from '../service.ts';

type MailboxWithHealth = Mailbox & { readonly health: MailboxHealth };

export type RetrySelection = {
  readonly mailboxes: readonly Mailbox[];
  /** Logins of these are suspended: the named mailbox itself, or mailboxes of the host that are left out. */
  readonly suspended: readonly Mailbox[];
};

/** `error` null: the mailbox works. */
export type RetryResult = { readonly error: RetryProgress['lastError'] };

export type RetryPorts = {
  readonly store: RetryStore;
  readonly clock: Pick<Clock, 'monotonicMs' | 'sleep'>;
  readonly actor: AuditActor;
};

/** Throws `refused` for a mailbox that is paused, or partly removed. */
export function retryOfMailbox(mailbox: MailboxWithHealth, loginFailuresMax: number): RetrySelection {
  refuseInactive(mailbox);
  return { mailboxes: [mailbox], suspended: isSuspended(mailbox, loginFailuresMax) ? [mailbox] : [] };
}

function refuseInactive({ name, state }: Mailbox): void {
  if (state === 'active') return;
  const [what, verb] = state === 'paused' ? ['paused', 'resume'] : ['partly removed', 'remove'];
  const command = commandOrNotice(shellCommand(`mailbox ${verb}`, name));
  throw new Failure('refused', `mailbox ${name} is ${what}, and not polled`, { hint: `First: ${command}` });
}

/** The active mailboxes of a host. Throws `not_found`. */
export function retryOfHost(all: readonly MailboxWithHealth[], host: string, loginFailuresMax: number): RetrySelection {
  const isOnHost = ({ state, connection }: Mailbox): boolean =>
    state === 'active' && connection.host.toLowerCase() === host.toLowerCase();
  const { left = [], right = [] } = Object.groupBy(all.filter(isOnHost), (mailbox) =>
    isSuspended(mailbox, loginFailuresMax) ? 'right' : 'left',
  );
  if (left.length + right.length > 0) return { mailboxes: left, suspended: right };
  throw new Failure('not_found', `no active mailbox is on host ${JSON.stringify(host)}`, {
    fields: { host },
    hint: 'See ticketmaild mailbox list.',
  });
}

function isSuspended({ health }: MailboxWithHealth, loginFailuresMax: number): boolean {
  return health.lastError?.code === 'login_refused' && health.loginFailures >= loginFailuresMax;
}

const lookMs = 250;
/** After a failure of the server, the other mailboxes of its host are not tried by this request. */
const othersMs = 2000;

/**
 * Requests the polls and waits for their results, by mailbox id, as far as there are any within `waitMs`. `host`: for
 * the audit; null for one mailbox.
 */
export async function retryNow(
  { store, clock, actor }: RetryPorts,
  mailboxes: readonly Mailbox[],
  host: string | null,
  wait: { readonly ms: number; readonly signal: AbortSignal; readonly onLook?: (results: number) => void },
): Promise<ReadonlyMap<string, RetryResult>> {
  const before = new Map(await store.retryProgress(mailboxes.map(({ id }) => id)));
  await store.requestRetry(mailboxes, host, actor);
  const results = new Map<string, RetryResult>();
  let endMs = clock.monotonicMs() + wait.ms;
  while (results.size < mailboxes.length && clock.monotonicMs() < endMs && !wait.signal.aborted) {
    wait.onLook?.(results.size);
    await clock.sleep(lookMs, wait.signal);
    const open = mailboxes.filter(({ id }) => !results.has(id)).map(({ id }) => id);
    for (const [id, now] of await store.retryProgress(open)) {
      const result = resultIn(now, before.get(id));
      // The result of a poll that was in progress is not the one that was asked for.
      if (now.isRequested) before.set(id, now);
      if (result === null) continue;
      results.set(id, result);
      const code: string | undefined = result.error?.code;
      if (serverFailureCodes.some((one) => one === code)) endMs = Math.min(endMs, clock.monotonicMs() + othersMs);
    }
  }
  return results;
}

/** null: not yet. A success is known before a poll in IDLE ends. */
function resultIn(now: RetryProgress, before: RetryProgress | undefined): RetryResult | null {
  if (now.isRequested) return null;
  if (now.lastError === null && now.lastSuccessAtMs !== before?.lastSuccessAtMs) return { error: null };
  const isNew = now.lastError !== null && now.lastError.atMs !== before?.lastError?.atMs;
  return isNew && !now.isPolling ? { error: now.lastError } : null;
}

/** The page shows the list, or the mailbox, with what is known by then. */
const pageWaitMs = 4000;

type PageRetryPorts = Omit<RetryPorts, 'store'> & {
  readonly store: RetryPorts['store'] & Pick<MailboxStore, 'listMailboxes'>;
  readonly loginFailuresMax: () => number;
  /** The list of mailboxes is another one. */
  readonly changed: () => void;
};

/** The same for the page. */
export function createMailboxRetries(ports: PageRetryPorts): Pick<AdminService, 'retryMailbox' | 'retryHost'> {
  const { store, loginFailuresMax, changed } = ports;
  const retry = async (
    by: string,
    host: string | null,
    select: (all: readonly MailboxWithHealth[]) => RetrySelection,
  ): Promise<ActionResult> => {
    const actor = { who: pageActor(by), host: ports.actor.host };
    try {
      const { mailboxes, suspended } = select(await store.listMailboxes());
      const wait = { ms: pageWaitMs, signal: new AbortController().signal };
      return retried(await retryNow({ ...ports, actor }, mailboxes, host, wait), mailboxes, host, suspended);
    } catch (error) {
      if (!isFailure(error, 'refused', 'not_found')) throw error;
      return { isDone: false, sentence: `${capitalized(error.message)}. ${asRunHere(error.hint)}` };
    } finally {
      changed();
    }
  };
  return {
    retryMailbox: (name, by) => retry(by, null, (all) => retryOfMailbox(named(all, name), loginFailuresMax())),
    retryHost: (host, by) => retry(by, host, (all) => retryOfHost(all, host, loginFailuresMax())),
  };
}

function named(all: readonly MailboxWithHealth[], name: string): MailboxWithHealth {
  const found = all.find((one) => one.name === name);
  if (found !== undefined) return found;
  throw new Failure('not_found', 'there is no such mailbox any more', { hint: '' });
}

function retried(
  results: ReadonlyMap<string, RetryResult>,
  mailboxes: readonly Mailbox[],
  host: string | null,
  suspended: readonly Mailbox[],
): ActionResult {
  const errors = [...results.values()].flatMap(({ error }) => (error === null ? [] : [error]));
  const [name = ''] = mailboxes.map((one) => one.name);
  if (host === null) {
    const once = suspended.length === 0 ? '' : ' Logins are suspended again after one refusal.';
    if (results.size === 0) return { isDone: true, sentence: `${name} is polled as soon as that can begin.${once}` };
    const [error] = errors;
    return error === undefined
      ? { isDone: true, sentence: `${name} works, and was polled.` }
      : { isDone: false, sentence: `${name} was polled, and fails: ${error.message} (${error.code}).${once}` };
  }
  const ok = results.size - errors.length;
  const rest = mailboxes.length - results.size;
  const open = rest === 0 ? '' : `, ${rest} not polled so far`;
  const leftOut =
    suspended.length === 0
      ? ''
      : ` Left out: ${countText(suspended.length, 'mailbox', 'mailboxes')} whose logins are suspended.`;
  const sentence = `${host}: ${ok} of ${mailboxes.length} ok, ${errors.length} failing${open}.${leftOut}`;
  return { isDone: errors.length === 0, sentence };
}
