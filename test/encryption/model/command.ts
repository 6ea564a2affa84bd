/**
 * Commands of the model: the effects of enable, rotate, disable and reseal in the order of `encryption/operations`.
 *
 * As a real one, a command looks at the switch in force and decides on the next effects, until one look ends it.
 */
import { requireOpenKeys } from '../../../src/encryption/operations/operation.ts';
import { accepting, issuing, revisionAbove, withdrawing } from '../../../src/encryption/switch-memory.ts';
import type { VaultView } from '../../../src/encryption/vault.ts';
import { type KeyId, keyIds } from '../../../src/secret/key.ts';
import type { SwitchRow } from '../../../src/secret/switch.ts';
import { judgeOver, type Move, type State, sealedRow, unlessFailure, withHanded, withRow } from './machine.ts';

type Next = Pick<SwitchRow, 'state' | 'keyId' | 'nextKeyId'>;

type Effect =
  | { readonly do: 'create' | 'await' | 'addKey'; readonly key: KeyId }
  | { readonly do: 'issue'; readonly next: Next; readonly sealer: KeyId; readonly before: number }
  | { readonly do: 'write'; readonly row: SwitchRow; readonly before: number }
  | { readonly do: 'withdraw' | 'remember'; readonly row: SwitchRow }
  /** One password at a time: under `key`, or in plain text (null). `isAll`: sealed ones as well. */
  | { readonly do: 'rewrite'; readonly key: KeyId | null; readonly revision: number; readonly isAll: boolean }
  | { readonly do: 'count'; readonly row: SwitchRow; readonly examined: readonly KeyId[] }
  | { readonly do: 'drop'; readonly needed: readonly (KeyId | null)[]; readonly examined: readonly KeyId[] }
  | { readonly do: 'setAside' | 'end' };

export type Command = {
  readonly kind: 'enable' | 'rotate' | 'disable' | 'reseal';
  /** Effects that it has decided on; none: it looks at the switch next. */
  readonly plan: readonly Effect[];
  /** The key that every worker was seen to have. */
  readonly awaited: KeyId | null;
  /** The key that it would generate. */
  readonly made: KeyId;
  readonly hasMade: boolean;
  /** The key that it has brought into use. */
  readonly rotated: KeyId | null;
  readonly wasOff: boolean | null;
  /** Looks after a change of the switch by another. */
  readonly attempts: number;
};

const attemptsMax = 1;

/** The next effect of the running command, or its next look. */
export const commandMoves: Move = async (state) => {
  const { command } = state;
  if (command === null) return [];
  const [effect, ...rest] = command.plan;
  if (effect === undefined) return [{ name: `${command.kind} looks`, to: await looked(state, command) }];
  return carriedOut(state, command, effect, rest).map((to) => ({ name: `${command.kind}: ${effect.do}`, to }));
};

async function looked(state: State, command: Command): Promise<State> {
  const judge = await judgeOver({ ...state, isAlive: true }, null);
  await judge.renew().catch(unlessFailure);
  const view = await judge.vault.refresh();
  const { isAlive: _, ...parts } = judge.after();
  const now = { ...state, ...parts };
  if (view.problem !== null) return { ...now, command: null };
  const wasOff = command.wasOff ?? view.switch.state === 'off';
  const next = decided(now, { ...command, wasOff }, view);
  return { ...now, command: next };
}

function openKeys(view: VaultView): readonly KeyId[] {
  try {
    return keyIds(requireOpenKeys(view));
  } catch (error) {
    return unlessFailure(error) ?? [];
  }
}

const end: readonly Effect[] = [{ do: 'end' }];

/** null: it ends, or is refused. */
function decided(state: State, command: Command, view: VaultView): Command | null {
  const { state: at, keyId, revision: before } = view.switch;
  const isAll = command.kind !== 'enable';
  if (at !== 'off' && !openKeys(view).includes(keyId ?? '')) return null;
  return deciders[command.kind]({
    ...{ state, command, view, at },
    keyId: keyId ?? '',
    plan: (...effects) => ({ ...command, plan: effects }),
    change: (next, sealer) => ({
      ...{ do: 'issue', before, sealer },
      next: { state: 'on', keyId: sealer, nextKeyId: null, ...next },
    }),
    rewrite: (key) => ({ do: 'rewrite', key, revision: before, isAll }),
    dropping: [{ do: 'count', row: view.switch, examined: openKeys(view) }, ...end],
  });
}

type Deciding = {
  readonly state: State;
  readonly command: Command;
  readonly view: VaultView;
  readonly at: SwitchRow['state'];
  readonly keyId: KeyId;
  readonly plan: (...effects: readonly Effect[]) => Command;
  readonly change: (next: Partial<Next>, sealer: KeyId) => Effect;
  readonly rewrite: (key: KeyId | null) => Effect;
  readonly dropping: readonly Effect[];
};

