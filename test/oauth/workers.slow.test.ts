/**
 * Renewal race on MariaDB: three workers, and a provider that rotates refresh tokens and ends a grant whose former
 * token is used again (RFC 9700 section 4.14.2). First undisturbed, then with SIGKILL of random workers while mail
 * arrives.
 *
 * Judged by what the provider issued: each renewal names the refresh token that it used, so that the tokens of a grant
 * are a chain.
 */
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { systemClock } from '../../src/adapters/clock/clock.ts';
import { createProviderClient } from '../../src/adapters/oauth/client.ts';
import type { Mailbox } from '../../src/ingest/model.ts';
import type { GrantView } from '../../src/oauth/model.ts';
import { type Instance, mail, openInstance } from '../support/instance.ts';
import { visitProvider } from '../support/oauth/person.ts';
import { startProvider, type TestProvider } from '../support/oauth/provider.ts';
import type { IssuedTokens } from '../support/oauth/provider-process.ts';
import { type Daemon, named } from '../support/processes/daemon.ts';
import { until } from '../support/promises.ts';
import { seededRandom } from '../support/random.ts';
import { type Dovecot, startDovecot } from '../support/servers/dovecot.ts';
import { type Mariadb, startMariadb, type TestDatabase } from '../support/servers/mariadb.ts';
import { noFindings, type SentMessage, verifyStored } from '../support/verification.ts';

const stack = new AsyncDisposableStack();
let provider: TestProvider;
let dovecot: Dovecot;
let mariadb: Mariadb;

beforeAll(async () => {
  provider = stack.use(await startProvider());
  dovecot = stack.use(await startDovecot({ tokens: { mode: 'introspection', provider } }));
  mariadb = stack.use(await startMariadb());
});
afterAll(() => stack.disposeAsync());

type Size = {
  readonly grants: number;
  readonly lifetimeS: number;
  readonly pollIntervalS: number;
  readonly quietMs: number;
  readonly kills: number;
  readonly tags: string[];
};

const sizes: readonly Size[] = [
  { grants: 8, lifetimeS: 6, pollIntervalS: 2, quietMs: 8000, kills: 4, tags: [] },
  { grants: 60, lifetimeS: 20, pollIntervalS: 10, quietMs: 600_000, kills: 100, tags: ['long'] },
];
const hosts = [0, 1, 2] as const;
/** A first token request is this late at most, and the next one this early, as the provider sees them. */
const latenessMsMax = 1000;

type Scene = { readonly size: Size; readonly instance: Instance; readonly database: TestDatabase };

const accountOf = (grant: string): string => `${grant}@example.test`;

/** A person signs in on a device; the refresh token is stored as a helpdesk writes it. */
async function consent({ app }: Instance, name: string): Promise<void> {
  const client = createProviderClient({ clock: systemClock });
  const { signal } = new AbortController();
  const device = await client.startDevice(provider.settings(), signal);
  const url = `${device.verificationUri}?user_code=${device.userCode}`;
  await visitProvider(url, accountOf(name), { caPem: provider.caPem });
  const { refreshToken, accessToken, scope } = await device.wait(signal);
  accessToken.wipe();
  if (refreshToken === null) throw new Error('no refresh token');
  const refresh = { form: 'plain', token: refreshToken, switchRevision: 0 } as const;
  await app.store.storeConsent({ name, provider: 'people', account: accountOf(name), scope, refresh, by: app.actor });
}

async function addMailbox({ app }: Instance, name: string): Promise<void> {
  const user = accountOf(name);
  const mailbox: Mailbox = {
    ...{ id: crypto.randomUUID(), name, grant: name, addresses: [user], state: 'active', pollIntervalMs: null },
    ...{ start: { from: 'all' }, postAction: { kind: 'seen' } },
    connection: {
      ...{ host: dovecot.host, port: dovecot.tlsPort, tls: 'implicit', caPem: null, fingerprint: null },
      ...{ allowPlaintext: false, user, folder: 'INBOX' },
    },
  };
  await app.store.addMailbox(mailbox, null, null, app.actor);
}

