/**
 * Classification of OAuth 2 error responses (RFC 6749 sections 4.1.2.1 and 5.2, RFC 8628 section 3.5) as failures.
 *
 * The error code and Microsoft's numbers (AADSTS, member `error_codes`) decide, and only those that are listed here are
 * shown: `error_description` may echo a secret. A refusal that may concern one person or mailbox alone never counts
 * against the provider, which would stop the others.
 */
import { Failure, type FailureCode } from '../errors.ts';

/**
 * What the request was for: `refresh` a refresh token, `application` client credentials, `mailbox` an assertion for one
 * mailbox, `consent` a code that a person brought.
 */
export type RequestPurpose = 'refresh' | 'application' | 'mailbox' | 'consent';

/** An error response, without its words. */
export type ProviderErrorResponse = {
  /** Status of HTTP; null: the error stood in the address of a redirect. */
  readonly status: number | null;
  /** Member `error`; null: none, or the response cannot be read. */
  readonly error: string | null;
  readonly microsoftNumbers: readonly number[];
  /** Header Retry-After (RFC 9110 section 10.2.3); null: none. */
  readonly retryAfter: string | null;
  /** Milliseconds since 1970, by the Date header, else by this machine. */
  readonly atMs: number;
};

/**
 * person: a person has to sign in again; application: its registration is wrong; grant: the application may not act
 * for this person or mailbox, perhaps for none; passing: tried again.
 */
type Meaning = 'person' | 'application' | 'grant' | 'passing';

type NumberMeaning = readonly [meaning: Meaning, hint: string];

const signInAgain = 'Sign in again: ticketmaild mailbox authorize NAME';
const conditionalAccess =
  'A Conditional Access policy blocks this sign-in: in Entra, Sign-in logs name the policy; exclude the account or the application from it.';
const multiFactor =
  'The tenant asks for multi-factor authentication again: sign in with it, ticketmaild mailbox authorize NAME, or use flow = "application".';
const adminConsent =
  'An administrator has to consent: in Entra, Enterprise applications, this application, Permissions, Grant admin consent.';
const certificateUpload =
  'Upload the certificate of private_key_file to the app registration in Entra (Certificates & secrets), and check certificate_file.';
const clientId = 'Compare client_id and tenant in [oauth.NAME] with Application (client) ID and Directory (tenant) ID.';

/** Numbers of Microsoft Entra (AADSTS). */
const microsoft: Readonly<Record<number, NumberMeaning>> = {
  50011: ['application', 'Add the redirect address of this program to the app registration, letter by letter.'],
  50020: ['person', 'The account belongs to another tenant: sign in with one of the tenant in [oauth.NAME].'],
  50034: ['person', 'The account does not exist in this tenant: check the user name, and sign in again.'],
  50053: ['person', 'The account is locked: an administrator unlocks it in Entra. Then sign in again.'],
  50055: ['person', 'The password of the account has expired: change it, and sign in again.'],
  50057: ['person', 'The account is disabled: an administrator enables it in Entra. Then sign in again.'],
  50074: ['person', multiFactor],
  50076: ['person', multiFactor],
  50078: ['person', multiFactor],
  50079: ['person', 'The account has to register for multi-factor authentication: sign in once with a browser.'],
  50105: ['person', 'Assign the account to the application: in Entra, Enterprise applications, Users and groups.'],
  50132: ['person', signInAgain],
  50133: ['person', 'The password of the account was changed. Sign in again: ticketmaild mailbox authorize NAME'],
  50173: [
    'person',
    'The password was changed, or the sign-in revoked. Sign in again: ticketmaild mailbox authorize NAME',
  ],
  50194: ['application', 'Set tenant in [oauth.NAME] to your own: the application is not for all tenants.'],
  53000: ['person', conditionalAccess],
  53001: ['person', conditionalAccess],
  53003: ['person', conditionalAccess],
  54005: ['person', 'The code was used already. Begin again: ticketmaild mailbox authorize NAME'],
  65001: ['grant', adminConsent],
  65004: ['person', 'The consent was declined. Sign in again and accept, or let an administrator consent.'],
  65006: ['grant', adminConsent],
  70000: ['person', signInAgain],
  70008: ['person', 'The code or token has expired. Sign in again: ticketmaild mailbox authorize NAME'],
  70011: ['application', 'Correct scopes in [oauth.NAME]; for flow = "application" leave them out.'],
  70043: ['person', 'The sign-in frequency of a policy has passed. Sign in again, or use flow = "application".'],
  90002: ['application', 'The tenant does not exist: correct tenant in [oauth.NAME].'],
  90033: ['passing', 'Microsoft is temporarily unavailable; it is asked again automatically.'],
  90094: ['grant', adminConsent],
  700016: ['application', `The application does not exist in this tenant. ${clientId}`],
  700024: ['application', 'The clock of this machine is wrong: check the time service (timedatectl).'],
  700027: ['application', certificateUpload],
  700082: ['person', 'The sign-in was not used for 90 days. Sign in again: ticketmaild mailbox authorize NAME'],
  1002012: [
    'application',
    'Leave scopes in [oauth.NAME] out: an application asks for https://outlook.office365.com/.default',
  ],
  7000215: [
    'application',
    'The client secret is wrong: client_secret_file takes the Value of the secret, not its Secret ID.',
  ],
  7000218: [
    'application',
    'Set client_secret_file or private_key_file, or in Entra, Authentication, Allow public client flows.',
  ],
  7000222: [
    'application',
    'The client secret has expired: create one in Entra, write it to client_secret_file. No restart is needed.',
  ],
  9002313: [
    'person',
    'The stored token is not one of this provider. Sign in again: ticketmaild mailbox authorize NAME',
  ],
};