const deciders: Readonly<Record<Command['kind'], (deciding: Deciding) => Command | null>> = {
  enable: ({ state, command, at, keyId, plan, change, rewrite }) => {
    const inFile = state.file?.[0];
    const key = inFile ?? command.made;
    if (at === 'off' && inFile === undefined) return plan({ do: 'create', key });
    if (at === 'off' && command.awaited !== key) return plan({ do: 'await', key });
    if (at === 'off') return plan(change({ state: 'enabling' }, key));
    if (at === 'enabling') return plan(rewrite(keyId), change({}, keyId));
    return at === 'on' ? plan(rewrite(keyId), ...end) : null;
  },
  disable: ({ state, command, view, at, keyId, plan, change, rewrite }) => {
    if (at === 'rotating') return null;
    if (at === 'disabling') return plan(rewrite(null), change({ state: 'off', keyId: null }, keyId));
    if (at !== 'off') return plan(change({ state: 'disabling' }, keyId));
    const sealer = view.switch.seal?.split(':')[0] ?? '';
    const isUnneeded = command.wasOff !== true || state.file?.includes(sealer) === true;
    return isUnneeded && state.passwords.every((key) => key === null) ? plan({ do: 'setAside' }, ...end) : null;
  },
  reseal: ({ at, keyId, plan, rewrite, dropping }) => (at === 'on' ? plan(rewrite(keyId), ...dropping) : null),
  rotate: (deciding) => decidedRotation(deciding),
};

function decidedRotation({ command, view, at, keyId, plan, change, rewrite, dropping }: Deciding): Command | null {
  const { nextKeyId } = view.switch;
  const { made, hasMade, rotated, awaited } = command;
  const announcement = (): Command => ({ ...plan(change({ nextKeyId: made }, keyId)), hasMade: true });
  if (at === 'rotating' && nextKeyId !== null)
    return { ...plan(rewrite(nextKeyId), change({}, nextKeyId)), rotated: nextKeyId };
  if (at !== 'on') return null;
  if (rotated === keyId && nextKeyId === null) return plan(rewrite(keyId), ...dropping);
  if (nextKeyId === null) return announcement();
  if (openKeys(view).includes(nextKeyId))
    return awaited === nextKeyId
      ? plan(change({ state: 'rotating', nextKeyId }, keyId))
      : plan({ do: 'await', key: nextKeyId });
  return hasMade && nextKeyId === made ? plan({ do: 'addKey', key: made }) : announcement();
}

/** The states after an effect; an `await` can be given up, a database can refuse a write. */
function carriedOut(state: State, command: Command, effect: Effect, rest: readonly Effect[]): readonly State[] {
  const going = (to: Partial<State> = {}, more: Partial<Command> = {}): State => ({
    ...state,
    ...to,
    command: { ...command, plan: rest, ...more },
  });
  const ended = { ...state, command: null };
  switch (effect.do) {
    case 'create':
      return [going({ file: state.file ?? [effect.key] })];
    case 'addKey':
      return [going({ file: [...(state.file ?? []), effect.key] })];
    case 'await':
      return [
        state.workers.every(({ held }) => held?.keys.includes(effect.key)) ? going({}, { awaited: effect.key }) : ended,
      ];
    case 'issue': {
      const row = sealedRow(effect.next, revisionAbove(effect.before, state.memory), effect.sealer);
      const plan: readonly Effect[] = [{ do: 'write', row, before: effect.before }, { do: 'remember', row }, ...rest];
      return [going({ memory: issuing(state.memory, row, 'command', 'command') }, { plan })];
    }
    case 'write': {
      const handed = withHanded(state, effect.row);
      const refused = { ...going(handed, { plan: [{ do: 'withdraw', row: effect.row }] }) };
      if (state.row.revision !== effect.before) return [refused];
      return [going(withRow(handed, effect.row)), ...(state.canCrash ? [{ ...refused, canCrash: false }] : [])];
    }
    case 'remember':
      return [going({ memory: accepting(state.memory, effect.row, 'command') ?? state.memory })];
    case 'withdraw': {
      const memory = withdrawing(state.memory, effect.row.seal ?? '') ?? state.memory;
      return [again({ ...state, memory }, command)];
    }
    case 'rewrite':
      return [rewritten(state, command, effect, going)];
    case 'count': {
      const needed = [effect.row.keyId, effect.row.nextKeyId, ...state.passwords];
      return [going({}, { plan: [{ do: 'drop', needed, examined: effect.examined }, ...rest] })];
    }
    case 'drop':
      return [
        going({
          file: (state.file ?? []).filter((key) => effect.needed.includes(key) || !effect.examined.includes(key)),
        }),
      ];
    case 'setAside':
      return [going({ file: null, aside: [...state.aside, ...(state.file ?? [])] })];
    default:
      return [ended];
  }
}

function again(state: State, command: Command): State {
  const attempts = command.attempts + 1;
  return { ...state, command: attempts > attemptsMax ? null : { ...command, plan: [], attempts } };
}

/** One password; once none is left that differs, the next effect is due. */
function rewritten(
  state: State,
  command: Command,
  { key, revision, isAll }: Extract<Effect, { do: 'rewrite' }>,
  going: (to?: Partial<State>) => State,
): State {
  if (state.row.revision !== revision) return again(state, command);
  const at = state.passwords.findIndex((sealed) => sealed !== key && (isAll || sealed === null));
  if (at < 0) return going();
  return { ...state, passwords: state.passwords.with(at, key), command };
}
