/**
 * The performance report: scenes, one after the other, each with servers of its own that are new.
 *
 * `--only` takes one of them. The exit code is 0 when everything is stored as it was sent and every aim is met, else 1.
 * Aims are those of a machine with nothing else to do. Throws when a command fails.
 */
import { availableParallelism, loadavg } from 'node:os';
import { startDovecot } from '../../support/servers/dovecot.ts';
import { startMariadb } from '../../support/servers/mariadb.ts';
import { rounded } from '../measure/quantiles.ts';
import { cost } from './cost.ts';
import { emptyPoll } from './empty-poll.ts';
import { huge } from './huge.ts';
import { larger } from './larger.ts';
import { many } from './many.ts';
import { closingText, isAllWell, reportText, type SceneReport, sceneReport } from './report.ts';
import type { PerformanceOptions, Scene } from './scene.ts';
import { embedded, single } from './single.ts';

const scenes: readonly Scene[] = [single, larger, many, huge, emptyPoll, embedded, cost];

export const sceneNames: readonly string[] = scenes.map(({ name }) => name);

/** How much is done unless set otherwise. */
export const performanceDefaults = {
  count: 2000,
  runs: 5,
  mailboxes: 50,
  largest: 20_000,
  polls: 300,
  hugeMb: 45,
} as const;

/** `only` null: all of them. */
export async function performanceRun(
  { only, json, ...options }: PerformanceOptions & { readonly only: string | null; readonly json: boolean },
  progress: (line: string) => void,
): Promise<number> {
  const loadBefore = rounded(loadavg()[0] ?? null, 1);
  const reports: SceneReport[] = [];
  for (const scene of scenes) {
    if (only !== null && scene.name !== only) continue;
    const report = await runScene(scene, options, (line) => progress(`${scene.name}: ${line}`));
    reports.push(report);
  }
  const isMet = isAllWell(reports);
  const machine = { cores: availableParallelism(), load_before: loadBefore, other_sizes: otherSizes(options) };
  const { count, largest, mailboxes, polls, hugeMb } = options;
  const sizes = { count, largest, mailboxes, polls, huge_mb: hugeMb };
  const report = { node: process.version, ...machine, ...sizes, is_met: isMet, scenes: reports };
  process.stdout.write(json ? `${JSON.stringify(report)}\n` : reportText(reports) + closingText(reports, machine));
  return isMet ? 0 : 1;
}

/** What is not as usual, as options; an aim is that of the usual size. */
function otherSizes(options: PerformanceOptions): readonly string[] {
  const sizes = ['count', 'mailboxes', 'largest', 'polls', 'hugeMb'] as const;
  return sizes
    .filter((size) => options[size] !== performanceDefaults[size])
    .map(
      (size) => `--${size === 'hugeMb' ? 'huge-mb' : size} ${options[size]} instead of ${performanceDefaults[size]}`,
    );
}

async function runScene(
  { name, about, figures, database, run }: Scene,
  options: PerformanceOptions,
  progress: (line: string) => void,
): Promise<SceneReport> {
  await using undo = new AsyncDisposableStack();
  const dovecot = undo.use(await startDovecot());
  const mariadb = database === 'mariadb' ? undo.use(await startMariadb({ durable: true })) : null;
  const runs = await run({ ...options, dovecot, mariadb, progress });
  return sceneReport({ name, about: about(options), figures }, runs);
}
