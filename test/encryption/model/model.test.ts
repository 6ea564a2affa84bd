/**
 * Model checking of the switch: every interleaving of two workers and one command, with a death at any step and a
 * rollback of the row, keeps every password sealed under a key that a file has, and leaves no state without a remedy.
 */
import { describe, expect, test } from 'vitest';
import { expectHealthy } from '../operations/death-stories.ts';
import { type Command, commandMoves } from './command.ts';
import { type Exploration, explore } from './explore.ts';
import { beginning, faults, type Move, type State, workerDeaths, workerMoves } from './machine.ts';
import { courseOfModel, courseOfReal, mended } from './real-commands.ts';

const kinds = ['enable', 'rotate', 'disable', 'reseal'] as const;

type Faults = Partial<Pick<State, 'canCrash' | 'canRollBack'>>;
const oneFault: readonly Faults[] = [{ canRollBack: false }, { canCrash: false }];

async function explored(kind: Command['kind'], given: Faults, ...moves: readonly Move[]): Promise<Exploration> {
  const found = await explore({ ...beginning(kind), ...given }, moves);
  const { states, transitions, seconds } = found;
  const text = `${states} states, ${transitions} transitions in ${seconds.toFixed(1)} s`;
  process.stdout.write(`model of ${kind} ${JSON.stringify(given)}: ${text}\n`);
  return found;
}

const correct = () => [commandMoves, workerMoves(), faults, workerDeaths];

const explorations = new Map<string, Promise<Exploration>>();

async function expectToHold(kind: Command['kind'], given: Faults): Promise<readonly State[]> {
  const name = JSON.stringify([kind, given]);
  const exploration = explorations.get(name) ?? explored(kind, given, ...correct());
  explorations.set(name, exploration);
  const { violation, quiet, states } = await exploration;
  expect(violation).toBeNull();
  expect(states).toBeGreaterThan(400);
  return quiet;
}

describe.each(kinds)('%s', (kind) => {
  test('keeps passwords sealed and openable beside two workers, and a death or a rollback leaves a remedy', async () => {
    for (const given of oneFault) {
      for (const state of await expectToHold(kind, given)) await expectHealthy(await mended(state));
    }
  }, 60_000);

  test('does the same with a death and a rollback', { tags: ['long'], timeout: 300_000 }, async () => {
    for (const state of await expectToHold(kind, {})) await expectHealthy(await mended(state));
  });
});

test.each(kinds)(
  '%s of the model does what the real command does, in every state that a command leaves',
  async (kind) => {
    for (const before of kinds) {
      for (const given of oneFault) {
        for (const state of await expectToHold(before, given))
          expect(await courseOfModel(state, kind)).toEqual(await courseOfReal(state, kind));
      }
    }
  },
  60_000,
);

/** A copy of the moves in which what a transition leads to is another. */
function mistaken(move: Move, mistake: (to: State, from: State, name: string) => State): Move {
  return async (from) => (await move(from)).map(({ name, to }) => ({ name, to: mistake(to, from, name) }));
}

function withPlan(state: State, plan: Command['plan']): State {
  return state.command === null ? state : { ...state, command: { ...state.command, plan } };
}

/** The row becomes `on` before the passwords are sealed. */
const switchedTooEarly = mistaken(commandMoves, (to) => {
  const [effect, next] = to.command?.plan ?? [];
  return effect?.do === 'rewrite' && next?.do === 'issue' ? withPlan(to, [next, effect]) : to;
});

/** Keys are counted before the last passwords are resealed. */
const droppedTooEarly = mistaken(commandMoves, (to) => {
  const [effect, next] = to.command?.plan ?? [];
  return effect?.do === 'rewrite' && next?.do === 'count'
    ? withPlan(to, [{ do: 'drop', needed: [next.row.keyId], examined: next.examined }, { do: 'end' }])
    : to;
});

/** A password is written without a look at the revision. */
const writtenAtAnyRevision = mistaken(workerMoves(), (to, from, name) => {
  const prepared = name.endsWith('writes its password') ? from.workers[1]?.prepared : null;
  return prepared === null || prepared === undefined ? to : { ...to, passwords: to.passwords.with(0, prepared.key) };
});

test.each([
  ['a switch that is on before all is sealed', 'enable', [switchedTooEarly, workerMoves()], 'readable'],
  ['a key that is dropped before all is resealed', 'reseal', [droppedTooEarly, workerMoves()], 'no file has'],
  ['a write at any revision, as enable runs', 'enable', [commandMoves, writtenAtAnyRevision], 'readable'],
  ['a write at any revision, as rotate runs', 'rotate', [commandMoves, writtenAtAnyRevision], 'no file has'],
] as const)('%s is found in a copy of the transitions', async (_, kind, moves, what) => {
  const { violation } = await explored(kind, { canCrash: false, canRollBack: false }, ...moves);
  expect(violation?.what).toContain(what);
  expect(violation?.path.length).toBeGreaterThan(2);
});
