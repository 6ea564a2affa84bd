/**
 * systemd watchdog: sends a heartbeat while the scheduler is alive, and one status sentence for `systemctl status`.
 *
 * A missing database, key or mail server is no reason for a restart. Only a blocked event loop or a stuck scheduler is,
 * since only a new start helps then. The sentence says what `/readyz` says: it is sent when a verdict changes in this
 * process, and what others changed in the database follows within seconds.
 */
import type { Clock } from '../../async/clock.ts';
import { type CheckDescription, type CheckName, describeChecks, needsAttention } from '../health/describe.ts';
import type { Health } from '../health/health.ts';
import type { ServiceManager } from '../ports.ts';
import type { Readiness } from '../readiness.ts';

type WatchdogPorts = {
  readonly serviceManager: ServiceManager;
  readonly clock: Clock;
  readonly health: Pick<Health, 'liveness' | 'obstacle' | 'readiness' | 'latest' | 'onChange'>;
  readonly load: () => { readonly polls: number; readonly due: number };
  readonly idle: () => { readonly open: number };
};

const statusMs = 5000;
/** With many mailboxes readiness is computed less often. From the database: at most this fraction of the time. */
const queryShare = 1 / 100;
/** From memory, after changes; the sentence is at most a second old. */
const changeShare = 1 / 20;
const [changeMsMin, changeMsMax] = [100, 900];

/** Runs until it is disposed. */
export function runWatchdog(ports: WatchdogPorts): Disposable {
  const ended = new AbortController();
  const line = createStatusLine(ports, ended.signal);
  const changes = ports.health.onChange(line.changed);
  void notifyUntil(ports, line, ended.signal);
  return {
    [Symbol.dispose]: () => {
      changes[Symbol.dispose]();
      ended.abort();
    },
  };
}

/** Never waits for the database: its answer is in a later sentence. */
async function notifyUntil(
  { serviceManager, clock, health }: WatchdogPorts,
  line: StatusLine,
  ended: AbortSignal,
): Promise<void> {
  const everyMs = Math.min(statusMs, (serviceManager.watchdogMs ?? statusMs * 4) / 4);
  while (!ended.aborted) {
    if (health.liveness.isAlive) serviceManager.heartbeat();
    line.refresh();
    await clock.sleep(everyMs, ended);
  }
}

type StatusLine = {
  /** Sends the sentence if it is another one; asks the database for the next when it is time. */
  refresh(): void;
  /** Sends the sentence at once, or together with later changes when one was sent just now. */
  changed(): void;
};

function createStatusLine(ports: WatchdogPorts, ended: AbortSignal): StatusLine {
  const { serviceManager, clock, health } = ports;
  let latest: Readiness | null = null;
  let shown = '';
  let nextQueryMs = Number.NEGATIVE_INFINITY;
  let nextChangeMs = Number.NEGATIVE_INFINITY;
  let isAwaited = false;

  const send = (): void => {
    if (ended.aborted) return;
    const sentence = sentenceOf(ports, latest);
    if (sentence !== shown) serviceManager.status(sentence);
    shown = sentence;
  };
  const query = async (): Promise<void> => {
    const startedAtMs = clock.monotonicMs();
    nextQueryMs = Number.POSITIVE_INFINITY;
    try {
      latest = await health.readiness();
    } catch {
      // `/readyz` reports the failure; the sentence stays.
    }
    const endedAtMs = clock.monotonicMs();
    nextQueryMs = endedAtMs + Math.max(statusMs, (endedAtMs - startedAtMs) / queryShare);
    send();
  };
  const applyChanges = (): void => {
    isAwaited = false;
    const startedAtMs = clock.monotonicMs();
    latest = health.latest() ?? latest;
    send();
    const costMs = clock.monotonicMs() - startedAtMs;
    nextChangeMs = startedAtMs + Math.min(changeMsMax, Math.max(changeMsMin, costMs / changeShare));
  };
  return {
    refresh: () => {
      if (clock.monotonicMs() >= nextQueryMs) void query();
      send();
    },
    changed: () => {
      if (isAwaited) return;
      isAwaited = true;
      const waitMs = Math.max(0, nextChangeMs - clock.monotonicMs());
      // Several verdicts change together.
      if (waitMs === 0) queueMicrotask(applyChanges);
      else void clock.sleep(waitMs, ended).then(applyChanges);
    },
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
