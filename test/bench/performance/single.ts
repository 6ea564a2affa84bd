/**
 * `single` and `embedded`: how fast the messages of one mailbox become tickets, in MariaDB that syncs every commit and
 * in SQLite, beside imapflow fetching and dropping the same messages in the same run.
 *
 * Fails with what a command printed.
 */
import { fillOnce, runBesideDrop } from './filled.ts';
import {
  type Aim,
  atLeast,
  atMost,
  below,
  figure,
  type RunValues,
  type Scene,
  type SceneContext,
  type SceneRuns,
} from './scene.ts';

/** Names of threads, as the kernel has them. */
const threads = [
  { thread: 'main', figure: 'main_cpu_s_per_1000', label: '… main thread' },
  { thread: 'WorkerThread', figure: 'parse_cpu_s_per_1000', label: '… parse threads' },
  { thread: 'storage', figure: 'storage_cpu_s_per_1000', label: '… storage thread' },
  { thread: 'node-V8Worker', figure: 'v8_cpu_s_per_1000', label: '… V8, which compiles and collects' },
] as const;

type Aims = { readonly rate: Aim; readonly cpu: Aim | null; readonly peak: Aim | null; readonly ratio: Aim | null };

function figuresOf({ rate, cpu, peak, ratio }: Aims): Scene['figures'] {
  return [
    figure('messages_per_s', 'messages per second', 0, rate),
    figure('whole_process_per_s', '… with start and end of the process', 0),
    figure('client_cpu_s_per_1000', 'CPU seconds per 1,000, whole process', 2, cpu),
    ...threads.map(({ figure: name, label }) => figure(name, label, 2)),
    figure('peak_rss_mb', 'peak memory, MB', 0, peak),
    figure('ratio_to_fetch_and_drop', 'ratio to fetching and dropping', 3, ratio),
    figure('fetch_and_drop_per_s', 'fetched and dropped per second, imapflow', 0),
    figure('fetch_and_drop_cpu_s_per_1000', '… CPU seconds per 1,000', 2),
  ];
}

export const single: Scene = {
  name: 'single',
  about: ({ count }) => `${count} messages of one mailbox into MariaDB`,
  database: 'mariadb',
  figures: figuresOf({ rate: atLeast(1200), cpu: atMost(1.4), peak: below(300), ratio: atLeast(0.28) }),
  run: runAll,
};

export const embedded: Scene = {
  name: 'embedded',
  about: ({ count }) => `${count} messages of one mailbox into SQLite`,
  database: 'sqlite',
  figures: figuresOf({ rate: atLeast(1000), cpu: null, peak: null, ratio: null }),
  run: runAll,
};

async function runAll({ dovecot, mariadb, count, runs, progress }: SceneContext): Promise<SceneRuns> {
  const filled = await fillOnce(dovecot, count, progress);
  const values: RunValues[] = [];
  let isExact = true;
  for (let run = 1; run <= runs; run++) {
    const tell = (line: string) => progress(`run ${run} of ${runs}: ${line}`);
    const { figures, exact } = await runBesideDrop({ dovecot, mariadb }, filled, tell);
    isExact &&= exact;
    const { messages_per_s, client_cpu_s_per_1000, peak_rss_mb, ratio_to_fetch_and_drop } = figures;
    const { fetch_and_drop_per_s, fetch_and_drop_cpu_s_per_1000 } = figures;
    const used = figures.cpu_s_per_1000_by_thread;
    values.push({
      ...Object.fromEntries(threads.map(({ thread, figure: name }) => [name, used[thread] ?? null])),
      ...{ messages_per_s, client_cpu_s_per_1000, peak_rss_mb, ratio_to_fetch_and_drop },
      ...{ fetch_and_drop_per_s, fetch_and_drop_cpu_s_per_1000 },
      whole_process_per_s: figures.process_messages_per_s,
    });
  }
  return { runs: values, exact: isExact };
}
