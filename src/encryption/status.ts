/**
 * Encryption status as one plain object, in the fields of `encryption status --json`.
 *
 * Covers the switch in force and the row in the table, the passwords, the local vault, the workers, and the periods in
 * which passwords were stored in plain text. Times are ISO 8601 in UTC, `unknown` for an invalid one in the table. A
 * problem of key file or switch is part of the status. Fails with `database_*`.
 */

import type { Failure } from '../errors.ts';
import type { EncryptionChecks } from '../ingest/readiness.ts';
import { workerLiveMs, workerPlace } from '../ingest/scheduler/workers.ts';
import { type KeyId, type KeySet, keyIds, weakKeyRemedy } from '../secret/key.ts';
import { isSameSwitchRow, requiredKeyIds, type SwitchRow, type SwitchState } from '../secret/switch.ts';
import { hints } from '../text/hints.ts';
import { countText } from '../text/units.ts';
import { plaintextAdvice, recoverAdvice } from './help.ts';
import type { OperationPorts } from './operations/operation.ts';
import { secretCounts } from './operations/rewrite-tokens.ts';
import type { PlaintextPeriod, SealCounts, StoredWorker } from './ports.ts';
import type { Vault, VaultState, VaultView } from './vault.ts';

export type EncryptionStatus = {
  readonly state: SwitchState;
  readonly key_id: KeyId | null;
  readonly next_key_id: KeyId | null;
  readonly revision: number;
  /** null: never changed. */
  readonly changed_at: string | null;
  readonly changed_by: string | null;
  readonly sealed: number;
  readonly plaintext: number;
  /** Passwords and tokens together. */
  readonly by_key: readonly { readonly key_id: KeyId | null; readonly count: number }[];
  readonly sealed_tokens: number;
  /** Refresh tokens. */
  readonly plaintext_tokens: number;
  /** Active mailboxes whose key is available neither here nor in a live worker. */
  readonly waiting: number;
  readonly problem: { readonly code: string; readonly message: string; readonly hint: string } | null;
  /** The state in the table when it is not in force; `gone`: no row. */
  readonly stored_state: SwitchState | 'gone' | null;
  /** Of that row. */
  readonly stored_key_id: KeyId | null;
  readonly stored_revision: number | null;
  readonly vault: {
    readonly state: VaultState['kind'];
    readonly key_ids: readonly KeyId[];
    readonly reason: string | null;
    readonly hint: string | null;
    /** Keys in the key file that are plainly not random. */
    readonly weak_key_ids: readonly KeyId[];
  };
  readonly workers: readonly {
    readonly worker: string;
    readonly host: string;
    readonly pid: number;
    readonly live: boolean;
    readonly key_ids: readonly KeyId[];
    /** It has every key that the switch names. */
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

/** Read-only. */
export async function encryptionStatus({
  store,
  vault,
}: Pick<OperationPorts, 'store' | 'vault'>): Promise<EncryptionStatus> {
  const view = await vault.refresh();
  const ids = keyIds(vault.keys());
  const [counts, tokens, all, workers, periods] = await Promise.all([
    store.passwordCounts(),
    store.tokenCounts(),
    secretCounts(store),
    store.listWorkers(workerLiveMs),
    store.plaintextPeriods(),
  ]);
  const keyIdsOfLiveWorkers = workers.filter(({ live }) => live).flatMap((worker) => worker.keyIds);
  const waiting = await store.countMailboxesWithoutKey([...new Set([...ids, ...keyIdsOfLiveWorkers])]);
  return {
    ...switchStatus(view),
    ...passwordStatus(counts, all),
    sealed_tokens: tokens.refresh.sealed + tokens.access.sealed,
    plaintext_tokens: tokens.refresh.plaintext,
    waiting,
    vault: vaultStatus(view.state, vault.keys()),
    workers: workers.map((worker) => workerStatus(worker, view.switch)),
    plaintext_periods: periods.map(periodStatus),
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
    stored_key_id: isInForce ? null : (stored?.keyId ?? null),
    stored_revision: isInForce ? null : (stored?.revision ?? null),
  } as const;
}

function passwordStatus({ sealed, plaintext }: SealCounts, { byKey }: SealCounts) {
  return { sealed, plaintext, by_key: byKey.map(({ keyId, count }) => ({ key_id: keyId, count })) };
}

function vaultStatus(state: VaultState, keys: KeySet): EncryptionStatus['vault'] {
  const failure = 'failure' in state ? state.failure : null;
  const weak = keys.filter(({ weakness }) => weakness !== null);
  return {
    state: state.kind,
    ...{ key_ids: keyIds(keys), weak_key_ids: keyIds(weak) },
    ...{ reason: failure?.message ?? null, hint: failure?.hint ?? null },
  };
}

function workerStatus(stored: StoredWorker, { keyId, nextKeyId }: SwitchRow): EncryptionStatus['workers'][number] {
  const { worker, host, pid, live, keyIds: ids, vault, revision, seenAtMs } = stored;
  const has = [keyId, nextKeyId].every((id) => id === null || ids.includes(id));
  return { worker, host, pid, live, key_ids: ids, has_key: has, vault, revision, seen_at: isoTime(seenAtMs) };
}

function periodStatus({ mailbox, sinceMs, untilMs }: PlaintextPeriod): EncryptionStatus['plaintext_periods'][number] {
  return { mailbox, since: isoTime(sinceMs), until: untilMs === null ? null : isoTime(untilMs) };
}

/** `unknown` for an invalid time; null would mean never, or still. */
function isoTime(ms: number): string {
  const time = new Date(ms);
  return Number.isNaN(time.getTime()) ? 'unknown' : time.toISOString();
}

/** A password that another program wrote is sealed within a second. */
const plaintextMsMax = 10_000;

/**
 * Readiness checks of vault and switch. A bad key file while the switch is off is reported, and does not block polling.
 */
export function encryptionChecks({ view, keys }: Pick<Vault, 'view' | 'keys'>, nowMs: number): EncryptionChecks {
  const { state, problem, switch: inForce } = view;
  // A first row without its key: off is not known.
  const isKnown = problem?.code !== 'key_unknown' || inForce.revision > 0;
  const stateFailure = 'failure' in state ? state.failure : null;
  const isShut = state.kind === 'missing' || state.kind === 'refused';
  const isNeeded = state.kind === 'missing' || requiredKeyIds(inForce).length > 0 || problem?.code === 'key_unknown';
  return {
    needsKey: isShut && isNeeded,
    sealing: sealingOf(view, nowMs),
    vault: { ...checkResult(stateFailure, view.stateSinceMs), state: state.kind, key_ids: keyIds(keys()) },
    switch: {
      ...checkResult(problem, view.problemSinceMs),
      state: isKnown ? inForce.state : 'unknown',
      revision: inForce.revision,
    },
  };
}

/** `enabling` and `disabling` have texts of their own. */
function sealingOf({ switch: { state }, plaintextSinceMs: sinceMs }: VaultView, nowMs: number) {
  if (state === 'off') return 'off';
  const isSwept = state === 'on' || state === 'rotating';
  return isSwept && sinceMs !== null && nowMs - sinceMs > plaintextMsMax ? 'overdue' : 'running';
}

function checkResult(failure: Failure | null, sinceMs: number) {
  const since = new Date(sinceMs).toISOString();
  if (failure === null) return { status: 'ok', since, reason: null, hint: null } as const;
  return { status: 'failing', since, reason: `${failure.code}: ${failure.message}`, hint: failure.hint } as const;
}

export type EncryptionDiagnostic = {
  /** `switch`: the row in the table is not in force. `vault`: the local key file. `workers`: others lack the key. */
  readonly subject: 'switch' | 'vault' | 'waiting' | 'weak' | 'plain' | 'workers';
  /** One sentence without its full stop. */
  readonly message: string;
  readonly hint: string;
};

/** Problems of keys, sealed passwords and switch, derived from the status, the worst first. */
export function encryptionDiagnostics(status: EncryptionStatus): readonly EncryptionDiagnostic[] {
  const { problem, vault, plaintext, plaintext_tokens: plaintextTokens, waiting, workers, state } = status;
  const lacking = workers.filter(({ live, has_key: hasKey }) => live && !hasKey);
  // After a restored backup the key may be in the key file of that time: no hint gives up passwords.
  const isRolledBack = problem?.code === 'switch_rolled_back';
  const ifLost = isRolledBack ? '' : '; if it is lost: ticketmaild encryption replace-lost-key';
  const found: (EncryptionDiagnostic | false)[] = [
    problem !== null && { subject: 'switch', message: problem.message, hint: problem.hint },
    vault.reason !== null && {
      subject: 'vault',
      message: vault.reason,
      hint: vault.state === 'missing' ? `${vault.hint} ${recoverAdvice}` : (vault.hint ?? ''),
    },
    waiting > 0 && {
      subject: 'waiting',
      message: `${waiting === 1 ? '1 mailbox waits' : `${waiting} mailboxes wait`}: no live worker has the key of the password`,
      hint: `Restore the key file with that key${ifLost}. To list the mailboxes: ticketmaild mailbox list`,
    },
    vault.weak_key_ids.length > 0 && {
      subject: 'weak',
      message: `the key file has a key that is not random, so that it can be guessed: ${vault.weak_key_ids.join(', ')}`,
      hint: weakKeyRemedy,
    },
    plaintext + plaintextTokens > 0 &&
      state === 'on' && {
        subject: 'plain',
        message: `${countText(plaintext, 'password')}${plaintextTokens === 0 ? '' : ` and ${countText(plaintextTokens, 'refresh token')}`} in plain text although encryption is on`,
        hint: plaintextAdvice,
      },
    lacking.length > 0 && {
      subject: 'workers',
      message: `without the key: ${lacking.map(workerPlace).join(', ')}`,
      hint: `Copy the key file to those hosts (same owner, mode 0600): they pick it up within a second. ${hints.workersFromDatabase}`,
    },
  ];
  return found.filter((one) => one !== false);
}
