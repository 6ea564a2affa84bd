/**
 * Everything that `encryption status` shows, as one plain object in the words of `--json`: the switch in force and what
 * the table says, the passwords, the vault here, the workers, and which passwords stood readable. Times are ISO 8601 in
 * UTC; what is no time in the table is `unknown`. Fails with `database_*` and what the vault cannot survive; whatever is
 * wrong with key file or switch is shown.
 */
import { type KeyId, keyIds } from '../secret/key.ts';
import { isSameRow, type SwitchRow, type SwitchState } from '../secret/switch.ts';
import type { OperationPorts } from './operation.ts';
import type { PasswordCounts, ReadablePassword, StoredWorker } from './ports.ts';
import type { VaultState, VaultView } from './vault.ts';

export type EncryptionStatus = {
  readonly state: SwitchState;
  readonly key_id: KeyId | null;
  readonly next_key_id: KeyId | null;
  readonly revision: number;
  /** null: never, it is the first row. */
  readonly changed_at: string | null;
  readonly changed_by: string | null;
  readonly sealed: number;
  readonly plain: number;
  readonly by_key: readonly { readonly key_id: KeyId | null; readonly count: number }[];
  /** Active mailboxes that wait for a key that is open neither here nor in a live worker. */
  readonly waiting: number;
  readonly problem: { readonly code: string; readonly message: string; readonly hint: string } | null;
  /** What the table says, when that is not in force: a state, or `gone`. */
  readonly stored_state: SwitchState | 'gone' | null;
  readonly vault: {
    readonly state: VaultState['kind'];
    readonly key_ids: readonly KeyId[];
    readonly reason: string | null;
    readonly hint: string | null;
  };
  readonly workers: readonly {
    readonly worker: string;
    readonly host: string;
    readonly pid: number;
    readonly live: boolean;
    readonly key_ids: readonly KeyId[];
    /** It holds every key that the switch names. */
    readonly has_key: boolean;
    readonly vault: string;
    readonly revision: number;
    readonly seen_at: string;
  }[];
  readonly readable: readonly { readonly mailbox: string; readonly since: string; readonly until: string | null }[];
};

/** A worker that reported within `liveMs` is live. Looks, and changes nothing. */
export async function encryptionStatus(
  { store, vault }: Pick<OperationPorts, 'store' | 'vault' | 'memory'>,
  liveMs: number,
): Promise<EncryptionStatus> {
  const view = await vault.refresh();
  const ids = keyIds(vault.keys());
  const [counts, workers, readable] = await Promise.all([
    store.passwordCounts(),
    store.listWorkers(liveMs),
    store.readablePasswords(),
  ]);
  const heldSomewhere = workers.filter(({ live }) => live).flatMap((worker) => worker.keyIds);
  const waiting = await store.countWaiting([...new Set([...ids, ...heldSomewhere])]);
  return {
    ...switchStatus(view),
    ...passwordStatus(counts),
    waiting,
    vault: vaultStatus(view.state, ids),
    workers: workers.map((worker) => workerStatus(worker, view.switch)),
    readable: readable.map(readableStatus),
  };
}

function switchStatus({ switch: row, stored, problem }: VaultView) {
  const isInForce = problem === null || (stored !== null && isSameRow(stored, row));
  return {
    state: row.state,
    key_id: row.keyId,
    next_key_id: row.nextKeyId,
    revision: row.revision,
    changed_at: row.revision === 0 ? null : isoTime(row.changedAtMs),
    changed_by: row.revision === 0 ? null : row.changedBy,
    problem: problem === null ? null : { code: problem.code, message: problem.message, hint: problem.hint },
    stored_state: isInForce ? null : (stored?.state ?? 'gone'),
  } as const;
}

function passwordStatus({ sealed, plain, byKey }: PasswordCounts) {
  return { sealed, plain, by_key: byKey.map(({ keyId, count }) => ({ key_id: keyId, count })) };
}

function vaultStatus(state: VaultState, ids: readonly KeyId[]): EncryptionStatus['vault'] {
  const failure = 'failure' in state ? state.failure : null;
  return { state: state.kind, key_ids: ids, reason: failure?.message ?? null, hint: failure?.hint ?? null };
}

function workerStatus(stored: StoredWorker, { keyId, nextKeyId }: SwitchRow): EncryptionStatus['workers'][number] {
  const { worker, host, pid, live, keyIds: ids, vault, revision, seenAtMs } = stored;
  const has = [keyId, nextKeyId].every((id) => id === null || ids.includes(id));
  return { worker, host, pid, live, key_ids: ids, has_key: has, vault, revision, seen_at: isoTime(seenAtMs) };
}

function readableStatus({ mailbox, sinceMs, untilMs }: ReadablePassword): EncryptionStatus['readable'][number] {
  return { mailbox, since: isoTime(sinceMs), until: untilMs === null ? null : isoTime(untilMs) };
}

/** Not null for what is no time: that means never, or still. */
function isoTime(ms: number): string {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? 'unknown' : time.toISOString();
}
