/**
 * Asks every worker for /readyz and /metrics again and again, as a probe would, and keeps the last answers.
 *
 * A worker that does not answer in time is silent. Checks and numbers that this daemon does not know are absent, never
 * an error. Listeners hear of each answer as it comes.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import type { Readiness } from '../../src/ingest/readiness.ts';
import type { Worker } from './worker.ts';

export type Sample = {
  readonly worker: number;
  /** When it was asked for. */
  readonly atMs: number;
  /** HTTP status of /readyz; null: silent. */
  readonly status: number | null;
  readonly checks: Partial<Readiness['checks']>;
  /** The text of /metrics; null: none. */
  readonly metrics: string | null;
};

export type Watcher = {
  latest(worker: number): Sample | null;
  listen(listener: (sample: Sample) => void): Disposable;
} & AsyncDisposable;

const intervalMs = 300;
/** The daemon promises an answer within 4.5 s, if only that it cannot say how things are. */
const answerMsMax = 5_000;

export function startWatcher(workers: readonly Worker[]): Watcher {
  const latest = new Map<number, Sample>();
  const listeners = new Set<(sample: Sample) => void>();
  const stop = new AbortController();
  const loops = workers.map(async (worker) => {
    while (!stop.signal.aborted) {
      const startedAt = performance.now();
      const sample = await ask(worker);
      latest.set(worker.index, sample);
      for (const listener of listeners) listener(sample);
      await sleep(Math.max(20, intervalMs - (performance.now() - startedAt)));
    }
  });
  return {
    latest: (worker) => latest.get(worker) ?? null,
    listen: (listener) => {
      listeners.add(listener);
      return { [Symbol.dispose]: () => void listeners.delete(listener) };
    },
    [Symbol.asyncDispose]: async () => {
      stop.abort();
      await Promise.all(loops);
    },
  };
}

async function ask(worker: Worker): Promise<Sample> {
  const atMs = Date.now();
  const [ready, metrics] = await Promise.all([get(worker, '/readyz'), get(worker, '/metrics')]);
  return {
    worker: worker.index,
    atMs,
    status: ready?.status ?? null,
    checks: ready === null ? {} : checksIn(ready.text),
    metrics: metrics?.status === 200 ? metrics.text : null,
  };
}

function checksIn(text: string): Sample['checks'] {
  const answer: unknown = JSON.parse(text);
  const isReadiness = typeof answer === 'object' && answer !== null && 'checks' in answer;
  return isReadiness ? (answer as Readiness).checks : {};
}

async function get({ httpPort }: Worker, path: string): Promise<{ status: number; text: string } | null> {
  try {
    const response = await fetch(`http://127.0.0.1:${httpPort}${path}`, { signal: AbortSignal.timeout(answerMsMax) });
    return { status: response.status, text: await response.text() };
  } catch (error) {
    // A killed or stopped process: no connection, a broken one, or no answer in time.
    if (error instanceof TypeError || error instanceof DOMException) return null;
    throw error;
  }
}

/** The sum of all metrics whose name and labels fit; null when there is none. */
export function metricSum({ metrics }: Sample, pattern: RegExp): number | null {
  const lines = metrics?.split('\n').filter((line) => !line.startsWith('#') && pattern.test(line)) ?? [];
  if (lines.length === 0) return null;
  return lines.reduce((sum, line) => sum + Number(line.slice(line.lastIndexOf(' ') + 1)), 0);
}

const mustBeOk = [
  'database',
  'disk',
  'scheduler',
  'vault',
  'switch',
  'passwords',
  'workers',
  'servers',
  'clock',
  'mailboxes',
] as const;

/** What is wrong in an answer, one piece of text each; empty: all is well. `workers` is how many there have to be. */
export function troubles({ status, checks }: Sample, workers: number): readonly string[] {
  if (status === null) return ['silent'];
  const found = mustBeOk.flatMap((name) => {
    const check = checks[name];
    return check === undefined || check.status === 'ok' ? [] : [`${name} ${check.status}: ${check.reason}`];
  });
  const live = checks.workers?.live ?? workers;
  if (live < workers) found.push(`${live} of ${workers} workers live`);
  // The faults kill it often, and it says so for minutes.
  if (status !== 200 && found.length === 0 && checks.crashes?.status !== 'failing') found.push(`status ${status}`);
  return found;
}
