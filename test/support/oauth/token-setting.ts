/**
 * A helpdesk whose mailboxes open with tokens of a real provider, beside daemons as processes: tables of the
 * configuration, mailboxes as rows, and persons who sign in.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { loadConfig } from '../../../src/config/load.ts';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import type { Connection, Mailbox } from '../../../src/ingest/model.ts';
import { type Env, type Instance, type InstanceOptions, openInstance } from '../instance.ts';
import { type Daemon, type Ended, named, runCommand } from '../processes/daemon.ts';
import { type Dovecot, startDovecot } from '../servers/dovecot.ts';
import { visitProvider } from './person.ts';
import { startProvider, type TestProvider } from './provider.ts';

type ProviderChange = Parameters<TestProvider['set']>[0];

export type TokenServers = { readonly provider: TestProvider; readonly dovecot: Dovecot };

/** `secret` and `key`: applications. `lines` are further ones; a key of `common` that they name is theirs. */
export type ProviderTable = {
  readonly name: string;
  readonly as: 'secret' | 'key' | 'service' | 'person';
  readonly lines?: readonly string[];
};

export type TokenSetting = TokenServers & {
  readonly instance: Instance;
  readonly configFile: string;
  /** Of the embedded database. */
  readonly databaseFile: string;
  /** Writes the configuration; daemons that run get it with SIGHUP. */
  configure(tables: readonly ProviderTable[]): Promise<void>;
  /** The mailbox of a user, named as the user without the domain unless `name` is given. */
  add(user: string, grant: string, given?: MailboxChange): Promise<Mailbox>;
  /** A person signs in with a browser; the grant is named as the mailboxes name it. */
  consent(grant: string, account: string, provider?: string): Promise<void>;
  start(env?: Env): Promise<Daemon>;
  command(...args: readonly string[]): Promise<Ended>;
} & AsyncDisposable;

export type MailboxChange = { readonly name?: string; readonly connection?: Partial<Connection> };

const redirectUri = 'http://127.0.0.1:4711/oauth/callback';

/** A provider and a Dovecot that asks it at each login, for tests that run side by side. */
export async function openTokenServers(change: ProviderChange = {}): Promise<AsyncDisposable & TokenServers> {
  await using building = new AsyncDisposableStack();
  const provider = building.use(await startProvider());
  const dovecot = building.use(await startDovecot({ tokens: { mode: 'introspection', provider } }));
  await provider.set(change);
  const stack = building.move();
  return { provider, dovecot, [Symbol.asyncDispose]: () => stack.disposeAsync() };
}

export async function openTokenSetting(
  { provider, dovecot }: TokenServers,
  tables: readonly ProviderTable[],
  options: InstanceOptions = {},
): Promise<TokenSetting> {
  const instance = await openInstance(options);
  const configFile = join(instance.folder, 'ticketmaild.toml');
  const configure = async (now: readonly ProviderTable[]): Promise<void> =>
    await writeFile(configFile, now.map((table) => tableText(table, { provider, dovecot })).join('\n'));
  await configure(tables);
  return {
    ...{ provider, dovecot, instance, configFile, configure },
    databaseFile: join(instance.dataDir, 'ticketmaild.db'),
    command: (...args) => runCommand(args, { env: { ...instance.env, TICKETMAILD_CONFIG: configFile } }),
    add: async (user, grant, given = {}) => {
      const mailbox = mailboxOf(user, grant, dovecot, given);
      await instance.app.store.addMailbox(mailbox, null, null, instance.app.actor);
      return mailbox;
    },
    consent: async (grant, account, name = 'people') => {
      const { oauth, vault, actor } = instance.app;
      await vault.refresh();
      const request = { grant, provider: providerNamed(configFile, instance, name), user: account, by: actor };
      const begun = await oauth.consents.beginBrowser(request, redirectUri);
      const ending = await visitProvider(begun.url, account, { caPem: provider.caPem });
      if (ending.kind !== 'address') throw new Error(`the browser stays at ${ending.heading}`);
      using obtained = await begun.finish(ending.answer, new AbortController().signal);
      await obtained.store();
    },
    start: async (env = {}) => {
      const daemon = instance.start({ TICKETMAILD_CONFIG: configFile, ...env });
      await daemon.waitFor(named('daemon.ready'), 60_000);
      return daemon;
    },
    [Symbol.asyncDispose]: () => instance[Symbol.asyncDispose](),
  };
}

function providerNamed(file: string, { env }: Instance, name: string): OAuthProvider {
  const provider = loadConfig({ file, env }).oauth.find((one) => one.name === name);
  if (provider === undefined) throw new Error(`no provider ${name} in the configuration`);
  return provider;
}

function mailboxOf(user: string, grant: string, { host, tlsPort }: Dovecot, given: MailboxChange): Mailbox {
  const name = given.name ?? user.split('@')[0] ?? user;
  return {
    ...{ id: crypto.randomUUID(), name, grant, addresses: [user], state: 'active', pollIntervalMs: null },
    ...{ start: { from: 'all' }, postAction: { kind: 'seen' } },
    connection: {
      ...{ host, port: tlsPort, tls: 'implicit', caPem: null, fingerprint: null },
      ...{ allowPlaintext: false, user, folder: 'INBOX' },
      ...given.connection,
    },
  };
}

function tableText({ name, as, lines = [] }: ProviderTable, { provider, dovecot }: TokenServers): string {
  const file = (key: string, path: string) => `${key} = ${JSON.stringify(path)}`;
  const application = ['flow = "application"', 'scopes = ["mail.app"]', 'mailboxes = ["*@example.test"]'];
  const kinds: Readonly<Record<ProviderTable['as'], readonly string[]>> = {
    secret: [...application, 'client_id = "test-app-secret"', file('client_secret_file', provider.clientSecretFile)],
    key: [...application, 'client_id = "test-app-key"', file('private_key_file', provider.appKeyFile)],
    service: [
      ...['flow = "service_account"', 'scopes = ["mail"]', 'mailboxes = ["*@example.test"]'],
      file('service_account_file', provider.serviceAccountFile),
    ],
    person: [
      ...['flow = "person"', 'client_id = "test-public"'],
      'scopes = ["openid", "email", "offline_access", "mail"]',
    ],
  };
  const common = [
    'kind = "oidc"',
    file('issuer', provider.issuer),
    file('ca_file', provider.caFile),
    `imap_hosts = ["${dovecot.host}:${dovecot.tlsPort}"]`,
  ];
  const keyOf = (line: string): string => line.split(' = ')[0] ?? '';
  const all = new Map([...common, ...kinds[as], ...lines].map((line) => [keyOf(line), line]));
  return [`[oauth.${name}]`, ...all.values(), ''].join('\n');
}
