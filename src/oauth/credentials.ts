/** Credential access: the password of a mailbox, or an access token of its grant, lent to one login. */
import type { PasswordAccess } from '../encryption/passwords.ts';
import { Failure } from '../errors.ts';
import type { Credentials } from '../ingest/ports.ts';

type CredentialParts = { readonly passwords: PasswordAccess };

export function createCredentials({ passwords }: CredentialParts): Credentials {
  return {
    withCredential: async (mailbox, use) => {
      if (mailbox.grant !== null) throw new Failure('oauth_provider_unknown', `grant ${mailbox.grant} has no provider`);
      return await passwords.withPassword(mailbox, (secret) => use({ kind: 'password', secret }, mailbox.connection));
    },
    keyIds: () => passwords.keyIds(),
  };
}
