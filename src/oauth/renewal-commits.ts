/**
 * Commit of renewed tokens with retry: what the provider issued is kept as secret bytes until the database has it.
 *
 * A provider that rotates refresh tokens has ended the former one by then (RFC 9700 section 4.14.2), so that a new one
 * that is lost ends the grant. A store that fails is tried again, for as long as the process lives, unless the token
 * itself cannot be stored (`token_damaged`).
 */
import type { Clock } from '../async/clock.ts';
import { within } from '../async/deadline.ts';
import { retryAtSwitchChange } from '../encryption/confirmations.ts';
import type { TokenSealing } from '../encryption/tokens.ts';
import { asFailure, Failure, isFailure } from '../errors.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import { releaseQuietly } from './grant-failures.ts';
import type { AccessUse } from './model.ts';
import type { GrantStore, Renewal, RenewalClaim, TokenAnswer } from './ports.ts';
import { contextOf, openRefresh, type TokenTarget, useKey } from './stored-tokens.ts';

/** A token request that succeeded. `askedAtMs`: when it began, on the monotonic clock. `used`: its refresh token. */
export type IssuedTokens = {
  readonly target: TokenTarget;
  readonly claim: RenewalClaim;
  readonly answer: TokenAnswer;
  readonly askedAtMs: number;
  readonly used: SecretBytes | null;
};

export interface RenewalCommits extends AsyncDisposable {
  /**
   * Stores the tokens, and wipes them then. Rejects when the first attempt fails; the others follow in the background.
   */
  commit(issued: IssuedTokens): Promise<void>;
  /** Why the tokens of this use are not stored yet; null: none wait. */
  pendingFailure(use: AccessUse): Failure | null;
}

type CommitPorts = {
  readonly store: Pick<GrantStore, 'storeRenewal' | 'claimRenewal' | 'releaseRenewal' | 'readRefresh' | 'readAccess'>;
  readonly sealing: TokenSealing;
  readonly clock: Clock;
  readonly claimMs: number;
};

const retryMsMin = 100;
const retryMsMax = 2000;
/** Disposal waits so long for the database. */
const settleMsMax = 10_000;
/** Providers that do not say how long a token is good issue it for an hour. */
const lifetimeMsDefault = 3_600_000;
/** A token that is good for longer is renewed all the same, so that an ended grant is noticed. */
const lifetimeMsMax = 86_400_000;
/**
 * A shorter one cannot be meant: it is taken for `lifetimeMsOdd`, so that a provider that says 0 or 1 s is not asked
 * without end. If such a token does end, the mail server refuses it, and another one is requested.
 */
const lifetimeMsMin = 4000;
const lifetimeMsOdd = 30_000;

/** Disposing waits until all is stored, for 10 s at most. */
export function createRenewalCommits(ports: CommitPorts): RenewalCommits {
  const { clock } = ports;
  const pending = new Map<string, Failure>();
  const running = new Set<Promise<void>>();
  const retry = async (issued: IssuedTokens, first: Failure): Promise<void> => {
    const key = useKey(issued.target.use);
    let next: IssuedTokens | null = issued;
    pending.set(key, first);
    for (let waitMs = retryMsMin; next !== null && pending.has(key); waitMs = Math.min(waitMs * 2, retryMsMax)) {
      await clock.sleep(waitMs, new AbortController().signal);
      try {
        if (pending.get(key)?.code === 'database_conflict') next = await reclaimed(next, ports);
        if (next !== null) await storeOnce(next, ports);
        next = null;
      } catch (error) {
        pending.set(key, asFailure(error));
        if (isFailure(error, 'token_damaged')) next = null;
      }
    }
    pending.delete(key);
    wipeIssued(issued);
  };
  return {
    commit: async (issued) => {
      try {
        await storeOnce(issued, ports);
        wipeIssued(issued);
      } catch (error) {
        const failure = asFailure(error);
        if (failure.code === 'token_damaged') {
          wipeIssued(issued);
          await releaseQuietly(ports.store, issued.claim, false);
          throw failure;
        }
        const run = retry(issued, failure).finally(() => running.delete(run));
        running.add(run);
        throw failure;
      }
    },
    pendingFailure: (use) => pending.get(useKey(use)) ?? null,
    [Symbol.asyncDispose]: async () => {
      await within(Promise.all(running), settleMsMax, clock);
      pending.clear();
    },
  };
}

function wipeIssued({ answer, used }: IssuedTokens): void {
  answer.accessToken.wipe();
  answer.refreshToken?.wipe();
  used?.wipe();
}

/** A lost claim loses nothing but a new refresh token: that is tried again under another claim. */
async function storeOnce(issued: IssuedTokens, { store, sealing, clock }: CommitPorts): Promise<void> {
  const { claim, answer } = issued;
  const isStored = await retryAtSwitchChange(
    async () => await store.storeRenewal(claim, await renewalOf(issued, sealing, clock.monotonicMs())),
  );
  if (isStored || answer.refreshToken === null) return;
  throw takenOver(issued.target);
}

/**
 * Takes a lost claim again. null: the stored refresh token is no longer the one that was used, but that of a consent or
 * of another renewal, and stays. Throws `database_conflict` while another worker renews.
 */
async function reclaimed(issued: IssuedTokens, ports: CommitPorts): Promise<IssuedTokens | null> {
  const { store, claimMs } = ports;
  const { target, used } = issued;
  let claim: RenewalClaim | null = null;
  try {
    const result = await store.claimRenewal(target.use, issued.claim.owner, claimMs, Number.POSITIVE_INFINITY);
    if (result.kind !== 'claimed') throw takenOver(target);
    claim = result.claim;
    using current = await openRefresh(target, ports);
    if (used?.equals(current) === true) return { ...issued, claim };
  } catch (error) {
    if (!isFailure(error, 'not_found', 'oauth_needs_consent', 'token_damaged', 'token_bound_elsewhere')) throw error;
  }
  if (claim !== null) await releaseQuietly(store, claim, true);
  return null;
}

function takenOver({ grant }: TokenTarget): Failure {
  return new Failure('database_conflict', `another worker took over the renewal of grant ${grant.name}`);
}

async function renewalOf({ target, answer, askedAtMs }: IssuedTokens, sealing: TokenSealing, nowMs: number) {
  const { accessToken, refreshToken, expiresInMs, scope } = answer;
  const saidMs = expiresInMs ?? lifetimeMsDefault;
  const lifetimeMs = saidMs < lifetimeMsMin ? lifetimeMsOdd : Math.min(lifetimeMsMax, saidMs);
  const passedMs = Math.max(0, nowMs - askedAtMs);
  const halfLifeMs = (lifetimeMs / 2) * (1 - 0.2 * jitterOf(target.use));
  const renewal: Renewal = {
    access: await sealing.prepare(accessToken, contextOf(target, 'access')),
    remainingMs: Math.max(1, Math.round(lifetimeMs - passedMs)),
    renewInMs: Math.max(1, Math.round(halfLifeMs - passedMs)),
    refresh: refreshToken === null ? null : await sealing.prepare(refreshToken, contextOf(target, 'refresh')),
    scope,
  };
  return renewal;
}

/** From 0 to 1, the same for each use: renewals of tokens that were issued together are spread. */
function jitterOf(use: AccessUse): number {
  let hash = 0x811c9dc5;
  for (const character of useKey(use)) hash = Math.imul(hash ^ (character.codePointAt(0) ?? 0), 0x01000193) >>> 0;
  return hash / 0xffffffff;
}
