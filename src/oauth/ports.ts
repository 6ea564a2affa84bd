/**
 * Ports of the OAuth 2 workflows: the store of grants and tokens, and the client of a provider's endpoints.
 *
 * Adapters implement them; `compose/` passes them in. Every method rejects with a `Failure` and nothing else. Times are
 * milliseconds since 1970 (UTC), by the clock of the database where a store returns them; durations milliseconds.
 */
import type { OAuthProvider } from '../config/oauth-provider.ts';
import type { NewToken } from '../encryption/tokens.ts';
import type { AuditActor } from '../ingest/model.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import type { AccessUse, Grant, GrantState, GrantView, StoredToken } from './model.ts';

/**
 * The right to renew one access token until it expires: a claim (lease), with the version that it was taken at as its
 * fencing token.
 */
export type RenewalClaim = AccessUse & { readonly owner: string; readonly version: number };

/** Result of one claim. `fresh`: a token that is good for longer was stored meanwhile; `taken`: another one renews. */
export type ClaimResult =
  | { readonly kind: 'claimed'; readonly claim: RenewalClaim }
  | { readonly kind: 'fresh' }
  | { readonly kind: 'taken' };

/** What a renewal stores. `remainingMs`: of the access token from now on; `renewInMs`: until the next renewal. */
export type Renewal = {
  readonly access: NewToken;
  readonly remainingMs: number;
  readonly renewInMs: number;
  /** A new refresh token (rotation); null: the former one stays. */
  readonly refresh: NewToken | null;
  readonly scope: string | null;
};

/**
 * A change of state of a grant. `retryInMs`: no token request before; null: at any time while it is `ready`, else none
 * until it is authorized again.
 */
export type GrantStateChange = {
  readonly state: GrantState;
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  readonly retryInMs: number | null;
};

/** A person's consent, or an import of a refresh token. */
export type Consent = {
  /** The grant that the token is sealed for: the stored one of this name, or the new one. Left out: of any id. */
  readonly id?: string;
  readonly name: string;
  readonly provider: string;
  readonly account: string | null;
  readonly scope: string | null;
  readonly refresh: NewToken;
  readonly by: AuditActor;
};

/** The tables `oauth_grant` and `oauth_access`. */
export interface GrantStore {
  /** null: none of that name. */
  grantByName(name: string): Promise<Grant | null>;
  /** Ordered by name. */
  listGrants(): Promise<readonly GrantView[]>;
  /** Those that are not ready, at most `limit`, always the same ones first. */
  troubledGrants(limit: number): Promise<readonly Grant[]>;
  /**
   * The grant of that name; creates it for an application or a service account, which need no consent, and converts one
   * of another flow. Throws `oauth_needs_consent` for a person.
   */
  ensureGrant(name: string, provider: OAuthProvider): Promise<Grant>;
  /** The stored access token with the revision of the switch, in one query; null: none is stored. */
  readAccess(use: AccessUse): Promise<StoredToken | null>;
  /** The stored refresh token; null: none. */
  readRefresh(grantId: string): Promise<StoredToken | null>;
  /**
   * Claims the renewal by one conditional UPDATE: not while another claim is in force, nor while the stored token is
   * good for more than `marginMs`. A row is created if there is none. A renewal passes the remaining time that it read,
   * so that `fresh` says that a newer token was stored since; with Infinity it is claimed however long the stored one
   * is good. Throws `not_found`.
   */
  claimRenewal(use: AccessUse, owner: string, forMs: number, marginMs: number): Promise<ClaimResult>;
  /**
   * Marks the grant before a token request, until `storeRenewal` or an answer: a mark that stays says that it was cut
   * off. The first one stays. False: the claim was lost, and nothing may be requested.
   */
  markAsked(claim: RenewalClaim): Promise<boolean>;
  /** Stores the tokens, ends the claim, and makes the grant `ready`. False: the claim was lost, nothing is stored. */
  storeRenewal(claim: RenewalClaim, renewal: Renewal): Promise<boolean>;
  /** Ends a claim without a token; `wasAnswered`: the provider answered, so that nothing was cut off. */
  releaseRenewal(claim: RenewalClaim, wasAnswered: boolean): Promise<void>;
  /** Changes the state; `since` stays when it is the same state. True: it changed. Audited. */
  setGrantState(grantId: string, change: GrantStateChange, by: AuditActor): Promise<boolean>;
  /**
   * Access tokens whose renewal is due, the longest overdue first: of active mailboxes, and weekly of grants of persons
   * that no active mailbox uses. Neither while `retry_at` of the grant is ahead, nor while a claim is in force.
   */
  dueRenewals(limit: number): Promise<readonly { readonly name: string; readonly use: AccessUse }[]>;
  /** Milliseconds until the next renewal is due; null: none is. */
  nextRenewalInMs(): Promise<number | null>;
  /** Forgets access tokens that no mailbox uses any more; returns their number. */
  forgetUnusedAccess(): Promise<number>;
  /**
   * Creates or replaces the grant: `ready`, without access tokens, its mailboxes due at once and without failures.
   * Throws `switch_changed`, `refused`, `database_conflict` for a grant of another id. Audited.
   */
  storeConsent(consent: Consent): Promise<Grant>;
  /**
   * Removes a grant that no mailbox uses; one that is used loses its tokens and needs consent. Throws `not_found`.
   * Audited.
   */
  revokeGrant(name: string, by: AuditActor): Promise<'removed' | 'needs_consent'>;
  /** Removes the grant and its access tokens. Throws `refused` while a mailbox uses it. Audited. */
  removeGrant(name: string, by: AuditActor): Promise<void>;
  /** Names of the mailboxes that use the grant. */
  mailboxesOfGrant(name: string): Promise<readonly string[]>;
}

