import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chmod, rename, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { readSince } from '../../src/commands/logs.ts';
import { launcher } from '../support/processes/launcher.ts';
import { type TemporaryFolder, temporaryFolder } from '../support/temporary.ts';
import { plainLines, type RunningCommand, runInProcess, startInProcess } from './command-line.ts';

let folder: TemporaryFolder;
let file: string;

beforeEach(async () => {
  folder = await temporaryFolder('logs');
  file = join(folder.path, 'daemon.log');
});

afterEach(() => folder[Symbol.asyncDispose]());

const nowMs = Date.UTC(2026, 0, 31, 8, 30);
const now = (): number => nowMs;

/** A line that was logged `minutes` ago. */
function line(minutes: number, event: string, more: object = {}): string {
  const time = new Date(nowMs - minutes * 60_000).toISOString();
  return `${JSON.stringify({ level: 'info', time, ...more, event })}\n`;
}

const night = [
  line(90, 'daemon.starting'),
  line(60, 'poll.failed', { level: 'warn', mailbox: 'sales', failures: 1 }),
  'TypeError: something that is no JSON\n',
  line(30, 'poll.finished', { mailbox: 'support', duration_ms: 7 }),
  line(20, 'poll.empty', { level: 'debug', mailbox: 'support' }),
  line(10, 'database.unavailable', { level: 'error' }),
].join('');

/** The events that are shown, and the first word of other lines. */
function shown(out: string): readonly string[] {
  return plainLines(out)
    .filter((text) => text !== '')
    .map((text) => /^\d{4}-\d\d-\d\d \S+ [A-Z]+ +(\S+)/.exec(text)?.[1] ?? text.split(' ')[0] ?? '');
}

const everything = [
  'daemon.starting',
  'poll.failed',
  'TypeError:',
  'poll.finished',
  'poll.empty',
  'database.unavailable',
];

describe('lines', () => {
  test('of standard input and of a file are equal', async () => {
    await writeFile(file, night);
    const [piped, read] = await Promise.all([runInProcess(['logs'], { input: night }), runInProcess(['logs', file])]);
    expect(shown(piped.out)).toEqual(everything);
    expect(read).toEqual(piped);
  });

  test('that arrive in small chunks are equal, also when a character is split', async () => {
    const bytes = Buffer.from(line(1, 'poll.failed', { mailbox: 'Käse 🧀' }) + line(1, 'poll.empty'));
    const pieces = Readable.from(Array.from(bytes, (_, index) => bytes.subarray(index, index + 1)));
    const { out } = await runInProcess(['logs'], { input: pieces });
    expect(shown(out)).toEqual(['poll.failed', 'poll.empty']);
    expect(out).toContain('Käse 🧀');
  });

  test('without a final line end are shown too', async () => {
    expect((await runInProcess(['logs'], { input: 'half a line' })).out).toBe('half a line\n');
  });

  test('of hostile content send no control sequence to the terminal', async () => {
    const evil = '\x1b]0;title\x07\x1b[2J\x9b31m\u202e';
    const input = `${evil}\n${line(1, 'poll.failed', { mailbox: evil, error: { code: evil, message: evil, hint: evil } })}{"${evil}`;
    const { out } = await runInProcess(['logs'], { input, size: { columns: 80, rows: 24 }, colours: true });
    expect(stripVTControlCharacters(out)).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
    expect(out).not.toContain('\x1b]');
  });

  test('with a journal priority in front are read like any other', async () => {
    expect(shown((await runInProcess(['logs'], { input: `<4>${line(1, 'poll.failed')}` })).out)).toEqual([
      'poll.failed',
    ]);
  });

  test('have colours on a terminal only', async () => {
    const size = { columns: 80, rows: 24 };
    expect((await runInProcess(['logs'], { input: night, size, colours: true })).out).toContain('\x1b[');
    expect((await runInProcess(['logs'], { input: night, size, colours: false })).out).not.toContain('\x1b[');
    expect((await runInProcess(['logs'], { input: night, colours: true })).out).not.toContain('\x1b[');
  });
});

