import { expect, test } from 'vitest';
import { Failure } from '../../../src/errors.ts';
import { rest } from '../../../src/ingest/poll/idle-loop.ts';
import type { PollReport, PushPlace, Visit } from '../../../src/ingest/poll/poll-context.ts';
import type { Session } from '../../../src/ingest/ports.ts';
import { handClock, mailbox } from '../samples.ts';

const minute = 60_000;
const intervalMs = 10 * minute;
const quietMs = 5 * minute;

type Heard = 'news' | 'quiet' | 'stopped' | Failure;
type Step = { readonly heard: Heard; readonly afterMs?: number; readonly hasMail?: boolean };

/** A connection that hears what `steps` say, one after the other, and is stopped after them. */
function scene(
  steps: readonly Step[],
  more: { isDueAfter?: boolean; mayRest?: boolean; intervalMs?: () => number } = {},
) {
  const clock = { ...handClock(), sleep: (ms: number) => Promise.resolve(void seen.pauses.push(ms)) };
  const seen = {
    ...{ asked: [] as number[], pauses: [] as number[], notes: [] as number[], broke: [] as unknown[] },
    ...{ rounds: 0, pushed: 0, visits: [] as string[], lines: [] as unknown[] },
  };
  const lost = new AbortController();
  const left = [...steps];
  let current: Step = { heard: 'stopped' };
  const session: Pick<Session, 'watch'> = {
    watch: async (ms) => {
      seen.asked.push(ms);
      current = left.shift() ?? { heard: 'stopped' };
      clock.at.ms += current.afterMs ?? (current.heard === 'quiet' ? ms : minute);
      if (current.heard instanceof Failure) throw current.heard;
      return current.heard;
    },
  };
  const place: PushPlace = {
    end: new AbortController().signal,
    isDueAfter: () => more.isDueAfter ?? false,
    round: (work) => work(),
    broke: (isRefused = false) => {
      seen.broke.push(isRefused);
      return more.mayRest ?? true;
    },
    [Symbol.dispose]: () => undefined,
  };
  const visit = {
    ...{ mailbox: mailbox('a'), session, lease: { mailboxId: 'a', owner: 'me', epoch: 1 }, lost: lost.signal },
    settings: () => ({ intervalMs: more.intervalMs?.() ?? intervalMs }),
    context: { stop: new AbortController().signal },
    ports: {
      clock,
      store: { noteVisit: async (_lease: unknown, ms: number) => void seen.notes.push(ms) },
      log: {
        info: (_fields: unknown, event: string) => void seen.lines.push(event),
        debug: (_fields: unknown, event: string) => void seen.lines.push(event),
      },
      meter: {
        pushed: () => {
          seen.pushed += 1;
        },
        visit: ({ result }: { result: string }) => void seen.visits.push(result),
      },
    },
  } as unknown as Visit;
  const round = async (): Promise<PollReport> => {
    seen.rounds += 1;
    const outcomes = { ticket_opened: current.hasMail === true ? 1 : 0 } as PollReport['outcomes'];
    return { poll: 'p', mailbox: 'a', outcomes, durationMs: 1 };
  };
  return { seen, lost, resting: () => rest(visit, place, round) };
}

test('an announcement begins a round, and so does silence of five minutes at most: polls are the safety net', async () => {
  const { seen, resting } = scene([
    { heard: 'news', hasMail: true },
    { heard: 'quiet' },
    { heard: 'quiet', hasMail: true },
  ]);
  expect(await resting()).toBe(intervalMs);
  expect(seen).toMatchObject({ rounds: 3, pushed: 1, broke: [], notes: Array(4).fill(intervalMs) });
  expect(seen.asked).toEqual([quietMs, quietMs, quietMs, quietMs]);
});

test('another interval holds from the next round on', async () => {
  let now = intervalMs;
  const steps = [{ heard: 'quiet' }, { heard: 'quiet' }] as const;
  const { seen, resting } = scene(steps, { intervalMs: () => now });
  const ended = resting();
  now = 2 * minute;
  expect(await ended).toBe(now);
  expect(seen.asked.slice(1)).toEqual([now, now]);
  expect(seen.notes.at(-1)).toBe(now);
});

test('a rest that is ended because the row changed leaves the mailbox due', async () => {
  expect(await scene([], { isDueAfter: true }).resting()).toBe(0);
});

test.each<[string, boolean, number]>([
  ['is visited anew in a second', true, 1000],
  ['too often is polled only', false, intervalMs],
])('a mailbox whose connection breaks while it rests %s, and that is no failure', async (_, mayRest, waitMs) => {
  const { seen, resting } = scene([{ heard: new Failure('connection_lost', 'broke') }], { mayRest });
  expect(await resting()).toBe(waitMs);
  expect(seen).toMatchObject({ rounds: 0, broke: [false], lines: ['push.ended'], visits: ['connection_lost'] });
});

test('a silent connection that is found by its deadline is one that broke', async () => {
  const { seen, resting } = scene([{ heard: 'quiet' }, { heard: new Failure('server_timeout', 'silent') }]);
  expect(await resting()).toBe(1000);
  expect(seen).toMatchObject({ rounds: 1, lines: ['push.ended'], visits: ['server_timeout'] });
});

test('a server that refuses to let it rest is told apart', async () => {
  const { seen, resting } = scene([{ heard: new Failure('server_refused', 'no IDLE') }], { mayRest: false });
  expect(await resting()).toBe(intervalMs);
  expect(seen.broke).toEqual([true]);
});

test('a server that asks for rest, and a defect, end the visit with their failure', async () => {
  const busy = new Failure('server_busy', 'slow down', { fields: { retry_after_ms: 5 } });
  await expect(scene([{ heard: busy }]).resting()).rejects.toBe(busy);
  await expect(scene([{ heard: new Failure('unexpected', 'defect') }]).resting()).rejects.toMatchObject({
    code: 'unexpected',
  });
});

test('a server that ends each rest at once, in order, is taken for one that breaks', async () => {
  const { seen, resting } = scene([{ heard: 'quiet', afterMs: 1500 }]);
  expect(await resting()).toBe(1000);
  expect(seen).toMatchObject({ rounds: 0, broke: [false], lines: [] });
});

test('a lease that is lost while it rests ends it before another round', async () => {
  const { seen, lost, resting } = scene([{ heard: 'news', hasMail: true }]);
  lost.abort();
  await expect(resting()).rejects.toMatchObject({ code: 'lease_lost' });
  expect(seen.rounds).toBe(0);
});

test('false alarms are believed more and more slowly, and mail makes up for them', async () => {
  const alarm = { heard: 'news' } as const;
  const { seen, resting } = scene([
    alarm,
    alarm,
    alarm,
    alarm,
    { heard: 'news', hasMail: true },
    alarm,
    ...Array(20).fill(alarm),
  ]);
  await resting();
  expect(seen.pauses.slice(0, 6)).toEqual([0, 400, 800, 1600, 0, 0]);
  expect(Math.max(...seen.pauses)).toBe(quietMs);
});
