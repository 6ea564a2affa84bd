/**
 * Key vault: the open keys and the switch in force, reloaded without a restart. Every trigger calls `refresh`.
 *
 * Parse, validate, swap: `refresh` reads key file and switch row, accepts the row only by the rules of
 * `secret/switch.ts`, and retains the last good state otherwise. A change of state is logged once. While the database
 * is unavailable the switch stays as it was; at the start it is the one in the switch state file.
 *
 *     closed -> open -> orphaned -> open      key file missing or refused: work continues with the keys in memory
 *     closed -> missing | refused -> open     the switch is on, no usable key was read yet: mailboxes wait
 */

import type { Clock } from '../async/clock.ts';
import { coalesce } from '../async/single-flight.ts';
import { asFailure, Failure, isFailure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import type { WorkerIdentity } from '../ingest/ports.ts';
import { type KeyId, type KeySet, keyById, keyIds, weakKeyFailure, weakKeyRemedy } from '../secret/key.ts';
import {
  initialSwitchRow,
  isSameSwitchRow,
  judgeSwitchRow,
  requiredKeyIds,
  type SwitchJudgement,
  type SwitchRow,
} from '../secret/switch.ts';
import { hints } from '../text/hints.ts';
import type { EncryptionStore, KeyFile, KeyFileReading, SwitchReading, SwitchStateFile } from './ports.ts';
import {
  emptySwitchMemory,
  issuedOf,
  originOf,
  renewalDue,
  type SwitchMemory,
  type SwitchOrigin,
} from './switch-memory.ts';

/** `closed`: no key file, and none is needed. */
export type VaultState =
  | { readonly kind: 'closed' }
  | { readonly kind: 'open'; readonly keys: KeySet }
  /** The switch is on and there is no key file. */
  | { readonly kind: 'missing'; readonly failure: Failure }
  /** The key file cannot be used, or lacks a key that the switch names; `keys`: those that it has. */
  | { readonly kind: 'refused'; readonly keys: KeySet; readonly failure: Failure }
  /** The key file disappeared or is refused; work continues with the keys in memory. */
  | { readonly kind: 'orphaned'; readonly keys: KeySet; readonly failure: Failure };

export type VaultView = {
  readonly state: VaultState;
  /** The switch in force: the row that was accepted last. */
  readonly switch: SwitchRow;
  /** What issued that row on this host; null: another host did. */
  readonly origin: SwitchOrigin | null;
  /** The row in the table. */
  readonly stored: SwitchRow | null;
  /** An issued row was withdrawn: the switch in force is to be written again above it. */
  readonly isRenewalDue: boolean;
  /** A password is stored in plain text. */
  readonly hasPlaintext: boolean;
  /** Since when that was so at each refresh, by the monotonic clock; null: it is not. */
  readonly plaintextSinceMs: number | null;
  /**
   * Why the row in the table is not in force: `switch_forged`, `switch_rolled_back`, `key_unknown`, `disk_failed`;
   * null: it is.
   */
  readonly problem: Failure | null;
  /** Start of the present state of the vault, and of the present problem. */
  readonly stateSinceMs: number;
  readonly problemSinceMs: number;
};

export interface Vault {
  /** State of the last refresh; before the first: closed, off. */
  readonly view: VaultView;
  /**
   * Reads key file and switch, judges, swaps. One at a time: who asks meanwhile gets one that began after the asking.
   */
  refresh(): Promise<VaultView>;
  /** The open keys. */
  keys(): KeySet;
  /** The last usable key file when it is protected by a passphrase; null: unprotected. */
  wrapped(): Uint8Array | null;
}

/** True while workers seal every plain-text password: not while an operation enables or disables encryption. */
export function isEncryptionOn({ switch: { state } }: Pick<VaultView, 'switch'>): boolean {
  return state === 'on' || state === 'rotating';
}

/**
 * Refusal to believe an `off` that no row ever proved here while there is a key file, which `disable` would have
 * renamed; null: off is known, or it is not off. A writer of the database can delete the row, but not the key file.
 */
export function unprovenOff({ state, switch: { revision }, problem }: VaultView): Failure | null {
  if (problem !== null || revision !== initialSwitchRow.revision) return null;
  if (state.kind === 'closed') return null;
  if (state.kind !== 'open') return state.failure;
  const message = 'there is a key file, and encryption was never enabled: no password is stored in plain text then';
  return new Failure('refused', message, { hint: hints.enableOrTrust });
}

export type VaultPorts = {
  readonly keyFile: Pick<KeyFile, 'read' | 'path'>;
  readonly stateFile: Pick<SwitchStateFile, 'readMemory' | 'remember' | 'withdraw'>;
  readonly store: Pick<EncryptionStore, 'readSwitch'>;
  readonly worker: Pick<WorkerIdentity, 'isDead'>;
  readonly clock: Pick<Clock, 'nowMs' | 'monotonicMs'>;
  readonly log: Log;
};

/** A vault, closed until its first refresh. */
export function createVault(ports: VaultPorts): Vault {
  const nowMs = ports.clock.nowMs();
  let wrapped: Uint8Array | null = null;
  let memory: SwitchMemory = emptySwitchMemory;
  let view: VaultView = {
    state: { kind: 'closed' },
    switch: initialSwitchRow,
    origin: null,
    stored: null,
    isRenewalDue: false,
    hasPlaintext: false,
    plaintextSinceMs: null,
    problem: null,
    stateSinceMs: nowMs,
    problemSinceMs: nowMs,
  };
  const readAndJudge = async (): Promise<VaultView> => {
    const seen = await observe(ports, view, memory);
    memory = seen.memory;
    if (seen.file.kind === 'keys') wrapped = seen.file.wrapped;
    const next = nextView(seen, view, ports);
    await recordDecisions(ports, seen);
    logChanges(view, next, ports);
    view = next;
    return view;
  };
  return {
    get view() {
      return view;
    },
    refresh: coalesce(readAndJudge),
    keys: () => keysOf(view.state),
    wrapped: () => wrapped,
  };
}

type Observation = {
  readonly file: KeyFileReading;
  readonly remembered: SwitchRow | null;
  /** Of the switch state file; where that cannot be used, what it held before. */
  readonly memory: SwitchMemory;
  /** Why the switch state file cannot be used. */
  readonly stateFileFailure: Failure | null;
  /** null: the database is unavailable. */
  readonly reading: SwitchReading | null;
  readonly verdict: SwitchJudgement | null;
  /** The row in the table is one that a live process issued, and has not reported as written: not in force yet. */
  readonly isPending: boolean;
  /** Seals of issued rows that their process left behind when it died, outside the table. */
  readonly abandoned: readonly string[];
};

/**
 * Reads the key file before the row, and again when the row needs a key that the file lacks: an operation writes the
 * file first when it adds a key, and last when it removes one.
 */
async function observe(ports: VaultPorts, view: VaultView, before: SwitchMemory): Promise<Observation> {
  let file = await ports.keyFile.read();
  const recalled = await recallSwitch(ports, view, before);
  const { remembered } = recalled;
  const reading = await readRow(ports);
  if (reading === null) return { ...recalled, file, reading, verdict: null, isPending: false, abandoned: [] };
  // Whether a new row was issued here, and withdrawn, is known only after it was read.
  const isNews = (reading.row?.revision ?? 0) > (remembered?.revision ?? 0);
  const { memory } = isNews ? await recallSwitch(ports, view, recalled.memory) : recalled;
  const standing = standingOf(memory, reading.row, ports);
  const judge = (): SwitchJudgement => {
    const verdict = judgeSwitchRow(reading.row, unionOfKeys(keysIn(file), keysOf(view.state)), remembered);
    if (verdict.kind === 'accepted' && standing === 'withdrawn') return withdrawnRow;
    return reading.hasSealed ? distrustUnprovenOff(verdict) : verdict;
  };
  let verdict = judge();
  if (verdict.kind === 'unverified' || (verdict.kind === 'accepted' && !holdsRequiredKeys(keysIn(file), verdict.row))) {
    file = await ports.keyFile.read();
    verdict = judge();
  }
  const isPending = verdict.kind === 'accepted' && standing === 'pending';
  const abandoned = memory.issued.filter(
    ({ by, seal }) => by !== null && seal !== reading.row?.seal && ports.worker.isDead(by),
  );
  return { ...recalled, memory, file, reading, verdict, isPending, abandoned: abandoned.map(({ seal }) => seal) };
}

const withdrawnRow: SwitchJudgement = {
  kind: 'rolled_back',
  reason: 'it was withdrawn, since the operation that sealed it could not store it',
};

/**
 * Standing of a row that was issued on this host; null: it was not. The row of a process that died counts only where it
 * is in the table at the first look, which resumes what the operator began.
 */
function standingOf(
  memory: SwitchMemory,
  row: SwitchRow | null,
  { worker }: Pick<VaultPorts, 'worker'>,
): 'pending' | 'withdrawn' | null {
  const issued = issuedOf(memory, row);
  if (issued === null) return null;
  if (issued.by === null) return 'withdrawn';
  return worker.isDead(issued.by) ? null : 'pending';
}

/** Rejects an unproven `off` while sealed passwords show that encryption has been on. */
function distrustUnprovenOff(verdict: SwitchJudgement): SwitchJudgement {
  const isProven = verdict.kind !== 'accepted' || (verdict.row.revision > 0 && verdict.unproven !== true);
  if (isProven) return verdict;
  return { kind: 'rolled_back', reason: 'it is off, and passwords in the table are sealed' };
}

type RememberedSwitch = Pick<Observation, 'remembered' | 'memory' | 'stateFileFailure'>;

/**
 * The newer of the row in this process and in the state file; a state file with an older revision was restored by an
 * operator.
 */
async function recallSwitch(
  ports: VaultPorts,
  { switch: inForce }: VaultView,
  before: SwitchMemory,
): Promise<RememberedSwitch> {
  try {
    const memory = await ports.stateFile.readMemory();
    const { row } = memory;
    const isWrittenBack = row !== null && before.row !== null && row.revision < before.row.revision;
    const isOlder = inForce.revision > (row?.revision ?? 0);
    return { remembered: isOlder && !isWrittenBack ? inForce : row, memory, stateFileFailure: null };
  } catch (error) {
    if (!isFailure(error)) throw error;
    return { remembered: inForce.revision > 0 ? inForce : null, memory: before, stateFileFailure: error };
  }
}

async function readRow({ store }: VaultPorts): Promise<SwitchReading | null> {
  try {
    return await store.readSwitch();
  } catch (error) {
    // The scheduler logs an unavailable database.
    if (isFailure(error) && error.domain === 'database') return null;
    throw asFailure(error);
  }
}

/** A write error shows as a problem of the next refresh; the switch takes effect regardless. */
async function recordDecisions(ports: VaultPorts, seen: Observation): Promise<void> {
  try {
    await rememberRow(ports, seen);
    for (const seal of seen.abandoned) await ports.stateFile.withdraw(seal);
  } catch (error) {
    if (!isFailure(error, 'disk_failed', 'disk_full')) throw error;
  }
}

async function rememberRow(ports: VaultPorts, { verdict, remembered, isPending }: Observation): Promise<void> {
  if (verdict?.kind !== 'accepted' || verdict.unproven === true || isPending) return;
  const { row } = verdict;
  if (row.revision === 0 || (remembered !== null && isSameSwitchRow(row, remembered))) return;
  await ports.stateFile.remember(row);
}

function nextView(seen: Observation, view: VaultView, ports: VaultPorts): VaultView {
  const { verdict, reading, remembered, memory, isPending } = seen;
  const nowMs = ports.clock.nowMs();
  const inForce = verdict?.kind === 'accepted' && !isPending ? verdict.row : (remembered ?? view.switch);
  // Without a remembered switch, an unverifiable row names the key that is needed.
  const wanted = verdict?.kind === 'unverified' && remembered === null ? [verdict.keyId] : requiredKeyIds(inForce);
  const state = stateOf(seen.file, wanted, keysOf(view.state), ports.keyFile.path);
  const problem = seen.stateFileFailure ?? problemOf(verdict);
  return {
    state,
    switch: inForce,
    origin: originOf(memory, inForce),
    // A password that is sealed for the row in force must not pass as sealed for a pending one.
    stored: reading === null ? view.stored : isPending ? inForce : reading.row,
    isRenewalDue: reading !== null && renewalDue(memory, reading.row) !== null,
    hasPlaintext: reading?.hasPlaintext ?? false,
    plaintextSinceMs: reading?.hasPlaintext === true ? (view.plaintextSinceMs ?? ports.clock.monotonicMs()) : null,
    problem,
    stateSinceMs: isSameState(state, view.state) ? view.stateSinceMs : nowMs,
    problemSinceMs: problem?.code === view.problem?.code ? view.problemSinceMs : nowMs,
  };
}

function problemOf(verdict: SwitchJudgement | null): Failure | null {
  if (verdict === null || verdict.kind === 'accepted') return null;
  if (verdict.kind === 'forged')
    return new Failure('switch_forged', `the row in encryption_switch is not trusted: ${verdict.reason}`);
  if (verdict.kind === 'rolled_back')
    return new Failure('switch_rolled_back', `the row in encryption_switch was rolled back: ${verdict.reason}`, {
      ...(verdict === withdrawnRow ? { hint: hints.switchWithdrawn } : {}),
    });
  const message = `the row in encryption_switch is sealed by key ${verdict.keyId}, which is not in the key file`;
  return new Failure('key_unknown', message, { fields: { key_id: verdict.keyId }, hint: hints.keyFromWorker });
}

function stateOf(file: KeyFileReading, wanted: readonly KeyId[], inMemory: KeySet, path: string): VaultState {
  const isInMemory = wanted.length > 0 && wanted.every((id) => keyById(inMemory, id) !== null);
  const lacking = wanted.find((id) => keyById(keysIn(file), id) === null);
  if (file.kind === 'keys' && lacking === undefined) return { kind: 'open', keys: file.keys };
  if (file.kind === 'absent' && lacking === undefined) return { kind: 'closed' };
  const failure =
    file.kind === 'refused' ? file.failure : lackingKeyFailure(lacking ?? '', file.kind === 'absent', path, isInMemory);
  if (isInMemory) return { kind: 'orphaned', keys: unionOfKeys(inMemory, keysIn(file)), failure };
  return file.kind === 'absent' ? { kind: 'missing', failure } : { kind: 'refused', keys: keysIn(file), failure };
}

/** Only a process with the key in memory can recover the key file. */
function lackingKeyFailure(keyId: KeyId, isAbsent: boolean, path: string, isInMemory: boolean): Failure {
  const fields = { key_id: keyId };
  if (isAbsent) {
    const hint = isInMemory ? hints.keyBackOrRecover : hints.keyBack;
    const message = `there is no key file at ${path}, and key ${keyId} is needed`;
    return new Failure('key_file_missing', message, { fields, hint });
  }
  return new Failure('key_file_refused', `the key file at ${path} lacks key ${keyId}, which is needed`, {
    fields,
    hint: isInMemory ? hints.keyWithIdBackOrRecover : hints.keyWithIdBack,
  });
}

function keysIn(file: KeyFileReading): KeySet {
  return file.kind === 'keys' ? file.keys : [];
}

function keysOf(state: VaultState): KeySet {
  return 'keys' in state ? state.keys : [];
}

function unionOfKeys(first: KeySet, second: KeySet): KeySet {
  return [...first, ...second.filter(({ id }) => keyById(first, id) === null)];
}

function holdsRequiredKeys(keys: KeySet, row: SwitchRow): boolean {
  return requiredKeyIds(row).every((id) => keyById(keys, id) !== null);
}

function isSameState(a: VaultState, b: VaultState): boolean {
  const codeOf = (state: VaultState) => ('failure' in state ? `${state.failure.code} ${state.failure.message}` : '');
  return a.kind === b.kind && codeOf(a) === codeOf(b) && keyIds(keysOf(a)).join() === keyIds(keysOf(b)).join();
}

/** Logs each state, switch and problem once, when it begins. */
function logChanges(before: VaultView, now: VaultView, { log, keyFile }: Pick<VaultPorts, 'log' | 'keyFile'>): void {
  logSwitchChanges(before, now, log);
  if (isSameState(before.state, now.state)) return;
  const { state } = now;
  const fields = { key_ids: keyIds(keysOf(state)) };
  if (state.kind === 'open') log.info(fields, events.vaultOpened);
  else if (state.kind === 'closed') log.info({}, events.vaultClosed);
  else if (state.kind === 'missing') log.error({ error: state.failure }, events.vaultMissing);
  else if (state.kind === 'refused') log.error({ ...fields, error: state.failure }, events.vaultRefused);
  else log.error({ ...fields, error: state.failure }, events.vaultOrphaned);
  for (const key of keysOf(state).filter(({ weakness }) => weakness !== null))
    log.warn({ key_id: key.id, error: weakKeyFailure(keyFile.path, key, weakKeyRemedy) }, events.vaultKeyWeak);
}

function logSwitchChanges(before: VaultView, now: VaultView, log: Log): void {
  const { state, keyId, nextKeyId, revision, changedBy } = now.switch;
  const fields = { state, key_id: keyId, next_key_id: nextKeyId, revision, changed_by: changedBy };
  if (!isSameSwitchRow(before.switch, now.switch)) log.info(fields, events.switchChanged);
  const { problem } = now;
  if (problem?.code === before.problem?.code) return;
  if (problem === null) log.info(fields, events.switchRecovered);
  else if (problem.code === 'switch_rolled_back') log.error({ ...fields, error: problem }, events.switchRolledBack);
  else if (problem.code === 'key_unknown') log.error({ ...fields, error: problem }, events.switchUnverified);
  else if (problem.code === 'switch_forged') log.error({ ...fields, error: problem }, events.switchForged);
  else log.error({ ...fields, error: problem }, events.switchStateFileInvalid);
}
