/**
 * Rewrite of settings seals by the operations on the switch: `enable` confirms the post-actions in force, `rotate`
 * renews the seals under the next key.
 *
 * What is not confirmed stays so: no operation vouches for the connection of a row, and a seal that fits the row under
 * neither key of the rotation is left as it is. A writer of the database sees the beginning of an operation (its claim)
 * and its end: what was put into the table in between, to take it out again, is not renewed, and what was sealed is
 * returned as it was at that moment. Throws `switch_changed`, and stops between two batches.
 */
import type { Mailbox } from '../../ingest/model.ts';
import { postActionRules } from '../../ingest/model.ts';
import type { Key, KeySet } from '../../secret/key.ts';
import { sealSettings, settingsDigest, verifySettingsSeal } from '../../secret/settings-seal.ts';
import type { EncryptionStore, SettingsReading, SettingsRow } from '../ports.ts';
import type { Operation } from './operation.ts';

const batchRows = 200;

/** The settings and seal of each mailbox, by its id. */
export type SealSnapshot = ReadonlyMap<string, string>;

export type RenewedSettings = {
  /** Whose delete or move acts under the new key, as sealed. */
  readonly removing: readonly Mailbox[];
  /** Confirmed by a seal that was not there, or not with these settings, before the rotation began. */
  readonly unrenewed: readonly Mailbox[];
};

/** Confirms the post-action of every mailbox. Returns those that remove messages from the server, as sealed. */
export async function confirmPostActions(
  operation: Operation,
  key: Key,
  revision: number,
): Promise<readonly Mailbox[]> {
  const removing = new Map<string, Mailbox>();
  await rewriteSeals(operation, revision, ({ mailbox, seal }) => {
    removing.delete(mailbox.id);
    if (postActionRules[mailbox.postAction.kind].removesMessage) removing.set(mailbox.id, mailbox);
    const isConnectionConfirmed = verifySettingsSeal(mailbox, seal, [key]).connection === 'valid';
    return sealSettings(mailbox, { connection: isConnectionConfirmed, action: true }, key);
  });
  return [...removing.values()];
}

/** What the seals are about before an operation begins. It takes no lock, by which it could be seen. */
export async function readSeals(store: Pick<EncryptionStore, 'readSettings'>): Promise<SealSnapshot> {
  const seals = new Map<string, string>();
  let after: string | null = null;
  do {
    const { rows, lastId }: SettingsReading = await store.readSettings({ after, limit: batchRows });
    for (const row of rows) seals.set(row.mailbox.id, digestOf(row));
    after = lastId;
  } while (after !== null);
  return seals;
}

function digestOf({ mailbox, seal }: SettingsRow): string {
  return `${seal} ${settingsDigest(mailbox)}`;
}

/** Seals under the next key what a seal under the former one confirms, and did so in `before`. */
export async function resealSettings(
  operation: Operation,
  { former, next }: { readonly former: Key; readonly next: Key },
  before: SealSnapshot,
  revision: number,
): Promise<RenewedSettings> {
  const [removing, unrenewed] = [new Map<string, Mailbox>(), new Map<string, Mailbox>()];
  const keys: KeySet = [former, next];
  await rewriteSeals(operation, revision, (row) => {
    const { mailbox, seal } = row;
    for (const found of [removing, unrenewed]) found.delete(mailbox.id);
    const { connection, action } = verifySettingsSeal(mailbox, seal, keys);
    const parts = { connection: connection === 'valid', action: action === 'valid' };
    const made = sealSettings(mailbox, parts, next);
    if (made === null) return null;
    // A command or the page confirms under the next key while the switch is rotating.
    const isUnchanged = before.get(mailbox.id) === digestOf(row) || seal === made;
    if (!isUnchanged) unrenewed.set(mailbox.id, mailbox);
    else if (parts.action && postActionRules[mailbox.postAction.kind].removesMessage) removing.set(mailbox.id, mailbox);
    return isUnchanged ? made : null;
  });
  return { removing: [...removing.values()], unrenewed: [...unrenewed.values()] };
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
