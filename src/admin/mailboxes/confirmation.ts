/**
 * Confirmation of a mailbox on the page: the same seal as `mailbox confirm`, under the same rules and with its audit
 * row.
 *
 * The form names by a digest the settings that the page showed: where the row was changed meanwhile, nothing is
 * confirmed. Throws the failures of the database, the key file and the switch.
 */
import { timingSafeEqual } from 'node:crypto';
import type { Confirmations } from '../../encryption/confirmations.ts';
import type { PasswordAccess } from '../../encryption/passwords.ts';
import type { Vault } from '../../encryption/vault.ts';
import { isFailure } from '../../errors.ts';
import type { AuditActor, Mailbox } from '../../ingest/model.ts';
import { nameText, postActionEffects, serverText } from '../../ingest/settings-text.ts';
import type { MailboxStore, VersionedMailbox } from '../../ingest/stores.ts';
import { allSettings, settingsDigest } from '../../secret/settings-seal.ts';
import { pageActor } from '../ports.ts';
import type { AdminService, MailboxSettingsView, MailboxSignIn, ProviderChoice } from '../service.ts';
import { rowVersion, textsOf } from './form.ts';
import { serverDoubt } from './server-doubt.ts';

export type MailboxConfirmationPorts = {
  readonly store: Pick<MailboxStore, 'versionedMailbox' | 'confirmSettings'>;
  readonly confirmations: Pick<Confirmations, 'verify' | 'confirm'>;
  readonly vault: Vault;
  readonly passwords: Pick<PasswordAccess, 'withPassword'>;
  readonly actor: AuditActor;
  readonly providers: () => readonly ProviderChoice[];
  readonly signInOf: (mailbox: Mailbox) => Promise<MailboxSignIn>;
};

const changedMeanwhile =
  'Nothing was confirmed: the settings changed since the page was shown, or the mailbox is gone. Check them again.';

export function createMailboxConfirmation(
  ports: MailboxConfirmationPorts,
): Pick<AdminService, 'mailboxSettings' | 'confirmMailbox' | 'providers'> {
  const { store, confirmations, actor, providers } = ports;
  return {
    providers,
    mailboxSettings: async (name) => {
      const found = await mailboxOrNull(store, name);
      return found === null ? null : await settingsView(found, ports);
    },
    confirmMailbox: async (name, digest, by) => {
      const found = await mailboxOrNull(store, name);
      if (found === null || !isDigestOf(digest, found)) return { isDone: false, sentence: changedMeanwhile };
      const { mailbox } = found;
      const who = { who: pageActor(by), host: actor.host };
      await confirmations.confirm(mailbox, allSettings, (seal) => store.confirmSettings(mailbox.id, seal, who));
      return {
        isDone: true,
        sentence: `The settings of ${mailbox.name} are confirmed: ${mailbox.postAction.kind} acts.`,
      };
    },
  };
}

/** null: there is none, or its row is invalid. */
export async function mailboxOrNull(
  store: Pick<MailboxStore, 'versionedMailbox'>,
  name: string,
): Promise<VersionedMailbox | null> {
  try {
    const found = await store.versionedMailbox(name);
    return found.mailbox.state === 'removing' ? null : found;
  } catch (error) {
    if (isFailure(error, 'not_found', 'mailbox_invalid')) return null;
    throw error;
  }
}

function isDigestOf(digest: string, { mailbox }: VersionedMailbox): boolean {
  const [given, present] = [Buffer.from(digest), Buffer.from(settingsDigest(mailbox))];
  return given.length === present.length && timingSafeEqual(given, present);
}

async function settingsView(found: VersionedMailbox, ports: MailboxConfirmationPorts): Promise<MailboxSettingsView> {
  const { mailbox, settingsSeal } = found;
  const { name, connection, start, postAction } = mailbox;
  const verdicts = ports.confirmations.verify(mailbox, settingsSeal);
  const isConfirmed = verdicts?.connection === 'valid' && verdicts.action === 'valid';
  const signIn = await ports.signInOf(mailbox);
  const providerName = signIn.kind === 'oauth' ? signIn.providerName : null;
  return {
    ...{ name, server: serverText(connection), folder: nameText(connection.folder) },
    startMs: start.from === 'all' ? null : start.atMs,
    action: postAction.kind,
    target: postAction.kind === 'move' ? nameText(postAction.folder) : null,
    effect: postActionEffects[postAction.kind],
    digest: settingsDigest(mailbox),
    ...{ signIn, version: rowVersion(found), isPaused: mailbox.state === 'paused' },
    ...{ texts: textsOf(mailbox, providerName), providers: ports.providers(), doubt: await doubtOf(found, ports) },
    state: verdicts === null ? 'off' : isConfirmed ? 'confirmed' : 'unconfirmed',
  };
}

/** null also where it cannot be known now: the form that needs it fails with the reason. */
async function doubtOf(found: VersionedMailbox, ports: MailboxConfirmationPorts): Promise<string | null> {
  try {
    return (await serverDoubt(ports, found))?.statement ?? null;
  } catch (error) {
    if (!isFailure(error) || error.domain === 'database') throw error;
    return null;
  }
}
