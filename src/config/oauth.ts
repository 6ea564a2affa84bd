/**
 * OAuth 2 providers of the configuration: the tables `[oauth.NAME]`, validated, with the defaults of each kind.
 *
 * They stand in the file and never in the database: who writes the database must not choose where a token or a client
 * secret goes. Secret files are read at each use and are not held.
 */

import { join } from 'node:path';
import { causeCode } from '../errors.ts';
import { certificateEnd, readCertificates } from './certificates.ts';
import { absolute, type Derivation, readNamed } from './derivation.ts';
import { isLoopback } from './machine.ts';
import type { ClientCredential, OAuthProvider } from './oauth-provider.ts';
import { type ConfigProblem, quoted } from './problems.ts';
import type { ProviderSettings } from './schema.ts';

type Kind = OAuthProvider['kind'];
type Flow = OAuthProvider['flow'];

type KindDefaults = {
  /** The first one is the default. */
  readonly flows: readonly [Flow, ...Flow[]];
  readonly endpoints: (tenant: string) => OAuthProvider['endpoints'];
  readonly scopes: Readonly<Partial<Record<Flow, readonly string[]>>>;
  readonly imapHosts: readonly string[];
  readonly prompt: string | null;
  readonly sessionEndsWithToken: boolean;
};

const noEndpoints = { token: null, authorization: null, device: null, revocation: null };

/**
 * Microsoft has no revocation endpoint, Google's device flow does not grant mail scopes, and Google and OpenID
 * providers give a refresh token again only after another consent.
 */
const defaults: Readonly<Record<Kind, KindDefaults>> = {
  microsoft: {
    flows: ['application', 'person'],
    endpoints: (tenant) => {
      const base = `https://login.microsoftonline.com/${encodeURIComponent(tenant)}/oauth2/v2.0`;
      return {
        token: `${base}/token`,
        authorization: `${base}/authorize`,
        device: `${base}/devicecode`,
        revocation: null,
      };
    },
    scopes: {
      application: ['https://outlook.office365.com/.default'],
      person: ['https://outlook.office.com/IMAP.AccessAsUser.All', 'offline_access', 'openid', 'profile'],
    },
    imapHosts: ['outlook.office365.com'],
    prompt: null,
    sessionEndsWithToken: true,
  },
  google: {
    flows: ['service_account', 'person'],
    endpoints: () => ({
      token: 'https://oauth2.googleapis.com/token',
      authorization: 'https://accounts.google.com/o/oauth2/v2/auth',
      device: null,
      revocation: 'https://oauth2.googleapis.com/revoke',
    }),
    scopes: {
      service_account: ['https://www.googleapis.com/auth/gmail.imap_admin'],
      person: ['https://mail.google.com/', 'openid', 'email'],
    },
    imapHosts: ['imap.gmail.com'],
    prompt: 'consent',
    sessionEndsWithToken: true,
  },
  yahoo: {
    flows: ['person'],
    endpoints: () => ({
      token: 'https://api.login.yahoo.com/oauth2/get_token',
      authorization: 'https://api.login.yahoo.com/oauth2/request_auth',
      device: null,
      revocation: 'https://api.login.yahoo.com/oauth2/revoke',
    }),
    scopes: { person: ['mail-w', 'openid'] },
    imapHosts: ['imap.mail.yahoo.com'],
    prompt: null,
    sessionEndsWithToken: true,
  },
  oidc: {
    flows: ['person', 'application', 'service_account'],
    endpoints: () => noEndpoints,
    scopes: {},
    imapHosts: [],
    prompt: 'consent',
    sessionEndsWithToken: false,
  },
};

/** The providers of the configuration; adds what is wrong to `problems`. */
export function oauthProviders(from: Derivation, problems: ConfigProblem[]): readonly OAuthProvider[] {
  return Object.entries(from.settings.oauth).map(([name, settings]) => readProvider(from, name, settings, problems));
}

/** One table; `problem` reports a wrong key, `missing` one that is not there. */
type ProviderTable = {
  readonly from: Derivation;
  readonly name: string;
  readonly settings: ProviderSettings;
  readonly flow: Flow;
  readonly problems: ConfigProblem[];
  readonly problem: (key: keyof ProviderSettings, rule: string) => void;
  readonly missing: (key: keyof ProviderSettings, what: string) => void;
};

