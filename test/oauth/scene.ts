/**
 * Workers of the OAuth workflows over one grant store in memory, with a scripted provider and a virtual clock.
 *
 * Time advances to the next sleeper whenever nothing else can run; the clock of the database runs with it.
 */
import type { Clock } from '../../src/async/clock.ts';
import type { OAuthProvider } from '../../src/config/oauth-provider.ts';
import type { PasswordAccess } from '../../src/encryption/passwords.ts';
import type { TokenSealing } from '../../src/encryption/tokens.ts';
import { Failure, type FailureCode, type FailureFields } from '../../src/errors.ts';
import type { EventName, Log, LogFields } from '../../src/events.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import { createCredentials } from '../../src/oauth/credentials.ts';
import { createGrantFailures } from '../../src/oauth/grant-failures.ts';
import type { GrantStore, TokenAnswer, TokenRequest } from '../../src/oauth/ports.ts';
import { createProviderCircuits } from '../../src/oauth/provider-circuits.ts';
import { createRenewals, type Renewals } from '../../src/oauth/renewal.ts';
import type { KeyId } from '../../src/secret/key.ts';
import { SecretBytes } from '../../src/secret/secret-bytes.ts';
import { mailbox } from '../ingest/samples.ts';
import { type GrantWorld, memoryGrantStore, newGrantWorld } from './memory-store.ts';

export function provider(changes: Partial<OAuthProvider> = {}): OAuthProvider {
  return {
    ...{ name: 'desk', kind: 'oidc', flow: 'application', issuer: 'https://id.example.test', tenant: null },
    endpoints: { token: 'https://id.example.test/token', authorization: null, device: null, revocation: null },
    ...{ clientId: 'ticketmaild', credential: { kind: 'none' }, credentialEndsAtMs: null, scopes: ['mail'] },
    ...{ prompt: null, mailboxes: ['*@example.test'], imapHosts: [{ host: 'mail.example.test', port: 993 }] },
    ...{ sessionEndsWithToken: false, caPem: null, proxy: null },
    ...changes,
  };
}

export function person(changes: Partial<OAuthProvider> = {}): OAuthProvider {
  return provider({ name: 'people', flow: 'person', ...changes });
}

export function tokenMailbox(user: string, grant: string): Mailbox {
  const plain = mailbox(user);
  return { ...plain, grant, connection: { ...plain.connection, user: `${user}@example.test` } };
}

export type VirtualClock = Clock & { readonly at: { monotonicMs: number; nowMs: number } };

type Sleeper = { readonly atMs: number; readonly wake: () => void };

/** `onAdvance` hears of each step, for the clock of the database. */
function virtualClock(onAdvance: (ms: number) => void = () => undefined): VirtualClock {
  const at = { monotonicMs: 0, nowMs: 1_800_000_000_000 };
  let sleepers: Sleeper[] = [];
  let isPumping = false;
  const pump = (): void => {
    isPumping = false;
    const [first] = sleepers.toSorted((a, b) => a.atMs - b.atMs);
    if (first === undefined) return;
    const ms = Math.max(0, first.atMs - at.monotonicMs);
    at.monotonicMs += ms;
    at.nowMs += ms;
    onAdvance(ms);
    sleepers = sleepers.filter((one) => one !== first);
    first.wake();
    start();
  };
  const start = (): void => {
    if (isPumping || sleepers.length === 0) return;
    isPumping = true;
    // Two turns: what the last sleeper began runs until it sleeps, too.
    setImmediate(() => setImmediate(pump));
  };
  return {
    at,
    nowMs: () => at.nowMs,
    monotonicMs: () => at.monotonicMs,
    sleep: (ms, signal) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve();
        const stop = (): void => {
          sleepers = sleepers.filter((one) => one !== sleeper);
          sleeper.wake();
        };
        const wake = (): void => {
          signal.removeEventListener('abort', stop);
          resolve();
        };
        const sleeper = { atMs: at.monotonicMs + ms, wake };
        sleepers.push(sleeper);
        signal.addEventListener('abort', stop);
        start();
      }),
  };
}

export function secret(text: string): SecretBytes {
  return SecretBytes.take(Buffer.from(text));
}

export function textOf(token: SecretBytes): string {
  return token.use((bytes) => Buffer.from(bytes).toString());
}

/** What the provider answers to the request of this number; a failure is thrown. */
type Script = (request: SeenRequest, number: number) => Partial<TokenAnswer> | Failure;
type SeenRequest = { readonly provider: string; readonly grantType: TokenRequest['grantType']; readonly of: string };

export function failed(code: FailureCode, fields: FailureFields = {}): Failure {
  return new Failure(code, `${code} of the test`, { fields });
}

