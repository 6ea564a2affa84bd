/**
 * Token requests (RFC 6749 section 3.2): client authentication, one retry for a wrong clock, and the tokens as bytes.
 */
import type { AuthorizationServer, Client, ClientAuth, TokenEndpointResponse } from 'oauth4webapi';
import type { Clock } from '../../async/clock.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { Failure } from '../../errors.ts';
import type { TokenAnswer } from '../../oauth/ports.ts';
import {
  mayBeClock,
  type ProviderErrorResponse,
  providerFailure,
  type RequestPurpose,
} from '../../oauth/provider-errors.ts';
import { tokenBytesMax } from '../../secret/sealed-token.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { authenticateClient } from './client-authentication.ts';
import {
  type EndpointAnswer,
  type EndpointCall,
  errorOf,
  type LibraryOptions,
  request,
  tokenNames,
} from './endpoint-requests.ts';
import { accountOf } from './id-token.ts';
import { wipeSecrets } from './json-secrets.ts';

/** One grant type: how the library composes the request and processes the response. */
export type GrantRequest = {
  readonly purpose: RequestPurpose;
  readonly server: AuthorizationServer;
  readonly isIssuerKnown: boolean;
  /** Fields of the form beside those of client authentication; borrowed. */
  readonly secrets: ReadonlyMap<string, SecretBytes>;
  /** `nowS`: seconds since 1970 by the clock of the provider. */
  readonly send: (client: Client, auth: ClientAuth, options: LibraryOptions, nowS: number) => Promise<Response>;
  readonly process: (client: Client, response: Response) => Promise<TokenEndpointResponse>;
};

export type TokenOutcome =
  | { readonly kind: 'tokens'; readonly answer: TokenAnswer }
  | { readonly kind: 'refused'; readonly response: ProviderErrorResponse };

export interface TokenRequests {
  /** A success, or the error response of the provider. */
  outcome(call: Omit<EndpointCall, 'names'>, grant: GrantRequest): Promise<TokenOutcome>;
  /** The tokens; throws the failure of an error response. */
  tokens(call: Omit<EndpointCall, 'names'>, grant: GrantRequest): Promise<TokenAnswer>;
  /** A request to another endpoint with client authentication. Throws the failure of an error response. */
  authenticated(
    call: Omit<EndpointCall, 'names'>,
    grant: Omit<GrantRequest, 'process' | 'isIssuerKnown'>,
  ): Promise<{ readonly answer: EndpointAnswer; readonly response: Response }>;
}

/** Below it the refusal has another cause. */
const offsetMsMin = 5000;

export function createTokenRequests(clock: Pick<Clock, 'nowMs'>): TokenRequests {
  /** Clock of a provider minus ours, where it refused an assertion. */
  const offsetsMs = new Map<string, number>();

  const attempt = async (call: EndpointCall, grant: Omit<GrantRequest, 'process' | 'isIssuerKnown'>) => {
    const { provider } = call;
    const nowS = Math.floor((clock.nowMs() + (offsetsMs.get(provider.name) ?? 0)) / 1000);
    const { auth, secrets } = await authenticateClient(provider, grant.server.token_endpoint ?? '', nowS);
    try {
      const all = new Map([...grant.secrets, ...secrets]);
      return await request(call, all, (options) => grant.send(clientOf(provider), auth, options, nowS));
    } finally {
      wipeSecrets(secrets);
    }
  };

  const authenticated: TokenRequests['authenticated'] = async (call, grant) => {
    const asked = { ...call, names: tokenNames };
    const first = await attempt(asked, grant);
    const refused = errorOf(first.answer);
    if (refused === null || !usesAssertion(call.provider) || !mayBeClock(refused)) return first;
    const { dateMs } = first.answer;
    const offsetMs = dateMs === null ? 0 : dateMs - clock.nowMs();
    const usedMs = offsetsMs.get(call.provider.name) ?? 0;
    if (dateMs === null || Math.abs(offsetMs - usedMs) < offsetMsMin) return first;
    wipeSecrets(first.answer.secrets);
    offsetsMs.set(call.provider.name, offsetMs);
    return await attempt(asked, grant);
  };

  const outcome: TokenRequests['outcome'] = async (call, grant) => {
    const { answer, response } = await authenticated(call, grant);
    try {
      const refused = errorOf(answer);
      if (refused !== null) return { kind: 'refused', response: refused };
      return { kind: 'tokens', answer: await readTokens(call.provider, grant, answer, response) };
    } finally {
      // Those that were handed out are copies.
      wipeSecrets(answer.secrets);
    }
  };

  return {
    outcome,
    tokens: async (call, grant) => {
      const result = await outcome(call, grant);
      if (result.kind === 'tokens') return result.answer;
      throw providerFailure(call.provider.name, grant.purpose, result.response);
    },
    authenticated,
  };
}

function usesAssertion({ credential: { kind } }: OAuthProvider): boolean {
  return kind === 'private_key' || kind === 'service_account';
}

/** The library requires a client id, which a service account does not have. */
export function clientOf({ clientId }: OAuthProvider): Client {
  return { client_id: clientId === '' ? 'none' : clientId };
}

const expiresInMsMax = 366 * 86_400_000;

async function readTokens(
  provider: OAuthProvider,
  grant: GrantRequest,
  { secrets }: EndpointAnswer,
  response: Response,
): Promise<TokenAnswer> {
  const result = await processed(provider, grant, response);
  const access = secrets.get('access_token');
  const refresh = secrets.get('refresh_token') ?? null;
  const idToken = secrets.get('id_token') ?? null;
  if (access === undefined) throw unreadable(provider, 'no_access_token');
  for (const token of [access, refresh]) {
    if (token !== null && token.length > tokenBytesMax) throw unreadable(provider, 'token_too_long');
    if (token?.use(isTokenText) === false) throw unreadable(provider, 'token_unreadable');
  }
  const { expires_in: expiresInS, scope } = result;
  const issuer = grant.isIssuerKnown ? grant.server.issuer : null;
  return {
    accessToken: access.copy(),
    expiresInMs: expiresInS === undefined ? null : Math.min(expiresInS * 1000, expiresInMsMax),
    refreshToken: refresh === null || refresh.length === 0 ? null : refresh.copy(),
    scope: scope === undefined ? null : grantedScopes(provider, scope),
    account: idToken === null ? null : accountOf(provider, idToken, issuer),
  };
}

/** Of the configured scopes; the words of the provider are not kept, as they may repeat a token. */
function grantedScopes({ scopes }: OAuthProvider, granted: string): string {
  const words = new Set(granted.split(' '));
  return scopes.filter((one) => words.has(one)).join(' ');
}

async function processed(provider: OAuthProvider, grant: GrantRequest, response: Response) {
  try {
    return await grant.process(clientOf(provider), response);
  } catch {
    // The error of the library holds the answer.
    throw unreadable(provider, 'answer_not_conformant');
  }
}

/** Printable ASCII (RFC 6749 appendix A). A control character would end the field in a SASL response. */
function isTokenText(bytes: Uint8Array): boolean {
  return bytes.every((byte) => byte >= 0x20 && byte <= 0x7e);
}

function unreadable({ name }: OAuthProvider, cause: string): Failure {
  return new Failure('oauth_provider_failed', `The provider ${name} sends tokens that cannot be used (${cause}).`, {
    fields: { provider: name, cause },
  });
}
