/**
 * `poll [NAME]`: polls one mailbox, or each active one in turn, once in the foreground.
 *
 * A failing mailbox does not stop the others; the exit code is 1 when any failed. A poll that fails at a message is
 * repeated at once, so that poison-message isolation can finish: its state ends with the process.
 */

import type { App } from '../compose/compose.ts';
import { asFailure, Failure } from '../errors.ts';
import { allOutcomes, type Mailbox, type Outcome } from '../ingest/model.ts';
import type { PollObserver, RoundReport } from '../ingest/poll/poll-context.ts';
import { withMailboxName } from '../text/hints.ts';
import { hintText } from '../text/program-name.ts';
import { durationText } from '../text/units.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';
import { failureJson, printResult } from './output.ts';

/** Throws `not_found` for an unknown name. */
export async function pollMailboxes(options: CommonOptions & { name?: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    // Rows inserted by the helpdesk have no schedule yet.
    await app.store.scheduleNewMailboxes();
    const { problem } = await app.vault.refresh();
    if (problem !== null)
      context.terminal.note(`${problem.message} (${problem.code}); ${hintText(problem.hint)}`, 'red');
    const mailboxes = await selectMailboxes(app, options.name ?? null);
    if (mailboxes.length === 0) context.terminal.note('There is no active mailbox to poll.');
    let failed = false;
    for (const mailbox of mailboxes) {
      if (context.signal.aborted) break;
      failed = !(await pollOne(app, mailbox, options.json === true, context)) || failed;
    }
    return failed ? 1 : 0;
  });
}

/** A paused mailbox is polled only when it is named. */
async function selectMailboxes(app: App, name: string | null): Promise<readonly Mailbox[]> {
  if (name !== null) return [await app.store.mailboxByName(name)];
  return (await app.store.listMailboxes()).filter(({ state }) => state === 'active');
}

/** Failed polls in a row that are repeated; the next one may quarantine the message. */
const isolatingPollsMax = 3;

async function pollOne(app: App, mailbox: Mailbox, json: boolean, { terminal, signal }: Context): Promise<boolean> {
  const bar = await terminal.progress(mailbox.name);
  try {
    const report = await pollUntilDone(app, mailbox, signal, (event) => {
      if (event.what === 'progress') bar.update(event.done, event.total);
    });
    bar.clear();
    const text = `${mailbox.name}: ${outcomesText(report)} (${durationText(report.durationMs)})`;
    await printResult({ json }, { terminal }, reportJson(report), text);
    return true;
  } catch (error) {
    bar.clear();
    const failure = explainLeaseTaken(asFailure(error), mailbox);
    if (json) await terminal.json({ mailbox: mailbox.name, ok: false, ...failureJson(failure) });
    terminal.note(`${mailbox.name}: ${failure.message}`, 'red');
    terminal.note(hintText(withMailboxName(failure.hint, mailbox.name)));
    return false;
  }
}

/** Polls again while each poll proceeds in another way than the one before. Returns the sum of their reports. */
async function pollUntilDone(
  app: App,
  mailbox: Mailbox,
  signal: AbortSignal,
  observe: PollObserver,
): Promise<RoundReport> {
  let sum: RoundReport | null = null;
  for (let failures = 0; ; ) {
    const { failure, lastRound, changesCourse } = await app.pollOnce(mailbox, signal, observe);
    failures = failure === null ? 0 : failures + 1;
    const isLast = !changesCourse || failures > isolatingPollsMax || signal.aborted;
    if (failure !== null && isLast) throw failure;
    if (lastRound !== null) sum = sumReports(sum, lastRound);
    if (failure === null && sum !== null && isLast) return sum;
  }
}

function sumReports(sum: RoundReport | null, report: RoundReport): RoundReport {
  if (sum === null) return report;
  const outcomes = { ...report.outcomes };
  for (const name of allOutcomes) outcomes[name] += sum.outcomes[name];
  return { ...report, outcomes, durationMs: sum.durationMs + report.durationMs };
}

/** A lease taken by a running daemon needs no action, so the failure says that. */
function explainLeaseTaken(failure: Failure, { name }: Mailbox): Failure {
  if (failure.code !== 'lease_taken') return failure;
  return new Failure('lease_taken', `a running daemon polls mailbox ${name}`, {
    cause: failure,
    hint: 'ticketmaild status shows its health there; new mail is fetched without this command.',
  });
}

function reportJson(report: RoundReport): Record<string, unknown> {
  return { mailbox: report.mailbox, ok: true, outcomes: report.outcomes, duration_ms: Math.round(report.durationMs) };
}

const outcomeWords: Readonly<Record<Outcome, readonly [one: string, many: string]>> = {
  ticket_opened: ['ticket opened', 'tickets opened'],
  reply_added: ['reply added', 'replies added'],
  recorded: ['recorded', 'recorded'],
  duplicate: ['duplicate', 'duplicates'],
  quarantined: ['quarantined', 'quarantined'],
  vanished: ['vanished', 'vanished'],
};

function outcomesText({ outcomes }: RoundReport): string {
  const parts = allOutcomes
    .filter((outcome) => outcomes[outcome] > 0)
    .map((outcome) => `${outcomes[outcome]} ${outcomeWords[outcome][outcomes[outcome] === 1 ? 0 : 1]}`);
  return parts.length === 0 ? 'no new mail' : parts.join(', ');
}
