/**
 * Switches encryption on: key file, `enabling`, every readable password sealed, `on`.
 *
 *     off -> enabling(k) -> on(k)
 *
 * Nothing but the key file is changed before every live worker holds the key. Cut off anywhere, it goes on when it is
 * run again; run while encryption is on, it seals what is readable. Refused while the switch is rotating or disabling.
 */
import { Failure, isFailure } from '../../errors.ts';
import { type Key, type KeyId, newKey } from '../../secret/key.ts';
import type { SwitchRow } from '../../secret/switch.ts';
import type { KeyFile } from '../ports.ts';
import type { VaultView } from '../vault.ts';
import {
  changeSwitch,
  heldKey,
  type Operation,
  type OperationOptions,
  type OperationPorts,
  openKeys,
  refusedWhile,
  untilDone,
  viewNow,
  waitForKey,
  withClaim,
} from './operation.ts';
import { sealPlain, sealPlainOnce, type UnopenedByName } from './rewrite.ts';

export type Enabled = {
  readonly keyId: KeyId;
  readonly createdKeyFile: boolean;
  readonly sealed: number;
  /** It was on before. */
  readonly wasOn: boolean;
};

type Run = {
  readonly options: OperationOptions;
  createdKeyFile: boolean;
  sealed: number;
  wasOn: boolean | null;
  /** The key that every live worker holds. */
  knownTo: KeyId | null;
};

const namedMax = 10;

/**
 * Throws `refused`, `workers_lack_key`, `key_file_*`, `operation_running`, `interrupted`, `password_damaged` (a password
 * that cannot be sealed is left: it stays `enabling`), what is wrong with the switch, `disk_*`, `database_*`.
 */
export async function enable(ports: OperationPorts, options: OperationOptions): Promise<Enabled> {
  return await withClaim(ports, options.stop, (operation) => {
    const run: Run = { options, createdKeyFile: false, sealed: 0, wasOn: null, knownTo: null };
    return untilDone(operation, () => takeStep(operation, run));
  });
}

async function takeStep(operation: Operation, run: Run): Promise<Enabled | null> {
  const view = await viewNow(operation);
  const { state } = view.switch;
  run.wasOn ??= state === 'on';
  if (state === 'off') return await begin(operation, run, view.switch);
  if (state === 'enabling') return await sealAndSwitch(operation, run, view);
  if (state === 'on') return await finish(operation, run, view);
  throw refusedWhile(state, 'switching on');
}

async function begin(operation: Operation, run: Run, row: SwitchRow): Promise<null> {
  const key = await firstKey(operation, run);
  if (run.knownTo !== key.id) {
    await waitForKey(operation, key.id, run.options);
    // The key file may be another one by now: it is looked at again before the row names its key.
    run.knownTo = key.id;
    return null;
  }
  const created = run.createdKeyFile ? [{ action: 'key.created', detail: null }] : [];
  const audit = [...created, { action: 'switch.enabling', detail: null }];
  await changeSwitch(operation, row, { state: 'enabling', keyId: key.id, nextKeyId: null }, key, audit);
  operation.ports.tell.step(`Every live worker holds the key ${key.id}; passwords are sealed with it from now on.`);
  return null;
}

/** The first key of the key file, which is made where there is none. Throws `key_file_refused`, `key_file_locked`. */
async function firstKey(operation: Operation, run: Run): Promise<Key> {
  const { keyFile, vault, random, tell } = operation.ports;
  const found = await keyInFile(keyFile);
  if (found !== null) return found;
  const key = newKey(random);
  operation.check();
  try {
    await keyFile.create([key]);
  } catch (error) {
    // Somebody was quicker; what is there now and cannot be read as a file is in the way.
    const theirs = isFailure(error, 'exists_already') ? await keyInFile(keyFile) : null;
    if (theirs === null) throw error;
    return theirs;
  }
  run.createdKeyFile = true;
  await vault.refresh();
  tell.step(`A key file with the new key ${key.id} is at ${keyFile.path}.`);
  return key;
}

async function keyInFile(keyFile: KeyFile): Promise<Key | null> {
  const reading = await keyFile.read();
  if (reading.kind === 'refused') throw reading.failure;
  if (reading.kind === 'absent') return null;
  const [key] = reading.keys;
  if (key === undefined) throw new Failure('key_file_refused', `the key file at ${keyFile.path} holds no key`);
  return key;
}

async function sealAndSwitch(operation: Operation, run: Run, view: VaultView): Promise<null> {
  const row = view.switch;
  const key = heldKey(openKeys(view), row.keyId);
  const unsealable = await sealPlain(operation, key, row.revision, counter(run));
  if (unsealable.size > 0) throw cannotBeSealed(unsealable);
  const detail = `${run.sealed} passwords sealed`;
  const next = { state: 'on', keyId: key.id, nextKeyId: null } as const;
  await changeSwitch(operation, row, next, key, [{ action: 'switch.on', detail }]);
  operation.ports.tell.step('Encryption is on: no password is readable in the table any more.');
  return null;
}

/** Also after an earlier run that was cut off behind `on`. */
async function finish(operation: Operation, run: Run, view: VaultView): Promise<Enabled> {
  const { store, tell } = operation.ports;
  const key = heldKey(openKeys(view), view.switch.keyId);
  const unsealable = await sealPlainOnce(operation, key, view.switch.revision, counter(run));
  if (unsealable.size > 0) tell.step(`Left as they are: ${namesOf(unsealable)}.`);
  operation.check();
  await store.rebuildMailboxes();
  tell.step('The table of mailboxes is written anew, so that its file holds nothing of what was readable.');
  const { createdKeyFile, sealed, wasOn } = run;
  return { keyId: key.id, createdKeyFile, sealed, wasOn: wasOn === true };
}

function counter(run: Run): (changed: number) => void {
  return (changed) => {
    run.sealed += changed;
  };
}

function cannotBeSealed(unsealable: UnopenedByName): Failure {
  const hint =
    'Set these passwords anew with mailbox set-password, or remove the mailboxes; then run the same command again.';
  const message = `the switch stays at enabling: some passwords cannot be sealed: ${namesOf(unsealable)}`;
  return new Failure('password_damaged', message, { hint, fields: { count: unsealable.size } });
}

function namesOf(unsealable: UnopenedByName): string {
  const names = [...unsealable.values()].slice(0, namedMax).map(({ mailbox, message }) => `${mailbox} (${message})`);
  if (unsealable.size > namedMax) names.push(`and ${unsealable.size - namedMax} more`);
  return names.join(', ');
}
