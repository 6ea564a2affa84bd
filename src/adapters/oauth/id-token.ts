/**
 * Claims of an id token (OpenID Connect Core section 2) that came straight from the token endpoint: who signed in.
 *
 * TLS to the endpoint stands for the signature (section 3.1.3.7); audience and issuer are compared. Microsoft's `email`
 * is a text that the account's owner chooses, and an unverified address of others too: both are left out.
 */
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { asciiLowerCase } from '../../oauth/permission.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';

type Claims = Readonly<Record<string, unknown>>;

const accountLettersMax = 320;

/** ASCII letters in lower case; null: the token does not say, or is for another client or of another issuer. */
export function accountOf(provider: OAuthProvider, idToken: SecretBytes, issuer: string | null): string | null {
  const claims = idToken.use(claimsOf);
  if (claims === null || ![claims['aud']].flat().includes(provider.clientId)) return null;
  if (issuer !== null && claims['iss'] !== issuer) return null;
  const name = nameOf(claims, provider.kind);
  return name === null ? null : asciiLowerCase(name);
}

function nameOf(claims: Claims, kind: OAuthProvider['kind']): string | null {
  const user = readableText(claims['preferred_username']);
  if (kind === 'microsoft') return user;
  const email = readableText(claims['email']);
  // A name that its owner chooses is not above an address that the provider verified.
  if (email !== null && claims['email_verified'] === true) return email;
  if (user?.includes('@') === true) return user;
  return claims['email_verified'] === undefined ? (email ?? user) : user;
}

function readableText(value: unknown): string | null {
  return typeof value === 'string' && value.length <= accountLettersMax && /^[^\p{C}\p{Z}]+$/u.test(value)
    ? value
    : null;
}

function claimsOf(bytes: Uint8Array): Claims | null {
  const [, payload = ''] = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('latin1').split('.');
  try {
    const value: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString());
    return typeof value === 'object' && value !== null ? (value as Claims) : null;
  } catch {
    return null;
  }
}
