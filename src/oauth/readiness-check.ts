/**
 * Readiness check of OAuth 2: one entry per provider, and one for each grant whose tokens cannot be renewed.
 *
 * A provider that does not answer is a warning, as stored tokens last; one that refuses the application, a credential
 * that has ended, and a grant that needs consent are failures. Providers are judged by the requests of this process.
 */
import type { Clock } from '../async/clock.ts';
import type { OAuthProvider } from '../config/oauth-provider.ts';
import { Failure, isFailure } from '../errors.ts';
import type { Check, OAuthGrantCheck, OAuthProviderCheck, Readiness } from '../ingest/readiness.ts';
import { hints } from '../text/hints.ts';
import { printableLine } from '../text/printable.ts';
import { shellCommand } from '../text/shell.ts';
import { isoTime } from '../text/time.ts';
import { countText } from '../text/units.ts';
import { cutOffMessage } from './grant-failures.ts';
import type { Grant, GrantView } from './model.ts';
import type { GrantStore } from './ports.ts';
import type { ProviderCircuits, ProviderTrouble } from './provider-circuits.ts';

type OAuthCheck = Readiness['checks']['oauth'];

type CheckPorts = {
  readonly providers: () => readonly OAuthProvider[];
  readonly circuits: Pick<ProviderCircuits, 'troubleOf'>;
  readonly store: Pick<GrantStore, 'listGrants' | 'mailboxesOfGrant'>;
  readonly clock: Pick<Clock, 'nowMs'>;
};

const dayMs = 86_400_000;
/** A credential that ends sooner is a warning. */
export const credentialDaysMin = 30;
/** Commands are named for so many grants. */
const commandsMax = 20;

const fine: Check = { status: 'ok', since: null, reason: null, hint: null };
const noGrants: Pick<OAuthCheck, 'grants' | 'list'> = { grants: { ready: 0, needs_consent: 0, refused: 0 }, list: [] };

/** Never rejects with a failure of the database, which has its own check. `hasDatabase` false: asks nothing of it. */
export async function oauthCheck(ports: CheckPorts, hasDatabase: boolean): Promise<OAuthCheck> {
  const providers = ports.providers().map((one) => providerCheck(one, ports));
  const { grants, list } = hasDatabase ? await grantChecks(ports) : noGrants;
  const first = [...list, ...providers].find(({ status }) => status === 'failing');
  const warning = providers.find(({ status }) => status === 'warning');
  return { ...summary(first ?? warning, list), providers, grants, list };
}

function summary(first: Check | undefined, troubled: readonly OAuthGrantCheck[]): Check {
  if (first === undefined) return fine;
  const { status, since, reason, hint } = first;
  const more = troubled.length > 1 ? ` (${countText(troubled.length, 'grant')} in all)` : '';
  return { status, since, reason: `${reason}${more}`, hint };
}

/** Days until the credential ends, negative when it has; null: unknown. */
export function credentialDaysLeft({ credentialEndsAtMs }: OAuthProvider, nowMs: number): number | null {
  return credentialEndsAtMs === null ? null : Math.floor((credentialEndsAtMs - nowMs) / dayMs);
}

function providerCheck(provider: OAuthProvider, { circuits, clock }: CheckPorts): OAuthProviderCheck {
  const { name } = provider;
  const daysLeft = credentialDaysLeft(provider, clock.nowMs());
  const trouble = circuits.troubleOf(name);
  return {
    ...(trouble === null ? credentialCheck(name, daysLeft) : troubleCheck(trouble)),
    provider: name,
    next_attempt: trouble === null ? null : isoTime(trouble.nextAttemptMs),
    credential_days_left: daysLeft,
  };
}

function troubleCheck({ kind, failure, sinceMs }: ProviderTrouble): Check {
  const { code, message, hint } = failure;
  const status = kind === 'refused' ? 'failing' : 'warning';
  return { status, since: isoTime(sinceMs), reason: `${code}: ${message}`, hint };
}

function credentialCheck(provider: string, daysLeft: number | null): Check {
  if (daysLeft === null || daysLeft >= credentialDaysMin) return fine;
  const hint = hints.oauthCredentialEnding;
  if (daysLeft < 0)
    return { status: 'failing', since: null, reason: `the credential of provider ${provider} has ended`, hint };
  const reason = `the credential of provider ${provider} ends in ${countText(daysLeft, 'day')}`;
  return { status: 'warning', since: null, reason, hint };
}

async function grantChecks({ store }: CheckPorts): Promise<Pick<OAuthCheck, 'grants' | 'list'>> {
  try {
    const all = await store.listGrants();
    const troubled = all.filter(({ state }) => state !== 'ready');
    const list = troubled.map(async (grant, at) =>
      grantCheck(grant, grantTrouble(grant, at < commandsMax ? await firstMailbox(grant, store) : null)),
    );
    const count = (state: GrantView['state']) => all.filter((one) => one.state === state).length;
    const grants = { ready: count('ready'), needs_consent: count('needs_consent'), refused: count('refused') };
    return { grants, list: await Promise.all(list) };
  } catch (error) {
    if (!isFailure(error)) throw error;
    return noGrants;
  }
}

function grantCheck({ name, provider, state, stateSinceMs }: Grant, { code, message, hint }: Failure): OAuthGrantCheck {
  return {
    ...{ status: 'failing', since: isoTime(stateSinceMs), reason: `${code}: ${message}`, hint },
    ...{ grant: printableLine(name), provider: printableLine(provider), state },
  };
}

/**
 * Failure of a grant that is not ready, as its row has it, whose cells may hold anything. `mailbox`: the one that the
 * command in the hint is for; null: it names none.
 */
export function grantTrouble({ name, state, errorCode, errorMessage }: Grant, mailbox: string | null): Failure {
  const code = state === 'needs_consent' ? 'oauth_needs_consent' : 'oauth_provider_refused';
  const why = /^\w{1,64}$/.test(errorCode ?? '') ? ` (${errorCode})` : '';
  const ended = cutOffMessage.test(errorMessage ?? '') ? `was ${errorMessage}` : 'was ended by its provider';
  const what = state === 'needs_consent' ? ended : 'is refused by its provider';
  const line = mailbox === null ? null : shellCommand('mailbox authorize', mailbox);
  const own = line === null ? {} : { hint: `Sign in again: ${line}` };
  return new Failure(code, `grant ${printableLine(name)} ${what}${why}`, own);
}

/** Of those that a consent cures; one consent cures all of them. null: there is none, or no person can consent. */
export async function firstMailbox(
  { name, state }: Grant,
  store: Pick<GrantStore, 'mailboxesOfGrant'>,
): Promise<string | null> {
  if (state !== 'needs_consent') return null;
  const [mailbox = null] = await store.mailboxesOfGrant(name);
  return mailbox;
}
