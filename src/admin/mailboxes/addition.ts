/**
 * New mailboxes: names without regard to case, the first cursor, sealing at the revision of the switch, audit.
 *
 * While encryption is on, the password is stored sealed or not at all, and the settings are confirmed.
 */
import { randomUUIDv7 } from 'node:crypto';
import type { Confirmations } from '../../encryption/confirmations.ts';
import type { PasswordAccess } from '../../encryption/passwords.ts';
import { Failure } from '../../errors.ts';
import { folderKey, uidValidityOf } from '../../ingest/folder-epoch.ts';
import type { AuditActor, Cursor, Mailbox, NewSettingsSeal } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';
import type { FolderStore, MailboxStore } from '../../ingest/stores.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { allSettings, type SettingsParts } from '../../secret/settings-seal.ts';
import type { NewMailbox } from './options.ts';

export type AdditionPorts = {
  readonly store: Pick<MailboxStore, 'addMailbox'>;
  readonly passwords: Pick<PasswordAccess, 'store'>;
  readonly confirmations: Pick<Confirmations, 'verify' | 'confirm'>;
  readonly actor: AuditActor;
};

/** Names that differ in case only are the same name. `id`: of the mailbox that gets the name; null: a new one. */
export async function refuseTakenName(
  store: Pick<MailboxStore, 'listMailboxes'>,
  name: string,
  id: string | null,
): Promise<void> {
  const others = (await store.listMailboxes()).filter((other) => other.id !== id);
  const alike = others.find((other) => other.name.toLowerCase() === name.toLowerCase());
  if (alike === undefined) return;
  const why = alike.name === name ? '' : ', and names must differ in more than case';
  throw new Failure('already_exists', `a mailbox named ${JSON.stringify(alike.name)} exists already${why}`);
}

/**
 * A note on another mailbox with the same user and folder, a phrase without a full stop; null: there is none. At the
 * same server they are one account, whose messages are stored once. Under another name of the server only the
 * UIDVALIDITY shows that it is the same. `uidValidity` null: it was not probed.
 */
export async function sharedFolderNote(
  store: Pick<MailboxStore, 'listMailboxes'> & Pick<FolderStore, 'readFolderProgress'>,
  { name, connection }: Pick<Mailbox, 'name' | 'connection'>,
  uidValidity: number | null,
): Promise<string | null> {
  const key = folderKey(connection);
  const others = (await store.listMailboxes()).filter((other) => other.name !== name);
  const same = others.find((other) => folderKey(other.connection) === key);
  if (same !== undefined)
    return `mailbox ${same.name} reads this folder too: each message opens one ticket, in the mailbox that reads it first`;
  const { host, port } = connection;
  for (const other of uidValidity === null ? [] : others) {
    if (folderKey({ ...other.connection, host, port }) !== key) continue;
    const { cursor } = await store.readFolderProgress(other.id);
    if (cursor === null || uidValidityOf(cursor.folderEpoch) !== uidValidity) continue;
    const isOtherPort = other.connection.host.toLowerCase() === host.toLowerCase();
    const [under, use] = isOtherPort ? ['at another port', 'one port'] : ['under another host name', 'one host name'];
    return `mailbox ${other.name} seems to read this folder ${under}: each message opens a ticket in both; use ${use}`;
  }
  return null;
}

/** With an id of its own. */
export function newMailbox({ startsNow: _, ...settings }: NewMailbox, grant: string | null): Mailbox {
  return { ...settings, id: randomUUIDv7(), grant, state: 'active' };
}

/** Stores a mailbox with its password. `report` null: it was not probed. Throws the failures of sealing. */
export async function storeWithPassword(
  { store, passwords, actor }: AdditionPorts,
  { mailbox, settings }: { readonly mailbox: Mailbox; readonly settings: NewMailbox },
  password: SecretBytes,
  report: ProbeReport | null,
): Promise<void> {
  await passwords.store(mailbox, password, allSettings, (prepared) =>
    store.addMailbox(mailbox, prepared, firstCursor(settings, report), actor),
  );
}

/** Stores a mailbox that signs in with its grant. */
export async function storeWithGrant(
  ports: AdditionPorts,
  { mailbox, settings }: { readonly mailbox: Mailbox; readonly settings: NewMailbox },
  report: ProbeReport | null,
): Promise<void> {
  await sealedWrite(ports, mailbox, allSettings, (seal) =>
    ports.store.addMailbox(mailbox, null, firstCursor(settings, report), ports.actor, seal),
  );
}

/** With `--since now` everything in the folder counts as handled. */
function firstCursor({ startsNow }: NewMailbox, report: ProbeReport | null): Cursor | null {
  if (!startsNow || report === null) return null;
  const { uidValidity, uidNext } = report.folder;
  return { folderEpoch: uidValidity, uid: uidNext - 1 };
}

/** Calls `write` with the seal of the `confirmed` settings; with null while encryption is off. */
export async function sealedWrite<T>(
  { confirmations }: Pick<AdditionPorts, 'confirmations'>,
  mailbox: Mailbox,
  confirmed: SettingsParts,
  write: (seal: NewSettingsSeal | null) => Promise<T>,
): Promise<T> {
  const isOn = confirmations.verify(mailbox, null) !== null;
  return isOn ? await confirmations.confirm(mailbox, confirmed, write) : await write(null);
}
