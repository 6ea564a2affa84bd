import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { idle } from '../../../src/ingest/poll/idle-loop.ts';
import type { IdleSlot, OpenPoll, RoundReport } from '../../../src/ingest/poll/poll-context.ts';
import type { IdleEnd, Session } from '../../../src/ingest/ports.ts';
import { handClock, mailbox } from '../samples.ts';

const minute = 60_000;
const intervalMs = 10 * minute;
const quietMs = 5 * minute;

type Step = { readonly ended: IdleEnd | Failure; readonly afterMs?: number; readonly hasMessages?: boolean };

/** A connection whose IDLE ends as `steps` say, one after the other, and is stopped after them. */
function scene(
  steps: readonly Step[],
  more: {
    isDueAtOnce?: boolean;
    mayIdle?: boolean;
    intervalMs?: () => number;
    tokenMs?: number;
    changes?: () => number;
  } = {},
) {
  const clock = { ...handClock(), sleep: (ms: number) => Promise.resolve(void seen.pauses.push(ms)) };
  const seen = {
    ...{ asked: [] as number[], pauses: [] as number[], notes: [] as number[], connectionEnds: [] as unknown[] },
    ...{ rounds: 0, deliveries: 0, polls: [] as string[], lines: [] as unknown[] },
  };
  const lost = new AbortController();
  const left = [...steps];
  let current: Step = { ended: 'stopped' };
  const tokenEndsAtMs = more.tokenMs === undefined ? null : clock.at.ms + more.tokenMs;
  const session: Pick<Session, 'idle' | 'endsInMs'> = {
    get endsInMs() {
      return tokenEndsAtMs === null ? null : tokenEndsAtMs - clock.at.ms;
    },
    idle: async (ms) => {
      seen.asked.push(ms);
      current = left.shift() ?? { ended: 'stopped' };
      clock.at.ms += current.afterMs ?? (current.ended === 'timed_out' ? ms : minute);
      if (current.ended instanceof Failure) throw current.ended;
      return current.ended;
    },
  };
  const slot: IdleSlot = {
    end: new AbortController().signal,
    isDueAtOnce: () => more.isDueAtOnce ?? false,
    runRound: (work) => work(),
    connectionEnded: (isRefused = false) => {
      seen.connectionEnds.push(isRefused);
      return more.mayIdle ?? true;
    },
    [Symbol.dispose]: () => undefined,
  };
  const open = {
    ...{ mailbox: mailbox('a'), session, lease: { mailboxId: 'a', owner: 'me', epoch: 1 }, lost: lost.signal },
    settings: () => ({ intervalMs: more.intervalMs?.() ?? intervalMs }),
    options: { stop: new AbortController().signal, uidValidityChanges: { count: () => more.changes?.() ?? 0 } },
    ports: {
      clock,
      store: { recordPollSuccess: async (_lease: unknown, ms: number) => void seen.notes.push(ms) },
      log: {
        info: (_fields: unknown, event: string) => void seen.lines.push(event),
        debug: (_fields: unknown, event: string) => void seen.lines.push(event),
      },
      meter: {
        idleDelivery: () => {
          seen.deliveries += 1;
        },
        poll: ({ result }: { result: string }) => void seen.polls.push(result),
      },
    },
  } as unknown as OpenPoll;
  const round = async (): Promise<RoundReport> => {
    seen.rounds += 1;
    const outcomes = { ticket_opened: current.hasMessages === true ? 1 : 0 } as RoundReport['outcomes'];
    return { roundId: 'p', mailbox: 'a', outcomes, durationMs: 1 };
  };
  return { seen, lost, idling: () => idle(open, slot, round) };
}

test('an announcement starts a round, and so do five minutes of silence at most: polling is the safety net', async () => {
  const { seen, idling } = scene([
    { ended: 'new_messages', hasMessages: true },
    { ended: 'timed_out' },
    { ended: 'timed_out', hasMessages: true },
  ]);
  expect(await idling()).toBe(intervalMs);
  expect(seen).toMatchObject({ rounds: 3, deliveries: 1, connectionEnds: [], notes: Array(4).fill(intervalMs) });
  expect(seen.asked).toEqual([quietMs, quietMs, quietMs, quietMs]);
});

test('another poll interval is in force from the next round on', async () => {
  let now = intervalMs;
  const steps = [{ ended: 'timed_out' }, { ended: 'timed_out' }] as const;
  const { seen, idling } = scene(steps, { intervalMs: () => now });
  const ended = idling();
  now = 2 * minute;
  expect(await ended).toBe(now);
  expect(seen.asked.slice(1)).toEqual([now, now]);
  expect(seen.notes.at(-1)).toBe(now);
});

test('a folder that was replaced too often does not idle on: each announcement would fetch all of it again', async () => {
  let count = 3;
  const { seen, idling } = scene([{ ended: 'new_messages' }, { ended: 'new_messages' }], { changes: () => count++ });
  expect(await idling()).toBe(60 * minute);
  expect(seen.rounds).toBe(2);
});

