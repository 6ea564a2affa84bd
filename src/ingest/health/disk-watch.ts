/**
 * Disk watch: a write probe under data_dir every eight seconds, and every two while it fails or a poll found no room.
 *
 * No poll starts while it fails: what it fetched could not be stored, and would be fetched again and again. So it is
 * with almost no space left, where a small file still fits. A probe that hangs counts as failing. Little free space is
 * a warning.
 */
import type { Clock } from '../../async/clock.ts';
import { within } from '../../async/deadline.ts';
import { Failure } from '../../errors.ts';
import { hints } from '../../text/hints.ts';
import { bytesText } from '../../text/units.ts';
import { reserveBytes } from '../fetch/storage-quota.ts';
import type { Disk } from '../ports.ts';
import type { Readiness } from '../readiness.ts';

export interface DiskWatch {
  /** Starts a probe when it is time for one; waits for the first one only, for a second at most. */
  refresh(): Promise<void>;
  /** Probes now, unless it did within two seconds, and waits for the result, for a second at most. */
  confirm(): Promise<void>;
  /** True when a poll that failed with this has the disk as its cause, which is reported once for all. */
  confirmPollFailure(failure: Failure): Promise<boolean>;
  readonly isFailing: boolean;
  check(): Readiness['checks']['disk'];
}

export type DiskObserver = {
  /** Called on every change between working and failing, and between kinds of failure. */
  readonly changed: (failure: Failure | null) => void;
  /** What failed for want of the disk may succeed now: it works again, or there is more room than there was. */
  readonly writable: () => void;
};

const probeMs = 8000;
const probeWhileFailingMs = 2000;
const probeMsMax = 10_000;
/** The longest wait for a disk that hangs. */
const waitMsMax = 1000;
const megabyte = 1024 * 1024;
/** Less is full: the database and a few messages need as much. It works again with twice as much. */
const fullBytes = 8_000_000;
/** So much more room, and a message that did not fit is tried again. */
const growthBytesMin = 16 * megabyte;

type DiskState = {
  readonly failure: Failure | null;
  readonly freeBytes: number | null;
  readonly sinceMs: number | null;
};

export function createDiskWatch(disk: Disk, clock: Clock, observer: DiskObserver): DiskWatch {
  let state: DiskState = { failure: null, freeBytes: null, sinceMs: null };
  let probedAtMs = Number.NEGATIVE_INFINITY;
  let probing: Promise<void> | null = null;
  /** The free space that did not suffice for a poll; null: each had enough. */
  let shortBytes: number | null = null;

  const enter = (failure: Failure | null, freeBytes: number | null): void => {
    const isChange = failure?.code !== state.failure?.code;
    const isFirst = state.sinceMs === null;
    const hasGrown = shortBytes !== null && freeBytes !== null && freeBytes >= shortBytes + growthBytesMin;
    state = { failure, freeBytes, sinceMs: isChange || isFirst ? clock.nowMs() : state.sinceMs };
    if (isChange) observer.changed(failure);
    if (failure !== null || !(isChange || hasGrown)) return;
    shortBytes = null;
    observer.writable();
  };

  const probe = async (): Promise<void> => {
    probedAtMs = clock.monotonicMs();
    const { failure, freeBytes } = await disk.probe();
    probing = null;
    enter(failure ?? fullFailure(freeBytes, state.failure !== null), freeBytes);
  };

  const confirm = async (): Promise<void> => {
    if (probing === null && clock.monotonicMs() - probedAtMs >= probeWhileFailingMs) probing = probe();
    if (probing !== null) await within(probing, waitMsMax, clock);
  };

  return {
    refresh: async () => {
      const agoMs = clock.monotonicMs() - probedAtMs;
      if (probing !== null) {
        if (agoMs > probeMsMax) enter(new Failure('disk_failed', 'writing a small file takes longer than 10 s'), null);
        return;
      }
      if (agoMs < (state.failure === null && shortBytes === null ? probeMs : probeWhileFailingMs)) return;
      const isFirst = probedAtMs === Number.NEGATIVE_INFINITY;
      probing = probe();
      if (isFirst) await within(probing, waitMsMax, clock);
    },
    confirm,
    confirmPollFailure: async ({ code, domain }) => {
      if (domain !== 'disk') return false;
      await confirm();
      if (code === 'disk_full' && state.failure === null) shortBytes = state.freeBytes;
      return state.failure !== null;
    },
    get isFailing() {
      return state.failure !== null;
    },
    check: () => diskCheck(state),
  };
}

/** A disk with less room than anything but a small file needs; null: there is more. */
function fullFailure(freeBytes: number | null, isFailing: boolean): Failure | null {
  const neededBytes = isFailing ? 2 * fullBytes : fullBytes;
  if (freeBytes === null || freeBytes >= neededBytes) return null;
  return new Failure('disk_full', `less than ${bytesText(neededBytes)} are free under data_dir`);
}

function diskCheck({ failure, freeBytes, sinceMs }: DiskState): Readiness['checks']['disk'] {
  const since = sinceMs === null ? null : new Date(sinceMs).toISOString();
  const common = { since, free_bytes: freeBytes };
  if (failure !== null)
    return { ...common, status: 'failing', reason: `${failure.code}: ${failure.message}`, hint: failure.hint };
  if (sinceMs === null) return { ...common, status: 'unknown', reason: 'not probed yet', hint: null };
  if (freeBytes !== null && freeBytes < reserveBytes) {
    const reason = `only ${Math.floor(freeBytes / megabyte)} MB are free under data_dir`;
    return { ...common, status: 'warning', reason, hint: hints.diskLow };
  }
  return { ...common, status: 'ok', reason: null, hint: null };
}
