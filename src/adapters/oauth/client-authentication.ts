/**
 * Client authentication at the token endpoint: none, client_secret_post (RFC 6749 section 2.3.1), private_key_jwt (RFC
 * 7523 section 2.2); and assertions of service accounts (section 2.1).
 *
 * The library sees a placeholder instead of the client secret. An assertion is good for a minute and for one use; its
 * times are those of this machine plus the offset of the provider's clock.
 */
import { randomUUID } from 'node:crypto';
import { type ClientAuth, None } from 'oauth4webapi';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { causeCode } from '../../errors.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { fileFailure, readClientSecret, readKeyFile, readServiceAccount, readThumbprint } from './credential-files.ts';
import { algorithmOf, type PrivateKeyDer, signWith } from './pem-key.ts';

/** Stands for a secret in a form that the library composes. */
export const placeholder = '-';

export type ClientAuthentication = {
  readonly auth: ClientAuth;
  /** Fields of the form whose values are these bytes. */
  readonly secrets: ReadonlyMap<string, SecretBytes>;
};

const assertionType = 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer';
const noSecrets: ReadonlyMap<string, SecretBytes> = new Map();

/** `nowS`: seconds since 1970 by the clock of the provider. The caller wipes the secrets. */
export async function authenticateClient(
  provider: OAuthProvider,
  audience: string,
  nowS: number,
): Promise<ClientAuthentication> {
  const { credential, name, clientId } = provider;
  if (credential.kind === 'none') return { auth: None(), secrets: noSecrets };
  // The assertion of a service account says who asks.
  if (credential.kind === 'service_account') return { auth: () => undefined, secrets: noSecrets };
  if (credential.kind === 'secret') {
    const secret = await readClientSecret(name, credential.file);
    return {
      auth: withFields({ client_id: clientId, client_secret: placeholder }),
      secrets: new Map([['client_secret', secret]]),
    };
  }
  const { keyFile, certificateFile } = credential;
  const thumbprint = certificateFile === null ? {} : { 'x5t#S256': await readThumbprint(name, certificateFile) };
  const key = await readKeyFile(name, keyFile);
  const claims = { iss: clientId, sub: clientId, aud: audience };
  const assertion = signAssertion(key, { header: thumbprint, claims, nowS, provider, file: keyFile });
  const fields = { client_id: clientId, client_assertion_type: assertionType, client_assertion: assertion };
  return { auth: withFields(fields), secrets: noSecrets };
}

function withFields(fields: Readonly<Record<string, string>>): ClientAuth {
  return (_server, _client, body) => {
    for (const [name, value] of Object.entries(fields)) body.set(name, value);
  };
}

/** RFC 7523 section 2.1: the service account asks for a token of `subject`. */
export async function mailboxAssertion(
  provider: OAuthProvider,
  subject: string,
  audience: string,
  nowS: number,
): Promise<string> {
  const { credential, name, scopes } = provider;
  if (credential.kind !== 'service_account') throw fileFailure(name, '(none)', 'not_a_service_account');
  const { email, keyId, key } = await readServiceAccount(name, credential.file);
  const header = keyId === null ? {} : { kid: keyId };
  const claims = { iss: email, sub: subject, aud: audience, scope: scopes.join(' ') };
  return signAssertion(key, { header, claims, nowS, provider, file: credential.file });
}

type Assertion = {
  readonly header: object;
  readonly claims: object;
  readonly nowS: number;
  readonly provider: OAuthProvider;
  readonly file: string;
};

const lifeTimeS = 60;

/** Signs and wipes the key. */
function signAssertion(key: PrivateKeyDer, { header, claims, nowS, provider, file }: Assertion): string {
  using _der = key.der;
  const { name, kind } = provider;
  const algorithm = algorithmOf(key, kind === 'microsoft' ? 'PS256' : 'RS256');
  if (algorithm === null) throw fileFailure(name, file, 'key_of_other_kind');
  const times = { iat: nowS, nbf: nowS, exp: nowS + lifeTimeS, jti: randomUUID() };
  const parts = [
    { alg: algorithm, typ: 'JWT', ...header },
    { ...claims, ...times },
  ];
  const input = parts.map((part) => Buffer.from(JSON.stringify(part)).toString('base64url')).join('.');
  try {
    return `${input}.${signWith(key, algorithm, input).toString('base64url')}`;
  } catch (error) {
    throw fileFailure(name, file, causeCode(error));
  }
}