const scopesHint = 'Compare scopes in [oauth.NAME] with those that the application may ask for.';
const credentialHint =
  'Compare client_id and the secret, key or certificate in [oauth.NAME] with the registration at the provider: it may have expired.';

/** Error codes (RFC 6749, OpenID Connect Core section 3.1.2.6, RFC 8628, RFC 8707). null: the hint of the failure. */
const codes: Readonly<Record<string, readonly [meaning: Meaning, hint: string | null]>> = {
  access_denied: ['person', 'Access was denied at the provider. Sign in again and allow it, or ask its administrator.'],
  account_selection_required: ['person', null],
  authorization_pending: ['passing', null],
  consent_required: ['person', null],
  expired_token: ['person', 'The time to sign in has passed. Begin again: ticketmaild mailbox authorize NAME'],
  interaction_required: ['person', null],
  invalid_client: ['application', credentialHint],
  invalid_grant: ['person', null],
  invalid_request: ['person', null],
  invalid_scope: ['person', scopesHint],
  invalid_target: ['person', scopesHint],
  login_required: ['person', null],
  server_error: ['passing', null],
  slow_down: ['passing', null],
  temporarily_unavailable: ['passing', null],
  unauthorized_client: [
    'grant',
    'Allow this application the grant type and the scopes, or its delegation, at the provider.',
  ],
  unsupported_grant_type: [
    'application',
    'The provider does not offer this flow: choose another flow in [oauth.NAME].',
  ],
  unsupported_response_type: ['application', 'Allow the authorization code flow for this application at the provider.'],
};

const mailboxHint =
  'The provider grants no token for this user: check that it exists and is not suspended. If no mailbox of this provider works, check the key of the service account.';

const providerHints: ReadonlySet<unknown> = new Set([
  mailboxHint,
  ...[...Object.values(microsoft), ...Object.values(codes)].map(([, hint]) => hint).filter((hint) => hint !== null),
]);

/** The hint, if it is one of these tables; null: it is the text of another program. */
export function providerHint(hint: unknown): string | null {
  return typeof hint === 'string' && providerHints.has(hint) ? hint : null;
}

const failureCodes: Readonly<Record<RequestPurpose, Readonly<Record<Meaning, FailureCode>>>> = {
  refresh: meaningCodes('oauth_needs_consent'),
  application: meaningCodes('oauth_provider_refused'),
  mailbox: meaningCodes('mailbox_not_permitted'),
  consent: meaningCodes('oauth_consent_refused'),
};

