/**
 * Operations on the switch that the daemon runs for the admin page: one at a time, whichever worker was asked.
 *
 *     running -> done | failed
 *
 * What is under way stands in one row of the database, so that the page of any worker shows it. A row whose worker is gone
 * is taken over when the sealed switch says that it is half way (operation-look.ts); every other one just ends. A daemon that stops ends `enable` and `rotate` at the next safe place, gives `disable`
 * some time to end, and leaves the row `running` for the next start.
 */

import type { Clock } from '../../async/clock.ts';
import { liveMs } from '../../encryption/operations/operation.ts';
import type { VaultView } from '../../encryption/vault.ts';
import { asFailure, Failure } from '../../errors.ts';
import { events } from '../../events.ts';
import { createLogThrottle } from '../../ingest/health/log-throttle.ts';
import { neededKeys } from '../../secret/switch.ts';
import { isoTime } from '../../text/time.ts';
import { pageActor, type StoredOperation } from '../ports.ts';
import type { OperationKind, OperationStart, OperationView } from '../service.ts';
import { byWhom, type Detail, detailText, emptyDetail, errorIn, operationView, parseDetail } from './record.ts';
import {
  cutOff,
  endedBefore,
  halfWay,
  isReached,
  launch,
  nextNumber,
  type OperationsPorts,
  type Running,
  whyNot,
} from './runner.ts';

export type Operations = AsyncDisposable & {
  /** `by`: the name of an admin. `disable` only goes on with what was proven. Throws `database_*`. */
  start(kind: OperationKind, by: string): Promise<OperationStart>;
  /** Switches off, for somebody who has shown the proof file. Throws `database_*`. */
  startProven(by: string): Promise<OperationStart>;
  /** Throws `database_*`. */
  view(): Promise<OperationView | null>;
};

const lookEveryMs = 3000;
/** How long `disable` goes on after the daemon began to stop: it would be left between on and off. */
const finishMs = 10_000;
const goodbyeMs = 5000;

/** Looks at once, and every few seconds, for what a daemon that is gone left behind. */
export function createOperations(ports: OperationsPorts): Operations {
  const [ended, over] = [new AbortController(), new AbortController()];
  const running: Running = { ports, ended: ended.signal, over: over.signal, active: new Map() };
  const inTurn = createTurns();
  const looking = keepLooking(running, () => inTurn(() => takeOver(running)));
  const start = (kind: OperationKind, by: string, isProven: boolean) =>
    inTurn(async () => {
      await takeOver(running);
      return await begin(running, kind, by, isProven);
    });
  return {
    start: (kind, by) => start(kind, by, false),
    startProven: (by) => start('disable', by, true),
    view: async () => {
      const row = await ports.store.readOperation();
      return row === null
        ? null
        : operationView(row, { keyFilePath: ports.keyFile.path, configFile: ports.configFile });
    },
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      await within(
        ports.clock,
        finishMs,
        looking.then(() => allOf(running)),
      );
      over.abort();
      await within(ports.clock, goodbyeMs, allOf(running));
    },
  };
}

/** Each task begins when the one before it has ended, however that ended. */
function createTurns(): <T>(task: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const turn = last.then(task, task);
    last = turn.catch(() => undefined);
    return turn;
  };
}

async function allOf({ active }: Running): Promise<void> {
  await Promise.all(active.values());
}

async function within(clock: Clock, ms: number, task: Promise<unknown>): Promise<void> {
  const done = new AbortController();
  await Promise.race([task, clock.sleep(ms, done.signal)]);
  done.abort();
}

async function keepLooking({ ports, ended }: Running, take: () => Promise<void>): Promise<void> {
  const troubles = createLogThrottle();
  while (!ended.aborted) {
    try {
      await take();
      troubles.record('look', null);
    } catch (error) {
      const failure = asFailure(error);
      // That the database is away is told by the scheduler.
      const isNews = troubles.record('look', failure.code).shouldLog && failure.domain !== 'database';
      if (isNews) ports.log.error({ error: failure }, events.adminOperationFailed);
    }
    await ports.clock.sleep(lookEveryMs, ended);
  }
}

async function begin(running: Running, kind: OperationKind, by: string, isProven: boolean): Promise<OperationStart> {
  const { store, vault, clock, workers } = running.ports;
  const before = await store.readOperation();
  if (before?.state === 'running') return refused(underWay(before));
  const { switch: inForce } = await vault.refresh();
  const why = running.ended.aborted ? stopping : whyNot(kind, inForce, isProven);
  if (why !== null) return refused(sentenceOf(why));
  const row: StoredOperation = {
    ...{ number: nextNumber(before), kind, by, startedAtMs: clock.nowMs(), endedAtMs: null },
    ...{ worker: workers.name, state: 'running', detail: detailText(emptyDetail) },
  };
  if (!(await store.beginOperation(row, before))) {
    const other = await store.readOperation();
    return refused(other === null ? 'Somebody else was faster.' : underWay(other));
  }
  const who = pageActor(by);
  await record(running.ports, who, kind);
  // A proof is needed to begin with switching off, not to go on with it.
  launch(running, row, { who, isResumed: false, isBound: kind === 'disable' && !isProven });
  return { kind: 'started' };
}

