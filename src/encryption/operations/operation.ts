/**
 * Resumable operation on the switch: ports, progress, the claim that excludes a second operation, compare-and-swap
 * changes.
 *
 * An operation is a state machine: each step reads the switch in force and does the next thing, so an interrupted one
 * resumes when it is run again. A row that is not accepted ends it with that failure (`switch_forged`,
 * `switch_rolled_back`, `key_unknown`, `disk_failed`); a stop is `interrupted`, a claim of another owner
 * `operation_running`.
 */

import type { Clock } from '../../async/clock.ts';
import { Failure, hintOf, isFailure } from '../../errors.ts';
import type { AuditActor } from '../../ingest/model.ts';
import type { WorkerIdentity } from '../../ingest/ports.ts';
import { liveWorkers, workerPlace } from '../../ingest/scheduler/workers.ts';
import { type Key, type KeyId, type KeySet, keyById, weakKeyFailure } from '../../secret/key.ts';
import { type SwitchRow, type SwitchState, sealSwitchRow } from '../../secret/switch.ts';
import { hints } from '../../text/hints.ts';
import { shellArg } from '../../text/shell.ts';
import type { AuditEntry, EncryptionStore, KeyFile, StoredWorker, SwitchStateFile } from '../ports.ts';
import { revisionAbove, type SwitchOrigin } from '../switch-memory.ts';
import type { BindingOf } from '../token-rows.ts';
import type { Vault, VaultView } from '../vault.ts';
import { memoryOf, renewSwitch, writeIssued } from './issue.ts';
import type { OperationStep } from './steps.ts';

export type OperationPorts = {
  readonly keyFile: KeyFile;
  readonly stateFile: SwitchStateFile;
  readonly store: EncryptionStore;
  readonly vault: Vault;
  readonly clock: Clock;
  readonly worker: WorkerIdentity;
  readonly actor: AuditActor;
  readonly origin: SwitchOrigin;
  /** Fills with random bytes. */
  readonly random: (bytes: Uint8Array) => Uint8Array;
  readonly bindingOf: BindingOf;
  readonly observer: OperationObserver;
};

/** Observer of a running operation: receives steps and progress, for terminal and page. */
export type OperationObserver = {
  /** A completed step. */
  step(step: OperationStep): void;
  /** Passwords, or tokens, that were seen of all of them. */
  passwords(done: number, total: number): void;
  /** Live workers without the key, at each check; empty: every live worker has it. */
  workersWithoutKey(lacking: readonly StoredWorker[]): void;
};

export type OperationOptions = {
  /** Continue although live workers lack the key. */
  readonly force: boolean;
  /** How long to wait for them. */
  readonly waitMs: number;
  /** Stops the operation at the next safe point: `interrupted`. */
  readonly signal: AbortSignal;
};

/** A password, or the refresh token of a grant, that could not be opened or sealed, and why. */
export type UnopenedSecret = {
  /** Of a password. */
  readonly mailbox?: string | undefined;
  /** Of a refresh token. */
  readonly grant?: string | undefined;
  readonly code: string;
  readonly message: string;
};

/** A running operation with the claim on the switch. */
export type Operation = {
  readonly ports: OperationPorts;
  /** Aborts when the operation has to stop. */
  readonly stopping: AbortSignal;
  /** Throws `interrupted` or `operation_running` when it has to stop; called at safe points. */
  throwIfStopped(): void;
};

const claimMs = 30_000;
const attemptsMax = 5;

/**
 * Runs an operation: with the claim on the switch, steps until one returns a result. Every operation begins here, and
 * throws `operation_running`, `interrupted`, `disk_*` and `database_*` beside its own failures.
 */
export async function runOperation<T>(
  ports: OperationPorts,
  stop: AbortSignal,
  step: (operation: Operation) => Promise<T | null>,
): Promise<T> {
  return await withClaim(ports, stop, (operation) => runSteps(operation, step));
}

