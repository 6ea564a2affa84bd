import { PassThrough, Writable } from 'node:stream';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { openTerminal, type Terminal } from '../../../src/adapters/terminal/terminal.ts';

type Screen = { readonly terminal: Terminal; readonly out: () => string; readonly err: () => string };

function screen(options: { isTTY?: boolean; colours?: boolean; columns?: number } = {}): Screen {
  const shown = { out: '', err: '' };
  const collect = (key: 'out' | 'err'): Writable =>
    Object.assign(
      new Writable({
        highWaterMark: 16,
        write(chunk, _, done) {
          shown[key] += String(chunk);
          process.nextTick(done);
        },
      }),
      options,
    );
  let now = 0;
  const terminal = openTerminal({
    stdin: new PassThrough(),
    stdout: collect('out'),
    stderr: collect('err'),
    colours: options.colours ?? true,
    nowMs: () => (now += 60),
  });
  return { terminal, out: () => shown.out, err: () => shown.err };
}

test('colours are used on a terminal only, and not when NO_COLOR is set', async () => {
  const coloured = screen({ isTTY: true });
  await coloured.terminal.line('ok', 'green');
  expect(coloured.out()).toBe('\x1b[32mok\x1b[39m\n');
  for (const plain of [screen(), screen({ isTTY: true, colours: false })]) {
    await plain.terminal.line('ok', 'green');
    expect(plain.out()).toBe('ok\n');
  }
});

test('a subject cannot send control sequences to the terminal', async () => {
  const { terminal, out } = screen({ isTTY: true, colours: false, columns: 80 });
  await terminal.table([{ title: 'SUBJECT', shrinks: true }], [['\x1b[2Jboo\x07']]);
  await terminal.text('body \x1b]0;title\x07');
  await terminal.json({ subject: 'x\x9b31m\u202e' });
  expect(out()).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
});

test('a long listing waits for its reader', async () => {
  const { terminal, out } = screen();
  for (let line = 0; line < 20; line++) await terminal.line(`line ${line}, longer than the buffer of the stream`);
  expect(out().split('\n')).toHaveLength(21);
});

test('progress is shown for 50 steps or more on a terminal, and removed at the end', async () => {
  const busy = screen({ isTTY: true, columns: 80 });
  const bar = await busy.terminal.progress('support');
  for (let done = 0; done <= 100; done += 10) {
    bar.update(done, 100);
    await setImmediate();
  }
  expect(busy.err()).toContain('support ████████████░░░░░░░░░░░░░░░░░░ 40 % (40 of 100)');
  bar.clear();
  await setImmediate();
  expect(busy.err().endsWith('\r\x1b[K')).toBe(true);

  const little = screen({ isTTY: true, columns: 80 });
  (await little.terminal.progress('support')).update(1, 3);
  const piped = screen();
  (await piped.terminal.progress('support')).update(100, 1000);
  await setImmediate();
  expect(little.err() + piped.err()).toBe('');
});

test('questions need a terminal', async () => {
  const { terminal } = screen();
  await expect(terminal.confirm('Sure?', 'Use --yes.')).rejects.toMatchObject({ code: 'usage', hint: 'Use --yes.' });
  expect(() => terminal.askPassword('Password: ')).toThrow('there is no terminal to ask for the password at');
});
