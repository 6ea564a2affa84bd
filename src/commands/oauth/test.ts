/**
 * `oauth test`: end-to-end diagnosis of one provider: discovery, clock, credential, a token, and a login per mailbox.
 *
 * Nothing is changed at the provider or on a mail server: folders are opened read-only. Each line says ok or failed,
 * and a failed one the next step. An application asks for a token of its own, so that a circuit breaker hides nothing;
 * a refresh token is not used for the check. Exit code 1 when a part failed.
 */

import { providerOfMailbox } from '../../admin/mailboxes/grants.ts';
import type { App } from '../../compose/compose.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { quoted } from '../../config/option-values.ts';
import { Failure } from '../../errors.ts';
import { isInvalid, type Mailbox } from '../../ingest/model.ts';
import type { GrantView } from '../../oauth/model.ts';
import type { TokenRequest } from '../../oauth/ports.ts';
import { readTokenClaims, type TokenClaims } from '../../oauth/token-claims.ts';
import { hints } from '../../text/hints.ts';
import { printableLine } from '../../text/printable.ts';
import { isoTime, shortTime } from '../../text/time.ts';
import { countText } from '../../text/units.ts';
import { type CheckReport, createCheckReport } from '../check-report.ts';
import { type Context, withApp } from '../context.ts';
import { certificateText, probeMailbox } from '../mailbox/probe.ts';
import { checkCredential } from './credential.ts';
import { describeGrant, rowsOrNone } from './grants.ts';
import { namedHint, nextSteps } from './next-steps.ts';
import type { OAuthNameOptions } from './view.ts';

type Test = {
  readonly app: App;
  readonly provider: OAuthProvider;
  readonly grants: readonly GrantView[];
  readonly mailboxes: readonly Mailbox[];
  readonly context: Context;
  readonly report: CheckReport;
};

/** `name`: of a provider, or of one grant. Throws `not_found`, `oauth_provider_unknown`. */
export async function testOAuth(options: OAuthNameOptions, context: Context): Promise<number> {
  return await withApp(options, context, async (app) => {
    const report = createCheckReport(options, context);
    const test = { ...(await subjectOf(app, options.name)), app, context, report };
    await app.vault.refresh();
    await testProvider(test);
    const part = 'credential';
    await checkCredential(app, test.provider, { part, nowMs: context.nowMs() }, report);
    const isOfPersons = test.provider.flow === 'person';
    const claims = isOfPersons ? null : await testToken(test);
    for (const mailbox of test.mailboxes) await testMailbox(test, mailbox, claims);
    // A login may have found out that the provider ended the grant.
    if (isOfPersons) await testGrants(test);
    if (test.mailboxes.length === 0) await report.warn('mailboxes', 'no mailbox uses it', unusedHint(test));
    return report.exitCode();
  });
}

function unusedHint({ provider }: Pick<Test, 'provider'>): string {
  return namedHint(hints.oauthUnused, { provider, mailbox: null });
}

async function subjectOf(app: App, name: string): Promise<Pick<Test, 'provider' | 'grants' | 'mailboxes'>> {
  const providers = app.oauth.providers();
  const all = await rowsOrNone(app, app.store.listGrants);
  const stored = (await rowsOrNone(app, app.store.listMailboxes)).filter((mailbox) => !isInvalid(mailbox));
  const byName = new Map(all.map((grant) => [grant.name, grant]));
  const providerOf = (grant: string) => providerOfMailbox({ grant }, byName.get(grant) ?? null, providers);
  const ofName = providers.find((one) => one.name === name);
  const provider = ofName ?? (byName.has(name) ? providerOf(name) : null);
  if (provider === null) throw unknown(name, byName.has(name));
  const isOurs = (grant: string) => (ofName === undefined ? grant === name : providerOf(grant)?.name === provider.name);
  return {
    provider,
    grants: all.filter((grant) => isOurs(grant.name)),
    mailboxes: stored.filter(({ grant, state }) => grant !== null && state !== 'removing' && isOurs(grant)),
  };
}

function unknown(name: string, isGrant: boolean): Failure {
  if (isGrant)
    return new Failure(
      'oauth_provider_unknown',
      `the configuration does not have the provider of grant ${quoted(name)}`,
    );
  const hint = 'See ticketmaild oauth list.';
  return new Failure('not_found', `there is no provider and no grant named ${quoted(name)}`, {
    fields: { grant: name },
    hint,
  });
}

/** A larger difference makes providers refuse what this machine signs. */
const clockOffsetMsMax = 30_000;
/** The Date header has whole seconds, and the answer takes a while. */
const clockAgreesMs = 2000;

async function testProvider({ app, provider, context, report }: Test): Promise<void> {
  const subject = { provider, mailbox: null, account: null, objectId: null };
  const probed = await report.attempt(
    'provider',
    () => app.oauth.client.probe(provider, context.signal),
    ({ issuer, tokenEndpoint }) => `${issuer === null ? '' : `issuer ${issuer}, `}token endpoint ${tokenEndpoint}`,
    (failure) => nextSteps(failure, subject),
  );
  if (!probed.ok || probed.value.clockOffsetMs === null) return;
  const offsetMs = probed.value.clockOffsetMs;
  const text = `this machine is ${countText(Math.round(Math.abs(offsetMs) / 1000), 'second')} ${offsetMs > 0 ? 'behind' : 'ahead of'} the provider`;
  if (Math.abs(offsetMs) > clockOffsetMsMax) await report.warn('clock', text, hints.oauthClockWrong);
  else
    await report.attempt(
      'clock',
      async () => undefined,
      () => (Math.abs(offsetMs) < clockAgreesMs ? 'it agrees with that of the provider' : text),
    );
}

