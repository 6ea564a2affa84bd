/**
 * Brings every password under the key of the switch, and drops from the key file what nothing needs any more.
 *
 * For passwords that came with a restored backup, or were left by a rotation. Each is opened with whichever key of the
 * key file fits. Cut off anywhere, it goes on when it is run again. Refused unless the switch is on.
 */
import type { KeyId } from '../secret/key.ts';
import { resealByHeader, resealOthers, sealPlainOnce } from './change-all.ts';
import { dropKeys } from './drop-keys.ts';
import {
  heldKey,
  type Operation,
  type OperationOptions,
  type OperationPorts,
  openKeys,
  refusedWhile,
  type Unopened,
  untilDone,
  viewNow,
  withClaim,
} from './operation.ts';

export type Resealed = {
  readonly keyId: KeyId;
  readonly resealed: number;
  /** Of those that were readable. */
  readonly sealed: number;
  readonly unopened: readonly Unopened[];
  readonly droppedKeyIds: readonly KeyId[];
};

type ResealRun = { resealed: number; sealed: number };

/**
 * Throws `refused`, `key_file_*`, `operation_running`, `interrupted`, what is wrong with the switch, `disk_*`,
 * `database_*`.
 */
export async function reseal(ports: OperationPorts, options: OperationOptions): Promise<Resealed> {
  return await withClaim(ports, options.stop, (operation) => {
    const run: ResealRun = { resealed: 0, sealed: 0 };
    return untilDone(operation, () => resealEverything(operation, run));
  });
}

async function resealEverything(operation: Operation, run: ResealRun): Promise<Resealed> {
  const view = await viewNow(operation);
  const row = view.switch;
  if (row.state !== 'on') throw refusedWhile(row.state, 'resealing');
  const keys = openKeys(view);
  const key = heldKey(keys, row.keyId);
  const countResealed = (changed: number) => {
    run.resealed += changed;
  };
  const others = await resealOthers(operation, keys, key, row.revision, countResealed);
  const unsealable = await sealPlainOnce(operation, key, row.revision, (changed) => {
    run.sealed += changed;
  });
  const byHeader = await resealByHeader(operation, keys, key, row.revision, countResealed);
  const droppedKeyIds = await dropKeys(operation, row, keys, byHeader.neededIds);
  const unopened = new Map([...others, ...byHeader.unopened, ...unsealable]);
  return { keyId: key.id, ...run, unopened: [...unopened.values()], droppedKeyIds };
}
