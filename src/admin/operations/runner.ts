/**
 * Runs one operation of the admin page in the background, and writes into its row what it does and how it ends.
 *
 * It never rejects: a failure ends in the row and in the log. When the daemon stops the row stays `running`, and the next
 * start goes on with it.
 */

import type { Clock } from '../../async/clock.ts';
import { withKeysInMemory } from '../../encryption/control.ts';
import { disable } from '../../encryption/operations/disable.ts';
import { enable } from '../../encryption/operations/enable.ts';
import {
  type OperationOptions,
  type OperationPorts,
  refusedWhile,
  type Tell,
  type Unopened,
} from '../../encryption/operations/operation.ts';
import { rotate } from '../../encryption/operations/rotate.ts';
import type { EncryptionStore, KeyFile } from '../../encryption/ports.ts';
import type { Vault } from '../../encryption/vault.ts';
import { asFailure, Failure, isFailure } from '../../errors.ts';
import { events, type Log } from '../../events.ts';
import type { AuditActor } from '../../ingest/model.ts';
import type { WorkerIdentity } from '../../ingest/ports.ts';
import type { SwitchRow } from '../../secret/switch.ts';
import type { AdminStore, StoredOperation } from '../ports.ts';
import type { OperationKind } from '../service.ts';
import { type Detail, detailText, errorIn, parseDetail } from './record.ts';

export type OperationsPorts = {
  readonly store: Pick<AdminStore, 'readOperation' | 'beginOperation' | 'updateOperation'> &
    Pick<EncryptionStore, 'audit' | 'listWorkers'>;
  readonly vault: Vault;
  readonly keyFile: Pick<KeyFile, 'path'>;
  /** Absolute; null: the daemon was started without one. */
  readonly configFile: string | null;
  readonly workers: WorkerIdentity;
  readonly clock: Clock;
  readonly log: Log;
  readonly author: AuditActor;
  /** The ports of one operation on the switch. */
  operation(tell: Tell): OperationPorts;
};

/** How one operation is run. */
type How = {
  /** In the audit table and the switch. */
  readonly who: string;
  /** It was begun by a daemon that is gone. */
  readonly isResumed: boolean;
  /** It only ends what the sealed switch says is half way. */
  readonly isBound: boolean;
};

export type Running = {
  readonly ports: OperationsPorts;
  /** Fires when the daemon stops. */
  readonly ended: AbortSignal;
  /** Fires when what goes on all the same shall end, too. */
  readonly over: AbortSignal;
  /** By the number of the row. */
  readonly active: Map<number, Promise<void>>;
};

/** How long live workers are waited for that lack the key. */
const waitMs = 30_000;
/** How long one that is gone on with waits for the claim of the process that is gone. */
const claimWaitMs = 60_000;
const claimAgainMs = 1000;

/** Of the row that follows. */
export function nextNumber(before: StoredOperation | null): number {
  return before !== null && before.number < Number.MAX_SAFE_INTEGER ? before.number + 1 : 1;
}

/** The row is ours: it is run until it ends. */
export function launch({ ports, ended, over, active }: Running, row: StoredOperation, how: How): void {
  const { store, clock, log } = ports;
  const notes = createNotes({ store, clock, ended }, row, parseDetail(row.detail));
  const fields = { operation: row.kind, by: how.who };
  log.info({ ...fields, resumed: how.isResumed }, events.adminOperationStarted);
  const startedMs = clock.monotonicMs();
  const run = async (): Promise<void> => {
    const result = await attempt(ports, ended, over, notes, row.kind, how);
    if (isFailure(result)) {
      if (ended.aborted) return await notes.idle();
      if (!how.isResumed || !isOver(ports, row, result)) return await fail(result, {});
      notes.step(endedBefore);
      await notes.end('done', { isCutShort: true, error: null });
      log.info({ ...fields, cut_short: true }, events.adminOperationFinished);
    } else if (result.failure !== null) await fail(result.failure, result);
    else {
      const { unopened, setAside } = result;
      notes.step(result.step);
      await notes.end('done', { unopened, setAside, error: null });
      const durationMs = Math.round(clock.monotonicMs() - startedMs);
      log.info({ ...fields, unopened: unopened.length, duration_ms: durationMs }, events.adminOperationFinished);
    }
  };
  const fail = async (failure: Failure, { unopened = [] }: Partial<Outcome>): Promise<void> => {
    log.error({ ...fields, error: failure }, events.adminOperationFailed);
    await notes.end('failed', { error: errorIn(failure), unopened });
  };
  // A defect leaves the row running, and the next look finds it left behind.
  const told = (error: unknown) => log.error({ ...fields, error: asFailure(error) }, events.adminOperationFailed);
  active.set(
    row.number,
    run()
      .catch(told)
      .finally(() => active.delete(row.number)),
  );
}