const stopping = new Failure('interrupted', 'this daemon is stopping', { hint: 'Try again in a moment.' });

function refused(sentence: string): OperationStart {
  return { kind: 'refused', sentence };
}

function sentenceOf({ message, hint }: Pick<Failure, 'message' | 'hint'>): string {
  return `${message.charAt(0).toUpperCase()}${message.slice(1)}. ${hint}`;
}

const began: Readonly<Record<OperationKind, string>> = {
  enable: 'to switch encryption on',
  rotate: 'to rotate the key',
  disable: 'to switch encryption off',
};

function underWay(row: StoredOperation): string {
  const { kind, startedAtMs, state } = row;
  const time = (isoTime(startedAtMs) ?? '').slice(0, 19).replace('T', ' ');
  const how = state === 'running' ? 'that is still under way' : 'that was a moment ago';
  return `${byWhom(row)} began ${began[kind]} at ${time} UTC, and ${how}.`;
}

async function record({ store, author, vault }: OperationsPorts, who: string, kind: OperationKind): Promise<void> {
  const { keyId, nextKeyId } = vault.view.switch;
  const entry = { who, host: author.host, keyId, nextKeyId, mailboxId: null };
  await store.audit([{ ...entry, action: 'admin.operation_started', detail: kind }]);
}

/**
 * Takes over an operation of the admin page whose worker is gone: what the sealed switch says is half way is gone on with.
 * Of every other one only the row is ended, and no key, file or password is touched: `done` when the switch came to where
 * the operation led to, else `failed` with `interrupted`.
 *
 * Anybody who can write the database can write that row. So it is no order: it only reminds of what the switch says.
 */

/** Throws `database_*`. */
async function takeOver(running: Running): Promise<void> {
  const { ports, ended } = running;
  const row = await ports.store.readOperation();
  if (row?.state !== 'running' || ended.aborted || !(await isLeftBehind(running, row))) return;
  const view = await ports.vault.refresh();
  if (halfWay(view.switch) !== row.kind) return await endRow(ports, row, view);
  if (!canDo(row.kind, view) && (await canAnother(ports, view))) return;
  const detail = parseDetail(row.detail);
  const steps = [...detail.steps, 'The daemon that ran this ended; another one goes on with it.'];
  const next = { ...row, number: nextNumber(row), worker: ports.workers.name, endedAtMs: null };
  const taken = { ...next, detail: detailText({ ...detail, steps, waiting: [], isCutShort: false }) };
  if (!(await ports.store.beginOperation(taken, row))) return;
  launch(running, taken, { who: whoOf(ports, row, view), isResumed: true, isBound: true });
}

/** Its worker is dead, or silent, or this one, which knows nothing of it. */
async function isLeftBehind({ ports, active }: Running, { worker, number }: StoredOperation): Promise<boolean> {
  const { workers, store } = ports;
  if (worker === workers.name) return !active.has(number);
  if (workers.isDead(worker)) return true;
  return !(await store.listWorkers(liveMs)).some((other) => other.live && other.worker === worker);
}

/** Nothing is half way: who ran it ended before the switch said anything, or behind its last change. */
async function endRow(ports: OperationsPorts, row: StoredOperation, { switch: inForce }: VaultView): Promise<void> {
  const { store, workers, clock, log } = ports;
  const failure = isReached(row.kind, inForce, row.startedAtMs) ? null : cutOff(inForce.state);
  const before = parseDetail(row.detail);
  const detail: Detail =
    failure === null
      ? { ...before, waiting: [], error: null, steps: [...before.steps, endedBefore], isCutShort: true }
      : { ...before, waiting: [], error: errorIn(failure), isCutShort: false };
  const state = failure === null ? 'done' : 'failed';
  const next = { ...row, number: nextNumber(row), worker: workers.name, endedAtMs: clock.nowMs(), state } as const;
  if (!(await store.beginOperation({ ...next, detail: detailText(detail) }, row))) return;
  const fields = { operation: row.kind, by: pageActor(byWhom(row)) };
  if (failure === null) log.info({ ...fields, cut_short: true }, events.adminOperationFinished);
  else log.error({ ...fields, error: failure }, events.adminOperationFailed);
}

function canDo(kind: OperationKind, { problem, state }: VaultView): boolean {
  const isOpen = state.kind === 'open' || (kind === 'disable' && state.kind !== 'missing' && state.kind !== 'refused');
  return problem === null && isOpen;
}

/** A worker that runs holds every key that the switch names. */
async function canAnother({ store, workers }: OperationsPorts, view: VaultView): Promise<boolean> {
  const needed = neededKeys(view.switch);
  const others = (await store.listWorkers(liveMs)).filter(({ live, worker }) => live && worker !== workers.name);
  return others.some(({ keyIds, vault }) => vault === 'open' && needed.every((id) => keyIds.includes(id)));
}

/** The name in the row counts when the sealed switch says the same; else it is this daemon. */
function whoOf({ author }: OperationsPorts, { by }: StoredOperation, view: VaultView): string {
  const who = pageActor(by);
  return view.switch.changedBy === who ? who : `ticketmaild@${author.host}`;
}
