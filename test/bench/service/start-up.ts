/**
 * Start-up time of the daemon, from the start of its process until it is ready: its line `daemon.ready`, and then a
 * `200` of `/readyz`. That is asked from the line on, since an answer is good for a second: one that came too early
 * would be given again.
 *
 * The tables are there, the passwords are sealed, and no mailbox is due for a while, as after a short stop. For
 * comparison the same without Node's compile cache, as where the daemon may not write beside its program and as the
 * first start ever, and with no mailbox at all. Throws when the daemon is not ready in time.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Daemon } from '../../support/processes/daemon.ts';
import { cpuSOf, rssMbOf } from '../../support/processes/proc.ts';
import type { Mariadb } from '../../support/servers/mariadb.ts';
import type { NewRow } from '../many-mailboxes.ts';
import { type Quantiles, quantilesOf } from '../measure/quantiles.ts';
import { addressOf, ask, type Fleet, openFleet, spread, stopped } from './fleet.ts';

export type StartFigures = {
  readonly course: 'usual' | 'no compile cache' | 'no mailboxes';
  /** Milliseconds from the start of the process. */
  readonly ready: Quantiles;
  readonly readyLine: Quantiles;
  readonly cpuMs: Quantiles;
  readonly rssMb: Quantiles;
};

type Start = {
  readonly readyMs: number;
  readonly readyLineMs: number;
  readonly cpuMs: number | null;
  readonly rssMb: number | null;
};

const askEveryMs = 5;
const timeoutMs = 30_000;
/** No poll falls into a start. */
const dueAfterMs = 3_600_000;
const intervalS = 7_200;

export async function startUpRun(
  mariadb: Mariadb | null,
  { mailboxes, runs }: { readonly mailboxes: number; readonly runs: number },
  progress: (line: string) => void,
): Promise<readonly StartFigures[]> {
  await using fleet = await scheduled(mariadb, mailboxes);
  await using empty = await scheduled(mariadb, 0);
  const courses = [
    ['usual', fleet, {}],
    ['no compile cache', fleet, { NODE_DISABLE_COMPILE_CACHE: '1' }],
    ['no mailboxes', empty, {}],
  ] as const;
  const starts = new Map<StartFigures['course'], Start[]>(courses.map(([course]) => [course, []]));
  // One after the other in turn, so that what else the machine does meets all of them; the first turn only warms up.
  for (let run = 0; run <= runs; run += 1) {
    for (const [course, { setting }, env] of courses) {
      await using daemon = setting.start(['run'], { env });
      const start = await measured(daemon);
      await stopped(daemon);
      progress(`${course}: ready after ${Math.round(start.readyMs)} ms`);
      if (run > 0) starts.get(course)?.push(start);
    }
  }
  return [...starts].map(([course, done]) => figuresOf(course, done));
}

async function scheduled(mariadb: Mariadb | null, mailboxes: number): Promise<Fleet> {
  // None is due while it is measured, and none waits longer than its interval: it would be due at the start.
  const fleet = await openFleet(mariadb, manyRows(mailboxes), { TICKETMAILD_POLL_INTERVAL_S: `${intervalS}` });
  await spread(fleet.setting, 1, dueAfterMs);
  return fleet;
}

/** No mail server is asked. */
function manyRows(count: number): readonly NewRow[] {
  return Array.from({ length: count }, (_, index) => ({
    name: `mailbox-${index}`,
    host: 'mail.example.test',
    port: 993,
    tls: 'implicit' as const,
    caPem: null,
    user: `user-${index}@example.test`,
    password: Buffer.from(`pw-${index}`),
  }));
}

/** To be called right after the process was started. */
async function measured(daemon: Daemon): Promise<Start> {
  const startedAtMs = performance.now();
  const since = () => performance.now() - startedAtMs;
  await daemon.waitFor(({ event }) => event === 'daemon.ready', timeoutMs);
  const readyLineMs = since();
  await untilReady(daemon, startedAtMs);
  const readyMs = since();
  const cpuS = cpuSOf(daemon.pid);
  return {
    ...{ readyMs, readyLineMs },
    cpuMs: cpuS === null ? null : cpuS * 1000,
    rssMb: rssMbOf(daemon.pid),
  };
}

async function untilReady(daemon: Daemon, startedAtMs: number): Promise<void> {
  const address = await addressOf(daemon);
  for (;;) {
    const { status, body } = await ask(address, '/readyz');
    if (status === 200) return;
    if (performance.now() - startedAtMs > timeoutMs) throw new Error(`the daemon is not ready: ${body.slice(0, 4000)}`);
    await sleep(askEveryMs);
  }
}

function figuresOf(course: StartFigures['course'], starts: readonly Start[]): StartFigures {
  const known = (values: readonly (number | null)[]) => values.filter((value) => value !== null);
  return {
    course,
    ready: quantilesOf(starts.map(({ readyMs }) => readyMs)),
    readyLine: quantilesOf(starts.map(({ readyLineMs }) => readyLineMs)),
    cpuMs: quantilesOf(known(starts.map(({ cpuMs }) => cpuMs))),
    rssMb: quantilesOf(known(starts.map(({ rssMb }) => rssMb))),
  };
}
