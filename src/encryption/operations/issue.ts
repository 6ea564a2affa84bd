/**
 * Write-ahead and withdrawal of a sealed switch row: what the database did not store counts on this host no more.
 *
 * The state file records the row before the database gets it (`SwitchMemory`). After a failed write the row is
 * withdrawn, and the row in force is written again at a revision above it, so that other hosts pass it, too: at once,
 * by the next operation, or by the daemon.
 */
import { isFailure } from '../../errors.ts';
import type { AuditActor } from '../../ingest/model.ts';
import type { WorkerIdentity } from '../../ingest/ports.ts';
import { keyById } from '../../secret/key.ts';
import {
  initialSwitchRow,
  isSameSwitchRow,
  type SwitchRow,
  type SwitchState,
  sealSwitchRow,
} from '../../secret/switch.ts';
import type { AuditEntry, EncryptionStore, SwitchStateFile } from '../ports.ts';
import {
  emptySwitchMemory,
  renewalDue,
  revisionAbove,
  type SwitchMemory,
  type SwitchOrigin,
} from '../switch-memory.ts';
import type { Vault } from '../vault.ts';
import type { OperationStep } from './steps.ts';

type RenewalPorts = {
  readonly stateFile: SwitchStateFile;
  readonly store: Pick<EncryptionStore, 'readSwitch' | 'writeSwitch'>;
  readonly vault: Vault;
  readonly actor: AuditActor;
};

type IssuePorts = RenewalPorts & {
  readonly worker: Pick<WorkerIdentity, 'name'>;
  readonly origin: SwitchOrigin;
  readonly observer: { step(step: OperationStep): void };
};

/**
 * Writes a sealed row by compare-and-swap; the caller remembers it then. Throws what `writeSwitch` throws once the row
 * is withdrawn, and `disk_*`.
 */
export async function writeIssued(
  ports: IssuePorts,
  row: SwitchRow,
  expectedRevision: number,
  audit: readonly AuditEntry[],
): Promise<void> {
  const { stateFile, store, worker, origin } = ports;
  await stateFile.issue(row, origin, worker.name);
  try {
    await store.writeSwitch(row, expectedRevision, audit);
  } catch (error) {
    // The connection may have failed behind the commit.
    if (await isStored(ports, row)) return;
    await withdraw(ports, row);
    throw error;
  }
}

async function isStored({ store }: RenewalPorts, row: SwitchRow): Promise<boolean> {
  try {
    const { row: stored } = await store.readSwitch();
    return stored !== null && isSameSwitchRow(stored, row);
  } catch (error) {
    if (isFailure(error)) return false;
    throw error;
  }
}

/** Reports a row that would switch encryption off to the operator, and whether other hosts pass it already. */
async function withdraw(ports: IssuePorts, row: SwitchRow): Promise<void> {
  await ports.stateFile.withdraw(row.seal ?? '');
  const isRenewed = await renewSwitch(ports).catch((error: unknown) => {
    if (isFailure(error)) return false;
    throw error;
  });
  if (!weakerStates.includes(row.state)) return;
  ports.observer.step({ step: 'off_withdrawn' });
  ports.observer.step({ step: isRenewed ? 'switch_renewed' : 'renewal_pending' });
}

const weakerStates: readonly SwitchState[] = ['disabling', 'off'];

/** What the state file holds; nothing where it is damaged, for `trust-restored`. */
export async function memoryOf({ stateFile }: Pick<RenewalPorts, 'stateFile'>): Promise<SwitchMemory> {
  try {
    return await stateFile.readMemory();
  } catch (error) {
    if (isFailure(error, 'disk_failed')) return emptySwitchMemory;
    throw error;
  }
}

/**
 * Writes the switch in force above withdrawn rows, where that is due. Returns whether it did. Throws `switch_changed`,
 * `database_*`, `disk_*`.
 */
export async function renewSwitch(ports: RenewalPorts): Promise<boolean> {
  const { stateFile, store, vault, actor } = ports;
  if ((await memoryOf(ports)).issued.length === 0) return false;
  const { stored } = await vault.refresh();
  const memory = await memoryOf(ports);
  const how = renewalDue(memory, stored);
  if (how === null || stored === null) return false;
  const row = how === 'sealed' ? sealedAbove(memory, ports) : (memory.row ?? initialSwitchRow);
  if (row === null) return false;
  const { keyId, nextKeyId } = row;
  const entry = { who: actor.who, host: actor.host, mailboxId: null, keyId, nextKeyId, detail: null };
  await store.writeSwitch(row, stored.revision, [{ ...entry, action: 'switch.renewed' }]);
  if (how === 'sealed') await stateFile.remember(row, memory.origin);
  await vault.refresh();
  return true;
}

/** The row in force, unchanged but for its revision: a repeated attempt gives the same row. null: its key is lost. */
function sealedAbove(memory: SwitchMemory, { vault }: RenewalPorts): SwitchRow | null {
  const { seal: _, ...inForce } = memory.row ?? initialSwitchRow;
  const key = keyById(vault.keys(), inForce.keyId);
  return key === null ? null : sealSwitchRow({ ...inForce, revision: revisionAbove(inForce.revision, memory) }, key);
}
