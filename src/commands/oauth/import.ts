/**
 * `oauth import`: takes the refresh token of another program, proves it by one renewal, and stores what that issued.
 *
 * The token is read as bytes from the prompt or from standard input. A provider that rotates has ended it then, and the
 * other program needs a consent of its own.
 */

import { oneLine, quoted } from '../../config/option-values.ts';
import { Failure } from '../../errors.ts';
import { tokenBytesMax } from '../../secret/sealed-token.ts';
import { type CommonOptions, type Context, migrateFirst, withApp } from '../context.ts';
import { printResult } from '../output.ts';

export type ImportOptions = CommonOptions & {
  /** Of the grant. */
  readonly name: string;
  readonly provider: string;
  readonly account?: string;
  readonly refreshTokenStdin?: boolean;
};

const refreshToken = { noun: 'refresh token', bytesMax: tokenBytesMax };

/** Throws `usage`, `oauth_*`, `refused`, `key_*`. */
export async function importGrant(options: ImportOptions, context: Context): Promise<number> {
  const name = oneLine('the name', options.name);
  const account = options.account === undefined ? null : oneLine('--account', options.account);
  const { terminal, signal } = context;
  if (options.refreshTokenStdin !== true && !context.isAttended)
    throw new Failure('usage', 'there is no terminal to ask for the refresh token at', {
      hint: 'Pass it on standard input, with --refresh-token-stdin.',
    });
  return await withApp(options, context, async (app, config) => {
    await migrateFirst(app, config);
    const providers = app.oauth.providers();
    const provider = providers.find((one) => one.name === options.provider);
    if (provider === undefined)
      throw new Failure('oauth_provider_unknown', `there is no provider named ${quoted(options.provider)}`, {
        hint: `The configuration has: ${providers.map((one) => one.name).join(', ') || 'none'}.`,
      });
    if (providers.some((one) => one.name === name && one.flow !== 'person'))
      throw new Failure('usage', `grant ${quoted(name)} is that of provider ${name}: choose another name`);
    // Asks for the passphrase of the key file first.
    await app.vault.refresh();
    using token = await terminal.readSecret('Refresh token (it is not shown): ', refreshToken);
    const request = { grant: name, provider, user: null, by: app.actor };
    using consent = await app.oauth.consents.importToken(request, token, account, signal);
    const grant = await consent.store();
    const fields = { grant: name, provider: provider.name, account: grant.account };
    const of = grant.account === null ? '' : ` of ${grant.account}`;
    await printResult(options, context, fields, `imported ${name}: the provider renewed the grant${of}`);
    if (grant.account === null)
      terminal.note(
        `note: the provider does not say whose grant it is: list its users in mailboxes of [oauth.${provider.name}], or repeat with --account`,
      );
    return 0;
  });
}
