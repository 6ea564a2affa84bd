/**
 * The vault: which keys are open, and which switch is in force. Every trigger ends in its one function, `refresh`.
 *
 * Read, judge, swap: key file and switch row are read, the row is believed only if the rules of `secret/switch.ts` allow
 * it, and what was good stays until something better is there. A state is told once, when it begins. The database may
 * be away: then the switch stays what it was, at the start what the memory file says.
 *
 *     closed -> open -> orphaned -> open      the key file vanished or went bad while we run: work goes on
 *     closed -> missing | refused -> open     the switch is on, and no usable key was seen yet: mailboxes wait
 */

import type { Clock } from '../async/clock.ts';
import { asFailure, Failure, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import { type KeyId, type KeySet, keyById, keyIds } from '../secret/key.ts';
import { firstRow, isSameRow, judgeSwitch, neededKeys, type SwitchRow, type Verdict } from '../secret/switch.ts';
import type { EncryptionStore, KeyFile, KeyFileReading, SwitchMemory, SwitchReading } from './ports.ts';

/** The part that holds keys. `closed`: no key file, and none is needed. */
export type VaultState =
  | { readonly kind: 'closed' }
  | { readonly kind: 'open'; readonly keys: KeySet }
  /** The switch is on and there is no key file. */
  | { readonly kind: 'missing'; readonly failure: Failure }
  /** There is a key file that cannot be used, or it lacks the key that the switch names; `keys` are those that it has. */
  | { readonly kind: 'refused'; readonly keys: KeySet; readonly failure: Failure }
  /** The key file vanished or went bad while we run: work goes on with the keys in memory. */
  | { readonly kind: 'orphaned'; readonly keys: KeySet; readonly failure: Failure };

export type VaultView = {
  readonly state: VaultState;
  /** The switch in force: the last row that was believed. */
  readonly switch: SwitchRow;
  /** What the table holds. */
  readonly stored: SwitchRow | null;
  /** A password stands readable in the table. */
  readonly hasPlain: boolean;
  /** Why the row in the table is not in force: `switch_forged`, `switch_rolled_back`, `key_unknown`, `disk_failed`; null: it is. */
  readonly problem: Failure | null;
  /** Since when the state of the vault, and the problem, are what they are. */
  readonly stateSinceMs: number;
  readonly problemSinceMs: number;
};

export interface Vault {
  /** As of the last refresh; before the first: closed, off. */
  readonly view: VaultView;
  /** Reads key file and switch, judges, swaps. One at a time: who asks meanwhile gets one that began after the asking. */
  refresh(): Promise<VaultView>;
  /** The keys that are open. */
  keys(): KeySet;
  /** The key file as it was when it was last good and protected by a passphrase; null for a bare one. */
  wrapped(): Uint8Array | null;
}

export type VaultPorts = {
  readonly keyFile: Pick<KeyFile, 'read' | 'path'>;
  readonly memory: Pick<SwitchMemory, 'read' | 'remember'>;
  readonly store: Pick<EncryptionStore, 'readSwitch'>;
  readonly clock: Pick<Clock, 'nowMs'>;
  readonly log: Log;
};

/** A vault that is closed until its first refresh. */
export function createVault(ports: VaultPorts): Vault {
  const nowMs = ports.clock.nowMs();
  let wrapped: Uint8Array | null = null;
  let fileRow: SwitchRow | null = null;
  let view: VaultView = {
    state: { kind: 'closed' },
    switch: firstRow,
    stored: null,
    hasPlain: false,
    problem: null,
    stateSinceMs: nowMs,
    problemSinceMs: nowMs,
  };
  const look = async (): Promise<VaultView> => {
    const seen = await observe(ports, view, fileRow);
    if (seen.fileRow !== undefined) fileRow = seen.fileRow;
    if (seen.file.kind === 'keys') wrapped = seen.file.wrapped;
    const next = decide(seen, view, ports);
    await rememberRow(ports, seen);
    tell(view, next, ports.log);
    view = next;
    return view;
  };
  return {
    get view() {
      return view;
    },
    refresh: oneAtATime(look),
    keys: () => keysOf(view.state),
    wrapped: () => wrapped,
  };
}

/** Calls `task` once at a time; a call during a run shares the one that follows it. */
function oneAtATime<T>(task: () => Promise<T>): () => Promise<T> {
  let running: Promise<T> | null = null;
  let following: Promise<T> | null = null;
  const start = (): Promise<T> => {
    const run = task().finally(() => {
      if (running === run) running = null;
    });
    running = run;
    return run;
  };
  return () => {
    if (running === null) return start();
    following ??= running.then(settled, settled).then(() => {
      following = null;
      return start();
    });
    return following;
  };
}

function settled(): void {
  // Whether the run before succeeded does not matter to the one after it.
}

type Seen = {
  readonly file: KeyFileReading;
  readonly remembered: SwitchRow | null;
  /** What the memory file says; undefined when it cannot be understood. */
  readonly fileRow: SwitchRow | null | undefined;
  /** The memory file cannot be understood. */
  readonly memoryFailure: Failure | null;
  /** null: the database does not answer. */
  readonly reading: SwitchReading | null;
  readonly verdict: Verdict | null;
};

/**
 * The file is read before the row and, where the row needs a key that is not there, once more after it: an operation
 * writes the file first when it adds a key, and last when it takes one away.
 */
async function observe(ports: VaultPorts, view: VaultView, fileRowBefore: SwitchRow | null): Promise<Seen> {
  let file = await ports.keyFile.read();
  const recalled = await recall(ports, view, fileRowBefore);
  const { remembered } = recalled;
  const reading = await readRow(ports);
  if (reading === null) return { ...recalled, file, reading, verdict: null };
  const judge = (): Verdict => {
    const verdict = judgeSwitch(reading.row, joined(keysIn(file), keysOf(view.state)), remembered);
    return reading.hasSealed ? doubted(verdict) : verdict;
  };
  let verdict = judge();
  if (verdict.kind === 'unverified' || (verdict.kind === 'accepted' && !holds(keysIn(file), verdict.row))) {
    file = await ports.keyFile.read();
    verdict = judge();
  }
  return { ...recalled, file, reading, verdict };
}

/** An `off` that nobody proved is not believed while passwords in the table say that encryption has been on. */
function doubted(verdict: Verdict): Verdict {
  const isProven = verdict.kind !== 'accepted' || (verdict.row.revision > 0 && verdict.unproven !== true);
  if (isProven) return verdict;
  return { kind: 'rolled_back', why: 'it says that encryption is off, and passwords in the table are sealed' };
}

type Recalled = Pick<Seen, 'remembered' | 'fileRow' | 'memoryFailure'>;

/** The newer of what this process and the memory file know; but a file that went back was written so by a person. */
async function recall(ports: VaultPorts, { switch: inForce }: VaultView, before: SwitchRow | null): Promise<Recalled> {
  try {
    const fileRow = await ports.memory.read();
    const isWrittenBack = fileRow !== null && before !== null && fileRow.revision < before.revision;
    const isOlder = inForce.revision > (fileRow?.revision ?? 0);
    return { remembered: isOlder && !isWrittenBack ? inForce : fileRow, fileRow, memoryFailure: null };
  } catch (error) {
    if (!isFailure(error)) throw error;
    return { remembered: inForce.revision > 0 ? inForce : null, fileRow: undefined, memoryFailure: error };
  }
}

async function readRow({ store }: VaultPorts): Promise<SwitchReading | null> {
  try {
    return await store.readSwitch();
  } catch (error) {
    // The scheduler tells that the database is away.
    if (isFailure(error) && error.code.startsWith('database_')) return null;
    throw asFailure(error);
  }
}

/** That it cannot be written down is told as a problem of the next look; what is in force does not wait for it. */
async function rememberRow(ports: VaultPorts, { verdict, remembered }: Seen): Promise<void> {
  if (verdict?.kind !== 'accepted' || verdict.unproven === true) return;
  const { row } = verdict;
  if (row.revision === 0 || (remembered !== null && isSameRow(row, remembered))) return;
  try {
    await ports.memory.remember(row);
  } catch (error) {
    if (!isFailure(error, 'disk_failed', 'disk_full')) throw error;
  }
}

function decide(seen: Seen, view: VaultView, ports: VaultPorts): VaultView {
  const { verdict, reading, remembered } = seen;
  const nowMs = ports.clock.nowMs();
  const inForce = verdict?.kind === 'accepted' ? verdict.row : (remembered ?? view.switch);
  // Without any memory of a switch, a row that a key of ours would open says which key is wanted.
  const wanted = verdict?.kind === 'unverified' && remembered === null ? [verdict.keyId] : neededKeys(inForce);
  const state = stateOf(seen.file, wanted, keysOf(view.state), ports.keyFile.path);
  const problem = seen.memoryFailure ?? problemOf(verdict);
  return {
    state,
    switch: inForce,
    stored: reading === null ? view.stored : reading.row,
    hasPlain: reading?.hasPlain ?? false,
    problem,
    stateSinceMs: isSameState(state, view.state) ? view.stateSinceMs : nowMs,
    problemSinceMs: problem?.code === view.problem?.code ? view.problemSinceMs : nowMs,
  };
}

function problemOf(verdict: Verdict | null): Failure | null {
  if (verdict === null || verdict.kind === 'accepted') return null;
  if (verdict.kind === 'forged')
    return new Failure('switch_forged', `the row in encryption_switch is not trusted: ${verdict.why}`);
  if (verdict.kind === 'rolled_back')
    return new Failure('switch_rolled_back', `the row in encryption_switch went back: ${verdict.why}`);
  const message = `the row in encryption_switch is sealed by key ${verdict.keyId}, which is not in the key file`;
  return new Failure('key_unknown', message, { fields: { key_id: verdict.keyId } });
}

function stateOf(file: KeyFileReading, wanted: readonly KeyId[], inMemory: KeySet, path: string): VaultState {
  const isInMemory = wanted.length > 0 && wanted.every((id) => keyById(inMemory, id) !== null);
  const lacking = wanted.find((id) => keyById(keysIn(file), id) === null);
  if (file.kind === 'keys' && lacking === undefined) return { kind: 'open', keys: file.keys };
  if (file.kind === 'absent' && lacking === undefined) return { kind: 'closed' };
  const failure =
    file.kind === 'refused' ? file.failure : lackOf(lacking ?? '', file.kind === 'absent', path, isInMemory);
  if (isInMemory) return { kind: 'orphaned', keys: joined(inMemory, keysIn(file)), failure };
  return file.kind === 'absent' ? { kind: 'missing', failure } : { kind: 'refused', keys: keysIn(file), failure };
}

/** Only what still holds the key can write it back. */
function lackOf(keyId: KeyId, isAbsent: boolean, path: string, isInMemory: boolean): Failure {
  const fields = { key_id: keyId };
  const rescue = isInMemory ? ', or let the running daemon write it: ticketmaild key rescue' : '';
  const hint = `Put the key file${isAbsent ? '' : ' with that key'} back from its backup${rescue}.`;
  if (isAbsent) {
    const message = `there is no key file at ${path}, and key ${keyId} is needed`;
    return new Failure('key_file_missing', message, { fields, hint });
  }
  return new Failure('key_file_refused', `the key file at ${path} does not hold key ${keyId}, which is needed`, {
    fields,
    hint,
  });
}

function keysIn(file: KeyFileReading): KeySet {
  return file.kind === 'keys' ? file.keys : [];
}

function keysOf(state: VaultState): KeySet {
  return 'keys' in state ? state.keys : [];
}

function joined(first: KeySet, second: KeySet): KeySet {
  return [...first, ...second.filter(({ id }) => keyById(first, id) === null)];
}

function holds(keys: KeySet, row: SwitchRow): boolean {
  return neededKeys(row).every((id) => keyById(keys, id) !== null);
}

function isSameState(a: VaultState, b: VaultState): boolean {
  const codeOf = (state: VaultState) => ('failure' in state ? `${state.failure.code} ${state.failure.message}` : '');
  return a.kind === b.kind && codeOf(a) === codeOf(b) && keyIds(keysOf(a)).join() === keyIds(keysOf(b)).join();
}

/** Each state, switch and problem is told once, when it begins. */
function tell(before: VaultView, now: VaultView, log: Log): void {
  tellSwitch(before, now, log);
  if (isSameState(before.state, now.state)) return;
  const { state } = now;
  const fields = { key_ids: keyIds(keysOf(state)) };
  if (state.kind === 'open') log.info(fields, events.vaultOpened);
  else if (state.kind === 'closed') log.info({}, events.vaultClosed);
  else if (state.kind === 'missing') log.error({ error: state.failure }, events.vaultMissing);
  else if (state.kind === 'refused') log.error({ ...fields, error: state.failure }, events.vaultRefused);
  else log.error({ ...fields, error: state.failure }, events.vaultOrphaned);
}

function tellSwitch(before: VaultView, now: VaultView, log: Log): void {
  const { state, keyId, nextKeyId, revision, changedBy } = now.switch;
  const fields = { state, key_id: keyId, next_key_id: nextKeyId, revision, changed_by: changedBy };
  if (!isSameRow(before.switch, now.switch)) log.info(fields, events.switchChanged);
  const { problem } = now;
  if (problem?.code === before.problem?.code) return;
  if (problem === null) log.info(fields, events.switchRecovered);
  else if (problem.code === 'switch_rolled_back') log.error({ ...fields, error: problem }, events.switchRolledBack);
  else if (problem.code === 'key_unknown') log.error({ ...fields, error: problem }, events.switchUnverified);
  else if (problem.code === 'switch_forged') log.error({ ...fields, error: problem }, events.switchForged);
  else log.error({ ...fields, error: problem }, events.switchStateFileInvalid);
}
