/**
 * Disable operation: writes `disabling`, restores every password and refresh token to plain text, drops the access
 * tokens, writes `off`, sets the key file aside.
 *
 * enabling(k) or on(k) -> disabling(k) -> off
 *
 * Stays `disabling` and returns what cannot be opened: each password must be set, each grant authorized, or removed.
 * Renames the key file, never deletes it, and only when no sealed password or token is left. Resumes when it is run
 * again after an interruption. Refused while rotating.
 */

import { keyById } from '../../secret/key.ts';
import type { SwitchRow } from '../../secret/switch.ts';
import { countText } from '../../text/units.ts';
import { unsealReplyKeys } from '../reply-keys.ts';
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
  runOperation,
  trustedView,
  type UnopenedSecret,
} from './operation.ts';
import { unsealAll } from './rewrite.ts';
import { secretCounts, unsealAllTokens } from './rewrite-tokens.ts';

export type DisableResult = {
  readonly unsealed: number;
  readonly unsealedTokens: number;
  /** Not empty: the switch is still `disabling`. */
  readonly unopened: readonly UnopenedSecret[];
  /** New path of the key file; null: not renamed, or none. */
  readonly setAside: string | null;
  /** Encryption was off before. */
  readonly wasOff: boolean;
};

type DisableRun = { unsealed: number; unsealedTokens: number; wasOff: boolean | null };

/** Throws `refused`, `key_file_*`, the problem of the switch. */
export async function disable(ports: OperationPorts, options: OperationOptions): Promise<DisableResult> {
  const run: DisableRun = { unsealed: 0, unsealedTokens: 0, wasOff: null };
  return await runOperation(ports, options.signal, (operation) => takeStep(operation, run));
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
  const passwords = await unsealAll(operation, keys, row.revision, (changed) => {
    run.unsealed += changed;
  });
  const tokens = await unsealAllTokens(operation, keys, row.revision, (changed) => {
    run.unsealedTokens += changed;
  });
  const unopened = [...passwords.values(), ...tokens.values()];
  const { unsealed, unsealedTokens } = run;
  if (unopened.length > 0) return { unsealed, unsealedTokens, unopened, setAside: null, wasOff: false };
  await operation.ports.store.dropAccessTokens('sealed', row.revision);
  await unsealReplyKeys(operation.ports.store, keys);
  const refreshTokens = unsealedTokens === 0 ? '' : ` and ${countText(unsealedTokens, 'refresh token')}`;
  const detail = `${countText(unsealed, 'password')}${refreshTokens} restored to plain text`;
  const audit = [{ action: 'switch.off', detail }];
  await changeSwitch(operation, row, { state: 'off', keyId: null, nextKeyId: null }, key, audit);
  operation.ports.observer.step({ step: 'encryption_off' });
  if (unsealedTokens > 0) operation.ports.observer.step({ step: 'tokens_unsealed', count: unsealedTokens });
  return null;
}

/** Runs also after an interruption behind `off`. */
async function finish(operation: Operation, run: DisableRun, row: SwitchRow): Promise<DisableResult> {
  const { keyFile, store, vault, observer } = operation.ports;
  const { unsealed, unsealedTokens, wasOff } = run;
  const done = { unsealed, unsealedTokens, unopened: [], wasOff: wasOff === true };
  if (!(await isKeyFileUnneeded(operation, run, row))) return { ...done, setAside: null };
  operation.throwIfStopped();
  const setAside = await keyFile.setAside('disabled');
  if (setAside === null) return { ...done, setAside };
  const entry = { action: 'key.set_aside', keyId: sealerKeyId(row), nextKeyId: null, detail: null };
  await store.audit([auditEntry(operation.ports, entry)]);
  await vault.refresh();
  observer.step({ step: 'key_file_set_aside' });
  return { ...done, setAside };
}

/**
 * When it was off before, only a file with the key that sealed `off` is unneeded: a newer file is for enabling again.
 */
async function isKeyFileUnneeded({ ports }: Operation, run: DisableRun, row: SwitchRow): Promise<boolean> {
  if (run.wasOff === true) {
    const reading = await ports.keyFile.read();
    if (reading.kind !== 'keys' || keyById(reading.keys, sealerKeyId(row)) === null) return false;
  }
  const { sealed } = await secretCounts(ports.store);
  if (sealed === 0) return true;
  ports.observer.step({ step: 'sealed_left', count: sealed });
  return false;
}

/** The key that sealed the row; null for the initial row of a database. */
function sealerKeyId({ seal }: SwitchRow): string | null {
  return seal?.split(':')[0] ?? null;
}
