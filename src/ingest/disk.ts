/**
 * Whether files can be written under the data folder, looked at every ten seconds, and every two while they cannot.
 *
 * While they cannot, no visit begins: what it fetched could not be kept, and would be fetched again and again. A probe that
 * does not come back (a disk that hangs) counts as failing. Little space left is a warning.
 */

import type { Clock } from '../async/clock.ts';
import { asFailure, Failure } from '../errors.ts';
import type { Disk } from './daemon-ports.ts';
import type { Readiness } from './readiness.ts';

export interface DiskWatch {
  /** Begins a probe when it is time for one; waits for none but the first. */
  refresh(): Promise<void>;
  /** A file could not be written: the next `refresh` probes. */
  suspect(): void;
  readonly isFailing: boolean;
  check(): Readiness['checks']['disk'];
}

const everyMs = 10_000;
const whileFailingMs = 2000;
const hangsMs = 10_000;
const freeBytesMin = 512 * 1024 * 1024;

type State = { readonly failure: Failure | null; readonly freeBytes: number | null; readonly sinceMs: number | null };

/** `told` hears of every change. */
export function createDiskWatch(disk: Disk, clock: Clock, told: (failure: Failure | null) => void): DiskWatch {
  let state: State = { failure: null, freeBytes: null, sinceMs: null };
  let probedAtMs = Number.NEGATIVE_INFINITY;
  let probing: Promise<void> | null = null;

  const enter = (failure: Failure | null, freeBytes: number | null): void => {
    const isChange = failure?.code !== state.failure?.code;
    const isFirst = state.sinceMs === null;
    state = { failure, freeBytes, sinceMs: isChange || isFirst ? clock.nowMs() : state.sinceMs };
    if (isChange) told(failure);
  };

  const probe = async (): Promise<void> => {
    try {
      const { freeBytes } = await disk.probe();
      enter(null, freeBytes);
    } catch (error) {
      enter(asFailure(error), state.freeBytes);
    } finally {
      probing = null;
    }
  };

  return {
    refresh: async () => {
      const agoMs = clock.monotonicMs() - probedAtMs;
      if (probing !== null) {
        if (agoMs > hangsMs) enter(new Failure('disk_failed', 'writing a small file takes longer than 10 s'), null);
        return;
      }
      if (agoMs < (state.failure === null ? everyMs : whileFailingMs)) return;
      const isFirst = probedAtMs === Number.NEGATIVE_INFINITY;
      probedAtMs = clock.monotonicMs();
      probing = probe();
      if (isFirst) await Promise.race([probing, clock.sleep(1000, new AbortController().signal)]);
    },
    suspect: () => {
      if (state.failure === null && clock.monotonicMs() - probedAtMs > whileFailingMs) probedAtMs = -everyMs;
    },
    get isFailing() {
      return state.failure !== null;
    },
    check: () => diskCheck(state),
  };
}

function diskCheck({ failure, freeBytes, sinceMs }: State): Readiness['checks']['disk'] {
  const since = sinceMs === null ? null : new Date(sinceMs).toISOString();
  const common = { since, free_bytes: freeBytes };
  if (failure !== null)
    return { ...common, status: 'failing', reason: `${failure.code}: ${failure.message}`, hint: failure.hint };
  if (sinceMs === null) return { ...common, status: 'unknown', reason: 'not looked at yet', hint: null };
  if (freeBytes !== null && freeBytes < freeBytesMin) {
    const reason = `only ${Math.floor(freeBytes / 1024 / 1024)} MB are free under data_dir`;
    return { ...common, status: 'warning', reason, hint: 'Free some space before it runs out.' };
  }
  return { ...common, status: 'ok', reason: null, hint: null };
}
