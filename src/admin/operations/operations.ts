/**
 * Operation runner of the daemon: starts encryption operations for admin page and control socket, one at a time.
 *
 *     running -> done | failed
 *
 * One row of the database holds the last operation, so the page of any worker shows it; compare-and-swap on that row
 * elects the worker that runs it. Orphaned operations are resumed (`resume-orphaned.ts`). On shutdown `enable` and
 * `rotate` end at the next safe point, `disable` gets a grace period, and the row stays `running` for the next start.
 */
import { within } from '../../async/deadline.ts';
import { createMutex } from '../../async/mutex.ts';
import { asFailure, Failure } from '../../errors.ts';
import { events } from '../../events.ts';
import { createLogThrottle } from '../../ingest/health/log-throttle.ts';
import { isoTime } from '../../text/time.ts';
import type { StoredOperation } from '../ports.ts';
import type { OperationKind } from '../service.ts';
import { emptyRecord, serializeRecord } from './record.ts';
import { nextNumber, resumeOrphaned } from './resume-orphaned.ts';
import { launch, type OperationOutcome, type Runner, type RunnerPorts } from './runner.ts';
import { startRefusal } from './switch-rules.ts';

export type StartedOperation = { readonly ended: Promise<OperationOutcome | Failure> };

export type Operations = {
  /**
   * `who`: as in the audit. `isProven`: a proof file was accepted; without it `disable` only completes an unfinished
   * one. Returns why it cannot start. Throws `database_*`.
   */
  start(kind: OperationKind, who: string, isProven: boolean): Promise<StartedOperation | Failure>;
  /**
   * Checks for orphaned operations at once and every 3 s. Ends when `stop` fires or it is disposed: that waits until
   * the running operation has ended, or its grace period is over.
   */
  watch(): AsyncDisposable;
};

const checkEveryMs = 3000;
/** Grace period of `disable` after the daemon began to stop: it would be left between on and off. */
const disableGraceMs = 10_000;
const abortGraceMs = 5000;

export function createOperations(ports: RunnerPorts, stop: AbortSignal): Operations {
  const [disposed, graceOver] = [new AbortController(), new AbortController()];
  const stopping = AbortSignal.any([stop, disposed.signal]);
  const runner: Runner = { ports, stopping, graceOver: graceOver.signal, active: new Map() };
  const mutex = createMutex();
  const allEnded = () => Promise.all(runner.active.values());
  const shutdown = async (watching: Promise<void>): Promise<void> => {
    await aborted(stopping);
    await within(watching.then(allEnded), disableGraceMs, ports.clock);
    graceOver.abort();
    await within(allEnded(), abortGraceMs, ports.clock);
  };
  return {
    start: (kind, who, isProven) =>
      mutex.run(async () => {
        await resumeOrphaned(runner);
        return await start(runner, kind, who, isProven);
      }),
    watch: () => {
      const ended = shutdown(watchOrphaned(runner, () => mutex.run(() => resumeOrphaned(runner))));
      return {
        [Symbol.asyncDispose]: () => {
          disposed.abort();
          return ended;
        },
      };
    },
  };
}

function aborted(signal: AbortSignal): Promise<void> {
  if (signal.aborted) return Promise.resolve();
  return new Promise((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
}

async function watchOrphaned({ ports, stopping }: Runner, resume: () => Promise<void>): Promise<void> {
  const throttle = createLogThrottle();
  while (!stopping.aborted) {
    try {
      await resume();
      throttle.record('resume', null);
    } catch (error) {
      const failure = asFailure(error);
      // The scheduler logs that the database is unavailable.
      const { shouldLog } = throttle.record('resume', failure.code);
      if (shouldLog && failure.domain !== 'database') ports.log.error({ error: failure }, events.adminOperationFailed);
    }
    await ports.clock.sleep(checkEveryMs, stopping);
  }
}

async function start(
  runner: Runner,
  kind: OperationKind,
  who: string,
  isProven: boolean,
): Promise<StartedOperation | Failure> {
  const { store, vault, clock, worker, actor } = runner.ports;
  const before = await store.readOperation();
  if (before?.state === 'running') return alreadyRunning(before);
  const { switch: inForce } = await vault.refresh();
  const refusal = runner.stopping.aborted ? stoppingDaemon() : startRefusal(kind, inForce, isProven);
  if (refusal !== null) return refusal;
  const row: StoredOperation = {
    ...{ number: nextNumber(before), kind, by: who, startedAtMs: clock.nowMs(), endedAtMs: null },
    ...{ worker: worker.name, state: 'running', detail: serializeRecord(emptyRecord) },
  };
  if (!(await store.beginOperation(row, before))) return alreadyRunning(await store.readOperation());
  const { keyId, nextKeyId } = inForce;
  const entry = { who, host: actor.host, keyId, nextKeyId, mailboxId: null };
  await store.audit([{ ...entry, action: 'admin.operation_started', detail: kind }]);
  // Starting to disable needs a proof, completing it does not.
  return { ended: launch(runner, row, { who, isResumed: false, isGuarded: kind === 'disable' && !isProven }) };
}

function stoppingDaemon(): Failure {
  return new Failure('interrupted', 'this daemon is stopping', { hint: 'Try again in a moment.' });
}

function alreadyRunning(row: StoredOperation | null): Failure {
  if (row === null) return new Failure('operation_running', 'another worker started an operation at the same moment');
  const time = (isoTime(row.startedAtMs) ?? '').slice(0, 19).replace('T', ' ');
  return new Failure(
    'operation_running',
    `another operation is running: ${row.kind}, started by ${actorIn(row)} at ${time} UTC`,
  );
}

/** The name in the row, if it can be one. */
export function actorIn({ by }: Pick<StoredOperation, 'by'>): string {
  return /^(?![ -])[\p{L}\p{M}\p{N}\p{P}\p{S} ]{1,80}(?<! )$/u.test(by) ? by : 'unknown';
}
