import { expect, test } from 'vitest';
import { createScreen, type ScreenSize } from '../../../src/adapters/terminal/screen.ts';

/** The output of each picture. */
function screen(colours = false) {
  const drawn: string[] = [];
  const size = { columns: 20, rows: 6 };
  const print = async (text: string): Promise<void> => void drawn.push(text);
  return {
    drawn,
    size: size as { -readonly [name in keyof ScreenSize]: ScreenSize[name] },
    ...createScreen(print, () => size, colours),
  };
}

test('a picture is one write, without clearing the screen first', async () => {
  const { drawn, draw } = screen();
  await draw([['one'], ['two']]);
  await draw([['three']]);
  expect(drawn).toHaveLength(2);
  expect(drawn[0]).toBe('\x1b[?2026h\x1b[?25l\x1b[2J\x1b[Hone\x1b[K\ntwo\x1b[K\n\x1b[J\x1b[?2026l');
  expect(drawn[1]).toBe('\x1b[?2026h\x1b[Hthree\x1b[K\n\x1b[J\x1b[?2026l');
});

test('a change of the terminal size clears the screen', async () => {
  const { drawn, draw, size } = screen();
  await draw([['one']]);
  size.columns = 10;
  await draw([['one']]);
  expect(drawn[1]).toContain('\x1b[2J');
});

test('a picture is cut to the height of the terminal, so that it never scrolls', async () => {
  const { drawn, draw } = screen();
  await draw(Array.from({ length: 9 }, (_, index) => [`line ${index} ${'x'.repeat(40)}`]));
  const [text = ''] = drawn;
  expect(text.split('\n')).toHaveLength(6);
  expect(text).toContain('line 3 xxxxxxxxxxxx…');
  expect(text).not.toContain('line 4');
  expect(text).toContain('… 5 more lines: mak…');
});

test('a cut line resets its colour', async () => {
  const { drawn, draw } = screen(true);
  await draw([
    [
      ['x'.repeat(40), 'red'],
      ['never', 'green'],
    ],
  ]);
  expect(drawn[0]).toContain(`\x1b[31m${'x'.repeat(19)}…\x1b[39m\x1b[K`);
  expect(drawn[0]).not.toContain('never');
});

test('the end shows the cursor again, once, and only if it was hidden', async () => {
  const { drawn, draw, end } = screen();
  await end();
  expect(drawn).toEqual([]);
  await draw([]);
  await end();
  await end();
  expect(drawn.slice(1)).toEqual(['\x1b[?25h']);
});
