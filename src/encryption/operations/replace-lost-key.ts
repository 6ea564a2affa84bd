/**
 * Replaces a lost key with a new one: the last resort, when neither a backup nor a running worker has the key.
 *
 * The passwords sealed under the lost key stay as they are and can never be opened; their mailboxes wait until each is
 * set again. Tokens under it are dropped: persons sign in again, and applications and service accounts continue.
 * Refused while the key is available here, or, unless forced, where the table says that a live worker has it, which
 * could write it (`key recover`). Resumes when it is run again after an interruption.
 */
import { Failure } from '../../errors.ts';
import { liveWorkers, workerPlace } from '../../ingest/scheduler/workers.ts';
import { generateKey, type KeyId, keyById } from '../../secret/key.ts';
import { adoptableRevision, type SwitchRow } from '../../secret/switch.ts';
import { hints } from '../../text/hints.ts';
import { sealReplyKeys } from '../reply-keys.ts';
import {
  auditEntry,
  type Operation,
  type OperationOptions,
  type OperationPorts,
  refusedInState,
  requireRandomKey,
  runOperation,
  sealedRow,
  waitForKey,
} from './operation.ts';

export type ReplaceKeyResult = {
  readonly keyId: KeyId;
  readonly lostKeyId: KeyId;
  /** Passwords that can no longer be opened. */
  readonly lost: number;
  /** Refresh tokens that were dropped. */
  readonly lostTokens: number;
  /** New path of the previous key file; null: none, or it is the one now in use. */
  readonly setAside: string | null;
};

/** Expected revision for a compare-and-swap on a table without a row. */
const revisionOfNoRow = -1;

type Run = { setAside: string | null };

/** Throws `refused`, `workers_lack_key`, `switch_changed`. */
export async function replaceLostKey(ports: OperationPorts, options: OperationOptions): Promise<ReplaceKeyResult> {
  const run: Run = { setAside: null };
  return await runOperation(ports, options.signal, (operation) => replace(operation, options, run));
}

async function replace(operation: Operation, options: OperationOptions, run: Run): Promise<ReplaceKeyResult> {
  const { ports } = operation;
  const { stored } = await ports.vault.refresh();
  const remembered = await ports.stateFile.read();
  const lostKeyId = lostKey(stored, remembered);
  await refuseIfKeyIsAlive(operation, lostKeyId, options.force);
  const key = await newKeyFile(operation, run);
  await waitForKey(operation, key.id, options);
  const revision = Math.max(adoptableRevision(stored), remembered?.revision ?? 0) + 1;
  const row = sealedRow(ports, { state: 'on', keyId: key.id, nextKeyId: null }, revision, key);
  const entry = {
    action: 'switch.lost_key_replaced',
    keyId: key.id,
    nextKeyId: null,
    detail: `key ${lostKeyId} is lost`,
  };
  operation.throwIfStopped();
  const expected = stored?.revision ?? revisionOfNoRow;
  const lostTokens = await ports.store.replaceSwitchKey({ ...row, keyId: key.id }, expected, auditEntry(ports, entry));
  await ports.stateFile.remember(row);
  await ports.vault.refresh();
  await sealReplyKeys(ports, ports.vault.keys(), key);
  if (lostTokens > 0) ports.observer.step({ step: 'tokens_lost', count: lostTokens });
  const { byKey } = await ports.store.passwordCounts();
  const lost = byKey.filter(({ keyId }) => keyId !== key.id).reduce((sum, { count }) => sum + count, 0);
  return { keyId: key.id, lostKeyId, lost, lostTokens, setAside: run.setAside };
}

/** The key of the row that was in force here; on a host that never accepted one, of the row in the table. */
function lostKey(stored: SwitchRow | null, remembered: SwitchRow | null): KeyId {
  const row = remembered ?? stored;
  if (row === null || row.keyId === null) throw refusedInState('off', 'replacing a lost key');
  return row.keyId;
}

/** A row of a worker is no proof: `force` continues where its host is unknown. */
async function refuseIfKeyIsAlive({ ports }: Operation, lostKeyId: KeyId, force: boolean): Promise<void> {
  if (keyById(ports.vault.keys(), lostKeyId) !== null) {
    const hint = 'To change it: ticketmaild encryption rotate';
    throw new Failure('refused', `key ${lostKeyId} is not lost: it is available here`, { hint });
  }
  const holder = (await liveWorkers(ports)).find(({ keyIds }) => keyIds.includes(lostKeyId));
  if (holder === undefined || force) return;
  const hint = `Recover the key file on that host: ticketmaild key recover. ${hints.workersFromDatabase} If none of them has the key, add --force.`;
  throw new Failure('refused', `key ${lostKeyId} is not lost: ${workerPlace(holder)} has it in memory`, { hint });
}

/** Uses a valid key file, as an interrupted run may have created it; anything else at its path is set aside. */
async function newKeyFile({ ports }: Operation, run: Run) {
  const { keyFile } = ports;
  const reading = await keyFile.read();
  const [present] = reading.kind === 'keys' ? reading.keys : [];
  if (present !== undefined) return requireRandomKey(present, keyFile.path);
  if (reading.kind === 'refused') run.setAside = await keyFile.setAside('damaged');
  const key = generateKey(ports.random);
  await keyFile.create([key]);
  ports.observer.step({ step: 'key_file_created', keyId: key.id });
  return key;
}
