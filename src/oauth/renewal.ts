/**
 * Token renewal under a lease (RFC 6749 section 6): single-flight in the process, a claim with fencing in the database.
 *
 * A stored token is used while it is good. Else one worker claims the renewal, marks the grant, asks the provider and
 * stores the answer; the others wait for what it stores. The claim outlives the request, so that no refresh token is
 * used twice, which a provider with rotation takes for theft (RFC 9700 section 4.14.2). Durations are by the monotonic
 * clock, times by that of the database; margins scale with the life time of a token.
 */
import type { Clock } from '../async/clock.ts';
import type { OAuthProvider } from '../config/oauth-provider.ts';
import type { TokenSealing } from '../encryption/tokens.ts';
import { asFailure, Failure, isFailure } from '../errors.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import { checkConsented, type GrantFailures, releaseQuietly } from './grant-failures.ts';
import type { Grant } from './model.ts';
import type { GrantStore, ProviderClient, RenewalClaim, TokenAnswer, TokenRequest } from './ports.ts';
import type { ProviderAttempt, ProviderCircuits } from './provider-circuits.ts';
import { createRenewalCommits, type RenewalCommits } from './renewal-commits.ts';
import { type OpenedAccess, openAccess, openRefresh, type TokenTarget, targetOf, useKey } from './stored-tokens.ts';

/**
 * An access token for one login; the receiver wipes it. `isNew`: this process obtained it within the last minute, or a
 * quarter of a shorter life time, so that it cannot have ended on the way to the mail server.
 */
export type AccessToken = { readonly secret: SecretBytes; readonly remainingMs: number; readonly isNew: boolean };

export interface Renewals extends AsyncDisposable {
  /**
   * A token that is good for a login, renewed where needed. `refused`: the mail server refused this one, so that
   * another is stored, or requested now. Throws `oauth_*`, `key_*`, `token_damaged`, `database_*`, `interrupted`.
   */
  accessFor(grant: Grant, provider: OAuthProvider, username: string, refused?: SecretBytes): Promise<AccessToken>;
  /** Renews a token whose renewal is due, unless that was done meanwhile. Throws as `accessFor` does. */
  renewDue(grant: Grant, provider: OAuthProvider, username: string): Promise<void>;
}

export type RenewalPorts = {
  readonly store: GrantStore;
  readonly sealing: TokenSealing;
  readonly client: Pick<ProviderClient, 'requestToken'>;
  readonly circuits: ProviderCircuits;
  readonly failures: GrantFailures;
  readonly clock: Clock;
  readonly owner: string;
};

/** A stored token that is good for longer is used, whether its renewal is due or not. */
const goodMs = 120_000;
/** A login takes that long. */
const loginMs = 2000;
/** The request has a deadline below the claim. */
const requestMsMax = 20_000;
const claimMs = 45_000;
/** A worker that died holds its claim until it expires. */
const patienceMs = 60_000;
const pollMsMin = 50;
const pollMsMax = 1000;
const newMsMax = 60_000;

/** `remainingMs`: of the stored token. */
type RenewalTarget = TokenTarget & { readonly remainingMs: number };

type RenewalParts = RenewalPorts & {
  readonly commits: RenewalCommits;
  readonly stopped: AbortSignal;
  /** Until when a token of this process is new, by use, on the monotonic clock. */
  readonly newUntil: Map<string, number>;
};

/** Disposing waits for requests in progress and for what is not stored yet, each for some seconds. */
export function createRenewals(ports: RenewalPorts): Renewals {
  const { clock } = ports;
  const stopping = new AbortController();
  const commits = createRenewalCommits({ ...ports, claimMs });
  const parts: RenewalParts = { ...ports, commits, stopped: stopping.signal, newUntil: new Map() };
  const inFlight = new Map<string, Promise<void>>();
  const renew = (target: TokenTarget, remainingMs: number): Promise<void> => {
    const key = useKey(target.use);
    const running = inFlight.get(key);
    if (running !== undefined) return running;
    const run = renewOnce(target, remainingMs, parts).finally(() => inFlight.delete(key));
    inFlight.set(key, run);
    return run;
  };
  const lend = (target: TokenTarget, secret: SecretBytes, remainingMs: number): AccessToken => {
    const newUntilMs = parts.newUntil.get(useKey(target.use)) ?? Number.NEGATIVE_INFINITY;
    return { secret, remainingMs, isNew: clock.monotonicMs() < newUntilMs };
  };
  return {
    accessFor: async (grant, provider, username, refused) => {
      checkConsented(grant);
      const target = targetOf(grant, provider, username);
      const stored = await openAccess(target, ports);
      if (stored.secret !== null && isUsable(stored, stored.secret, refused))
        return lend(target, stored.secret, stored.remainingMs);
      try {
        ports.failures.checkAskable(grant);
        await renew(target, stored.remainingMs);
      } catch (error) {
        const { secret, remainingMs } = stored;
        if (
          secret !== null &&
          refused === undefined &&
          remainingMs > loginMs &&
          !isFailure(error, 'oauth_needs_consent')
        )
          return lend(target, secret, remainingMs);
        secret?.wipe();
        throw error;
      }
      stored.secret?.wipe();
      const renewed = await openAccess(target, ports);
      if (renewed.secret !== null && renewed.remainingMs > 0) return lend(target, renewed.secret, renewed.remainingMs);
      renewed.secret?.wipe();
      throw new Failure('oauth_provider_failed', `the access token of grant ${grant.name} ended at once`);
    },
    renewDue: async (grant, provider, username) => {
      ports.failures.checkAskable(grant);
      const target = targetOf(grant, provider, username);
      const stored = await openAccess(target, ports);
      stored.secret?.wipe();
      if (stored.secret === null || stored.renewInMs <= 0) await renew(target, stored.remainingMs);
    },
    [Symbol.asyncDispose]: async () => {
      stopping.abort();
      await Promise.allSettled(inFlight.values());
      await commits[Symbol.asyncDispose]();
    },
  };
}