/** Seals by writing the context before the token. */
function contextSealing(world: GrantWorld): TokenSealing {
  return {
    prepare: async (token, context) => ({
      ...{ switchRevision: world.switchRevision, form: 'sealed', keyId: '0123456789abcdef' as KeyId },
      sealed: Buffer.from(`${JSON.stringify(context)}\n${textOf(token)}`),
    }),
    open: async ({ form, bytes }, context) => {
      const text = Buffer.from(bytes).toString();
      if (form === 'plain') return secret(text);
      const [stored, token = ''] = text.split('\n');
      if (stored !== JSON.stringify(context)) throw new Failure('token_damaged', 'another context');
      return secret(token);
    },
  };
}

export type Scene = {
  readonly world: GrantWorld;
  readonly store: GrantStore;
  readonly clock: VirtualClock;
  readonly requests: readonly SeenRequest[];
  readonly answers: TokenAnswer[];
  readonly lines: readonly (readonly [EventName, LogFields])[];
  readonly counts: readonly string[];
  readonly config: { providers: readonly OAuthProvider[]; script: Script; requestMs: number };
  worker(name?: string): Worker;
  /** A person's grant of this name with a refresh token. */
  consent(name: string, account?: string): Promise<void>;
};

export type Worker = {
  readonly sealing: TokenSealing;
  readonly renewals: Renewals;
  readonly circuits: ReturnType<typeof createProviderCircuits>;
  readonly failures: ReturnType<typeof createGrantFailures>;
  /** Logs the mailbox in; returns the tokens that the mail server saw. `accepts`: it takes this one. */
  login(mailbox: Mailbox, accepts?: (token: string) => boolean): Promise<readonly string[]>;
};

export function scene(providers: readonly OAuthProvider[], script: Script = () => ({})): Scene {
  const world = newGrantWorld();
  const clock = virtualClock((ms) => (world.nowMs += ms));
  const store = memoryGrantStore(world);
  const requests: SeenRequest[] = [];
  const answers: TokenAnswer[] = [];
  const lines: (readonly [EventName, LogFields])[] = [];
  const counts: string[] = [];
  const config = { providers, script, requestMs: 100 };
  const note = (fields: LogFields, event: EventName) => void lines.push([event, fields]);
  const log: Log = { debug: note, info: note, warn: note, error: note };
  const client = {
    requestToken: async ({ name }: OAuthProvider, request: TokenRequest): Promise<TokenAnswer> => {
      const of = request.grantType === 'refresh_token' ? textOf(request.refreshToken) : subjectOf(request);
      const seen = { provider: name, grantType: request.grantType, of };
      requests.push(seen);
      const number = requests.length;
      const result = config.script(seen, number);
      await clock.sleep(config.requestMs, new AbortController().signal);
      if (result instanceof Failure) throw result;
      const answer = {
        ...{ accessToken: secret(`access ${number}`), expiresInMs: 3_600_000, refreshToken: null },
        ...{ scope: null, account: null },
        ...result,
      };
      answers.push(answer);
      return answer;
    },
  };
  const actor = { who: 'ticketmaild@desk', host: 'desk' };
  const worker = (owner = 'one'): Worker => {
    const sealing = contextSealing(world);
    const circuits = createProviderCircuits({ clock, log, random: () => 0, onClosed: () => undefined });
    const count = (name: string, result: string) => void counts.push(`${name} ${result}`);
    const failures = createGrantFailures({ store, log, count, actor });
    const renewals = createRenewals({ store, sealing, client, circuits, failures, clock, owner });
    const grants = { store, providers: () => config.providers };
    const credentials = createCredentials({ passwords: {} as PasswordAccess, grants, renewals });
    const login: Worker['login'] = async (one, accepts = () => true) => {
      const seen: string[] = [];
      await credentials.withCredential(one, async ({ secret: token }) => {
        seen.push(textOf(token));
        if (!accepts(textOf(token))) throw new Failure('login_refused', 'the server refuses the login');
      });
      return seen;
    };
    return { sealing, renewals, circuits, failures, login };
  };
  const consent: Scene['consent'] = async (name, account = 'anna@example.test') => {
    const owner = config.providers.find(({ flow }) => flow === 'person')?.name ?? '';
    const refresh = {
      form: 'plain',
      token: secret(`refresh of ${name}`),
      switchRevision: world.switchRevision,
    } as const;
    await store.storeConsent({ name, provider: owner, account, scope: null, refresh, by: actor });
  };
  return { world, store, clock, requests, answers, lines, counts, config, worker, consent };
}

function subjectOf(request: TokenRequest): string {
  return request.grantType === 'jwt_bearer' ? request.subject : '';
}
