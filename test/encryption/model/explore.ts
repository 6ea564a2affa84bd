/**
 * Explicit-state model checker: breadth-first search over every interleaving of the moves, with the invariants of the
 * switch.
 *
 * Each state is expanded once. A violation is reported with the shortest series of transitions that leads to it.
 */
import { codeOf, hostCode } from './codes.ts';
import type { Move, State } from './machine.ts';

export type Exploration = {
  readonly states: number;
  readonly transitions: number;
  readonly seconds: number;
  /** States in which no command runs. */
  readonly quiet: readonly State[];
  /** null: every invariant holds in every state. */
  readonly violation: { readonly what: string; readonly path: readonly string[] } | null;
};

type Node = { readonly state: State; readonly from: Node | null; readonly by: string };

const statesMax = 2_000_000;

/** Every state that the moves reach from `initial`; ends at the first violation. */
export async function explore(initial: State, moves: readonly Move[]): Promise<Exploration> {
  const startedMs = performance.now();
  const seen = new Set([codeOf(initial)]);
  const quiet = new Map<string, State>();
  const nodes: Node[] = [{ state: initial, from: null, by: 'begin' }];
  let transitions = 0;
  const result = (violation: Exploration['violation']): Exploration => {
    const seconds = (performance.now() - startedMs) / 1000;
    return { states: nodes.length, transitions, seconds, quiet: [...quiet.values()], violation };
  };
  for (let at = 0; at < nodes.length && nodes.length < statesMax; at += 1) {
    const node = nodes[at];
    if (node === undefined) break;
    const { state } = node;
    const what = violated(state);
    if (what !== null) return result({ what, path: pathTo(node) });
    if (state.command === null) quiet.set(hostCode(state), state);
    for (const move of moves) {
      for (const { name, to } of await move(state)) {
        transitions += 1;
        const code = codeOf(to);
        if (seen.has(code)) continue;
        seen.add(code);
        nodes.push({ state: to, from: node, by: name });
      }
    }
  }
  return result(nodes.length < statesMax ? null : { what: 'more states than expected', path: [] });
}

function pathTo(node: Node): readonly string[] {
  return node.from === null ? [node.by] : [...pathTo(node.from), node.by];
}

/** The broken invariant, or null. */
function violated({ passwords, file, aside, newest, isFirstForeign }: State): string | null {
  const own = isFirstForeign ? passwords.slice(1) : passwords;
  const isLost = own.some((key) => key !== null && file?.includes(key) !== true && !aside.includes(key));
  if (isLost) return 'a password is sealed under a key that no file has';
  const isOn = newest.state === 'on' || newest.state === 'rotating';
  return isOn && own.includes(null) ? 'a password is readable while the switch is on' : null;
}
