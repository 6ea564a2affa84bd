/**
 * Model of the OAuth 2 workflows: grants, their states, and the uses of access tokens, as plain values.
 *
 * A provider is a table of the configuration (config/oauth.ts). A grant is the right to obtain access tokens of one
 * provider (RFC 6749 section 1.3): by a refresh token that a person consented to, or by the credentials of an
 * application or a service account. Times are milliseconds since 1970 (UTC).
 */

/** How a grant was given, and how its tokens are requested. */
export type OAuthFlow = 'application' | 'service_account' | 'person';

/**
 * State of a grant. `needs_consent`: the provider ended it, and a person has to sign in again; `refused`: the provider
 * refuses the application itself. No login is tried in either.
 */
export type GrantState = 'ready' | 'needs_consent' | 'refused';

/** A grant, without its tokens. */
export type Grant = {
  /** UUID (RFC 9562), text form. */
  readonly id: string;
  readonly name: string;
  /** Name of the provider in the configuration. */
  readonly provider: string;
  readonly flow: OAuthFlow;
  /** Who consented; null: unknown, or no consent was needed. */
  readonly account: string | null;
  readonly state: GrantState;
  readonly stateSinceMs: number;
  /** Code of the provider that led to the state; null: none. */
  readonly errorCode: string | null;
  readonly errorMessage: string | null;
  /** Time until the next token request is allowed; null: it is. */
  readonly retryInMs: number | null;
  /** A token request was begun and no answer to it was stored: when; null: none. */
  readonly cutOffAtMs: number | null;
};

/** A grant as commands and page list it. */
export type GrantView = Grant & {
  readonly scope: string | null;
  readonly consentedAtMs: number | null;
  readonly consentedBy: string | null;
  readonly mailboxes: number;
  /** When the access token that ends last ends; null: none is stored. */
  readonly accessUntilMs: number | null;
  readonly hasRefreshToken: boolean;
};

/**
 * The use of an access token: one for each grant, except that one of a service account opens a single mailbox.
 * `username`: that mailbox; '' for the others.
 */
export type AccessUse = { readonly grantId: string; readonly username: string };

/** A stored token, as one query read it with the revision of the switch. `form` is a column, never guessed. */
export type StoredToken = {
  readonly form: 'plain' | 'sealed';
  readonly bytes: Uint8Array;
  readonly switchRevision: number | null;
  /** Of an access token, by the clock of the database; a refresh token: null. */
  readonly remainingMs: number | null;
  /** Until an access token is to be renewed, negative when that is overdue; a refresh token: null. */
  readonly renewInMs: number | null;
};
