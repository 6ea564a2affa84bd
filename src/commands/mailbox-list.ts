/**
 * `mailbox list` and `mailbox show`: settings and health of mailboxes, from the database alone.
 */

import type { App } from '../compose/compose.ts';
import { liveMs } from '../encryption/operations/operation.ts';
import { Failure } from '../errors.ts';
import { uidValidityOf } from '../ingest/folder-epoch.ts';
import type { Mailbox, MailboxHealth } from '../ingest/model.ts';
import { shortTime } from '../text/time.ts';
import { type CommonOptions, type Context, withApp } from './context.ts';
import { mailboxJson, placeText, stateText } from './mailbox-view.ts';

type Listed = Mailbox & { readonly health: MailboxHealth };

const columns = [
  { title: 'NAME', shrinks: true },
  { title: 'STATE' },
  { title: 'LAST SUCCESS (UTC)' },
  { title: 'PROBLEM' },
  { title: 'WHERE', shrinks: true },
];

export async function listMailboxes(options: CommonOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mailboxes = await app.store.listMailboxes();
    const held = await heldKeys(app);
    if (options.json === true) for (const mailbox of mailboxes) await terminal.json(mailboxJson(mailbox));
    else if (mailboxes.length === 0) terminal.note('There is no mailbox yet: add one with ticketmaild mailbox add.');
    else
      await terminal.table(
        columns,
        mailboxes.map((mailbox) => row(mailbox, held)),
      );
    return 0;
  });
}

/** Those that are open here, or in a worker that runs. */
async function heldKeys({ vault, store }: App): Promise<ReadonlySet<string>> {
  await vault.refresh();
  const workers = (await store.listWorkers(liveMs)).filter(({ live }) => live);
  return new Set([...vault.keys().map(({ id }) => id), ...workers.flatMap(({ keyIds }) => keyIds)]);
}

function row(mailbox: Listed, held: ReadonlySet<string>): readonly string[] {
  const { health } = mailbox;
  const { form, keyId } = health.password;
  const waits = form === 'sealed' && keyId !== null && !held.has(keyId);
  const failure = health.lastError === null || health.failures === 0 ? '' : health.lastError.code;
  const problem = waits ? 'waits for its key' : failure;
  return [mailbox.name, stateText(mailbox), shortTime(health.lastSuccessAtMs), problem, placeText(mailbox)];
}

/** Throws `not_found`. */
export async function showMailbox(options: CommonOptions & { name: string }, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const mailboxes = await app.store.listMailboxes();
    const mailbox = mailboxes.find(({ name }) => name === options.name);
    if (mailbox === undefined)
      throw new Failure('not_found', `there is no mailbox named ${JSON.stringify(options.name)}`);
    if (options.json === true) await terminal.json(mailboxJson(mailbox));
    else for (const line of lines(mailbox)) await terminal.line(line);
    return 0;
  });
}

function lines(mailbox: Listed): readonly string[] {
  const { ca_pem: ca, last_error: _, cursor: __, ...values } = mailboxJson(mailbox);
  const { cursor, lastError } = mailbox.health;
  const extra: Record<string, unknown> = {
    ca_file: ca === null ? null : 'stored',
    cursor: cursor === null ? null : `UID ${cursor.uid} in UIDVALIDITY ${uidValidityOf(cursor.uidValidity)}`,
    last_error: lastError === null ? null : `${lastError.code} at ${shortTime(lastError.atMs)}: ${lastError.message}`,
    hint: lastError?.hint ?? null,
  };
  return Object.entries({ ...values, ...extra })
    .filter(([, value]) => value !== null)
    .map(([key, value]) => `${key.replaceAll('_', ' ').padEnd(16)} ${value}`);
}
