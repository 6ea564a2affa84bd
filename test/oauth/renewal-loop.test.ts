/** Renewal ahead of the end: at half life, spread, once among workers; through outages of provider and database. */
import { describe, expect, test } from 'vitest';
import { startRenewalLoop } from '../../src/oauth/renewal-loop.ts';
import { failed, person, provider, type Scene, scene, secret, tokenMailbox, type Worker } from './scene.ts';

const never = new AbortController().signal;
const support = tokenMailbox('support', 'desk');

function use({ world }: Scene, name: string, grant: string): void {
  world.mailboxes.push({ name, user: `${name}@example.test`, grant, isActive: true, failures: 0 });
}

function loopOf({ store, clock, config, lines }: Scene, { renewals, circuits, failures }: Worker) {
  const note = (fields: object, event: string) => void (lines as unknown[]).push([event, fields]);
  const log = { debug: note, info: note, warn: note, error: note };
  const grants = { store, providers: () => config.providers };
  const prepare = failures.retryRefused;
  return startRenewalLoop({ store, grants, renewals, circuits, clock, log, isReady: () => true, prepare });
}

test('a token is renewed at half of its life time, and two workers make one request of it', async () => {
  const all = scene([provider()], () => ({ expiresInMs: 20_000 }));
  use(all, 'support', 'desk');
  const [one, two] = [all.worker('one'), all.worker('two')];
  await one.login(support);
  await using _first = loopOf(all, one);
  await using _second = loopOf(all, two);
  await all.clock.sleep(100_000, never);
  // At 8 to 10 s each, late by a pause at most.
  expect(all.requests.length).toBeGreaterThanOrEqual(9);
  expect(all.requests.length).toBeLessThanOrEqual(13);
  expect(all.counts.every((count) => count === 'desk ok')).toBe(true);
  expect((await two.login(support))[0]).toBe(`access ${all.requests.length}`);
});

test('tokens that a provider issues for 0 or 1 s cost no more than one request in 12 s, with logins too', async () => {
  for (const expiresInMs of [0, 1000, 3999]) {
    const all = scene([provider()], () => ({ expiresInMs }));
    use(all, 'support', 'desk');
    const one = all.worker('one');
    await one.login(support);
    await using _loop = loopOf(all, one);
    for (let at = 0; at < 60; at += 1) {
      await all.clock.sleep(2000, never);
      await one.login(support);
    }
    expect(all.requests.length).toBeLessThanOrEqual(11);
  }
});

test('renewals of tokens that were issued together are spread', async () => {
  const all = scene([provider({ flow: 'service_account' })]);
  const names = Array.from({ length: 40 }, (_, at) => `box${at}`);
  for (const name of names) use(all, name, 'desk');
  const one = all.worker('one');
  await Promise.all(names.map((name) => one.login(tokenMailbox(name, 'desk'))));
  const due = [...all.world.access.values()].map(({ renewAtMs }) => (renewAtMs ?? 0) - all.world.nowMs);
  expect(Math.max(...due) - Math.min(...due)).toBeGreaterThan(200_000);
  expect(Math.min(...due)).toBeGreaterThan(1_400_000);
  expect(Math.max(...due)).toBeLessThanOrEqual(1_800_000);
});

test('a provider that is down for 25 minutes is asked by single probes, and nothing ends', async () => {
  const all = scene([person()], (_, number) => ({ refreshToken: secret(`refresh ${number}`) }));
  const names = Array.from({ length: 20 }, (_, at) => `p${at}`);
  for (const name of names) {
    use(all, name, name);
    await all.consent(name, `${name}@example.test`);
  }
  const one = all.worker('one');
  for (const name of names) await one.login(tokenMailbox(name, name));
  await using _loop = loopOf(all, one);
  const script = all.config.script;
  all.config.script = () => failed('oauth_provider_failed', { cause: 'http_503' });
  await all.clock.sleep(3_100_000, never);
  expect(all.requests.length - 20).toBeLessThan(60);
  const ended = await Promise.all(names.map((name) => one.login(tokenMailbox(name, name))));
  expect(ended).toHaveLength(20);
  all.config.script = script;
  await all.clock.sleep(120_000, never);
  expect([...all.world.access.values()].filter(({ untilMs }) => untilMs > all.world.nowMs + 3_000_000)).toHaveLength(
    20,
  );
  expect(all.lines.map(([event]) => event).filter((event) => event !== 'oauth.renewed')).toEqual([
    'oauth.provider_failing',
    'oauth.provider_recovered',
  ]);
});

