/**
 * Description of OAuth 2 grants for commands: state, since when, why, and the command that mends it.
 *
 * The cells of the table may hold anything: commands quote what they show for copying, and codes are words.
 */
import type { App } from '../../compose/compose.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { isFailure } from '../../errors.ts';
import type { Grant, GrantView } from '../../oauth/model.ts';
import { printableLine } from '../../text/printable.ts';
import { commandOrNotice, shellCommand, shellCommandWithOption } from '../../text/shell.ts';
import { isoTime } from '../../text/time.ts';

/** What `read` returns; none in a new database without tables, where a provider can be tried out already. */
export async function rowsOrNone<T>(
  { migrations }: Pick<App, 'migrations'>,
  read: () => Promise<readonly T[]>,
): Promise<readonly T[]> {
  try {
    return await read();
  } catch (error) {
    const isNew = async () => (await migrations.status()).every(({ appliedAtMs }) => appliedAtMs === null);
    if (isFailure(error, 'database_outdated') && (await isNew())) return [];
    throw error;
  }
}

/** `unused`: it is created on first use; `unknown_provider`: the configuration does not have its provider. */
export type GrantCondition = Grant['state'] | 'unused' | 'unknown_provider';

export type GrantDescription = {
  readonly condition: GrantCondition;
  readonly sinceMs: number | null;
  /** One line; null: nothing is wrong. */
  readonly why: string | null;
  /** What to do: a command, or one sentence; null: nothing. */
  readonly remedy: string | null;
};

const unused: GrantDescription = { condition: 'unused', sinceMs: null, why: null, remedy: null };

/** `provider` null: the configuration does not have it. `mailbox`: one that the grant opens; null: none does. */
export function describeGrant(
  grant: Grant | null,
  provider: OAuthProvider | null,
  mailbox: string | null,
): GrantDescription {
  if (provider === null) return unknownProvider(grant);
  if (grant === null) return provider.flow === 'person' ? neverConsented(mailbox, provider) : unused;
  const { state, stateSinceMs, errorCode, errorMessage } = grant;
  const known = { condition: state, sinceMs: stateSinceMs };
  if (state === 'ready') return { ...known, why: null, remedy: null };
  const code = /^\w{1,64}$/.test(errorCode ?? '') ? ` (${errorCode})` : '';
  const said = printableLine(errorMessage ?? '').slice(0, 300);
  const usual = state === 'needs_consent' ? 'the provider ended the grant' : 'the provider refuses the application';
  const why = said === '' ? `${usual}${code}` : said;
  const remedy = state === 'needs_consent' ? authorize(mailbox, provider, grant.name) : testCommand(provider.name);
  return { ...known, why, remedy };
}

function unknownProvider(grant: Grant | null): GrantDescription {
  const of = grant === null ? '' : ` ${printableLine(grant.provider)}`;
  return {
    condition: 'unknown_provider',
    sinceMs: null,
    why: `the configuration does not have its provider${of}`,
    remedy: 'Add its table [oauth.NAME] to the configuration file, and reload.',
  };
}

function neverConsented(mailbox: string | null, provider: OAuthProvider): GrantDescription {
  return {
    condition: 'needs_consent',
    sinceMs: null,
    why: 'no person has signed in yet',
    remedy: authorize(mailbox, provider, null),
  };
}

function authorize(mailbox: string | null, { name }: OAuthProvider, grant: string | null): string {
  const add = `mailbox add --oauth ${name}`;
  if (mailbox === null && grant === null) return `Add a mailbox with it: ticketmaild ${add}`;
  if (mailbox === null)
    return `Add a mailbox with it: ${commandOrNotice(shellCommandWithOption(add, 'grant', grant ?? ''))}`;
  return commandOrNotice(shellCommand('mailbox authorize', mailbox));
}

function testCommand(provider: string): string {
  return commandOrNotice(shellCommand('oauth test', provider));
}

/** Words for people. */
export const conditionWords: Readonly<Record<GrantCondition, string>> = {
  ready: 'ready',
  needs_consent: 'needs consent',
  refused: 'refused',
  unused: 'unused',
  unknown_provider: 'no provider',
};

/** The object of `--json` for a grant. */
export function grantJson(grant: GrantView, description: GrantDescription): Record<string, unknown> {
  return {
    grant: grant.name,
    provider: grant.provider,
    flow: grant.flow,
    account: grant.account,
    state: description.condition,
    since: isoTime(description.sinceMs),
    why: description.why,
    error_code: grant.errorCode,
    remedy: description.remedy,
    mailboxes: grant.mailboxes,
    scope: grant.scope,
    consented_at: isoTime(grant.consentedAtMs),
    consented_by: grant.consentedBy,
    access_until: isoTime(grant.accessUntilMs),
    has_refresh_token: grant.hasRefreshToken,
    cut_off_at: isoTime(grant.cutOffAtMs),
  };
}
