/**
 * Password access: reads row and switch revision in one query, opens with a key of the vault, lends to one login,
 * wipes.
 *
 * The column names the form; it is never guessed. A sealed password opens only for the connection that is used. A
 * plain-text password found while the switch is on is sealed first, then read again. Where sealing fails, which is
 * logged, the plain text is used: the login does not wait for the sealing. Throws `key_file_missing`,
 * `key_file_refused`, `key_file_locked`, `key_unknown`, `password_damaged`, `password_binding_mismatch`.
 */
import { isDeepStrictEqual } from 'node:util';
import { Failure, isFailure } from '../errors.ts';
import type { Connection, Mailbox, NewPassword, StoredPassword } from '../ingest/model.ts';
import type { MailboxStore } from '../ingest/stores.ts';
import { type Key, keyById, keyIds } from '../secret/key.ts';
import {
  isValidPassword,
  passwordBytesMax,
  type SealContext,
  sealPassword,
  unsealPassword,
} from '../secret/sealed-password.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import { type SettingsParts, sealSettings } from '../secret/settings-seal.ts';
import { initialSwitchRow, sealingKeyId } from '../secret/switch.ts';
import { hints } from '../text/hints.ts';
import { retryAtSwitchChange, warningOfSeal } from './confirmations.ts';
import { isEncryptionOn, unprovenOff, type Vault } from './vault.ts';

export type PasswordAccessPorts = {
  readonly store: Pick<MailboxStore, 'readPassword'>;
  readonly vault: Vault;
  /** Seals the plain-text passwords in the table, if the switch is on. */
  readonly sealPlaintext: () => Promise<void>;
};

export interface PasswordAccess {
  /**
   * Passes the password of `mailbox` to `use`, and wipes it then. It opens only for the connection in `mailbox`. Throws
   * `not_found`, `key_file_missing`, `key_unknown`, `password_damaged`, `password_binding_mismatch`, `database_*`.
   */
  withPassword<T>(mailbox: Mailbox, use: (password: SecretBytes) => Promise<T>): Promise<T>;
  /**
   * Ids of the keys that are open now. A mailbox whose password is sealed under another one waits: it is not polled.
   */
  keyIds(): readonly string[];
  /**
   * Calls `write` with `password` in the form that the switch requires, and with the seal of the `confirmed` settings;
   * again when the switch changed before the write (`switch_changed`), 5 times at most. Fails closed: throws when the
   * switch is on and its key is not available.
   */
  store<T>(
    mailbox: Mailbox,
    password: SecretBytes,
    confirmed: SettingsParts,
    write: (prepared: NewPassword) => Promise<T>,
  ): Promise<T>;
}

export function createPasswordAccess(ports: PasswordAccessPorts): PasswordAccess {
  return {
    withPassword: async (mailbox, use) => {
      using password = await openPassword(mailbox, ports);
      return await use(password);
    },
    keyIds: () => keyIds(ports.vault.keys()),
    store: (mailbox, password, confirmed, write) =>
      retryAtSwitchChange(async () => {
        const prepared = await preparePassword(mailbox, password, confirmed, ports.vault);
        return await warningOfSeal(prepared.form === 'sealed' ? prepared.settingsSeal : null, () => write(prepared));
      }),
  };
}

/** Key file and password may change between two reads: retries once when no open key fits. */
async function openPassword(mailbox: Mailbox, ports: PasswordAccessPorts): Promise<SecretBytes> {
  const stored = await readStored(mailbox, ports);
  try {
    return openStored(stored, mailbox, ports.vault);
  } catch (error) {
    if (!isFailure(error, 'key_unknown')) throw error;
  }
  await ports.vault.refresh();
  try {
    return openStored(await readRow(mailbox, ports), mailbox, ports.vault);
  } catch (error) {
    if (!isFailure(error, 'key_unknown')) throw error;
    const { state } = ports.vault.view;
    throw state.kind === 'missing' || state.kind === 'refused' ? state.failure : error;
  }
}

async function readStored(mailbox: Mailbox, ports: PasswordAccessPorts): Promise<StoredPassword> {
  const stored = await readRow(mailbox, ports);
  try {
    if (stored.switchRevision !== (ports.vault.view.stored?.revision ?? null)) await ports.vault.refresh();
  } catch (error) {
    stored.bytes.fill(0);
    throw error;
  }
  if (stored.form === 'sealed' || !isEncryptionOn(ports.vault.view)) return stored;
  stored.bytes.fill(0);
  await ports.sealPlaintext();
  return await readRow(mailbox, ports);
}

async function readRow({ id, name }: Mailbox, { store }: PasswordAccessPorts): Promise<StoredPassword> {
  const stored = await store.readPassword(id);
  if (stored === null) throw new Failure('not_found', `mailbox ${name} was removed`);
  return stored;
}

function openStored({ form, bytes, connection }: StoredPassword, mailbox: Mailbox, vault: Vault): SecretBytes {
  if (form === 'sealed') return unsealPassword(bytes, vault.keys(), sealContextOf(mailbox));
  // Plain text is not bound to a server: it may have been written with another one, after `mailbox` was read.
  if (!isSameConnection(connection, mailbox.connection)) {
    bytes.fill(0);
    throw new Failure('database_conflict', `mailbox ${mailbox.name} was changed while a poll began`);
  }
  if (isValidPassword(bytes)) return SecretBytes.take(bytes);
  bytes.fill(0);
  const message = `the plain-text password of mailbox ${mailbox.name} must have 1 to ${passwordBytesMax} bytes and no NUL`;
  throw new Failure('password_damaged', message, { hint: hints.setPassword });
}

function isSameConnection(stored: StoredPassword['connection'], { folder: _, ...used }: Connection): boolean {
  return isDeepStrictEqual(stored, used);
}

function sealContextOf({ id, connection }: Mailbox): SealContext {
  return { mailboxId: id, connection };
}

async function preparePassword(
  mailbox: Mailbox,
  password: SecretBytes,
  confirmed: SettingsParts,
  vault: Vault,
): Promise<NewPassword> {
  const { key, switchRevision } = await sealingInForce(vault);
  if (key === null) return { form: 'plain', password, switchRevision };
  const sealed = sealPassword(password, key, sealContextOf(mailbox));
  const settingsSeal = sealSettings(mailbox, confirmed, key);
  return { form: 'sealed', sealed, keyId: key.id, switchRevision, settingsSeal };
}

type SealingInForce = { readonly key: Key | null; readonly switchRevision: number };

/**
 * The key that a new secret is sealed under, at the revision of the switch; `key` null: it is stored in plain text.
 * Fails closed: throws the problem of the switch, and `key_*` when the switch is on and its key is not available.
 */
export async function sealingInForce(vault: Vault): Promise<SealingInForce> {
  const view = await vault.refresh();
  const { problem, switch: inForce, stored, state } = view;
  if (problem !== null) throw problem;
  const switchRevision = stored?.revision ?? initialSwitchRow.revision;
  const keyId = sealingKeyId(inForce);
  if (keyId === null) {
    // Without a remembered switch, one whose key is not available would seem off.
    if (state.kind === 'missing' || state.kind === 'refused') throw state.failure;
    const unproven = unprovenOff(view);
    if (unproven !== null) throw unproven;
    return { key: null, switchRevision };
  }
  const key = keyById(vault.keys(), keyId);
  if (key !== null) return { key, switchRevision };
  throw 'failure' in state ? state.failure : new Failure('key_unknown', `key ${keyId} is not available here`);
}
