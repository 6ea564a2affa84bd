/**
 * Sign-in method of a mailbox (`--oauth PROVIDER`, `--grant NAME`): checks the options and selects the OAuth 2 grant.
 *
 * Provider, user and mail server are checked against the configuration (oauth/permission.ts) before anything is asked
 * of the provider or stored. A grant that the command itself created is removed again when the command fails.
 */
import { sealedWrite } from '../../admin/mailboxes/addition.ts';
import type { SelectedGrant } from '../../admin/mailboxes/grants.ts';
import type { App } from '../../compose/compose.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { Mailbox } from '../../ingest/model.ts';
import type { ProbeReport } from '../../ingest/ports.ts';
import type { ObtainedConsent } from '../../oauth/consent.ts';
import { tokenConnection } from '../../oauth/permission.ts';
import { allSettings } from '../../secret/settings-seal.ts';
import { commandOrNotice, shellCommand } from '../../text/shell.ts';
import type { Context } from '../context.ts';
import { nextSteps } from '../oauth/next-steps.ts';
import { probeMailbox } from './probe.ts';

/** Options of `mailbox add` and `mailbox set`. */
export type SignInOptions = {
  /** Name of a provider. */
  readonly oauth?: string;
  readonly grant?: string;
  readonly passwordStdin?: boolean;
  readonly newPassword?: boolean;
  /** How a person signs in; none: by a device code where the provider has it for mail, else by a pasted address. */
  readonly device?: boolean;
  readonly paste?: boolean;
  readonly browser?: boolean;
  /** Of the listener of `--browser`. */
  readonly browserPort?: string;
};

/** Throws `usage`. */
export function checkSignInOptions(options: SignInOptions): void {
  const { oauth, grant, passwordStdin, newPassword } = options;
  const way = (['device', 'paste', 'browser'] as const).find((one) => options[one] === true);
  if (oauth === undefined && options.browserPort !== undefined)
    throw new Failure('usage', '--browser-port is that of --browser: use it with --oauth');
  if (oauth === undefined && way !== undefined)
    throw new Failure('usage', `--${way} is a way to sign in at a provider: use it with --oauth`);
  if (oauth === undefined && grant !== undefined)
    throw new Failure('usage', '--grant names a grant of a provider: use it with --oauth');
  if (oauth === undefined || (passwordStdin !== true && newPassword !== true)) return;
  const option = passwordStdin === true ? '--password-stdin' : '--new-password';
  throw new Failure('usage', `--oauth and ${option} exclude each other: a mailbox has a password or a grant`);
}

/** `storedName`: of the stored mailbox; null: it is not stored yet. */
export type GrantUse = {
  readonly app: App;
  readonly selected: SelectedGrant;
  readonly mailbox: Mailbox;
  readonly storedName: string | null;
  readonly options: SignInOptions & { readonly probe: boolean };
  readonly context: Context;
};

/**
 * Lets a person sign in where the grant is not there yet, probes the mailbox with a token, and calls `store` then. When
 * something fails, nothing is left behind: a grant that was not there before is removed again. Throws `oauth_*`,
 * `token_*`, and the failures of a probe.
 */
export async function useGrant<T>(use: GrantUse, store: (report: ProbeReport | null) => Promise<T>): Promise<T> {
  const { app, selected, options } = use;
  // Without the key no token could be stored: then none is requested.
  await sealedWrite(app, use.mailbox, allSettings, async () => undefined);
  using consent = await newConsent(use);
  // That of an application is created by the probe.
  let mayBeOurs = selected.existing === null && consent === null;
  try {
    const report = options.probe ? await probe(use, consent) : null;
    await consent?.store();
    mayBeOurs = selected.existing === null;
    return await store(report);
  } catch (error) {
    // Another mailbox may use it meanwhile; then it stays.
    if (mayBeOurs) await app.store.removeGrant(selected.name, app.actor).catch(() => undefined);
    throw error;
  }
}

