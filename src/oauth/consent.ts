/**
 * Consent of a person (OAuth 2 authorization): code with PKCE (RFC 7636), device code (RFC 8628), or an imported token.
 *
 * Begin, let the person sign in, finish, then store what was obtained or dispose of it: until `store` nothing is
 * written, and disposing wipes the tokens. What could not be stored is refused before the person is asked: another
 * flow, a grant of another provider, a key that is not available. A consent in progress lives in memory, for one use.
 */
import type { Clock } from '../async/clock.ts';
import { type OAuthProvider, providerBinding } from '../config/oauth-provider.ts';
import { retryAtSwitchChange } from '../encryption/confirmations.ts';
import type { NewToken, TokenSealing } from '../encryption/tokens.ts';
import { Failure, isFailure } from '../errors.ts';
import type { AuditActor, Mailbox } from '../ingest/model.ts';
import { isValidToken, tokenBytesMax } from '../secret/sealed-token.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import { printableLine } from '../text/printable.ts';
import type { Grant } from './model.ts';
import { asciiLowerCase, checkUserListed } from './permission.ts';
import type { GrantStore, ProviderClient, TokenAnswer } from './ports.ts';

/** For which grant a person is asked. The grant is created with the consent, or renewed by it. */
export type ConsentRequest = {
  /** Name of the grant. */
  readonly grant: string;
  /** Of flow `person`. */
  readonly provider: OAuthProvider;
  /** User of the mailbox that the grant is for, proposed to the person; null: the mailboxes that have it already. */
  readonly user: string | null;
  readonly by: AuditActor;
};

/** What the person consented to, verified and not stored yet. Disposing wipes the tokens. */
export interface ObtainedConsent extends Disposable {
  /** Who signed in, lower case; null: the provider does not say. */
  readonly account: string | null;
  /** For a login before the consent is stored; borrowed until this is disposed. */
  readonly accessToken: SecretBytes;
  /** Seals and stores it; the mailboxes of the grant are due at once. Throws `refused`, `key_*`, `database_*`. */
  store(): Promise<Grant>;
}

export interface BrowserConsent {
  /** Address for the browser of the person. */
  readonly url: string;
  readonly state: string;
  /**
   * `answer`: the whole address that the browser ended at. An answer of another sign-in, or none, leaves this one open;
   * a code is good for one use. Throws `oauth_consent_refused`, `oauth_provider_*`.
   */
  finish(answer: string, signal: AbortSignal): Promise<ObtainedConsent>;
}

export interface DeviceConsent {
  readonly verificationUri: string;
  /** What the person enters there. */
  readonly userCode: string;
  readonly expiresInMs: number;
  /** Waits until the person has signed in. Throws as `BrowserConsent.finish`, and `interrupted`. */
  finish(signal: AbortSignal): Promise<ObtainedConsent>;
}

export interface Consents {
  /** The browser ends at `redirectUri`, which the registration of the application has to list. */
  beginBrowser(request: ConsentRequest, redirectUri: string): Promise<BrowserConsent>;
  beginDevice(request: ConsentRequest, signal: AbortSignal): Promise<DeviceConsent>;
  /**
   * Proves a refresh token of another program by one renewal; borrows it. A provider that rotates has replaced it then.
   * `account`: who consented, where the provider does not say.
   */
  importToken(
    request: ConsentRequest,
    refreshToken: SecretBytes,
    account: string | null,
    signal: AbortSignal,
  ): Promise<ObtainedConsent>;
}

export type ConsentPorts = {
  readonly store: Pick<GrantStore, 'grantByName' | 'storeConsent'> & {
    listMailboxes(): Promise<readonly Mailbox[]>;
  };
  readonly sealing: Pick<TokenSealing, 'prepare'>;
  readonly client: Pick<ProviderClient, 'authorize' | 'startDevice' | 'requestToken'>;
  readonly clock: Clock;
  readonly newId: () => string;
};

export function createConsents(ports: ConsentPorts): Consents {
  const { client } = ports;
  return {
    beginBrowser: async (request, redirectUri) => {
      await checkStorable(request, ports);
      const authorization = await client.authorize(request.provider, redirectUri, request.user ?? '');
      return {
        url: authorization.url,
        state: authorization.state,
        finish: async (answer, signal) =>
          await obtained(request, await answered(authorization.finish(answer, signal), request.provider), ports),
      };
    },
    beginDevice: async (request, signal) => {
      await checkStorable(request, ports);
      const device = await client.startDevice(request.provider, signal);
      return {
        verificationUri: device.verificationUri,
        userCode: device.userCode,
        expiresInMs: device.expiresInMs,
        finish: async (stop) => await obtained(request, await answered(device.wait(stop), request.provider), ports),
      };
    },
    importToken: async (request, refreshToken, account, signal) => {
      if (!refreshToken.use(isValidToken))
        throw new Failure('usage', `a refresh token is one line of 1 to ${tokenBytesMax} printable ASCII characters`);
      await checkStorable(request, ports);
      const asked = { grantType: 'refresh_token', refreshToken } as const;
      const answer = await proved(client.requestToken(request.provider, asked, signal), request.provider);
      return await obtained(request, renewedBy(answer, refreshToken, account), ports);
    },
  };
}

