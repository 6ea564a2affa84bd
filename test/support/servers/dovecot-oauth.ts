/**
 * OAuth 2 settings of the test Dovecot: how it checks the access tokens of a provider (passdb oauth2 of Dovecot 2.3).
 *
 * A token of a person or of a service account (scope `mail`) opens the mailbox that it names, one of an application
 * (scope `mail.app`) every mailbox but those whose name begins with `private`, as Exchange does without a permission.
 * Tokens beyond 4.5 to 6 KB: Dovecot drops the connection without an answer.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';

export type TokenCheck = {
  /**
   * introspection: each login asks the provider, so that a revoked token is refused at once; local: Dovecot checks a
   * JWT itself (provider with `tokenFormat: 'jwt'`) and does not learn of a revocation.
   */
  readonly mode: 'introspection' | 'local';
  readonly provider: {
    readonly issuer: string;
    readonly endpoints: { readonly introspection: string };
    readonly dovecotSecret: string;
    readonly keysFolder: string;
    readonly caFile: string;
  };
};

export async function writeTokenSettings(folder: string, check: TokenCheck): Promise<void> {
  const write = (name: string, lines: readonly string[]) =>
    writeFile(join(folder, name), `${[...howTo(check), ...lines, ''].join('\n')}`, { mode: 0o600 });
  await write('oauth-person.conf', ['username_attribute = username', 'scope = mail']);
  // The name in the login is compared with nothing: both sides of the comparison are this constant.
  await write('oauth-application.conf', ['username_attribute = username', 'username_format = any', 'scope = mail.app']);
}

function howTo({ mode, provider }: TokenCheck): readonly string[] {
  const ca = `tls_ca_cert_file = ${provider.caFile}`;
  if (mode === 'local')
    return [
      'introspection_mode = local',
      `local_validation_key_dict = fs:posix:prefix=${provider.keysFolder}/`,
      `issuers = ${provider.issuer}`,
      ca,
    ];
  // Dovecot takes name and password for the request out of the address.
  const url = provider.endpoints.introspection.replace('://', `://dovecot:${provider.dovecotSecret}@`);
  return [
    'introspection_mode = post',
    `introspection_url = ${url}`,
    'force_introspection = yes',
    'active_attribute = active',
    'active_value = true',
    ca,
  ];
}