test('an IDLE that is ended because the row changed leaves the mailbox due', async () => {
  expect(await scene([], { isDueAtOnce: true }).idling()).toBe(0);
});

test.each<[string, boolean, number]>([
  [', is polled again after a second', true, 1000],
  [' too often, is only polled', false, intervalMs],
])('a mailbox whose connection ends while it idles%s, and that is no failure', async (_, mayIdle, waitMs) => {
  const { seen, idling } = scene([{ ended: new Failure('connection_lost', 'broke') }], { mayIdle });
  expect(await idling()).toBe(waitMs);
  expect(seen).toMatchObject({ rounds: 0, connectionEnds: [false], lines: ['idle.ended'], polls: ['connection_lost'] });
});

test('a server that does not answer on an idling connection is a failure', async () => {
  const { seen, idling } = scene([{ ended: 'timed_out' }, { ended: new Failure('server_timeout', 'silent') }]);
  await expect(idling()).rejects.toMatchObject({ code: 'server_timeout' });
  // The poll reports it.
  expect(seen).toMatchObject({ rounds: 1, lines: [], polls: [], connectionEnds: [] });
});

test('a server that refuses IDLE is distinguished', async () => {
  const { seen, idling } = scene([{ ended: new Failure('server_refused', 'no IDLE') }], { mayIdle: false });
  expect(await idling()).toBe(intervalMs);
  expect(seen.connectionEnds).toEqual([true]);
});

test('a server that asks to wait, and a defect, end the poll with their failure', async () => {
  const busy = new Failure('server_busy', 'slow down', { fields: { retry_after_ms: 5 } });
  await expect(scene([{ ended: busy }]).idling()).rejects.toBe(busy);
  await expect(scene([{ ended: new Failure('unexpected', 'defect') }]).idling()).rejects.toMatchObject({
    code: 'unexpected',
  });
});

test('a server that ends each IDLE at once counts as one that ends the connection', async () => {
  const { seen, idling } = scene([{ ended: 'timed_out', afterMs: 1500 }]);
  expect(await idling()).toBe(1000);
  expect(seen).toMatchObject({ rounds: 0, connectionEnds: [false], lines: [] });
});

test('a lease that is lost while the connection idles ends the poll before another round', async () => {
  const { seen, lost, idling } = scene([{ ended: 'new_messages', hasMessages: true }]);
  lost.abort();
  await expect(idling()).rejects.toMatchObject({ code: 'lease_lost' });
  expect(seen.rounds).toBe(0);
});

test('false alarms are followed at growing intervals, until one brings a message', async () => {
  const alarm = { ended: 'new_messages' } as const;
  const { seen, idling } = scene([
    alarm,
    alarm,
    alarm,
    alarm,
    { ended: 'new_messages', hasMessages: true },
    alarm,
    ...Array(20).fill(alarm),
  ]);
  await idling();
  expect(seen.pauses.slice(0, 6)).toEqual([0, 400, 800, 1600, 0, 0]);
  expect(Math.max(...seen.pauses)).toBe(quietMs);
});

test('a session is left when its token ends, and the mailbox is due at once', async () => {
  const steps = [{ ended: 'timed_out' }, { ended: 'new_messages', hasMessages: true }, { ended: 'timed_out' }] as const;
  const { seen, idling } = scene(steps, { tokenMs: 8 * minute });
  expect(await idling()).toBe(0);
  expect(seen.asked).toEqual([quietMs, 3 * minute, 2 * minute]);
  expect(seen).toMatchObject({ rounds: 2, deliveries: 1, connectionEnds: [], lines: [], polls: [] });
});

test('messages that are announced as the token ends are fetched before', async () => {
  const steps = [{ ended: 'new_messages', hasMessages: true, afterMs: 8 * minute }] as const;
  const { seen, idling } = scene(steps, { tokenMs: 8 * minute });
  expect(await idling()).toBe(0);
  expect(seen).toMatchObject({ rounds: 1, deliveries: 1, asked: [quietMs] });
});

test('a token that ends within seconds is followed after a second, not at once', async () => {
  expect(await scene([], { tokenMs: 0 }).idling()).toBe(1000);
  expect(await scene([{ ended: 'timed_out' }], { tokenMs: 3000 }).idling()).toBe(1000);
});

test('a server that ends the connection with the token is no broken connection, and counts nowhere', async () => {
  const ended = new Failure('session_expired', 'the token ended');
  const { seen, idling } = scene([{ ended }], { mayIdle: false });
  expect(await idling()).toBe(0);
  expect(await scene([{ ended, afterMs: 4000 }], { mayIdle: false }).idling()).toBe(1000);
  expect(seen).toMatchObject({ rounds: 0, connectionEnds: [], lines: ['idle.ended'], polls: [] });
});