test('a command in a hint names the mailbox of its line, for the shell', async () => {
  const hint = 'Set it again: ticketmaild mailbox set-password NAME';
  const input = ['sales', "o'hara box", undefined]
    .map((mailbox) => line(1, 'poll.failed', { mailbox, error: { code: 'login_refused', message: 'refused', hint } }))
    .join('');
  const hinted = plainLines((await runInProcess(['logs'], { input })).out).filter((one) => one.includes('hint: '));
  expect(hinted.map((one) => one.split('set-password ')[1])).toEqual(['sales', `'o'\\''hara box'`, 'NAME']);
});

describe('filters', () => {
  test.each<[string, string[], string[]]>([
    ['the last lines', ['--lines', '2'], ['poll.empty', 'database.unavailable']],
    ['a mailbox', ['--mailbox', 'support'], ['poll.finished', 'poll.empty']],
    [
      'a level and above, with what is no JSON',
      ['--level', 'warn'],
      ['poll.failed', 'TypeError:', 'database.unavailable'],
    ],
    ['the beginning of an event', ['--event', 'poll.f'], ['poll.failed', 'poll.finished']],
    ['a time', ['--since', '65min'], everything.slice(1)],
    ['a time, and what is no JSON goes with the line before', ['--since', '45min'], everything.slice(3)],
    ['several at once', ['--event', 'poll.', '--level', 'info', '--lines', '1'], ['poll.finished']],
  ])('by %s', async (_title, args, events) => {
    await writeFile(file, night);
    const [piped, read] = await Promise.all([
      runInProcess(['logs', ...args], { input: night, nowMs: now }),
      runInProcess(['logs', file, ...args], { nowMs: now }),
    ]);
    expect(shown(piped.out)).toEqual(events);
    expect(read.out).toBe(piped.out);
  });

  test.each<[string[], string]>([
    [['--lines', '0'], '--lines must be a whole number from 1 to 100000, not "0"'],
    [['--lines', '1e3'], '--lines must be'],
    [['--level', 'loud'], '--level must be trace, debug, info, warn, error, not "loud"'],
    [['--since', 'soon'], '--since "soon" is not a time'],
    [['--since', '2026-02-31T99:00'], 'is not a time'],
    [['a-file', '--unit', 'x'], '--unit is for the journal, not for a file'],
  ])('that are invalid are usage errors: %j', async (args, message) => {
    const { code, err } = await runInProcess(['logs', ...args]);
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(message) });
  });

  test('accept several forms of times', () => {
    const local = (...parts: [number, number, number, number?, number?, number?]): number =>
      new Date(...parts).getTime();
    const today = new Date(nowMs);
    const midnight = local(today.getFullYear(), today.getMonth(), today.getDate());
    const at = (text: string): number => readSince(text, nowMs);
    expect(at('90s')).toBe(nowMs - 90_000);
    expect(at('15m')).toBe(at('15 min'));
    expect(at('2h')).toBe(nowMs - 7_200_000);
    expect(at('3d ago')).toBe(nowMs - 3 * 86_400_000);
    expect(at('today')).toBe(midnight);
    expect(at('03:05')).toBe(new Date(midnight).setHours(3, 5));
    expect(at('2026-01-30')).toBe(local(2026, 0, 30));
    expect(at('2026-01-30 08:30')).toBe(local(2026, 0, 30, 8, 30));
    expect(at('2026-01-30T08:30:15Z')).toBe(Date.UTC(2026, 0, 30, 8, 30, 15));
    expect(at('2026-01-30T08:30:15.5+01:00')).toBe(Date.UTC(2026, 0, 30, 7, 30, 15, 500));
  });
});

