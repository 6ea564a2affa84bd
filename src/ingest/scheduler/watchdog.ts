/**
 * Tells the service manager how things are: alive while the scheduler turns, and one sentence for `systemctl status`.
 *
 * A database, a key or a mail server that is missing is no reason to be ended: only an event loop or a scheduler that
 * stands still is, since nothing but a new start helps then. The sentence says what `/readyz` says.
 */

import type { Clock } from '../../async/clock.ts';
import type { Health } from '../health/health.ts';
import type { Supervisor } from '../ports.ts';
import type { Check, Readiness } from '../readiness.ts';

export type SupervisePorts = {
  readonly supervisor: Supervisor;
  readonly clock: Clock;
  readonly health: Pick<Health, 'turning' | 'obstacle' | 'readiness'>;
  readonly busy: () => { readonly visits: number; readonly due: number };
  readonly open: () => { readonly open: number };
};

const statusMs = 5000;
/** With many mailboxes it is asked less often: it may take one hundredth of the time. */
const shareOfTime = 100;

/** Goes on until it is disposed. */
export function supervise(ports: SupervisePorts): Disposable {
  const ended = new AbortController();
  void turn(ports, ended.signal);
  return { [Symbol.dispose]: () => ended.abort() };
}

/** Nobody is kept waiting for an answer of the database: what it says is in a later sentence. */
async function turn(ports: SupervisePorts, ended: AbortSignal): Promise<void> {
  const { supervisor, clock, health } = ports;
  const everyMs = Math.min(statusMs, (supervisor.watchdogMs ?? statusMs * 4) / 4);
  const latest = createLatest(ports);
  let told = '';
  while (!ended.aborted) {
    if (health.turning.isTurning) supervisor.alive();
    const sentence = sentenceOf(ports, latest());
    if (sentence !== told) supervisor.status(sentence);
    told = sentence;
    await clock.sleep(everyMs, ended);
  }
}

/** The last answer; each call begins to look anew when it is time. */
function createLatest({ clock, health }: SupervisePorts): () => Readiness | null {
  let latest: Readiness | null = null;
  let nextAtMs = Number.NEGATIVE_INFINITY;
  const look = async (): Promise<void> => {
    const beganMs = clock.monotonicMs();
    nextAtMs = Number.POSITIVE_INFINITY;
    try {
      latest = await health.readiness();
    } catch {
      // Who asks the health endpoint is told; the sentence stays as it was.
    }
    const endedMs = clock.monotonicMs();
    nextAtMs = endedMs + Math.max(statusMs, shareOfTime * (endedMs - beganMs));
  };
  return () => {
    if (clock.monotonicMs() >= nextAtMs) void look();
    return latest;
  };
}

function sentenceOf({ health, busy, open }: SupervisePorts, latest: Readiness | null): string {
  const obstacle = health.obstacle();
  if (obstacle !== null) return `Not ready: ${obstacle}`;
  const troubles = latest === null ? [] : troublesOf(latest);
  const [first, ...others] = troubles;
  if (latest !== null && !latest.ready && first === undefined) return `Not ready: ${reasonOf(unknownOf(latest))}`;
  if (latest !== null && !latest.ready && first !== undefined) return `Not ready: ${reasonOf(first)}`;
  const { visits, due } = busy();
  const parts = [
    ...(latest === null ? [] : [mailboxesText(latest)]),
    `${open().open} pushed`,
    `${visits} visits under way`,
    ...(due > 0 ? [`${due} due`] : []),
  ];
  const trouble =
    first === undefined ? '' : `; ${reasonOf(first)}${others.length > 0 ? `; and ${others.length} more` : ''}`;
  return `Ready: ${parts.join(', ')}${trouble}`;
}

function mailboxesText({ checks: { mailboxes } }: Readiness): string {
  const { ok, failing, waiting } = mailboxes;
  return `${ok} of ${ok + failing + waiting} mailboxes ok`;
}

type Named = readonly [name: string, check: Check];

/** The keys first: losing them is what nobody can mend. */
function troublesOf({ checks }: Readiness): readonly Named[] {
  const { vault, switch: switched, database, disk, scheduler, config, servers, mailboxes } = checks;
  const all = Object.entries({ database, disk, scheduler, vault, switch: switched, config, servers, mailboxes });
  return all.filter(([, { status }]) => status === 'failing' || status === 'waiting' || status === 'warning');
}

/** At the start nothing is known yet. */
function unknownOf({ checks: { database, mailboxes } }: Readiness): Named {
  return database.status === 'unknown' ? ['database', database] : ['mailboxes', mailboxes];
}

function reasonOf([name, { reason }]: Named): string {
  return reason === null ? name : `${name}: ${reason}`;
}