/** A token of 20 s, say, is used until its renewal is due. */
function isUsable({ remainingMs, renewInMs }: OpenedAccess, secret: SecretBytes, refused?: SecretBytes): boolean {
  if (refused?.equals(secret) === true) return false;
  return remainingMs > goodMs || (renewInMs > 0 && remainingMs > loginMs);
}

/** `remainingMs`: of the stored token; one that is good for longer was stored meanwhile. */
async function renewOnce(target: TokenTarget, remainingMs: number, parts: RenewalParts): Promise<void> {
  const { store, circuits, commits, clock, owner, stopped } = parts;
  const untilMs = clock.monotonicMs() + patienceMs;
  for (let waitMs = pollMsMin; ; waitMs = Math.min(waitMs * 2, pollMsMax)) {
    if (stopped.aborted) throw new Failure('interrupted', 'stopped before the access token was renewed');
    const pending = commits.pendingFailure(target.use);
    if (pending !== null) throw pending;
    {
      using attempt = await circuits.begin(target.provider.name, target.grant.id);
      const result = await store.claimRenewal(target.use, owner, claimMs, remainingMs);
      if (result.kind === 'fresh') return;
      if (result.kind === 'claimed' && (await renewClaimed({ ...target, remainingMs }, result.claim, attempt, parts)))
        return;
    }
    if (clock.monotonicMs() >= untilMs) throw notRenewed(target);
    await clock.sleep(waitMs, stopped);
  }
}

function notRenewed({ grant }: TokenTarget): Failure {
  const message = `another worker has been renewing the access token of grant ${grant.name} for ${patienceMs / 1000} s`;
  return new Failure('oauth_provider_failed', message);
}

/** False: the claim was lost before anything was requested. */
async function renewClaimed(
  target: RenewalTarget,
  claim: RenewalClaim,
  attempt: ProviderAttempt,
  parts: RenewalParts,
): Promise<boolean> {
  let prepared: PreparedRequest | null;
  try {
    prepared = await prepareRequest(target, claim, parts);
  } catch (error) {
    // What an earlier request left behind stays as it is.
    await releaseQuietly(parts.store, claim, false);
    throw error;
  }
  if (prepared === null) return false;
  await request(prepared, claim, attempt, parts);
  return true;
}

type PreparedRequest = { readonly target: RenewalTarget; readonly used: SecretBytes | null };

/** The grant as it is under the claim, since another worker may have found that it ended. null: the claim was lost. */
async function prepareRequest(
  { grant: { name }, provider, use, remainingMs }: RenewalTarget,
  claim: RenewalClaim,
  parts: RenewalParts,
): Promise<PreparedRequest | null> {
  const { store, failures } = parts;
  const grant = await store.grantByName(name);
  if (grant?.id !== use.grantId) throw new Failure('not_found', `grant ${name} was removed or replaced`);
  failures.checkAskable(grant);
  const target = { grant, provider, use, remainingMs };
  if (provider.flow !== 'person') return { target, used: null };
  const used = await openRefresh(target, parts);
  if (await store.markAsked(claim)) return { target, used };
  used.wipe();
  return null;
}

async function request(
  { target, used }: PreparedRequest,
  claim: RenewalClaim,
  attempt: ProviderAttempt,
  { client, failures, commits, clock, newUntil }: RenewalParts,
): Promise<void> {
  const { provider, use } = target;
  const askedAtMs = clock.monotonicMs();
  let answer: TokenAnswer;
  try {
    const deadline = AbortSignal.timeout(requestMsMax);
    answer = await client.requestToken(provider, requestOf(provider, used, use.username), deadline);
  } catch (error) {
    used?.wipe();
    throw await failures.failed(target, claim, asFailure(error), attempt);
  }
  attempt.ended(null);
  newUntil.set(useKey(use), askedAtMs + Math.min(newMsMax, (answer.expiresInMs ?? Number.POSITIVE_INFINITY) / 4));
  failures.succeeded(target, clock.monotonicMs() - askedAtMs);
  await commits.commit({ target, claim, answer, askedAtMs, used });
}

function requestOf({ flow }: OAuthProvider, refreshToken: SecretBytes | null, subject: string): TokenRequest {
  if (refreshToken !== null) return { grantType: 'refresh_token', refreshToken };
  return flow === 'service_account' ? { grantType: 'jwt_bearer', subject } : { grantType: 'client_credentials' };
}
