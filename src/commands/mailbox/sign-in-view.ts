/**
 * Sign-in method in `mailbox list` and `mailbox show`: a password, or an OAuth 2 grant with its provider and its state.
 */

import { providerOfMailbox } from '../../admin/mailboxes/grants.ts';
import type { App } from '../../compose/compose.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { isInvalid, type Mailbox, type MailboxHealth } from '../../ingest/model.ts';
import type { GrantView } from '../../oauth/model.ts';
import { printableLine } from '../../text/printable.ts';
import { asRunHere } from '../../text/program-name.ts';
import { isoTime, shortTime } from '../../text/time.ts';
import { describeGrant, type GrantDescription } from '../oauth/grants.ts';

export type SignIn = {
  readonly grantName: string;
  /** null: it is not there yet. */
  readonly grant: GrantView | null;
  /** null: the configuration does not have it. */
  readonly provider: OAuthProvider | null;
  readonly description: GrantDescription;
};

/** null: by its password, or the row is invalid. */
type ListedMailbox = Mailbox & { readonly health: MailboxHealth };

export type SignIns = (mailbox: ListedMailbox) => SignIn | null;

/** One query, and none while every mailbox has a password. */
export async function readSignIns(app: App, mailboxes: readonly ListedMailbox[]): Promise<SignIns> {
  if (mailboxes.every(({ grant }) => grant === null)) return () => null;
  const providers = app.oauth.providers();
  const grants = new Map((await app.store.listGrants()).map((grant) => [grant.name, grant]));
  return (mailbox) => {
    if (mailbox.grant === null || isInvalid(mailbox)) return null;
    const grant = grants.get(mailbox.grant) ?? null;
    const provider = providerOfMailbox(mailbox, grant, providers);
    return { grantName: mailbox.grant, grant, provider, description: describeGrant(grant, provider, mailbox.name) };
  };
}

/** `password`, `m365`, or `support (m365)` for the grant of a person. */
export function signInText(mailbox: ListedMailbox, signIns: SignIns): string {
  const signIn = signIns(mailbox);
  if (signIn === null) return isInvalid(mailbox) ? '' : 'password';
  const { grantName, provider } = signIn;
  return provider === null || provider.name === grantName ? grantName : `${grantName} (${provider.name})`;
}

export function signInJson(signIn: SignIn | null): Record<string, unknown> {
  if (signIn === null)
    return { provider: null, grant_state: null, grant_since: null, grant_reason: null, grant_remedy: null };
  const { provider, description } = signIn;
  return {
    provider: provider?.name ?? null,
    grant_state: description.condition,
    grant_since: isoTime(description.sinceMs),
    grant_reason: description.why,
    grant_remedy: description.remedy,
  };
}

/** One line for each grant that gives no tokens: since when, why, and what to do. */
export function remedyLines(mailboxes: readonly ListedMailbox[], signIns: SignIns): readonly string[] {
  const lines = new Map<string, string>();
  for (const mailbox of mailboxes) {
    const signIn = signIns(mailbox);
    if (signIn === null || signIn.description.why === null || lines.has(signIn.grantName)) continue;
    const { why, remedy, sinceMs } = signIn.description;
    const since = sinceMs === null ? '' : ` since ${shortTime(sinceMs)} UTC`;
    lines.set(signIn.grantName, `grant ${printableLine(signIn.grantName)}${since}: ${why}; ${asRunHere(remedy ?? '')}`);
  }
  return [...lines.values()];
}