/** The sentence of an operation whose daemon ended behind its last change of the switch. */
export const endedBefore = 'The daemon that ran this ended just before the end.';

/** It was gone on with, and meanwhile who was taken for dead ended it. */
function isOver({ vault }: OperationsPorts, { kind, startedAtMs }: StoredOperation, failure: Failure): boolean {
  return failure.code === 'interrupted' && isReached(kind, vault.view.switch, startedAtMs);
}

/** Its outcome, or why it failed. */
async function attempt(
  ports: OperationsPorts,
  ended: AbortSignal,
  over: AbortSignal,
  notes: Notes,
  kind: OperationKind,
  { who, isBound, isResumed }: How,
): Promise<Outcome | Failure> {
  const by = { who, host: ports.author.host };
  const options: OperationOptions = { force: false, waitMs, stop: kind === 'disable' ? over : ended };
  const run = () => runWork(kind, isBound, { ...ports.operation(notes.tell), by }, options);
  try {
    return isResumed ? await withPatience(ports.clock, ended, run) : await run();
  } catch (error) {
    return asFailure(error);
  }
}

/** The claim of a process that is gone ends by itself, on another host only after a while. */
async function withPatience<T>(clock: Clock, ended: AbortSignal, work: () => Promise<T>): Promise<T> {
  const endMs = clock.monotonicMs() + claimWaitMs;
  for (;;) {
    try {
      return await work();
    } catch (error) {
      const isOver = ended.aborted || clock.monotonicMs() >= endMs;
      if (isOver || !isFailure(error, 'operation_running')) throw error;
      await clock.sleep(claimAgainMs, ended);
    }
  }
}

/**
 * What an operation of the admin page runs: the workflow of the command of that name.
 *
 * One that is gone on with does nothing but end what the sealed switch says is half way: that is checked under the claim
 * on the switch, at every look that the workflow takes. A row of the database starts nothing by itself.
 */

type Outcome = {
  /** What was done, one sentence. */
  readonly step: string;
  readonly unopened: readonly Unopened[];
  readonly setAside: string | null;
  /** Why it is not over although the workflow ended. */
  readonly failure: Failure | null;
};

type InForce = Pick<SwitchRow, 'state' | 'nextKeyId'>;

/** What the switch says that was begun and is not over; null: nothing. */
export function halfWay({ state, nextKeyId }: InForce): OperationKind | null {
  if (state === 'enabling') return 'enable';
  if (state === 'disabling') return 'disable';
  return state === 'rotating' || (state === 'on' && nextKeyId !== null) ? 'rotate' : null;
}

/** The switch is where such an operation leads to. */
function isAtEnd(kind: OperationKind, { state, nextKeyId }: InForce): boolean {
  return kind === 'disable' ? state === 'off' : state === 'on' && nextKeyId === null;
}

/** The switch was brought to where such an operation leads to, since then. */
export function isReached(kind: OperationKind, row: SwitchRow, sinceMs: number): boolean {
  return isAtEnd(kind, row) && row.changedAtMs >= sinceMs;
}

/** Why an operation cannot begin while the switch is as it is; null: it can. `isProven`: with a proof file. */
export function whyNot(kind: OperationKind, row: InForce, isProven: boolean): Failure | null {
  const { state } = row;
  if (kind === 'enable') {
    return state === 'rotating' || state === 'disabling' ? refusedWhile(state, 'switching on') : null;
  }
  if (kind === 'rotate') return state === 'on' || state === 'rotating' ? null : refusedWhile(state, 'a rotation');
  if (state === 'rotating') return refusedWhile(state, 'switching off');
  if (isProven || state === 'disabling') return null;
  return new Failure('refused', 'switching off has to be asked for first', { hint: 'It needs a proof file.' });
}

/** Runs it. `isBound`: only while the sealed switch says so. Throws what the workflow throws, and `interrupted`. */
export async function runWork(
  kind: OperationKind,
  isBound: boolean,
  given: OperationPorts,
  options: OperationOptions,
): Promise<Outcome> {
  const ports = isBound ? { ...given, vault: boundTo(kind, given.vault) } : given;
  if (kind === 'enable') return enabledOutcome(await enable(ports, options));
  if (kind === 'rotate') return rotatedOutcome(await rotate(ports, options));
  return disabledOutcome(await disable({ ...ports, vault: withKeysInMemory(ports.vault) }, options));
}

