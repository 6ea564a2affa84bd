/**
 * Changes of a mailbox row: compare-and-swap on the version that was read, sealing and confirmation in one statement.
 *
 * What was confirmed before (secret/settings-seal.ts) is so with the changes; what was not needs `mailbox confirm`.
 */
import { isDeepStrictEqual } from 'node:util';
import type { Confirmations } from '../../encryption/confirmations.ts';
import type { PasswordAccess } from '../../encryption/passwords.ts';
import type { Vault } from '../../encryption/vault.ts';
import { type AuditActor, type Connection, type Mailbox, postActionRules } from '../../ingest/model.ts';
import type { MailboxStore, VersionedMailbox } from '../../ingest/stores.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import type { SettingsParts } from '../../secret/settings-seal.ts';

export type ChangePorts = {
  readonly store: Pick<MailboxStore, 'changeMailbox' | 'setPassword'>;
  readonly passwords: Pick<PasswordAccess, 'store'>;
  readonly confirmations: Pick<Confirmations, 'verify' | 'confirm'>;
  readonly vault: Pick<Vault, 'view'>;
  readonly actor: AuditActor;
};

export type MailboxChange = {
  readonly before: VersionedMailbox;
  readonly after: Mailbox;
  /** What a seal confirms of the mailbox before, and therefore after the change. */
  readonly confirmed: SettingsParts;
};

/** The parts that the stored seal confirms; of none while encryption is off. */
export function confirmedParts(
  { confirmations }: Pick<ChangePorts, 'confirmations'>,
  { mailbox, settingsSeal }: VersionedMailbox,
): SettingsParts {
  const verdicts = confirmations.verify(mailbox, settingsSeal);
  return { connection: verdicts?.connection === 'valid', action: verdicts?.action === 'valid' };
}

/** Stores settings without a password. While the switch is not trusted, nothing is confirmed. */
export async function changeSettings(
  { store, confirmations, vault, actor }: ChangePorts,
  { before, after, confirmed }: MailboxChange,
): Promise<void> {
  const isSealed = (confirmed.connection || confirmed.action) && vault.view.problem === null;
  if (!isSealed) return await store.changeMailbox(before, after, null, actor);
  await confirmations.confirm(after, confirmed, (seal) => store.changeMailbox(before, after, null, actor, seal));
}

/**
 * Stores settings with the password, sealed for the connection in `after`. A password in plain text is not bound to a
 * server: unless it is new, that column stays unchanged.
 */
export async function changeWithPassword(
  { store, passwords, actor }: ChangePorts,
  { before, after, confirmed }: MailboxChange,
  password: SecretBytes,
  isNew: boolean,
): Promise<void> {
  await passwords.store(after, password, confirmed, (prepared) => {
    const isStored = !isNew && prepared.form === 'plain' && before.password.form === 'plain';
    return store.changeMailbox(before, after, isStored ? null : prepared, actor);
  });
}

/** Stores another password for the same settings: their connection is confirmed with it. */
export async function replacePassword(ports: ChangePorts, stored: VersionedMailbox, password: SecretBytes) {
  const { mailbox } = stored;
  const confirmed = { connection: true, action: confirmedParts(ports, stored).action };
  await ports.passwords.store(mailbox, password, confirmed, (prepared) =>
    ports.store.setPassword(mailbox.id, prepared, ports.actor),
  );
}

/** True for settings that a sealed password is bound to: all of the connection but the folder. */
export function isOtherServer(was: Connection, is: Connection): boolean {
  return !isSame({ ...was, folder: is.folder }, is);
}

/** True for a new post-action that takes messages out of the folder: its probe says what the server lacks for it. */
export function needsActionProbe(before: Mailbox, { postAction }: Mailbox): boolean {
  return postActionRules[postAction.kind].removesMessage && !isSame(before.postAction, postAction);
}

type ChangeableSetting = Exclude<keyof Mailbox, 'id' | 'state' | 'addresses' | 'connection'> | keyof Connection;

/** How a change of each setting is reported, named as the options are. A setting without a word does not compile. */
export const settingWords: Readonly<Record<ChangeableSetting, string>> = {
  name: 'name',
  ...{ host: 'host', port: 'port', tls: 'TLS', caPem: 'authorities', fingerprint: 'fingerprint' },
  ...{ allowPlaintext: 'plaintext allowed', user: 'user', folder: 'folder' },
  start: 'since',
  postAction: 'on_success',
  pollIntervalMs: 'interval',
  grant: 'sign-in',
};

/** Words of the settings that differ. */
export function changedSettings(before: Mailbox, after: Mailbox): readonly string[] {
  const [was, is] = [
    { ...before, ...before.connection },
    { ...after, ...after.connection },
  ];
  const settings = Object.keys(settingWords) as ChangeableSetting[];
  return settings.filter((setting) => !isSame(was[setting], is[setting])).map((setting) => settingWords[setting]);
}

export function isSame<T>(one: T, other: T): boolean {
  return isDeepStrictEqual(one, other);
}
