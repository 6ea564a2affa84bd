/**
 * Background job runner for one encryption operation: runs the workflow of the command of that name and records
 * progress in a row.
 *
 * It never rejects: a failure ends in the row and in the log. When the daemon stops, the row stays `running` and the
 * next start resumes it (`operations.ts`).
 */
import type { Clock } from '../../async/clock.ts';
import { withKeysInMemory } from '../../encryption/control.ts';
import { disable } from '../../encryption/operations/disable.ts';
import { enable } from '../../encryption/operations/enable.ts';
import type {
  OperationObserver,
  OperationOptions,
  OperationPorts,
  UnopenedSecret,
} from '../../encryption/operations/operation.ts';
import { rotate } from '../../encryption/operations/rotate.ts';
import type { OperationStep } from '../../encryption/operations/steps.ts';
import type { EncryptionStore } from '../../encryption/ports.ts';
import type { Vault } from '../../encryption/vault.ts';
import { asFailure, Failure, isFailure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import type { AuditActor } from '../../ingest/model.ts';
import type { WorkerIdentity } from '../../ingest/ports.ts';
import { keyIds } from '../../secret/key.ts';
import type { AdminStore, StoredOperation } from '../ports.ts';
import type { OperationKind } from '../service.ts';
import { errorRecord, type OperationRecord, parseRecord, serializeRecord } from './record.ts';
import { guardedVault, isCompleted } from './switch-rules.ts';

export type RunnerPorts = {
  readonly store: Pick<AdminStore, 'readOperation' | 'beginOperation' | 'updateOperation'> &
    Pick<EncryptionStore, 'audit' | 'listWorkers'>;
  readonly vault: Vault;
  readonly worker: WorkerIdentity;
  readonly clock: Clock;
  readonly log: Log;
  readonly actor: AuditActor;
  /** The ports of one operation on the switch. */
  operation(observer: OperationObserver): OperationPorts;
};

export type Runner = {
  readonly ports: RunnerPorts;
  /** Fires when the daemon stops. */
  readonly stopping: AbortSignal;
  /** Fires when the grace period of `disable` is over, too. */
  readonly graceOver: AbortSignal;
  /** By the number of the row. */
  readonly active: Map<number, Promise<unknown>>;
  /** Since when an orphaned operation that this host did not begin is seen, by the number of its row. */
  readonly orphans: Map<number, number>;
};

type RunMode = {
  /** As in the audit table and the switch. */
  readonly who: string;
  /** Another daemon started it. */
  readonly isResumed: boolean;
  /** It only completes what the sealed switch shows as unfinished. */
  readonly isGuarded: boolean;
};

export type OperationOutcome = {
  readonly steps: readonly OperationStep[];
  /** Passwords that were sealed, resealed or stored in plain text. */
  readonly changed: number;
  readonly changedTokens: number;
  readonly unopened: readonly UnopenedSecret[];
  /** Path of the key file after disabling. */
  readonly setAside: string | null;
  /** The switch was in the target state before. */
  readonly wasReached: boolean;
};

/** How long live workers without the key are waited for. */
const workersWaitMs = 30_000;
/** How long a resumed operation waits until the claim of the dead process expires. */
const claimWaitMs = 60_000;
const retryMs = 1000;

/** Runs the operation of a row that this worker owns. Resolves with its outcome, or why it failed. */
export function launch(runner: Runner, row: StoredOperation, mode: RunMode): Promise<OperationOutcome | Failure> {
  const { log } = runner.ports;
  const fields = { operation: row.kind, by: mode.who };
  log.info({ ...fields, resumed: mode.isResumed }, events.adminOperationStarted);
  const ended = run(runner, row, mode, fields)
    .catch((error: unknown) => {
      // A defect leaves the row running, and the next check finds it orphaned.
      const failure = asFailure(error);
      log.error({ ...fields, error: failure }, events.adminOperationFailed);
      return failure;
    })
    .finally(() => runner.active.delete(row.number));
  runner.active.set(row.number, ended);
  return ended;
}

async function run(
  { ports, stopping, graceOver }: Runner,
  row: StoredOperation,
  mode: RunMode,
  fields: { readonly operation: string; readonly by: string },
): Promise<OperationOutcome | Failure> {
  const { vault, clock, log, actor } = ports;
  const { kind } = row;
  const progress = createProgress(ports, stopping, row);
  const startedMs = clock.monotonicMs();
  const options = { force: false, waitMs: workersWaitMs, signal: kind === 'disable' ? graceOver : stopping };
  const by = { actor: { who: mode.who, host: actor.host }, origin: 'daemon' } as const;
  const given = { ...ports.operation(progress.observer), ...by };
  const work = () => runWorkflow(kind, mode.isGuarded, given, options);
  const result = await (mode.isResumed ? retryWhileClaimed(clock, stopping, work) : work()).catch(asFailure);
  const fail = async (failure: Failure, unopened: OperationRecord['unopened']) => {
    log.error({ ...fields, error: failure }, events.adminOperationFailed);
    await progress.end('failed', [], { error: errorRecord(failure), unopened });
    return result;
  };
  if (!isFailure(result)) {
    const { steps, unopened, setAside } = result;
    if (kind === 'disable' && unopened.length > 0) return await fail(stillSealed(unopened.length), unopened);
    await progress.end('done', steps, { error: null, unopened, setAside });
    const durationMs = Math.round(clock.monotonicMs() - startedMs);
    log.info({ ...fields, unopened: unopened.length, duration_ms: durationMs }, events.adminOperationFinished);
    if (kind === 'rotate') log.warn({ key_ids: keyIds(vault.keys()) }, events.keyBackupDue);
    return result;
  }
  if (stopping.aborted) {
    await progress.written();
    return result;
  }
  // The worker that was taken for dead completed the operation meanwhile.
  const isOver = result.code === 'interrupted' && isCompleted(kind, vault.view.switch, row.startedAtMs);
  if (!mode.isResumed || !isOver) return await fail(result, []);
  await progress.end('done', [{ step: 'ended_early' }], { error: null });
  log.info({ ...fields, cut_short: true }, events.adminOperationFinished);
  return result;
}

/** The claim of a dead process expires; one of another host only after a while. */
async function retryWhileClaimed<T>(clock: Clock, stopping: AbortSignal, work: () => Promise<T>): Promise<T> {
  const endMs = clock.monotonicMs() + claimWaitMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const isOver = stopping.aborted || clock.monotonicMs() >= endMs;
      if (isOver || !isFailure(error, 'operation_running')) throw error;
      await clock.sleep(retryMs, stopping);
    }
  }
}

