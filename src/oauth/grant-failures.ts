/**
 * Failure handling of token requests: state of the grant (needs_consent, refused), circuit breaker, one log line.
 *
 * The codes of RFC 6749 section 5.2 decide. A person's grant that the provider ended needs consent; an application that
 * it refuses is refused; everything else leaves the grant as it is, and the provider is asked again. What may concern
 * one person blocks that grant alone. A service account opens many mailboxes with one key: an assertion that is refused
 * for one of them says nothing about the others.
 */
import { Failure, type FailureCode } from '../errors.ts';
import { events, type Log } from '../events.ts';
import { createLogThrottle } from '../ingest/health/log-throttle.ts';
import type { AuditActor } from '../ingest/model.ts';
import { printableLine } from '../text/printable.ts';
import { shortTime } from '../text/time.ts';
import type { Grant } from './model.ts';
import type { GrantStateChange, GrantStore, RenewalClaim } from './ports.ts';
import type { ProviderAttempt } from './provider-circuits.ts';
import { concernsGrant } from './provider-errors.ts';
import { type TokenTarget, useKey } from './stored-tokens.ts';

export interface GrantFailures {
  /** Throws `oauth_needs_consent`, `oauth_provider_refused` while no token may be requested. */
  checkAskable(grant: Grant): void;
  succeeded(target: TokenTarget, durationMs: number): void;
  /** Stores the state, ends the claim, and returns the failure to throw. `remainingMs`: of the stored token. */
  failed(
    target: TokenTarget & { readonly remainingMs: number },
    claim: RenewalClaim,
    failure: Failure,
    attempt: ProviderAttempt,
  ): Promise<Failure>;
  /**
   * At the start and after a reload of the configuration: what was refused may be asked for again at once. Throws
   * `database_*`.
   */
  retryRefused(): Promise<void>;
}

export type GrantFailurePorts = {
  readonly store: Pick<GrantStore, 'setGrantState' | 'releaseRenewal' | 'listGrants'>;
  readonly log: Log;
  /** Counts renewals: `ok`, or a code. */
  readonly count: (provider: string, result: 'ok' | FailureCode) => void;
  readonly actor: AuditActor;
};

const hourMs = 3_600_000;
const dayMs = 24 * hourMs;
/** A token that ends sooner opens no mailbox any more. */
const loginMs = 2000;

export function createGrantFailures(ports: GrantFailurePorts): GrantFailures {
  const { store, log, count, actor } = ports;
  const throttle = createLogThrottle();
  /** Grants that the provider refused to this process, with the present configuration. */
  const refusedHere = new Set<string>();
  // The renewal loop logs the state.
  const setState = async (grant: Grant, change: GrantStateChange): Promise<void> => {
    await orNull(store.setGrantState(grant.id, change, actor));
  };
  const logFailure = ({ grant, provider, use }: TokenTarget, failure: Failure): void => {
    const { shouldLog, count: failures } = throttle.record(useKey(use), failure.code);
    const fields = { provider: provider.name, grant: grant.name, failures, error: failure };
    if (shouldLog) log.warn(fields, events.oauthRenewalFailed);
  };
  return {
    checkAskable: (grant) => {
      checkConsented(grant);
      if (isBlocked(grant, 'refused') && refusedHere.has(grant.id)) throw blocked(grant, 'oauth_provider_refused');
    },
    succeeded: ({ grant, provider, use }, durationMs) => {
      refusedHere.delete(grant.id);
      throttle.record(useKey(use), null);
      count(provider.name, 'ok');
      const fields = { provider: provider.name, grant: grant.name, duration_ms: Math.round(durationMs) };
      log.debug(fields, events.oauthRenewed);
    },
    failed: async (target, claim, cause, attempt) => {
      const { grant, provider } = target;
      const { kind, failure } = judge(target, cause);
      count(provider.name, failure.code);
      attempt.ended(kind === 'mailbox_refused' ? null : failure);
      if (kind === 'needs_consent') await setState(grant, consentChange(grant, failure));
      const isAlone = concernsGrant(failure);
      // While the stored token is good, logins continue; the circuit breaker has its check and its alert.
      if (kind === 'refused' && (isAlone || target.remainingMs <= loginMs)) {
        refusedHere.add(grant.id);
        await setState(grant, stateChange('refused', failure, hourMs));
      }
      // The circuit breaker and the change of state have lines of their own.
      if (isAlone || kind === 'mailbox_refused' || kind === 'other') logFailure(target, failure);
      await releaseQuietly(store, claim, kind !== 'failed' ? true : wasSettled(failure, grant));
      return failure;
    },
    retryRefused: async () => {
      refusedHere.clear();
      for (const { id, state, retryInMs, errorCode, errorMessage } of await store.listGrants()) {
        if (state !== 'refused' || retryInMs === null) continue;
        await store.setGrantState(id, { state, errorCode, errorMessage, retryInMs: 0 }, actor);
      }
    },
  };
}