describe('a file that is followed', () => {
  async function follow(...more: string[]): Promise<RunningCommand & { stop: () => Promise<void> }> {
    const stop = new AbortController();
    const running = startInProcess(['logs', file, '--follow', ...more], { stop: stop.signal, nowMs: now });
    const end = async (): Promise<void> => {
      stop.abort();
      expect(await running.end).toMatchObject({ code: 0, err: '' });
    };
    return { ...running, stop: end };
  }

  async function until(running: RunningCommand, events: readonly string[]): Promise<void> {
    const untilMs = performance.now() + 5000;
    while (shown(running.out()).length < events.length && performance.now() < untilMs) await wait(20);
    expect(shown(running.out())).toEqual(events);
  }

  test('shows its last lines and then appended ones, filtered', async () => {
    await writeFile(file, night);
    const running = await follow('--lines', '1', '--event', 'poll.');
    await until(running, ['poll.empty']);
    await appendFile(file, line(0, 'daemon.ready') + line(0, 'poll.started').slice(0, 20));
    await wait(400);
    await appendFile(file, line(0, 'poll.started').slice(20));
    await until(running, ['poll.empty', 'poll.started']);
    await running.stop();
  });

  test('is followed across a rotation and a truncation without losing a line', async () => {
    await writeFile(file, line(1, 'daemon.starting'));
    const running = await follow();
    await until(running, ['daemon.starting']);
    await appendFile(file, line(1, 'poll.started'));
    await rename(file, `${file}.1`);
    await appendFile(`${file}.1`, line(1, 'poll.empty'));
    await wait(400);
    await writeFile(file, line(1, 'daemon.ready'));
    await until(running, ['daemon.starting', 'poll.started', 'poll.empty', 'daemon.ready']);
    await truncate(file, 0);
    await wait(700);
    await appendFile(file, line(1, 'daemon.stopped'));
    await until(running, ['daemon.starting', 'poll.started', 'poll.empty', 'daemon.ready', 'daemon.stopped']);
    await running.stop();
  });
});

