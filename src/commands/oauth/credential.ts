/**
 * Check of a client credential (secret, private key, service account): its files are readable by no others; its end.
 */
import type { App } from '../../compose/compose.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { Failure } from '../../errors.ts';
import { credentialDaysLeft, credentialDaysMin } from '../../oauth/readiness-check.ts';
import { hints } from '../../text/hints.ts';
import { countText } from '../../text/units.ts';
import type { CheckReport } from '../check-report.ts';
import { credentialText } from './view.ts';

/** Reads the files once, asks no provider; warns 30 days before the end. */
export async function checkCredential(
  { oauth }: Pick<App, 'oauth'>,
  provider: OAuthProvider,
  { part, nowMs }: { readonly part: string; readonly nowMs: number },
  { attempt, warn }: Pick<CheckReport, 'attempt' | 'warn'>,
): Promise<void> {
  const daysLeft = credentialDaysLeft(provider, nowMs);
  const work = async () => {
    await oauth.checkCredential(provider);
    if (daysLeft === null || daysLeft >= 0) return;
    const message = `the credential of provider ${provider.name} has ended`;
    throw new Failure('oauth_provider_refused', message, { hint: hints.oauthCredentialEnding });
  };
  const result = await attempt(part, work, () => providerText(provider, daysLeft));
  if (result.ok && daysLeft !== null && daysLeft < credentialDaysMin)
    await warn(part, `its credential ends in ${countText(daysLeft, 'day')}`, hints.oauthCredentialEnding);
}

function providerText({ kind, flow, tenant, credential }: OAuthProvider, daysLeft: number | null): string {
  const ofTenant = tenant === null ? '' : `, tenant ${tenant}`;
  const until = daysLeft === null ? '' : `, for ${countText(daysLeft, 'day')} more`;
  return `${kind}, flow ${flow}${ofTenant}, ${credentialText(credential)}${until}`;
}
