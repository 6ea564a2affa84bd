/**
 * The way of one password: row and switch revision read in one query, opened by the vault, lent to one login, wiped.
 *
 * The form is what the column says, never guessed. A sealed password is opened for the very connection that will be
 * used. A readable one that turns up while the switch is on is sealed first, then used. What cannot be opened is thrown:
 * `key_file_missing`, `key_file_refused`, `key_file_locked`, `key_unknown`, `password_damaged`, `password_bound_elsewhere`.
 */
import { Failure, isFailure } from '../errors.ts';
import type { Mailbox, NewPassword, StoredPassword } from '../ingest/mailbox.ts';
import type { MailboxStore, Passwords } from '../ingest/ports.ts';
import { type Key, keyById, keyIds } from '../secret/key.ts';
import {
  isPassword,
  passwordBytesMax,
  type SealContext,
  sealPassword,
  unsealPassword,
} from '../secret/sealed-password.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import { sealingKey } from '../secret/switch.ts';
import type { Vault } from './vault.ts';

export type PasswordPorts = {
  readonly store: Pick<MailboxStore, 'readPassword'>;
  readonly vault: Vault;
  /** Seals what stands readable, if the switch is on. */
  readonly sealReadable: () => Promise<void>;
};

export type PasswordKeeper = Passwords & {
  /** `password` in the form that the switch asks for now. Fails closed: throws when it is on and its key is not open here. */
  prepare(mailbox: Mailbox, password: SecretBytes): Promise<NewPassword>;
};

export function createPasswords(ports: PasswordPorts): PasswordKeeper {
  return {
    lend: async (mailbox, use) => {
      using password = await openPassword(mailbox, ports);
      return await use(password);
    },
    keyIds: () => keyIds(ports.vault.keys()),
    prepare: (mailbox, password) => prepare(mailbox, password, ports.vault),
  };
}

/** Key file and password may change between two reads: one that no open key fits is looked at once more. */
async function openPassword(mailbox: Mailbox, ports: PasswordPorts): Promise<SecretBytes> {
  const stored = await readSealed(mailbox, ports);
  try {
    return opened(stored, mailbox, ports.vault);
  } catch (error) {
    if (!isFailure(error, 'key_unknown')) throw error;
  }
  await ports.vault.refresh();
  try {
    return opened(await read(mailbox, ports), mailbox, ports.vault);
  } catch (error) {
    if (!isFailure(error, 'key_unknown')) throw error;
    const { state } = ports.vault.view;
    throw state.kind === 'missing' || state.kind === 'refused' ? state.failure : error;
  }
}

async function readSealed(mailbox: Mailbox, ports: PasswordPorts): Promise<StoredPassword> {
  const stored = await read(mailbox, ports);
  if (stored.switchRevision !== (ports.vault.view.stored?.revision ?? null)) await ports.vault.refresh();
  const { state } = ports.vault.view.switch;
  if (stored.form === 'sealed' || (state !== 'on' && state !== 'rotating')) return stored;
  stored.bytes.fill(0);
  await ports.sealReadable();
  return await read(mailbox, ports);
}

async function read({ id, name }: Mailbox, { store }: PasswordPorts): Promise<StoredPassword> {
  const stored = await store.readPassword(id);
  if (stored === null) throw new Failure('not_found', `mailbox ${name} is gone`);
  return stored;
}

function opened({ form, bytes }: StoredPassword, mailbox: Mailbox, vault: Vault): SecretBytes {
  if (form === 'sealed') return unsealPassword(bytes, vault.keys(), contextOf(mailbox));
  if (isPassword(bytes)) return SecretBytes.take(bytes);
  bytes.fill(0);
  const message = `the readable password of mailbox ${mailbox.name} is not 1 to ${passwordBytesMax} bytes without NUL`;
  throw new Failure('password_damaged', message, { hint: 'Set it anew with mailbox set-password.' });
}

function contextOf({ id, connection }: Mailbox): SealContext {
  return { mailboxId: id, connection };
}

async function prepare(mailbox: Mailbox, password: SecretBytes, vault: Vault): Promise<NewPassword> {
  const { problem, switch: inForce, state } = await vault.refresh();
  if (problem !== null) throw problem;
  const keyId = sealingKey(inForce);
  if (keyId === null) {
    // Without any memory here, a switch whose key is not open looks like off.
    if (state.kind === 'missing' || (state.kind === 'refused' && inForce.revision > 0)) throw state.failure;
    return { form: 'plain', password };
  }
  const key: Key | null = keyById(vault.keys(), keyId);
  if (key === null)
    throw 'failure' in state ? state.failure : new Failure('key_unknown', `key ${keyId} is not open here`);
  return { form: 'sealed', sealed: sealPassword(password, key, contextOf(mailbox)), keyId };
}
