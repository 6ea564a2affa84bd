/** Providers of OAuth 2 in the configuration: defaults of each kind, and one line for each mistake. */

import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { loadConfig } from '../../src/config/load.ts';
import type { OAuthProvider } from '../../src/config/oauth-provider.ts';
import { Failure } from '../../src/errors.ts';
import { certificatesTemplate } from '../support/servers/templates.ts';

type Files = Readonly<Record<string, string | Uint8Array>>;

function load(toml: string, files: Files = {}, credentials: string | null = null) {
  const all: Files = { '/etc/mail.toml': toml, ...files };
  return loadConfig({
    file: '/etc/mail.toml',
    env: {
      TICKETMAILD_DATA_DIR: '/srv/data',
      ...(credentials === null ? {} : { CREDENTIALS_DIRECTORY: credentials }),
    },
    cwd: '/',
    readFile(path) {
      const content = all[path];
      if (content === undefined) throw Object.assign(new Error('no such file'), { code: 'ENOENT' });
      return typeof content === 'string' ? Buffer.from(content) : Uint8Array.from(content);
    },
  });
}

function provider(keys: string, files: Files = {}, credentials: string | null = null): OAuthProvider {
  const [first] = load(`[oauth.desk]\n${keys}`, files, credentials).oauth;
  if (first === undefined) throw new Error('no provider');
  return first;
}

/** The message of the refusal, and its hint where there are several. */
function refusal(keys: string, name = 'desk'): string {
  try {
    load(`[oauth.${name}]\n${keys}`);
  } catch (error) {
    if (error instanceof Failure) return error.message;
    throw error;
  }
  throw new Error('the provider was accepted');
}

const microsoft = `kind = "microsoft"
tenant = "contoso.example"
client_id = "app"
client_secret_file = "/etc/secret"
mailboxes = ["Support@Contoso.example", "*@help.contoso.example"]`;

const google = `kind = "google"
service_account_file = "/etc/account.json"
mailboxes = ["support@example.org"]`;

const oidc = `kind = "oidc"
issuer = "https://id.example.org"
client_id = "desk"
scopes = ["mail"]
imap_hosts = ["mail.example.org", "imap.example.org:1993"]`;

describe('defaults of a kind', () => {
  test('microsoft is an application in its own tenant', () => {
    expect(provider(microsoft)).toEqual({
      name: 'desk',
      kind: 'microsoft',
      flow: 'application',
      tenant: 'contoso.example',
      issuer: null,
      endpoints: {
        token: 'https://login.microsoftonline.com/contoso.example/oauth2/v2.0/token',
        authorization: 'https://login.microsoftonline.com/contoso.example/oauth2/v2.0/authorize',
        device: 'https://login.microsoftonline.com/contoso.example/oauth2/v2.0/devicecode',
        revocation: null,
      },
      clientId: 'app',
      credential: { kind: 'secret', file: '/etc/secret' },
      credentialEndsAtMs: null,
      scopes: ['https://outlook.office365.com/.default'],
      prompt: null,
      mailboxes: ['support@contoso.example', '*@help.contoso.example'],
      imapHosts: [{ host: 'outlook.office365.com', port: 993 }],
      sessionEndsWithToken: true,
      caPem: null,
      proxy: null,
    });
  });

  test('google is a service account, whose file has the client id', () => {
    expect(provider(google)).toMatchObject({
      flow: 'service_account',
      clientId: '',
      credential: { kind: 'service_account', file: '/etc/account.json' },
      scopes: ['https://www.googleapis.com/auth/gmail.imap_admin'],
      imapHosts: [{ host: 'imap.gmail.com', port: 993 }],
    });
  });

  test('a person signs in at google with another scope, and consents each time', () => {
    expect(provider('kind = "google"\nflow = "person"\nclient_id = "desk"')).toMatchObject({
      scopes: ['https://mail.google.com/', 'openid', 'email'],
      prompt: 'consent',
      mailboxes: [],
      credential: { kind: 'none' },
    });
  });

  test('any other provider names issuer, scopes and mail servers', () => {
    expect(provider(oidc)).toMatchObject({
      flow: 'person',
      issuer: 'https://id.example.org',
      endpoints: { token: null, authorization: null, device: null, revocation: null },
      imapHosts: [
        { host: 'mail.example.org', port: 993 },
        { host: 'imap.example.org', port: 1993 },
      ],
      sessionEndsWithToken: false,
    });
  });
});