/** Some mail servers take no longer one. */
const tokenBytesUsual = 4096;
const imapRole = 'IMAP.AccessAsApp';

type IssuedToken = { readonly lengthBytes: number; readonly claims: TokenClaims | null };

/** Returns the claims of the token; null: none, or it is opaque. */
async function testToken(test: Test): Promise<TokenClaims | null> {
  const { provider, report } = test;
  const request = requestOf(test);
  if (request === null) {
    await report.warn('token', 'not tested: no user is known to ask for', unusedHint(test));
    return null;
  }
  const subject = { provider, mailbox: null, account: null, objectId: null };
  const issued = await report.attempt(
    'token',
    () => requestToken(test, request),
    ({ lengthBytes, claims }) => `issued now, ${countText(lengthBytes, 'byte')}${rolesText(claims)}`,
    (failure) => nextSteps(failure, subject),
  );
  if (!issued.ok) return null;
  const { lengthBytes, claims } = issued.value;
  if (lengthBytes > tokenBytesUsual)
    await report.warn('token', `it has ${countText(lengthBytes, 'byte')}`, hints.tokenTooLong);
  return claims;
}

function rolesText(claims: TokenClaims | null): string {
  return claims === null || claims.roles.length === 0 ? '' : `, roles ${claims.roles.join(', ')}`;
}

/** A service account asks for one mailbox: the first that uses it, else the first that is listed by its whole name. */
function requestOf({ provider, mailboxes }: Test): TokenRequest | null {
  if (provider.flow === 'application') return { grantType: 'client_credentials' };
  const subject = mailboxes[0]?.connection.user ?? provider.mailboxes.find((entry) => !entry.startsWith('*'));
  return subject === undefined ? null : { grantType: 'jwt_bearer', subject };
}

async function requestToken({ app, provider, context }: Test, request: TokenRequest): Promise<IssuedToken> {
  const { accessToken, refreshToken } = await app.oauth.client.requestToken(provider, request, context.signal);
  refreshToken?.wipe();
  using token = accessToken;
  const claims = readTokenClaims(token);
  // Microsoft issues a token without roles too, which opens nothing.
  if (provider.kind === 'microsoft' && claims !== null && !claims.roles.includes(imapRole))
    throw new Failure('oauth_provider_refused', `the token has no role ${imapRole}`, { hint: hints.exchangeRole });
  return { lengthBytes: token.length, claims };
}

/** Of persons: states and ends as they are stored now, without a renewal. */
async function testGrants({ app, provider, grants, report }: Test): Promise<void> {
  const ids = new Set(grants.map(({ id }) => id));
  const now = (await rowsOrNone(app, app.store.listGrants)).filter(({ id }) => ids.has(id));
  for (const grant of now)
    await report.attempt(
      `grant ${printableLine(grant.name)}`,
      async () => {
        const [mailbox = null] = await app.store.mailboxesOfGrant(grant.name);
        const { why, remedy, condition } = describeGrant(grant, provider, mailbox);
        if (why !== null) throw grantFailure(`${why}${sinceText(grant)}`, remedy, condition === 'refused');
        if (!grant.hasRefreshToken) throw grantFailure('it has no refresh token', remedy, false);
      },
      () => grantText(grant),
    );
}

function sinceText({ stateSinceMs }: GrantView): string {
  return `, since ${shortTime(stateSinceMs)} UTC`;
}

function grantFailure(message: string, remedy: string | null, isRefused: boolean): Failure {
  const code = isRefused ? 'oauth_provider_refused' : 'oauth_needs_consent';
  return new Failure(code, message, remedy === null ? {} : { hint: remedy });
}

function grantText({ account, accessUntilMs, mailboxes }: GrantView): string {
  const until = accessUntilMs === null ? 'no access token yet' : `access token until ${isoTime(accessUntilMs)}`;
  return `account ${account ?? 'unknown'}, ${until}, ${countText(mailboxes, 'mailbox', 'mailboxes')}`;
}

async function testMailbox(
  { app, provider, grants, context, report }: Test,
  mailbox: Mailbox,
  claims: TokenClaims | null,
): Promise<void> {
  const { name, connection } = mailbox;
  const account = grants.find((grant) => grant.name === mailbox.grant)?.account ?? null;
  const subject = {
    ...{ provider, account, objectId: claims?.objectId ?? null },
    mailbox: { name, user: connection.user },
  };
  await report.attempt(
    `mailbox ${name}`,
    () =>
      app.credentials.withCredential(mailbox, (credential, permitted) =>
        probeMailbox(app, permitted, credential, context, { name }),
      ),
    (probed) =>
      `${probed.mechanism ?? 'login'}, ${countText(probed.folder.messageCount, 'message')} in ${connection.folder}, ${certificateText(probed)}`,
    (failure) => nextSteps(failure, subject),
  );
}
