import { expect, test } from 'vitest';
import { createCrashCheck } from '../../../src/ingest/health/crashes.ts';
import { handClock } from '../samples.ts';

const minuteMs = 60_000;

/** The check of a process that has run for `ranMs`, after crashes so long before its start. */
function checkAfter(agoMs: readonly number[], ranMs = 0, stepMs = 0) {
  const clock = handClock();
  let steppedMs = 0;
  const own = { ...clock, nowMs: () => clock.at.ms + steppedMs, monotonicMs: () => clock.at.ms };
  const crashedAtMs = agoMs.map((ms) => own.nowMs() - ms).toSorted((a, b) => a - b);
  const check = createCrashCheck(crashedAtMs, own);
  clock.at.ms += ranMs;
  steppedMs = stepMs;
  return check();
}

test('no crash is ok, one is a warning for ten minutes', () => {
  expect(checkAfter([])).toEqual({ status: 'ok', since: null, reason: null, hint: null, count: 0, last: null });
  const one = checkAfter([0]);
  expect(one).toMatchObject({ status: 'warning', count: 1, since: one.last });
  expect(one.reason).toMatch(
    /^crashed: the process ended without a shutdown, once within 10 minutes, before its start/,
  );
  expect(one.hint).toContain("journalctl -u 'ticketmaild*'");
  expect(checkAfter([0], 10 * minuteMs - 1)).toMatchObject({ status: 'warning' });
  expect(checkAfter([0], 10 * minuteMs)).toMatchObject({ status: 'ok' });
});

test('two crashes at once, or three within ten minutes, leave it ready', () => {
  expect(checkAfter([0, 2000])).toMatchObject({ status: 'warning', count: 2 });
  expect(checkAfter([0, 4 * minuteMs, 9 * minuteMs])).toMatchObject({ status: 'warning', count: 3 });
});

test('the third crash within five minutes is a loop, until the process has run for a while', () => {
  const crashes = [0, minuteMs, 2 * minuteMs];
  const loop = checkAfter(crashes);
  expect(loop).toMatchObject({ status: 'failing', count: 3 });
  expect(loop.reason).toMatch(/^crash_loop: the process ended without a shutdown, 3 times within 10 minutes/);
  expect(checkAfter(crashes, 3 * minuteMs - 1)).toMatchObject({ status: 'failing' });
  expect(checkAfter(crashes, 3 * minuteMs)).toMatchObject({ status: 'warning' });
});

test.each([1, 5, 30, 99])('a loop with a crash each %i seconds reads failing at every look', (periodS) => {
  const crashes = Array.from({ length: 5 }, (_, index) => index * periodS * 1000);
  for (let ranS = 0; ranS <= periodS; ranS += 1)
    expect(checkAfter(crashes, ranS * 1000)).toMatchObject({ status: 'failing' });
});

test('a clock that is set hides no crash and makes none old, and one from the future does not count', () => {
  expect(checkAfter([0, 1, 2], minuteMs, 3_600_000)).toMatchObject({ status: 'failing' });
  expect(checkAfter([0, 1, 2], minuteMs, -3_600_000)).toMatchObject({ status: 'failing' });
  expect(checkAfter([-minuteMs])).toMatchObject({ status: 'ok' });
});
