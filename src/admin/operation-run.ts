/**
 * Runs one operation of the admin page in the background, and writes into its row what it does and how it ends.
 *
 * It never rejects: a failure ends in the row and in the log. When the daemon stops the row stays `running`, and the next
 * start goes on with it.
 */

import type { Clock } from '../async/clock.ts';
import type { OperationOptions, OperationPorts, Tell } from '../encryption/operations/operation.ts';
import type { EncryptionStore, KeyFile } from '../encryption/ports.ts';
import type { Vault } from '../encryption/vault.ts';
import { asFailure, type Failure, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import type { Author } from '../ingest/model.ts';
import type { Workers } from '../ingest/ports.ts';
import type { OperationKind } from './desk.ts';
import { errorIn, parseDetail } from './operation-detail.ts';
import { createNotes, type Notes } from './operation-notes.ts';
import { isReached, type Outcome, runWork } from './operation-work.ts';
import type { AdminStore, StoredOperation } from './ports.ts';

export type OperationsPorts = {
  readonly store: Pick<AdminStore, 'readOperation' | 'beginOperation' | 'noteOperation'> &
    Pick<EncryptionStore, 'audit' | 'listWorkers'>;
  readonly vault: Vault;
  readonly keyFile: Pick<KeyFile, 'path'>;
  /** Absolute; null: the daemon was started without one. */
  readonly configFile: string | null;
  readonly workers: Workers;
  readonly clock: Clock;
  readonly log: Log;
  readonly author: Author;
  /** The ports of one operation on the switch. */
  operation(tell: Tell): OperationPorts;
};

/** How one operation is run. */
export type How = {
  /** In the audit table and the switch. */
  readonly who: string;
  /** It was begun by a daemon that is gone. */
  readonly isResumed: boolean;
  /** It only ends what the sealed switch says is half way. */
  readonly isBound: boolean;
};

export type Running = {
  readonly ports: OperationsPorts;
  /** Fires when the daemon stops. */
  readonly ended: AbortSignal;
  /** Fires when what goes on all the same shall end, too. */
  readonly over: AbortSignal;
  /** By the number of the row. */
  readonly active: Map<number, Promise<void>>;
};

/** How long live workers are waited for that lack the key. */
const waitMs = 30_000;
/** How long one that is gone on with waits for the claim of the process that is gone. */
const claimWaitMs = 60_000;
const claimAgainMs = 1000;

/** Of the row that follows. */
export function nextNumber(before: StoredOperation | null): number {
  return before !== null && before.number < Number.MAX_SAFE_INTEGER ? before.number + 1 : 1;
}

/** The row is ours: it is run until it ends. */
export function launch({ ports, ended, over, active }: Running, row: StoredOperation, how: How): void {
  const { store, clock, log } = ports;
  const notes = createNotes({ store, clock, ended }, row, parseDetail(row.detail));
  const fields = { operation: row.kind, by: how.who };
  log.info({ ...fields, resumed: how.isResumed }, events.adminOperationStarted);
  const startedMs = clock.monotonicMs();
  const run = async (): Promise<void> => {
    const result = await attempt(ports, ended, over, notes, row.kind, how);
    if (isFailure(result)) {
      if (ended.aborted) return await notes.idle();
      if (!how.isResumed || !isOver(ports, row, result)) return await fail(result, {});
      notes.step(endedBefore);
      await notes.end('done', { isCutShort: true, error: null });
      log.info({ ...fields, cut_short: true }, events.adminOperationFinished);
    } else if (result.failure !== null) await fail(result.failure, result);
    else {
      const { unopened, setAside } = result;
      notes.step(result.step);
      await notes.end('done', { unopened, setAside, error: null });
      const durationMs = Math.round(clock.monotonicMs() - startedMs);
      log.info({ ...fields, unopened: unopened.length, duration_ms: durationMs }, events.adminOperationFinished);
    }
  };
  const fail = async (failure: Failure, { unopened = [] }: Partial<Outcome>): Promise<void> => {
    log.error({ ...fields, error: failure }, events.adminOperationFailed);
    await notes.end('failed', { error: errorIn(failure), unopened });
  };
  // A defect leaves the row running, and the next look finds it left behind.
  const told = (error: unknown) => log.error({ ...fields, error: asFailure(error) }, events.adminOperationFailed);
  active.set(
    row.number,
    run()
      .catch(told)
      .finally(() => active.delete(row.number)),
  );
}

/** The sentence of an operation whose daemon ended behind its last change of the switch. */
export const endedBefore = 'The daemon that ran this ended just before the end.';

/** It was gone on with, and meanwhile who was taken for dead ended it. */
function isOver({ vault }: OperationsPorts, { kind, startedAtMs }: StoredOperation, failure: Failure): boolean {
  return failure.code === 'interrupted' && isReached(kind, vault.view.switch, startedAtMs);
}

/** Its outcome, or why it failed. */
async function attempt(
  ports: OperationsPorts,
  ended: AbortSignal,
  over: AbortSignal,
  notes: Notes,
  kind: OperationKind,
  { who, isBound, isResumed }: How,
): Promise<Outcome | Failure> {
  const by = { who, host: ports.author.host };
  const options: OperationOptions = { force: false, waitMs, stop: kind === 'disable' ? over : ended };
  const run = () => runWork(kind, isBound, { ...ports.operation(notes.tell), by }, options);
  try {
    return isResumed ? await withPatience(ports.clock, ended, run) : await run();
  } catch (error) {
    return asFailure(error);
  }
}

/** The claim of a process that is gone ends by itself, on another host only after a while. */
async function withPatience<T>(clock: Clock, ended: AbortSignal, work: () => Promise<T>): Promise<T> {
  const endMs = clock.monotonicMs() + claimWaitMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const isOver = ended.aborted || clock.monotonicMs() >= endMs;
      if (isOver || !isFailure(error, 'operation_running')) throw error;
      await clock.sleep(claimAgainMs, ended);
    }
  }
}
