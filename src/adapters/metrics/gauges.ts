/**
 * Gauges that hold what was looked up: one number that may be missing, a state of several, a number for each of many.
 *
 * What is not known has no line, instead of a 0 that says something else.
 */

import { readdir, readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, Gauge, type Registry } from 'prom-client';

/** Sets a number; null takes its line away. */
type Single = (value: number | null) => void;

/** Shows which of the states is the one: 1 for it, 0 for the others. */
type States = (state: string) => void;

/** Replaces all lines: those whose labels are not named any more are gone. */
type Many<Label extends string> = (
  lines: Iterable<{ readonly labels: Readonly<Record<Label, string>>; readonly value: number | null }>,
) => void;

export type Gauges = {
  single(name: string, help: string): Single;
  states(name: string, help: string, known: readonly string[]): States;
  many<Label extends string>(name: string, help: string, labelNames: readonly Label[]): Many<Label>;
};

export function gaugesIn(registry: Registry): Gauges {
  const registers = [registry];
  return {
    single: (name, help) => {
      const gauge = new Gauge({ name, help, registers });
      gauge.remove();
      return (value) => (value === null ? gauge.remove() : gauge.set(value));
    },
    states: (name, help, known) => {
      const gauge = new Gauge({ name, help, labelNames: ['state'], registers });
      return (state) => {
        gauge.reset();
        for (const one of new Set([...known, state])) gauge.set({ state: one }, one === state ? 1 : 0);
      };
    },
    many: <Label extends string>(name: string, help: string, labelNames: readonly Label[]): Many<Label> => {
      const gauge = new Gauge<Label>({ name, help, labelNames, registers });
      return (lines) => {
        gauge.reset();
        for (const { labels, value } of lines) if (value !== null) gauge.set(labels, value);
      };
    },
  };
}

/** How names, reasons, durations and times become label values and numbers in base units. */

const charactersMax = 255;

/**
 * At most 255 characters, no half of a surrogate pair, and U+FFFD for control characters, at which readers of the format
 * differ; a line feed stays, the format has an escape for it.
 */
export function label(name: string): string {
  const short = name.length > charactersMax ? name.slice(0, charactersMax).replace(/[\uD800-\uDBFF]$/, '') : name;
  return short.toWellFormed().replace(/[\0-\x09\x0B-\x1F\x7F]/g, '\uFFFD');
}

/** Never negative, and 0 for what is no number: a count must not end the visit that it counts. */
export function seconds(ms: number): number {
  return Number.isFinite(ms) ? Math.max(0, ms) / 1000 : 0;
}

/** Seconds since 1970 of an ISO 8601 time; null for none. */
export function timestamp(iso: string | null): number | null {
  const ms = iso === null ? Number.NaN : Date.parse(iso);
  return Number.isNaN(ms) ? null : ms / 1000;
}

/** The word before the colon of `code: sentence`; null where there is none. */
export function reasonCode(reason: string | null): string | null {
  return /^([a-z][a-z_]{0,39}): /.exec(reason ?? '')?.[1] ?? null;
}

/**
 * The process in numbers: processor, memory, open files, when it started, and how late its event loop turns.
 *
 * The package has default metrics of its own; they start observers that cannot be stopped, so these few are read here, under
 * the names that every Prometheus dashboard knows.
 */

/**
 * What the delay is measured with: a timer of so many milliseconds, whose own time is no delay. Its first turn after a look
 * is not measured, so the look itself is not in it.
 */
const resolutionMs = 10;
/** Not the label `quantile`, which belongs to summaries. */
const percentiles = ['50', '90', '99'];

type ProcessMetrics = Disposable & {
  /** Looks at the process; the delays of the event loop are those since the look before. */
  look(): Promise<void>;
};

export function processMetrics(registry: Registry, gauges: Gauges): ProcessMetrics {
  const cpu = new Counter({
    name: 'process_cpu_seconds_total',
    help: 'Processor time of the process, user and system.',
    registers: [registry],
  });
  const started = gauges.single('process_start_time_seconds', 'When the process started.');
  const resident = gauges.single('process_resident_memory_bytes', 'Resident memory of the process.');
  const heap = gauges.single('nodejs_heap_size_used_bytes', 'Used part of the JavaScript heap of the main thread.');
  const outside = gauges.single('nodejs_external_memory_bytes', 'Memory of buffers outside the JavaScript heap.');
  const files = gauges.single('process_open_fds', 'Open file descriptors.');
  const filesMax = gauges.single('process_max_fds', 'Open file descriptors, at most.');
  const loop = eventLoop(gauges);
  started((Date.now() - process.uptime() * 1000) / 1000);
  const limit = openFilesMax();
  return {
    look: async () => {
      const [open, max] = await Promise.all([openFiles(), limit]);
      files(open);
      filesMax(max);
      const { user, system } = process.cpuUsage();
      cpu.reset();
      cpu.inc((user + system) / 1e6);
      const memory = process.memoryUsage();
      resident(memory.rss);
      heap(memory.heapUsed);
      outside(memory.external);
      loop.look();
    },
    [Symbol.dispose]: loop[Symbol.dispose],
  };
}

function eventLoop(gauges: Gauges): Disposable & { look(): void } {
  const delay = gauges.many(
    'ticketmaild_event_loop_delay_seconds',
    'How much later than asked timers fired since the metrics were read last: percentiles.',
    ['percentile'],
  );
  const longest = gauges.single(
    'ticketmaild_event_loop_delay_max_seconds',
    'How much later than asked a timer fired since the metrics were read last: the longest.',
  );
  const measured = monitorEventLoopDelay({ resolution: resolutionMs });
  measured.enable();
  return {
    look: () => {
      showDelays(measured, delay, longest);
      measured.reset();
    },
    [Symbol.dispose]: () => void measured.disable(),
  };
}

type Delays = Pick<ReturnType<typeof monitorEventLoopDelay>, 'percentile' | 'max'>;

function showDelays(measured: Delays, delay: Many<'percentile'>, longest: Single): void {
  const late = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolutionMs / 1000);
  delay(
    percentiles.map((percentile) => ({ labels: { percentile }, value: late(measured.percentile(Number(percentile))) })),
  );
  longest(late(measured.max));
}

/** Null where the system does not tell (no Linux). The one that lists them is not counted. */
async function openFiles(): Promise<number | null> {
  const open = await readdir('/proc/self/fd').catch(() => null);
  return open === null ? null : open.length - 1;
}

/** Null where there is no limit, or the system does not tell. */
async function openFilesMax(): Promise<number | null> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const [, max] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
  return max === undefined ? null : Number(max);
}
