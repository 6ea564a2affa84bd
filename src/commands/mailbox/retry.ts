/**
 * `mailbox retry`: has the running daemon poll a mailbox, or all of a host, at once, and shows what came of it.
 *
 * Exit code 1 unless all of them work.
 */

import { setTimeout as wait } from 'node:timers/promises';
import {
  type RetryPorts,
  type RetryResult,
  type RetrySelection,
  retryNow,
  retryOfHost,
  retryOfMailbox,
} from '../../admin/mailboxes/retry.ts';
import type { App } from '../../compose/compose.ts';
import { Failure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import { workerLiveMs } from '../../ingest/scheduler/workers.ts';
import { withMailboxName } from '../../text/hints.ts';
import { hintText } from '../../text/program-name.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { countText } from '../../text/units.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { noMailbox } from '../help/suggestion.ts';

type RetryOptions = CommonOptions & { readonly name?: string; readonly host?: string };

type Results = ReadonlyMap<string, RetryResult>;

/** Its timers keep the process alive, unlike those of the daemon. */
const clock: RetryPorts['clock'] = {
  monotonicMs: () => performance.now(),
  sleep: (ms, signal) => wait(ms, undefined, signal === undefined ? {} : { signal }).catch(() => undefined),
};

const waitMs = 20_000;
const linesMax = 10;

/** Throws `usage`, `not_found`, `refused` for a mailbox that is paused. */
export async function retryMailboxes(options: RetryOptions, context: Context): Promise<number> {
  const { name, host = null } = options;
  if ((name === undefined) === (host === null))
    throw new Failure('usage', 'name one mailbox, or a host with --host', {
      hint: 'ticketmaild mailbox retry --help shows both.',
    });
  const { terminal, signal } = context;
  return await withApp(options, context, async (app, { poll: { loginFailuresMax } }) => {
    const { mailboxes, suspended } = await selection(app, options, loginFailuresMax);
    if (host !== null) noteLeftOut(suspended, context);
    else if (suspended.length > 0)
      terminal.note('Logins were suspended: this is one, and a refusal suspends them again.');
    const isServed = (await app.store.listWorkers(workerLiveMs)).some(({ live }) => live);
    const results = await retryNow({ ...app, clock }, mailboxes, host, {
      ...{ ms: isServed ? waitMs : 0, signal },
      onLook: (count) => terminal.stage(`polling: ${count} of ${mailboxes.length} …`),
    });
    terminal.stage('');
    await printResults(mailboxes, results, options, context);
    if (!isServed) terminal.note('No daemon runs on this database: the next one to start polls at once.');
    return mailboxes.every(({ id }) => results.get(id)?.error === null) ? 0 : 1;
  });
}

async function selection({ store }: App, { name, host }: RetryOptions, refusalsMax: number): Promise<RetrySelection> {
  // Rows inserted by the helpdesk have no schedule yet.
  await store.scheduleNewMailboxes();
  const all = await store.listMailboxes();
  if (host !== undefined) return retryOfHost(all, host, refusalsMax);
  return retryOfMailbox(all.find((one) => one.name === name) ?? noMailbox(name ?? ''), refusalsMax);
}

function noteLeftOut(suspended: readonly Mailbox[], { terminal }: Context): void {
  if (suspended.length === 0) return;
  terminal.note(`${countText(suspended.length, 'mailbox', 'mailboxes')} left out, as logins are suspended there:`);
  for (const { name } of suspended.slice(0, linesMax))
    terminal.advice(`one login: ${commandOrNotice(shellCommand('mailbox retry', name))}`);
}

async function printResults(
  mailboxes: readonly Mailbox[],
  results: Results,
  { host, json }: RetryOptions,
  { terminal }: Context,
): Promise<void> {
  if (json === true) {
    for (const { id, name } of mailboxes) {
      const result = results.get(id);
      await terminal.json({ mailbox: name, ok: result === undefined ? null : result.error === null, ...result });
    }
    return;
  }
  const errorOf = ({ id }: Mailbox) => results.get(id)?.error ?? null;
  const failed = mailboxes.filter((mailbox) => errorOf(mailbox) !== null);
  const open = mailboxes.filter(({ id }) => !results.has(id));
  for (const mailbox of failed.slice(0, linesMax)) {
    const { code = '', message = '', hint = '' } = errorOf(mailbox) ?? {};
    await terminal.line(`${mailbox.name}: fails: ${message} (${code})`, 'red');
    terminal.note(hintText(withMailboxName(hint, mailbox.name)));
  }
  if (host !== undefined) {
    const counts = `${mailboxes.length - failed.length - open.length} of ${mailboxes.length} ok, ${failed.length} failing`;
    const rest = open.length === 0 ? '' : `, ${open.length} not tried so far`;
    await terminal.line(`${host}: ${counts}${rest}`);
    return;
  }
  for (const { name } of mailboxes.filter(({ id }) => results.has(id) && !failed.some((one) => one.id === id)))
    await terminal.line(`${name}: works, and was polled`, 'green');
  for (const { name } of open) {
    await terminal.line(`${name}: not polled so far`, 'yellow');
    terminal.advice(`See why: ${commandOrNotice(shellCommand('mailbox show', name))}`);
  }
}
