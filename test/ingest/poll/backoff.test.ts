import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { Failure, type FailureFields } from '../../../src/errors.ts';
import { backoffMs, failedResult, suspendsLogins } from '../../../src/ingest/poll/backoff.ts';
import type { PollSettings } from '../../../src/ingest/poll/poll-context.ts';
import { createCircuitBreaker } from '../../../src/ingest/scheduler/circuit-breaker.ts';
import { dueMailbox, handClock, mailbox } from '../samples.ts';

const second = 1000;
const minute = 60 * second;
const hour = 60 * minute;
const settings: PollSettings = {
  ...{ intervalMs: minute, backoffMsMax: 15 * minute, leaseMs: minute, loginFailuresMax: 3, loginSuspendMs: 6 * hour },
  limits: { messageBytesMax: 1, batch: { messagesMax: 1, bytesMax: 1 }, batchTimeoutMs: 1 },
  rules: { senderPerHourMax: null, senderExempt: [], reopenMs: null },
};

describe('the wait after failures in a row', () => {
  test('doubles from 15 s up to the limit', () => {
    const waits = [1, 2, 3, 4, 5, 6, 7, 8, 1000].map(
      (failures) => backoffMs(failures, minute, 15 * minute, 0) / second,
    );
    expect(waits).toEqual([15, 30, 60, 120, 240, 480, 900, 900, 900]);
  });

  test('starts with the interval where that is shorter, but with no less than a second', () => {
    expect([1, 2, 3].map((failures) => backoffMs(failures, 4 * second, minute, 0))).toEqual([4000, 8000, 16_000]);
    expect(backoffMs(1, 10, minute, 0)).toBe(second);
  });

  test('is at least the first wait, however low the limit is', () => {
    expect(backoffMs(5, minute, second, 0)).toBe(15 * second);
  });

  test('is shortened by jitter, up to a quarter, and never extended', () => {
    expect(backoffMs(3, minute, 15 * minute, 1)).toBe(45 * second);
    expect(backoffMs(3, minute, 15 * minute, 0.5)).toBe(52.5 * second);
  });
});

const lost = new Failure('connection_lost', 'it broke');
const refused = (fields: FailureFields = {}) => new Failure('login_refused', 'no', { fields });
const asked = (ms: number) => new Failure('server_busy', 'slow down', { fields: { retry_after_ms: ms } });
const dueAfter = (due: { failures?: number; loginFailures?: number }) =>
  dueMailbox('a', undefined, { version: 'v7', ...due }).due;
const resultOf = (failure: Failure, due = dueAfter({})) => failedResult(failure, mailbox('a'), settings, due, 0);