function readProvider(
  from: Derivation,
  name: string,
  settings: ProviderSettings,
  problems: ConfigProblem[],
): OAuthProvider {
  const { kind } = settings;
  const ofKind = defaults[kind];
  const flow = settings.flow === '' ? ofKind.flows[0] : settings.flow;
  const problem: ProviderTable['problem'] = (key, rule) => problems.push({ path: `oauth.${name}.${key}`, rule });
  const missing: ProviderTable['missing'] = (key, what) =>
    problems.push({ path: `oauth.${name}`, rule: `needs ${key}: ${what}` });
  const table: ProviderTable = { from, name, settings, flow, problems, problem, missing };
  if (!ofKind.flows.includes(flow))
    problem('flow', `must be ${ofKind.flows.map((one) => `"${one}"`).join(' or ')} for ${kind}, not "${flow}"`);
  const tenant = readTenant(table);
  const credential = readCredential(table);
  if (settings.client_id === '' && credential.kind !== 'service_account')
    missing('client_id', 'the id of the application');
  if (flow !== 'person' && settings.mailboxes.length === 0)
    missing('mailboxes', 'the user names that may be opened, to none of which an owner consents');
  return {
    ...{ name, kind, flow, tenant, credential },
    ...readEndpoints(table, ofKind.endpoints(tenant ?? '')),
    clientId: settings.client_id,
    credentialEndsAtMs: credentialEnd(table, credential),
    scopes: readScopes(table, ofKind.scopes[flow] ?? []),
    prompt: settings.prompt === '' ? ofKind.prompt : settings.prompt === 'none' ? null : settings.prompt,
    mailboxes: settings.mailboxes.map((user) => user.toLowerCase()),
    imapHosts: readHosts(table, ofKind.imapHosts),
    sessionEndsWithToken:
      settings.session_ends_with_token === ''
        ? ofKind.sessionEndsWithToken
        : settings.session_ends_with_token === 'yes',
    caPem: readAuthorities(table),
    proxy: readProxy(table),
  };
}

const sharedTenants: readonly string[] = ['common', 'organizations', 'consumers'];

/** In a shared tenant accounts of every organization sign in, so it has to be allowed by name. */
function readTenant({ settings, flow, problem, missing }: ProviderTable): string | null {
  const { kind, tenant } = settings;
  if (kind !== 'microsoft') {
    if (tenant !== '') problem('tenant', `must be left out for ${kind}`);
    return null;
  }
  if (tenant === '') missing('tenant', 'the id of the tenant, or one of its domains');
  // Not quoted: it may be the client secret.
  else if (!/^[A-Za-z0-9.-]+$/.test(tenant)) problem('tenant', `must be an id or a domain`);
  else if (sharedTenants.includes(tenant.toLowerCase()) && (!settings.shared_tenant || flow === 'application'))
    problem('tenant', `must be your own tenant, not "${tenant}", which every organization shares`);
  return tenant;
}

const credentialFiles = ['client_secret_file', 'private_key_file', 'service_account_file'] as const;

function readCredential(table: ProviderTable): ClientCredential {
  const { from, name, settings, flow, problems, problem, missing } = table;
  const path = (key: keyof ProviderSettings & `${string}_file`) =>
    absolute(from, `oauth.${name}.${key}`, settings[key], problems);
  const [key, other] = credentialFiles.filter((file) => settings[file] !== '');
  const certificateFile = settings.certificate_file === '' ? null : path('certificate_file');
  if (key !== undefined && other !== undefined) problem(other, `must be left out beside ${key}`);
  if (certificateFile !== null && key !== undefined && key !== 'private_key_file')
    problem('certificate_file', `must be left out beside ${key}`);
  const credential = credentialOf(key, path, certificateFile) ?? systemdCredential(table, certificateFile);
  if (flow === 'service_account' && credential.kind !== 'service_account')
    missing('service_account_file', 'the file of the service account (JSON)');
  if (flow !== 'service_account' && credential.kind === 'service_account')
    problem('service_account_file', `must be left out for flow "${flow}"`);
  if (flow === 'application' && credential.kind === 'none')
    missing('private_key_file', 'the key by which the application proves its identity (or client_secret_file)');
  return credential;
}

function credentialOf(
  key: (typeof credentialFiles)[number] | undefined,
  path: (key: (typeof credentialFiles)[number]) => string,
  certificateFile: string | null,
): ClientCredential | null {
  if (key === 'client_secret_file') return { kind: 'secret', file: path(key) };
  if (key === 'service_account_file') return { kind: 'service_account', file: path(key) };
  if (key === 'private_key_file') return { kind: 'private_key', keyFile: path(key), certificateFile };
  return certificateFile === null ? null : { kind: 'private_key', keyFile: certificateFile, certificateFile };
}

/** The systemd credential `ticketmaild-oauth-NAME`: its kind shows in its first bytes. */
function systemdCredential({ from, name }: ProviderTable, certificateFile: string | null): ClientCredential {
  if (from.credentials === null) return { kind: 'none' };
  const file = join(from.credentials, `ticketmaild-oauth-${name}`);
  let bytes: Uint8Array;
  try {
    bytes = from.readFile(file);
  } catch (error) {
    if (causeCode(error) === 'ENOENT') return { kind: 'none' };
    throw error;
  }
  const first = String.fromCharCode(bytes[0] ?? 0);
  bytes.fill(0);
  if (first === '{') return { kind: 'service_account', file };
  return first === '-' ? { kind: 'private_key', keyFile: file, certificateFile } : { kind: 'secret', file };
}

