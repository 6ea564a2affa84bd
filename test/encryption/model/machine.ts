/**
 * Model of the switch: two workers and one command over key file, state file and database, as states and transitions.
 *
 * Decisions are those of the product: its vault judges rows, `sealingInForce` says how a new password is stored,
 * `renewSwitch` passes withdrawn rows, `SwitchMemory` is the state file. Only the order of a command's effects is
 * written here again (command.ts), and compared with the real commands. A transition is one effect of a command, one
 * reading or writing of a worker, a crash, or a rollback of the row.
 */
import { renewSwitch } from '../../../src/encryption/operations/issue.ts';
import { sealingInForce } from '../../../src/encryption/passwords.ts';
import { accepting, emptySwitchMemory, type SwitchMemory, withdrawing } from '../../../src/encryption/switch-memory.ts';
import { createVault, isEncryptionOn, type Vault, type VaultView } from '../../../src/encryption/vault.ts';
import { Failure, isFailure } from '../../../src/errors.ts';
import { type KeyId, keyById, keyIds } from '../../../src/secret/key.ts';
import { initialSwitchRow, type SwitchRow, sealingKeyId, sealSwitchRow } from '../../../src/secret/switch.ts';
import { randomKey } from '../stored-passwords.ts';
import { situationCode } from './codes.ts';
import type { Command } from './command.ts';

/** `held`: what the vault of a process holds; null: the process has just started. */
type Held = { readonly keys: readonly KeyId[]; readonly inForce: SwitchRow; readonly stored: SwitchRow | null };

export type Worker = {
  readonly held: Held | null;
  /** Key file and state file, read before the row is. */
  readonly reading: { readonly file: readonly KeyId[] | null; readonly memory: SwitchMemory } | null;
  /** A new password of the first mailbox, prepared under `key` or in plain text, and not written yet. */
  readonly prepared: { readonly key: KeyId | null; readonly revision: number } | null;
  /** It may set one password. */
  readonly isSetter: boolean;
  /** Others act between its readings. */
  readonly isSlow: boolean;
};

export type State = {
  readonly file: readonly KeyId[] | null;
  readonly memory: SwitchMemory;
  readonly row: SwitchRow;
  /** The row that was stored last, but for rollbacks. */
  readonly newest: SwitchRow;
  /** Rows that the database was handed: a writer of the database can put any of them back. */
  readonly handed: readonly SwitchRow[];
  /** Keys of files that were renamed. */
  readonly aside: readonly KeyId[];
  /** By mailbox: the key that its password is sealed under; null: plain text. */
  readonly passwords: readonly (KeyId | null)[];
  /**
   * A password of the first mailbox was prepared for a row that was put back before it was written: the writer of the
   * database, who did that at this moment, decided on its form as if by an own write.
   */
  readonly isFirstForeign: boolean;
  readonly workers: readonly Worker[];
  /** null: it has ended, or died. */
  readonly command: Command | null;
  readonly canCrash: boolean;
  readonly canRollBack: boolean;
};

export type Transition = { readonly name: string; readonly to: State };

/** The transitions of one participant; a test replaces one by a mistaken one. */
export type Move = (state: State) => Promise<readonly Transition[]>;

const keys = [randomKey(), randomKey(), randomKey(), randomKey()] as const;
const [first, second, third] = [keys[0].id, keys[1].id, keys[2].id];
/** A key that no command of `beginning` makes. */
export const fourth = keys[3].id;
export const keySet = (ids: readonly KeyId[]) => keys.filter(({ id }) => ids.includes(id));

export function sealedRow(next: Pick<SwitchRow, 'state' | 'keyId' | 'nextKeyId'>, revision: number, sealer: KeyId) {
  const key = keyById(keys, sealer);
  if (key === null) throw new Error(`no key ${sealer}`);
  return sealSwitchRow({ ...next, revision, changedAtMs: 1, changedBy: 'ada@desk' }, key);
}

/** The table with another row, written by this program: it can be put back later. */
export function withRow<Of extends Pick<State, 'row' | 'newest'>>(state: Of, row: SwitchRow): Of {
  return { ...state, row, newest: row };
}

export function withHanded<Of extends Pick<State, 'handed'>>(state: Of, row: SwitchRow): Of {
  const isKnown = state.handed.some(({ seal }) => seal === row.seal);
  return isKnown ? state : { ...state, handed: [...state.handed, row] };
}

// The product's decisions over a state

const silent = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };

