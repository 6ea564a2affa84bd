/**
 * OpenID provider of the tests as a process of its own: oidc-provider behind forms, faults and counters.
 *
 * Its one argument is JSON (`ProviderStart`). It sends one message once it listens, then one for each message that it
 * gets, in order; it ends with its parent.
 */
import { createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from 'node:crypto';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { createServer as createHttp, type Server } from 'node:http';
import { createServer as createHttps } from 'node:https';
import { join } from 'node:path';
import { text as readText } from 'node:stream/consumers';
import { jwtVerify } from 'jose';
import { errors, type GrantRow, type Interaction, Provider, type ProviderContext } from 'oidc-provider';
import {
  jwtBearer,
  mailResource,
  type ProviderFault,
  type ProviderKnobs,
  providerSettings,
  resourceServer,
  revokeAccount,
  signingKeyId,
} from './provider-settings.ts';

export type ProviderStart = {
  readonly folder: string;
  readonly port: number;
  readonly tls: { readonly certificateFile: string; readonly keyFile: string } | null;
  readonly tokenFormat: 'opaque' | 'jwt';
};

export type ProviderReady = {
  readonly issuer: string;
  readonly endpoints: Readonly<Record<'token' | 'authorization' | 'device' | 'revocation' | 'introspection', string>>;
  readonly dovecotSecret: string;
};

export type ProviderMessage = { readonly knobs?: Partial<ProviderKnobs>; readonly revoke?: string };

/** `used`: the refresh token of the request; `atMs`: when it came, by the clock of this machine. */
export type IssuedTokens = {
  readonly access: string;
  readonly refresh: string | null;
  readonly used: string | null;
  readonly atMs: number;
};

/** Issued tokens, and requests by grant type (or path) and result, as `refresh_token 200`. */
export type ProviderReport = {
  readonly counters: Readonly<Record<string, number>>;
  readonly tokens: readonly IssuedTokens[];
  /** Answers that the fault in force still spoils. */
  readonly faults: number;
};

const knobs: ProviderKnobs = { accessTtlS: 3600, rotation: 'strict', padBytes: 0, clockOffsetS: 0, fault: null };
const counters: Record<string, number> = {};
const tokens: IssuedTokens[] = [];

/** Every `Date` of this process and its header follow the knob. */
const TrueDate = Date;
globalThis.Date = class extends TrueDate {
  constructor(value?: number | string | Date) {
    super(value ?? TrueDate.now() + knobs.clockOffsetS * 1000);
  }
  static override now(): number {
    return TrueDate.now() + knobs.clockOffsetS * 1000;
  }
} as DateConstructor;

type Keys = Readonly<Record<'signing' | 'app' | 'service', KeyObject>>;

function makeKeys(folder: string): Keys {
  const key = () => generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey;
  const keys = { signing: key(), app: key(), service: key() };
  writeSecret(join(folder, 'app-key.pem'), pem(keys.app));
  // Dovecot looks for the key of a token in <azp>/<alg>/<kid>; `azp` is `default` in a token that has none.
  const dovecots = join(folder, 'keys', 'default', 'RS256');
  mkdirSync(dovecots, { recursive: true });
  writeFileSync(join(dovecots, signingKeyId), createPublicKey(keys.signing).export({ type: 'spki', format: 'pem' }));
  return keys;
}

function pem(key: KeyObject): string {
  return key.export({ type: 'pkcs8', format: 'pem' }).toString();
}

function writeSecret(path: string, content: string): void {
  writeFileSync(path, content, { mode: 0o600 });
}

/** RFC 7523 section 2.1 as Google has it for delegation: no client authentication, `sub` is the mailbox. */
function addServiceAccounts(provider: Provider, issuer: string, publicKey: KeyObject, format: 'opaque' | 'jwt'): void {
  const answer = async (context: ProviderContext): Promise<void> => {
    const { sub, scope } = await claimsOf(context.oidc.params.assertion ?? '');
    if (typeof sub !== 'string' || scope !== 'mail')
      throw new errors.CustomOIDCProviderError('unauthorized_client', 'the service account has no such scope');
    const grant = new provider.Grant({ accountId: sub, clientId: 'test-service' });
    grant.addResourceScope(mailResource, 'mail');
    const values = { accountId: sub, client: context.oidc.client, gty: jwtBearer, scope: 'mail' };
    const token = new provider.AccessToken({ ...values, grantId: await grant.save() });
    token.resourceServer = new provider.ResourceServer(mailResource, resourceServer(format, 'mail'));
    context.body = { access_token: await token.save(), expires_in: token.expiration, token_type: 'Bearer' };
  };
  const claimsOf = async (assertion: string) => {
    const audience = [provider.urlFor('token'), issuer];
    const rules = { issuer: 'test-service', audience, maxTokenAge: '1h', clockTolerance: 30 };
    try {
      return (await jwtVerify(assertion, publicKey, rules)).payload;
    } catch {
      throw new errors.InvalidGrant('the assertion was refused');
    }
  };
  provider.registerGrantType(jwtBearer, async (context) => answer(context), ['assertion', 'scope']);
}

const page = (title: string, inner: string): string =>
  `<!doctype html><meta charset="utf-8"><title>${title}</title><h1>${title}</h1><form method="post">${inner}</form>`;
const escaped = (value: string): string => value.replace(/[&<>"]/g, (sign) => `&#${sign.charCodeAt(0)};`);

/** The forms of a person: the password is `pw`, and the second one asks for consent. */
async function interact(provider: Provider, context: ProviderContext): Promise<void> {
  const { prompt, params, session, grantId } = await provider.interactionDetails(context.req, context.res);
  const account = session?.accountId ?? '';
  if (context.method === 'GET') {
    context.type = 'html';
    context.body =
      prompt.name === 'login'
        ? page(
            'Sign in',
            `<input name="login" value="${escaped(params.login_hint ?? '')}"><input name="password" type="password">
<button name="go" value="yes">Sign in</button>`,
          )
        : page(
            'Allow access?',
            `<p>${escaped(`${params.client_id} asks ${account} for: ${params.scope}`)}</p>
<button name="go" value="yes">Allow</button><button name="go" value="no">Deny</button>`,
          );
    return;
  }
  const form = new URLSearchParams(await readText(context.req));
  const isLogin = prompt.name === 'login';
  if (isLogin && form.get('password') !== 'pw') return context.redirect(context.path);
  let result: object = { error: 'access_denied', error_description: 'the person said no' };
  if (form.get('go') === 'yes' && isLogin) result = { login: { accountId: form.get('login') } };
  else if (form.get('go') === 'yes') {
    const clientId = params.client_id ?? '';
    const grant =
      grantId === undefined ? new provider.Grant({ accountId: account, clientId }) : await provider.Grant.find(grantId);
    result = { consent: { grantId: await consent(grant, prompt.details) } };
  }
  context.respond = false;
  await provider.interactionFinished(context.req, context.res, result, { mergeWithLastSubmission: !isLogin });
}

type MissingRights = Interaction['prompt']['details'];

function consent(grant: GrantRow, missing: MissingRights): Promise<string> {
  const { missingOIDCScope, missingOIDCClaims, missingResourceScopes = {} } = missing;
  if (missingOIDCScope !== undefined) grant.addOIDCScope(missingOIDCScope.join(' '));
  if (missingOIDCClaims !== undefined) grant.addOIDCClaims(missingOIDCClaims);
  for (const [resource, scopes] of Object.entries(missingResourceScopes))
    grant.addResourceScope(resource, scopes.join(' '));
  return grant.save();
}

/** Reads the form first, for the counters; a service account names no client, so that one is added. */
async function grantTypeOf({ path, method, req }: ProviderContext): Promise<{ name: string; used: string | null }> {
  if (path !== '/token' || method !== 'POST') return { name: path, used: null };
  req.body = await readText(req);
  const form = new URLSearchParams(req.body);
  const grantType = form.get('grant_type') ?? '';
  if (grantType === jwtBearer && !form.has('client_id')) req.body += '&client_id=test-service';
  return { name: grantType, used: form.get('refresh_token') };
}

function echoOf(form: unknown, body: unknown): unknown {
  return body === undefined ? `the request was ${form}` : { ...(body as object), error_description: `bad: ${form}` };
}

function faultAt(path: string, name: string): ProviderFault | null {
  const { fault } = knobs;
  if (fault === null || fault.path !== path || fault.count === 0) return null;
  return fault.grantType === undefined || fault.grantType === name ? fault : null;
}

async function answer(context: ProviderContext, next: () => Promise<void>): Promise<void> {
  const atMs = TrueDate.now();
  const { name, used } = await grantTypeOf(context);
  const fault = faultAt(context.path, name);
  if (fault !== null) knobs.fault = { ...fault, count: fault.count - 1 };
  await new Promise((resolve) => setTimeout(resolve, fault?.delayMs ?? 0));
  if (fault?.status !== undefined) {
    context.status = fault.status;
    context.set(fault.headers ?? {});
    context.body = fault.echoes === true ? echoOf(context.req.body, fault.body) : (fault.body ?? {});
  } else await next();
  context.set({ date: new Date().toUTCString() });
  const body = (context.body ?? {}) as { error?: string; access_token?: string; refresh_token?: string };
  // The pages of one sign-in have random names.
  const key = `${name.replace(/^(\/(?:device|auth))\/.{20,}$/, '$1')} ${body.error ?? context.status}`;
  counters[key] = (counters[key] ?? 0) + 1;
  if (context.path === '/token' && body.access_token !== undefined)
    tokens.push({ access: body.access_token, refresh: body.refresh_token ?? null, used, atMs });
  if (fault?.drop !== true) return;
  context.respond = false;
  context.req.socket.destroy();
}

async function listen({ port, tls }: ProviderStart): Promise<{ server: Server; issuer: string }> {
  const server =
    tls === null
      ? createHttp()
      : createHttps({ cert: readFileSync(tls.certificateFile), key: readFileSync(tls.keyFile) });
  await new Promise<void>((resolve) => server.listen(port, '127.0.0.1', resolve));
  const address = server.address();
  const at = typeof address === 'object' ? address?.port : 0;
  return { server, issuer: tls === null ? `http://127.0.0.1:${at}` : `https://localhost:${at}` };
}

async function run(start: ProviderStart): Promise<ProviderReady> {
  const { folder, tokenFormat } = start;
  const keys = makeKeys(folder);
  const { server, issuer } = await listen(start);
  const secrets = { client: randomBytes(32).toString('base64url'), dovecot: randomBytes(24).toString('hex') };
  const appKey = createPublicKey(keys.app);
  const provider = new Provider(
    issuer,
    providerSettings({ knobs, secrets, signingKey: keys.signing, appKey, tokenFormat }),
  );
  addServiceAccounts(provider, issuer, createPublicKey(keys.service), tokenFormat);
  provider.use((context, next) =>
    context.path.startsWith('/interaction/') ? interact(provider, context) : answer(context, next),
  );
  server.on('request', provider.callback());
  const token = provider.urlFor('token');
  writeSecret(join(folder, 'client-secret'), `${secrets.client}\n`);
  const account = { type: 'service_account', client_email: 'test-service', token_uri: token, private_key_id: 's1' };
  writeSecret(
    join(folder, 'service-account.json'),
    JSON.stringify({ ...account, private_key: pem(keys.service) }, null, 2),
  );
  const endpoints = {
    token,
    authorization: provider.urlFor('authorization'),
    device: provider.urlFor('device_authorization'),
    revocation: provider.urlFor('revocation'),
    introspection: provider.urlFor('introspection'),
  };
  return { issuer, endpoints, dovecotSecret: secrets.dovecot };
}

if (import.meta.main) {
  process.once('disconnect', () => process.exit());
  process.on('message', ({ knobs: changes, revoke }: ProviderMessage) => {
    Object.assign(knobs, changes);
    if (revoke !== undefined) revokeAccount(revoke);
    process.send?.({ counters, tokens, faults: knobs.fault?.count ?? 0 } satisfies ProviderReport);
  });
  process.send?.(await run(JSON.parse(process.argv[2] ?? '')));
}