describe('the journal', () => {
  /** Calls a program in the place of journalctl, and gives what it was called with. */
  async function asked(
    args: readonly string[],
    script: string,
    input: string | null = null,
  ): Promise<{ seen: Awaited<ReturnType<typeof runInProcess>>; args: unknown }> {
    const { programChunks } = await import('../../src/commands/logs.ts');
    let called: unknown = null;
    const seen = await runInProcess(['logs', ...args], {
      input,
      nowMs: now,
      inputs: {
        programChunks: async (name, given, stop) => {
          called = [name, ...given];
          return programChunks('/bin/sh', ['-c', script], stop);
        },
      },
    });
    return { seen, args: called };
  }

  const form = ['--output=json', '--output-fields=MESSAGE,_SYSTEMD_UNIT,UNIT', '--all', '--no-pager'];
  const usual = ['journalctl', '--unit=ticketmaild', '--unit=ticketmaild@*', ...form];

  /** What journalctl prints for the lines of `text`, all of one unit. */
  function journal(text: string, unit = 'ticketmaild.service'): string {
    const lines = text.trimEnd().split('\n');
    return lines.map((MESSAGE) => `${JSON.stringify({ __CURSOR: 'x', MESSAGE, _SYSTEMD_UNIT: unit })}\n`).join('');
  }

  test('is read with journalctl at a terminal without a file', async () => {
    await writeFile(file, journal(night));
    const { seen, args } = await asked([], `cat ${file}`);
    expect(args).toEqual(usual);
    expect(shown(seen.out)).toEqual(everything);
  });

  test.each<[string[], string[]]>([
    [['--follow'], ['--follow', '--lines=10']],
    [
      ['--follow', '--since', '1h'],
      ['--follow', `--since=@${nowMs / 1000 - 3600}`],
    ],
    [['--lines', '5'], ['--lines=5']],
    [['--lines', '5', '--mailbox', 'support'], []],
    [
      ['--follow', '--lines', '5', '--mailbox', 'support'],
      ['--follow', '--lines=5'],
    ],
  ])('is queried with the filters: %j', async (args, passed) => {
    expect((await asked(args, ':')).args).toEqual([...usual, ...passed]);
  });

  test('of another unit is queried with one argument, whatever its name', async () => {
    const { args } = await asked(['--unit', 'x --vacuum-time=1s; reboot'], ':');
    expect(args).toEqual(['journalctl', '--unit=x --vacuum-time=1s; reboot', ...form]);
  });

  test('is read without a terminal, as in a script, with --unit', async () => {
    const { args } = await asked(['--unit', 'ticketmaild'], ':', '');
    expect(args).toEqual(['journalctl', '--unit=ticketmaild', ...form]);
    expect((await asked([], ':', '')).args).toBeNull();
  });

  test('shows the worker of each line, where it has a name', async () => {
    const systemd = { MESSAGE: 'Started it.', UNIT: 'ticketmaild@2.service', _SYSTEMD_UNIT: 'init.scope' };
    await writeFile(
      file,
      [
        journal(line(3, 'poll.empty')),
        journal(line(2, 'poll.finished', { error: { hint: 'Look.' } }), 'ticketmaild@1.service'),
        `${JSON.stringify(systemd)}\n`,
      ].join(''),
    );
    const { out } = (await asked([], `cat ${file}`)).seen;
    expect(plainLines(out)).toEqual([
      expect.stringMatching(/^\d{4}-.+ poll\.empty/),
      expect.stringMatching(/^@1 \d{4}-.+ poll\.finished/),
      expect.stringMatching(/^@1 +hint: Look\.$/),
      '@2 Started it.',
    ]);
  });

  test('can have messages of bytes, of several lines, and lines that are not entries', async () => {
    const bytes = { MESSAGE: [...Buffer.from('\x1b[2Jbytes\n')], _SYSTEMD_UNIT: 'ticketmaild.service' };
    const lines = [bytes, { MESSAGE: 'one\ntwo' }, { MESSAGE: ['first', 'second'] }, { MESSAGE: null }, { other: 1 }];
    await writeFile(file, `${lines.map((one) => JSON.stringify(one)).join('\n')}\n-- cursor: x\n`);
    const { out } = (await asked([], `cat ${file}`)).seen;
    const [first, ...others] = plainLines(out);
    expect(first).toMatch(/bytes$/);
    expect(first).not.toContain('\x1b');
    expect(others).toEqual(['one', 'two', 'first', '', '{"other":1}', '-- cursor: x']);
  });

  test('is filtered by mailbox, level and event', async () => {
    await writeFile(file, journal(night));
    const { seen } = await asked(['--lines', '1', '--mailbox', 'support', '--level', 'info'], `cat ${file}`);
    expect(shown(seen.out)).toEqual(['poll.finished']);
  });

  test('that journalctl cannot read is exit code 1, and a missing journalctl is one line', async () => {
    expect((await asked([], 'exit 3')).seen).toMatchObject({ code: 1, err: expect.stringContaining('exit code 3') });
    const { programChunks } = await import('../../src/commands/logs.ts');
    const none = await runInProcess(['logs'], {
      input: null,
      inputs: { programChunks: async (_, args, stop) => programChunks('/nowhere/journalctl', args, stop) },
    });
    expect(none).toMatchObject({ code: 2, out: '' });
    expect(none.err).toMatch(/^\S+ is not installed, so the journal cannot be read\nhint: .+\n$/);
  });
});

test('an unreadable file is a one-line error', async () => {
  for (const path of [join(folder.path, 'none'), folder.path]) {
    const { code, err, out } = await runInProcess(['logs', path]);
    expect({ code, out }).toEqual({ code: 2, out: '' });
    expect(err).toMatch(new RegExp(`^${path}: [^\n]+\nhint: [^\n]+\n$`));
  }
  await writeFile(file, '');
  await chmod(file, 0o600);
  expect(await runInProcess(['logs', file])).toMatchObject({ code: 0, out: '', err: '' });
});

