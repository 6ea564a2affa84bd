/**
 * Grant lookup: the grant that a mailbox names, with its provider in the configuration.
 *
 * Its flow is that of the configuration, never the cell of the table. An application or a service account has one
 * grant, named as the provider, which is created on first use.
 */
import type { Clock } from '../async/clock.ts';
import type { OAuthProvider } from '../config/oauth-provider.ts';
import { Failure } from '../errors.ts';
import { printableLine } from '../text/printable.ts';
import type { Grant } from './model.ts';
import type { GrantStore } from './ports.ts';

export type GrantDirectory = {
  readonly store: Pick<GrantStore, 'grantByName' | 'ensureGrant'>;
  /** In force now; a reload changes them. */
  readonly providers: () => readonly OAuthProvider[];
};

const recentMs = 1000;

export type ProvidedGrant = { readonly grant: Grant; readonly provider: OAuthProvider };

/** Throws `oauth_provider_unknown`; `oauth_needs_consent` for a person's grant that does not exist yet. */
export async function providerOfGrant(name: string, { store, providers }: GrantDirectory): Promise<ProvidedGrant> {
  const grant = await store.grantByName(name);
  const provider = configuredProvider(name, grant, providers());
  if (provider === null)
    throw unknownProvider(
      name,
      grant,
      providers().some((one) => one.name === name),
    );
  if (grant?.provider === provider.name && grant.flow === provider.flow) return { grant, provider };
  return { grant: await store.ensureGrant(name, provider), provider };
}

/** Provider of the grant of that name, whose row may not exist yet; null: the configuration has none. */
export function configuredProvider(
  name: string,
  grant: Pick<Grant, 'provider'> | null,
  providers: readonly OAuthProvider[],
): OAuthProvider | null {
  const ofName = providers.find((one) => one.name === name && one.flow !== 'person');
  return ofName ?? providers.find((one) => one.name === grant?.provider) ?? null;
}

function unknownProvider(name: string, grant: Grant | null, isOfPersons: boolean): Failure {
  const shown = printableLine(name);
  if (grant !== null)
    return new Failure(
      'oauth_provider_unknown',
      `grant ${shown} is one of provider ${printableLine(grant.provider)}, which the configuration does not name`,
    );
  if (isOfPersons) return new Failure('oauth_needs_consent', `no person has signed in yet for grant ${shown}`);
  return new Failure('oauth_provider_unknown', `there is no grant and no provider named ${shown}`);
}

/**
 * Short-lived cache: thousands of mailboxes share the grant of an application, and each poll needs it. One that is
 * ready is read once a second at most; grants of persons, and those in trouble, each time. A renewal reads the grant
 * again under its claim, so that what another worker found out meanwhile counts there.
 */
export function recentGrants(
  { grantByName, ensureGrant }: GrantDirectory['store'],
  { monotonicMs }: Pick<Clock, 'monotonicMs'>,
): GrantDirectory['store'] {
  const recent = new Map<string, { readonly grant: Grant; readonly untilMs: number }>();
  return {
    grantByName: async (name) => {
      const known = recent.get(name);
      if (known !== undefined && monotonicMs() < known.untilMs) return known.grant;
      recent.delete(name);
      const grant = await grantByName(name);
      if (grant?.state === 'ready' && grant.flow !== 'person')
        recent.set(name, { grant, untilMs: monotonicMs() + recentMs });
      return grant;
    },
    ensureGrant: async (name, provider) => {
      recent.delete(name);
      return await ensureGrant(name, provider);
    },
  };
}
