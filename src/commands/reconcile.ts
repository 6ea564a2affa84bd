/**
 * `reconcile`: counts whether every message seen has one outcome and every outcome what it says.
 */
import type { Reconciliation } from '../ingest/rows.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';

/** Numbers that are 0 in a healthy database, with what a row of them is. */
const wrongs: readonly [key: keyof Reconciliation, json: string, meaning: string][] = [
  ['outcomesWithoutMessage', 'outcomes_without_message', 'outcomes whose message is missing'],
  ['messagesWithoutOutcome', 'messages_without_outcome', 'messages that no outcome names'],
  ['ticketsWithoutMessage', 'tickets_without_message', 'tickets without a message'],
  ['outcomesAboveCursor', 'outcomes_above_cursor', 'outcomes beyond the cursor of their mailbox'],
];

/** Exit code 1 when a number is wrong. */
export async function reconcile(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const found = await app.store.reconcile();
    const ok = wrongs.every(([key]) => found[key] === 0);
    if (options.json === true) {
      const numbers = Object.fromEntries(wrongs.map(([key, name]) => [name, found[key]]));
      await terminal.json({ ok, outcomes: found.outcomes, messages: found.messages, ...numbers });
      return ok ? 0 : 1;
    }
    await terminal.line(`${found.outcomes} outcomes, ${found.messages} messages`);
    for (const [key, , meaning] of wrongs) {
      if (found[key] !== 0) await terminal.line(`wrong: ${found[key]} ${meaning}`, 'red');
    }
    await terminal.line(ok ? 'all accounted for' : 'not all accounted for', ok ? 'green' : 'red');
    return ok ? 0 : 1;
  });
}
