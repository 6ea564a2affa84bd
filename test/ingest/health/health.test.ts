import { describe, expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { createHealth, type HealthPorts } from '../../../src/ingest/health/health.ts';
import type { MailboxHealth } from '../../../src/ingest/model.ts';
import type { QuarantineReader } from '../../../src/ingest/ports.ts';
import type { EncryptionChecks, OAuthGrantCheck } from '../../../src/ingest/readiness.ts';
import { handClock, mailbox } from '../samples.ts';

const clock = handClock();
const fine: MailboxHealth = {
  nextPollAtMs: clock.nowMs(),
  failures: 0,
  failingSinceMs: null,
  loginFailures: 0,
  lastSuccessAtMs: 1,
  lastError: null,
  cursor: null,
  password: { form: 'plain', keyId: null },
  settingsSeal: null,
};
const ill: MailboxHealth = {
  ...fine,
  failures: 2,
  lastError: { code: 'login_refused', message: 'no', hint: 'set it again', atMs: 5 },
};

const good = { status: 'ok', since: null, reason: null, hint: null } as const;
/** Encryption is switched off. */
const quiet: EncryptionChecks = {
  needsKey: false,
  sealing: 'off',
  vault: { ...good, state: 'closed', key_ids: [] },
  switch: { ...good, state: 'off', revision: 0 },
};

type Scene = {
  readonly health?: readonly MailboxHealth[];
  readonly encryption?: EncryptionChecks;
  readonly otherParts?: Partial<ReturnType<HealthPorts['otherParts']>>;
  readonly readable?: { readonly passwords: number; readonly refreshTokens: number };
  readonly quarantine?: Awaited<ReturnType<QuarantineReader['quarantineCounts']>>;
  readonly clock?: HealthPorts['clock'];
  /** The clock of the database; left out: the same. */
  readonly databaseNowMs?: () => number;
  /** Of the first mailbox. */
  readonly grant?: string;
  readonly grants?: readonly OAuthGrantCheck[];
  /** Of each mailbox; left out: the default one. */
  readonly hosts?: readonly string[];
};

function healthOf(scene: Scene) {
  const rows = (scene.health ?? []).map((one, index) => ({
    ...mailbox(`box${index}`, scene.hosts?.[index]),
    grant: index === 0 ? (scene.grant ?? null) : null,
    health: one,
  }));
  const worker = { host: 'desk', pid: 1, name: '', version: '0', started_at: '', log_level: 'info' };
  const defaults = {
    ...{
      worker,
      polls: 0,
      pollsLong: 0,
      due: 0,
      dueMs: 0,
      intervalMs: 60_000,
      loginFailuresMax: 3,
    },
    ...{ listeners: { ...good, list: [] }, config: { ...good, needs_restart: [] }, disk: { ...good, free_bytes: 1 } },
    ...{ workers: { ...good, live: 1, list: [] }, openCircuits: [] },
    ...{ crashes: { ...good, count: 0, last: null } },
    idleConnections: { open: 0, max: 0 },
    pushStates: () => () => ({ state: 'polled', code: 'idle_off', until: null }) as const,
    silence: { silentServers: () => [], silentSinceMs: () => null, heardAtMs: () => null },
  };
  return createHealth({
    clock: scene.clock ?? clock,
    store: {
      listMailboxes: () => Promise.resolve(rows),
      quarantineCounts: () => Promise.resolve(scene.quarantine ?? { oldestAtMs: null, reasons: [] }),
      readableSecrets: () => Promise.resolve(scene.readable ?? { passwords: 0, refreshTokens: 0 }),
      databaseNowMs: async () => (scene.databaseNowMs ?? (scene.clock ?? clock).nowMs)(),
      pool: () => null,
    },
    encryption: () => scene.encryption ?? quiet,
    oauth: async () => ({
      ...good,
      providers: [],
      grants: { ready: 0, needs_consent: 0, refused: 0 },
      list: scene.grants ?? [],
    }),
    postActionGuard: { isUnconfirmed: (_, seal) => seal === 'of other settings' },
    otherParts: () => ({ ...defaults, ...scene.otherParts }),
  });
}

/** After a tick whose query the database answered. */
function awake(scene: Scene) {
  const health = healthOf(scene);
  health.recordDatabase(null);
  health.liveness.tick();
  return health;
}

test.each([
  ['off', 1, 0, 'passwords_readable: 1 password is readable in the database', 'encryption enable'],
  [
    'off',
    2,
    1,
    'passwords_readable: 2 passwords and 1 refresh token are readable in the database',
    'encryption enable',
  ],
  ['overdue', 1, 0, 'passwords_readable: 1 password is readable in the database although encryption is on', 'reseal'],
  ['running', 2, 1, null, null],
  ['off', 0, 0, null, null],
] as const)('readable passwords while sealing is %s (%i, %i) are a warning at most', async (...row) => {
  const [sealing, passwords, refreshTokens, reason, command] = row;
  const health = awake({ health: [fine], encryption: { ...quiet, sealing }, readable: { passwords, refreshTokens } });
  const { ready, checks } = await health.readiness();
  expect(ready).toBe(true);
  expect(checks.passwords).toMatchObject({ status: reason === null ? 'ok' : 'warning', reason, readable: passwords });
  expect(checks.passwords.hint ?? '').toContain(command ?? '');
  expect(checks.passwords.readable_tokens).toBe(refreshTokens);
});

test('a mailbox whose grant needs consent fails, although it is not polled, with the command for it', async () => {
  const reason = 'oauth_needs_consent: grant boxes was ended by its provider';
  const ended = { status: 'failing', since: '2026-01-31T08:00:00.000Z', reason, hint: 'of the grant' } as const;
  const list = [{ ...ended, grant: 'boxes', provider: 'people', state: 'needs_consent' }];
  const { checks } = await awake({ health: [fine, fine], grant: 'boxes', grants: list }).readiness();
  expect(checks.oauth.list).toEqual(list);
  expect(checks.mailboxes).toMatchObject({ failing: 1, ok: 1 });
  expect(checks.mailboxes.list[0]).toMatchObject({
    ...{ mailbox: 'box0', status: 'failing', since: ended.since, reason },
    hint: 'Sign in again: ticketmaild mailbox authorize box0',
  });
});

test('a mailbox that was read after its grant ended says how, beside since when it fails', async () => {
  const since = '2026-01-31T08:00:00.000Z';
  const reason = 'oauth_needs_consent: grant boxes was ended by its provider';
  const ended = { status: 'failing', since, reason, hint: 'of the grant' } as const;
  const grants = [{ ...ended, grant: 'boxes', provider: 'people', state: 'needs_consent' }];
  const read = { ...fine, lastSuccessAtMs: Date.parse(since) + 1000 };
  const { checks, ready } = await awake({ health: [read, fine], grant: 'boxes', grants }).readiness();
  expect(ready).toBe(true);
  expect(checks.mailboxes.list[0]).toMatchObject({
    ...{ mailbox: 'box0', since, failures: 0, next_poll: null },
    reason: `${reason}; it was read since, over a connection that was open`,
  });
});

test('an unstable UIDVALIDITY is a warning, and the worker stays ready', async () => {
  const health = awake({ health: [fine] });
  for (let times = 0; times < 3; times += 1) health.uidValidityChanges.note('box0');
  expect((await health.readiness()).checks.mailboxes.list).toMatchObject([{ status: 'ok' }]);
  health.uidValidityChanges.note('box0');
  expect(await health.readiness()).toMatchObject({
    ready: true,
    checks: {
      mailboxes: {
        status: 'ok',
        list: [{ status: 'warning', reason: expect.stringMatching(/^uidvalidity_unstable: .* 4 times/) }],
      },
    },
  });
});

describe('ready or not', () => {
  test('nothing is known before the first tick, so it is not ready', async () => {
    expect(await healthOf({}).readiness()).toMatchObject({ ready: false, checks: { database: { status: 'unknown' } } });
  });

  test('one failing mailbox is shown first, with its hint, and the others keep it ready', async () => {
    const readiness = await awake({ health: [fine, ill] }).readiness();
    expect(readiness).toMatchObject({ ready: true, checks: { mailboxes: { status: 'failing', ok: 1, failing: 1 } } });
    const [first] = readiness.checks.mailboxes.list;
    expect(first).toMatchObject({ mailbox: 'box1', reason: 'login_refused: no', hint: 'set it again' });
  });

  test('when every mailbox fails it is not ready', async () => {
    expect(await awake({ health: [ill, ill] }).readiness()).toMatchObject({ ready: false });
  });

  test('a database that is down makes it not ready, with reason and hint', async () => {
    const health = healthOf({ health: [fine] });
    health.liveness.tick();
    health.recordDatabase(new Failure('database_unavailable', 'no answer'));
    const readiness = await health.readiness();
    expect(readiness.ready).toBe(false);
    expect(readiness.checks.database).toMatchObject({ status: 'failing', reason: 'database_unavailable: no answer' });
    expect(readiness.checks.database.hint).toMatch(/runs/);
    expect(health.obstacle()).toBe('database_unavailable: no answer');
  });

  test('a disk that cannot be written to makes it not ready', async () => {
    const disk = {
      status: 'failing',
      since: null,
      reason: 'disk_full: no space',
      hint: 'free some',
      free_bytes: 0,
    } as const;
    expect(await awake({ otherParts: { disk } }).readiness()).toMatchObject({ ready: false });
  });

  test('a stuck scheduler is detected by its lag, and a step of the system time is no lag', async () => {
    const hand = handClock();
    let steppedMs = 0;
    const health = awake({ health: [fine], clock: { ...hand, nowMs: () => hand.at.ms + steppedMs } });
    steppedMs = 3_600_000;
    expect(await health.readiness()).toMatchObject({ checks: { scheduler: { status: 'ok' } } });
    expect(health.liveness.isAlive).toBe(true);
    hand.at.ms += 20_000;
    expect(await health.readiness()).toMatchObject({
      ready: false,
      checks: { scheduler: { status: 'failing', lag_ms: 20_000 } },
    });
    expect(health.liveness.isAlive).toBe(false);
  });

  test('a scheduler that waits for a slow database is alive, one whose query never returns is not', () => {
    const hand = handClock();
    const { liveness } = healthOf({ clock: hand });
    const pass = (seconds: number): void => {
      hand.at.ms += seconds * 1000;
      liveness.tick();
    };
    liveness.tick();
    liveness.queryStarted();
    pass(120);
    expect(liveness.isAlive).toBe(true);
    pass(200);
    expect(liveness.isAlive).toBe(false);
    liveness.queryStarted(true);
    pass(3600);
    expect(liveness.isAlive).toBe(true);
  });
});

describe('mailboxes', () => {
  test('a failure that could not be stored is shown', async () => {
    const health = awake({ health: [fine] });
    health.recordPoll('box0', new Failure('disk_full', 'no space'));
    expect(await health.readiness()).toMatchObject({ ready: false, checks: { mailboxes: { failing: 1 } } });
    health.recordPoll('box0', null);
    expect(await health.readiness()).toMatchObject({ ready: true });
  });

  test('a success here counts before its row is written', async () => {
    const health = awake({
      health: [{ ...ill, lastError: { ...ill.lastError, atMs: 5 } as MailboxHealth['lastError'] }],
    });
    expect(await health.readiness()).toMatchObject({ ready: false });
    expect(health.recordPoll('box0', null)).toBe(true);
    expect(health.latest()).toMatchObject({ ready: true, checks: { mailboxes: { failing: 0 } } });
    expect(await health.readiness()).toMatchObject({ ready: true });
    expect(health.recordPoll('box0', null)).toBe(false);
  });

  test('all of a server whose circuit breaker is open fail, and it is not ready', async () => {
    const own = handClock();
    const away = { host: 'mail.example.test', port: 993, tls: 'implicit' } as const;
    const failure = new Failure('connect_refused', 'no');
    const at = { sinceMs: own.monotonicMs() - 60_000, atMs: own.monotonicMs() - 5000, nextProbeMs: 0 };
    const otherParts = { openCircuits: [{ ...away, failure, ...at }] };
    const recently = { ...fine, lastSuccessAtMs: own.nowMs() - 70_000 };
    // This machine's clock is an hour behind that of the database.
    const databaseNowMs = () => own.nowMs() + 3_600_000;
    const health = awake({ health: [recently, recently, recently], otherParts, clock: own, databaseNowMs });
    const { ready, checks } = await health.readiness();
    expect({ ready, ...checks.mailboxes, list: [] }).toMatchObject({
      ...{ ready: false, ok: 0, failing: 3 },
      reason: '3 of 3 fail: server mail.example.test:993 with implicit TLS (connect_refused)',
    });
    expect(checks.servers.list[0]?.since).toBe(new Date(own.nowMs() - 60_000).toISOString());
  });

  test('a failure here is cleared by a later success of another worker', async () => {
    const health = awake({ health: [{ ...fine, lastSuccessAtMs: clock.nowMs() + 1 }] });
    health.recordPoll('box0', new Failure('connect_refused', 'not from here'));
    expect(await health.readiness()).toMatchObject({ ready: true, checks: { mailboxes: { failing: 0 } } });
  });

  test('a failure recorded while the clock of this machine was ahead is cleared by that, too', async () => {
    const at = { ms: 1_800_000_000_000, aheadMs: 600_000 };
    const own = { ...clock, nowMs: () => at.ms + at.aheadMs, monotonicMs: () => at.ms };
    const row = { ...fine, nextPollAtMs: at.ms, lastSuccessAtMs: at.ms + 1000 };
    const health = awake({ health: [row], clock: own, databaseNowMs: () => at.ms });
    health.recordPoll('box0', new Failure('connect_refused', 'not from here'));
    at.aheadMs = 0;
    at.ms += 2000;
    health.liveness.tick();
    expect(await health.readiness()).toMatchObject({ ready: true, checks: { mailboxes: { failing: 0 } } });
  });

  test('a mailbox that has been due for long without a finished poll fails', async () => {
    const overdue = { ...fine, nextPollAtMs: clock.nowMs() - 16 * 60_000 };
    const { list } = (await awake({ health: [fine, overdue] }).readiness()).checks.mailboxes;
    expect(list.map(({ status }) => status)).toEqual(['failing', 'ok']);
    expect(list[0]?.reason).toMatch(/^overdue/);
  });

  test('a suspension after refused logins is in the reason', async () => {
    const { list } = (await awake({ health: [{ ...ill, loginFailures: 3 }] }).readiness()).checks.mailboxes;
    expect(list[0]?.reason).toMatch(/suspended after 3 refused logins/);
  });

  const sealed: MailboxHealth = { ...fine, password: { form: 'sealed', keyId: '0123456789abcdef' } };
  const bad = { status: 'failing', since: null, reason: 'key_file_missing: no key file', hint: 'put it back' } as const;

  test('mailboxes without an open key wait, do not fail, and make it not ready', async () => {
    const vault = { ...bad, state: 'missing', key_ids: [] };
    const health = awake({ health: [sealed, fine], encryption: { ...quiet, vault, needsKey: true } });
    expect(await health.readiness()).toMatchObject({
      ready: false,
      checks: { vault: { status: 'failing' }, mailboxes: { ok: 1, failing: 0, waiting: 1 } },
    });
  });

  test('a key file that vanished while the keys are in memory is shown, and it stays ready', async () => {
    const vault = { ...bad, state: 'orphaned', key_ids: ['0123456789abcdef'] };
    expect(await awake({ health: [sealed], encryption: { ...quiet, vault } }).readiness()).toMatchObject({
      ready: true,
      checks: { vault: { status: 'failing', hint: 'put it back' }, mailboxes: { ok: 1, waiting: 0 } },
    });
  });
});

describe('warnings that do not make it unready', () => {
  test("a clock that is far from the database's", async () => {
    const health = awake({});
    health.recordClockOffset(40);
    expect(health.isClockRight()).toBe(true);
    health.recordClockOffset(-3_600_000);
    expect(health.isClockRight()).toBe(false);
    expect(await health.readiness()).toMatchObject({
      ready: true,
      checks: { clock: { status: 'warning', offset_ms: -3_600_000, reason: expect.stringContaining('3600 s behind') } },
    });
  });

  test('a certificate that expires soon', async () => {
    const health = awake({ health: [fine, fine], hosts: ['mail.example.test', 'other.example.test'] });
    health.recordCertificate('mail.example.test', 993, clock.nowMs() + 3.5 * 86_400_000);
    health.recordCertificate('other.example.test', 993, clock.nowMs() + 300 * 86_400_000);
    const { certificates } = (await health.readiness()).checks;
    expect(certificates).toMatchObject({
      status: 'warning',
      reason: expect.stringContaining('mail.example.test:993 expires in 3 days'),
    });
    expect(certificates.list.map(({ days_left: days }) => days)).toEqual([3, 300]);
    health.recordCertificate('mail.example.test', 993, clock.nowMs() - 3651 * 86_400_000);
    expect((await health.readiness()).checks.certificates.reason).toContain('993 expired 3650 days ago');
  });

  test('but not the certificate of a server that is no longer polled', async () => {
    const own = handClock();
    const health = awake({ health: [fine], clock: own });
    health.recordCertificate('former.example.test', 993, own.nowMs());
    health.recordCertificate('mail.example.test', 1993, own.nowMs());
    expect((await health.readiness()).checks.certificates).toMatchObject({ status: 'ok', list: [] });
    // Another worker has that mailbox now, and has seen the next certificate.
    health.recordCertificate('mail.example.test', 993, own.nowMs());
    expect((await health.readiness()).checks.certificates).toMatchObject({ status: 'warning' });
    own.at.ms += 26 * 3_600_000;
    expect((await health.readiness()).checks.certificates).toMatchObject({ status: 'ok', list: [] });
  });

  test('an open circuit, as long as an active mailbox is on that server', async () => {
    const openCircuits = ['mail.example.test', 'former.example.test'].map((host) => ({
      ...({ host, port: 993, tls: 'implicit' } as const),
      ...{ failure: new Failure('connect_refused', 'no'), sinceMs: 0, atMs: 0, nextProbeMs: 0 },
    }));
    const { servers } = (await awake({ health: [fine], otherParts: { openCircuits } }).readiness()).checks;
    expect(servers).toMatchObject({ status: 'failing', list: [{ host: 'mail.example.test' }] });
    expect(servers.list).toHaveLength(1);
    expect((await awake({ health: [], otherParts: { openCircuits } }).readiness()).checks.servers).toMatchObject({
      status: 'ok',
    });
  });

  test('a clock of this machine that is ahead makes no mailbox overdue, and one that is behind hides none', async () => {
    const due = (agoMs: number): MailboxHealth => ({ ...fine, nextPollAtMs: clock.nowMs() - agoMs });
    const at = (offsetMs: number, health: MailboxHealth) =>
      awake({ health: [health], databaseNowMs: () => clock.nowMs() - offsetMs });
    const [ahead, behind] = [at(20 * 60_000, due(20 * 60_000)), at(-20 * 60_000, due(0))];
    expect((await ahead.readiness()).checks.mailboxes).toMatchObject({ ok: 1, failing: 0 });
    expect((await behind.readiness()).checks.mailboxes).toMatchObject({ ok: 0, failing: 1 });
    // A success that another worker wrote since, by the clock of the database.
    const other = at(20 * 60_000, { ...fine, lastSuccessAtMs: clock.nowMs() - 20 * 60_000 + 1000 });
    other.recordPoll('box0', new Failure('connect_refused', 'not from here'));
    expect((await other.readiness()).checks.mailboxes).toMatchObject({ ok: 1, failing: 0 });
  });

  test('a step of either clock makes no mailbox overdue; one that stays unpolled is, a quarter of an hour later', async () => {
    const at = { ms: 1_800_000_000_000, localAheadMs: 0, databaseAheadMs: 0 };
    const own = { ...clock, nowMs: () => at.ms + at.localAheadMs, monotonicMs: () => at.ms };
    const health = awake({
      ...{ health: [{ ...fine, nextPollAtMs: at.ms + 30_000 }], clock: own },
      databaseNowMs: () => at.ms + at.databaseAheadMs,
    });
    const failing = async () => {
      at.ms += 1000;
      health.liveness.tick();
      return (await health.readiness()).checks.mailboxes.failing;
    };
    expect(await failing()).toBe(0);
    at.localAheadMs = 3_600_000;
    expect(await failing()).toBe(0);
    at.localAheadMs = 0;
    at.databaseAheadMs = 3_600_000;
    expect(await failing()).toBe(0);
    at.ms += 14 * 60_000;
    expect(await failing()).toBe(0);
    at.ms += 60_000;
    expect(await failing()).toBe(1);
  });

  test('quarantined messages, and since when', async () => {
    const health = awake({ quarantine: { oldestAtMs: clock.nowMs(), reasons: [{ reason: 'too_large', count: 2 }] } });
    expect(await health.readiness()).toMatchObject({
      ready: true,
      checks: { quarantine: { status: 'warning', count: 2, oldest: new Date(clock.nowMs()).toISOString() } },
    });
  });
});