async function openScene(size: Size): Promise<Scene> {
  const database = await mariadb.createDatabase();
  const env = { TICKETMAILD_POLL_INTERVAL_S: `${size.pollIntervalS}` };
  const instance = await openInstance({ database, env });
  await provider.set({ accessTtlS: size.lifetimeS, rotation: 'strict' });
  const names = Array.from({ length: size.grants }, (_, at) => `g${size.grants}-${at}`);
  // The device of each asks every 5 seconds whether its person has signed in.
  await Promise.all(names.map((name) => consent(instance, name)));
  for (const name of names) await addMailbox(instance, name);
  const lines = [
    '[oauth.people]',
    'kind = "oidc"',
    'flow = "person"',
    'client_id = "test-public"',
    `issuer = ${JSON.stringify(provider.issuer)}`,
    `ca_file = ${JSON.stringify(provider.caFile)}`,
    `imap_hosts = ["${dovecot.host}:${dovecot.tlsPort}"]`,
    'scopes = ["openid", "email", "offline_access", "mail"]',
  ];
  await writeFile(join(instance.folder, 'ticketmaild.toml'), lines.join('\n'));
  return { size, instance, database };
}

const dataDirOf = ({ folder }: Instance, host: number): string => join(folder, `host${host}`);

async function startWorker({ instance }: Scene, host: number): Promise<Daemon> {
  const config = join(instance.folder, 'ticketmaild.toml');
  const env = { TICKETMAILD_CONFIG: config, TICKETMAILD_DATA_DIR: dataDirOf(instance, host) };
  const worker = instance.start(env);
  await worker.waitFor(named('daemon.ready'), 60_000);
  return worker;
}

async function issuedTokens(): Promise<readonly IssuedTokens[]> {
  return (await provider.report()).tokens;
}

/** By the refresh token that was used for them. */
function byUsed(issued: readonly IssuedTokens[]): ReadonlyMap<string, IssuedTokens> {
  return new Map(issued.flatMap((tokens) => (tokens.used === null ? [] : [[tokens.used, tokens] as const])));
}

/** Times between two token requests of one grant, without the one right after the consent. */
function pausesMs(issued: readonly IssuedTokens[]): readonly number[] {
  const renewals = issued.filter(({ used }) => used !== null);
  const former = new Map(renewals.map(({ refresh, atMs }) => [refresh, atMs]));
  return renewals.flatMap(({ used, atMs }) => {
    const formerMs = former.get(used);
    return formerMs === undefined ? [] : [atMs - formerMs];
  });
}

async function storedRefresh({ instance }: Scene, grant: GrantView): Promise<string> {
  const stored = await instance.app.store.readRefresh(grant.id);
  return Buffer.from(stored?.bytes ?? []).toString();
}

/**
 * No grant is lost, no login fails, and each half life costs one request at most: 0.4 of the life time with its jitter.
 */
async function proveQuiet(scene: Scene, workers: readonly Daemon[]): Promise<object> {
  const { grants, lifetimeS, quietMs } = scene.size;
  const before = await provider.report();
  await sleep(quietMs);
  const after = await provider.report();
  const since = (name: string): number => (after.counters[name] ?? 0) - (before.counters[name] ?? 0);
  expect((await scene.instance.app.store.listGrants()).filter(({ state }) => state !== 'ready')).toEqual([]);
  expect(since('refresh_token invalid_grant')).toBe(0);
  const perGrant = quietMs / (lifetimeS * 1000);
  const renewals = since('refresh_token 200');
  expect(renewals).toBeGreaterThan(grants * (perGrant - 1));
  expect(renewals).toBeLessThanOrEqual(grants * Math.ceil(perGrant / 0.4));
  const shortestMs = Math.min(...pausesMs(after.tokens.slice(before.tokens.length)));
  expect(shortestMs).toBeGreaterThanOrEqual(lifetimeS * 400 - latenessMsMax);
  const failures = workers.flatMap(({ lines }) => lines.filter(named('poll.failed')));
  expect(failures).toEqual([]);
  return { renewals, perHalfLife: renewals / grants / (perGrant * 2), shortestMs };
}