/** Throws `operation_running` when another operation has the claim. */
async function withClaim<T>(
  ports: OperationPorts,
  stop: AbortSignal,
  work: (operation: Operation) => Promise<T>,
): Promise<T> {
  const { store, worker } = ports;
  const owner = await store.claimOperation(worker.name, claimMs, (other) => worker.isDead(other));
  if (owner !== null) {
    throw new Failure('operation_running', `another operation on the switch is running in ${owner}`, {
      fields: { owner },
    });
  }
  using claim = startClaimRenewal(ports);
  const throwIfStopped = () => {
    if (claim.lost.aborted)
      throw new Failure('operation_running', 'another operation has taken over the claim on the switch');
    if (stop.aborted) throw interrupted();
  };
  try {
    return await work({ ports, stopping: AbortSignal.any([stop, claim.lost]), throwIfStopped });
  } finally {
    await releaseClaim(ports);
  }
}

function interrupted(): Failure {
  const hint = 'Run the same command again: it resumes where this one ended.';
  return new Failure('interrupted', 'the operation was stopped on request before it finished', { hint });
}

/** Renews the claim every third of its length until disposed. `lost` aborts when another owner has it. */
function startClaimRenewal(ports: OperationPorts): Disposable & { readonly lost: AbortSignal } {
  const lost = new AbortController();
  const ended = new AbortController();
  void renewUntilEnded(ports, lost, ended.signal);
  return { lost: lost.signal, [Symbol.dispose]: () => ended.abort() };
}

/** An unavailable database loses nothing: the claim lasts until its end. */
async function renewUntilEnded(ports: OperationPorts, lost: AbortController, ended: AbortSignal): Promise<void> {
  while (!ended.aborted && !lost.signal.aborted) {
    await ports.clock.sleep(claimMs / 3, ended);
    if (ended.aborted) return;
    try {
      await ports.store.renewOperation(ports.worker.name, claimMs);
    } catch (error) {
      if (isFailure(error, 'operation_running')) lost.abort();
    }
  }
}

/** Ignores a failure: the claim expires anyway, and the result of the operation matters more. */
async function releaseClaim({ store, worker }: OperationPorts): Promise<void> {
  try {
    await store.endOperation(worker.name);
  } catch (error) {
    if (!isFailure(error)) throw error;
  }
}

/** Repeats a step when the switch was changed meanwhile, 5 times at most. No step follows a withdrawn row. */
async function runSteps<T>(operation: Operation, step: (operation: Operation) => Promise<T | null>): Promise<T> {
  for (let attempts = 1; ; ) {
    operation.throwIfStopped();
    try {
      await renewSwitch(operation.ports);
      const result = await step(operation);
      if (result !== null) return result;
    } catch (error) {
      if (!isFailure(error, 'switch_changed') || attempts === attemptsMax) throw error;
      attempts += 1;
    }
  }
}

/** The refreshed vault. Throws the problem when the row in the table is not in force. */
export async function trustedView({ ports }: Operation): Promise<VaultView> {
  const view = await ports.vault.refresh();
  if (view.problem !== null) throw view.problem;
  return view;
}

/** The keys of the key file. Throws `key_file_missing`, `key_file_refused`, `key_file_locked`. */
export function requireOpenKeys({ state }: VaultView): KeySet {
  if (state.kind === 'open') return state.keys;
  if (state.kind === 'closed') throw new Failure('key_file_missing', 'there is no key file');
  throw state.failure;
}

/** Throws `key_unknown`. */
export function requireKey(keys: KeySet, id: KeyId | null): Key {
  const key = keyById(keys, id);
  if (key === null) throw new Failure('key_unknown', `the key file lacks key ${id}`, { fields: { key_id: id } });
  return key;
}

/** A key of an existing file that is about to be taken into use. Throws `key_file_refused` for a weak one. */
export function requireRandomKey(key: Key, path: string): Key {
  if (key.weakness === null) return key;
  const hint = `Move it away, and run the command again, which makes a random one: mv ${shellArg(path)} ${shellArg(`${path}.weak`)}`;
  throw weakKeyFailure(path, key, hint);
}

export type NextSwitch = Pick<SwitchRow, 'state' | 'keyId' | 'nextKeyId'>;

/**
 * Seals and writes the row after `before` (compare-and-swap), and stores it in the state file. Throws `switch_changed`,
 * and other failures of the write, when the row is withdrawn.
 */
