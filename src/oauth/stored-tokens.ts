/**
 * Reading of stored tokens: each is opened in the context that its grant and the configuration require, or not at all.
 */
import { type OAuthProvider, providerBinding } from '../config/oauth-provider.ts';
import type { TokenReading, TokenSealing } from '../encryption/tokens.ts';
import { Failure, isFailure } from '../errors.ts';
import type { TokenContext } from '../secret/sealed-token.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import type { AccessUse, Grant } from './model.ts';
import type { GrantStore } from './ports.ts';

/** One access token of a grant. */
export type TokenTarget = { readonly grant: Grant; readonly provider: OAuthProvider; readonly use: AccessUse };

export type StoredTokenPorts = {
  readonly store: Pick<GrantStore, 'readAccess' | 'readRefresh'>;
  readonly sealing: TokenSealing;
};

/** A stored access token; `secret` null: there is none for this use. The receiver wipes it. */
export type OpenedAccess = {
  readonly secret: SecretBytes | null;
  readonly remainingMs: number;
  readonly renewInMs: number;
};

export function targetOf(grant: Grant, provider: OAuthProvider, username: string): TokenTarget {
  const use = { grantId: grant.id, username: provider.flow === 'service_account' ? username : '' };
  return { grant, provider, use };
}

export function useKey({ grantId, username }: AccessUse): string {
  return `${grantId} ${username}`;
}

export function contextOf({ grant, provider, use }: TokenTarget, kind: TokenContext['kind']): TokenContext {
  const { account } = grant;
  const username = kind === 'access' ? use.username : '';
  return { grantId: grant.id, binding: providerBinding(provider), account, kind, username };
}

/** Throws `key_*`, `database_*`. */
export async function openAccess(target: TokenTarget, { store, sealing }: StoredTokenPorts): Promise<OpenedAccess> {
  let times = { remainingMs: 0, renewInMs: 0 };
  const read = async () => {
    const stored = await store.readAccess(target.use);
    times = { remainingMs: stored?.remainingMs ?? 0, renewInMs: stored?.renewInMs ?? 0 };
    return stored;
  };
  try {
    const secret = await openStoredToken(read, contextOf(target, 'access'), sealing);
    return { secret, ...times };
  } catch (error) {
    // Modified, or of a provider that was configured otherwise: another one is requested.
    if (!isFailure(error, 'token_damaged', 'token_bound_elsewhere')) throw error;
    return { secret: null, ...times };
  }
}

/**
 * Reads and opens; null without one. A rotation may reseal the row and remove the former key between the two: where no
 * open key fits, the row is read once more.
 */
export async function openStoredToken(
  read: () => Promise<TokenReading | null>,
  context: TokenContext,
  sealing: Pick<TokenSealing, 'open'>,
): Promise<SecretBytes | null> {
  const stored = await read();
  if (stored === null) return null;
  try {
    return await sealing.open(stored, context);
  } catch (error) {
    if (!isFailure(error, 'key_unknown')) throw error;
  }
  const again = await read();
  return again === null ? null : await sealing.open(again, context);
}

/** Throws `oauth_needs_consent` without one, `token_*`, `key_*`, `database_*`. */
export async function openRefresh(target: TokenTarget, { store, sealing }: StoredTokenPorts): Promise<SecretBytes> {
  const read = () => store.readRefresh(target.grant.id);
  const token = await openStoredToken(read, contextOf(target, 'refresh'), sealing);
  if (token !== null) return token;
  throw new Failure(
    'oauth_needs_consent',
    `grant ${target.grant.name} has no refresh token: no person has signed in yet`,
  );
}
