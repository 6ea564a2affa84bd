/**
 * Output redrawn in place on a terminal: a full-screen picture (synchronized output, DEC private mode 2026), and a
 * progress bar on one line.
 *
 * Each picture is one write that overwrites the previous one line by line, without clearing it first, so that it does
 * not flicker. Lines are cut to the current width of the terminal, the picture to its height. A progress bar is redrawn
 * at most ten times a second, for 50 steps or more only, and removed at the end.
 */

import { cutToWidth, type StyledLine, styledText } from './text-layout.ts';

export type ScreenSize = { readonly columns: number; readonly rows: number };

export type Screen = {
  draw(lines: readonly StyledLine[]): Promise<void>;
  /** Leaves the last picture, with the cursor below it. */
  end(): Promise<void>;
};

const clear = '\x1b[2J';
const home = '\x1b[H';
const toLineEnd = '\x1b[K';
const toScreenEnd = '\x1b[J';
const hideCursor = '\x1b[?25l';
const showCursor = '\x1b[?25h';
// Terminals without support ignore it.
const beginPicture = '\x1b[?2026h';
const endPicture = '\x1b[?2026l';

export function createScreen(print: (text: string) => Promise<void>, size: () => ScreenSize, colours: boolean): Screen {
  let drawnIn: ScreenSize | null = null;
  return {
    async draw(lines) {
      const { columns, rows } = size();
      // After a change of the window size the old text has moved.
      const isNew = drawnIn?.columns !== columns || drawnIn.rows !== rows;
      drawnIn = { columns, rows };
      const shown = cutToHeight(lines, rows - 1).map((line) => `${styledText(line, colours, columns)}${toLineEnd}\n`);
      const start = isNew ? hideCursor + clear + home : home;
      await print(`${beginPicture}${start}${shown.join('')}${toScreenEnd}${endPicture}`);
    },
    async end() {
      if (drawnIn !== null) await print(showCursor);
      drawnIn = null;
    },
  };
}

function cutToHeight(lines: readonly StyledLine[], height: number): readonly StyledLine[] {
  if (lines.length <= height) return lines;
  const shown = Math.max(0, height - 1);
  return [...lines.slice(0, shown), [[`… ${lines.length - shown} more lines: make the window taller`, 'dim']]];
}

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
