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
import { type KeyId, type KeySet, keyById, keyIds, keysMax, newKey } from '../../secret/key.ts';
import type { SwitchRow } from '../../secret/switch.ts';
import type { KeyFile } from '../ports.ts';
import type { VaultView } from '../vault.ts';
import {
  auditEntry,
  changeSwitch,
  heldKey,
  type Operation,
  type OperationOptions,
  type OperationPorts,
  openKeys,
  refusedWhile,
  type Unopened,
  untilDone,
  viewNow,
  waitForKey,
  waitForRevision,
  withClaim,
} from './operation.ts';
import { resealByHeader, resealOthers, sealPlainOnce, type UnopenedByName } from './rewrite.ts';

type Rotated = {
  readonly keyId: KeyId;
  readonly formerKeyId: KeyId;
  readonly resealed: number;
  readonly unopened: readonly Unopened[];
  /** The former key is still in the key file. */
  readonly formerKept: boolean;
};

type Run = {
  readonly options: OperationOptions;
  /** Keys made by this run, which may not be in the key file yet. */
  made: KeySet;
  /** The key that every live worker holds. */
  knownTo: KeyId | null;
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
export async function rotate(ports: OperationPorts, options: OperationOptions): Promise<Rotated> {
  return await withClaim(ports, options.stop, async (operation) => {
    const none: UnopenedByName = new Map();
    const run: Run = {
      options,
      made: [],
      knownTo: null,
      rotated: null,
      resealed: 0,
      unopened: none,
      unsealable: none,
    };
    try {
      return await untilDone(operation, () => takeStep(operation, run));
    } catch (error) {
      throw run.rotated !== null && isFailure(error, 'interrupted') ? stoppedBehind(run.rotated) : error;
    }
  });
}

async function takeStep(operation: Operation, run: Run): Promise<Rotated | null> {
  const view = await viewNow(operation);
  const { state, keyId, nextKeyId } = view.switch;
  if (state === 'rotating') return await resealAndSwitch(operation, run, view);
  if (state !== 'on') throw refusedWhile(state, 'a rotation');
  if (run.rotated !== null && run.rotated.keyId === keyId && nextKeyId === null)
    return await finish(operation, run, view, run.rotated);
  if (nextKeyId === null) return await announce(operation, run, view);
  if (keyById(openKeys(view), nextKeyId) !== null) return await begin(operation, run, view.switch, openKeys(view));
  if (keyById(run.made, nextKeyId) === null) return await announce(operation, run, view);
  return await addKey(operation, run, openKeys(view), nextKeyId);
}

async function announce(operation: Operation, run: Run, view: VaultView): Promise<null> {
  const keys = openKeys(view);
  checkRoom(keys);
  const { keyId } = view.switch;
  const next = newKey(operation.ports.random);
  run.made = [...run.made, next];
  const audit = [{ action: 'switch.rotation_announced', detail: null }];
  await changeSwitch(operation, view.switch, { state: 'on', keyId, nextKeyId: next.id }, heldKey(keys, keyId), audit);
  return null;
}

/** Throws `refused`. */
function checkRoom(keys: KeySet): void {
  if (keys.length < keysMax) return;
  const hint = 'Drop the keys that no password needs: ticketmaild encryption reseal.';
  throw new Failure('refused', `the key file holds ${keysMax} keys, and there is no room for one more`, { hint });
}

async function addKey(operation: Operation, run: Run, keys: KeySet, nextKeyId: KeyId): Promise<null> {
  const { keyFile, tell } = operation.ports;
  checkRoom(keys);
  operation.check();
  await keyFile.replace([...keys, heldKey(run.made, nextKeyId)]);
  tell.step(`The new key ${nextKeyId} is in the key file at ${keyFile.path}, beside the key in use.`);
  return null;
}

async function begin(operation: Operation, run: Run, row: SwitchRow, keys: KeySet): Promise<null> {
  const { keyId, nextKeyId } = row;
  if (nextKeyId !== null && run.knownTo !== nextKeyId) {
    await waitForKey(operation, nextKeyId, run.options);
    // Switch and key file may be others by now: they are looked at again before resealing begins.
    run.knownTo = nextKeyId;
    return null;
  }
  const audit = [{ action: 'switch.rotating', detail: null }];
  await changeSwitch(operation, row, { state: 'rotating', keyId, nextKeyId }, heldKey(keys, keyId), audit);
  operation.ports.tell.step(`Resealing under the key ${nextKeyId}.`);
  return null;
}

async function resealAndSwitch(operation: Operation, run: Run, view: VaultView): Promise<null> {
  const row = view.switch;
  const keys = openKeys(view);
  const [former, key] = [heldKey(keys, row.keyId), heldKey(keys, row.nextKeyId)];
  run.unopened = await resealOthers(operation, keys, key, row.revision, counter(run));
  run.unsealable = await sealPlainOnce(operation, key, row.revision, () => undefined);
  const audit = [{ action: 'switch.on', detail: `the former key is ${former.id}` }];
  await changeSwitch(operation, row, { state: 'on', keyId: key.id, nextKeyId: null }, key, audit);
  run.rotated = { keyId: key.id, formerKeyId: former.id };
  operation.ports.tell.step(
    `The key ${key.id} is in use; the former key ${former.id} is dropped from the key file next.`,
  );
  return null;
}

async function finish(
  operation: Operation,
  run: Run,
  view: VaultView,
  rotated: NonNullable<Run['rotated']>,
): Promise<Rotated> {
  const row = view.switch;
  const keys = openKeys(view);
  await waitForRevision(operation, row.revision, revisionWaitMs);
  const byHeader = await resealByHeader(operation, keys, heldKey(keys, row.keyId), row.revision, counter(run));
  const unopened = new Map([...run.unopened, ...byHeader.unopened]);
  const dropped = unopened.size === 0 ? await dropKeys(operation, row, keys, byHeader.neededIds) : [];
  const { resealed, unsealable } = run;
  return {
    ...rotated,
    resealed,
    unopened: [...unopened.values(), ...unsealable.values()],
    formerKept: !dropped.includes(rotated.formerKeyId),
  };
}

function counter(run: Run): (changed: number) => void {
  return (changed) => {
    run.resealed += changed;
  };
}

function stoppedBehind({ keyId, formerKeyId }: NonNullable<Run['rotated']>): Failure {
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

type Resealed = {
  readonly keyId: KeyId;
  readonly resealed: number;
  /** Of those that were readable. */
  readonly sealed: number;
  readonly unopened: readonly Unopened[];
  readonly droppedKeyIds: readonly KeyId[];
};

type ResealRun = { resealed: number; sealed: number };

/**
 * Throws `refused`, `key_file_*`, `operation_running`, `interrupted`, what is wrong with the switch, `disk_*`,
 * `database_*`.
 */
export async function reseal(ports: OperationPorts, options: OperationOptions): Promise<Resealed> {
  return await withClaim(ports, options.stop, (operation) => {
    const run: ResealRun = { resealed: 0, sealed: 0 };
    return untilDone(operation, () => resealEverything(operation, run));
  });
}

async function resealEverything(operation: Operation, run: ResealRun): Promise<Resealed> {
  const view = await viewNow(operation);
  const row = view.switch;
  if (row.state !== 'on') throw refusedWhile(row.state, 'resealing');
  const keys = openKeys(view);
  const key = heldKey(keys, row.keyId);
  const countResealed = (changed: number) => {
    run.resealed += changed;
  };
  const others = await resealOthers(operation, keys, key, row.revision, countResealed);
  const unsealable = await sealPlainOnce(operation, key, row.revision, (changed) => {
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
  const { store, keyFile, vault, tell } = operation.ports;
  const { byKey } = await store.passwordCounts();
  const needed = new Set([row.keyId, row.nextKeyId, ...neededIds, ...byKey.map(({ keyId }) => keyId)]);
  const inFile = await keysInFile(keyFile);
  heldKey(inFile, row.keyId);
  const kept = inFile.filter(({ id }) => needed.has(id) || keyById(keys, id) === null);
  const dropped = keyIds(inFile).filter((id) => keyById(kept, id) === null);
  if (dropped.length === 0) return dropped;
  operation.check();
  await keyFile.replace(kept);
  const entry = { action: 'key.dropped', nextKeyId: null, detail: null };
  await store.audit(dropped.map((keyId) => auditEntry(operation.ports, { ...entry, keyId })));
  await vault.refresh();
  tell.step(`Dropped from the key file, as nothing needs it any more: ${dropped.join(', ')}.`);
  return dropped;
}

async function keysInFile(keyFile: KeyFile): Promise<KeySet> {
  const reading = await keyFile.read();
  if (reading.kind === 'refused') throw reading.failure;
  if (reading.kind === 'absent') throw new Failure('key_file_missing', `there is no key file at ${keyFile.path}`);
  return reading.keys;
}
