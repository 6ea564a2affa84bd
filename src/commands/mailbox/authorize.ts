/**
 * `mailbox authorize`: a person signs in again for the grant of a mailbox, which is then proved by a login.
 *
 * Where the server of the mailbox is not one of the provider, no person is asked. A failed sign-in stores nothing;
 * a failed login afterwards leaves the new consent stored, since it is none of its fault.
 */

import { providerOfMailbox } from '../../admin/mailboxes/grants.ts';
import { refusePartlyRemoved } from '../../admin/mailboxes/server-doubt.ts';
import type { App } from '../../compose/compose.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';
import type { Grant } from '../../oauth/model.ts';
import { tokenConnection } from '../../oauth/permission.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { type ConsentOptions, chosenWay, promptConsent } from '../oauth/consent-prompt.ts';
import { namedHint } from '../oauth/next-steps.ts';
import { printResult } from '../output.ts';
import { probedText, probeMailbox } from './probe.ts';

export type AuthorizeOptions = CommonOptions & ConsentOptions & { readonly name: string; readonly provider?: string };

/** Throws `usage`, `not_found`, `refused`, `oauth_*`, `token_*`, `key_*`, and the failures of a probe. */
export async function authorizeMailbox(options: AuthorizeOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const mailbox = await app.store.mailboxByName(options.name);
    refusePartlyRemoved(mailbox);
    const name = grantOf(mailbox);
    const way = chosenWay(options);
    const provider = providerOfPersons(
      mailbox,
      await app.store.grantByName(name),
      options.provider,
      app.oauth.providers(),
    );
    tokenConnection(mailbox.connection, provider);
    // Asks for the passphrase of the key file first.
    await app.vault.refresh();
    const request = { grant: name, provider, user: mailbox.connection.user, by: app.actor };
    const named = <T>(work: Promise<T>): Promise<T> => withNames(work, mailbox, provider);
    using consent = await named(promptConsent(app, request, way, context));
    const grant = await consent.store();
    const report = await named(login(app, mailbox, context));
    const signedIn = grant.account ?? 'a person whom the provider does not name';
    await printResult(
      options,
      context,
      {
        ...{ mailbox: mailbox.name, grant: name, provider: provider.name, account: grant.account },
        messages: report.folder.messageCount,
      },
      `authorized ${mailbox.name}: ${signedIn} signed in (${probedText(report)})`,
    );
    return 0;
  });
}

function grantOf({ name, grant }: Mailbox): string {
  if (grant !== null) return grant;
  throw new Failure('refused', `mailbox ${name} has a password, and no grant to renew`, {
    hint: `To sign in with OAuth 2 instead: ${commandOrNotice(shellCommand('mailbox set --oauth PROVIDER', name))}`,
  });
}

/**
 * The provider of the grant; of one that another program only named, that of `--provider`, or the only one of persons.
 * Throws `usage`, `oauth_provider_unknown`.
 */
function providerOfPersons(
  mailbox: Mailbox,
  grant: Grant | null,
  named: string | undefined,
  providers: readonly OAuthProvider[],
): OAuthProvider {
  const known = providerOfMailbox(mailbox, grant, providers);
  if (grant !== null && known === null)
    throw new Failure('oauth_provider_unknown', `the configuration has no table [oauth.${grant.provider}]`);
  const ofPersons = providers.filter(({ flow }) => flow === 'person');
  const provider = known ?? (named === undefined ? onlyOne(ofPersons) : ofPersons.find((one) => one.name === named));
  if (provider === undefined) {
    const hint = `Add --provider with one of: ${ofPersons.map((one) => one.name).join(', ') || '(none is configured)'}.`;
    const message = `no grant says at which provider to sign in for mailbox ${mailbox.name}`;
    throw new Failure('usage', message, { hint });
  }
  if (named === undefined || named === provider.name) return provider;
  const message = `the grant of mailbox ${mailbox.name} is one of provider ${provider.name}: leave --provider out`;
  throw new Failure('usage', message);
}

function onlyOne<T>([first, ...others]: readonly T[]): T | undefined {
  return others.length === 0 ? first : undefined;
}

/** The hint of a failure, with the names of mailbox and provider in its commands. */
async function withNames<T>(work: Promise<T>, { name, connection }: Mailbox, provider: OAuthProvider): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (!isFailure(error)) throw error;
    const { code, message, fields, cause } = error;
    const hint = namedHint(error.hint, { provider, mailbox: { name, user: connection.user } });
    throw new Failure(code, message, { fields, hint, cause });
  }
}

/** The login proves that the stored consent opens the mailbox. */
async function login(app: App, mailbox: Mailbox, context: Context): Promise<ProbeReport> {
  try {
    return await app.credentials.withCredential(mailbox, (credential, connection) =>
      probeMailbox(app, connection, credential, context, { name: mailbox.name }),
    );
  } catch (error) {
    if (!isFailure(error)) throw error;
    const { code, message, fields, hint, cause } = error;
    throw new Failure(code, `the consent is stored, but a login fails: ${message}`, { fields, hint, cause });
  }
}
