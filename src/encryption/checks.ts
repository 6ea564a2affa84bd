/** The vault and the switch as `/readyz` and `check` tell them. */
import type { Failure } from '../errors.ts';
import type { EncryptionChecks } from '../ingest/readiness.ts';
import { keyIds } from '../secret/key.ts';
import { neededKeys } from '../secret/switch.ts';
import type { Vault } from './vault.ts';

/** A key file that is bad while the switch is off is told, and keeps nobody from working. */
export function encryptionChecks({ view, keys }: Pick<Vault, 'view' | 'keys'>): EncryptionChecks {
  const { state, problem, switch: inForce } = view;
  const stateFailure = 'failure' in state ? state.failure : null;
  const isShut = state.kind === 'missing' || state.kind === 'refused';
  const isNeeded = state.kind === 'missing' || neededKeys(inForce).length > 0 || problem?.code === 'key_unknown';
  return {
    wants: isShut && isNeeded,
    vault: { ...check(stateFailure, view.stateSinceMs), state: state.kind, key_ids: keyIds(keys()) },
    switch: { ...check(problem, view.problemSinceMs), state: inForce.state, revision: inForce.revision },
  };
}

function check(failure: Failure | null, sinceMs: number) {
  const since = new Date(sinceMs).toISOString();
  if (failure === null) return { status: 'ok', since, reason: null, hint: null } as const;
  return { status: 'failing', since, reason: `${failure.code}: ${failure.message}`, hint: failure.hint } as const;
}
