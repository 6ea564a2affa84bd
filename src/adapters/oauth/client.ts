/**
 * OAuth 2 client of the providers of the configuration: tokens, consents, revocation, and a probe of the endpoints.
 *
 * oauth4webapi composes and checks the protocol (RFC 6749, 7009, 7523, 7636, 8414, 8628, 9207); secrets go around it as
 * bytes. Each request has a deadline of 20 seconds.
 */
import {
  clientCredentialsGrantRequest,
  genericTokenEndpointRequest,
  processClientCredentialsResponse,
  processGenericTokenEndpointResponse,
  processRefreshTokenResponse,
  refreshTokenGrantRequest,
  revocationRequest,
} from 'oauth4webapi';
import type { Clock } from '../../async/clock.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { Failure, isFailure } from '../../errors.ts';
import type { ProviderClient, TokenAnswer, TokenRequest } from '../../oauth/ports.ts';
import { providerFailure } from '../../oauth/provider-errors.ts';
import type { SecretBytes } from '../../secret/secret-bytes.ts';
import { startAuthorization } from './authorization.ts';
import { mailboxAssertion, placeholder } from './client-authentication.ts';
import { startDevice } from './device.ts';
import { createDiscovery, type Discovery, type Metadata, requireEndpoint } from './discovery.ts';
import { type EndpointCall, errorOf } from './endpoint-requests.ts';
import { wipeSecrets } from './json-secrets.ts';
import { createTokenRequests, type GrantRequest, type TokenRequests } from './token-requests.ts';

type ClientParts = {
  readonly clock: Clock;
  /** For one request, connection included. */
  readonly deadlineMs?: number;
};

type Call = Omit<EndpointCall, 'names'>;

const defaultDeadlineMs = 20_000;
const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer';

export function createProviderClient({ clock, deadlineMs = defaultDeadlineMs }: ClientParts): ProviderClient {
  const discovery = createDiscovery();
  const requests = createTokenRequests(clock);
  const callOf = (provider: OAuthProvider, signal: AbortSignal): Call => ({ provider, deadlineMs, signal });
  const finding = async <T>(call: Call, endpoint: Endpoint, use: (metadata: Metadata) => Promise<T>): Promise<T> => {
    try {
      return await use(await unsent(metadataOf(discovery, call, endpoint)));
    } catch (error) {
      // An endpoint may have moved.
      if (isFailure(error, 'oauth_provider_failed')) discovery.forget(call.provider);
      throw error;
    }
  };
  return {
    requestToken: (provider, asked, signal) => {
      const call = callOf(provider, signal);
      return finding(call, 'token', (metadata) => requests.tokens(call, grantOf(provider, asked, metadata)));
    },
    authorize: (provider, redirectUri, user) => {
      const call = callOf(provider, new AbortController().signal);
      const tokens = (grant: GrantRequest, signal: AbortSignal): Promise<TokenAnswer> =>
        requests.tokens(callOf(provider, signal), grant);
      return finding(call, 'authorization', async () => {
        // The code is exchanged at the token endpoint, which is discovered with the other one.
        const metadata = await metadataOf(discovery, call, 'token');
        return await startAuthorization({ provider, metadata, redirectUri, user, tokens });
      });
    },
    startDevice: (provider, signal) => {
      const call = callOf(provider, signal);
      return finding(call, 'device', async () => {
        const metadata = await metadataOf(discovery, call, 'token');
        return await startDevice(call, { clock, requests, metadata });
      });
    },
    revoke: async (provider, refreshToken, signal) => {
      const call = callOf(provider, signal);
      const metadata = await discovery.metadataOf(call, 'revocation');
      if (metadata.server.revocation_endpoint === undefined) return false;
      await revoke(requests, call, metadata, refreshToken);
      return true;
    },
    probe: async (provider, signal) => {
      const { server, isIssuerKnown, dateMs } = await discovery.probe(callOf(provider, signal));
      requireEndpoint(provider, server.token_endpoint, 'token_endpoint');
      return {
        issuer: isIssuerKnown ? server.issuer : null,
        tokenEndpoint: server.token_endpoint ?? '',
        clockOffsetMs: dateMs === null ? null : dateMs - clock.nowMs(),
      };
    },
  };
}

/** A discovery that failed: the request that needed it was not sent, so that no token of its answer is lost. */
async function unsent<T>(metadata: Promise<T>): Promise<T> {
  try {
    return await metadata;
  } catch (error) {
    if (!isFailure(error)) throw error;
    const { code, message, fields, hint, cause } = error;
    throw new Failure(code, message, { fields: { ...fields, was_sent: false }, hint, cause });
  }
}

type Endpoint = 'token' | 'authorization' | 'device';

const metadataKeys = {
  token: 'token_endpoint',
  authorization: 'authorization_endpoint',
  device: 'device_authorization_endpoint',
} as const;

const configurationKeys = {
  token: 'token_endpoint',
  authorization: 'authorization_endpoint',
  device: 'device_endpoint',
} as const;

async function metadataOf(discovery: Discovery, call: Call, endpoint: Endpoint): Promise<Metadata> {
  const metadata = await discovery.metadataOf(call, endpoint);
  requireEndpoint(call.provider, metadata.server[metadataKeys[endpoint]], configurationKeys[endpoint]);
  return metadata;
}

function grantOf(provider: OAuthProvider, asked: TokenRequest, { server, isIssuerKnown }: Metadata): GrantRequest {
  const scope = provider.scopes.join(' ');
  const common = { server, isIssuerKnown, secrets: new Map<string, SecretBytes>() };
  if (asked.grantType === 'client_credentials')
    return {
      ...common,
      purpose: 'application',
      send: (client, auth, options) => clientCredentialsGrantRequest(server, client, auth, { scope }, options),
      process: (client, response) => processClientCredentialsResponse(server, client, response),
    };
  if (asked.grantType === 'jwt_bearer')
    return {
      ...common,
      purpose: 'mailbox',
      send: async (client, auth, options, nowS) => {
        const assertion = await mailboxAssertion(provider, asked.subject, server.token_endpoint ?? '', nowS);
        return await genericTokenEndpointRequest(server, client, auth, jwtBearer, { assertion }, options);
      },
      process: (client, response) => processGenericTokenEndpointResponse(server, client, response),
    };
  // Microsoft takes a scope here, for tokens that were given for several resources; others may have granted less.
  const more = provider.kind === 'microsoft' ? { additionalParameters: { scope } } : {};
  return {
    ...common,
    purpose: 'refresh',
    secrets: new Map([['refresh_token', asked.refreshToken]]),
    send: (client, auth, options) =>
      refreshTokenGrantRequest(server, client, auth, placeholder, { ...options, ...more }),
    process: (client, response) => processRefreshTokenResponse(server, client, response),
  };
}

/** A token that the provider no longer knows is revoked (RFC 7009 section 2.2; Google answers `invalid_token`). */
async function revoke(
  requests: TokenRequests,
  call: Call,
  { server }: Metadata,
  refreshToken: SecretBytes,
): Promise<void> {
  const { answer } = await requests.authenticated(call, {
    purpose: 'refresh',
    server,
    secrets: new Map([['token', refreshToken]]),
    send: (client, auth, options) =>
      revocationRequest(server, client, auth, placeholder, {
        ...options,
        additionalParameters: { token_type_hint: 'refresh_token' },
      }),
  });
  wipeSecrets(answer.secrets);
  const refused = answer.status === 200 && answer.json === null ? null : errorOf(answer);
  if (refused === null || refused.error === 'invalid_token') return;
  throw providerFailure(call.provider.name, 'refresh', refused);
}