export async function changeSwitch(
  { ports, throwIfStopped }: Operation,
  before: SwitchRow,
  next: NextSwitch,
  key: Key,
  audit: readonly Pick<AuditEntry, 'action' | 'detail'>[],
): Promise<void> {
  throwIfStopped();
  const row = sealedRow(ports, next, revisionAbove(before.revision, await memoryOf(ports)), key);
  const entries = audit.map((entry) => auditEntry(ports, { ...entry, keyId: key.id, nextKeyId: next.nextKeyId }));
  await writeIssued(ports, row, before.revision, entries);
  await ports.stateFile.remember(row);
}

/** A new sealed row with the current time. */
export function sealedRow(
  { clock, actor }: Pick<OperationPorts, 'clock' | 'actor'>,
  { state, keyId, nextKeyId }: NextSwitch,
  revision: number,
  key: Key,
): SwitchRow {
  return sealSwitchRow({ state, keyId, nextKeyId, revision, changedAtMs: clock.nowMs(), changedBy: actor.who }, key);
}

/** An audit entry about the switch or a key. */
export function auditEntry(
  { actor }: Pick<OperationPorts, 'actor'>,
  entry: Pick<AuditEntry, 'action' | 'detail' | 'keyId' | 'nextKeyId'>,
): AuditEntry {
  return { who: actor.who, host: actor.host, mailboxId: null, ...entry };
}

const finishingCommands: Readonly<Record<Exclude<SwitchState, 'on'>, string>> = {
  off: 'Enable encryption first: ticketmaild encryption enable',
  enabling: 'Finish enabling first: ticketmaild encryption enable',
  rotating: 'Finish the rotation first: ticketmaild encryption rotate',
  disabling: 'Finish disabling first: ticketmaild encryption disable',
};

/** `what` is refused in this state of the switch; the hint contains the command that leaves the state. */
export function refusedInState(state: Exclude<SwitchState, 'on'>, what: string): Failure {
  return new Failure('refused', `${what} is not possible while the switch is ${state}`, {
    hint: finishingCommands[state],
  });
}

const workerPollMs = 200;
const listedWorkersMax = 20;

/**
 * Barrier: polls the table of workers until every live worker has the key. Throws `workers_lack_key`, which names the
 * others, after `waitMs`; with `force` returns false instead.
 */
export async function waitForKey(operation: Operation, keyId: KeyId, options: OperationOptions): Promise<boolean> {
  const { observer } = operation.ports;
  const lacksKey = ({ keyIds }: StoredWorker): boolean => !keyIds.includes(keyId);
  const lacking = await waitWhileAny(operation, lacksKey, options.waitMs, (workers) =>
    observer.workersWithoutKey(workers),
  );
  if (lacking.length === 0) return true;
  const message = `${countText(lacking.length)} key ${keyId}: ${namesOf(lacking)}`;
  if (!options.force) {
    const fields = { key_id: keyId, workers: lacking.length };
    const hint = `${hintOf('workers_lack_key') ?? ''} ${hints.workersFromDatabase}`;
    throw new Failure('workers_lack_key', message, { fields, hint });
  }
  observer.step({ step: 'forced', count: lacking.length });
  return false;
}

/** Waits at most `waitMs` until every live worker has `revision` of the switch in force; a timeout is no error. */
export async function waitForRevision(operation: Operation, revision: number, waitMs: number): Promise<void> {
  await waitWhileAny(operation, (worker) => worker.revision < revision, waitMs);
}

/** The live workers that still match after `waitMs`. */
async function waitWhileAny(
  operation: Operation,
  matches: (worker: StoredWorker) => boolean,
  waitMs: number,
  onPoll?: (workers: readonly StoredWorker[]) => void,
): Promise<readonly StoredWorker[]> {
  const { clock } = operation.ports;
  const endMs = clock.monotonicMs() + waitMs;
  for (;;) {
    operation.throwIfStopped();
    const workers = (await liveWorkers(operation.ports)).filter(matches);
    onPoll?.(workers);
    if (workers.length === 0 || clock.monotonicMs() >= endMs) return workers;
    await clock.sleep(workerPollMs, operation.stopping);
  }
}

function countText(count: number): string {
  return count === 1 ? '1 live worker lacks' : `${count} live workers lack`;
}

function namesOf(workers: readonly StoredWorker[]): string {
  const names = workers.slice(0, listedWorkersMax).map(workerPlace);
  if (workers.length > listedWorkersMax) names.push(`and ${workers.length - listedWorkersMax} more`);
  return names.join(', ');
}