/** A request to the token endpoint (RFC 6749 section 4, RFC 7523, RFC 8628). Secrets are borrowed. */
export type TokenRequest =
  | { readonly grantType: 'refresh_token'; readonly refreshToken: SecretBytes }
  | { readonly grantType: 'client_credentials' }
  /** RFC 7523: an assertion that the service account signs for one mailbox. */
  | { readonly grantType: 'jwt_bearer'; readonly subject: string };

/** An answer of the token endpoint. The receiver wipes the tokens. */
export type TokenAnswer = {
  readonly accessToken: SecretBytes;
  /** null: the provider does not say; an hour is assumed. */
  readonly expiresInMs: number | null;
  readonly refreshToken: SecretBytes | null;
  readonly scope: string | null;
  /** Who signed in, by the id token: its preferred_username or email, lower case; null: unknown. */
  readonly account: string | null;
};

/** An authorization in progress: what a person opens, and how it is finished. Lives in memory, for one use. */
export interface Authorization {
  /** Address for the browser (PKCE, RFC 7636). */
  readonly url: string;
  readonly state: string;
  /** `answer`: the whole address that the browser was sent to. Throws `oauth_consent_refused`. */
  finish(answer: string, signal: AbortSignal): Promise<TokenAnswer>;
}

/** A device authorization in progress (RFC 8628). */
export interface DeviceAuthorization {
  readonly verificationUri: string;
  readonly userCode: string;
  readonly expiresInMs: number;
  /** Polls the token endpoint until the person has signed in. Throws `oauth_consent_refused`, `interrupted`. */
  wait(signal: AbortSignal): Promise<TokenAnswer>;
}

/** What `oauth test` finds out about the endpoints. */
export type ProviderProbe = {
  readonly issuer: string | null;
  readonly tokenEndpoint: string;
  /** Clock of the provider minus that of this machine, by the Date header; null: it sends none. */
  readonly clockOffsetMs: number | null;
};

/**
 * Client of a provider's endpoints. Throws `oauth_provider_failed` (field `retry_after_ms` where the provider says so),
 * `oauth_provider_refused`, `oauth_needs_consent`, each with the field `cause`: the code of RFC 6749 section 5.2, or
 * the number of Microsoft; never the words of the provider, which may echo a secret.
 */
export interface ProviderClient {
  requestToken(provider: OAuthProvider, request: TokenRequest, signal: AbortSignal): Promise<TokenAnswer>;
  authorize(provider: OAuthProvider, redirectUri: string, user: string): Promise<Authorization>;
  startDevice(provider: OAuthProvider, signal: AbortSignal): Promise<DeviceAuthorization>;
  /** Revokes a refresh token (RFC 7009). False: the provider has no endpoint for it. */
  revoke(provider: OAuthProvider, refreshToken: SecretBytes, signal: AbortSignal): Promise<boolean>;
  probe(provider: OAuthProvider, signal: AbortSignal): Promise<ProviderProbe>;
}