/** A provider without rotation issues no other refresh token: the imported one stays. */
function renewedBy(answer: TokenAnswer, used: SecretBytes, account: string | null): TokenAnswer {
  return {
    ...answer,
    refreshToken: answer.refreshToken ?? used.copy(),
    account: answer.account ?? (account === null ? null : asciiLowerCase(account)),
  };
}

const smallerTokens = 'Have it issue smaller tokens: fewer claims, groups or roles in them.';

/** Its usual hint is that of a renewal, which is repeated; a sign-in is not. */
async function answered(answer: Promise<TokenAnswer>, { name }: OAuthProvider): Promise<TokenAnswer> {
  try {
    return await answer;
  } catch (error) {
    if (!isFailure(error, 'oauth_provider_failed')) throw error;
    const { code, message, fields, cause } = error;
    const advice =
      fields['cause'] === 'token_too_long' ? smallerTokens : `Begin again; see ticketmaild oauth test ${name}.`;
    throw new Failure(code, message, { fields, cause, hint: `Nothing was stored. ${advice}` });
  }
}

async function proved(answer: Promise<TokenAnswer>, provider: OAuthProvider): Promise<TokenAnswer> {
  try {
    return await answered(answer, provider);
  } catch (error) {
    if (!isFailure(error, 'oauth_needs_consent')) throw error;
    const hint =
      'Nothing was stored. A refresh token is good for the client_id that it was issued to, until the provider ends it.';
    const message = `The provider refuses this refresh token (${error.fields['cause']}).`;
    throw new Failure('oauth_consent_refused', message, { fields: error.fields, hint });
  }
}

/** Everything that would forbid to store a consent, and can be known before the person is asked. */
async function checkStorable({ grant: name, provider }: ConsentRequest, { store, sealing, newId }: ConsentPorts) {
  if (provider.flow !== 'person')
    throw new Failure('refused', `provider ${provider.name} is one of flow "${provider.flow}": no person signs in`, {
      hint: `Its mailboxes need no consent: see ticketmaild oauth test ${provider.name}.`,
    });
  const grant = await store.grantByName(name);
  if (grant !== null && grant.provider !== provider.name)
    throw new Failure('refused', `grant ${name} is one of provider ${printableLine(grant.provider)}`, {
      hint: 'Choose another name, or remove that grant first: ticketmaild oauth revoke NAME',
    });
  // Seals a letter as the token will be.
  using probe = SecretBytes.take(Uint8Array.of(0x78));
  await sealing.prepare(probe, contextOfConsent(grant?.id ?? newId(), provider, null));
}

function contextOfConsent(grantId: string, provider: OAuthProvider, account: string | null) {
  return { grantId, binding: providerBinding(provider), account, kind: 'refresh', username: '' } as const;
}

/** Takes the tokens of the answer. */
async function obtained(request: ConsentRequest, answer: TokenAnswer, ports: ConsentPorts): Promise<ObtainedConsent> {
  const wipe = (): void => {
    answer.accessToken.wipe();
    answer.refreshToken?.wipe();
  };
  try {
    const refresh = checkedRefresh(request.provider, answer);
    await checkAccount(request, answer.account, ports);
    return {
      account: answer.account,
      accessToken: answer.accessToken,
      store: () => storeConsent(request, { ...answer, refreshToken: refresh }, ports),
      [Symbol.dispose]: wipe,
    };
  } catch (error) {
    wipe();
    throw error;
  }
}

