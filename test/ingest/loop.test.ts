import { describe, expect, test } from 'vitest';
import { Failure } from '../../src/errors.ts';
import type { EventName } from '../../src/events.ts';
import { createHealth, type EncryptionChecks } from '../../src/ingest/health.ts';
import { admitted, createLoop, type LoopPorts, type LoopSettings } from '../../src/ingest/loop.ts';
import type { Mailbox, MailboxHealth } from '../../src/ingest/mailbox.ts';

const clock = { nowMs: () => 1_800_000_000_000, sleep: () => Promise.resolve() };

function mailbox(name: string, host = 'mail.example.test'): Mailbox {
  return {
    id: name,
    name,
    connection: {
      host,
      port: 993,
      tls: 'implicit',
      caPem: null,
      fingerprint: null,
      user: name,
      folder: 'INBOX',
      allowPlaintext: false,
    },
    start: { from: 'all' },
    after: { kind: 'seen' },
    pollIntervalMs: null,
    state: 'active',
  };
}

const fine: MailboxHealth = {
  nextPollAtMs: clock.nowMs(),
  failures: 0,
  lastSuccessAtMs: 1,
  lastError: null,
  cursor: null,
  password: { form: 'plain', keyId: null },
};
const ill: MailboxHealth = {
  ...fine,
  failures: 2,
  lastError: { code: 'login_refused', message: 'no', hint: 'set it anew', atMs: 5 },
};

const good = { status: 'ok', since: null, reason: null, hint: null } as const;
/** Encryption as it is while the switch is off. */
const quiet: EncryptionChecks = {
  wants: false,
  vault: { ...good, state: 'closed', key_ids: [] },
  switch: { ...good, state: 'off', revision: 0 },
};

describe('the limits of a wake', () => {
  const limits = { concurrencyMax: 4, concurrencyPerHostMax: 2 };

  test('no more visits at a time than allowed, those under way included', () => {
    const due = ['a', 'b', 'c', 'd', 'e'].map((name) => mailbox(name, name));
    const running = new Map([['x', { host: 'x' }]]);
    expect(admitted(due, running, limits).map(({ name }) => name)).toEqual(['a', 'b', 'c']);
  });

  test('one host with many mailboxes leaves room for the others', () => {
    const due = [mailbox('a1', 'a'), mailbox('a2', 'a'), mailbox('a3', 'a'), mailbox('b1', 'b')];
    expect(admitted(due, new Map(), limits).map(({ name }) => name)).toEqual(['a1', 'a2', 'b1']);
  });

  test('a mailbox whose visit is still under way is not visited a second time', () => {
    expect(admitted([mailbox('a')], new Map([['a', { host: 'elsewhere' }]]), limits)).toEqual([]);
  });
});

type Line = { readonly level: string; readonly event: EventName; readonly fields: Readonly<Record<string, unknown>> };

