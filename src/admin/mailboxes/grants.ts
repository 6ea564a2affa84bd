/**
 * Selection of the OAuth 2 grant of a mailbox: by provider and name, permitted for user and mail server.
 *
 * Provider, user and mail server are checked against the configuration (oauth/permission.ts) before anything is asked
 * of the provider or stored.
 */
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { quoted } from '../../config/option-values.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import { configuredProvider } from '../../oauth/grant-directory.ts';
import type { Grant } from '../../oauth/model.ts';
import { checkUserListed, tokenConnection } from '../../oauth/permission.ts';
import type { GrantStore } from '../../oauth/ports.ts';
import { shellArgOrNotice } from '../../text/shell.ts';

export type GrantSelectionPorts = {
  readonly store: Pick<GrantStore, 'grantByName'>;
  /** `providers`: in force now; a reload changes them. */
  readonly oauth: { readonly providers: () => readonly OAuthProvider[] };
};

type Subject = Pick<Mailbox, 'name' | 'connection'>;

/** `existing` null: the grant is not there yet. */
export type SelectedGrant = {
  readonly name: string;
  readonly provider: OAuthProvider;
  readonly existing: Grant | null;
};

/**
 * The grant that `--oauth` and `--grant` name, permitted for this mailbox. Throws `usage`, `oauth_provider_unknown`,
 * `not_found`, `token_bound_elsewhere`, `oauth_mailbox_not_listed`.
 */
export async function selectGrant(
  { store, oauth: configured }: GrantSelectionPorts,
  { oauth = '', grant: named }: { readonly oauth?: string; readonly grant?: string },
  mailbox: Subject,
): Promise<SelectedGrant> {
  const providers = configured.providers();
  const provider = providers.find((one) => one.name === oauth);
  if (provider === undefined) throw unknownProvider(oauth, providers);
  const name = provider.flow === 'person' ? (named ?? mailbox.name) : provider.name;
  if (named !== undefined && named !== name)
    throw new Failure(
      'usage',
      `--grant must be left out: a provider with flow "${provider.flow}" has one grant, named as itself`,
    );
  const existing = await store.grantByName(name);
  if (provider.flow === 'person') checkGrantOfPerson(name, { existing, named, provider, providers });
  checkPermitted(mailbox, provider, existing?.account ?? null, existing !== null);
  return { name, provider, existing };
}

function unknownProvider(name: string, providers: readonly OAuthProvider[]): Failure {
  const known = providers.map((one) => one.name).join(', ');
  const configured = known === '' ? 'the configuration has none' : `the configuration has ${known}`;
  const hint = 'Nothing was changed. Add the table [oauth.NAME] to the configuration file, or name one that it has.';
  return new Failure('oauth_provider_unknown', `there is no provider named ${quoted(name)}: ${configured}`, { hint });
}

type GrantOfPerson = {
  readonly existing: Grant | null;
  readonly named: string | undefined;
  readonly provider: OAuthProvider;
  readonly providers: readonly OAuthProvider[];
};

function checkGrantOfPerson(name: string, { existing, named, provider, providers }: GrantOfPerson): void {
  if (providers.some((one) => one.name === name && one.flow !== 'person'))
    throw new Failure('usage', `grant ${quoted(name)} is that of provider ${name}: choose another name with --grant`);
  if (existing === null) return;
  if (existing.provider !== provider.name)
    throw new Failure('usage', `grant ${quoted(name)} is one of another provider: choose another name with --grant`);
  if (named === undefined)
    throw new Failure('already_exists', `there is a grant named ${quoted(name)} already`, {
      hint: `For another account, choose another name with --grant. To use that grant: --grant=${shellArgOrNotice(name)}`,
    });
}

/** `isKnown` false: no person has consented yet, and the consent decides who that is. */
function checkPermitted(
  { connection }: Subject,
  provider: OAuthProvider,
  account: string | null,
  isKnown: boolean,
): void {
  try {
    tokenConnection(connection, provider);
  } catch (error) {
    if (!isFailure(error, 'token_bound_elsewhere')) throw error;
    const hosts = provider.imapHosts.map(({ host, port }) => `${host}:${port}`).join(', ');
    const isPinned = connection.caPem !== null || connection.fingerprint !== null;
    const ownAuthorities = isPinned
      ? ' Leave --ca-file and --fingerprint out; with mailbox set, add --system-ca where the mailbox has its own.'
      : '';
    const hint = `Nothing was changed. A token of ${provider.name} goes to ${hosts} (imap_hosts), over TLS, with the authorities of the system or of ca_file in [oauth.${provider.name}].${ownAuthorities}`;
    throw new Failure('token_bound_elsewhere', error.message, { fields: error.fields, hint });
  }
  if (provider.flow !== 'person' || isKnown) checkUserListed(connection.user, provider, account);
}

/** The grant that a mailbox has, permitted for its changed connection. Throws as `selectGrant` does. */
export async function checkPresentGrant({ store, oauth }: GrantSelectionPorts, mailbox: Mailbox): Promise<void> {
  const grant = mailbox.grant === null ? null : await store.grantByName(mailbox.grant);
  const provider = providerOfMailbox(mailbox, grant, oauth.providers());
  if (provider !== null) checkPermitted(mailbox, provider, grant?.account ?? null, grant !== null);
}

/** As oauth/grant-directory.ts finds it; null: the configuration has none. */
export function providerOfMailbox(
  { grant: name }: Pick<Mailbox, 'grant'>,
  grant: Pick<Grant, 'provider'> | null,
  providers: readonly OAuthProvider[],
): OAuthProvider | null {
  return name === null ? null : configuredProvider(name, grant, providers);
}
