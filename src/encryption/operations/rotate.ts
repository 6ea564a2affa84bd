/**
 * Takes a new key into use: announced, in the key file, known to every live worker, every password resealed.
 *
 *     on(k) -> on(k, next k2) -> rotating(k, k2) -> on(k2)
 *
 * The new key is announced before it is in the key file: nothing is sealed under it before `rotating`, so that one that
 * was lost on the way (the process died between the two) is replaced by another. The former key is dropped from the key
 * file in the end, unless a password could not be opened. Cut off anywhere, it goes on when it is run again; cut off
 * behind `on(k2)`, the former key is left in the key file, and `reseal` drops it. Refused unless on or rotating.
 */

import { Failure, isFailure } from '../../errors.ts';
import { generateKey, type KeyId, type KeySet, keyById, keyIds, keysMax } from '../../secret/key.ts';
import type { SwitchRow } from '../../secret/switch.ts';
import type { KeyFile } from '../ports.ts';
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
  waitForKey,
  waitForRevision,
  withClaim,
} from './operation.ts';
import { resealByColumn, resealByHeader, sealPlaintextOnce, type UnopenedByName } from './rewrite.ts';

type RotateResult = {
  readonly keyId: KeyId;
  readonly formerKeyId: KeyId;
  readonly resealed: number;
  readonly unopened: readonly UnopenedPassword[];
  /** The former key is still in the key file. */
  readonly isFormerKeyKept: boolean;
};

type RotateRun = {
  readonly options: OperationOptions;
  /** Keys made by this run, which may not be in the key file yet. */
  generatedKeys: KeySet;
  /** The key that every live worker holds. */
  keyHeldByAll: KeyId | null;
  rotated: { readonly keyId: KeyId; readonly formerKeyId: KeyId } | null;
  resealed: number;
  unopened: UnopenedByName;
  /** Readable ones that no key can seal: no reason to keep one. */
  unsealable: UnopenedByName;
};

const revisionWaitMs = 5000;

/**
 * Throws `refused`, `workers_lack_key`, `key_file_*`, `operation_running`, `interrupted`, what is wrong with the switch,
 * `disk_*`, `database_*`.
 */
export async function rotate(ports: OperationPorts, options: OperationOptions): Promise<RotateResult> {
  return await withClaim(ports, options.signal, async (operation) => {
    const none: UnopenedByName = new Map();
    const run: RotateRun = {
      options,
      generatedKeys: [],
      keyHeldByAll: null,
      rotated: null,
      resealed: 0,
      unopened: none,
      unsealable: none,
    };
    try {
      return await runSteps(operation, () => takeStep(operation, run));
    } catch (error) {
      throw run.rotated !== null && isFailure(error, 'interrupted') ? interruptedAfterSwitch(run.rotated) : error;
    }
  });
}

async function takeStep(operation: Operation, run: RotateRun): Promise<RotateResult | null> {
  const view = await trustedView(operation);
  const { state, keyId, nextKeyId } = view.switch;
  if (state === 'rotating') return await resealAndSwitch(operation, run, view);
  if (state !== 'on') throw refusedInState(state, 'a rotation');
  if (run.rotated !== null && run.rotated.keyId === keyId && nextKeyId === null)
    return await finish(operation, run, view, run.rotated);
  if (nextKeyId === null) return await announce(operation, run, view);
  if (keyById(requireOpenKeys(view), nextKeyId) !== null)
    return await startResealing(operation, run, view.switch, requireOpenKeys(view));
  if (keyById(run.generatedKeys, nextKeyId) === null) return await announce(operation, run, view);
  return await addKey(operation, run, requireOpenKeys(view), nextKeyId);
}

async function announce(operation: Operation, run: RotateRun, view: VaultView): Promise<null> {
  const keys = requireOpenKeys(view);
  checkRoom(keys);
  const { keyId } = view.switch;
  const next = generateKey(operation.ports.random);
  run.generatedKeys = [...run.generatedKeys, next];
  const audit = [{ action: 'switch.rotation_announced', detail: null }];
  await changeSwitch(
    operation,
    view.switch,
    { state: 'on', keyId, nextKeyId: next.id },
    requireKey(keys, keyId),
    audit,
  );
  return null;
}

