/**
 * Clients and settings of the OpenID provider of the tests: five ways to a grant, data in memory.
 *
 * Any user name is an account. Access tokens are for one resource, the mail server, and carry `username`, the name that
 * Dovecot compares with the one in the login; those of an application carry its client id.
 */
import type { KeyObject } from 'node:crypto';
import type { ProviderContext } from 'oidc-provider';

export const mailResource = 'https://mail.example.test/';
export const jwtBearer = 'urn:ietf:params:oauth:grant-type:jwt-bearer';
export const signingKeyId = 'k1';
export const personScopes = ['openid', 'email', 'offline_access', 'mail'] as const;
const device = 'urn:ietf:params:oauth:grant-type:device_code';

export type ProviderKnobs = {
  /** Life time of access tokens from now on. */
  accessTtlS: number;
  /**
   * strict: a refresh token is good once, and used again it ends its whole family; lenient: a new one each time, the
   * former ones stay good (Microsoft); off: no new one (Google).
   */
  rotation: 'strict' | 'lenient' | 'off';
  /** So many bytes more in each access token that is a JWT, as with many roles. */
  padBytes: number;
  /** Of the whole provider, ahead of this machine. */
  clockOffsetS: number;
  /** The next answers at one path. */
  fault: ProviderFault | null;
};

export type ProviderFault = {
  readonly path: string;
  readonly count: number;
  /** Token requests of this grant type alone. */
  readonly grantType?: string;
  /** Left out: the provider answers. */
  readonly status?: number;
  readonly body?: unknown;
  /** The body repeats the whole form of the request, as `error_description`, or as text where `body` is none. */
  readonly echoes?: boolean;
  readonly headers?: Readonly<Record<string, string>>;
  readonly delayMs?: number;
  /** The work is done, and the answer never arrives. */
  readonly drop?: boolean;
};

type Row = { grantId?: string; uid?: string; userCode?: string; accountId?: string; consumed?: number };

/** Everything that the provider remembers, by model. The adapter of the library forgets what is beyond 1,000 rows. */
const models = new Map<string, Map<string, Row>>();

function rowsOf(model: string): Map<string, Row> {
  const rows = models.get(model) ?? new Map<string, Row>();
  models.set(model, rows);
  return rows;
}

function memoryAdapter(knobs: ProviderKnobs) {
  return (model: string) => {
    const rows = rowsOf(model);
    return {
      upsert: async (id: string, row: Row) => void rows.set(id, row),
      find: async (id: string) => rows.get(id),
      findByUid: async (uid: string) => rows.values().find((row) => row.uid === uid),
      findByUserCode: async (code: string) => rows.values().find((row) => row.userCode === code),
      consume: async (id: string) => {
        const row = rows.get(id);
        const isKept = model === 'RefreshToken' && knobs.rotation === 'lenient';
        if (row !== undefined && !isKept) row.consumed = Math.floor(Date.now() / 1000);
      },
      destroy: async (id: string) => void rows.delete(id),
      revokeByGrantId: async (grantId: string) => {
        for (const [id, row] of rows) if (row.grantId === grantId) rows.delete(id);
      },
    };
  };
}

/** Ends everything that an account has granted; returns the number of grants. */
export function revokeAccount(account: string): number {
  const grants = new Set([...rowsOf('Grant')].filter(([, row]) => row.accountId === account).map(([id]) => id));
  for (const rows of models.values())
    for (const [id, row] of rows) if (grants.has(id) || grants.has(row.grantId ?? '')) rows.delete(id);
  return grants.size;
}

export type ProviderSecrets = { readonly client: string; readonly dovecot: string };