/** The refresh token, if it and the permissions are such that it opens a mailbox later. */
function checkedRefresh(provider: OAuthProvider, { refreshToken, accessToken, scope }: TokenAnswer): SecretBytes {
  const refused = (message: string, hint: string): Failure =>
    new Failure('oauth_consent_refused', message, {
      fields: { provider: provider.name },
      hint: `Nothing was stored. ${hint}`,
    });
  if (refreshToken === null)
    throw refused(`The provider ${provider.name} gave no refresh token.`, reasonForNoRefresh(provider));
  const longest = Math.max(refreshToken.length, accessToken.length);
  if (longest > tokenBytesMax) {
    const message = `The provider ${provider.name} issued a token of ${longest} bytes; ${tokenBytesMax} can be stored.`;
    throw refused(message, smallerTokens);
  }
  const granted = scope?.split(' ') ?? null;
  const missing = provider.kind === 'google' && granted !== null ? provider.scopes.filter(isMailScope) : [];
  if (missing.some((one) => granted?.includes(one) === false))
    throw refused('The access to mail was not allowed.', 'Sign in again, and tick the box for Gmail.');
  return refreshToken;
}

function isMailScope(scope: string): boolean {
  return scope.startsWith('https://mail.google.com/');
}

/** Google looks at the prompt and has no scope `offline_access`. */
function reasonForNoRefresh({ kind, name, scopes, prompt }: OAuthProvider): string {
  const asked = kind === 'google' || kind === 'yahoo' || scopes.includes('offline_access');
  if (!asked) return `Add "offline_access" to scopes in [oauth.${name}], and begin again.`;
  if (kind !== 'microsoft' && prompt !== 'consent') {
    const other =
      kind === 'oidc'
        ? ' If it refuses that prompt: --device, or allow refresh tokens for this application there.'
        : '';
    return `Set prompt = "consent" in [oauth.${name}], since it was consented to before, and begin again.${other}`;
  }
  return 'Allow refresh tokens (offline access) for this application at the provider, and begin again.';
}

/** The token has to open the mailbox, as the account's own or a listed one, and all that the grant opened before. */
async function checkAccount(
  { grant: name, provider, user }: ConsentRequest,
  account: string | null,
  ports: ConsentPorts,
) {
  const { store } = ports;
  if (user !== null && !isListed(user, provider, account)) throw wrongAccount(user, provider, account);
  const before = await store.grantByName(name);
  if (before === null || before.account === account) return;
  const users = (await store.listMailboxes())
    .filter((mailbox) => mailbox.grant === name && mailbox.state !== 'removing')
    .map((mailbox) => mailbox.connection.user);
  const lost = users.find((one) => isListed(one, provider, before.account) && !isListed(one, provider, account));
  if (lost !== undefined) throw wrongAccount(lost, provider, account);
}

function isListed(user: string, provider: OAuthProvider, account: string | null): boolean {
  try {
    checkUserListed(user, provider, account);
    return true;
  } catch (error) {
    if (isFailure(error, 'oauth_mailbox_not_listed')) return false;
    throw error;
  }
}

function wrongAccount(user: string, { name }: OAuthProvider, account: string | null): Failure {
  const shown = printableLine(user);
  const listed = `add ${shown} to mailboxes in [oauth.${name}] of the configuration file, and reload`;
  const fields = { provider: name };
  if (account === null) {
    const hint = `Nothing was stored. Add "openid" and "email" to scopes in [oauth.${name}], or ${listed}.`;
    const message = `The provider ${name} does not say who signed in, and the mailbox of ${shown} is not listed.`;
    return new Failure('oauth_consent_refused', message, { fields, hint });
  }
  const message = `${printableLine(account)} signed in, and the mailbox is that of ${shown}.`;
  const hint = `Nothing was stored. Sign in as ${shown}, in a private window; or, for a shared mailbox, ${listed}.`;
  return new Failure('oauth_consent_refused', message, { fields, hint });
}

type StorableAnswer = TokenAnswer & { readonly refreshToken: SecretBytes };

const storeTriesMax = 5;
const retryMs = 1000;

/** Tried again while the database fails: the person has signed in, and a code is good for one use. */
async function storeConsent(request: ConsentRequest, answer: StorableAnswer, ports: ConsentPorts): Promise<Grant> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await retryAtSwitchChange(() => sealAndStore(request, answer, ports));
    } catch (error) {
      if (!isFailure(error) || error.domain !== 'database' || tries === storeTriesMax) throw error;
    }
    await ports.clock.sleep(retryMs, new AbortController().signal);
  }
}

async function sealAndStore(request: ConsentRequest, answer: StorableAnswer, ports: ConsentPorts): Promise<Grant> {
  const { grant: name, provider, by } = request;
  const { account, scope, refreshToken } = answer;
  const id = (await ports.store.grantByName(name))?.id ?? ports.newId();
  const refresh: NewToken = await ports.sealing.prepare(refreshToken, contextOfConsent(id, provider, account));
  return await ports.store.storeConsent({ id, name, provider: provider.name, account, scope, refresh, by });
}