/** Throws `refused`. */
function checkRoom(keys: KeySet): void {
  if (keys.length < keysMax) return;
  const hint = 'Drop the keys that no password needs: ticketmaild encryption reseal.';
  throw new Failure('refused', `the key file holds ${keysMax} keys, and there is no room for one more`, {
    hint,
    fields: { count: keysMax },
  });
}

async function addKey(operation: Operation, run: RotateRun, keys: KeySet, nextKeyId: KeyId): Promise<null> {
  const { keyFile, observer: tell } = operation.ports;
  checkRoom(keys);
  operation.throwIfStopped();
  await keyFile.replace([...keys, requireKey(run.generatedKeys, nextKeyId)]);
  tell.step({ step: 'key_added', keyId: nextKeyId });
  return null;
}

async function startResealing(operation: Operation, run: RotateRun, row: SwitchRow, keys: KeySet): Promise<null> {
  const { keyId, nextKeyId } = row;
  if (nextKeyId !== null && run.keyHeldByAll !== nextKeyId) {
    await waitForKey(operation, nextKeyId, run.options);
    // Switch and key file may be others by now: they are looked at again before resealing begins.
    run.keyHeldByAll = nextKeyId;
    return null;
  }
  const audit = [{ action: 'switch.rotating', detail: null }];
  await changeSwitch(operation, row, { state: 'rotating', keyId, nextKeyId }, requireKey(keys, keyId), audit);
  if (nextKeyId !== null) operation.ports.observer.step({ step: 'resealing_started', keyId: nextKeyId });
  return null;
}

async function resealAndSwitch(operation: Operation, run: RotateRun, view: VaultView): Promise<null> {
  const row = view.switch;
  const keys = requireOpenKeys(view);
  const [former, key] = [requireKey(keys, row.keyId), requireKey(keys, row.nextKeyId)];
  run.unopened = await resealByColumn(operation, keys, key, row.revision, counter(run));
  run.unsealable = await sealPlaintextOnce(operation, key, row.revision, () => undefined);
  const audit = [{ action: 'switch.on', detail: `the former key is ${former.id}` }];
  await changeSwitch(operation, row, { state: 'on', keyId: key.id, nextKeyId: null }, key, audit);
  run.rotated = { keyId: key.id, formerKeyId: former.id };
  operation.ports.observer.step({ step: 'key_in_use', keyId: key.id });
  return null;
}

async function finish(
  operation: Operation,
  run: RotateRun,
  view: VaultView,
  rotated: NonNullable<RotateRun['rotated']>,
): Promise<RotateResult> {
  const row = view.switch;
  const keys = requireOpenKeys(view);
  await waitForRevision(operation, row.revision, revisionWaitMs);
  const byHeader = await resealByHeader(operation, keys, requireKey(keys, row.keyId), row.revision, counter(run));
  const unopened = new Map([...run.unopened, ...byHeader.unopened]);
  const dropped = unopened.size === 0 ? await dropKeys(operation, row, keys, byHeader.neededIds) : [];
  const { resealed, unsealable } = run;
  return {
    ...rotated,
    resealed,
    unopened: [...unopened.values(), ...unsealable.values()],
    isFormerKeyKept: !dropped.includes(rotated.formerKeyId),
  };
}

function counter(run: RotateRun): (changed: number) => void {
  return (changed) => {
    run.resealed += changed;
  };
}

function interruptedAfterSwitch({ keyId, formerKeyId }: NonNullable<RotateRun['rotated']>): Failure {
  const hint = 'Run ticketmaild encryption reseal: it drops the former key, if no password needs it.';
  const message = `stopped on request: key ${keyId} is in use, and the former key ${formerKeyId} still in the key file`;
  return new Failure('interrupted', message, { hint });
}