/** The same vault, that fails when the switch says of something else that it is half way, or of nothing before this did. */
function boundTo(kind: OperationKind, vault: Vault): Vault {
  let wasBegun = false;
  const check = (row: InForce): void => {
    const isHalfWay = halfWay(row) === kind;
    // A rotation that is announced alone has changed nothing that would have to be ended.
    wasBegun ||= isHalfWay && row.state !== 'on';
    if (!isHalfWay && !(wasBegun && isAtEnd(kind, row))) throw cutOff(row.state);
  };
  return {
    get view() {
      return vault.view;
    },
    refresh: async () => {
      const view = await vault.refresh();
      check(view.switch);
      return view;
    },
    keys: () => vault.keys(),
    wrapped: () => vault.wrapped(),
  };
}

/** Of an operation that nobody runs any more, and that the switch knows nothing of. */
export function cutOff(state: SwitchRow['state']): Failure {
  const message = `the daemon that ran it ended, and the switch is ${state}: it is not gone on with by itself`;
  return new Failure('interrupted', message, { hint: 'If it is still wanted, press the button again.' });
}

type Result<T extends (...given: never[]) => unknown> = Awaited<ReturnType<T>>;

const whole = { unopened: [], setAside: null, failure: null };

function enabledOutcome({ sealed }: Result<typeof enable>): Outcome {
  return { ...whole, step: `Sealed: ${sealed}.` };
}

function rotatedOutcome({ resealed, unopened, formerKeyId, formerKept }: Result<typeof rotate>): Outcome {
  const former = `The former key ${formerKeyId} is ${formerKept ? 'still' : 'no longer'} in the key file.`;
  return { ...whole, step: `Resealed: ${resealed}. ${former}`, unopened };
}

function disabledOutcome({ unsealed, unopened, setAside, wasOff }: Result<typeof disable>): Outcome {
  const step = wasOff ? 'Encryption was off already.' : `Made readable: ${unsealed}.`;
  return { step, unopened, setAside, failure: unopened.length === 0 ? null : stillSealed(unopened.length) };
}

function stillSealed(count: number): Failure {
  const message = `the switch stays at disabling: ${count} of the passwords cannot be opened`;
  const hint = 'Set each of these anew: ticketmaild mailbox set-password NAME. Then go on.';
  return new Failure('password_damaged', message, { hint, fields: { count } });
}

/**
 * Writes what an operation does into its row while it runs, one write at a time, and how it ended.
 *
 * A step that cannot be written comes with the next one. The end is tried until it is written, so that no row says for
 * ever that something runs; a daemon that stops leaves the row to the next start.
 */

type Notes = {
  readonly tell: Tell;
  step(text: string): void;
  /** Resolves when it is written, when the row is another one by now, or when the daemon stops. */
  end(state: 'done' | 'failed', more: Partial<Detail>): Promise<void>;
  /** Resolves when what was told so far is written, or could not be. */
  idle(): Promise<void>;
};

type NotePorts = {
  readonly store: Pick<AdminStore, 'updateOperation'>;
  readonly clock: Clock;
  /** The daemon stops. */
  readonly ended: AbortSignal;
};

const againMs = 1000;

function createNotes(ports: NotePorts, { number, worker }: StoredOperation, before: Detail): Notes {
  const { store, clock, ended } = ports;
  let detail = before;
  let isTold = true;
  let writing: Promise<void> = Promise.resolve();
  const write = async (state: StoredOperation['state'], endedAtMs: number | null): Promise<boolean> => {
    isTold = true;
    return await isWritten(() =>
      store.updateOperation({ number, worker, state, endedAtMs, detail: detailText(detail) }),
    );
  };
  const change = (more: Partial<Detail>): void => {
    detail = { ...detail, ...more };
    if (!isTold) return;
    isTold = false;
    writing = writing.then(async () => {
      if (!isTold) await write('running', null);
    });
  };
  const step = (text: string) => change({ steps: [...detail.steps, text] });
  return {
    tell: {
      step,
      // Progress is counted in the table itself.
      passwords: () => undefined,
      waiting: (lacking) => {
        const waiting = lacking.map(({ host, pid }) => `${host} (pid ${pid})`);
        if (waiting.join() !== detail.waiting.join()) change({ waiting });
      },
    },
    step,
    end: async (state, more) => {
      await writing;
      detail = { ...detail, ...more, waiting: [] };
      const endedAtMs = clock.nowMs();
      while (!(await write(state, endedAtMs)) && !ended.aborted) await clock.sleep(againMs, ended);
    },
    idle: () => writing,
  };
}

/** False when it could not be written. */
async function isWritten(task: () => Promise<unknown>): Promise<boolean> {
  try {
    await task();
    return true;
  } catch (error) {
    if (isFailure(error)) return false;
    throw error;
  }
}
