/**
 * Remedies of `oauth test`: the exact next step for a failed part, for Exchange Online as PowerShell lines.
 *
 * Client id and mailbox stand in the lines, quoted for PowerShell, as does the object id of the enterprise application,
 * which the access token names.
 */
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import type { Failure } from '../../errors.ts';
import { asciiLowerCase } from '../../oauth/permission.ts';
import { hints, withMailboxName } from '../../text/hints.ts';
import { noCommandNotice } from '../../text/shell.ts';
import type { Advice } from '../check-report.ts';

/** `mailbox`: name and user of the one that failed. `objectId`: of the enterprise application; null: unknown. */
export type FailedSubject = {
  readonly provider: OAuthProvider;
  readonly mailbox: { readonly name: string; readonly user: string } | null;
  readonly account: string | null;
  readonly objectId: string | null;
};

export function nextSteps(failure: Failure, subject: FailedSubject): Advice {
  const { provider } = subject;
  // The mail server says so, not the token endpoint.
  const isOfServer = failure.fields['credential'] === 'token';
  if (!isOfServer || (failure.code !== 'login_refused' && failure.code !== 'mailbox_not_permitted'))
    return { hint: namedHint(failure.hint, subject), steps: [] };
  if (failure.hint === hints.tokenLacksScope) return { hint: namedHint(hints.tokenLacksScopeNow, subject), steps: [] };
  switch (provider.kind) {
    case 'microsoft':
      return exchangeAdvice(failure, subject);
    case 'google':
      return { hint: hints.googleImapOff, steps: [] };
    case 'yahoo':
    case 'oidc':
      return { hint: namedHint(hints.tokenNotTaken, subject), steps: [] };
  }
}

/** The placeholder NAME is that of the provider or of the mailbox, and PROVIDER that of the provider. */
export function namedHint(hint: string, { provider, mailbox }: Pick<FailedSubject, 'provider' | 'mailbox'>): string {
  const ofProvider = hint
    .replaceAll('[oauth.NAME]', () => `[oauth.${provider.name}]`)
    .replaceAll('oauth test NAME', () => `oauth test ${provider.name}`)
    .replaceAll('--oauth PROVIDER', () => `--oauth ${provider.name}`);
  return mailbox === null ? ofProvider : withMailboxName(ofProvider, mailbox.name);
}

function exchangeAdvice(failure: Failure, subject: FailedSubject): Advice {
  const { provider, mailbox, account, objectId } = subject;
  const identity = powershellArg(mailbox?.user ?? '');
  const imapOn = `Set-CASMailbox -Identity ${identity} -ImapEnabled $true`;
  if (failure.hint === hints.imapDisabled)
    return { hint: hints.exchangeImapOff, steps: ['Connect-ExchangeOnline', imapOn] };
  if (provider.flow === 'person') {
    const permission = `Add-MailboxPermission -Identity ${identity} -User ${powershellArg(account ?? '')} -AccessRights FullAccess`;
    const isOther = account !== null && asciiLowerCase(account) !== asciiLowerCase(mailbox?.user ?? '');
    return { hint: hints.exchangePerson, steps: ['Connect-ExchangeOnline', ...(isOther ? [permission] : []), imapOn] };
  }
  const client = powershellArg(provider.clientId);
  const id = objectId ?? 'ENTERPRISE_OBJECT_ID';
  const find = `Get-MgServicePrincipal -Filter "appId eq '${provider.clientId}'" | Select-Object Id`;
  const permission = `Add-MailboxPermission -Identity ${identity} -User ${id} -AccessRights FullAccess`;
  const lookUp = objectId === null ? [find] : [];
  if (failure.code === 'mailbox_not_permitted')
    return { hint: hints.exchangePermission, steps: [...lookUp, 'Connect-ExchangeOnline', permission, imapOn] };
  return {
    hint: hints.exchangeRefused,
    steps: [
      ...lookUp,
      'Connect-ExchangeOnline',
      `Get-ServicePrincipal | Where-Object AppId -eq ${client}`,
      `New-ServicePrincipal -AppId ${client} -ObjectId ${id} -DisplayName ticketmaild`,
      permission,
      imapOn,
    ],
  };
}

/** Control, format and unassigned characters, and the quotation marks that PowerShell takes for an apostrophe. */
const unsafe = /[\p{C}\p{Zl}\p{Zp}\u2018-\u201b\ufffd]/u;

/** One argument for PowerShell: a literal in apostrophes, which are doubled. */
export function powershellArg(word: string): string {
  if (/^[A-Za-z0-9][\w.@-]*$/.test(word)) return word;
  return unsafe.test(word) ? `(${noCommandNotice})` : `'${word.replaceAll("'", "''")}'`;
}
