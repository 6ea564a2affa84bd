/**
 * Writes what an operation does into its row while it runs, one write at a time, and how it ended.
 *
 * A step that cannot be written comes with the next one. The end is tried until it is written, so that no row says for
 * ever that something runs; a daemon that stops leaves the row to the next start.
 */

import type { Clock } from '../async/clock.ts';
import type { Tell } from '../encryption/operations/operation.ts';
import { isFailure } from '../errors.ts';
import { type Detail, detailText } from './operation-detail.ts';
import type { AdminStore, StoredOperation } from './ports.ts';

export type Notes = {
  readonly tell: Tell;
  step(text: string): void;
  /** Resolves when it is written, when the row is another one by now, or when the daemon stops. */
  end(state: 'done' | 'failed', more: Partial<Detail>): Promise<void>;
  /** Resolves when what was told so far is written, or could not be. */
  idle(): Promise<void>;
};

export type NotePorts = {
  readonly store: Pick<AdminStore, 'noteOperation'>;
  readonly clock: Clock;
  /** The daemon stops. */
  readonly ended: AbortSignal;
};

const againMs = 1000;

export function createNotes(ports: NotePorts, { number, worker }: StoredOperation, before: Detail): Notes {
  const { store, clock, ended } = ports;
  let detail = before;
  let isTold = true;
  let writing: Promise<void> = Promise.resolve();
  const write = async (state: StoredOperation['state'], endedAtMs: number | null): Promise<boolean> => {
    isTold = true;
    return await isWritten(() => store.noteOperation({ number, worker, state, endedAtMs, detail: detailText(detail) }));
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
