/**
 * Token revocation (RFC 7009): a person's grant is ended at its provider, then in the database.
 *
 * A grant that no mailbox uses is removed. One that mailboxes use stays without tokens and needs consent, so that they
 * show why they stopped, and which command mends it. What cannot be revoked at the provider stays as it is, unless that
 * is forced: a grant that is only forgotten here is good at the provider for anyone who copied the token.
 */
import type { OAuthProvider } from '../config/oauth-provider.ts';
import type { TokenSealing } from '../encryption/tokens.ts';
import { asFailure, Failure, isFailure } from '../errors.ts';
import type { AuditActor } from '../ingest/model.ts';
import { printableLine } from '../text/printable.ts';
import type { Grant } from './model.ts';
import type { GrantStore, ProviderClient } from './ports.ts';
import { openRefresh, targetOf } from './stored-tokens.ts';

export type Revocation = {
  /** null: the configuration does not have it. */
  readonly provider: OAuthProvider | null;
  /** `unsupported`: the provider has no endpoint for it; `no_token`: there was none to revoke. */
  readonly atProvider: 'revoked' | 'unsupported' | 'no_token' | 'failed';
  readonly here: 'removed' | 'needs_consent';
};

export interface Revocations {
  /**
   * Throws `not_found`, and unless it is forced `oauth_*`, `token_*`, `key_*`: nothing is changed then. Throws
   * `refused` for an application or a service account whose grant a mailbox uses.
   */
  revoke(name: string, by: AuditActor, isForced: boolean): Promise<Revocation>;
}

export type RevocationPorts = {
  readonly store: Pick<GrantStore, 'grantByName' | 'readRefresh' | 'readAccess' | 'revokeGrant' | 'removeGrant'>;
  readonly sealing: TokenSealing;
  readonly client: Pick<ProviderClient, 'revoke'>;
  readonly providers: () => readonly OAuthProvider[];
};

export function createRevocations(ports: RevocationPorts): Revocations {
  const { store } = ports;
  return {
    revoke: async (name, by, isForced) => {
      const grant = await store.grantByName(name);
      if (grant === null) throw new Failure('not_found', `There is no grant named ${JSON.stringify(name)}.`);
      const provider = ports.providers().find((one) => one.name === grant.provider) ?? null;
      if (grant.flow !== 'person') {
        await store.removeGrant(name, by);
        return { provider, atProvider: 'no_token', here: 'removed' };
      }
      const atProvider = await revokeAtProvider(grant, provider, ports).catch((error) => {
        if (!isForced) throw unchanged(asFailure(error));
        return 'failed' as const;
      });
      return { provider, atProvider, here: await store.revokeGrant(name, by) };
    },
  };
}

const deadlineMs = 20_000;

async function revokeAtProvider(
  grant: Grant,
  provider: OAuthProvider | null,
  { store, sealing, client }: RevocationPorts,
): Promise<'revoked' | 'unsupported' | 'no_token'> {
  if (provider === null)
    throw new Failure('oauth_provider_unknown', `the configuration has no provider ${printableLine(grant.provider)}`);
  try {
    using token = await openRefresh(targetOf(grant, provider, ''), { store, sealing });
    return (await client.revoke(provider, token, AbortSignal.timeout(deadlineMs))) ? 'revoked' : 'unsupported';
  } catch (error) {
    if (isFailure(error, 'oauth_needs_consent')) return 'no_token';
    throw error;
  }
}

function unchanged({ code, message, fields, hint, cause }: Failure): Failure {
  return new Failure(code, `the grant was not revoked at its provider: ${message}`, {
    ...{ fields, cause },
    hint: `${hint} Nothing was changed. To remove it here all the same, and end it at the provider by hand, add --force.`,
  });
}
