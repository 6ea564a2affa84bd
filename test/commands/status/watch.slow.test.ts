import { setTimeout as wait } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { temporaryFolder } from '../../support/temporary.ts';
import { type CommandOptions, plainLines, type RunningCommand, runInProcess, startInProcess } from '../command-line.ts';
import { bad, fine, type SampleServer, sampleMs, serveSample } from './samples.ts';

const size = { columns: 80, rows: 40 };

type Watching = RunningCommand & { stop: () => Promise<number> };

function watch(server: Pick<SampleServer, 'dataDir'>, options: CommandOptions = {}): Watching {
  const stop = new AbortController();
  let nowMs = sampleMs;
  const running = startInProcess(['status', '--watch'], {
    env: { TICKETMAILD_DATA_DIR: server.dataDir },
    ...{ size, colours: true, stop: stop.signal, nowMs: () => (nowMs += 1000) },
    ...options,
  });
  const end = async (): Promise<number> => {
    stop.abort();
    const { code, err } = await running.end;
    expect(err).toBe('');
    return code;
  };
  return { ...running, stop: end };
}

/** The last picture, as lines. */
function picture({ out }: RunningCommand): readonly string[] {
  return plainLines(out().split('\x1b[?2026h').at(-1) ?? '');
}

/** The first line of the picture begins so. */
async function untilTold(running: RunningCommand, text: string): Promise<void> {
  const untilMs = performance.now() + 8000;
  while (!picture(running)[0]?.startsWith(text) && performance.now() < untilMs) await wait(20);
  expect(picture(running)[0]).toMatch(new RegExp(`^${text}`));
}

describe('status --watch', () => {
  test('redraws in place, follows changes, and ends at once with the last exit code', async () => {
    await using server = await serveSample(fine);
    const watching = watch(server);
    await untilTold(watching, 'READY');
    server.answer = bad;
    await untilTold(watching, 'NOT READY: database');
    const startedAt = performance.now();
    expect(await watching.stop()).toBe(1);
    expect(performance.now() - startedAt).toBeLessThan(500);
    const out = watching.out();
    // The screen is cleared once, and never in between: that would flicker.
    expect(out.match(/\x1b\[2J/g)).toHaveLength(1);
    expect(out.endsWith('\x1b[?25h')).toBe(true);
  });

  test('keeps the last picture without its colours while there is no answer, and continues with the next one', async () => {
    await using folder = await temporaryFolder('watch');
    const first = await serveSample(fine, folder.path);
    const watching = watch(first);
    await untilTold(watching, 'READY');
    await first[Symbol.asyncDispose]();
    await untilTold(watching, 'NO ANSWER since');
    expect(picture(watching)[0]).toMatch(/^NO ANSWER since \d{4}-\d\d-\d\d [\d:]+ \(\d+ s\): no daemon answers at/);
    expect(picture(watching)).toContain('The last answer was:');
    const last = watching.out().split('\x1b[?2026h').at(-1) ?? '';
    expect(last).not.toContain('\x1b[32m');
    await using _second = await serveSample(fine, folder.path);
    await untilTold(watching, 'READY');
    expect(await watching.stop()).toBe(0);
  });

  test('can start before the daemon, and ends during a request', async () => {
    await using server = await serveSample(fine);
    server.isSilent = true;
    const watching = watch(server);
    await wait(100);
    const startedAt = performance.now();
    expect(await watching.stop()).toBe(1);
    expect(performance.now() - startedAt).toBeLessThan(500);
  });

  test('never draws more lines than the terminal has', async () => {
    await using server = await serveSample(bad);
    const watching = watch(server, { size: { columns: 60, rows: 10 } });
    await untilTold(watching, 'NOT READY');
    expect(picture(watching).at(-1)).toMatch(/^… \d+ more lines: make the window taller$/);
    expect(picture(watching).length).toBeLessThan(10);
    await watching.stop();
  });

  test.each([
    [['--json'], size, '--watch and --json exclude each other'],
    [[], null, '--watch needs a terminal on standard output'],
  ])('is a usage error where it is impossible: %j', async (args, terminal, message) => {
    const { code, err } = await runInProcess(['status', '--watch', ...args], { size: terminal });
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(message) });
  });
});
