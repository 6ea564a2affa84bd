/**
 * Process metrics under the names of Prometheus' client libraries: CPU, memory, file descriptors, start time,
 * event-loop lag.
 *
 * The default metrics of prom-client start observers that cannot be stopped, so these few are read here.
 */

import { readdir, readFile } from 'node:fs/promises';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { Counter, type Registry } from 'prom-client';
import type { Gauges } from './gauges.ts';

/**
 * Period of the timer that measures the lag; the period itself is no lag. Its first period after a reset is not
 * measured, so that the scrape itself does not count.
 */
const resolutionMs = 10;

type ProcessMetrics = Disposable & {
  /** Reads the process; the lag covers the time since the previous call. */
  refresh(): Promise<void>;
};

export function processMetrics(registry: Registry, gauges: Gauges): ProcessMetrics {
  const cpu = new Counter({
    name: 'process_cpu_seconds_total',
    help: 'CPU time of the process, user and system.',
    registers: [registry],
  });
  const started = gauges.single('process_start_time_seconds', 'Start time of the process, in seconds since 1970.');
  const resident = gauges.single('process_resident_memory_bytes', 'Resident memory of the process.');
  const heap = gauges.single('nodejs_heap_size_used_bytes', 'Used part of the JavaScript heap of the main thread.');
  const external = gauges.single('nodejs_external_memory_bytes', 'Memory of buffers outside the JavaScript heap.');
  const files = gauges.single('process_open_fds', 'Open file descriptors.');
  const filesMax = gauges.single('process_max_fds', 'Limit of open file descriptors.');
  const lag = eventLoopLag(gauges);
  started((Date.now() - process.uptime() * 1000) / 1000);
  const limit = openFilesMax();
  return {
    refresh: async () => {
      const [open, max] = await Promise.all([openFiles(), limit]);
      files(open);
      filesMax(max);
      const { user, system } = process.cpuUsage();
      cpu.reset();
      cpu.inc((user + system) / 1e6);
      const memory = process.memoryUsage();
      resident(memory.rss);
      heap(memory.heapUsed);
      external(memory.external);
      lag.refresh();
    },
    [Symbol.dispose]: lag[Symbol.dispose],
  };
}

function eventLoopLag(gauges: Gauges): Disposable & { refresh(): void } {
  const percentiles = [50, 90, 99].map(
    (percentile) =>
      [
        percentile,
        gauges.single(
          `nodejs_eventloop_lag_p${percentile}_seconds`,
          `Event-loop lag since the previous scrape: percentile ${percentile}.`,
        ),
      ] as const,
  );
  const max = gauges.single('nodejs_eventloop_lag_max_seconds', 'Event-loop lag since the previous scrape: maximum.');
  const delays = monitorEventLoopDelay({ resolution: resolutionMs });
  const lagS = (nanoseconds: number) => Math.max(0, nanoseconds / 1e9 - resolutionMs / 1000);
  delays.enable();
  return {
    refresh: () => {
      for (const [percentile, show] of percentiles) show(lagS(delays.percentile(percentile)));
      max(lagS(delays.max));
      delays.reset();
    },
    [Symbol.dispose]: () => void delays.disable(),
  };
}

/** Null on systems other than Linux. The descriptor that lists them is not counted. */
async function openFiles(): Promise<number | null> {
  const open = await readdir('/proc/self/fd').catch(() => null);
  return open === null ? null : open.length - 1;
}

/** Null where there is no limit, or on systems other than Linux. */
async function openFilesMax(): Promise<number | null> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '');
  const [, max] = /^Max open files\s+(\d+)/m.exec(limits) ?? [];
  return max === undefined ? null : Number(max);
}