/**
 * Brings every password under the key of the switch, and drops from the key file what nothing needs any more.
 *
 * For passwords that came with a restored backup, or were left by a rotation. Each is opened with whichever key of the
 * key file fits. Cut off anywhere, it goes on when it is run again. Refused unless the switch is on.
 */

type ResealResult = {
  readonly keyId: KeyId;
  readonly resealed: number;
  /** Of those that were readable. */
  readonly sealed: number;
  readonly unopened: readonly UnopenedPassword[];
  readonly droppedKeyIds: readonly KeyId[];
};

type ResealRun = { resealed: number; sealed: number };

/**
 * Throws `refused`, `key_file_*`, `operation_running`, `interrupted`, what is wrong with the switch, `disk_*`,
 * `database_*`.
 */
export async function reseal(ports: OperationPorts, options: OperationOptions): Promise<ResealResult> {
  return await withClaim(ports, options.signal, (operation) => {
    const run: ResealRun = { resealed: 0, sealed: 0 };
    return runSteps(operation, () => resealEverything(operation, run));
  });
}

async function resealEverything(operation: Operation, run: ResealRun): Promise<ResealResult> {
  const view = await trustedView(operation);
  const row = view.switch;
  if (row.state !== 'on') throw refusedInState(row.state, 'resealing');
  const keys = requireOpenKeys(view);
  const key = requireKey(keys, row.keyId);
  const countResealed = (changed: number) => {
    run.resealed += changed;
  };
  const others = await resealByColumn(operation, keys, key, row.revision, countResealed);
  const unsealable = await sealPlaintextOnce(operation, key, row.revision, (changed) => {
    run.sealed += changed;
  });
  const byHeader = await resealByHeader(operation, keys, key, row.revision, countResealed);
  const droppedKeyIds = await dropKeys(operation, row, keys, byHeader.neededIds);
  const unopened = new Map([...others, ...byHeader.unopened, ...unsealable]);
  return { keyId: key.id, ...run, unopened: [...unopened.values()], droppedKeyIds };
}

/**
 * Takes keys out of the key file that nothing needs any more. A key that is dropped is only in backups from then on, so
 * every doubt keeps it: what the switch names, what a sealed password names in its column or in itself stays.
 */

/**
 * The ids of the dropped keys, all of `keys`, which are those that were looked at: one that somebody adds meanwhile stays.
 * `neededIds` are kept beside those that the switch and the columns name. Throws `key_file_*`, `key_unknown` when the
 * key of the switch is not in the file (then nothing is dropped), `disk_*`.
 */
async function dropKeys(
  operation: Operation,
  row: SwitchRow,
  keys: KeySet,
  neededIds: ReadonlySet<KeyId>,
): Promise<readonly KeyId[]> {
  const { store, keyFile, vault, observer: tell } = operation.ports;
  const { byKey } = await store.passwordCounts();
  const needed = new Set([row.keyId, row.nextKeyId, ...neededIds, ...byKey.map(({ keyId }) => keyId)]);
  const inFile = await keysInFile(keyFile);
  requireKey(inFile, row.keyId);
  const kept = inFile.filter(({ id }) => needed.has(id) || keyById(keys, id) === null);
  const dropped = keyIds(inFile).filter((id) => keyById(kept, id) === null);
  if (dropped.length === 0) return dropped;
  operation.throwIfStopped();
  await keyFile.replace(kept);
  const entry = { action: 'key.dropped', nextKeyId: null, detail: null };
  await store.audit(dropped.map((keyId) => auditEntry(operation.ports, { ...entry, keyId })));
  await vault.refresh();
  for (const keyId of dropped) tell.step({ step: 'key_dropped', keyId });
  return dropped;
}

async function keysInFile(keyFile: KeyFile): Promise<KeySet> {
  const reading = await keyFile.read();
  if (reading.kind === 'refused') throw reading.failure;
  if (reading.kind === 'absent') throw new Failure('key_file_missing', `there is no key file at ${keyFile.path}`);
  return reading.keys;
}
