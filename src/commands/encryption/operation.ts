/**
 * An operation on keys and the switch as a command runs and shows it.
 *
 * What happens is told on standard error: steps, a bar while passwords are changed, and workers that are waited for,
 * each time that they change. The result alone goes to standard output.
 */
import type { Terminal } from '../../adapters/terminal/terminal.ts';
import type { App } from '../../compose/compose.ts';
import type {
  OperationObserver,
  OperationOptions,
  OperationPorts,
  UnopenedPassword,
} from '../../encryption/operations/operation.ts';
import { describeStep } from '../../encryption/operations/steps.ts';
import type { StoredWorker } from '../../encryption/ports.ts';
import { Failure } from '../../errors.ts';
import type { CommonOptions, Context } from '../context.ts';

export type WaitOptions = CommonOptions & { readonly force?: boolean; readonly wait?: string };

const awakeMs = 60_000;
const waitSeconds = 30;
const waitSecondsMax = 86_400;

/** Throws `usage`. */
export function operationOptions({ force, wait }: WaitOptions, { signal }: Context): OperationOptions {
  const seconds = wait === undefined ? waitSeconds : /^\d{1,5}$/.test(wait) ? Number(wait) : Number.NaN;
  if (seconds <= waitSecondsMax) return { force: force === true, waitMs: seconds * 1000, signal: signal };
  const rule = `must be a whole number of seconds from 0 to ${waitSecondsMax}`;
  throw new Failure('usage', `--wait ${rule}, not ${JSON.stringify(wait)}`);
}

/** Runs `work` with a bar of that name, which is gone when it ends. */
export async function runOperation<T>(
  app: Pick<App, 'operation'>,
  { terminal }: Pick<Context, 'terminal'>,
  name: string,
  work: (ports: OperationPorts) => Promise<T>,
): Promise<T> {
  const bar = await terminal.progress(name);
  const note = (text: string): void => {
    bar.clear();
    terminal.note(text);
  };
  const tell: OperationObserver = {
    step: (step) => note(describeStep(step)),
    passwords: (done, total) => bar.update(done, total),
    workersWithoutKey: workerWaitNotes(note),
  };
  // While an operation waits for workers nothing else may be open that keeps the process running.
  const awake = setInterval(() => undefined, awakeMs);
  try {
    return await work(app.operation(tell));
  } finally {
    clearInterval(awake);
    bar.clear();
  }
}

/** Tells who is waited for, whenever that is not the same as before. */
function workerWaitNotes(note: (text: string) => void): (lacking: readonly StoredWorker[]) => void {
  let told = '';
  return (lacking) => {
    const names = lacking.map(({ host, pid }) => `${host} (pid ${pid})`).join(', ');
    if (names === told) return;
    note(names === '' ? 'every worker that runs has the key' : `waiting for workers that lack the key: ${names}`);
    told = names;
  };
}

/** For people, the result itself; for a script, beside it on standard error. */
export function lineWriter(options: CommonOptions, terminal: Terminal): (text: string) => Promise<void> {
  return async (text) => {
    if (options.json === true) terminal.note(text);
    else await terminal.line(text);
  };
}

/** What could not be opened, each with its reason; the first of many. */
export function noteUnopened(unopened: readonly UnopenedPassword[], { terminal }: Pick<Context, 'terminal'>): void {
  const shownMax = 20;
  for (const { mailbox, code, message } of unopened.slice(0, shownMax))
    terminal.note(`not opened: mailbox ${mailbox}: ${message} (${code})`, 'red');
  if (unopened.length > shownMax) terminal.note(`and ${unopened.length - shownMax} more`, 'red');
  if (unopened.length > 0)
    terminal.note('Set each of these anew: ticketmaild mailbox set-password NAME. The others are done.');
}