/** null: the grant is there, or needs no person. */
async function newConsent({ app, selected, mailbox, options, context }: GrantUse): Promise<ObtainedConsent | null> {
  const { name, provider, existing } = selected;
  if (provider.flow !== 'person' || existing !== null) return null;
  const { chosenWay, promptConsent } = await import('../oauth/consent-prompt.ts');
  const request = { grant: name, provider, user: mailbox.connection.user, by: app.actor };
  try {
    return await promptConsent(app, request, chosenWay(options), context);
  } catch (error) {
    if (!isFailure(error)) throw error;
    // The usual hint names a command for a mailbox that has a grant, which this one does not have yet.
    const hint = error.hint.replaceAll('ticketmaild mailbox authorize NAME', 'repeat this command');
    throw new Failure(error.code, error.message, { fields: error.fields, hint, cause: error.cause });
  }
}

async function probe(use: GrantUse, consent: ObtainedConsent | null): Promise<ProbeReport> {
  const { app, selected, mailbox, storedName, context } = use;
  try {
    if (consent === null) return await probeWithGrant(app, mailbox, context, storedName);
    const connection = tokenConnection(mailbox.connection, selected.provider);
    const credential = { kind: 'token', secret: consent.accessToken, sessionMs: null } as const;
    return await probeMailbox(app, connection, credential, context, { name: storedName });
  } catch (error) {
    throw storedName === null && isFailure(error) ? beforeStored(error, selected.provider) : error;
  }
}

/** `oauth test` tries the logins of stored mailboxes alone, so the hint of a new one is the advice that it gives. */
function beforeStored(failure: Failure, provider: OAuthProvider): Failure {
  const { code, message, fields, cause } = failure;
  const { hint, steps } = nextSteps(failure, { provider, mailbox: null, account: null, objectId: null });
  const advice = hint.replace(' (mailbox show NAME)', '');
  const more = `Its lines: repeat this command with --no-probe, then ticketmaild oauth test ${provider.name}`;
  return new Failure(code, message, { fields, cause, hint: steps.length === 0 ? advice : `${advice} ${more}` });
}

/**
 * Probes a mailbox with a token of its grant. Throws `oauth_*`, `token_*`, and the failures of a probe. `storedName`:
 * of the stored mailbox; null: it is not stored yet.
 */
export async function probeWithGrant(
  app: App,
  mailbox: Mailbox,
  context: Context,
  storedName: string | null,
): Promise<ProbeReport> {
  try {
    return await app.credentials.withCredential(mailbox, (credential, connection) =>
      probeMailbox(app, connection, credential, context, { name: storedName }),
    );
  } catch (error) {
    if (storedName !== null || !isFailure(error, 'oauth_needs_consent')) throw error;
    throw await withoutMailbox(app, mailbox, error);
  }
}

/** The usual hint names the mailbox, which is not stored. */
async function withoutMailbox(app: App, { grant }: Mailbox, failure: Failure): Promise<Failure> {
  const [other] = grant === null ? [] : await app.store.mailboxesOfGrant(grant);
  const command = other === undefined ? null : shellCommand('mailbox authorize', other);
  const advice =
    command === null ? 'Add it with another --grant, and sign in.' : `Sign in again: ${commandOrNotice(command)}`;
  const { code, message, fields, cause } = failure;
  return new Failure(code, message, { fields, cause, hint: `Nothing was stored. ${advice}` });
}

/** The grant of a person outlives its mailboxes: names the command that ends it. */
export async function noteUnusedGrant(app: App, name: string | null, { terminal }: Pick<Context, 'terminal'>) {
  const grant = name === null ? null : await app.store.grantByName(name);
  if (grant === null || grant.flow !== 'person' || (await app.store.mailboxesOfGrant(grant.name)).length > 0) return;
  const command = commandOrNotice(shellCommand('oauth revoke', grant.name));
  terminal.advice(`note: no mailbox uses its grant any more. To end it at the provider too: ${command}`);
}
