/**
 * `message replay`: reads stored mails again from their raw sources, under the rules of today, and says what changed.
 *
 * One message by its id, or all of a mailbox. The exit code is 1 when any could not be read again; of one, that is
 * `source_gone`.
 */
import type { App } from '../compose/compose.ts';
import { Failure } from '../errors.ts';
import type { Replayed } from '../ingest/repair/reprocess.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from './context.ts';
import { readSince } from './logs-options.ts';

export type ReplayOptions = CommonOptions & {
  readonly id?: string;
  readonly mailbox?: string;
  readonly since?: string;
};

const idsShownMax = 20;

/** Throws `usage`, `not_found`, and for one message `source_gone`, `parse_failed`. */
export async function replayMessages(options: ReplayOptions, context: Context): Promise<number> {
  const { id, mailbox, since } = options;
  if ((id === undefined) === (mailbox === undefined))
    throw new Failure('usage', 'give the id of one message, or --mailbox NAME', {
      hint: 'Ids are in message list --mailbox NAME --full --json, and in ticket show REF --json.',
    });
  const sinceMs = since === undefined ? null : readSince(since, context.nowMs());
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    if (id !== undefined) return await replayOne(app, id, options.json === true, context);
    return await replayMailbox(app, mailbox ?? '', sinceMs, { json: options.json === true, context });
  });
}

async function replayOne(app: App, id: string, json: boolean, { terminal }: Context): Promise<number> {
  const result = await app.replay(id);
  if (result.what === 'source_gone')
    throw new Failure('source_gone', `the source of message ${id} is not kept any more`);
  if (result.what === 'failed')
    throw new Failure('parse_failed', `message ${id} cannot be parsed now (${result.reason}); it stays as it is`, {
      hint: 'See [message] parse_timeout_s and parse_memory_mb.',
    });
  if (json) await terminal.json(resultJson(id, result));
  else await terminal.line(`${id}: ${sentence(result)}`);
  return 0;
}

async function replayMailbox(
  app: App,
  name: string,
  sinceMs: number | null,
  { json, context }: { readonly json: boolean; readonly context: Context },
): Promise<number> {
  const { terminal, signal } = context;
  const mailbox = await app.store.mailboxByName(name);
  const ids = await Array.fromAsync(app.store.storedMails(mailbox.id, sinceMs));
  const counts = { changed: 0, unchanged: 0, source_gone: 0, failed: 0 };
  const without: string[] = [];
  const bar = await terminal.progress(`replay ${name}`);
  for (const [done, id] of ids.entries()) {
    if (signal.aborted) break;
    bar.update(done, ids.length);
    const result = await app.replay(id);
    const kind = kindOf(result);
    counts[kind] += 1;
    if (kind === 'source_gone' && without.length < idsShownMax) without.push(id);
    if (json) await terminal.json(resultJson(id, result));
    else if (kind === 'changed' || kind === 'failed') {
      bar.clear();
      await terminal.line(`${id}: ${sentence(result)}`);
    }
  }
  bar.clear();
  if (json) await terminal.json({ mailbox: name, messages: ids.length, ...counts });
  else await tellCounts(counts, without, context);
  return counts.failed === 0 && !signal.aborted ? 0 : 1;
}

type Counts = {
  readonly changed: number;
  readonly unchanged: number;
  readonly source_gone: number;
  readonly failed: number;
};

function kindOf(result: Replayed): keyof Counts {
  if (result.what !== 'replayed') return result.what;
  return result.changed.length > 0 ? 'changed' : 'unchanged';
}

async function tellCounts(counts: Counts, without: readonly string[], { terminal }: Context): Promise<void> {
  const { changed, unchanged, source_gone: gone, failed } = counts;
  await terminal.line(
    `${changed} changed, ${unchanged} as they were, ${gone} without a source, ${failed} not to be parsed`,
  );
  const more = gone > without.length ? ', …' : '';
  if (gone > 0) await terminal.line(`without a source: ${without.join(', ')}${more}`);
}

function sentence(result: Replayed): string {
  if (result.what === 'source_gone') return 'its source is not kept any more';
  if (result.what === 'failed') return `cannot be parsed now (${result.reason}); it stays as it is`;
  if (result.changed.length === 0) return 'nothing changed';
  const joined = { ticket_opened: 'opened', reply_added: 'joined' };
  const ticket = result.outcome === null ? '' : `; it has ${joined[result.outcome]} ticket ${result.ref ?? ''}`;
  return `changed: ${result.changed.join(', ')}${ticket}`;
}

function resultJson(id: string, result: Replayed): Record<string, unknown> {
  if (result.what === 'source_gone') return { id, result: 'source_gone' };
  if (result.what === 'failed') return { id, result: 'failed', reason: result.reason };
  const { changed, outcome, ref } = result;
  return { id, result: kindOf(result), changed, outcome, ticket: ref };
}