function meaningCodes(person: FailureCode): Readonly<Record<Meaning, FailureCode>> {
  const refused = 'oauth_provider_refused';
  const grant = person === 'mailbox_not_permitted' ? person : refused;
  return { person, application: refused, grant, passing: 'oauth_provider_failed' };
}

/** Statuses of a request that is at fault itself, perhaps by its token: too large, or with an error of no standard. */
const requestStatuses: ReadonlySet<number | null> = new Set([400, 413, 414, 422, 431]);

/**
 * The failure of an error response. Fields: `cause`, `provider`, `retry_after_ms` where the provider says so, and
 * `concerns` with the value `grant` where it may be about that grant alone.
 */
export function providerFailure(provider: string, purpose: RequestPurpose, response: ProviderErrorResponse): Failure {
  const { cause, meaning, hint } = readResponse(response);
  const code = failureCodes[purpose][meaning];
  const retryAfterMs = meaning === 'passing' ? readRetryAfter(response) : null;
  const isAlone = meaning === 'grant' || (meaning === 'passing' && requestStatuses.has(response.status));
  const concerns = isAlone && (purpose === 'refresh' || purpose === 'mailbox') ? { concerns: 'grant' } : {};
  const shownHint = code === 'mailbox_not_permitted' && meaning === 'person' ? mailboxHint : hint;
  return new Failure(code, sentence(provider, meaning, cause), {
    fields: { provider, cause, ...(retryAfterMs === null ? {} : { retry_after_ms: retryAfterMs }), ...concerns },
    ...(shownHint === null ? {} : { hint: shownHint }),
  });
}

/** True for a failure that may be about one grant, or one mailbox of it, alone. */
export function concernsGrant({ fields }: Failure): boolean {
  return fields['concerns'] === 'grant';
}

/** True for a refusal that a wrong clock may cause: the assertion had expired, or was not good yet. */
export function mayBeClock({ error, microsoftNumbers }: ProviderErrorResponse): boolean {
  return error === 'invalid_client' || error === 'invalid_grant' || microsoftNumbers.includes(700_024);
}

/** True while a person has not yet signed in on a device. */
export function isPending({ error }: ProviderErrorResponse): boolean {
  return error === 'authorization_pending' || error === 'slow_down';
}

type ReadResponse = { readonly cause: string; readonly meaning: Meaning; readonly hint: string | null };

function readResponse({ status, error, microsoftNumbers }: ProviderErrorResponse): ReadResponse {
  const number = microsoftNumbers.find((one) => Object.hasOwn(microsoft, one));
  const [ofNumber, numberHint] = number === undefined ? [] : (microsoft[number] ?? []);
  if (ofNumber !== undefined) return { cause: `AADSTS${number}`, meaning: ofNumber, hint: numberHint ?? null };
  const known = error !== null && Object.hasOwn(codes, error) ? error : null;
  const cause = known ?? (status === null ? 'unknown_error' : `http_${status}`);
  if (status !== null && (status === 429 || status >= 500)) return { cause, meaning: 'passing', hint: null };
  const [meaning, hint] = known === null ? [] : (codes[known] ?? []);
  // Without a known code it is no refusal: a proxy or a page for people answered.
  return { cause, meaning: meaning ?? (status === null ? 'person' : 'passing'), hint: hint ?? null };
}

function sentence(provider: string, meaning: Meaning, cause: string): string {
  if (meaning === 'passing') return `The provider ${provider} does not answer as it should (${cause}).`;
  if (meaning === 'application') return `The provider ${provider} refuses the application (${cause}).`;
  if (meaning === 'grant') return `The provider ${provider} does not allow this to the application (${cause}).`;
  return `The provider ${provider} grants no token (${cause}).`;
}

const retryAfterMsMax = 3_600_000;

/** null: none, or not readable. */
function readRetryAfter({ retryAfter, atMs }: ProviderErrorResponse): number | null {
  if (retryAfter === null) return null;
  const ms = /^\d{1,9}$/.test(retryAfter) ? Number(retryAfter) * 1000 : Date.parse(retryAfter) - atMs;
  return Number.isNaN(ms) ? null : Math.min(Math.max(0, ms), retryAfterMsMax);
}
