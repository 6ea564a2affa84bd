/**
 * Keeps a running daemon in step with key file and switch: file events, a short look at the row, and what follows.
 *
 * Every trigger is one turn: refresh the vault, seal what stands readable, tell the database which keys this worker holds.
 * A database that is away ends no turn for good: the next one tries again. A report that fails while the database works is
 * told, since to all others this worker seems dead.
 */

import type { Clock } from '../async/clock.ts';
import { asFailure, type Failure, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import { createLogThrottle } from '../ingest/health/log-throttle.ts';
import type { AuditActor } from '../ingest/model.ts';
import type { WorkerIdentity } from '../ingest/ports.ts';
import { type Key, keyById, keyIds } from '../secret/key.ts';
import { sealPassword } from '../secret/sealed-password.ts';
import { SecretBytes } from '../secret/secret-bytes.ts';
import { initialSwitchRow, sealingKeyId } from '../secret/switch.ts';
import type { EncryptionStore, PasswordRewrite, PasswordRow, WorkerReport } from './ports.ts';
import type { Vault } from './vault.ts';

export type SyncPorts = {
  readonly vault: Vault;
  readonly store: Pick<EncryptionStore, 'reportWorker' | 'removeWorker'>;
  readonly sealPlaintext: () => Promise<void>;
  readonly clock: Clock;
  readonly workers: WorkerIdentity;
  readonly log: Log;
  readonly host: string;
  readonly pid: number;
};

/** How long after the last look at the row the next one comes. */
const syncIntervalMs = 300;
const firstSyncWaitMs = 1500;
const deregisterWaitMs = 2000;
/** A worker that tells nothing for `liveMs` (operation.ts) counts as gone. */
const heartbeatMs = 2000;

/**
 * Takes turns until it is disposed; that also takes this worker off the list. Resolves after the first turn, or after a
 * moment when the database keeps it waiting.
 */
export async function startSync(ports: SyncPorts): Promise<AsyncDisposable> {
  const ended = new AbortController();
  const takeTurn = createSyncStep(ports);
  const troubles = createLogThrottle();
  const turn = async (): Promise<void> => {
    try {
      await takeTurn();
      troubles.record('turn', null);
    } catch (error) {
      const failure = asFailure(error);
      // A turn comes three times a second.
      const { shouldLog: isNews, count } = troubles.record('turn', `${failure.code} ${failure.message}`);
      if (isNews) ports.log.error({ failures: count, error: failure }, events.schedulerFailed);
    }
  };
  const first = turn();
  const turning = (async () => {
    await first;
    while (!ended.signal.aborted) {
      await ports.clock.sleep(syncIntervalMs, ended.signal);
      if (!ended.signal.aborted) await turn();
    }
  })();
  await Promise.race([first, ports.clock.sleep(firstSyncWaitMs, ended.signal)]);
  return {
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      const gone = turning.then(() => databaseFailureOf(() => ports.store.removeWorker(ports.workers.name)));
      // A database that is away keeps nobody from stopping: this worker is soon known to be gone anyway.
      await Promise.race([gone, ports.clock.sleep(deregisterWaitMs, new AbortController().signal)]);
    },
  };
}

function createSyncStep(ports: SyncPorts): () => Promise<void> {
  let told = '';
  let toldAtMs = Number.NEGATIVE_INFINITY;
  const tellReport = createHeartbeatLogger(ports.log);
  return async () => {
    const view = await ports.vault.refresh();
    if (view.hasPlaintext) await ports.sealPlaintext();
    const report = heartbeatOf(ports);
    const text = JSON.stringify(report);
    if (text === told && ports.clock.monotonicMs() - toldAtMs < heartbeatMs) return;
    const failure = await databaseFailureOf(() => ports.store.reportWorker(report));
    tellReport(failure);
    if (failure !== null) return;
    told = text;
    toldAtMs = ports.clock.monotonicMs();
  };
}

function heartbeatOf({ vault, workers, host, pid }: SyncPorts): WorkerReport {
  const { state, switch: inForce } = vault.view;
  return {
    worker: workers.name,
    host,
    pid,
    keyIds: keyIds(vault.keys()),
    vault: state.kind,
    revision: inForce.revision,
  };
}

function createHeartbeatLogger(log: Log): (failure: Failure | null) => void {
  const troubles = createLogThrottle();
  return (failure) => {
    // The scheduler tells that the database is away.
    if (failure?.code === 'database_unavailable') return;
    const { shouldLog: isNews, count } = troubles.record('report', failure && `${failure.code} ${failure.message}`);
    if (failure !== null && isNews) log.warn({ failures: count, error: failure }, events.workerHeartbeatFailed);
  };
}

/** Why the database did not do it; null when it did. */
async function databaseFailureOf(task: () => Promise<void>): Promise<Failure | null> {
  try {
    await task();
    return null;
  } catch (error) {
    if (isFailure(error) && error.domain === 'database') return error;
    throw error;
  }
}

/**
 * Seals what stands readable in the table while the switch is on: what the helpdesk writes, whether it is due or not. Each
 * is marked as one that came out of the table: nobody but its writer has said where it is to go.
 *
 * Stretch by stretch, each in a transaction that checks that the row of the switch is the one that was looked at, so that
 * nothing is sealed after the switch went off. While that row is forged or rolled back, the last good switch counts, here
 * too. What can never be sealed (empty, too long) is not met; one that fails otherwise is left, told, and stops no other.
 */

type SealSweepPorts = {
  readonly store: Pick<EncryptionStore, 'rewritePasswords'>;
  readonly vault: Vault;
  readonly log: Log;
  readonly actor: AuditActor;
};

const batchRows = 200;

/** One sweep over the table; does nothing while the switch is not on. Never throws: what fails is told and tried again. */
export function createSealSweep(ports: SealSweepPorts): () => Promise<void> {
  let told: string | null = null;
  return async () => {
    const { switch: inForce, stored, problem } = ports.vault.view;
    const key = keyById(ports.vault.keys(), sealingKeyId(inForce));
    // An operation that is switching on or off does this itself.
    if (key === null || problem?.code === 'key_unknown' || (inForce.state !== 'on' && inForce.state !== 'rotating'))
      return;
    try {
      const sealed = await sweep(ports, key, stored?.revision ?? initialSwitchRow.revision);
      if (sealed > 0) ports.log.info({ count: sealed, key_id: key.id }, events.passwordsSealed);
      told = null;
    } catch (error) {
      if (!isFailure(error)) throw error;
      if (error.code !== told && error.code !== 'switch_changed') ports.log.warn({ error }, events.passwordsSealFailed);
      told = error.code;
    }
  };
}

async function sweep(ports: SealSweepPorts, key: Key, revision: number): Promise<number> {
  const audit = { ...ports.actor, action: 'password.sealed' };
  let sealed = 0;
  let refusal: Failure | null = null;
  const change = async (row: PasswordRow): Promise<PasswordRewrite> => {
    try {
      using password = SecretBytes.take(row.bytes);
      return { form: 'sealed', sealed: sealPassword(password, key, row, 'table'), keyId: key.id };
    } catch (error) {
      if (!isFailure(error)) throw error;
      refusal ??= error;
      return null;
    }
  };
  for (let after: string | null = null; ; ) {
    const stretch = { selection: 'sealable', after, limit: batchRows, revision, audit } as const;
    const { lastId, changed } = await ports.store.rewritePasswords(stretch, change);
    sealed += changed;
    if (lastId === null) break;
    after = lastId;
  }
  if (refusal !== null && sealed === 0) throw refusal;
  return sealed;
}
