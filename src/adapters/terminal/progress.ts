/**
 * A progress bar on one line, redrawn in place: for a terminal, and only when there is much to do.
 *
 * It is drawn at most ten times a second, and taken away without a trace when the work is done.
 */
import { cutToWidth } from './table.ts';

export type Progress = {
  update(done: number, total: number): void;
  clear(): void;
};

const totalMin = 50;
const redrawAfterMs = 100;
const barWidth = 30;
const toLineStart = '\r\x1b[K';

/** `print` writes to a terminal `width()` columns wide. */
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
