/**
 * Operation runner of the daemon: starts encryption operations for admin page and control socket, one at a time.
 *
 *     running -> done | failed
 *
 * One row of the database holds the last operation, so the page of any worker shows it; compare-and-swap on that row
 * elects the worker that runs it, and the one that resumes it after its worker died. On shutdown `enable` and `rotate`
 * end at the next safe point, `disable` gets a grace period, and the row stays `running` for the next start.
 */
import { once } from 'node:events';
import { within } from '../../async/deadline.ts';
import { createMutex } from '../../async/mutex.ts';
import type { VaultView } from '../../encryption/vault.ts';
import { asFailure, Failure } from '../../errors.ts';
import { events } from '../../events.ts';
import { createLogThrottle } from '../../ingest/health/log-throttle.ts';
import { liveWorkers } from '../../ingest/scheduler/workers.ts';
import { requiredKeyIds } from '../../secret/switch.ts';
import { hints } from '../../text/hints.ts';
import { isoTime } from '../../text/time.ts';
import type { StoredOperation } from '../ports.ts';
import type { OperationKind } from '../service.ts';
import { emptyRecord, errorRecord, type OperationRecord, parseRecord, serializeRecord } from './record.ts';
import { launch, type OperationOutcome, type Runner, type RunnerPorts } from './runner.ts';
import { isCompleted, notResumable, startRefusal, unfinishedKind } from './switch-rules.ts';

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
const orphanWaitMs = 60_000;

export function createOperations(ports: RunnerPorts, stop: AbortSignal): Operations {
  const [disposed, graceOver] = [new AbortController(), new AbortController()];
  const stopping = AbortSignal.any([stop, disposed.signal]);
  const runner: Runner = { ports, stopping, graceOver: graceOver.signal, active: new Map(), orphans: new Map() };
  const mutex = createMutex();
  const allEnded = () => Promise.all(runner.active.values());
  const shutdown = async (watching: Promise<void>): Promise<void> => {
    if (!stopping.aborted) await once(stopping, 'abort');
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
  return new Failure('interrupted', 'this daemon is stopping', { hint: hints.tryAgainSoon });
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

// Failover: an operation whose worker is dead is resumed when the sealed switch shows it as unfinished, and the switch
// state file says that a daemon of this host began it. For every other orphaned row only the row is ended, and no key,
// file or password is touched: `done` when the switch reached the target of the operation, else `failed` with
// `interrupted`. Anyone with write access to the database can write that row, so it orders nothing: what an operator
// began by a command, and saw fail, is not finished by it either.

/** Throws `database_*`. */
async function resumeOrphaned(runner: Runner): Promise<void> {
  const { ports, stopping } = runner;
  const row = await ports.store.readOperation();
  if (row?.state !== 'running' || stopping.aborted || !(await isOrphaned(runner, row))) return;
  const view = await ports.vault.refresh();
  if (unfinishedKind(view.switch) !== row.kind) return await endOrphaned(ports, row, view);
  if (view.origin !== 'daemon') return await leaveOrphaned(runner, row, view);
  if (!canRun(row.kind, view) && (await canAnotherWorkerRun(ports, view))) return;
  const record = parseRecord(row.detail);
  const steps: OperationRecord['steps'] = [...record.steps, { step: 'resumed' }];
  const next = nextRow(row, ports, { ...record, steps, waiting: [] });
  if (!(await ports.store.beginOperation(next, row))) return;
  // The name in the row counts only when the sealed switch has the same one.
  const who = view.switch.changedBy === row.by ? row.by : `ticketmaild@${ports.actor.host}`;
  launch(runner, next, { who, isResumed: true, isGuarded: true });
}

/** The number of the row that replaces `before`. */
function nextNumber(before: StoredOperation | null): number {
  return before !== null && before.number < Number.MAX_SAFE_INTEGER ? before.number + 1 : 1;
}

function nextRow(row: StoredOperation, { worker }: RunnerPorts, record: OperationRecord): StoredOperation {
  const detail = serializeRecord(record);
  return { ...row, number: nextNumber(row), worker: worker.name, endedAtMs: null, detail };
}

/** Its worker is dead, or silent, or this one, which does not run it. */
async function isOrphaned({ ports, active }: Runner, { worker, number }: StoredOperation): Promise<boolean> {
  if (worker === ports.worker.name) return !active.has(number);
  return !(await liveWorkers(ports)).some((other) => other.worker === worker);
}

/** It may be that of another host, whose daemon restarts and resumes it: the row is ended only after a minute. */
async function leaveOrphaned({ ports, orphans }: Runner, row: StoredOperation, view: VaultView): Promise<void> {
  const { clock, log } = ports;
  const since = orphans.get(row.number);
  if (since === undefined) {
    orphans.clear();
    orphans.set(row.number, clock.monotonicMs());
    log.warn({ operation: row.kind, by: actorIn(row) }, events.adminOperationNotResumed);
  } else if (clock.monotonicMs() - since >= orphanWaitMs) await endOrphaned(ports, row, view);
}

async function endOrphaned(ports: RunnerPorts, row: StoredOperation, { switch: inForce }: VaultView): Promise<void> {
  const { store, clock, log } = ports;
  const failure = isCompleted(row.kind, inForce, row.startedAtMs) ? null : notResumable(inForce.state);
  const before = parseRecord(row.detail);
  const record: OperationRecord =
    failure === null
      ? { ...before, waiting: [], error: null, steps: [...before.steps, { step: 'ended_early' }] }
      : { ...before, waiting: [], error: errorRecord(failure) };
  const state = failure === null ? 'done' : 'failed';
  if (!(await store.beginOperation({ ...nextRow(row, ports, record), endedAtMs: clock.nowMs(), state }, row))) return;
  const fields = { operation: row.kind, by: row.by };
  if (failure === null) log.info({ ...fields, cut_short: true }, events.adminOperationFinished);
  else log.error({ ...fields, error: failure }, events.adminOperationFailed);
}

function canRun(kind: OperationKind, { problem, state }: VaultView): boolean {
  const isOpen = state.kind === 'open' || (kind === 'disable' && state.kind !== 'missing' && state.kind !== 'refused');
  return problem === null && isOpen;
}

/** Another live worker holds every key that the switch requires. */
async function canAnotherWorkerRun(ports: RunnerPorts, view: VaultView): Promise<boolean> {
  const required = requiredKeyIds(view.switch);
  const others = (await liveWorkers(ports)).filter(({ worker }) => worker !== ports.worker.name);
  return others.some(({ keyIds, vault }) => vault === 'open' && required.every((id) => keyIds.includes(id)));
}
