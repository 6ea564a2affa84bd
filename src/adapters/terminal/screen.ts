/**
 * A picture on a terminal that is drawn again and again, in place and without flicker.
 *
 * Each picture is one write that overwrites the one before line by line; nothing is blank in between. Lines are cut to the
 * width, and the picture to the height, of the terminal as it is at that moment.
 */
import { type StyledLine, styledText } from './styled.ts';

export type Size = { readonly columns: number; readonly rows: number };

export type Screen = {
  draw(lines: readonly StyledLine[]): Promise<void>;
  /** Leaves the last picture where it is, and the cursor below it. */
  end(): Promise<void>;
};

const clear = '\x1b[2J';
const home = '\x1b[H';
const toLineEnd = '\x1b[K';
const toScreenEnd = '\x1b[J';
const hideCursor = '\x1b[?25l';
const showCursor = '\x1b[?25h';
// A terminal that knows it shows the whole picture at once; any other ignores it.
const beginPicture = '\x1b[?2026h';
const endPicture = '\x1b[?2026l';

export function createScreen(print: (text: string) => Promise<void>, size: () => Size, colours: boolean): Screen {
  let drawnIn: Size | null = null;
  return {
    async draw(lines) {
      const { columns, rows } = size();
      // The text of a window that changed its size is somewhere else.
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
  const kept = Math.max(0, height - 1);
  return [...lines.slice(0, kept), [[`… ${lines.length - kept} more lines: make the window taller`, 'dim']]];
}
