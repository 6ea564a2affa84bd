/**
 * Full-screen picture on a terminal, redrawn in place without flicker (synchronized output, DEC private mode 2026).
 *
 * Each picture is one write that overwrites the previous one line by line, without clearing it first. Lines are cut to
 * the current width of the terminal, the picture to its height.
 */

import { type StyledLine, styledText } from './text-layout.ts';

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
