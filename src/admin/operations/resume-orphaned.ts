/**
 * Failover of operations: resumes an operation whose worker is dead when the sealed switch shows it as unfinished.
 *
 * For every other orphaned row only the row is ended, and no key, file or password is touched: `done` when the switch
 * reached the target of the operation, else `failed` with `interrupted`. Anyone with write access to the database can
 * write that row, so it orders nothing: it only points to what the switch says.
 */
import { liveWorkers } from '../../encryption/operations/operation.ts';
import type { VaultView } from '../../encryption/vault.ts';
import { events } from '../../events.ts';
import { requiredKeyIds } from '../../secret/switch.ts';
import type { StoredOperation } from '../ports.ts';
import type { OperationKind } from '../service.ts';
import { errorRecord, type OperationRecord, parseRecord, serializeRecord } from './record.ts';
import { launch, type Runner, type RunnerPorts } from './runner.ts';
import { isCompleted, notResumable, unfinishedKind } from './switch-rules.ts';

/** Throws `database_*`. */
export async function resumeOrphaned(runner: Runner): Promise<void> {
  const { ports, stopping } = runner;
  const row = await ports.store.readOperation();
  if (row?.state !== 'running' || stopping.aborted || !(await isOrphaned(runner, row))) return;
  const view = await ports.vault.refresh();
  if (unfinishedKind(view.switch) !== row.kind) return await endOrphaned(ports, row, view);
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
export function nextNumber(before: StoredOperation | null): number {
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
