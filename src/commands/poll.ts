/**
 * `poll [MAILBOX]`: one visit in the foreground, to one mailbox or to each active one after the other.
 *
 * A failing mailbox does not stop the others; the exit code is 1 when any failed. Where a visit ends at a mail that the
 * server does not deliver, the next ones follow at once: nobody would know of it in the next run.
 */
import type { App } from '../compose/compose.ts';
import { asFailure, Failure } from '../errors.ts';
import type { Mailbox, Outcome } from '../ingest/model.ts';
import type { PollProgress, PollReport } from '../ingest/poll/poll-context.ts';
import { durationText } from '../text/time.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';

/** Throws `not_found` for a mailbox that is named but not there. */
export async function pollMailboxes(options: CommonOptions & { name?: string }, context: Context): Promise<number> {
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    // Rows that the helpdesk wrote have no schedule before somebody gives them one.
    await app.store.adoptMailboxes();
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

/** So many visits in a row may fail at mails; the one after them may give such a mail up. */
const setbacksMax = 3;

async function pollOne(app: App, mailbox: Mailbox, json: boolean, { terminal, signal }: Context): Promise<boolean> {
  const bar = await terminal.progress(mailbox.name);
  try {
    const report = await visits(app, mailbox, signal, ({ done, total }) => bar.update(done, total));
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

/** One visit, and those that go another way after one that was set back; what all of them have stored. */
async function visits(
  app: App,
  mailbox: Mailbox,
  signal: AbortSignal,
  onProgress: (progress: PollProgress) => void,
): Promise<PollReport> {
  let sum: PollReport | null = null;
  for (let setbacks = 0; ; ) {
    let setBack: PollReport | null = null;
    const onSetBack = (report: PollReport) => {
      setBack = report;
    };
    try {
      const report = await app.pollOnce(mailbox, signal, { onProgress, onSetBack });
      sum = added(sum, report);
      if (setBack === null || signal.aborted) return sum;
      setbacks = 0;
    } catch (error) {
      setbacks += 1;
      if (setBack === null || setbacks > setbacksMax || signal.aborted) throw error;
      sum = added(sum, setBack);
    }
  }
}

function added(sum: PollReport | null, report: PollReport): PollReport {
  if (sum === null) return report;
  const outcomes = { ...report.outcomes };
  for (const name of Object.keys(outcomes) as Outcome[]) outcomes[name] += sum.outcomes[name];
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
  const parts = (Object.keys(words) as Outcome[])
    .filter((outcome) => outcomes[outcome] > 0)
    .map((outcome) => `${outcomes[outcome]} ${words[outcome][outcomes[outcome] === 1 ? 0 : 1]}`);
  return parts.length === 0 ? 'no new mail' : parts.join(', ');
}