describe('the credential', () => {
  const app = microsoft.replace(/client_secret_file.*\n/, '');

  test('a certificate file holds the key too, and says when it ends', async () => {
    const certificate = readFileSync(join(await certificatesTemplate(), 'ca.pem'));
    const own = provider(`${app}\ncertificate_file = "/etc/app.pem"`, { '/etc/app.pem': certificate });
    expect(own.credential).toEqual({
      kind: 'private_key',
      keyFile: '/etc/app.pem',
      certificateFile: '/etc/app.pem',
    });
    expect(own.credentialEndsAtMs).toBeGreaterThan(Date.now());
  });

  test('the end of a secret is a date of TOML, or a text', () => {
    const end = Date.UTC(2027, 4, 1);
    expect(provider(`${microsoft}\nclient_secret_until = 2027-05-01`).credentialEndsAtMs).toBe(end);
    expect(provider(`${microsoft}\nclient_secret_until = "2027-05-01"`).credentialEndsAtMs).toBe(end);
  });

  test.each([
    ['secret', 'abc', { kind: 'secret', file: '/run/cred/ticketmaild-oauth-desk' }],
    [
      'private_key',
      '-----BEGIN PRIVATE KEY-----',
      { kind: 'private_key', keyFile: '/run/cred/ticketmaild-oauth-desk', certificateFile: null },
    ],
  ])('a systemd credential is a %s by its first byte', (_, content, expected) => {
    const files = { '/run/cred/ticketmaild-oauth-desk': content };
    expect(provider(app, files, '/run/cred').credential).toEqual(expected);
  });
});

test('mistakes are one line each', () => {
  const app = microsoft.replace(/client_secret_file.*\n/, '');
  const lines = [
    refusal('tenant = "x"'),
    refusal('kind = "gmail"'),
    refusal(microsoft, 'M365'),
    refusal(`${microsoft}\nclient_secrt_file = "x"`),
    refusal(microsoft.replace('contoso.example', 'common')),
    refusal(microsoft.replace('"contoso.example"', '""')),
    refusal(app),
    refusal(microsoft.replace(/mailboxes.*/, '')),
    refusal(`${microsoft}\nflow = "service_account"\nservice_account_file = "/x"`),
    refusal(`${microsoft}\nprivate_key_file = "/etc/key"`),
    refusal(`${microsoft}\ntoken_endpoint = "http://login.example.org/token"`),
    refusal(`${microsoft}\nissuer = "https://user:pw@login.example.org"`),
    refusal(`${microsoft}\nproxy = "https://proxy.example.org"`),
    refusal(`${microsoft}\nclient_secret_until = "soon"`),
    refusal(`${microsoft}\ncertificate_file = "/etc/app.pem"`),
    refusal(`${google}\ntenant = "x"`),
    refusal(google.replace(/service_account_file.*\n/, 'client_id = "x"\n')),
    refusal(oidc.replace(/scopes.*\n/, '')),
    refusal(oidc.replace(/issuer.*\n/, '')),
    refusal(oidc.replace(/imap_hosts.*/, '')),
    refusal(oidc.replace('imap.example.org:1993', 'imap.example.org:99999')),
  ];
  expect(lines.join('\n')).toMatchInlineSnapshot(`
    "oauth.desk.kind must be "microsoft", "google", "yahoo" or "oidc"
    /etc/mail.toml:2: oauth.desk.kind must be "microsoft", "google", "yahoo" or "oidc", not "gmail"
    /etc/mail.toml:1: oauth.M365 must be named by up to 32 small letters, digits, dashes and underscores
    /etc/mail.toml:7: oauth.desk.client_secrt_file is not a known key; did you mean oauth.desk.client_secret_file?
    /etc/mail.toml:3: oauth.desk.tenant must be your own tenant, not "common", which every organization shares
    /etc/mail.toml:1: oauth.desk needs tenant: the id of the tenant, or one of its domains
    /etc/mail.toml:1: oauth.desk needs private_key_file: the key by which the application proves its identity (or client_secret_file)
    /etc/mail.toml:1: oauth.desk needs mailboxes: the user names that may be opened, to none of which an owner consents
    /etc/mail.toml:1: oauth.desk needs service_account_file: the file of the service account (JSON) (and 2 more)
    /etc/mail.toml:7: oauth.desk.private_key_file must be left out beside client_secret_file
    /etc/mail.toml:7: oauth.desk.token_endpoint must be an address that begins with https://, without a user or a fragment
    /etc/mail.toml:7: oauth.desk.issuer must be an address that begins with https://, without a user or a fragment
    /etc/mail.toml:7: oauth.desk.proxy must be an address such as http://proxy.example.org:3128, without a user or a path
    /etc/mail.toml:7: oauth.desk.client_secret_until must be a date, as 2027-05-01, not "soon"
    /etc/mail.toml:7: oauth.desk.certificate_file must be left out beside client_secret_file
    /etc/mail.toml:5: oauth.desk.tenant must be left out for google
    /etc/mail.toml:1: oauth.desk needs service_account_file: the file of the service account (JSON)
    /etc/mail.toml:1: oauth.desk needs scopes: the scope that the mail server asks for
    /etc/mail.toml:1: oauth.desk needs issuer: the address for discovery (or token_endpoint and authorization_endpoint)
    /etc/mail.toml:1: oauth.desk needs imap_hosts: the mail servers that a token may go to
    /etc/mail.toml:6: oauth.desk.imap_hosts has a port that is not 1 to 65535: "imap.example.org:99999""
  `);
});
