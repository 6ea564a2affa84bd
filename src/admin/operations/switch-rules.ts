/**
 * Preconditions of operations: which one the sealed switch allows to start, has left unfinished, or shows as completed.
 *
 * Only the switch decides. A resumed operation runs on a guarded vault: at every refresh it fails with `interrupted`
 * unless the switch says that this very operation is unfinished, so a forged row starts nothing.
 */
import { refusedInState } from '../../encryption/operations/operation.ts';
import type { Vault } from '../../encryption/vault.ts';
import { Failure } from '../../errors.ts';
import type { SwitchRow } from '../../secret/switch.ts';
import type { OperationKind } from '../service.ts';

type SwitchInForce = Pick<SwitchRow, 'state' | 'nextKeyId'>;

/** The operation that the switch shows as unfinished; null: none. */
export function unfinishedKind({ state, nextKeyId }: SwitchInForce): OperationKind | null {
  if (state === 'enabling') return 'enable';
  if (state === 'disabling') return 'disable';
  return state === 'rotating' || (state === 'on' && nextKeyId !== null) ? 'rotate' : null;
}

function isTarget(kind: OperationKind, { state, nextKeyId }: SwitchInForce): boolean {
  return kind === 'disable' ? state === 'off' : state === 'on' && nextKeyId === null;
}

/** The switch reached the target state of such an operation at or after `sinceMs`. */
export function isCompleted(kind: OperationKind, row: SwitchRow, sinceMs: number): boolean {
  return isTarget(kind, row) && row.changedAtMs >= sinceMs;
}

/** Why an operation cannot start in this state of the switch; null: it can. `isProven`: a proof file was accepted. */
export function startRefusal(kind: OperationKind, row: SwitchInForce, isProven: boolean): Failure | null {
  const { state } = row;
  if (kind === 'enable')
    return state === 'rotating' || state === 'disabling' ? refusedInState(state, 'enabling encryption') : null;
  if (kind === 'rotate') return state === 'on' || state === 'rotating' ? null : refusedInState(state, 'a key rotation');
  if (state === 'rotating') return refusedInState(state, 'disabling encryption');
  if (isProven || state === 'disabling') return null;
  return new Failure('refused', 'disabling encryption has to be requested first', { hint: 'It needs a proof file.' });
}

/** The same vault; its refresh throws `interrupted` when the switch shows another unfinished operation, or none. */
export function guardedVault(kind: OperationKind, vault: Vault): Vault {
  let wasUnfinished = false;
  const check = (row: SwitchInForce): void => {
    const isUnfinished = unfinishedKind(row) === kind;
    // A rotation that is only announced has changed nothing that would have to be completed.
    wasUnfinished ||= isUnfinished && row.state !== 'on';
    if (!isUnfinished && !(wasUnfinished && isTarget(kind, row))) throw notResumable(row.state);
  };
  return {
    get view() {
      return vault.view;
    },
    refresh: async () => {
      const view = await vault.refresh();
      check(view.switch);
      return view;
    },
    keys: () => vault.keys(),
    wrapped: () => vault.wrapped(),
  };
}

/** For an orphaned operation that the switch does not show as unfinished. */
export function notResumable(state: SwitchRow['state']): Failure {
  const message = `the daemon that ran it stopped, and the switch is ${state}: it is not resumed automatically`;
  return new Failure('interrupted', message, { hint: 'If it is still wanted, press the button again.' });
}
