/**
 * `poll [MAILBOX]`: one visit in the foreground, to one mailbox or to each active one after the other.
 *
 * A failing mailbox does not stop the others; the exit code is 1 when any failed. Where a visit ends at a mail that the
 * server does not deliver, the next ones follow at once: nobody would know of it in the next run.
 */
import type { App } from '../compose/compose.ts';
import { asFailure, Failure } from '../errors.ts';
import { allOutcomes, type Mailbox, type Outcome } from '../ingest/model.ts';
import type { PollObserver, PollReport } from '../ingest/poll/poll-context.ts';
import { durationText } from '../text/units.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';

/** Throws `not_found` for a mailbox that is named but not there. */
export async function pollMailboxes(options: CommonOptions & { name?: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    // Rows that the helpdesk wrote have no schedule before somebody gives them one.
    await app.store.scheduleNewMailboxes();
    const { problem } = await app.vault.refresh();
    if (problem !== null) context.terminal.note(`${problem.message} (${problem.code}); hint: ${problem.hint}`, 'red');
    const mailboxes = await chosen(app, options.name ?? null);
    if (mailboxes.length === 0) context.terminal.note('There is no active mailbox to poll.');
    let failed = false;
    for (const mailbox of mailboxes) {
      if (context.signal.aborted) break;
      failed = !(await pollOne(app, mailbox, options.json === true, context)) || failed;
    }
    return failed ? 1 : 0;
  });
}

/** A paused mailbox is polled when it is named: somebody asks for it. */
async function chosen(app: App, name: string | null): Promise<readonly Mailbox[]> {
  if (name !== null) return [await app.store.mailboxByName(name)];
  return (await app.store.listMailboxes()).filter(({ state }) => state === 'active');
}

/** Polls in a row that may fail at a message; the next one may give the message up. */
const isolatingPollsMax = 3;

async function pollOne(app: App, mailbox: Mailbox, json: boolean, { terminal, signal }: Context): Promise<boolean> {
  const bar = await terminal.progress(mailbox.name);
  try {
    const report = await pollUntilDone(app, mailbox, signal, (event) => {
      if (event.what === 'progress') bar.update(event.done, event.total);
    });
    bar.clear();
    if (json) await terminal.json(reportJson(report));
    else await terminal.line(`${mailbox.name}: ${outcomesText(report)} (${durationText(report.durationMs)})`);
    return true;
  } catch (error) {
    bar.clear();
    const failure = toldFailure(asFailure(error), mailbox);
    if (json) await terminal.json(failureJson(mailbox.name, failure));
    terminal.note(`${mailbox.name}: ${failure.message}`, 'red');
    terminal.note(`hint: ${failure.hint}`);
    return false;
  }
}

/** A poll, and further ones while each proceeds in another way than the one before; what all of them have stored. */
async function pollUntilDone(
  app: App,
  mailbox: Mailbox,
  signal: AbortSignal,
  observe: PollObserver,
): Promise<PollReport> {
  let sum: PollReport | null = null;
  for (let failures = 0; ; ) {
    const { failure, lastRound, changesCourse } = await app.pollOnce(mailbox, signal, observe);
    failures = failure === null ? 0 : failures + 1;
    const isLast = !changesCourse || failures > isolatingPollsMax || signal.aborted;
    if (failure !== null && isLast) throw failure;
    if (lastRound !== null) sum = added(sum, lastRound);
    if (failure === null && sum !== null && isLast) return sum;
  }
}

function added(sum: PollReport | null, report: PollReport): PollReport {
  if (sum === null) return report;
  const outcomes = { ...report.outcomes };
  for (const name of allOutcomes) outcomes[name] += sum.outcomes[name];
  return { ...report, outcomes, durationMs: sum.durationMs + report.durationMs };
}

/** The visit knows only that its lease is taken; here it matters that this is no trouble. */
function toldFailure(failure: Failure, { name }: Mailbox): Failure {
  if (failure.code !== 'lease_taken') return failure;
  return new Failure('lease_taken', `a running daemon has mailbox ${name} and fetches its mail`, {
    cause: failure,
    hint: 'ticketmaild status shows how it fares there; new mail is fetched without this command.',
  });
}

function reportJson(report: PollReport): Record<string, unknown> {
  return { mailbox: report.mailbox, ok: true, outcomes: report.outcomes, duration_ms: Math.round(report.durationMs) };
}

function failureJson(name: string, { code, message, hint }: Failure): Record<string, unknown> {
  return { mailbox: name, ok: false, error: { code, message, hint } };
}

const words: Readonly<Record<Outcome, readonly [one: string, many: string]>> = {
  ticket_opened: ['ticket opened', 'tickets opened'],
  reply_added: ['reply added', 'replies added'],
  recorded: ['recorded', 'recorded'],
  duplicate: ['duplicate', 'duplicates'],
  quarantined: ['quarantined', 'quarantined'],
  vanished: ['vanished', 'vanished'],
};

function outcomesText({ outcomes }: PollReport): string {
  const parts = allOutcomes
    .filter((outcome) => outcomes[outcome] > 0)
    .map((outcome) => `${outcomes[outcome]} ${words[outcome][outcomes[outcome] === 1 ? 0 : 1]}`);
  return parts.length === 0 ? 'no new mail' : parts.join(', ');
}
