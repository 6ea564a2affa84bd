/**
 * Reconciliation loop of a running daemon: reads key file and switch row every 300 ms, and acts on changes.
 *
 * Each iteration refreshes the vault, passes withdrawn rows, seals plain-text passwords, and sends a heartbeat with the
 * key ids of this worker. The loop survives an unavailable database. A heartbeat that fails while the database works is
 * logged: to all other workers this one seems dead. The vault logs every change that an iteration finds.
 */

import type { Clock } from '../async/clock.ts';
import { asFailure, type Failure, hasNoConnection, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import { createLogThrottle } from '../ingest/health/log-throttle.ts';
import type { WorkerIdentity } from '../ingest/ports.ts';
import { keyIds } from '../secret/key.ts';
import type { EncryptionStore, WorkerReport } from './ports.ts';
import type { Vault } from './vault.ts';

export type SyncPorts = {
  readonly vault: Vault;
  readonly store: Pick<EncryptionStore, 'reportWorker' | 'removeWorker'>;
  readonly sealPlaintext: () => Promise<void>;
  /** Writes the switch in force above a withdrawn row. */
  readonly renewSwitch: () => Promise<void>;
  readonly clock: Clock;
  readonly worker: WorkerIdentity;
  /** False until the migration of this start has ended: before, heartbeats may find no tables. */
  readonly isMigrated: () => boolean;
  readonly log: Log;
  readonly host: string;
  readonly pid: number;
};

/** Pause between two iterations: the longest delay before a change is read. */
const syncIntervalMs = 300;
const firstSyncWaitMs = 1500;
const deregisterWaitMs = 2000;
/** A worker without a heartbeat for `workerLiveMs` (scheduler/workers.ts) counts as dead. */
const heartbeatMs = 2000;

/**
 * Runs until disposed; disposing also deregisters this worker. Resolves after the first iteration, or after 1.5 s when
 * the database is slow.
 */
export async function startSync(ports: SyncPorts): Promise<AsyncDisposable> {
  const ended = new AbortController();
  const syncOnce = createSyncStep(ports);
  const throttle = createLogThrottle();
  const iterate = async (): Promise<void> => {
    try {
      await syncOnce();
      throttle.record('sync', null);
    } catch (error) {
      const failure = asFailure(error);
      // The disk probe logs disk.failed and disk.recovered.
      if (failure.code === 'disk_full') return;
      const { shouldLog, count } = throttle.record('sync', `${failure.code} ${failure.message}`);
      if (shouldLog) ports.log.error({ failures: count, error: failure }, events.encryptionSyncFailed);
    }
  };
  const first = iterate();
  const loop = (async () => {
    await first;
    while (!ended.signal.aborted) {
      await ports.clock.sleep(syncIntervalMs, ended.signal);
      if (!ended.signal.aborted) await iterate();
    }
  })();
  await Promise.race([first, ports.clock.sleep(firstSyncWaitMs, ended.signal)]);
  return {
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      const deregistered = loop.then(() => databaseFailureOf(() => ports.store.removeWorker(ports.worker.name)));
      // An unavailable database does not delay the shutdown: this worker counts as dead soon anyway.
      await Promise.race([deregistered, ports.clock.sleep(deregisterWaitMs, new AbortController().signal)]);
    },
  };
}

function createSyncStep(ports: SyncPorts): () => Promise<void> {
  let sent = '';
  let sentAtMs = Number.NEGATIVE_INFINITY;
  const logFailure = createHeartbeatLogger(ports);
  return async () => {
    const view = await ports.vault.refresh();
    if (view.isRenewalDue) await renew(ports);
    if (view.hasPlaintext) await ports.sealPlaintext();
    const heartbeat = heartbeatOf(ports);
    const text = JSON.stringify(heartbeat);
    if (text === sent && ports.clock.monotonicMs() - sentAtMs < heartbeatMs) return;
    // The migration may end between the statement and its failure.
    const isMigrated = ports.isMigrated();
    const failure = await databaseFailureOf(() => ports.store.reportWorker(heartbeat));
    if (isMigrated) logFailure(failure);
    if (failure !== null) return;
    sent = text;
    sentAtMs = ports.clock.monotonicMs();
  };
}

/** The database refuses it, or an operation runs: the next iteration tries again. */
async function renew({ renewSwitch, log, vault }: SyncPorts): Promise<void> {
  try {
    await renewSwitch();
  } catch (error) {
    if (isFailure(error) && (error.domain === 'database' || error.domain === 'encryption')) return;
    throw error;
  }
  if (!vault.view.isRenewalDue) log.warn({ revision: vault.view.switch.revision }, events.switchRenewed);
}

function heartbeatOf({ vault, worker, host, pid }: SyncPorts): WorkerReport {
  const { state, switch: inForce } = vault.view;
  return {
    worker: worker.name,
    host,
    pid,
    keyIds: keyIds(vault.keys()),
    vault: state.kind,
    revision: inForce.revision,
  };
}

function createHeartbeatLogger({ log }: Pick<SyncPorts, 'log'>): (failure: Failure | null) => void {
  const throttle = createLogThrottle();
  return (failure) => {
    // The scheduler logs an unavailable database, and a migration that fails.
    if (failure !== null && hasNoConnection(failure)) return;
    const { shouldLog, count } = throttle.record('heartbeat', failure && `${failure.code} ${failure.message}`);
    if (failure !== null && shouldLog) log.warn({ failures: count, error: failure }, events.workerHeartbeatFailed);
  };
}

/** Runs `task`; returns the database error, or null. */
async function databaseFailureOf(task: () => Promise<void>): Promise<Failure | null> {
  try {
    await task();
    return null;
  } catch (error) {
    if (isFailure(error) && error.domain === 'database') return error;
    throw error;
  }
}
