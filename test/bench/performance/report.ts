/**
 * The performance report: of each scene's figures the median of its runs, the lowest and the highest, its aim and
 * whether that is met; one table for people, one object for machines.
 */
import { columnsText } from '../measure/columns.ts';
import { rounded } from '../measure/quantiles.ts';
import { type Aim, type FigureInfo, isMet, medianOf, type RunValues, type SceneRuns } from './scene.ts';

/** Names with underscores: they are the names in the JSON. Of a scene of one run all three values are the same. */
export type FigureReport = {
  readonly figure: string;
  readonly label: string;
  /** null where this system cannot measure it. */
  readonly median: number | null;
  readonly lowest: number | null;
  readonly highest: number | null;
  /** As text, for example `at least 1200`; null: none. */
  readonly aim: string | null;
  /** Of the median. What could not be measured is not met; null: there is no aim. */
  readonly is_met: boolean | null;
};

export type SceneReport = {
  readonly scene: string;
  readonly about: string;
  /** True when everything is stored as it was sent, in every run. */
  readonly exact: boolean;
  readonly runs: number;
  readonly figures: readonly FigureReport[];
};

export function sceneReport(
  { name, about, figures }: { readonly name: string; readonly about: string; readonly figures: readonly FigureInfo[] },
  { runs, exact }: SceneRuns,
): SceneReport {
  return { scene: name, about, exact, runs: runs.length, figures: figures.map((info) => figureReport(info, runs)) };
}

function figureReport({ figure, label, digits, aim }: FigureInfo, runs: readonly RunValues[]): FigureReport {
  const values = runs.map((run) => run[figure] ?? null);
  const measured = values.filter((value) => value !== null);
  const median = medianOf(values);
  return {
    figure,
    label,
    median: rounded(median, digits),
    lowest: measured.length === 0 ? null : rounded(Math.min(...measured), digits),
    highest: measured.length === 0 ? null : rounded(Math.max(...measured), digits),
    aim: aim === null ? null : aimText(aim),
    // What is shown is rounded; what is judged is not.
    is_met: aim === null ? null : isMet(aim, median),
  };
}

function aimText({ is, value }: Aim): string {
  return `${is} ${value}`;
}

export function isAllWell(scenes: readonly SceneReport[]): boolean {
  return scenes.every(({ exact, figures }) => exact && figures.every(({ is_met }) => is_met !== false));
}

export type Machine = {
  readonly cores: number;
  /** Processes that ran or waited in the minute before the first scene, on average; null where it is not known. */
  readonly load_before: number | null;
  /** For example `--count 20 instead of 2000`. */
  readonly other_sizes: readonly string[];
};

/** How many aims were not met, and what may be the reason beside the program; nothing when all were. */
export function closingText(scenes: readonly SceneReport[], { cores, load_before, other_sizes }: Machine): string {
  const missed = scenes.flatMap(({ figures }) => figures).filter(({ is_met }) => is_met === false).length;
  if (missed === 0) return '';
  const aims = missed === 1 ? '1 aim was not met' : `${missed} aims were not met`;
  const busy = load_before === null ? '' : `, and the load before was ${load_before}`;
  const sizes = other_sizes.length === 0 ? '' : ` The sizes were others: ${other_sizes.join(', ')}.`;
  return `\n${aims}. Aims are those of 2 cores with nothing else to do; this machine has ${cores}${busy}.${sizes}\n`;
}

/** One scene below the other. */
export function reportText(scenes: readonly SceneReport[]): string {
  return scenes.map(sceneText).join('\n');
}

function sceneText({ scene, about, exact, runs, figures }: SceneReport): string {
  const median = runs === 1 ? 'one run' : `median of ${runs} runs`;
  const rows = figures.map(({ label, median: middle, lowest, highest, aim, is_met }) => [
    `  ${label}`,
    middle,
    lowest,
    highest,
    aim ?? '',
    is_met === null ? '' : is_met ? 'met' : 'NOT met',
  ]);
  const table = columnsText(['', 'median', 'lowest', 'highest', 'aim', ''], rows);
  const wrong = exact ? '' : '  What is stored differs from what was sent.\n';
  return `${scene}: ${about} (${median})\n${table}${wrong}`;
}