describe('as a process', () => {
  test('a reader that closes the pipe early is no error, and an endless input does not fill the memory', async () => {
    const endless = `yes '${line(1, 'poll.empty').trim()}'`;
    const command = `${endless} | '${process.execPath}' --max-old-space-size=40 '${launcher}' logs | head -200000 | tail -1`;
    const { promisify } = await import('node:util');
    const { stdout, stderr } = await promisify(execFile)('/bin/sh', ['-c', command]);
    expect(stderr).toBe('');
    expect(stdout).toContain('poll.empty');
  });

  test('Ctrl-C ends it quietly', async () => {
    await writeFile(file, night);
    const child = spawn(process.execPath, [launcher, 'logs', file, '--follow'], { stdio: ['ignore', 'pipe', 'pipe'] });
    let told = '';
    child.stderr.on('data', (text) => {
      told += String(text);
    });
    await once(child.stdout, 'data');
    child.kill('SIGINT');
    const [code] = await once(child, 'close');
    expect({ code, told }).toEqual({ code: 130, told: '' });
  });
});

describe('without a terminal and without a file', () => {
  const journal = (): { readonly inputs: object; readonly asked: string[] } => {
    const asked: string[] = [];
    async function* programChunks(name: string) {
      asked.push(name);
      yield Buffer.from(`${JSON.stringify({ MESSAGE: line(1, 'daemon.ready').trim() })}\n`);
    }
    return { asked, inputs: { programChunks: async (name: string) => programChunks(name) } };
  };

  test.each(['none', 'socket'] as const)('the journal is read where standard input (%s) has no lines', async (kind) => {
    const { asked, inputs } = journal();
    const { code, out } = await runInProcess(['logs'], { inputs: { ...inputs, stdinKind: async () => kind } });
    expect({ code, events: shown(out), asked }).toEqual({ code: 0, events: ['daemon.ready'], asked: ['journalctl'] });
  });

  test('lines over a socket are read, as through ssh', async () => {
    const { asked, inputs } = journal();
    const given = { input: night, inputs: { ...inputs, stdinKind: async () => 'socket' as const } };
    expect(shown((await runInProcess(['logs'], given)).out)).toEqual(everything);
    expect(asked).toEqual([]);
  });

  test('an empty pipe or file is said in one line, and is not replaced by the journal', async () => {
    const { asked, inputs } = journal();
    expect(await runInProcess(['logs'], { inputs })).toEqual({
      ...{ code: 0, out: '', json: [] },
      err: 'No line was found: standard input is empty. The journal is read with ticketmaild logs --unit ticketmaild\n',
    });
    const elsewhere = await runInProcess(['logs'], { inputs: { ...inputs, hasUnit: async () => false } });
    expect(elsewhere.err).toContain('is empty. A file is read with ticketmaild logs FILE\n');
    expect(asked).toEqual([]);
  });

  test('a pipe whose lines are filtered out is as silent as grep', async () => {
    expect(await runInProcess(['logs', '--event', 'none.'], { input: night })).toMatchObject({ out: '', err: '' });
  });

  test('without a unit here, the note names a file and run --pretty, and no unit', async () => {
    const inputs = { stdinKind: async () => 'none' as const, hasUnit: async () => false };
    const programChunks = async () => Readable.from([]);
    const { err } = await runInProcess(['logs'], { inputs: { ...inputs, programChunks } });
    expect(err).toBe(
      'No line was found: no unit of ticketmaild is installed here. In a terminal: ticketmaild run --pretty; of a file: ticketmaild logs FILE.\n',
    );
  });

  test.each([
    ['/dev/null', 'none'],
    ['a file', 'data'],
    ['a pipe', 'data'],
  ])('%s is recognized', async (what, kind) => {
    await writeFile(file, '');
    const script = `import { stdinKind } from '${join(import.meta.dirname, '../../src/commands/logs.ts')}'; console.log(stdinKind());`;
    const from = { '/dev/null': '</dev/null', 'a file': `<${file}`, 'a pipe': '' }[what];
    const shell = `${what === 'a pipe' ? 'true | ' : ''}"$NODE" --input-type=module -e "$SCRIPT" ${from}`;
    const env = { ...process.env, NODE: process.execPath, SCRIPT: script };
    const child = spawn('sh', ['-c', shell], { env, stdio: ['ignore', 'pipe', 'inherit'] });
    let out = '';
    for await (const chunk of child.stdout) out += chunk;
    expect(out.trim()).toBe(kind);
  });
});
