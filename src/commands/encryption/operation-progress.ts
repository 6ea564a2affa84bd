/**
 * Progress display of an operation on keys and the encryption switch.
 *
 * Steps, a progress bar and the workers that lack the key are written to standard error, the result to standard output.
 */

import type { App } from '../../compose/compose.ts';
import { wholeNumber } from '../../config/option-values.ts';
import type {
  OperationObserver,
  OperationOptions,
  OperationPorts,
  UnopenedSecret,
} from '../../encryption/operations/operation.ts';
import { describeStep } from '../../encryption/operations/steps.ts';
import type { StoredWorker } from '../../encryption/ports.ts';
import { workerPlace } from '../../ingest/scheduler/workers.ts';
import { asRunHere } from '../../text/program-name.ts';
import type { CommonOptions, Context } from '../context.ts';

export type WaitOptions = CommonOptions & { readonly force?: boolean; readonly wait?: string };

const keepAliveMs = 60_000;
const waitSeconds = 30;
const waitSecondsMax = 86_400;

/** Throws `usage`. */
export function operationOptions({ force, wait }: WaitOptions, { signal }: Context): OperationOptions {
  const seconds = wait === undefined ? waitSeconds : wholeNumber('--wait', wait, 0, waitSecondsMax, 'seconds');
  return { force: force === true, waitMs: seconds * 1000, signal };
}

/** Runs `work` with a progress bar of that name, and clears the bar at the end. */
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
  const observer: OperationObserver = {
    step: (step) => note(asRunHere(describeStep(step))),
    passwords: (done, total) => bar.update(done, total),
    workersWithoutKey: workerWaitNotes(note),
  };
  // A wait for workers may hold no other handle open, so this timer prevents the exit of the process.
  const keepAlive = setInterval(() => undefined, keepAliveMs);
  try {
    return await work(app.operation(observer));
  } finally {
    clearInterval(keepAlive);
    bar.clear();
  }
}

/** Notes the workers without the key whenever they change. */
function workerWaitNotes(note: (text: string) => void): (lacking: readonly StoredWorker[]) => void {
  let noted = '';
  return (lacking) => {
    const names = lacking.map(workerPlace).join(', ');
    if (names === noted) return;
    note(names === '' ? 'every running worker has the key' : `waiting for workers that lack the key: ${names}`);
    noted = names;
  };
}

/** Notes the first 20 passwords that could not be opened, with their reasons. */
export function noteUnopened(unopened: readonly UnopenedSecret[], { terminal }: Pick<Context, 'terminal'>): void {
  const shownMax = 20;
  for (const { mailbox, grant, code, message } of unopened.slice(0, shownMax)) {
    const owner = mailbox === undefined ? `grant ${grant}` : `mailbox ${mailbox}`;
    terminal.note(`not opened: ${owner}: ${message} (${code})`, 'red');
  }
  if (unopened.length > shownMax) terminal.note(`and ${unopened.length - shownMax} more`, 'red');
  if (unopened.some(({ mailbox }) => mailbox !== undefined))
    terminal.advice('Set each of these again: ticketmaild mailbox set-password NAME. The others are done.');
  if (unopened.some(({ grant }) => grant !== undefined))
    terminal.advice('Sign in again for each of these grants: ticketmaild mailbox authorize NAME. The others are done.');
}