/** `test-page` has the address of the admin page, the other clients of persons loopback. */
function clients(secrets: ProviderSecrets, appKey: KeyObject): readonly object[] {
  const person = {
    grant_types: ['authorization_code', 'refresh_token', device],
    response_types: ['code'],
    scope: personScopes.join(' '),
    application_type: 'native',
    redirect_uris: ['http://127.0.0.1/oauth/callback', 'http://localhost/oauth/callback'],
  };
  const page = {
    redirect_uris: ['https://desk.example.test/admin/oauth/callback', 'http://127.0.0.1/admin/oauth/callback'],
  };
  const noPerson = { redirect_uris: [], response_types: [] };
  const withSecret = { client_secret: secrets.client, token_endpoint_auth_method: 'client_secret_post' };
  const jwk = { ...appKey.export({ format: 'jwk' }), kid: 'app1', use: 'sig', alg: 'RS256' };
  const withKey = { token_endpoint_auth_method: 'private_key_jwt', jwks: { keys: [jwk] } };
  const application = { ...noPerson, grant_types: ['client_credentials'], scope: 'mail.app' };
  return [
    { client_id: 'test-public', token_endpoint_auth_method: 'none', ...person },
    { client_id: 'test-secret', ...withSecret, ...person },
    { client_id: 'test-key', ...withKey, ...person },
    { client_id: 'test-page', ...withSecret, ...person, ...page },
    { client_id: 'test-app-secret', ...withSecret, ...application },
    { client_id: 'test-app-key', ...withKey, ...application },
    {
      client_id: 'test-service',
      token_endpoint_auth_method: 'none',
      ...noPerson,
      grant_types: [jwtBearer],
      scope: 'mail',
    },
    {
      client_id: 'dovecot',
      client_secret: secrets.dovecot,
      token_endpoint_auth_method: 'client_secret_basic',
      ...noPerson,
      grant_types: [],
    },
  ];
}

export type ProviderParts = {
  readonly knobs: ProviderKnobs;
  readonly secrets: ProviderSecrets;
  readonly signingKey: KeyObject;
  /** Public key of the applications. */
  readonly appKey: KeyObject;
  readonly tokenFormat: 'opaque' | 'jwt';
};

/** Dovecot 2.3 takes `JWT` alone as the type of a token, where RFC 9068 has `at+jwt`; Keycloak sends `JWT` too. */
function dovecotsType(_context: ProviderContext, _token: unknown, parts: { header: object }) {
  return Object.assign(parts, { header: { ...parts.header, typ: 'JWT' } });
}

type IssuedToken = { accountId?: string; clientId?: string };

export function resourceServer(tokenFormat: 'opaque' | 'jwt', scope: string): object {
  return { scope, audience: mailResource, accessTokenFormat: tokenFormat, jwt: { sign: { alg: 'RS256' } } };
}

export function providerSettings({ knobs, secrets, signingKey, appKey, tokenFormat }: ProviderParts): object {
  const accessTtl = (): number => knobs.accessTtlS;
  return {
    adapter: memoryAdapter(knobs),
    clients: clients(secrets, appKey),
    jwks: { keys: [{ ...signingKey.export({ format: 'jwk' }), kid: signingKeyId, use: 'sig', alg: 'RS256' }] },
    scopes: [...personScopes, 'mail.app'],
    claims: { email: ['email'], openid: ['sub'] },
    conformIdTokenClaims: false,
    findAccount: (_context: unknown, id: string) => ({ accountId: id, claims: () => ({ sub: id, email: id }) }),
    rotateRefreshToken: () => knobs.rotation !== 'off',
    extraTokenClaims: (_context: unknown, { accountId, clientId }: IssuedToken) => ({
      username: accountId ?? clientId,
      ...(knobs.padBytes > 0 ? { pad: 'p'.repeat(knobs.padBytes) } : {}),
    }),
    formats: { customizers: { jwt: dovecotsType } },
    ttl: {
      ...{ AccessToken: accessTtl, ClientCredentials: accessTtl },
      ...{ DeviceCode: 120, AuthorizationCode: 60, RefreshToken: 90 * 86_400, Grant: 90 * 86_400 },
      ...{ Interaction: 600, Session: 86_400, IdToken: 3600 },
    },
    interactions: { url: (_context: unknown, { uid }: { uid: string }) => `/interaction/${uid}` },
    cookies: { keys: ['of the test'] },
    clientAuthMethods: ['none', 'client_secret_basic', 'client_secret_post', 'private_key_jwt'],
    features: {
      devInteractions: { enabled: false },
      deviceFlow: { enabled: true },
      clientCredentials: { enabled: true },
      introspection: { enabled: true, allowedPolicy: () => true },
      revocation: { enabled: true, allowedPolicy: () => true },
      resourceIndicators: {
        enabled: true,
        defaultResource: () => mailResource,
        useGrantedResource: () => true,
        getResourceServerInfo: () => resourceServer(tokenFormat, 'mail mail.app'),
      },
    },
  };
}
