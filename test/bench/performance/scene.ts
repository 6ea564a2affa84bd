/**
 * Scene of the performance report: a name, its figures with their aims, and a run that measures them several
 * times.
 *
 * A scene throws when a command fails. What is stored otherwise than it was sent, and an aim that is not met, are
 * results.
 */
import type { Servers } from '../ingest/ingest.ts';

export type PerformanceOptions = {
  /** How often each figure is measured. */
  readonly runs: number;
  /** Messages in a mailbox. */
  readonly count: number;
  /** Messages in the larger one. */
  readonly largest: number;
  /** Mailboxes that are polled at once. */
  readonly mailboxes: number;
  /** Polls that are measured, after a sixth of that for warming up. */
  readonly polls: number;
  /** Size of the huge message. */
  readonly hugeMb: number;
};

export type SceneContext = PerformanceOptions & Servers & { readonly progress: (line: string) => void };

export type Aim = { readonly is: 'at least' | 'at most' | 'below'; readonly value: number };

export type FigureInfo = {
  /** Its name in the JSON. */
  readonly figure: string;
  readonly label: string;
  readonly digits: number;
  readonly aim: Aim | null;
};

/** What one run measured, by the figures' names; null where this system cannot measure it. */
export type RunValues = Readonly<Record<string, number | null>>;

export type SceneRuns = {
  readonly runs: readonly RunValues[];
  /** False when anything is not stored as it was sent. */
  readonly exact: boolean;
};

export type Scene = {
  readonly name: string;
  readonly about: (options: PerformanceOptions) => string;
  readonly database: 'mariadb' | 'sqlite';
  readonly figures: readonly FigureInfo[];
  run(context: SceneContext): Promise<SceneRuns>;
};

export function figure(name: string, label: string, digits: number, aim: Aim | null = null): FigureInfo {
  return { figure: name, label, digits, aim };
}

export function atLeast(value: number): Aim {
  return { is: 'at least', value };
}

export function atMost(value: number): Aim {
  return { is: 'at most', value };
}

export function below(value: number): Aim {
  return { is: 'below', value };
}

export function isMet({ is, value: aim }: Aim, value: number | null): boolean {
  if (value === null) return false;
  if (is === 'at least') return value >= aim;
  return is === 'at most' ? value <= aim : value < aim;
}

/** The middle one, or the mean of the two in the middle; null when one of them was not measured, or there is none. */
export function medianOf(values: readonly (number | null)[]): number | null {
  const measured = values.filter((value) => value !== null).sort((one, other) => one - other);
  if (measured.length < values.length) return null;
  const lower = measured[(measured.length - 1) >> 1];
  const upper = measured[measured.length >> 1];
  return lower === undefined || upper === undefined ? null : (lower + upper) / 2;
}

/** null when one of them was not measured. */
export function ratioOf(one: number | null, other: number | null): number | null {
  return one === null || other === null ? null : one / other;
}
