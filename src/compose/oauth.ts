/**
 * OAuth 2, composed: providers of the configuration, grants and tokens in the database, client of the endpoints.
 *
 * The client is loaded on first use: without a grant nothing asks a provider. Disposing stores what was just issued.
 */
import { randomUUID } from 'node:crypto';
import type { Database } from '../adapters/database/database.ts';
import type { RedirectListener } from '../adapters/http/redirect-listener.ts';
import type { Clock } from '../async/clock.ts';
import type { OAuthProvider } from '../config/oauth-provider.ts';
import type { PasswordAccess } from '../encryption/passwords.ts';
import type { TokenSealing } from '../encryption/tokens.ts';
import type { FailureCode } from '../errors.ts';
import type { Log } from '../events.ts';
import type { AuditActor } from '../ingest/model.ts';
import type { Credentials, WorkerIdentity } from '../ingest/ports.ts';
import type { Readiness } from '../ingest/readiness.ts';
import { type Consents, createConsents } from '../oauth/consent.ts';
import { createCredentials } from '../oauth/credentials.ts';
import { recentGrants } from '../oauth/grant-directory.ts';
import { createGrantFailures, type GrantFailurePorts } from '../oauth/grant-failures.ts';
import type { ProviderClient } from '../oauth/ports.ts';
import { createProviderCircuits } from '../oauth/provider-circuits.ts';
import { createRenewals } from '../oauth/renewal.ts';
import { createRevocations, type Revocations } from '../oauth/revocation.ts';

type CountRenewal = GrantFailurePorts['count'];

export type OAuth = AsyncDisposable & {
  readonly credentials: Credentials;
  readonly client: ProviderClient;
  /** Sign-ins of persons. */
  readonly consents: Consents;
  readonly revocations: Revocations;
  /** Takes the answer of a browser on this machine; `port` 0: any free one. */
  listenForRedirect(port: number): Promise<RedirectListener>;
  /** In force now; a reload changes them. */
  readonly providers: () => readonly OAuthProvider[];
  /** Reads the credential of a provider once, as a token request does. Throws `oauth_provider_failed`. */
  checkCredential(provider: OAuthProvider): Promise<void>;
  /** After a reload: every provider and every refused grant is tried at once. */
  reset(): void;
  /** For `/readyz`. */
  check(hasDatabase: boolean): Promise<Readiness['checks']['oauth']>;
  /** Renews tokens ahead of their end until the result is disposed. */
  startRenewals(isMigrated: () => boolean, count: CountRenewal): Promise<AsyncDisposable>;
};

type OAuthParts = {
  /** In force now; a reload changes them. */
  readonly providers: () => readonly OAuthProvider[];
  readonly store: Database;
  readonly passwords: PasswordAccess;
  readonly tokens: TokenSealing;
  readonly clock: Clock;
  readonly log: Log;
  readonly worker: WorkerIdentity;
  readonly actor: AuditActor;
};

/** A mailbox that failed so is due when a provider works again. */
const providerCodes: readonly FailureCode[] = ['oauth_provider_failed', 'oauth_provider_refused'];
/** A reload may have corrected these. */
const configurationCodes: readonly FailureCode[] = [
  ...providerCodes,
  'oauth_provider_unknown',
  'oauth_mailbox_not_listed',
  'token_bound_elsewhere',
];

export function composeOAuth(parts: OAuthParts): OAuth {
  const { providers, store, clock, log, worker } = parts;
  const client = clientOnDemand(clock);
  // Without the database every mailbox is due anyway when it is back.
  const makeDue = (codes: readonly FailureCode[]) => void store.makeDue(codes).catch(() => undefined);
  const circuits = createProviderCircuits({ clock, log, random: Math.random, onClosed: () => makeDue(providerCodes) });
  const actor = { ...parts.actor, who: `ticketmaild@${parts.actor.host}` };
  let countRenewal: CountRenewal = () => undefined;
  const count: CountRenewal = (provider, result) => countRenewal(provider, result);
  const failures = createGrantFailures({ store, log, actor, count });
  const renewals = createRenewals({
    store,
    sealing: parts.tokens,
    client,
    circuits,
    failures,
    clock,
    owner: worker.name,
  });
  const grants = { store, providers };
  const ofLogins = { store: recentGrants(store, clock), providers };
  return {
    credentials: createCredentials({ passwords: parts.passwords, grants: ofLogins, renewals }),
    client,
    consents: createConsents({ store, sealing: parts.tokens, client, clock, newId: randomUUID }),
    revocations: createRevocations({ store, sealing: parts.tokens, client, providers }),
    listenForRedirect: async (port) => {
      const { listenForRedirect } = await import('../adapters/http/redirect-listener.ts');
      return await listenForRedirect(port);
    },
    providers,
    checkCredential: async (provider) => {
      const { checkCredentialFiles } = await import('../adapters/oauth/credential-files.ts');
      await checkCredentialFiles(provider);
    },
    reset: () => {
      circuits.reset();
      failures
        .retryRefused()
        .then(() => store.makeDue(configurationCodes))
        .catch(() => undefined);
    },
    check: async (hasDatabase) => {
      const { oauthCheck } = await import('../oauth/readiness-check.ts');
      return await oauthCheck({ providers, circuits, store, clock }, hasDatabase);
    },
    startRenewals: async (isReady, counter) => {
      countRenewal = counter;
      const { startRenewalLoop } = await import('../oauth/renewal-loop.ts');
      return startRenewalLoop({
        store,
        grants,
        renewals,
        circuits,
        clock,
        log,
        isReady,
        prepare: failures.retryRefused,
      });
    },
    [Symbol.asyncDispose]: () => renewals[Symbol.asyncDispose](),
  };
}

/** Loads the client on first use: most commands and polls ask no provider. */
function clientOnDemand(clock: Clock): ProviderClient {
  let loading: Promise<ProviderClient> | null = null;
  const loaded = () => {
    loading ??= import('../adapters/oauth/client.ts').then(({ createProviderClient }) =>
      createProviderClient({ clock }),
    );
    return loading;
  };
  return {
    requestToken: async (...args) => await (await loaded()).requestToken(...args),
    authorize: async (...args) => await (await loaded()).authorize(...args),
    startDevice: async (...args) => await (await loaded()).startDevice(...args),
    revoke: async (...args) => await (await loaded()).revoke(...args),
    probe: async (...args) => await (await loaded()).probe(...args),
  };
}
