/**
 * Real commands on a host state of the model, and the same command of the model alone: to be compared.
 */
import { disable } from '../../../src/encryption/operations/disable.ts';
import { enable } from '../../../src/encryption/operations/enable.ts';
import type { OperationOptions, OperationPorts } from '../../../src/encryption/operations/operation.ts';
import { reseal, rotate } from '../../../src/encryption/operations/rotate.ts';
import { trustRestored } from '../../../src/encryption/operations/trust-restored.ts';
import { isFailure } from '../../../src/errors.ts';
import { type KeyId, type KeySet, keyIds } from '../../../src/secret/key.ts';
import type { SwitchRow } from '../../../src/secret/switch.ts';
import { newWorld, startProcess, type World } from '../memory-ports.ts';
import { keysInFile, names, putPlain, putSealed } from '../stored-passwords.ts';
import { type Command, commandMoves } from './command.ts';
import { beginning, fourth, keySet, type State, unlessFailure } from './machine.ts';

const options: OperationOptions = { force: false, waitMs: 0, signal: new AbortController().signal };

const commands: Readonly<Record<Command['kind'], (ports: OperationPorts) => Promise<unknown>>> = {
  enable: (ports) => enable(ports, options),
  rotate: (ports) => rotate(ports, options),
  disable: (ports) => disable(ports, options),
  reseal: (ports) => reseal(ports, options),
};

/** Keys in the order of their ids, as they are compared. */
const inOrder = (ids: readonly KeyId[] | null) => ids?.toSorted() ?? null;

/** The host of a quiet state: key file, state file and database. The process of its command is dead. */
async function worldOf(state: State): Promise<World> {
  const world = newWorld();
  world.file = state.file === null ? null : orderedKeys(state.file);
  if (state.aside.length > 0) world.asideFiles.push({ path: 'renamed', keys: keySet(state.aside) });
  const { row, issued, origin } = state.memory;
  const isBy = (by: string | null) => (by === null ? null : 'desk/1/1/0/0');
  Object.assign(world, { remembered: row, origin, issued: issued.map((one) => ({ ...one, by: isBy(one.by) })) });
  world.row = state.row;
  for (const [index, key] of state.passwords.entries()) {
    const name = names(2).slice(index, index + 1);
    if (key === null) putPlain(world, ...name);
    else for (const sealer of keySet([key])) await putSealed(world, sealer, name);
  }
  return world;
}

function orderedKeys(ids: readonly KeyId[]): KeySet {
  return ids.flatMap((id) => keySet([id]));
}

/** What a host went through: key file, row and passwords at each change of file or row, and at the end. */
type Course = readonly string[];

type Sight = { readonly file: readonly KeyId[] | null; readonly row: SwitchRow | null; readonly passwords: unknown };

function recorder() {
  const course: string[] = [];
  let last = '';
  const text = ({ file, row, passwords }: Sight) => {
    const { state, keyId, nextKeyId, revision } = row ?? {};
    return {
      change: JSON.stringify([inOrder(file), state, keyId, nextKeyId, revision]),
      passwords: JSON.stringify(passwords),
    };
  };
  return {
    see: (sight: Sight) => {
      const { change, passwords } = text(sight);
      if (change !== last) course.push(change + passwords);
      last = change;
    },
    courseTo: (sight: Sight): Course => [...course, JSON.stringify(text(sight))],
  };
}

export async function courseOfReal(state: State, kind: Command['kind']): Promise<Course> {
  const world = await worldOf(state);
  const record = recorder();
  const sight = (): Sight => ({
    file: world.file === null ? null : keyIds(keysInFile(world)),
    row: world.row,
    passwords: [...world.passwords.values()].map(({ keyId }) => keyId),
  });
  const process = startProcess(world, () => record.see(sight()));
  const made = keySet([fourth]);
  const random = (bytes: Uint8Array) => {
    bytes.set(made[0]?.object.export() ?? []);
    return bytes;
  };
  await commands[kind]({ ...process, random }).catch(unlessFailure);
  return record.courseTo(sight());
}

export async function courseOfModel(quiet: State, kind: Command['kind']): Promise<Course> {
  const begun = beginning(kind).command;
  const command = begun && { ...begun, made: fourth };
  const issued = quiet.memory.issued.map((one) => ({ ...one, by: one.by === null ? null : 'an earlier command' }));
  let state: State = { ...quiet, memory: { ...quiet.memory, issued }, command, workers: [], canCrash: false };
  const record = recorder();
  record.see(state);
  while (state.command !== null) {
    const [next] = await commandMoves(state);
    state = next?.to ?? { ...state, command: null };
    record.see(state);
  }
  return record.courseTo(state);
}

function unlessRefused(error: unknown): null {
  if (isFailure(error, 'refused')) return null;
  throw error;
}

const finishing = {
  off: 'disable',
  enabling: 'enable',
  on: 'reseal',
  rotating: 'rotate',
  disabling: 'disable',
} as const;

/** The commands that the documents name for what a process finds, one after the other. */
export async function mended(state: State): Promise<World> {
  const world = await worldOf(state);
  // Set again by its owner.
  if (state.isFirstForeign) putPlain(world, ...names(1));
  const isSealed = [...world.passwords.values()].some(({ form }) => form === 'sealed');
  // The key file that `disable` renamed, moved back.
  if (world.file === null && isSealed) world.file = world.asideFiles[0]?.keys ?? null;
  const view = await startProcess(world).vault.refresh();
  // Over a withdrawn row each command writes the switch in force again, which is then nothing to trust.
  if (view.problem !== null) await trustRestored(startProcess(world), { acceptOff: true }).catch(unlessRefused);
  const now = await startProcess(world).vault.refresh();
  await commands[finishing[now.switch.state]](startProcess(world));
  return world;
}
