/**
 * The process in numbers: processor, memory, open files, when it started, and how late its event loop turns.
 *
 * The package has default metrics of its own; they start observers that cannot be stopped, so these few are read here, under
 * the names that every Prometheus dashboard knows.
 */
import { readdir, readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, type Registry } from 'prom-client';
import type { Gauges, Many, Single } from './gauges.ts';

/**
 * What the delay is measured with: a timer of so many milliseconds, whose own time is no delay. Its first turn after a look
 * is not measured, so the look itself is not in it.
 */
const resolutionMs = 10;
/** Not the label `quantile`, which belongs to summaries. */
const percentiles = ['50', '90', '99'];

export type ProcessMetrics = Disposable & {
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