/**
 * Runs one workflow. `isGuarded`: only while the sealed switch shows it as unfinished. Throws what it throws, and
 * `interrupted`.
 */
export async function runWorkflow(
  kind: OperationKind,
  isGuarded: boolean,
  given: OperationPorts,
  options: OperationOptions,
): Promise<OperationOutcome> {
  const ports = isGuarded ? { ...given, vault: guardedVault(kind, given.vault) } : given;
  if (kind === 'enable') {
    const { sealed: changed, sealedTokens: changedTokens, unopened, wasOn } = await enable(ports, options);
    const steps: readonly OperationStep[] = [{ step: 'sealed', count: changed }];
    return { steps, changed, changedTokens, unopened, setAside: null, wasReached: wasOn };
  }
  if (kind === 'rotate') {
    const done = await rotate(ports, options);
    const { resealed: changed, resealedTokens: changedTokens, unopened, formerKeyId: keyId, isFormerKeyKept } = done;
    const kept: readonly OperationStep[] = isFormerKeyKept ? [{ step: 'former_key_kept', keyId }] : [];
    const steps: readonly OperationStep[] = [{ step: 'resealed', count: changed }, ...kept];
    return { steps, changed, changedTokens, unopened, setAside: null, wasReached: false };
  }
  const off = await disable({ ...ports, vault: withKeysInMemory(ports.vault) }, options);
  const { unsealed: changed, unsealedTokens: changedTokens, unopened, setAside, wasOff } = off;
  const step: OperationStep = wasOff ? { step: 'was_off' } : { step: 'unsealed', count: changed };
  return { steps: [step], changed, changedTokens, unopened, setAside, wasReached: wasOff };
}

function stillSealed(count: number): Failure {
  const message = `the switch stays at disabling: ${count} of the passwords and tokens cannot be opened`;
  const hint =
    'Set each of these again: ticketmaild mailbox set-password NAME (of a grant: mailbox authorize NAME). Then continue.';
  return new Failure('password_damaged', message, { hint, fields: { count } });
}

/** Writes progress into the row, one write at a time. A failed write of a step is made up by the next write. */
function createProgress({ store, clock }: RunnerPorts, stopping: AbortSignal, row: StoredOperation) {
  const { number, worker } = row;
  let record = parseRecord(row.detail);
  let writing: Promise<unknown> = Promise.resolve();
  const write = (state: StoredOperation['state'], endedAtMs: number | null) =>
    store.updateOperation({ number, worker, state, endedAtMs, detail: serializeRecord(record) });
  const change = (more: Partial<OperationRecord>): void => {
    record = { ...record, ...more };
    writing = writing.then(() => write('running', null)).catch(() => undefined);
  };
  const observer: OperationObserver = {
    step: (step) => change({ steps: [...record.steps, step] }),
    // The page counts passwords in the table itself.
    passwords: () => undefined,
    workersWithoutKey: (lacking) => {
      const waiting = lacking.map(({ host, pid }) => ({ host, pid }));
      if (JSON.stringify(waiting) !== JSON.stringify(record.waiting)) change({ waiting });
    },
  };
  return {
    observer,
    written: () => writing,
    /** Retries until it is written, so that no ended operation shows as running, or until the daemon stops. */
    end: async (state: 'done' | 'failed', steps: readonly OperationStep[], more: Partial<OperationRecord>) => {
      await writing;
      record = { ...record, ...more, steps: [...record.steps, ...steps] };
      const endedAtMs = clock.nowMs();
      while (!(await isWritten(() => write(state, endedAtMs))) && !stopping.aborted)
        await clock.sleep(retryMs, stopping);
    },
  };
}

async function isWritten(write: () => Promise<unknown>): Promise<boolean> {
  try {
    await write();
    return true;
  } catch (error) {
    if (isFailure(error)) return false;
    throw error;
  }
}
