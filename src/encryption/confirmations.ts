/**
 * Confirmation of mailbox settings (secret/settings-seal.ts): made for commands and the page, verified for polls.
 *
 * While encryption is on, delete and move act only under a valid seal, and a new password goes unasked only to a
 * confirmed connection. While it is off, nothing is verified: a writer of the database has every password then; but a
 * key file where no switch was ever accepted counts as on. A seal under any other key than the switch names is missing.
 */
import { Failure, isFailure } from '../errors.ts';
import { type Mailbox, type NewSettingsSeal, postActionRules } from '../ingest/model.ts';
import type { PostActionGuard } from '../ingest/ports.ts';
import type { MailboxStore } from '../ingest/stores.ts';
import { type KeySet, keyById } from '../secret/key.ts';
import { isOutcomeSealed, sealOutcome } from '../secret/outcome-seal.ts';
import {
  type SealVerdict,
  type SettingsPart,
  type SettingsParts,
  sealSettings,
  verifySettingsSeal,
} from '../secret/settings-seal.ts';
import { initialSwitchRow, sealingKeyId } from '../secret/switch.ts';
import { hints } from '../text/hints.ts';
import { isEncryptionOn, unprovenOff, type Vault, type VaultView } from './vault.ts';

export type SettingsVerdicts = Readonly<Record<SettingsPart, SealVerdict>>;

export interface Confirmations extends PostActionGuard {
  /** Verdict on a stored seal. null: encryption is off, and no setting needs a confirmation. */
  verify(mailbox: Mailbox, seal: string | null): SettingsVerdicts | null;
  /**
   * Calls `write` with a seal of these parts, 5 times at most while the switch changes. Throws `refused` while
   * encryption is off, the failure of the key file or the switch, and `key_unknown`.
   */
  confirm<T>(mailbox: Mailbox, parts: SettingsParts, write: (seal: NewSettingsSeal) => Promise<T>): Promise<T>;
}

type ConfirmationPorts = { readonly store: Pick<MailboxStore, 'readSettingsSeal'>; readonly vault: Vault };

const attemptsMax = 5;

export function createConfirmations({ store, vault }: ConfirmationPorts): Confirmations {
  const verify = (mailbox: Mailbox, seal: string | null): SettingsVerdicts | null => {
    const isNeeded = sealingKeyId(vault.view.switch) !== null || isEnforced(vault.view);
    return isNeeded ? verifySettingsSeal(mailbox, seal, acceptedKeys(vault)) : null;
  };
  const isUnconfirmed = (mailbox: Mailbox, seal: string | null): boolean =>
    isEnforced(vault.view) &&
    postActionRules[mailbox.postAction.kind].removesMessage &&
    verifySettingsSeal(mailbox, seal, acceptedKeys(vault)).action !== 'valid';
  return {
    verify,
    isUnconfirmed,
    mayRemove: async (mailbox) => {
      // Without a row that was read, off is not known.
      if (vault.view.stored === null) await vault.refresh();
      return !isEnforced(vault.view) || !isUnconfirmed(mailbox, await store.readSettingsSeal(mailbox.id));
    },
    sealOutcome: ({ id: mailboxId, postAction }, outcome) => {
      const key = keyById(vault.keys(), sealingKeyId(vault.view.switch));
      if (key === null || !postActionRules[postAction.kind].removesMessage) return null;
      return sealOutcome({ mailboxId, ...outcome }, key);
    },
    wasStored: ({ id: mailboxId }, outcome, seal) =>
      !isEnforced(vault.view) || isOutcomeSealed({ mailboxId, ...outcome }, seal, acceptedKeys(vault)),
    confirm: (mailbox, parts, write) =>
      retryAtSwitchChange(async () => {
        const prepared = await prepareSeal(mailbox, parts, vault);
        return await warningOfSeal(prepared.settingsSeal, () => write(prepared));
      }),
  };
}

/** Also while off is not known, since no row was ever accepted here: it may hide that encryption is on. */
function isEnforced(view: VaultView): boolean {
  const isDoubtful = view.problem !== null && view.switch.revision === initialSwitchRow.revision;
  return isEncryptionOn(view) || isDoubtful || unprovenOff(view) !== null;
}

/**
 * The key of the switch, and the next one as soon as it is announced: a rotation renews the seals before this process
 * sees that it is over. Not those that only passwords need.
 */
function acceptedKeys(vault: Vault): KeySet {
  const { keyId, nextKeyId } = vault.view.switch;
  return vault.keys().filter(({ id }) => id === keyId || id === nextKeyId);
}

async function prepareSeal(mailbox: Mailbox, parts: SettingsParts, vault: Vault): Promise<NewSettingsSeal> {
  const view = await vault.refresh();
  const { problem, switch: inForce, stored, state } = view;
  if (problem !== null) throw problem;
  const unproven = unprovenOff(view);
  if (unproven !== null) throw unproven;
  const keyId = sealingKeyId(inForce);
  if (keyId === null) {
    const hint = 'Without encryption every post-action acts as it is in the table.';
    throw new Failure('refused', 'encryption is off: there is nothing to confirm', { hint });
  }
  const key = keyById(vault.keys(), keyId);
  if (key === null)
    throw 'failure' in state ? state.failure : new Failure('key_unknown', `key ${keyId} is not available here`);
  const switchRevision = stored?.revision ?? initialSwitchRow.revision;
  return { settingsSeal: sealSettings(mailbox, parts, key), switchRevision };
}

/**
 * Runs a write that has a settings seal. The hint of a failure of the database says that the seal counts all the same
 * where a trigger copied it: it is valid for its settings until the next rotation.
 */
export async function warningOfSeal<T>(seal: string | null, write: () => Promise<T>): Promise<T> {
  try {
    return await write();
  } catch (error) {
    if (seal === null || !isFailure(error) || error.domain !== 'database') throw error;
    const { code, message, fields, cause } = error;
    throw new Failure(code, message, { fields, cause, hint: `${error.hint} ${hints.sealGivenAway}` });
  }
}

/** Repeats `write` while the switch changes before it (`switch_changed`), 5 times at most. */
export async function retryAtSwitchChange<T>(write: () => Promise<T>): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await write();
    } catch (error) {
      if (!isFailure(error, 'switch_changed') || tries === attemptsMax) throw error;
    }
  }
}