/** notAfter of the certificate, or the date of the secret. */
function credentialEnd({ from, name, settings, problems, problem }: ProviderTable, credential: ClientCredential) {
  if (credential.kind === 'private_key' && credential.certificateFile !== null) {
    const path = `oauth.${name}.certificate_file`;
    const bytes = readNamed(from, path, settings.certificate_file, problems);
    if (bytes === null) return null;
    const end = certificateEnd(new TextDecoder('latin1').decode(bytes));
    if (end === null) problem('certificate_file', 'must name a file with a certificate (PEM)');
    return end;
  }
  const until = settings.client_secret_until;
  return until === '' ? null : new Date(until).getTime();
}

const endpointKeys = {
  token: 'token_endpoint',
  authorization: 'authorization_endpoint',
  device: 'device_endpoint',
  revocation: 'revocation_endpoint',
} as const satisfies Record<keyof OAuthProvider['endpoints'], keyof ProviderSettings>;

function readEndpoints(table: ProviderTable, ofKind: OAuthProvider['endpoints']) {
  const { settings, missing } = table;
  const endpoint = (key: keyof typeof endpointKeys) => readAddress(table, endpointKeys[key]) ?? ofKind[key];
  const issuer = readAddress(table, 'issuer');
  const endpoints = {
    token: endpoint('token'),
    authorization: endpoint('authorization'),
    device: endpoint('device'),
    revocation: endpoint('revocation'),
  };
  if (issuer === null && settings.issuer === '' && endpoints.token === null)
    missing('issuer', 'the address for discovery (or token_endpoint and authorization_endpoint)');
  return { issuer, endpoints };
}

/** An https address; plain http to this machine alone. null: the key is empty. */
function readAddress(
  { settings, problem }: ProviderTable,
  key: 'issuer' | (typeof endpointKeys)[keyof typeof endpointKeys],
): string | null {
  if (settings[key] === '') return null;
  const url = URL.parse(settings[key]);
  const isSafe = url !== null && (url.protocol === 'https:' || (url.protocol === 'http:' && isLoopback(url.hostname)));
  if (isSafe && url.username === '' && url.password === '' && url.hash === '') return settings[key];
  problem(key, 'must be an address that begins with https://, without a user or a fragment');
  return null;
}

function readScopes({ settings, flow, missing }: ProviderTable, ofKind: readonly string[]): readonly string[] {
  const scopes = settings.scopes.length > 0 ? settings.scopes : ofKind;
  const isKnown = defaults[settings.kind].flows.includes(flow);
  if (scopes.length === 0 && isKnown) missing('scopes', 'the scope that the mail server asks for');
  return scopes;
}

const imapsPort = 993;

function readHosts(
  { settings, problem, missing }: ProviderTable,
  ofKind: readonly string[],
): OAuthProvider['imapHosts'] {
  const hosts = settings.imap_hosts.length > 0 ? settings.imap_hosts : ofKind;
  if (hosts.length === 0) missing('imap_hosts', 'the mail servers that a token may go to');
  return hosts.map((text) => {
    const [, host = '', port = ''] = /^(.*?)(?::(\d+))?$/.exec(text) ?? [];
    const number = port === '' ? imapsPort : Number(port);
    if (number < 1 || number > 65_535) problem('imap_hosts', `has a port that is not 1 to 65535: "${text}"`);
    return { host: host.replace(/^\[(.*)\]$/, '$1').toLowerCase(), port: number };
  });
}

function readAuthorities({ from, name, settings, problems, problem }: ProviderTable): string | null {
  const file = settings.ca_file;
  const bytes = file === '' ? null : readNamed(from, `oauth.${name}.ca_file`, file, problems);
  if (bytes === null) return null;
  const certificates = readCertificates(new TextDecoder().decode(bytes));
  if (certificates.kind === 'certificates') return certificates.pem;
  problem('ca_file', `must name a file of certificates, but ${quoted(file)} ${certificates.why}`);
  return null;
}

function readProxy({ settings, problem }: ProviderTable): string | null {
  if (settings.proxy === '') return null;
  const url = URL.parse(settings.proxy);
  const isBare = url?.protocol === 'http:' && url.username === '' && url.password === '' && url.pathname === '/';
  if (isBare && url.search === '' && url.hash === '') return url.origin;
  problem('proxy', 'must be an address such as http://proxy.example.org:3128, without a user or a path');
  return null;
}
