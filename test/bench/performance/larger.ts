/**
 * `larger`: whether a mailbox of ten times as many messages, or of any number, is as fast and takes no more memory.
 *
 * Runs with few and with many messages take turns, so that both see the same machine. Above 20,000 messages there is
 * one run with many. Data folder and database are removed after each. Fails with what a command printed.
 */
import { ingestFilled, measureFetchAndDrop } from '../ingest/ingest.ts';
import { fillOnce, type Reusable } from './filled.ts';
import { atLeast, atMost, figure, medianOf, ratioOf, type Scene, type SceneContext, type SceneRuns } from './scene.ts';

const repeatedMax = 20_000;

export const larger: Scene = {
  name: 'larger',
  about: ({ count, largest }) => `${largest} messages of one mailbox into MariaDB, in turns with ${count}`,
  database: 'mariadb',
  figures: [
    figure('ratio', 'messages per second, ratio to the smaller one', 2, atLeast(0.9)),
    figure('memory_ratio', 'peak memory, ratio to the smaller one', 2, atMost(1.1)),
    figure('messages_per_s', 'messages per second', 0),
    figure('small_messages_per_s', '… of the smaller one', 0),
    figure('client_cpu_s_per_1000', 'CPU seconds per 1,000, whole process', 2),
    figure('peak_rss_mb', 'peak memory, MB', 0),
    figure('small_peak_rss_mb', '… of the smaller one', 0),
  ],
  run: runAll,
};

async function runAll(context: SceneContext): Promise<SceneRuns> {
  const { dovecot, count, largest, progress } = context;
  const runs = largest > repeatedMax ? 1 : context.runs;
  const few = await fillOnce(dovecot, count, progress);
  const many = await fillOnce(dovecot, largest, progress);
  progress('reading all of them once, so that each run finds them as the others do');
  for (const filled of [few, many]) await measureFetchAndDrop(dovecot, filled);
  const small: Measured[] = [await measure(context, few)];
  const large: Measured[] = [];
  for (let run = 1; run <= runs; run++) {
    large.push(await measure(context, many));
    small.push(await measure(context, few));
  }
  const smallPerSecond = medianOf(small.map(({ perSecond }) => perSecond));
  const smallPeakMb = medianOf(small.map(({ peakRssMb }) => peakRssMb));
  return {
    runs: large.map(({ perSecond, peakRssMb, cpuSPer1000 }, index) => ({
      ratio: ratioOf(perSecond, smallPerSecond),
      memory_ratio: ratioOf(peakRssMb, smallPeakMb),
      messages_per_s: perSecond,
      small_messages_per_s: small[index]?.perSecond ?? null,
      client_cpu_s_per_1000: cpuSPer1000,
      peak_rss_mb: peakRssMb,
      small_peak_rss_mb: small[index]?.peakRssMb ?? null,
    })),
    exact: [...small, ...large].every(({ exact }) => exact),
  };
}

type Measured = {
  readonly perSecond: number;
  readonly cpuSPer1000: number | null;
  readonly peakRssMb: number | null;
  readonly exact: boolean;
};

async function measure({ dovecot, mariadb, progress }: SceneContext, filled: Reusable): Promise<Measured> {
  const { count } = filled;
  await filled.asNew();
  const tell = (line: string) => progress(`${count} messages: ${line}`);
  const { product, exact } = await ingestFilled({ dovecot, mariadb }, filled, tell);
  const { durationS, wallS, cpuS, peakRssMb } = product;
  const cpuSPer1000 = cpuS === null ? null : (cpuS * 1000) / count;
  return { perSecond: count / (durationS ?? wallS), cpuSPer1000, peakRssMb, exact };
}