test('one grant that fails is left out for a while, and holds up no other', async () => {
  const all = scene([provider({ flow: 'service_account' })], ({ of }, number) =>
    of.startsWith('gone') && number > 2 ? failed('mailbox_not_permitted', {}) : { expiresInMs: 60_000 },
  );
  for (const name of ['gone', 'support']) use(all, name, 'desk');
  const one = all.worker('one');
  await one.login(tokenMailbox('gone', 'desk'));
  await one.login(support);
  await using _loop = loopOf(all, one);
  await all.clock.sleep(600_000, never);
  const asked = all.requests.filter(({ of }) => of.startsWith('gone'));
  expect(asked.length).toBeLessThan(10);
  expect(all.requests.length - asked.length).toBeGreaterThan(15);
});

test('a mailbox that is no longer listed is not asked for', async () => {
  const all = scene([provider({ flow: 'service_account' })], () => ({ expiresInMs: 20_000 }));
  use(all, 'support', 'desk');
  const one = all.worker('one');
  await one.login(support);
  all.config.providers = [provider({ flow: 'service_account', mailboxes: ['sales@example.test'] })];
  await using _loop = loopOf(all, one);
  await all.clock.sleep(60_000, never);
  expect(all.requests).toHaveLength(1);
});

test('the loop outlives the database, and forgets tokens that no mailbox uses', async () => {
  const all = scene([provider()], () => ({ expiresInMs: 20_000 }));
  use(all, 'support', 'desk');
  const one = all.worker('one');
  await one.login(support);
  const { dueRenewals } = all.store;
  all.store.dueRenewals = async () => {
    throw failed('database_unavailable');
  };
  await using _loop = loopOf(all, one);
  await all.clock.sleep(60_000, never);
  expect(all.requests).toHaveLength(1);
  all.store.dueRenewals = dueRenewals;
  await all.clock.sleep(10_000, never);
  expect(all.requests.length).toBeGreaterThan(1);
  all.world.mailboxes.length = 0;
  await all.clock.sleep(3_700_000, never);
  expect(all.world.access.size).toBe(0);
});

const changesOf = ({ lines }: Scene) =>
  lines.filter(([event]) => /^oauth\.(needs|grant)_/.test(event)).map(([event, { grant }]) => `${event} ${grant}`);

test('a grant that a command found ended is logged once with the command, and once when it is back', async () => {
  const all = scene([person()], () => failed('oauth_needs_consent', { cause: 'invalid_grant' }));
  for (const name of ['anna', 'second']) use(all, name, 'anna');
  await all.consent('anna');
  await using _loop = loopOf(all, all.worker());
  await all.clock.sleep(10_000, never);
  expect(changesOf(all)).toEqual([]);
  await all
    .worker('command')
    .login(tokenMailbox('anna', 'anna'))
    .catch(() => undefined);
  await all.clock.sleep(600_000, never);
  expect(changesOf(all)).toEqual(['oauth.needs_consent anna']);
  expect(all.lines.find(([event]) => event === 'oauth.needs_consent')?.[1]).toMatchObject({
    provider: 'people',
    error: { code: 'oauth_needs_consent', hint: 'Sign in again: ticketmaild mailbox authorize anna' },
  });
  all.config.script = () => ({});
  await all.consent('anna');
  await all.clock.sleep(600_000, never);
  expect(changesOf(all)).toEqual(['oauth.needs_consent anna', 'oauth.grant_ready anna']);
});