/** Appends mail to random mailboxes until stopped. */
function sendMail({ grants }: Size): { readonly sent: SentMessage[]; stop(): Promise<void> } {
  const random = seededRandom(grants);
  const sent: SentMessage[] = [];
  const isOver = { now: false };
  const run = async (): Promise<void> => {
    for (; !isOver.now; await sleep(250)) {
      const id = `mail-${grants}-${sent.length}`;
      sent.push({ messageId: `<${id}@x>`, replyTo: null, attachmentSha256: null });
      await dovecot.append(accountOf(`g${grants}-${random.between(0, grants - 1)}`), 'INBOX', [mail(id)]);
    }
  };
  const done = run();
  const stop = async (): Promise<void> => {
    isOver.now = true;
    await done;
  };
  return { sent, stop };
}

async function killWorkers(scene: Scene, workers: Daemon[]): Promise<void> {
  const random = seededRandom(Date.now());
  for (let kill = 0; kill < scene.size.kills; kill += 1) {
    await sleep(random.between(100, 1500));
    const host = random.pick(hosts);
    const victim = workers[host];
    victim?.signal('SIGKILL');
    await victim?.exit;
    workers[host] = await startWorker(scene, host);
  }
}

/** The claims of the dead expire at once; each grant is renewed then, or found to be ended. */
async function settle(scene: Scene, workers: readonly Daemon[]): Promise<readonly GrantView[]> {
  for (const worker of workers) worker.signal('SIGTERM');
  await Promise.all(workers.map(({ exit }) => exit));
  await mariadb.query(`UPDATE ${scene.database.name}.oauth_access SET claim_until = NULL`);
  await startWorker(scene, 0);
  const { listGrants } = scene.instance.app.store;
  const isSettled = async (grant: GrantView, used: ReadonlyMap<string, IssuedTokens>) =>
    grant.state !== 'ready' || !used.has(await storedRefresh(scene, grant));
  return await until(
    'each grant is good, or found to be ended',
    async () => {
      const used = byUsed(await issuedTokens());
      const grants = await listGrants();
      const settled = await Promise.all(grants.map((grant) => isSettled(grant, used)));
      return settled.every(Boolean) ? grants : null;
    },
    120_000,
  );
}

/** The provider answered the refresh token that is still stored: nothing of the answer was committed. */
async function proveCutOff(scene: Scene, grant: GrantView): Promise<void> {
  const answered = byUsed(await issuedTokens()).get(await storedRefresh(scene, grant));
  expect(answered).toBeDefined();
  const sentence = /^cut off while renewing at (.{19}) UTC, the provider has ended the grant$/;
  expect([grant.state, grant.errorMessage]).toEqual(['needs_consent', expect.stringMatching(sentence)]);
  const markedMs = Date.parse(`${sentence.exec(grant.errorMessage ?? '')?.[1]?.replace(' ', 'T')}Z`);
  expect(Math.abs((answered?.atMs ?? 0) - markedMs)).toBeLessThan(5000);
}

describe.each(sizes)('$grants grants, tokens of $lifetimeS s, $kills kills', (size) => {
  test('no grant is lost but between answer and commit; no mail is lost or doubled', {
    timeout: size.quietMs + size.kills * 10_000 + 120_000,
    tags: size.tags,
  }, async ({ annotate }) => {
    const scene = await openScene(size);
    await using instance = scene.instance;
    const workers = await Promise.all(hosts.map((host) => startWorker(scene, host)));
    const quiet = await proveQuiet(scene, workers);
    const { sent, stop } = sendMail(size);
    await killWorkers(scene, workers);
    await stop();
    const lost = (await settle(scene, workers)).filter(({ state }) => state !== 'ready');
    for (const grant of lost) await proveCutOff(scene, grant);
    await Promise.all(lost.map(({ name }) => consent(instance, name)));
    const where = { databaseUrl: scene.database.url, dataDir: hosts.map((host) => dataDirOf(instance, host)) };
    const verify = () => verifyStored({ sent, ...where });
    await until('all mail is stored', async () => (await verify()).findings.lost.length === 0, 120_000);
    expect(await verify()).toMatchObject({ messages: sent.length, findings: noFindings });
    await annotate(JSON.stringify({ ...quiet, sent: sent.length, lost: lost.length }));
  });
});
