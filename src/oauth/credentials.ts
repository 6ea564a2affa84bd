/**
 * Credential access: the password of a mailbox, or an access token of its grant, lent to one login and wiped.
 *
 * For a token, user and mail server are checked against the configuration first; then neither the provider is asked nor
 * a token opened in vain. One that the server refuses although it is good by the clock is replaced once.
 */
import type { OAuthProvider } from '../config/oauth-provider.ts';
import type { PasswordAccess } from '../encryption/passwords.ts';
import { Failure, isFailure } from '../errors.ts';
import type { Connection, Mailbox } from '../ingest/model.ts';
import type { Credential, Credentials } from '../ingest/ports.ts';
import { withMailboxName } from '../text/hints.ts';
import { type GrantDirectory, providerOfGrant } from './grant-directory.ts';
import type { Grant } from './model.ts';
import { checkUserListed, tokenConnection } from './permission.ts';
import type { AccessToken, Renewals } from './renewal.ts';

type CredentialParts = {
  readonly passwords: PasswordAccess;
  readonly grants: GrantDirectory;
  readonly renewals: Pick<Renewals, 'accessFor'>;
};

export function createCredentials({ passwords, grants, renewals }: CredentialParts): Credentials {
  /** Mailboxes that the server refused with a new token too: another one would not help. */
  const refused = new Set<string>();
  return {
    withCredential: async (mailbox, use) => {
      if (mailbox.grant === null)
        return await passwords.withPassword(mailbox, (secret) => use({ kind: 'password', secret }, mailbox.connection));
      try {
        const login = await tokenLogin(mailbox, mailbox.grant, grants);
        const isFirst = !refused.has(mailbox.id);
        const result = await loginWithToken(login, isFirst, renewals, use);
        refused.delete(mailbox.id);
        return result;
      } catch (error) {
        if (isFailure(error, 'login_refused')) refused.add(mailbox.id);
        throw isFailure(error, 'oauth_needs_consent') ? withCommand(error, mailbox) : error;
      }
    },
    keyIds: () => passwords.keyIds(),
  };
}

type TokenLogin = {
  readonly grant: Grant;
  readonly provider: OAuthProvider;
  readonly user: string;
  readonly connection: Connection;
};

/** What the configuration allows, before anything is asked of the provider. */
async function tokenLogin({ connection }: Mailbox, name: string, grants: GrantDirectory): Promise<TokenLogin> {
  const { grant, provider } = await providerOfGrant(name, grants);
  const { user } = connection;
  checkUserListed(user, provider, grant.account);
  return { grant, provider, user, connection: tokenConnection(connection, provider) };
}

type Use<T> = (credential: Credential, connection: Connection) => Promise<T>;

/** A token that is good by the clock may have been revoked: a refused one is replaced once. */
async function loginWithToken<T>(
  { grant, provider, user, connection }: TokenLogin,
  mayReplace: boolean,
  renewals: Pick<Renewals, 'accessFor'>,
  use: Use<T>,
): Promise<T> {
  const lend = async ({ secret, remainingMs }: AccessToken): Promise<T> =>
    await use({ kind: 'token', secret, sessionMs: provider.sessionEndsWithToken ? remainingMs : null }, connection);
  const token = await renewals.accessFor(grant, provider, user);
  using secret = token.secret;
  try {
    return await lend(token);
  } catch (error) {
    if (!mayReplace || token.isNew || !isFailure(error, 'login_refused')) throw error;
    const other = await replacement(() => renewals.accessFor(grant, provider, user, secret));
    if (other === null) throw error;
    using _second = other.secret;
    return await lend(other);
  }
}

/** null: none can be had now, so that the refusal of the mail server is the failure. */
async function replacement(obtain: () => Promise<AccessToken>): Promise<AccessToken | null> {
  try {
    return await obtain();
  } catch (error) {
    if (isFailure(error, 'oauth_needs_consent')) throw error;
    if (isFailure(error)) return null;
    throw error;
  }
}

/** The hint with the name of the mailbox in its command. */
function withCommand({ code, message, fields, hint, cause }: Failure, { name }: Mailbox): Failure {
  return new Failure(code, message, { fields, hint: withMailboxName(hint, name), cause });
}
