/**
 * Switches encryption off: `disabling`, every password made readable again, `off`, the key file set aside.
 *
 *     enabling(k) or on(k) -> disabling(k) -> off
 *
 * While a password cannot be opened it stays `disabling` and gives those back: each must be set anew, or its mailbox
 * removed. The key file is renamed, never deleted, and only when no sealed password is left. Cut off anywhere, it goes on
 * when it is run again. Refused while the switch is rotating.
 */
import { keyById } from '../../secret/key.ts';
import type { SwitchRow } from '../../secret/switch.ts';
import type { VaultView } from '../vault.ts';
import {
  auditEntry,
  changeSwitch,
  type Operation,
  type OperationOptions,
  type OperationPorts,
  refusedInState,
  requireKey,
  requireOpenKeys,
  runSteps,
  trustedView,
  type UnopenedPassword,
  withClaim,
} from './operation.ts';
import { unsealAll } from './rewrite.ts';

export type DisableResult = {
  readonly unsealed: number;
  /** Not empty: the switch is still `disabling`. */
  readonly unopened: readonly UnopenedPassword[];
  /** Where the key file is now; null: it stayed where it was, or there was none. */
  readonly setAside: string | null;
  /** It was off before. */
  readonly wasOff: boolean;
};

type DisableRun = { unsealed: number; wasOff: boolean | null };

/**
 * Throws `refused`, `key_file_*`, `operation_running`, `interrupted`, what is wrong with the switch, `disk_*`,
 * `database_*`.
 */
export async function disable(ports: OperationPorts, options: OperationOptions): Promise<DisableResult> {
  return await withClaim(ports, options.signal, (operation) => {
    const run: DisableRun = { unsealed: 0, wasOff: null };
    return runSteps(operation, () => takeStep(operation, run));
  });
}

async function takeStep(operation: Operation, run: DisableRun): Promise<DisableResult | null> {
  const view = await trustedView(operation);
  const row = view.switch;
  run.wasOff ??= row.state === 'off';
  if (row.state === 'rotating') throw refusedInState(row.state, 'switching off');
  if (row.state === 'off') return await finish(operation, run, row);
  if (row.state === 'disabling') return await unsealAndSwitch(operation, run, view);
  const audit = [{ action: 'switch.disabling', detail: null }];
  const next = { state: 'disabling', keyId: row.keyId, nextKeyId: null } as const;
  await changeSwitch(operation, row, next, requireKey(requireOpenKeys(view), row.keyId), audit);
  operation.ports.observer.step({ step: 'plaintext_from_now_on' });
  return null;
}

async function unsealAndSwitch(operation: Operation, run: DisableRun, view: VaultView): Promise<DisableResult | null> {
  const row = view.switch;
  const keys = requireOpenKeys(view);
  const key = requireKey(keys, row.keyId);
  const unopened = await unsealAll(operation, keys, row.revision, (changed) => {
    run.unsealed += changed;
  });
  if (unopened.size > 0) {
    return { unsealed: run.unsealed, unopened: [...unopened.values()], setAside: null, wasOff: false };
  }
  const audit = [{ action: 'switch.off', detail: `${run.unsealed} passwords made readable` }];
  await changeSwitch(operation, row, { state: 'off', keyId: null, nextKeyId: null }, key, audit);
  operation.ports.observer.step({ step: 'encryption_off' });
  return null;
}

/** Also after an earlier run that was cut off behind `off`. */
async function finish(operation: Operation, run: DisableRun, row: SwitchRow): Promise<DisableResult> {
  const { keyFile, store, vault, observer: tell } = operation.ports;
  const done = { unsealed: run.unsealed, unopened: [], wasOff: run.wasOff === true };
  if (!(await isKeyFileUnneeded(operation, run, row))) return { ...done, setAside: null };
  operation.throwIfStopped();
  const setAside = await keyFile.setAside('disabled');
  if (setAside === null) return { ...done, setAside };
  const entry = { action: 'key.set_aside', keyId: sealerKeyId(row), nextKeyId: null, detail: null };
  await store.audit([auditEntry(operation.ports, entry)]);
  await vault.refresh();
  tell.step({ step: 'key_file_set_aside' });
  return { ...done, setAside };
}

/** When it was off before, only a file with the very key that switched off is: one that came since is to switch on. */
async function isKeyFileUnneeded({ ports }: Operation, run: DisableRun, row: SwitchRow): Promise<boolean> {
  if (run.wasOff === true) {
    const reading = await ports.keyFile.read();
    if (reading.kind !== 'keys' || keyById(reading.keys, sealerKeyId(row)) === null) return false;
  }
  const { sealed } = await ports.store.passwordCounts();
  if (sealed === 0) return true;
  ports.observer.step({ step: 'sealed_left', count: sealed });
  return false;
}

/** The key that sealed the row; null for the first row of a database, which no operation made. */
function sealerKeyId({ seal }: SwitchRow): string | null {
  return seal?.split(':')[0] ?? null;
}
