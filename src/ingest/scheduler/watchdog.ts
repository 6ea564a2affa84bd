/**
 * systemd watchdog: sends a heartbeat while the scheduler is alive, and one status sentence for `systemctl status`.
 *
 * A missing database, key or mail server is no reason for a restart. Only a blocked event loop or a stuck scheduler is,
 * since only a new start helps then. The sentence says what `/readyz` says.
 */
import type { Clock } from '../../async/clock.ts';
import { type CheckDescription, type CheckName, describeChecks, needsAttention } from '../health/describe.ts';
import type { Health } from '../health/health.ts';
import type { ServiceManager } from '../ports.ts';
import type { Readiness } from '../readiness.ts';

type WatchdogPorts = {
  readonly serviceManager: ServiceManager;
  readonly clock: Clock;
  readonly health: Pick<Health, 'liveness' | 'obstacle' | 'readiness'>;
  readonly load: () => { readonly polls: number; readonly due: number };
  readonly idle: () => { readonly open: number };
};

const statusMs = 5000;
/** With many mailboxes readiness is computed less often: it uses at most this fraction of the time. */
const timeShare = 1 / 100;

/** Runs until it is disposed. */
export function runWatchdog(ports: WatchdogPorts): Disposable {
  const ended = new AbortController();
  void notifyUntil(ports, ended.signal);
  return { [Symbol.dispose]: () => ended.abort() };
}

/** Never waits for the database: its answer is in a later sentence. */
async function notifyUntil(ports: WatchdogPorts, ended: AbortSignal): Promise<void> {
  const { serviceManager, clock, health } = ports;
  const everyMs = Math.min(statusMs, (serviceManager.watchdogMs ?? statusMs * 4) / 4);
  const latest = createLatestReadiness(ports);
  let shown = '';
  while (!ended.aborted) {
    if (health.liveness.isAlive) serviceManager.heartbeat();
    const sentence = sentenceOf(ports, latest());
    if (sentence !== shown) serviceManager.status(sentence);
    shown = sentence;
    await clock.sleep(everyMs, ended);
  }
}

/** The last readiness; each call starts a new one when it is time. */
function createLatestReadiness({ clock, health }: WatchdogPorts): () => Readiness | null {
  let latest: Readiness | null = null;
  let nextAtMs = Number.NEGATIVE_INFINITY;
  const refresh = async (): Promise<void> => {
    const startedAtMs = clock.monotonicMs();
    nextAtMs = Number.POSITIVE_INFINITY;
    try {
      latest = await health.readiness();
    } catch {
      // `/readyz` reports the failure; the sentence stays.
    }
    const endedAtMs = clock.monotonicMs();
    nextAtMs = endedAtMs + Math.max(statusMs, (endedAtMs - startedAtMs) / timeShare);
  };
  return () => {
    if (clock.monotonicMs() >= nextAtMs) void refresh();
    return latest;
  };
}

function sentenceOf({ health, load, idle }: WatchdogPorts, latest: Readiness | null): string {
  const obstacle = health.obstacle();
  if (obstacle !== null) return `Not ready: ${obstacle}`;
  const [first, ...others] = latest === null ? [] : problemsOf(latest);
  if (latest !== null && !latest.ready) return `Not ready: ${reasonOf(first ?? unknownOf(latest))}`;
  const { polls, due } = load();
  const parts = [
    ...(latest === null ? [] : [mailboxesText(latest)]),
    `${idle().open} idle connections`,
    `${polls} polls in progress`,
    ...(due > 0 ? [`${due} due`] : []),
  ];
  const problem =
    first === undefined ? '' : `; ${reasonOf(first)}${others.length > 0 ? `; and ${others.length} more` : ''}`;
  return `Ready: ${parts.join(', ')}${problem}`;
}

function mailboxesText({ checks: { mailboxes } }: Readiness): string {
  const { ok, failing, waiting } = mailboxes;
  return `${ok} of ${ok + failing + waiting} mailboxes ok`;
}

/** The checks of the sentence, in this order: a lost key is the one failure that cannot be repaired. */
const reported: readonly CheckName[] = [
  ...(['vault', 'switch', 'database', 'disk', 'crashes'] as const),
  ...(['scheduler', 'config', 'servers', 'mailboxes', 'passwords', 'listeners'] as const),
];

function problemsOf({ checks }: Readiness): readonly CheckDescription[] {
  const problems = describeChecks(checks).filter(needsAttention);
  return reported.flatMap((name) => problems.filter((check) => check.name === name));
}

/** Right after the start every check is unknown. */
function unknownOf({ checks }: Readiness): CheckDescription | undefined {
  const name: CheckName = checks.database.status === 'unknown' ? 'database' : 'mailboxes';
  return describeChecks(checks).find((check) => check.name === name);
}

function reasonOf(check: CheckDescription | undefined): string {
  if (check === undefined) return 'unknown';
  return check.reason === null ? check.name : `${check.name}: ${check.reason}`;
}
