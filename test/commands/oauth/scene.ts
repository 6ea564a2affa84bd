/**
 * Commands beside a real OpenID provider and a Dovecot that takes its tokens: a configuration with one provider for
 * each way to a grant, and the consent of a person as a command would store it.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { systemClock } from '../../../src/adapters/clock/clock.ts';
import { createProviderClient } from '../../../src/adapters/oauth/client.ts';
import type { App } from '../../../src/compose/compose.ts';
import { visitProvider } from '../../support/oauth/person.ts';
import { startProvider, type TestProvider, type TestProviderOptions } from '../../support/oauth/provider.ts';
import { type Dovecot, startDovecot } from '../../support/servers/dovecot.ts';
import { temporaryFolder } from '../../support/temporary.ts';
import { type CommandLine, openCommandLine } from '../command-line.ts';

export type SignInMechanism = 'XOAUTH2' | 'OAUTHBEARER';

export type OAuthScene = AsyncDisposable & {
  readonly provider: TestProvider;
  readonly dovecot: Dovecot;
  /** Path of the configuration file. */
  readonly configFile: string;
  /** Where the test Dovecot is, as options of `mailbox add`. */
  readonly server: readonly string[];
  /** Commands with a database of their own. */
  open(env?: Record<string, string>): Promise<CommandLine>;
};

export type SceneOptions = {
  readonly mechanism?: SignInMechanism;
  readonly tokens?: 'introspection' | 'local';
  readonly format?: TestProviderOptions['tokenFormat'];
  /** More lines of the configuration; `common`: those of every table. */
  readonly more?: (common: readonly string[], provider: TestProvider, dovecot: Dovecot) => readonly string[];
};

export async function startScene(options: SceneOptions = {}): Promise<OAuthScene> {
  await using building = new AsyncDisposableStack();
  const provider = building.use(await startProvider({ tokenFormat: options.format ?? 'opaque' }));
  const settings = options.mechanism === 'OAUTHBEARER' ? { settings: 'auth_mechanisms = plain oauthbearer' } : {};
  const mode = options.tokens ?? 'introspection';
  const dovecot = building.use(await startDovecot({ tokens: { mode, provider }, ...settings }));
  const folder = building.use(await temporaryFolder('oauth-config'));
  const configFile = join(folder.path, 'ticketmaild.toml');
  await writeFile(configFile, configuration(provider, dovecot, options));
  const undo = building.move();
  return {
    ...{ provider, dovecot, configFile },
    server: ['--host', dovecot.host, '--port', `${dovecot.tlsPort}`],
    open: (env = {}) => openCommandLine({ TICKETMAILD_CONFIG: configFile, ...env }),
    [Symbol.asyncDispose]: () => undo.disposeAsync(),
  };
}

/** Tables `appkey`, `appsecret`, `service` and `people`. */
function configuration(provider: TestProvider, dovecot: Dovecot, { more }: SceneOptions): string {
  const common = [
    'kind = "oidc"',
    `issuer = ${JSON.stringify(provider.issuer)}`,
    `ca_file = ${JSON.stringify(provider.caFile)}`,
    `imap_hosts = ["${dovecot.host}:${dovecot.tlsPort}"]`,
  ];
  const listed = 'mailboxes = ["*@example.test"]';
  const file = (key: string, path: string) => `${key} = ${JSON.stringify(path)}`;
  const table = (name: string, ...lines: readonly string[]) => [`[oauth.${name}]`, ...common, ...lines, ''];
  const application = ['flow = "application"', 'scopes = ["mail.app"]', listed];
  const [secret, key] = ['client_id = "test-app-secret"', 'client_id = "test-app-key"'];
  return [
    ...table('appsecret', ...application, secret, file('client_secret_file', provider.clientSecretFile)),
    ...table('appkey', ...application, key, file('private_key_file', provider.appKeyFile)),
    ...table(
      'service',
      ...['flow = "service_account"', 'scopes = ["mail"]', listed],
      file('service_account_file', provider.serviceAccountFile),
    ),
    ...table(
      'people',
      ...['flow = "person"', 'client_id = "test-public"'],
      'scopes = ["openid", "email", "offline_access", "mail"]',
    ),
    ...(more?.(common, provider, dovecot) ?? []),
  ].join('\n');
}

/** `account` signs in with a browser; the refresh token is stored in plain text. */
export async function storeConsent(
  { provider }: OAuthScene,
  app: Pick<App, 'store' | 'actor'>,
  { grant, account }: { readonly grant: string; readonly account: string },
): Promise<void> {
  const client = createProviderClient({ clock: systemClock });
  const { signal } = new AbortController();
  const { url, finish } = await client.authorize(provider.settings(), 'http://127.0.0.1/oauth/callback', account);
  const ended = await visitProvider(url, account, { caPem: provider.caPem });
  const { refreshToken, accessToken, scope } = await finish(ended.kind === 'address' ? ended.answer : '', signal);
  accessToken.wipe();
  if (refreshToken === null) throw new Error('no refresh token');
  const refresh = { form: 'plain', token: refreshToken, switchRevision: 0 } as const;
  await app.store.storeConsent({ name: grant, provider: 'people', account, scope, refresh, by: app.actor });
  refreshToken.wipe();
}

/** A refresh token, for `oauth import`. */
export async function tokenOfAnotherProgram({ provider }: OAuthScene, account: string): Promise<string> {
  const client = createProviderClient({ clock: systemClock });
  const { url, finish } = await client.authorize(provider.settings(), 'http://127.0.0.1/oauth/callback', account);
  const ended = await visitProvider(url, account, { caPem: provider.caPem });
  const answer = ended.kind === 'address' ? ended.answer : '';
  const { refreshToken, accessToken } = await finish(answer, new AbortController().signal);
  accessToken.wipe();
  return refreshToken?.use((bytes) => Buffer.from(bytes).toString()) ?? '';
}

/** Without a mailbox yet: the tables are made, and the consent is stored. */
export async function consentFirst(scene: OAuthScene, cli: CommandLine, account: string): Promise<void> {
  await using app = await cli.open();
  await app.migrations.apply();
  await storeConsent(scene, app, { grant: 'anna', account });
}
