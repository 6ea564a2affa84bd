/**
 * Authorization code grant (RFC 6749 section 4.1) with PKCE S256 (RFC 7636), `state`, and `iss` (RFC 9207).
 *
 * Works with any redirect address, also one without a listener: the person then brings the address of the browser.
 * Verifier and state are strings in memory, good for one use.
 */
import {
  AuthorizationResponseError,
  authorizationCodeGrantRequest,
  calculatePKCECodeChallenge,
  generateRandomCodeVerifier,
  generateRandomState,
  processAuthorizationCodeResponse,
  validateAuthResponse,
} from 'oauth4webapi';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { Failure } from '../../errors.ts';
import type { Authorization, TokenAnswer } from '../../oauth/ports.ts';
import { providerFailure } from '../../oauth/provider-errors.ts';
import type { Metadata } from './discovery.ts';
import { clientOf, type GrantRequest } from './token-requests.ts';

type Start = {
  readonly provider: OAuthProvider;
  readonly metadata: Metadata;
  readonly redirectUri: string;
  /** Proposed to the person; '' for none. */
  readonly user: string;
  readonly tokens: (grant: GrantRequest, signal: AbortSignal) => Promise<TokenAnswer>;
};

export async function startAuthorization(start: Start): Promise<Authorization> {
  const verifier = generateRandomCodeVerifier();
  const state = generateRandomState();
  const url = await addressOf(start, verifier, state);
  let isFinished = false;
  return {
    url,
    state,
    finish: async (answer, signal) => {
      const { provider, redirectUri, tokens } = start;
      const { server, isIssuerKnown } = start.metadata;
      const parameters = checkedAnswer(start, answer, state);
      if (isFinished) throw refused(provider, 'This sign-in was finished already: a code is good for one use.');
      isFinished = true;
      return await tokens(
        {
          purpose: 'consent',
          server,
          isIssuerKnown,
          secrets: new Map(),
          send: (client, auth, options) =>
            authorizationCodeGrantRequest(server, client, auth, parameters(), redirectUri, verifier, options),
          process: (client, response) => processAuthorizationCodeResponse(server, client, response),
        },
        signal,
      );
    },
  };
}

async function addressOf({ provider, metadata, redirectUri, user }: Start, verifier: string, state: string) {
  const url = new URL(metadata.server.authorization_endpoint ?? '');
  const parameters = {
    client_id: provider.clientId,
    response_type: 'code',
    redirect_uri: redirectUri,
    scope: provider.scopes.join(' '),
    state,
    code_challenge: await calculatePKCECodeChallenge(verifier),
    code_challenge_method: 'S256',
    ...(user === '' ? {} : { login_hint: user }),
    ...(provider.prompt === null ? {} : { prompt: provider.prompt }),
    // Google gives a refresh token to this parameter, where others have the scope offline_access.
    ...(provider.kind === 'google' ? { access_type: 'offline' } : {}),
  };
  for (const [name, value] of Object.entries(parameters)) url.searchParams.set(name, value);
  return url.href;
}

/** Checks the address that the browser was sent to. The library takes only parameters that it has checked. */
function checkedAnswer({ provider, metadata }: Start, answer: string, state: string): () => URLSearchParams {
  const url = URL.parse(answer.trim());
  if (url === null) throw refused(provider, 'That is no address.', wholeAddress);
  const parameters = url.searchParams;
  if (parameters.has('code_challenge'))
    throw refused(provider, 'That is the address to open in a browser.', wholeAddress);
  if (!parameters.has('code') && !parameters.has('error'))
    throw refused(provider, 'The address holds no code.', wholeAddress);
  if (parameters.getAll('state').join(' ') !== state)
    throw refused(provider, 'The answer belongs to another sign-in, or to none of this program (state).');
  if (!metadata.isIssuerKnown) parameters.delete('iss');
  const check = (): URLSearchParams => validateAuthResponse(metadata.server, clientOf(provider), parameters, state);
  try {
    check();
  } catch (error) {
    if (error instanceof AuthorizationResponseError) throw redirectFailure(provider, parameters);
    throw refused(provider, 'The answer comes from another provider, or is damaged (iss).');
  }
  return check;
}

/** `error_description` is read for the number of Microsoft alone. */
function redirectFailure(provider: OAuthProvider, parameters: URLSearchParams): Failure {
  const [, number] = /^AADSTS(\d{5,7})\b/.exec(parameters.get('error_description') ?? '') ?? [];
  const failure = providerFailure(provider.name, 'consent', {
    status: null,
    error: parameters.get('error'),
    microsoftNumbers: number === undefined ? [] : [Number(number)],
    retryAfter: null,
    atMs: 0,
  });
  if (failure.fields['cause'] !== 'invalid_request') return failure;
  const { code, message, fields } = failure;
  return new Failure(code, message, { fields, hint: invalidRequestHint(provider) });
}

/** OpenID Connect Core section 3.1.2.1 makes the support of a prompt optional; the scope may do without it. */
function invalidRequestHint({ kind, name, prompt }: OAuthProvider): string {
  const device =
    kind === 'google' || kind === 'yahoo'
      ? ''
      : ' Or sign in at a terminal with --device, which has neither prompt nor redirect address.';
  const compared = `client_id and scopes in [oauth.${name}], and the redirect address, with the registration`;
  if (prompt === null) return `Nothing was stored. Compare ${compared}.${device}`;
  return `Nothing was stored. The provider may not support prompt=${prompt}: set prompt = "none" in [oauth.${name}]. Else compare ${compared}.${device}`;
}

const wholeAddress = 'Copy the whole address that the browser ends at, from https:// or http:// on.';

function refused({ name }: OAuthProvider, message: string, hint?: string): Failure {
  return new Failure('oauth_consent_refused', message, {
    fields: { provider: name },
    ...(hint === undefined ? {} : { hint }),
  });
}
