/**
 * Real OpenID provider (oidc-provider) in a child process on loopback, with knobs, counters and the tokens it issued.
 *
 * Clients: `test-public`, `test-secret`, `test-key` and `test-page` for persons (loopback, `test-page` the address of
 * the page), `test-app-secret` and `test-app-key` for applications (scope `mail.app`), `test-service` for service
 * accounts (scope `mail`). The person is `person.ts`; any user name exists with the password `pw`.
 */
import { type ChildProcess, fork } from 'node:child_process';
import { once } from 'node:events';
import { chmod } from 'node:fs/promises';
import { join } from 'node:path';
import type { OAuthProvider } from '../../../src/config/oauth-provider.ts';
import { type CertificateKind, readCertificates } from '../servers/authority.ts';
import { endWithUs, freePort } from '../servers/programs.ts';
import { certificatesTemplate } from '../servers/templates.ts';
import { temporaryFolder } from '../temporary.ts';
import type { ProviderMessage, ProviderReady, ProviderReport, ProviderStart } from './provider-process.ts';
import type { ProviderKnobs } from './provider-settings.ts';
import { personScopes } from './provider-settings.ts';

export type TestProviderOptions = {
  /** Default: TLS with the authority of the tests. `plain`: http on loopback. */
  readonly transport?: 'tls' | 'plain';
  readonly certificate?: CertificateKind;
  /** `jwt`: Dovecot can check access tokens itself. */
  readonly tokenFormat?: 'opaque' | 'jwt';
};

export type TestProvider = Pick<ProviderReady, 'issuer' | 'endpoints' | 'dovecotSecret'> & {
  readonly caPem: string;
  readonly caFile: string;
  /** For private_key_jwt of the clients `test-key` and `test-app-key`. */
  readonly appKeyFile: string;
  readonly clientSecretFile: string;
  readonly serviceAccountFile: string;
  /** Public keys for a Dovecot that checks tokens itself. */
  readonly keysFolder: string;
  /** A provider of the configuration, for one client: `test-public` without more, or of the flow named. */
  settings(changes?: Partial<OAuthProvider>): OAuthProvider;
  set(knobs: Partial<ProviderKnobs>): Promise<void>;
  /** Ends everything that an account has granted. */
  revoke(account: string): Promise<void>;
  report(): Promise<ProviderReport>;
  /** A request counter, as `refresh_token 200` or `client_credentials invalid_client`. */
  count(name: string): Promise<number>;
} & AsyncDisposable;

export async function startProvider(options: TestProviderOptions = {}): Promise<TestProvider> {
  const certificate = await readCertificates(await certificatesTemplate(), options.certificate);
  const folder = await temporaryFolder('provider');
  await chmod(folder.path, 0o755);
  const start: ProviderStart = {
    folder: folder.path,
    port: await freePort(),
    tls: options.transport === 'plain' ? null : certificate,
    tokenFormat: options.tokenFormat ?? 'opaque',
  };
  const child = fork(join(import.meta.dirname, 'provider-process.ts'), [JSON.stringify(start)], {
    stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    execArgv: [],
  });
  endWithUs(child);
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream?.on('data', (piece: Buffer) => (output = (output + piece.toString()).slice(-20_000)));
  const ready = await firstMessage<ProviderReady>(child, () => output);
  const tell = messages(child, () => output);
  const caPem = start.tls === null ? null : certificate.caPem;
  return {
    ...ready,
    caPem: certificate.caPem,
    caFile: certificate.caFile,
    appKeyFile: join(folder.path, 'app-key.pem'),
    clientSecretFile: join(folder.path, 'client-secret'),
    serviceAccountFile: join(folder.path, 'service-account.json'),
    keysFolder: join(folder.path, 'keys'),
    settings: (changes = {}) => ({ ...settingsOf(ready, folder.path, caPem, changes.flow ?? 'person'), ...changes }),
    set: async (knobs) => void (await tell({ knobs })),
    revoke: async (account) => void (await tell({ revoke: account })),
    report: () => tell({}),
    count: async (name) => (await tell({})).counters[name] ?? 0,
    [Symbol.asyncDispose]: async () => {
      if (child.exitCode === null && child.signalCode === null) {
        const closed = once(child, 'close');
        child.kill('SIGKILL');
        await closed;
      }
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** The next message; rejects with the output of a child that ends instead. */
function firstMessage<T>(child: ChildProcess, output: () => string): Promise<T> {
  return new Promise((resolve, reject) => {
    const ended = (): void => reject(new Error(`the provider ended:\n${output()}`));
    child.once('close', ended);
    child.once('message', (message) => {
      child.off('close', ended);
      resolve(message as T);
    });
  });
}

/** One message at a time, so that each answer belongs to its message. */
function messages(child: ChildProcess, output: () => string): (message: ProviderMessage) => Promise<ProviderReport> {
  let last: Promise<unknown> = Promise.resolve();
  return (message) => {
    const report = last.then(() => {
      const answer = firstMessage<ProviderReport>(child, output);
      child.send(message);
      return answer;
    });
    last = report.catch(() => undefined);
    return report;
  };
}

function settingsOf(
  { issuer, endpoints }: ProviderReady,
  folder: string,
  caPem: string | null,
  flow: OAuthProvider['flow'],
): OAuthProvider {
  const { token, authorization, device, revocation } = endpoints;
  const ofFlow = {
    person: { clientId: 'test-public', credential: { kind: 'none' }, scopes: personScopes },
    application: {
      clientId: 'test-app-key',
      credential: { kind: 'private_key', keyFile: join(folder, 'app-key.pem'), certificateFile: null },
      scopes: ['mail.app'],
    },
    service_account: {
      clientId: '',
      credential: { kind: 'service_account', file: join(folder, 'service-account.json') },
      scopes: ['mail'],
    },
  } as const satisfies Record<OAuthProvider['flow'], Partial<OAuthProvider>>;
  return {
    name: 'test',
    kind: 'oidc',
    flow,
    issuer,
    endpoints: { token, authorization, device, revocation },
    tenant: null,
    ...ofFlow[flow],
    credentialEndsAtMs: null,
    prompt: 'consent',
    mailboxes: flow === 'person' ? [] : ['*@example.test'],
    imapHosts: [],
    sessionEndsWithToken: false,
    caPem,
    proxy: null,
  };
}
