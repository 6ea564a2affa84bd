import { expect, test } from 'vitest';
import type { Clock } from '../../../src/async/clock.ts';
import { createSchedulerLiveness } from '../../../src/ingest/health/scheduler-liveness.ts';
import type { ServiceManager } from '../../../src/ingest/ports.ts';
import type { Readiness } from '../../../src/ingest/readiness.ts';
import { runWatchdog } from '../../../src/ingest/scheduler/watchdog.ts';
import { sampleReadiness } from '../../adapters/metrics/samples.ts';

/**
 * The watchdog, whose loop runs once per `turn`; that returns what was sent to systemd, `sent` what was sent at the
 * start.
 */
function scene(watchdogMs: number | null) {
  const heard: string[] = [];
  /** When readiness was computed from memory. */
  const computed: number[] = [];
  const state = { atMs: 0, obstacle: null as string | null, load: { polls: 0, due: 0 }, readiness: sampleReadiness() };
  const sleeps: { ms: number; wake: () => void }[] = [];
  const nothing = (): void => undefined;
  const serviceManager: ServiceManager = {
    ...{ watchdogMs, ready: nothing, reloading: nothing, stopping: nothing },
    status: (sentence) => void heard.push(sentence),
    heartbeat: () => void heard.push('heartbeat'),
  };
  const clock: Clock = {
    nowMs: () => state.atMs,
    monotonicMs: () => state.atMs,
    sleep: (ms) =>
      new Promise((resolve) => {
        sleeps.push({ ms, wake: resolve });
      }),
  };
  const scheduler = createSchedulerLiveness(clock);
  scheduler.tick();
  let changed = nothing;
  const health = {
    liveness: scheduler,
    obstacle: () => state.obstacle,
    readiness: async () => state.readiness,
    latest: () => {
      computed.push(state.atMs);
      return state.readiness;
    },
    onChange: (listener: () => void) => {
      changed = listener;
      return { [Symbol.dispose]: () => undefined };
    },
  };
  const watchdog = runWatchdog({ serviceManager, clock, health, load: () => state.load, idle: () => ({ open: 3 }) });
  const take = (): readonly string[] => heard.splice(0);
  const turn = async (): Promise<readonly string[]> => {
    for (const { wake } of sleeps.splice(0)) wake();
    await new Promise((resolve) => setImmediate(resolve));
    return take();
  };
  const change = async (): Promise<readonly string[]> => {
    changed();
    await new Promise((resolve) => setImmediate(resolve));
    return take();
  };
  return {
    sent: take(),
    state,
    scheduler,
    watchdog,
    turn,
    change,
    computed,
    sleptMs: () => sleeps.map(({ ms }) => ms),
  };
}

test('it sends a heartbeat four times within the watchdog interval, and only while the scheduler is alive', async () => {
  const { sent, state, scheduler, watchdog, turn, sleptMs } = scene(8000);
  using _watchdog = watchdog;
  expect(sent).toContain('heartbeat');
  expect(sleptMs()).toEqual([2000]);
  state.atMs += 20_000;
  expect(await turn()).not.toContain('heartbeat');
  scheduler.tick();
  expect(await turn()).toContain('heartbeat');
});

const good = { status: 'ok', since: null, reason: null, hint: null } as const;
const mailboxesOf = (ok: number, failing: number): Readiness['checks']['mailboxes'] => ({
  ...good,
  ...(failing === 0 ? {} : { status: 'failing', reason: `${failing} of ${ok + failing} fail` }),
  ...{ ok, failing, waiting: 0, paused: 0, list: [] },
});

test('its status is a sentence, sent when it changes, that says what readiness says', async () => {
  const { sent, state, watchdog, turn } = scene(null);
  using _watchdog = watchdog;
  expect(sent).toEqual(['heartbeat', 'Ready: 3 idle connections, 0 polls in progress']);
  const change = async (ready: boolean, checks: Partial<Readiness['checks']>): Promise<string | undefined> => {
    const well = { switch: { ...good, state: 'on', revision: 1 }, mailboxes: mailboxesOf(5, 0) };
    state.readiness = { ...sampleReadiness({ ...well, servers: { ...good, list: [] }, ...checks }), ready };
    await turn();
    state.atMs += 5000;
    // The readiness requested in one turn is in the sentence of the next.
    const heard = [...(await turn()), ...(await turn())];
    return heard.findLast((one) => one !== 'heartbeat');
  };
  expect(await change(true, {})).toBe('Ready: 5 of 5 mailboxes ok, 3 idle connections, 0 polls in progress');
  expect(await turn()).toEqual(['heartbeat']);
  state.load = { polls: 2, due: 5 };
  const vault = {
    ...good,
    status: 'warning',
    reason: 'key_file_missing: gone',
    state: 'orphaned',
    key_ids: [],
  } as const;
  expect(await change(true, { vault, mailboxes: mailboxesOf(4, 1) })).toBe(
    'Ready: 4 of 5 mailboxes ok, 3 idle connections, 2 polls in progress, 5 due; vault: key_file_missing: gone; and 1 more',
  );
  expect(await change(false, { mailboxes: mailboxesOf(0, 5) })).toBe('Not ready: mailboxes: 5 of 5 fail');
  state.obstacle = 'database_unavailable: refused';
  expect(await turn()).toEqual(['heartbeat', 'Not ready: database_unavailable: refused']);
});

test('a change of a verdict is sent at once, many of them together and within a second', async () => {
  const { state, watchdog, change, turn, computed, sleptMs } = scene(null);
  using _watchdog = watchdog;
  await turn();
  state.readiness = { ...sampleReadiness({ mailboxes: mailboxesOf(0, 50) }), ready: false };
  expect(await change()).toEqual([expect.stringMatching(/^Not ready: /)]);
  state.readiness = { ...state.readiness, ready: true };
  for (let changes = 0; changes < 1000; changes += 1) expect(await change()).toEqual([]);
  const [, waitMs = Number.NaN, ...more] = sleptMs();
  expect([waitMs > 0 && waitMs < 1000, more]).toEqual([true, []]);
  expect((await turn())[0]).toMatch(/^heartbeat$|^Ready: /);
  expect(computed).toHaveLength(2);
});

test('it ends when it is disposed', async () => {
  const { watchdog, turn } = scene(null);
  watchdog[Symbol.dispose]();
  expect(await turn()).toEqual([]);
});