describe('the result of a failed poll', () => {
  test('is code, message and hint, and a wait by the failures before it', () => {
    expect(resultOf(lost, dueAfter({ failures: 2 }))).toEqual({
      ok: false,
      nextPollAfterMs: minute,
      error: { code: 'connection_lost', message: 'it broke', hint: lost.hint },
      refusedVersion: null,
    });
  });

  test('is the wait that the server asks for, where that is longer', () => {
    expect(resultOf(asked(20 * minute)).nextPollAfterMs).toBe(20 * minute);
    expect(resultOf(asked(second)).nextPollAfterMs).toBe(15 * second);
  });

  test('is a wait of a minute at most after a server failure, unless the server asked for more', () => {
    const waitAfter = (failure: Failure) => resultOf(failure, dueAfter({ failures: 9 })).nextPollAfterMs;
    const at = (code: Failure['code'], fields: FailureFields) => waitAfter(new Failure(code, 'no', { fields }));
    expect(at('connect_refused', {})).toBe(minute);
    expect(at('tls_failed', { stage: 'tls' })).toBe(minute);
    expect(at('server_busy', { stage: 'greeting' })).toBe(minute);
    expect(at('server_busy', { stage: 'greeting', retry_after_ms: 20 * minute })).toBe(20 * minute);
    for (const own of [lost, refused()]) expect(waitAfter(own)).toBe(15 * minute);
    expect(at('server_timeout', { stage: 'login' })).toBe(15 * minute);
    expect(at('connect_refused', { cause: 'EMFILE' })).toBe(15 * minute);
    expect(resultOf(new Failure('connect_refused', 'no')).nextPollAfterMs).toBe(15 * second);
  });

  test('so that a server with a single mailbox is probed once a minute, too', () => {
    const clock = handClock();
    const hosts = createCircuitBreaker(clock, () => 0);
    const server = mailbox('a').connection;
    const away = new Failure('connect_refused', 'nobody there');
    const waits: number[] = [];
    let failures = 0;
    for (let triedAtMs = clock.at.ms; failures < 12; triedAtMs = clock.at.ms) {
      hosts.attemptStarted(server, 'a');
      hosts.attemptEnded(server, 'a', away);
      clock.at.ms += resultOf(away, dueAfter({ failures })).nextPollAfterMs;
      failures += 1;
      while (!hosts.allows(server)) clock.at.ms += second;
      waits.push((clock.at.ms - triedAtMs) / second);
    }
    expect(waits).toEqual([15, 30, ...Array(10).fill(60)]);
  });

  test('is a suspension of logins for hours after the third refused login of the same row', () => {
    expect(resultOf(refused(), dueAfter({ loginFailures: 1 }))).toMatchObject({
      nextPollAfterMs: 15 * second,
      refusedVersion: 'v7',
    });
    expect(resultOf(refused(), dueAfter({ loginFailures: 2 }))).toMatchObject({
      nextPollAfterMs: 6 * hour,
      refusedVersion: 'v7',
    });
    expect(resultOf(refused(), dueAfter({ loginFailures: 9 })).nextPollAfterMs).toBe(6 * hour);
  });

  test('is no suspension for refused tokens, however many: a new one is requested for each', () => {
    expect(resultOf(refused({ credential: 'token' }), dueAfter({ failures: 40, loginFailures: 40 }))).toMatchObject({
      nextPollAfterMs: 15 * minute,
      refusedVersion: null,
    });
  });

  test('is the time of a lock-out that lasts longer than that', () => {
    expect(resultOf(refused({ retry_after_ms: 24 * hour }), dueAfter({ loginFailures: 2 })).nextPollAfterMs).toBe(
      24 * hour,
    );
  });

  test('is no suspension where another failure follows refused logins', () => {
    expect(resultOf(lost, dueAfter({ loginFailures: 5 }))).toMatchObject({
      nextPollAfterMs: 15 * second,
      refusedVersion: null,
    });
  });

  test('is no suspension for a poll by a command outside the schedule', () => {
    expect(failedResult(refused(), mailbox('a'), settings, null, 0)).toMatchObject({
      refusedVersion: null,
      nextPollAfterMs: 15 * second,
    });
  });
});

test.each([
  ['login_refused', 2, true],
  ['login_refused', 1, false],
  ['login_refused', 5, true],
  ['server_busy', 9, false],
] as const)('%s after %i refused logins suspends logins: %j', (code, loginFailures, pauses) => {
  expect(suspendsLogins(new Failure(code, 'no'), { loginFailures }, { loginFailuresMax: 3 })).toBe(pauses);
});

test('refused tokens suspend no logins', () => {
  expect(suspendsLogins(refused({ credential: 'token' }), { loginFailures: 9 }, { loginFailuresMax: 3 })).toBe(false);
});

describe('the backoff', () => {
  test('doubles from the first failure and stops at the limit', () => {
    const waits = [1, 2, 3, 4, 50].map((failures) => backoffMs(failures, 10_000, 60_000, 0));
    expect(waits).toEqual([10_000, 20_000, 40_000, 60_000, 60_000]);
  });

  test('jitter only ever shortens, by a quarter at most, and never below most of a second', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 1000 }),
        fc.nat(600_000),
        fc.double({ min: 0, max: 1, noNaN: true }),
        (failures, interval, random) => {
          const wait = backoffMs(failures, interval, 900_000, random);
          const full = backoffMs(failures, interval, 900_000, 0);
          expect(wait).toBeGreaterThanOrEqual(Math.max(750, Math.floor(full * 0.75)));
          expect(wait).toBeLessThanOrEqual(full);
        },
      ),
    );
  });
});