type Judge = { readonly vault: Vault; readonly renew: () => Promise<boolean>; readonly after: () => Host };

/** A real vault that holds what `held` says, over the parts of the state. `reading`: what its next refresh has read. */
export async function judgeOver(host: Host, held: Held | null, reading: Worker['reading'] = null): Promise<Judge> {
  let now = host;
  let files = held === null ? [] : [held.keys];
  let memories =
    held === null ? [] : [{ ...emptySwitchMemory, row: held.inForce.revision === 0 ? null : held.inForce }];
  let row = held === null ? host.row : held.stored;
  let isSeeded = held === null;
  const remember = async (row: SwitchRow, origin?: SwitchMemory['origin']) => {
    if (isSeeded) now = { ...now, memory: accepting(now.memory, row, origin) ?? now.memory };
  };
  const withdraw = async (seal: string) => {
    if (isSeeded) now = { ...now, memory: withdrawing(now.memory, seal) ?? now.memory };
  };
  const readMemory = async () => memories.shift() ?? now.memory;
  const read = async () => {
    const file = files.length > 0 ? (files.shift() ?? null) : now.file;
    return file === null || file.length === 0
      ? ({ kind: 'absent' } as const)
      : ({ kind: 'keys', keys: keySet(file), wrapped: null } as const);
  };
  const readSwitch = async () => ({
    row: isSeeded ? now.row : row,
    hasPlaintext: now.passwords.includes(null),
    hasSealed: now.passwords.some((key) => key !== null),
  });
  const vault = createVault({
    keyFile: { path: 'key', read },
    stateFile: { readMemory, remember, withdraw },
    store: { readSwitch },
    worker: { isDead: (owner) => owner !== 'command' || !now.isAlive },
    clock: { nowMs: () => 1, monotonicMs: () => 1 },
    log: silent,
  });
  if (!isSeeded) await vault.refresh();
  isSeeded = true;
  files = reading === null ? [] : [reading.file ?? []];
  memories = reading === null ? [] : [reading.memory];
  row = null;
  const unused = async () => undefined;
  const stateFile = {
    readMemory,
    remember,
    withdraw,
    read: async () => now.memory.row,
    issue: unused,
    overwrite: unused,
  };
  const writeSwitch = async (next: SwitchRow, expected: number) => {
    if (now.row.revision !== expected) throw new Failure('switch_changed', 'another row');
    now = withHanded(withRow(now, next), next);
  };
  const ports = { stateFile, vault, store: { readSwitch, writeSwitch }, actor: { who: 'ada@desk', host: 'desk' } };
  return { vault, renew: () => renewSwitch(ports), after: () => now };
}

function heldBy({ view, keys: open }: Vault): Held {
  return { keys: keyIds(open()), inForce: view.switch, stored: view.stored };
}

// Workers

/** The parts of the state that a worker reads and writes, and whether the command lives. */
export type Host = Pick<
  State,
  'file' | 'aside' | 'memory' | 'row' | 'newest' | 'handed' | 'passwords' | 'isFirstForeign'
> & { readonly isAlive: boolean };
type Step = { readonly name: string; readonly host: Host; readonly worker: Worker };

/**
 * What running daemons do between two effects of others: read, judge, seal, pass withdrawn rows, set a password. What a
 * worker does depends on few parts of the state, and is asked for once for each of their values.
 */
export function workerMoves(): Move {
  const known = new Map<string, readonly Step[]>();
  return async (state) => {
    const { file, aside, memory, row, newest, handed, passwords, isFirstForeign, command } = state;
    const isAlive = command !== null;
    const host: Host = { file, aside, memory, row, newest, handed, passwords, isFirstForeign, isAlive };
    const found: Transition[] = [];
    for (const [index, worker] of state.workers.entries()) {
      const code = situationCode(host, worker);
      const steps = known.get(code) ?? (await stepsOf(host, worker));
      known.set(code, steps);
      for (const { name, host: to, worker: next } of steps) {
        const { isAlive: _, ...parts } = to;
        const workers = state.workers.with(index, next);
        found.push({ name: `worker ${index + 1} ${name}`, to: { ...state, ...parts, workers } });
      }
    }
    return found;
  };
}