test('a refused grant is logged once by each daemon; where the provider has a line, that is the only one', async () => {
  const all = scene([provider()], () => failed('oauth_provider_refused', { cause: 'invalid_client' }));
  use(all, 'support', 'desk');
  await using _loop = loopOf(all, all.worker());
  const other = all.worker('other');
  await other.login(support).catch(() => undefined);
  await all.clock.sleep(60_000, never);
  expect(changesOf(all)).toEqual(['oauth.grant_refused desk']);
  await using _second = loopOf(all, other);
  await all.clock.sleep(60_000, never);
  expect(changesOf(all)).toEqual(['oauth.grant_refused desk']);
});

test('a credential that ends is logged once when it is near, and once when it has ended', async () => {
  const endsAtMs = 1_800_000_000_000 + 5_400_000;
  const all = scene([provider({ credentialEndsAtMs: endsAtMs }), person({ credentialEndsAtMs: null })]);
  await using _loop = loopOf(all, all.worker());
  await all.clock.sleep(9_000_000, never);
  expect(all.lines).toEqual([
    ['oauth.credential_ending', { provider: 'desk', days_left: 0 }],
    ['oauth.credential_ending', { provider: 'desk', days_left: -1 }],
  ]);
});

const boxes = (count: number): readonly string[] => Array.from({ length: count }, (_, at) => `box${at}`);

/** Polls them one after the other, sixteen at a time, as the scheduler does. */
async function pollAll(worker: Worker, names: readonly string[], pauseMs: number, { clock }: Scene): Promise<void> {
  const waiting = names.values();
  const run = async (): Promise<void> => {
    for (const name of waiting) {
      await worker.login(tokenMailbox(name, 'desk'));
      await clock.sleep(pauseMs, never);
    }
  };
  await Promise.all(Array.from({ length: 16 }, run));
}

test('10,000 mailboxes of an application cost one request per half life', async () => {
  const all = scene([provider()]);
  const names = boxes(10_000);
  for (const name of names) use(all, name, 'desk');
  const one = all.worker('one');
  await using _loop = loopOf(all, one);
  // Each is polled every 80 minutes, one after the other.
  for (let round = 0; round < 2; round += 1) await pollAll(one, names, 7680, all);
  const halfLives = all.clock.at.monotonicMs / 1_800_000;
  expect(halfLives).toBeGreaterThan(5);
  // At 0.8 to 1 half life, late by a pause of the loop.
  expect(all.requests.length).toBeGreaterThan(halfLives);
  expect(all.requests.length).toBeLessThanOrEqual(Math.ceil(halfLives / 0.8) + 1);
});

describe.each([
  { count: 1000, tags: [] },
  { count: 10_000, tags: ['long'] },
])('$count mailboxes of a service account', ({ count, tags }) => {
  test('no second has more than 20 requests, from the first polls on', { timeout: 120_000, tags }, async () => {
    const all = scene([provider({ flow: 'service_account' })]);
    const seconds = new Map<number, number>();
    all.config.script = () => {
      const second = Math.floor(all.clock.at.monotonicMs / 1000);
      seconds.set(second, (seconds.get(second) ?? 0) + 1);
      return {};
    };
    const names = boxes(count);
    for (const name of names) use(all, name, 'desk');
    const one = all.worker('one');
    await using _loop = loopOf(all, one);
    await pollAll(one, names, 1, all);
    await all.clock.sleep(2_400_000, never);
    expect(all.requests.length).toBeGreaterThanOrEqual(2 * count);
    expect(all.requests.length).toBeLessThanOrEqual(3 * count);
    expect(Math.max(...seconds.values())).toBeLessThanOrEqual(20);
  });
});
