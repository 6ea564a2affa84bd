/**
 * Everything that `encryption status` shows, as one plain object in the words of `--json`: the switch in force and what
 * the table says, the passwords, the vault here, the workers, and which passwords stood readable. Times are ISO 8601 in
 * UTC; what is no time in the table is `unknown`. Fails with `database_*` and what the vault cannot survive; whatever is
 * wrong with key file or switch is shown.
 */

import type { Failure } from '../errors.ts';
import type { EncryptionChecks } from '../ingest/readiness.ts';
import { type KeyId, keyIds } from '../secret/key.ts';
import { isSameSwitchRow, requiredKeyIds, type SwitchRow, type SwitchState } from '../secret/switch.ts';
import { countText } from '../text/units.ts';
import { orRecover } from './help.ts';
import type { OperationPorts } from './operations/operation.ts';
import type { PasswordCounts, PlaintextPeriod, StoredWorker } from './ports.ts';
import type { Vault, VaultState, VaultView } from './vault.ts';

export type EncryptionStatus = {
  readonly state: SwitchState;
  readonly key_id: KeyId | null;
  readonly next_key_id: KeyId | null;
  readonly revision: number;
  /** null: never, it is the first row. */
  readonly changed_at: string | null;
  readonly changed_by: string | null;
  readonly sealed: number;
  readonly plaintext: number;
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
  readonly plaintext_periods: readonly {
    readonly mailbox: string;
    readonly since: string;
    readonly until: string | null;
  }[];
};

/** A worker that reported within `liveMs` is live. Looks, and changes nothing. */
export async function encryptionStatus(
  { store, vault }: Pick<OperationPorts, 'store' | 'vault'>,
  liveMs: number,
): Promise<EncryptionStatus> {
  const view = await vault.refresh();
  const ids = keyIds(vault.keys());
  const [counts, workers, readable] = await Promise.all([
    store.passwordCounts(),
    store.listWorkers(liveMs),
    store.plaintextPeriods(),
  ]);
  const keyIdsOfLiveWorkers = workers.filter(({ live }) => live).flatMap((worker) => worker.keyIds);
  const waiting = await store.countMailboxesWithoutKey([...new Set([...ids, ...keyIdsOfLiveWorkers])]);
  return {
    ...switchStatus(view),
    ...passwordStatus(counts),
    waiting,
    vault: vaultStatus(view.state, ids),
    workers: workers.map((worker) => workerStatus(worker, view.switch)),
    plaintext_periods: readable.map(readableStatus),
  };
}

function switchStatus({ switch: row, stored, problem }: VaultView) {
  const isInForce = problem === null || (stored !== null && isSameSwitchRow(stored, row));
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

function passwordStatus({ sealed, plaintext, byKey }: PasswordCounts) {
  return { sealed, plaintext, by_key: byKey.map(({ keyId, count }) => ({ key_id: keyId, count })) };
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

function readableStatus({ mailbox, sinceMs, untilMs }: PlaintextPeriod): EncryptionStatus['plaintext_periods'][number] {
  return { mailbox, since: isoTime(sinceMs), until: untilMs === null ? null : isoTime(untilMs) };
}

/** Not null for what is no time: that means never, or still. */
function isoTime(ms: number): string {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? 'unknown' : time.toISOString();
}

/** The vault and the switch as `/readyz` and `check` tell them. */

/** A key file that is bad while the switch is off is told, and keeps nobody from working. */
export function encryptionChecks({ view, keys }: Pick<Vault, 'view' | 'keys'>): EncryptionChecks {
  const { state, problem, switch: inForce } = view;
  const stateFailure = 'failure' in state ? state.failure : null;
  const isShut = state.kind === 'missing' || state.kind === 'refused';
  const isNeeded = state.kind === 'missing' || requiredKeyIds(inForce).length > 0 || problem?.code === 'key_unknown';
  return {
    needsKey: isShut && isNeeded,
    vault: { ...checkResult(stateFailure, view.stateSinceMs), state: state.kind, key_ids: keyIds(keys()) },
    switch: { ...checkResult(problem, view.problemSinceMs), state: inForce.state, revision: inForce.revision },
  };
}

function checkResult(failure: Failure | null, sinceMs: number) {
  const since = new Date(sinceMs).toISOString();
  if (failure === null) return { status: 'ok', since, reason: null, hint: null } as const;
  return { status: 'failing', since, reason: `${failure.code}: ${failure.message}`, hint: failure.hint } as const;
}

/**
 * What is wrong with keys, sealed passwords and the switch, as `encryption status` and the admin page tell it: out of the
 * status alone, the worst first.
 */

export type EncryptionDiagnostic = {
  /** `switch`: the row in the table is not in force. `vault`: the key file here. `workers`: others lack the key. */
  readonly subject: 'switch' | 'vault' | 'waiting' | 'plain' | 'workers';
  /** One sentence without its full stop. */
  readonly message: string;
  readonly hint: string;
};

export function encryptionDiagnostics(status: EncryptionStatus): readonly EncryptionDiagnostic[] {
  const { problem, vault, plaintext, waiting, workers, state } = status;
  const lacking = workers.filter(({ live, has_key: hasKey }) => live && !hasKey);
  const found: (EncryptionDiagnostic | false)[] = [
    problem !== null && { subject: 'switch', message: problem.message, hint: problem.hint },
    vault.reason !== null && {
      subject: 'vault',
      message: vault.reason,
      hint: vault.state === 'missing' ? `${vault.hint} ${orRecover}` : (vault.hint ?? ''),
    },
    waiting > 0 && {
      subject: 'waiting',
      message: `${waiting === 1 ? '1 mailbox waits' : `${waiting} mailboxes wait`}: nobody holds the key of the password`,
      hint: 'Put the key file with that key back; where it is lost, see encryption replace-lost-key. Which: ticketmaild mailbox list.',
    },
    plaintext > 0 &&
      state === 'on' && {
        subject: 'plain',
        message: `${countText(plaintext, 'password')} readable although encryption is on`,
        hint: 'A worker that runs seals within a second; else: ticketmaild encryption reseal.',
      },
    lacking.length > 0 && {
      subject: 'workers',
      message: `without the key: ${lacking.map(({ host, pid }) => `${host} (pid ${pid})`).join(', ')}`,
      hint: 'Copy the key file to those hosts (owner, mode 0600): they take it up within a second.',
    },
  ];
  return found.filter((one) => one !== false);
}
