/**
 * `oauth revoke`: ends the grant of a person at its provider and here; mailboxes that use it need consent then.
 *
 * `mailbox remove` of the last mailbox of such a grant does the same.
 */
import type { App } from '../../compose/compose.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { Revocation } from '../../oauth/revocation.ts';
import { asRunHere } from '../../text/program-name.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import { countText } from '../../text/units.ts';
import { type CommonOptions, type Context, withApp } from '../context.ts';
import { isConfirmed, nothingChanged, printResult } from '../output.ts';

export type RevokeOptions = CommonOptions & {
  readonly name: string;
  readonly yes?: boolean;
  readonly force?: boolean;
};

/** Throws `not_found`, `refused`, `usage`, `oauth_*`, `token_*`, `key_*`. */
export async function revokeGrant(options: RevokeOptions, context: Context): Promise<number> {
  const { name } = options;
  return await withApp(options, context, async (app) => {
    const grant = await app.store.grantByName(name);
    if (grant === null) throw noGrant(name, app);
    const mailboxes = await app.store.mailboxesOfGrant(name);
    const stopped =
      mailboxes.length === 0 ? '' : ` ${countText(mailboxes.length, 'mailbox', 'mailboxes')} with it stop.`;
    if (!(await isConfirmed(options, context, `Revoke grant ${name}?${stopped}`))) return nothingChanged(context);
    // Asks for the passphrase of the key file first.
    if (grant.flow === 'person') await app.vault.refresh();
    const revocation = await app.oauth.revocations.revoke(name, app.actor, options.force === true);
    const { atProvider, here } = revocation;
    await printResult(
      options,
      context,
      { grant: name, provider: grant.provider, at_provider: atProvider, here, mailboxes },
      revokedLines(name, mailboxes, revocation),
    );
    return 0;
  });
}

function noGrant(name: string, { oauth }: App): Failure {
  const isProvider = oauth.providers().some((one) => one.name === name);
  return new Failure('not_found', `there is no grant named ${JSON.stringify(name)}`, {
    fields: { grant: name },
    hint: isProvider
      ? 'That is a provider. ticketmaild oauth list shows the grants.'
      : 'ticketmaild oauth list shows them.',
  });
}

function revokedLines(name: string, mailboxes: readonly string[], { provider, atProvider, here }: Revocation) {
  const end = endByHand(provider);
  const lines = {
    revoked: `revoked ${name} at its provider`,
    no_token: `${name} had no token to revoke`,
    unsupported: `${name}: this provider cannot be asked to revoke it. To end it there: ${end}`,
    failed: `${name} was not revoked at its provider. To end it there: ${end}`,
  };
  if (here === 'removed') return [lines[atProvider], `removed grant ${name}`];
  const again = mailboxes.map((one) => asRunHere(commandOrNotice(shellCommand('mailbox authorize', one))));
  return [lines[atProvider], `its mailboxes need consent: ${mailboxes.join(', ')}`, `to sign in again: ${again[0]}`];
}

/** Where a person or an administrator ends a grant. */
function endByHand(provider: OAuthProvider | null): string {
  switch (provider?.kind) {
    case 'microsoft':
      return 'in Entra, Users, this user, Revoke sessions; or the person, at https://myapps.microsoft.com.';
    case 'google':
      return 'the person, at https://myaccount.google.com/connections.';
    case 'yahoo':
      return 'the person, in the security settings of the Yahoo account.';
    default:
      return 'in the account of the person at the provider, or its administration.';
  }
}

/**
 * After the removal of a mailbox: revokes a person's grant that no other one uses, and says so. What fails is only
 * noted, since the mailbox is removed.
 */
export async function revokeUnusedGrant(app: App, name: string, { terminal }: Context): Promise<void> {
  const grant = await app.store.grantByName(name);
  if (grant?.flow !== 'person' || (await app.store.mailboxesOfGrant(name)).length > 0) return;
  try {
    await app.vault.refresh();
    const revocation = await app.oauth.revocations.revoke(name, app.actor, false);
    for (const line of revokedLines(name, [], revocation)) await terminal.line(line);
  } catch (error) {
    if (!isFailure(error)) throw error;
    const command = commandOrNotice(shellCommand('oauth revoke', name));
    terminal.note(`note: grant ${name}, which no mailbox uses any more, stays: ${error.message}`, 'yellow');
    terminal.advice(`To revoke it: ${command}`);
  }
}
