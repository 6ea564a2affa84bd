/**
 * `quarantine retry`, `release` and `discard`: what waits in quarantine is taken in, or given up.
 *
 * A line for one mail, counts for many; the exit code is 1 when any of them still waits, and the audit has a row of it. What fails for one mail because of its server
 * or its source does not keep the others; trouble with the database or the disk ends the command.
 */
import type { App } from '../compose/compose.ts';
import {
  countsText,
  createSettleTally,
  discardOne,
  isOver,
  resultHint,
  resultName,
  resultSentence,
  type SettleResult,
  type SettleTally,
  settleActions,
  settleOne,
} from '../ingest/quarantine/actions.ts';
import { heldId } from '../ingest/quarantine/read.ts';
import type { Way } from '../ingest/quarantine/resolve.ts';
import type { HeldMail } from '../ingest/stores.ts';
import { type Context, migrateFirst, withApp } from './context.ts';
import { heldText } from './quarantine-list.ts';
import { assertChosen, chosenMails, type SelectionOptions } from './quarantine-selection.ts';

/** `verbose`: a line for each of many, instead of for failures alone. */
type SettleOptions = SelectionOptions & { readonly verbose?: boolean };

/** Under the rules and limits of now. Throws `usage`, `not_found`. */
export function retryHeldMails(options: SettleOptions, context: Context): Promise<number> {
  return settleAll(options, context, 'retry');
}

/** As it is. Throws `usage`, `not_found`. */
export function releaseHeldMails(options: SettleOptions, context: Context): Promise<number> {
  return settleAll(options, context, 'release');
}

async function settleAll(options: SettleOptions, context: Context, way: Way): Promise<number> {
  assertChosen(options);
  const { terminal, signal } = context;
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    await app.vault.refresh();
    const mails = await Array.fromAsync(chosenMails(app, options));
    if (mails.length === 0) terminal.note('Nothing is in quarantine there.');
    const each = eachOf(options, mails);
    const tally = createSettleTally();
    try {
      const waiting = await settleThose(app, mails, { way, each, tally, context });
      if (each !== 'json' && mails.length > 1)
        await terminal.line(`${tally.mails()} mails: ${countsText(tally.results)}`);
      return waiting === 0 && !signal.aborted ? 0 : 1;
    } finally {
      await tally.write(app.store, app.author, settleActions[way]);
    }
  });
}

function eachOf({ json, verbose }: SettleOptions, mails: readonly HeldMail[]): Settlement['each'] {
  if (json === true) return 'json';
  return verbose === true || mails.length === 1 ? 'line' : 'failure';
}

type Settlement = {
  readonly way: Way;
  readonly each: 'json' | 'line' | 'failure';
  readonly tally: SettleTally;
  readonly context: Context;
};

/** How many still wait. */
async function settleThose(
  app: App,
  mails: readonly HeldMail[],
  { way, each, tally, context: { terminal, signal } }: Settlement,
): Promise<number> {
  const bar = await terminal.progress(`quarantine ${way}`);
  const hints = new Set<string>();
  let waiting = 0;
  for (const [done, mail] of mails.entries()) {
    if (signal.aborted) break;
    bar.update(done, mails.length);
    const result = await settleOne(app, mail, way);
    bar.clear();
    tally.add(mail, resultName(result));
    if (!isOver(result)) waiting += 1;
    if (each === 'json') await terminal.json(resultJson(mail, result));
    else if (each === 'line' || result.what === 'failed' || result.what === 'gone')
      await terminal.line(`${heldId(mail)}: ${resultSentence(result)}`, isOver(result) ? 'green' : 'yellow');
    const hint = resultHint(result);
    if (hint !== null) hints.add(hint);
  }
  bar.clear();
  if (each !== 'json') for (const hint of hints) terminal.note(`hint: ${hint}`);
  return waiting;
}

function resultJson(mail: HeldMail, result: SettleResult): Record<string, unknown> {
  const id = heldId(mail);
  if (result.what === 'failed') {
    const { code, message, hint } = result.failure;
    return { id, result: 'failed', error: { code, message, hint } };
  }
  if (result.what === 'held') return { id, result: 'held', reason: result.reason };
  if (result.what !== 'taken_in') return { id, result: result.what };
  const { outcome, ref, messageId, form } = result;
  const forms = { salvaged: form !== 'whole', header_only: form === 'header' };
  return { id, result: 'taken_in', outcome, ticket: ref, message: messageId, ...forms };
}

type DiscardOptions = SelectionOptions & { readonly yes?: boolean };

/** Asks first, unless told `--yes`. Nothing is done on the server. Throws `usage`, `not_found`. */
export async function discardHeldMails(options: DiscardOptions, context: Context): Promise<number> {
  assertChosen(options);
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mails = await Array.fromAsync(chosenMails(app, options));
    if (mails.length === 0) terminal.note('Nothing is in quarantine there.');
    else if (!(await isWanted(app, mails, options, context))) {
      terminal.note('Nothing was changed.');
      return 1;
    }
    const tally = createSettleTally();
    try {
      for (const mail of mails) await discardIt(app, mail, { tally, context, each: eachOf(options, mails) });
      if (options.json !== true && mails.length > 1)
        await terminal.line(`${mails.length} mails: ${countsText(tally.results)}`);
    } finally {
      await tally.write(app.store, app.author, settleActions.discard);
    }
    return 0;
  });
}

async function discardIt(
  app: App,
  mail: HeldMail,
  { tally, context: { terminal }, each }: Omit<Settlement, 'way'>,
): Promise<void> {
  const { what: result } = await discardOne(app.store, mail);
  tally.add(mail, result);
  if (each === 'json') await terminal.json({ id: heldId(mail), result });
  else if (each === 'line' || result === 'resolved')
    await terminal.line(`${heldId(mail)}: ${result === 'discarded' ? result : 'somebody has resolved it already'}`);
}

async function isWanted(
  app: App,
  mails: readonly HeldMail[],
  { yes }: DiscardOptions,
  { terminal }: Context,
): Promise<boolean> {
  if (yes === true) return true;
  const [first, ...more] = mails;
  const what =
    first !== undefined && more.length === 0 ? await heldText(app, first) : `${mails.length} mails in quarantine`;
  const question = `Discard ${what}, without a ticket? Its source is removed after [raw] keep_days.`;
  return await terminal.confirm(question, 'Say that you are sure with --yes.');
}
