/**
 * Report of a self-test (`check`, `oauth test`): runs one part after the other and prints a line for each.
 *
 * A part that fails does not stop the others. With `--json` each is an object: `check`, `ok`, `message`, `code`,
 * `hint`, and `steps`, lines to run elsewhere, where there are some.
 */
import { asFailure, type Failure } from '../errors.ts';
import { hintText } from '../text/program-name.ts';
import type { CommonOptions, Context } from './context.ts';

export type CheckResult<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly failure: Failure };

/** What to do about a failed part. `steps`: lines to run elsewhere, below the hint. */
export type Advice = { readonly hint: string; readonly steps: readonly string[] };

export interface CheckReport {
  /** Tests one part, prints its line, and returns the value that later parts need. Rejects never. */
  attempt<T>(
    part: string,
    work: () => Promise<T>,
    describe: (value: T) => string,
    advise?: (failure: Failure) => Advice,
  ): Promise<CheckResult<T>>;
  warn(part: string, message: string, hint: string): Promise<void>;
  /** 1 when a part failed. */
  exitCode(): 0 | 1;
}

export function createCheckReport(options: CommonOptions, context: Pick<Context, 'terminal'>): CheckReport {
  let hasFailed = false;
  const failedFirst = new Map<string, string>();
  return {
    attempt: async (part, work, describe, advise = hintAlone) => {
      const result = await outcomeOf(work);
      hasFailed ||= !result.ok;
      if (result.ok) await printOk(options, context, part, describe(result.value));
      else
        await printFailure(options, context, { part, failure: result.failure, ...advise(result.failure) }, failedFirst);
      return result;
    },
    warn: (part, message, hint) => printWarning(options, context, part, message, hint),
    exitCode: () => (hasFailed ? 1 : 0),
  };
}

function hintAlone({ hint }: Failure): Advice {
  return { hint, steps: [] };
}

async function outcomeOf<T>(work: () => Promise<T>): Promise<CheckResult<T>> {
  try {
    return { ok: true, value: await work() };
  } catch (error) {
    return { ok: false, failure: asFailure(error) };
  }
}

type WithTerminal = Pick<Context, 'terminal'>;

async function printOk(options: CommonOptions, context: WithTerminal, part: string, text: string): Promise<void> {
  const fields = { check: part, ok: true, message: text, code: null, hint: null };
  if (options.json === true) await context.terminal.json(fields);
  else await context.terminal.prose(`ok      ${part}: ${text}`, 'green');
}

async function printWarning(
  options: CommonOptions,
  { terminal }: WithTerminal,
  part: string,
  message: string,
  hint: string,
): Promise<void> {
  if (options.json === true) return await terminal.json({ check: part, ok: true, message, code: null, hint });
  await terminal.prose(`warning ${part}: ${message}`, 'yellow');
  await terminal.prose(`        ${hintText(hint)}`);
}

type FailedPart = Advice & { readonly part: string; readonly failure: Failure };

/** For people, a repeated failure, such as a missing key, is not printed again: it refers to the first part. */
async function printFailure(
  options: CommonOptions,
  { terminal }: WithTerminal,
  { part, failure: { code, message }, hint, steps }: FailedPart,
  failedFirst: Map<string, string>,
): Promise<void> {
  if (options.json === true) {
    const more = steps.length === 0 ? {} : { steps };
    await terminal.json({ check: part, ok: false, message, code, hint, ...more });
    return;
  }
  const reason = `${code} ${message} ${steps.join(' ')}`;
  const sameAs = failedFirst.get(reason);
  if (sameAs !== undefined) {
    await terminal.line(`failed  ${part}: same reason as ${sameAs}`, 'red');
    return;
  }
  failedFirst.set(reason, part);
  await terminal.prose(`failed  ${part}: ${message}`, 'red');
  await terminal.prose(`        ${hintText(hint)}`);
  for (const step of steps) await terminal.line(`          ${step}`);
}
