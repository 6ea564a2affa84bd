/**
 * Provider metadata: the endpoints of the configuration, and discovery (OpenID Connect Discovery 1.0, RFC 8414).
 *
 * The issuer of the metadata has to be the configured one, and an endpoint of the configuration wins. The metadata are
 * cached for the life of the process, until a request to the provider fails.
 */
import { type AuthorizationServer, discoveryRequest, processDiscoveryResponse } from 'oauth4webapi';
import { isLoopback } from '../../config/machine.ts';
import type { OAuthProvider } from '../../config/oauth-provider.ts';
import { Failure } from '../../errors.ts';
import { ask, type EndpointCall, errorOf, metadataNames, request } from './endpoint-requests.ts';
import { hostOf } from './http-exchange.ts';

export type Metadata = {
  readonly server: AuthorizationServer;
  /** False: the issuer is not known, so that the parameter `iss` (RFC 9207) cannot be checked. */
  readonly isIssuerKnown: boolean;
  /** Clock of the provider, milliseconds since 1970, if it was asked just now and says so. */
  readonly dateMs: number | null;
};

export interface Discovery {
  metadataOf(call: Omit<EndpointCall, 'names'>, needed: keyof OAuthProvider['endpoints']): Promise<Metadata>;
  /** Asks the provider, whatever is cached. */
  probe(call: Omit<EndpointCall, 'names'>): Promise<Metadata>;
  forget(provider: OAuthProvider): void;
}

/** Issuers of the kinds whose endpoints are built in. Microsoft has one for each tenant, by its id. */
const knownIssuers: Readonly<Record<OAuthProvider['kind'], string | null>> = {
  microsoft: null,
  google: 'https://accounts.google.com',
  yahoo: null,
  oidc: null,
};

export function createDiscovery(): Discovery {
  const cache = new Map<string, AuthorizationServer>();
  const discover = async (call: Omit<EndpointCall, 'names'>, issuer: string): Promise<Metadata> => {
    const found = await fetchMetadata({ ...call, names: metadataNames }, issuer);
    cache.set(keyOf(call.provider), found.server);
    return { ...merge(call.provider, found.server), dateMs: found.dateMs };
  };
  return {
    metadataOf: async (call, needed) => {
      const { provider } = call;
      const { issuer, endpoints } = provider;
      if (endpoints[needed] !== null || issuer === null) return merge(provider, {});
      const cached = cache.get(keyOf(provider));
      return cached === undefined ? await discover(call, issuer) : merge(provider, cached);
    },
    probe: async (call) => {
      const { provider } = call;
      if (provider.issuer !== null) return await discover(call, provider.issuer);
      const metadata = merge(provider, {});
      const { dateMs } = await ask(
        { ...call, names: metadataNames },
        new URL(metadata.server.token_endpoint ?? ''),
        null,
      );
      return { ...metadata, dateMs };
    },
    forget: (provider) => void cache.delete(keyOf(provider)),
  };
}

const endpointKeys = [
  'token_endpoint',
  'authorization_endpoint',
  'device_authorization_endpoint',
  'revocation_endpoint',
] as const;

function keyOf({ issuer, caPem, proxy }: OAuthProvider): string {
  return JSON.stringify([issuer, caPem, proxy]);
}

function merge(provider: OAuthProvider, found: Partial<AuthorizationServer>): Metadata {
  const { kind, endpoints } = provider;
  const issuer = provider.issuer ?? knownIssuers[kind];
  const own = {
    token_endpoint: endpoints.token ?? found.token_endpoint,
    authorization_endpoint: endpoints.authorization ?? found.authorization_endpoint,
    device_authorization_endpoint: endpoints.device ?? found.device_authorization_endpoint,
    revocation_endpoint: endpoints.revocation ?? found.revocation_endpoint,
  };
  const named = Object.fromEntries(Object.entries(own).filter(([, value]) => value !== undefined));
  const server = { ...found, ...named, issuer: issuer ?? 'https://unknown.invalid' };
  return { server, isIssuerKnown: issuer !== null, dateMs: null };
}

type Found = { readonly server: AuthorizationServer; readonly dateMs: number | null };

/** OpenID Connect first; where that is not found, RFC 8414. */
async function fetchMetadata(call: EndpointCall, issuer: string): Promise<Found> {
  const first = await askMetadata(call, issuer, 'oidc');
  const found = first.answer.status === 404 ? await askMetadata(call, issuer, 'oauth2') : first;
  const { name } = call.provider;
  if (errorOf(found.answer) !== null || found.answer.json === null)
    throw unusable(name, `its metadata cannot be read (http_${found.answer.status})`, `http_${found.answer.status}`);
  try {
    const server = await processDiscoveryResponse(new URL(issuer), found.response);
    checkEndpoints(name, issuer, server);
    return { server, dateMs: found.answer.dateMs };
  } catch (error) {
    if (error instanceof Failure) throw error;
    throw unusable(name, 'its metadata name another issuer, or are not complete', 'issuer_mismatch');
  }
}

/** TLS for every endpoint (RFC 8414 section 2); plain http to loopback only where the issuer itself is there. */
function checkEndpoints(provider: string, issuer: string, server: AuthorizationServer): void {
  const isPlainAllowed = new URL(issuer).protocol === 'http:';
  for (const key of endpointKeys) {
    const address = server[key];
    if ((address ?? null) === null) continue;
    const url = URL.parse(`${address}`);
    const isPlainLoopback = isPlainAllowed && url?.protocol === 'http:' && isLoopback(hostOf(url));
    if (url !== null && (url.protocol === 'https:' || isPlainLoopback) && url.username + url.password === '') continue;
    throw new Failure('oauth_provider_failed', `The provider ${provider} names a ${key} that is not https.`, {
      fields: { provider, cause: 'not_https' },
      hint: 'Check issuer in [oauth.NAME]: its endpoints have to begin with https://, as the issuer does.',
    });
  }
}

function askMetadata(call: EndpointCall, issuer: string, algorithm: 'oidc' | 'oauth2') {
  return request(call, new Map(), (options) => discoveryRequest(new URL(issuer), { ...options, algorithm }));
}

function unusable(provider: string, what: string, cause: string): Failure {
  return new Failure('oauth_provider_failed', `The provider ${provider} cannot be used: ${what}.`, {
    fields: { provider, cause },
    hint: 'Check issuer in [oauth.NAME]: exactly as the provider writes it, with or without a slash at the end.',
  });
}

/** Throws `config_invalid`: the endpoint is neither configured nor discovered. */
export function requireEndpoint(provider: OAuthProvider, endpoint: string | undefined, key: string): void {
  if (endpoint !== undefined) return;
  throw new Failure('config_invalid', `The provider ${provider.name} has no ${key}.`, {
    fields: { provider: provider.name },
    hint: `Set ${key} in [oauth.NAME], or choose another way to sign in.`,
  });
}
