/**
 * Rewrite of settings seals by the operations on the switch: `enable` confirms the post-actions in force, `rotate`
 * renews the seals under the next key.
 *
 * What is not confirmed stays so: no operation vouches for the connection of a row, and a seal that fits the row under
 * neither key of the rotation is left as it is. Throws `switch_changed`, and stops between two batches.
 */
import { postActionRules } from '../../ingest/model.ts';
import type { Key, KeySet } from '../../secret/key.ts';
import { sealSettings, verifySettingsSeal } from '../../secret/settings-seal.ts';
import type { SettingsRow } from '../ports.ts';
import type { Operation } from './operation.ts';

const batchRows = 200;

/** Confirms the post-action of every mailbox. Returns the number of those that remove messages from the server. */
export async function confirmPostActions(operation: Operation, key: Key, revision: number): Promise<number> {
  const removing = new Set<string>();
  await rewriteSeals(operation, revision, ({ mailbox, seal }) => {
    if (postActionRules[mailbox.postAction.kind].removesMessage) removing.add(mailbox.id);
    const isConnectionConfirmed = verifySettingsSeal(mailbox, seal, [key]).connection === 'valid';
    return sealSettings(mailbox, { connection: isConnectionConfirmed, action: true }, key);
  });
  return removing.size;
}

/** Seals under `key` what a seal under one of `keys`, the two of the rotation, confirms. */
export async function resealSettings(operation: Operation, keys: KeySet, key: Key, revision: number): Promise<void> {
  await rewriteSeals(operation, revision, ({ mailbox, seal }) => {
    const { connection, action } = verifySettingsSeal(mailbox, seal, keys);
    return sealSettings(mailbox, { connection: connection === 'valid', action: action === 'valid' }, key);
  });
}

async function rewriteSeals(
  operation: Operation,
  revision: number,
  change: (row: SettingsRow) => string | null,
): Promise<void> {
  const changed = (row: SettingsRow): string | null => {
    const seal = change(row);
    return seal === row.seal ? null : seal;
  };
  let after: string | null = null;
  do {
    operation.throwIfStopped();
    after = await operation.ports.store.rewriteSettingsSeals({ after, limit: batchRows, revision }, changed);
  } while (after !== null);
}
