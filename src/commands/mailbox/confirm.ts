/**
 * `mailbox confirm`: shows the settings of a mailbox, asks, and stores the settings seal (secret/settings-seal.ts).
 *
 * While encryption is on, delete and move act only under it: a writer of the database may have set them, or the folder.
 * The seal is made of the settings that were shown; if the row changes meanwhile, it does not fit.
 */

import { postActionText } from '../../admin/mailboxes/post-actions.ts';
import { refusePartlyRemoved } from '../../admin/mailboxes/server-doubt.ts';
import type { App } from '../../compose/compose.ts';
import type { Mailbox, MailboxHealth } from '../../ingest/model.ts';
import { nameText, postActionEffects, serverText } from '../../ingest/settings-text.ts';
import { allSettings } from '../../secret/settings-seal.ts';
import { isoTime } from '../../text/time.ts';
import { countText } from '../../text/units.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { noMailbox } from '../help/suggestion.ts';
import { isConfirmed, nothingChanged } from '../output.ts';

type ConfirmOptions = CommonOptions & { readonly name: string; readonly yes?: boolean };

const pendingMax = 100_000;

/** Throws `not_found`, `refused` while encryption is off, `usage` without a terminal, and the failures of the key. */
export async function confirmMailbox(options: ConfirmOptions, context: Context): Promise<number> {
  const { terminal } = context;
  return await withApp(options, context, async (app) => {
    const listed = (await app.store.listMailboxes()).find(({ name }) => name === options.name);
    const mailbox = listed ?? noMailbox(options.name);
    // An invalid row has no settings to confirm.
    const { mailbox: settings, settingsSeal } = await app.store.versionedMailbox(options.name);
    refusePartlyRemoved(settings);
    // Asks for the passphrase of the key file first.
    await app.vault.refresh();
    const verdicts = app.confirmations.verify(settings, settingsSeal);
    if (verdicts?.connection === 'valid' && verdicts.action === 'valid') {
      await terminal.line(`${settings.name} has these settings confirmed already`);
      return 0;
    }
    if (verdicts !== null) for (const line of settingsLines(settings)) terminal.note(line);
    const waiting = verdicts === null ? 0 : await countWaiting(app, mailbox);
    if (waiting > 0) terminal.note(`waiting   ${countText(waiting, 'stored message')}`);
    if (verdicts !== null && !(await isConfirmed(options, context, 'Are these settings yours?')))
      return nothingChanged(context);
    await app.confirmations.confirm(settings, allSettings, (seal) =>
      app.store.confirmSettings(settings.id, seal, app.actor),
    );
    await terminal.line(`confirmed ${settings.name}: ${postActionText(settings.postAction)}`);
    return 0;
  });
}

function settingsLines({ name, connection, start, postAction }: Mailbox): readonly string[] {
  return [
    `mailbox   ${nameText(name)}`,
    `server    ${serverText(connection)}`,
    `folder    ${nameText(connection.folder)}`,
    `messages  ${start.from === 'all' ? 'all' : `from ${isoTime(start.atMs)} on`}`,
    `then      ${nameText(postActionText(postAction))}: ${postActionEffects[postAction.kind]}`,
  ];
}

/** Messages that are stored, and whose post-action is pending. */
async function countWaiting({ store }: App, { id, health }: Mailbox & { readonly health: MailboxHealth }) {
  const { cursor } = health;
  return cursor === null ? 0 : (await store.pendingActions(id, cursor.folderEpoch, pendingMax)).length;
}