async function stepsOf(host: Host, worker: Worker): Promise<readonly Step[]> {
  const { prepared, isSlow, isSetter } = worker;
  const found: Step[] = [];
  if (prepared !== null) {
    const isKept = prepared.revision === host.row.revision;
    const passwords = host.passwords.with(0, prepared.key);
    const isFirstForeign = host.row.seal !== host.newest.seal;
    const to = isKept ? { ...host, passwords, isFirstForeign } : host;
    found.push({ name: 'writes its password', host: to, worker: { ...worker, prepared: null } });
  }
  const reading = { file: host.file, memory: host.memory };
  if (isSlow && worker.reading === null) {
    found.push({ name: 'reads its files', host, worker: { ...worker, reading } });
    return found;
  }
  const judge = await judgeOver(host, worker.held, worker.reading ?? reading);
  const view = await judge.vault.refresh();
  const judged: Worker = { ...worker, held: heldBy(judge.vault), reading: null };
  const offered = isSetter ? await preparedBy(judge.vault, view) : null;
  if (offered !== null) {
    const next = { ...judged, prepared: offered, isSetter: false };
    found.push({ name: 'prepares a password', host: judge.after(), worker: next });
  }
  found.push({ name: 'judges the row and sweeps', host: await swept(judge, view), worker: judged });
  return found;
}

/** The rest of an iteration of `sync.ts`: passes withdrawn rows, and seals plain text at the revision that it saw. */
async function swept({ vault, renew, after }: Judge, view: VaultView): Promise<Host> {
  if (view.isRenewalDue) await renew().catch(unlessFailure);
  const now = after();
  const key = sealingKeyId(view.switch);
  const isSealing = isEncryptionOn(view) && view.problem?.code !== 'key_unknown' && keyById(vault.keys(), key) !== null;
  if (!isSealing || view.stored?.revision !== now.row.revision) return now;
  return { ...now, passwords: now.passwords.map((sealed) => sealed ?? key) };
}

async function preparedBy(vault: Vault, view: VaultView): Promise<Worker['prepared']> {
  try {
    const { key, switchRevision } = await sealingInForce({ ...vault, view, refresh: async () => view });
    return { key: key?.id ?? null, revision: switchRevision };
  } catch (error) {
    return unlessFailure(error);
  }
}

export function unlessFailure(error: unknown): null {
  if (isFailure(error)) return null;
  throw error;
}

// The world's faults

/** The command dies, or the row in the table becomes an older one: each once. */
export const faults: Move = async (state) => {
  const { command, canCrash, canRollBack, handed, row } = state;
  const deaths =
    canCrash && command !== null
      ? [{ name: 'the command dies', to: { ...state, command: null, canCrash: false } }]
      : [];
  if (!canRollBack) return deaths;
  const others = handed.filter(({ seal }) => seal !== row.seal);
  const rollbacks = others.map((older) => ({
    name: `the row becomes ${older.state} of revision ${older.revision}`,
    to: { ...state, row: older, canRollBack: false },
  }));
  return [...deaths, ...rollbacks];
};

/** A worker dies instead, and starts again. */
export const workerDeaths: Move = async (state) => {
  if (!state.canCrash) return [];
  return state.workers.map((worker, index) => {
    const restarted = { ...worker, held: null, reading: null, prepared: null };
    const workers = state.workers.with(index, restarted);
    return { name: `worker ${index + 1} dies`, to: { ...state, workers, canCrash: false } };
  });
};

/** The state in which a command begins, long after the last change. */
export function beginning(kind: Command['kind']): State {
  const isOff = kind === 'enable';
  const older = [
    initialSwitchRow,
    sealedRow({ state: 'enabling', keyId: first, nextKeyId: null }, 1, first),
    sealedRow({ state: 'on', keyId: first, nextKeyId: null }, 2, first),
  ];
  const handed = isOff ? [initialSwitchRow] : older;
  const row = handed.at(-1) ?? initialSwitchRow;
  const file = isOff ? null : kind === 'reseal' ? [first, second] : [first];
  const worker: Worker = {
    held: { keys: file ?? [], inForce: row, stored: row },
    reading: null,
    prepared: null,
    isSetter: false,
    isSlow: false,
  };
  return {
    ...{ file, row, newest: row, handed },
    memory: isOff ? emptySwitchMemory : { ...emptySwitchMemory, row },
    passwords: isOff ? [null, null] : [first, kind === 'reseal' ? second : first],
    workers: [
      { ...worker, isSlow: true },
      { ...worker, isSetter: true },
    ],
    command: {
      ...{ kind, plan: [], awaited: null, rotated: null, wasOff: null, attempts: 0 },
      ...{ made: isOff ? first : third, hasMade: false },
    },
    ...{ aside: [], isFirstForeign: false, canCrash: true, canRollBack: true },
  };
}