/** Throws `oauth_needs_consent` while the provider waits for a person. */
export function checkConsented(grant: Grant): void {
  if (isBlocked(grant, 'needs_consent')) throw blocked(grant, 'oauth_needs_consent');
}

function isBlocked({ state, retryInMs }: Grant, blocking: Grant['state']): boolean {
  return state === blocking && retryInMs !== null && retryInMs > 0;
}

/** The cells may hold anything. */
function blocked({ name, stateSinceMs, errorMessage, errorCode }: Grant, code: FailureCode): Failure {
  const why = printableLine(errorMessage ?? errorCode ?? '').slice(0, 300);
  const message = `since ${shortTime(stateSinceMs)} UTC, grant ${name}: ${why === '' ? 'no reason is stored' : why}`;
  return new Failure(code, message, { fields: { was_asked: false } });
}

type Verdict = {
  readonly kind: 'needs_consent' | 'refused' | 'mailbox_refused' | 'failed' | 'other';
  readonly failure: Failure;
};

function judge({ grant, provider }: TokenTarget, failure: Failure): Verdict {
  switch (failure.code) {
    case 'oauth_provider_failed':
      return { kind: 'failed', failure };
    case 'oauth_provider_refused':
      return { kind: 'refused', failure };
    case 'mailbox_not_permitted':
      return { kind: 'mailbox_refused', failure };
    case 'oauth_needs_consent':
      if (provider.flow !== 'person') return { kind: 'refused', failure: nobodyConsents(failure) };
      return {
        kind: 'needs_consent',
        failure: grant.cutOffAtMs === null ? failure : cutOff(grant.cutOffAtMs, failure),
      };
    default:
      return { kind: 'other', failure };
  }
}

/** No person can sign in for an application. */
function nobodyConsents({ message, fields }: Failure): Failure {
  return new Failure('oauth_provider_refused', message, { fields });
}

/** The message of a renewal that was cut off, and no other text that a cell of the table may hold. */
export const cutOffMessage =
  /^cut off while renewing at \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC, the provider has ended the grant$/;

function cutOff(atMs: number, { fields }: Failure): Failure {
  const message = `cut off while renewing at ${shortTime(atMs)} UTC, the provider has ended the grant`;
  return new Failure('oauth_needs_consent', message, { fields });
}

/** Once after an hour, then daily. */
function consentChange({ state }: Grant, failure: Failure): GrantStateChange {
  return stateChange('needs_consent', failure, state === 'needs_consent' ? dayMs : hourMs);
}

function stateChange(state: Grant['state'], { code, message, fields }: Failure, retryInMs: number): GrantStateChange {
  const { cause } = fields;
  return { state, errorCode: typeof cause === 'string' ? cause : code, errorMessage: message, retryInMs };
}

/** The request did not reach the provider, or the provider answered it: no new refresh token was lost. */
const settledCauses =
  /CERT|SIGNATURE|^ERR_TLS|^proxy_|^not_https$|^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|slow_down|temporarily_unavailable|http_4\d\d|AADSTS\d+)$/;

function wasSettled({ fields }: Failure, { cutOffAtMs }: Grant): boolean {
  return cutOffAtMs === null && (fields['was_sent'] === false || settledCauses.test(`${fields['cause']}`));
}

/** A claim that is not ended expires. */
export async function releaseQuietly(
  store: Pick<GrantStore, 'releaseRenewal'>,
  claim: RenewalClaim,
  wasAnswered: boolean,
): Promise<void> {
  await orNull(store.releaseRenewal(claim, wasAnswered));
}

/** What cannot be stored is found out again with the next request. */
async function orNull<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch {
    return null;
  }
}
