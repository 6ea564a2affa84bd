import { expect, test } from 'vitest';
import type { Clock } from '../../../src/async/clock.ts';
import { turning } from '../../../src/ingest/health/checks.ts';
import type { Supervisor } from '../../../src/ingest/ports.ts';
import type { Readiness } from '../../../src/ingest/readiness.ts';
import { supervise } from '../../../src/ingest/scheduler/watchdog.ts';
import { sampleReadiness } from '../../adapters/metrics/samples.ts';

/** It goes on when `turn` is called, which gives what systemd was told by that; `told` is what it heard at the start. */
function scene(watchdogMs: number | null) {
  const heard: string[] = [];
  const state = { atMs: 0, obstacle: null as string | null, busy: { visits: 0, due: 0 }, readiness: sampleReadiness() };
  let slept = { ms: 0, wake: (): void => undefined };
  const nothing = (): void => undefined;
  const supervisor: Supervisor = {
    ...{ watchdogMs, ready: nothing, reloading: nothing, stopping: nothing },
    status: (sentence) => void heard.push(sentence),
    alive: () => void heard.push('alive'),
  };
  const clock: Clock = {
    nowMs: () => state.atMs,
    monotonicMs: () => state.atMs,
    sleep: (ms) =>
      new Promise((resolve) => {
        slept = { ms, wake: resolve };
      }),
  };
  const scheduler = turning(clock);
  scheduler.woke();
  const health = {
    turning: scheduler,
    obstacle: () => state.obstacle,
    readiness: async () => state.readiness,
  };
  const supervised = supervise({ supervisor, clock, health, busy: () => state.busy, open: () => ({ open: 3 }) });
  const take = (): readonly string[] => heard.splice(0);
  const turn = async (): Promise<readonly string[]> => {
    slept.wake();
    await new Promise((resolve) => setImmediate(resolve));
    return take();
  };
  return { told: take(), state, scheduler, supervised, turn, sleptMs: () => slept.ms };
}

test('it says alive four times in the time of the watchdog, and only while the scheduler turns', async () => {
  const { told, state, scheduler, supervised, turn, sleptMs } = scene(8000);
  using _supervised = supervised;
  expect(told).toContain('alive');
  expect(sleptMs()).toBe(2000);
  state.atMs += 20_000;
  expect(await turn()).not.toContain('alive');
  scheduler.woke();
  expect(await turn()).toContain('alive');
});

const good = { status: 'ok', since: null, reason: null, hint: null } as const;
const mailboxesOf = (ok: number, failing: number): Readiness['checks']['mailboxes'] => ({
  ...good,
  ...(failing === 0 ? {} : { status: 'failing', reason: `${failing} of ${ok + failing} fail` }),
  ...{ ok, failing, waiting: 0, paused: 0, list: [] },
});

test('its status is a sentence, told when it changes, and says what readiness says', async () => {
  const { told, state, supervised, turn } = scene(null);
  using _supervised = supervised;
  expect(told).toEqual(['alive', 'Ready: 3 pushed, 0 visits under way']);
  const change = async (ready: boolean, checks: Partial<Readiness['checks']>): Promise<string | undefined> => {
    const well = { switch: { ...good, state: 'on', revision: 1 }, mailboxes: mailboxesOf(5, 0) };
    state.readiness = { ...sampleReadiness({ ...well, servers: { ...good, list: [] }, ...checks }), ready };
    await turn();
    state.atMs += 5000;
    // What was asked for in one turn is told in the next.
    const heard = [...(await turn()), ...(await turn())];
    return heard.findLast((one) => one !== 'alive');
  };
  expect(await change(true, {})).toBe('Ready: 5 of 5 mailboxes ok, 3 pushed, 0 visits under way');
  expect(await turn()).toEqual(['alive']);
  state.busy = { visits: 2, due: 5 };
  const vault = {
    ...good,
    status: 'warning',
    reason: 'key_file_missing: gone',
    state: 'orphaned',
    key_ids: [],
  } as const;
  expect(await change(true, { vault, mailboxes: mailboxesOf(4, 1) })).toBe(
    'Ready: 4 of 5 mailboxes ok, 3 pushed, 2 visits under way, 5 due; vault: key_file_missing: gone; and 1 more',
  );
  expect(await change(false, { mailboxes: mailboxesOf(0, 5) })).toBe('Not ready: mailboxes: 5 of 5 fail');
  state.obstacle = 'database_unavailable: refused';
  expect(await turn()).toEqual(['alive', 'Not ready: database_unavailable: refused']);
});

test('it ends when it is disposed', async () => {
  const { supervised, turn } = scene(null);
  supervised[Symbol.dispose]();
  expect(await turn()).toEqual([]);
});
