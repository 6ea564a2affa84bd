/**
 * Progress bar on one terminal line, redrawn in place at most ten times a second and removed at the end.
 *
 * Shown for 50 steps or more only.
 */

import { cutToWidth } from './text-layout.ts';

export type Progress = {
  update(done: number, total: number): void;
  clear(): void;
};

const totalMin = 50;
const redrawAfterMs = 100;
const barWidth = 30;
const toLineStart = '\r\x1b[K';

export const silentProgress: Progress = { update: () => undefined, clear: () => undefined };

/** `print` writes to a terminal of `width()` columns. */
export function progressBar(
  label: string,
  print: (text: string) => void,
  width: () => number,
  nowMs: () => number,
): Progress {
  let drawnAtMs: number | null = null;
  return {
    update(done, total) {
      const now = nowMs();
      if (total < totalMin || (drawnAtMs !== null && now - drawnAtMs < redrawAfterMs && done < total)) return;
      drawnAtMs = now;
      print(toLineStart + cutToWidth(barLine(label, done, total), width() - 1));
    },
    clear() {
      if (drawnAtMs !== null) print(toLineStart);
      drawnAtMs = null;
    },
  };
}

function barLine(label: string, done: number, total: number): string {
  const share = Math.min(1, done / total);
  const filled = Math.round(share * barWidth);
  const bar = '█'.repeat(filled) + '░'.repeat(barWidth - filled);
  return `${label} ${bar} ${Math.floor(share * 100)} % (${done} of ${total})`;
}
