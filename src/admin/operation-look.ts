/**
 * Takes over an operation of the admin page whose worker is gone: what the sealed switch says is half way is gone on with.
 * Of every other one only the row is ended, and no key, file or password is touched: `done` when the switch came to where
 * the operation led to, else `failed` with `interrupted`.
 *
 * Anybody who can write the database can write that row. So it is no order: it only reminds of what the switch says.
 */
import { liveMs } from '../encryption/operations/operation.ts';
import type { VaultView } from '../encryption/vault.ts';
import { events } from '../events.ts';
import { neededKeys } from '../secret/switch.ts';
import type { OperationKind } from './desk.ts';
import { whoOnPage } from './names.ts';
import { byWhom, type Detail, detailText, errorIn, parseDetail } from './operation-detail.ts';
import { endedBefore, launch, nextNumber, type OperationsPorts, type Running } from './operation-run.ts';
import { cutOff, halfWay, isReached } from './operation-work.ts';
import type { StoredOperation } from './ports.ts';

/** Throws `database_*`. */
export async function takeOver(running: Running): Promise<void> {
  const { ports, ended } = running;
  const row = await ports.store.readOperation();
  if (row?.state !== 'running' || ended.aborted || !(await isLeftBehind(running, row))) return;
  const view = await ports.vault.refresh();
  if (halfWay(view.switch) !== row.kind) return await endRow(ports, row, view);
  if (!canDo(row.kind, view) && (await canAnother(ports, view))) return;
  const detail = parseDetail(row.detail);
  const steps = [...detail.steps, 'The daemon that ran this ended; another one goes on with it.'];
  const next = { ...row, number: nextNumber(row), worker: ports.workers.me, endedAtMs: null };
  const taken = { ...next, detail: detailText({ ...detail, steps, waiting: [], isCutShort: false }) };
  if (!(await ports.store.beginOperation(taken, row))) return;
  launch(running, taken, { who: whoOf(ports, row, view), isResumed: true, isBound: true });
}

/** Its worker is dead, or silent, or this one, which knows nothing of it. */
async function isLeftBehind({ ports, active }: Running, { worker, number }: StoredOperation): Promise<boolean> {
  const { workers, store } = ports;
  if (worker === workers.me) return !active.has(number);
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
  const next = { ...row, number: nextNumber(row), worker: workers.me, endedAtMs: clock.nowMs(), state } as const;
  if (!(await store.beginOperation({ ...next, detail: detailText(detail) }, row))) return;
  const fields = { operation: row.kind, by: whoOnPage(byWhom(row)) };
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
  const others = (await store.listWorkers(liveMs)).filter(({ live, worker }) => live && worker !== workers.me);
  return others.some(({ keyIds, vault }) => vault === 'open' && needed.every((id) => keyIds.includes(id)));
}

/** The name in the row counts when the sealed switch says the same; else it is this daemon. */
function whoOf({ author }: OperationsPorts, { by }: StoredOperation, view: VaultView): string {
  const who = whoOnPage(by);
  return view.switch.changedBy === who ? who : `ticketmaild@${author.host}`;
}
