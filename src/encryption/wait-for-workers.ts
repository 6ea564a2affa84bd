/**
 * Waits until every live worker is ready for the next step of an operation: asks the database again and again.
 *
 * A worker that has not reported for 10 seconds counts as gone. Fails with `workers_lack_key`, which names each worker
 * that is not ready, and with `interrupted`.
 */
import { Failure } from '../errors.ts';
import type { KeyId } from '../secret/key.ts';
import { liveWorkers, type Operation, type OperationOptions } from './operation.ts';
import type { StoredWorker } from './ports.ts';

const askEveryMs = 200;
const namedMax = 20;

/** Throws `workers_lack_key` when some still lack the key after `waitMs`, unless the operation goes on by force. */
export async function waitForKey(operation: Operation, keyId: KeyId, options: OperationOptions): Promise<void> {
  const { tell } = operation.ports;
  const lacksKey = ({ keyIds }: StoredWorker): boolean => !keyIds.includes(keyId);
  const lacking = await waitWhile(operation, lacksKey, options.waitMs, (workers) => tell.waiting(workers));
  if (lacking.length === 0) return;
  const message = `${countText(lacking.length)} not hold the key ${keyId}: ${namesOf(lacking)}`;
  if (!options.force) {
    const fields = { key_id: keyId, workers: lacking.length };
    throw new Failure('workers_lack_key', message, { fields });
  }
  tell.step(`Going on by force, although ${message}.`);
}

/** Waits until every live worker goes by `revision` of the switch; that some do not, after `waitMs`, is no error. */
export async function waitForRevision(operation: Operation, revision: number, waitMs: number): Promise<void> {
  await waitWhile(operation, (worker) => worker.revision < revision, waitMs);
}

/** The live workers that are still so after `waitMs`. */
async function waitWhile(
  operation: Operation,
  isSo: (worker: StoredWorker) => boolean,
  waitMs: number,
  told?: (workers: readonly StoredWorker[]) => void,
): Promise<readonly StoredWorker[]> {
  const { clock } = operation.ports;
  const endMs = clock.monotonicMs() + waitMs;
  for (;;) {
    operation.check();
    const workers = (await liveWorkers(operation.ports)).filter(isSo);
    told?.(workers);
    if (workers.length === 0 || clock.monotonicMs() >= endMs) return workers;
    await clock.sleep(askEveryMs, operation.ending);
  }
}

function countText(count: number): string {
  return count === 1 ? '1 live worker does' : `${count} live workers do`;
}

function namesOf(workers: readonly StoredWorker[]): string {
  const names = workers.slice(0, namedMax).map(({ host, pid }) => `${host} (pid ${pid})`);
  if (workers.length > namedMax) names.push(`and ${workers.length - namedMax} more`);
  return names.join(', ');
}