/** A loop on a database of our making: `due` answers every wake, or throws. */
function loopOn(due: () => Promise<readonly Mailbox[]>) {
  const lines: Line[] = [];
  const write = (level: string) => (fields: Readonly<Record<string, unknown>>, event: EventName) =>
    void lines.push({ level, event, fields });
  const log = { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
  const refused = () => Promise.reject(new Failure('login_refused', 'refused'));
  const store = {
    dueMailboxes: due,
    listMailboxes: () => Promise.resolve([]),
    leaseOwner: () => Promise.resolve(null),
    takeLease: () => Promise.resolve({ mailboxId: 'a', owner: 'me', epoch: 1 }),
    adoptMailboxes: () => Promise.resolve(0),
    releaseLease: () => Promise.resolve(),
  };
  const vitals = createHealth(clock, store, () => quiet);
  const ports = {
    store,
    passwords: { lend: refused, keyIds: () => [] },
    vitals,
    log,
    clock,
    prepare: () => Promise.resolve(),
    workers: { me: 'me', isDead: () => false },
    random: () => 0,
  } as unknown as LoopPorts;
  const settings: LoopSettings = {
    intervalMs: 1000,
    backOffMsMax: 1000,
    leaseMs: 60_000,
    concurrencyMax: 4,
    concurrencyPerHostMax: 4,
    limits: { messageBytesMax: 1, window: { messagesMax: 1, bytesMax: 1 }, windowMs: 1 },
  };
  return { loop: createLoop(ports, settings, new AbortController().signal), lines, vitals };
}

describe('what the log hears of trouble', () => {
  test('a database that goes is told once, and once when it comes back', async () => {
    let isUp = true;
    const { loop, lines } = loopOn(() =>
      isUp ? Promise.resolve([]) : Promise.reject(new Failure('database_unavailable', 'down')),
    );
    await loop.wake();
    isUp = false;
    for (let wake = 0; wake < 5; wake += 1) await loop.wake();
    isUp = true;
    await loop.wake();
    expect(lines.map(({ event }) => event)).toEqual(['database.unavailable', 'database.recovered']);
  });

  test('a mailbox that keeps failing is told at its 1st, 2nd, 4th and 8th failure', async () => {
    const { loop, lines } = loopOn(() => Promise.resolve([mailbox('a')]));
    for (let wake = 0; wake < 10; wake += 1) {
      await loop.wake();
      await loop.idle();
    }
    const told = lines.filter(({ event, level }) => event === 'poll.failed' && level === 'warn');
    expect(told.map(({ fields }) => fields['failures'])).toEqual([1, 2, 4, 8]);
  });
});

describe('readiness', () => {
  const store = (health: readonly MailboxHealth[]) => ({
    listMailboxes: () => Promise.resolve(health.map((one, index) => ({ ...mailbox(`box${index}`), health: one }))),
  });
  const awake = (health: readonly MailboxHealth[], encryption = quiet) => {
    const vitals = createHealth(clock, store(health), () => encryption);
    vitals.database(null);
    vitals.woke();
    return vitals.readiness();
  };

  test('nothing is known before the first wake, so it is not ready', async () => {
    expect(await createHealth(clock, store([]), () => quiet).readiness()).toMatchObject({
      ready: false,
      checks: { database: { status: 'unknown' } },
    });
  });

  test('one failing mailbox is shown with its hint, and the others keep it ready', async () => {
    const readiness = await awake([fine, ill]);
    expect(readiness).toMatchObject({ ready: true, checks: { mailboxes: { status: 'failing', ok: 1, failing: 1 } } });
    expect(readiness.checks.mailboxes.list[1]).toMatchObject({ reason: 'login_refused: no', hint: 'set it anew' });
  });

  test('when every mailbox fails it cannot do its job', async () => {
    expect(await awake([ill, ill])).toMatchObject({ ready: false });
  });

  test('a database that is down makes it not ready, with reason and hint', async () => {
    const vitals = createHealth(clock, store([fine]), () => quiet);
    vitals.woke();
    vitals.database(new Failure('database_unavailable', 'no answer'));
    const readiness = await vitals.readiness();
    expect(readiness.ready).toBe(false);
    expect(readiness.checks.database).toMatchObject({ status: 'failing', reason: 'database_unavailable: no answer' });
    expect(readiness.checks.database.hint).toMatch(/runs/);
  });

  test('a failure that could not even be written down is shown', async () => {
    const vitals = createHealth(clock, store([fine]), () => quiet);
    vitals.database(null);
    vitals.woke();
    vitals.visited('box0', new Failure('disk_full', 'no space'));
    expect(await vitals.readiness()).toMatchObject({ ready: false, checks: { mailboxes: { failing: 1 } } });
    vitals.visited('box0', null);
    expect(await vitals.readiness()).toMatchObject({ ready: true });
  });

  test('a failure here is forgotten when another worker succeeded after it', async () => {
    const later = { ...fine, lastSuccessAtMs: clock.nowMs() + 1 };
    const vitals = createHealth(clock, store([later]), () => quiet);
    vitals.database(null);
    vitals.woke();
    vitals.visited('box0', new Failure('connect_refused', 'not from here'));
    expect(await vitals.readiness()).toMatchObject({ ready: true, checks: { mailboxes: { failing: 0 } } });
  });

  test('a mailbox that has been due for long and gets no visit done is shown', async () => {
    const overdue = { ...fine, nextPollAtMs: clock.nowMs() - 16 * 60_000 };
    const readiness = await awake([fine, overdue]);
    expect(readiness.checks.mailboxes.list.map(({ status }) => status)).toEqual(['ok', 'failing']);
    expect(readiness.checks.mailboxes.list[1]?.reason).toMatch(/^overdue/);
  });

  const sealed: MailboxHealth = { ...fine, password: { form: 'sealed', keyId: '0123456789abcdef' } };
  const bad = { status: 'failing', since: null, reason: 'key_file_missing: no key file', hint: 'put it back' } as const;

  test('mailboxes that no open key fits are waiting, not failing, and it cannot do its job', async () => {
    const vault = { ...bad, state: 'missing', key_ids: [] };
    expect(await awake([sealed, fine], { ...quiet, vault, wants: true })).toMatchObject({
      ready: false,
      checks: { vault: { status: 'failing' }, mailboxes: { ok: 1, failing: 0, waiting: 1 } },
    });
  });

  test('a key file that vanished while the keys are in memory is shown, and the work goes on', async () => {
    const vault = { ...bad, state: 'orphaned', key_ids: ['0123456789abcdef'] };
    expect(await awake([sealed], { ...quiet, vault })).toMatchObject({
      ready: true,
      checks: { vault: { status: 'failing', hint: 'put it back' }, mailboxes: { ok: 1, waiting: 0 } },
    });
  });

  test('a loop that does not turn is found by its lag', async () => {
    let nowMs = 0;
    const vitals = createHealth({ ...clock, nowMs: () => nowMs }, store([fine]), () => quiet);
    vitals.database(null);
    vitals.woke();
    nowMs = 20_000;
    expect(await vitals.readiness()).toMatchObject({
      ready: false,
      checks: { scheduler: { status: 'failing', lag_ms: 20_000 } },
    });
  });
});
