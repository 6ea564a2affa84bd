import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Readable } from 'node:stream';
import { setTimeout as wait } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { stripVTControlCharacters } from 'node:util';
import { describe, expect, test } from 'vitest';
import { localTime, prettyLine, readLogEntry } from '../src/adapters/terminal/log-lines.ts';
import { Failure } from '../src/errors.ts';
import { createLog, isJournal, LineWriter, type LogOptions } from '../src/log.ts';
import { temporaryFolder } from './support/temporary.ts';

function logged(options: Omit<LogOptions, 'destination'>): { log: ReturnType<typeof createLog>; lines: string[] } {
  const lines: string[] = [];
  return { log: createLog({ ...options, destination: { write: (line) => void lines.push(line) } }), lines };
}

describe('lines for the journal', () => {
  test('begin with their priority, and the rest is JSON', () => {
    const { log, lines } = logged({ level: 'trace', pretty: false, journal: true });
    for (const level of ['error', 'warn', 'info', 'debug', 'trace'] as const) log[level]({ uid: 7 }, 'poll.empty');
    expect(lines.map((line) => line.slice(0, 3))).toEqual(['<3>', '<4>', '<6>', '<7>', '<7>']);
    for (const line of lines) {
      expect(JSON.parse(line.slice(3))).toMatchObject({ event: 'poll.empty', uid: 7 });
      expect(line.indexOf('\n')).toBe(line.length - 1);
    }
  });

  test('have a priority for the journal only', () => {
    for (const options of [{ pretty: false }, { pretty: (json: string) => `* ${json}`, journal: true }] as const) {
      const { log, lines } = logged({ level: 'info', ...options });
      log.info({}, 'poll.empty');
      expect(lines[0]).not.toMatch(/^</);
    }
  });

  test('the journal is recognized by device and inode of standard output', async () => {
    await using folder = await temporaryFolder('journal');
    const path = join(folder.path, 'file');
    const fd = openSync(path, 'w');
    try {
      const { dev, ino } = fstatSync(fd);
      expect(isJournal(`${dev}:${ino}`, fd)).toBe(true);
      for (const other of [undefined, '', `${dev}:${ino + 1}`, `${dev}`, 'x', `${dev}:${ino}:1`])
        expect(isJournal(other, fd)).toBe(false);
    } finally {
      closeSync(fd);
    }
  });
});

describe('a failure in the log', () => {
  test('has code, message, hint and fields, and of its cause only the code', () => {
    const { log, lines } = logged({ level: 'info', pretty: false });
    const cause = Object.assign(new Error('secret text of the driver'), { code: 'ECONNREFUSED' });
    log.warn({ error: new Failure('connect_refused', 'h:1 refused', { cause, fields: { port: 1 } }) }, 'poll.failed');
    const { error } = JSON.parse(lines[0] ?? '');
    expect(error).toMatchObject({ code: 'connect_refused', message: 'h:1 refused', cause: 'ECONNREFUSED', port: 1 });
    expect(lines[0]).not.toContain('secret text');
  });

  test('that is unexpected has its stack', () => {
    const { log, lines } = logged({ level: 'info', pretty: false });
    log.error({ error: new TypeError('x is not a function') }, 'scheduler.failed');
    expect(JSON.parse(lines[0] ?? '').error).toMatchObject({
      code: 'unexpected',
      stack: expect.stringContaining('at '),
    });
  });

  test('a field named like a secret is redacted', () => {
    const { log, lines } = logged({ level: 'info', pretty: false });
    log.info({ password: 'hunter2', a: { token: 'hunter2', b: { pass: 'hunter2' } } }, 'poll.empty');
    expect(lines[0]).not.toContain('hunter2');
  });
});

test('the level can be changed at run time', () => {
  const { log, lines } = logged({ level: 'warn', pretty: false });
  log.info({}, 'poll.empty');
  log.level = 'debug';
  log.debug({}, 'poll.started');
  expect(lines.map((line) => JSON.parse(line).event)).toEqual(['poll.started']);
});

describe('lines for people', () => {
  const time = '2026-01-31T08:30:00.000Z';
  const pretty = (line: object, colours = false): string => prettyLine(JSON.stringify({ time, ...line }), colours);
  const when = localTime(Date.parse(time));

  test('have local time, level, event, mailbox and ticket first, ids last', () => {
    const line = {
      level: 'info',
      message: 'm',
      mailbox: 'support',
      uid: 7,
      ticket: 'T-1',
      event: 'message.ticket_opened',
    };
    expect(pretty(line)).toBe(`${when} INFO  message.ticket_opened  support  T-1  uid=7 message=m`);
  });

  test('have a failure as code and message, and its hint below', () => {
    const error = { code: 'login_refused', message: 'h:993 refused it', hint: 'Set it anew.', cause: 'Error' };
    const shown = pretty({ level: 'warn', mailbox: 'sales', failures: 3, error, event: 'poll.failed' });
    const [first, second] = shown.split('\n');
    expect(first).toBe(
      `${when} WARN  poll.failed            sales  login_refused: h:993 refused it  failures=3 cause=Error`,
    );
    expect(second?.trim()).toBe('hint: Set it anew.');
  });

  test('omit the zero counts of a poll', () => {
    const counts = { ticket_opened: 2, reply_added: 0, quarantined: 1, vanished: 0 };
    expect(pretty({ level: 'info', mailbox: 'sales', ...counts, event: 'poll.finished' })).toBe(
      `${when} INFO  poll.finished          sales  ticket_opened=2 quarantined=1`,
    );
    expect(pretty({ level: 'info', vanished: 0, event: 'poll.empty' })).toMatch(/vanished=0$/);
  });

  test('have each line of a stack on a line of its own', () => {
    const error = { code: 'unexpected', message: 'x', hint: 'Report it.', stack: 'Error: x\n    at f\n    at g' };
    expect(pretty({ level: 'error', error, event: 'scheduler.failed' }).split('\n')).toHaveLength(5);
  });

  test('quote a value that could be read as several fields', () => {
    expect(pretty({ level: 'info', a: 'x y=1', b: ['k1', 'k 2'], c: null, d: { e: 1 }, event: 'poll.empty' })).toMatch(
      / {2}a="x y=1" b=k1,"k 2" c=null d=\{"e":1\}$/,
    );
  });

  test('send no control sequence to the terminal but colours', () => {
    const hostile = '\x1b[2J\x9b31m\u202eboo\x07\r\n';
    const error = { code: hostile, message: hostile, hint: hostile, stack: hostile, [hostile]: hostile };
    const line = { level: 'warn', mailbox: hostile, ticket: hostile, [hostile]: hostile, error, event: hostile };
    for (const shown of [pretty(line, true), pretty({ ...line, level: hostile }, true), prettyLine(hostile, true)])
      expect(stripVTControlCharacters(shown)).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
  });

  test('that are not log entries are unchanged', () => {
    for (const text of ['', '{', '[]', '{"level":"info"}', '{"level":"info","time":"x","event":"e"}', 'null', '<6>x'])
      expect(readLogEntry(text)).toBeNull();
    expect(prettyLine('Stopped ticketmaild.', true)).toBe('Stopped ticketmaild.');
  });
});

describe('a reader of the log', () => {
  /** A descriptor that does what `say` says: takes so many bytes, or fails with a code. */
  function writer(bufferBytesMax?: number) {
    const state = { say: 1_000_000 as number | string, out: '' };
    const writeBytes = (_: number, bytes: Uint8Array): number => {
      if (typeof state.say === 'string') throw Object.assign(new Error(state.say), { code: state.say });
      const taken = Math.min(state.say, bytes.length);
      state.out += Buffer.from(bytes.subarray(0, taken)).toString();
      return taken;
    };
    const droppedLine = (count: number, code: string): string => `lost ${count} ${code}\n`;
    const options =
      bufferBytesMax === undefined ? { droppedLine, writeBytes } : { droppedLine, writeBytes, bufferBytesMax };
    return { state, writer: new LineWriter(1, options) };
  }

  test('that is slow loses nothing and gets every line in order', async () => {
    const { state, writer: out } = writer();
    out.write('one\n');
    state.say = 'EAGAIN';
    out.write('two\n');
    out.write('three\n');
    expect(state.out).toBe('one\n');
    state.say = 2;
    await wait(200);
    expect(state.out).toBe('one\ntwo\nthree\n');
    out.write('four\n');
    expect(state.out).toBe('one\ntwo\nthree\nfour\n');
  });

  test('that is too slow gets the number of dropped lines', async () => {
    const { state, writer: out } = writer(20);
    state.say = 'EAGAIN';
    for (let line = 0; line < 10; line++) out.write(`line ${line}\n`);
    state.say = 100;
    await wait(200);
    expect(state.out).toBe('line 0\nline 1\nlost 8 EAGAIN\n');
    out.write('on\n');
    expect(state.out).toMatch(/AGAIN\non\n$/);
  });

  test('that is gone or full for a while does not end the daemon, and gets the number of dropped lines', () => {
    const { state, writer: out } = writer();
    for (const code of ['ENOSPC', 'EPIPE', 'EIO']) {
      state.say = code;
      out.write('a\n');
    }
    state.say = 100;
    out.write('b\n');
    expect(state.out).toBe('lost 3 EIO\nb\n');
  });

  test('never gets a line that starts within another', () => {
    const { state, writer: out } = writer();
    let writes = 0;
    const writeBytes = (_: number, bytes: Uint8Array): number => {
      writes += 1;
      if (writes === 2) throw Object.assign(new Error('full'), { code: 'ENOSPC' });
      const taken = writes === 1 ? 3 : bytes.length;
      state.out += Buffer.from(bytes.subarray(0, taken)).toString();
      return taken;
    };
    const breaking = new LineWriter(1, { droppedLine: (count) => `lost ${count}\n`, writeBytes });
    breaking.write('broken line\n');
    breaking.write('next\n');
    expect(state.out).toBe('bro\nlost 1\nnext\n');
    out.write('x\n');
  });

  test('gets the buffered lines when the process ends, if it reads them soon', () => {
    const { state, writer: out } = writer();
    state.say = 'EAGAIN';
    out.write('last\n');
    const startedAt = performance.now();
    out.flush(100);
    expect(performance.now() - startedAt).toBeGreaterThan(90);
    state.say = 100;
    out.flush(100);
    expect(state.out).toBe('last\n');
  });

  /** A process that logs `count` lines, tells on standard error that it is through, and ends a second later. */
  function logging(count: number, end = endsAfterASecond): string {
    const logModule = fileURLToPath(new URL('../src/log.ts', import.meta.url));
    return `
      const { createLog } = await import(${JSON.stringify(logModule)});
      const log = createLog({ level: 'info', pretty: false });
      for (let n = 0; n < ${count}; n++) log.info({ n, pad: 'x'.repeat(200) }, 'poll.empty');
      process.stderr.write('through ');
      process.once('exit', () => log.flush());
      ${end}`;
  }

  const endsAfterASecond = `setTimeout(() => process.stderr.write('done'), 1500);`;
  const endsWithItsInput = `process.stdin.once('end', () => process.stderr.write('done')).resume();`;

  const asScript = ['--input-type=module', '--eval'];

  /** What the process says, from the moment it is through. */
  async function told(stderr: Readable | null): Promise<{ text: string }> {
    const heard = { text: '' };
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      heard.text += text;
    });
    const untilMs = performance.now() + 8000;
    while (heard.text === '' && performance.now() < untilMs) await wait(20);
    expect(heard.text).toBe('through ');
    return heard;
  }

  test('that stops reading a pipe does not block the daemon, and gets every line afterwards', async () => {
    await using folder = await temporaryFolder('pipe');
    const pipe = join(folder.path, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const reader = openSync(pipe, 'r+');
    const writing = openSync(pipe, 'w');
    const child = spawn(process.execPath, [...asScript, logging(3000)], { stdio: ['ignore', writing, 'pipe'] });
    closeSync(writing);
    const closed = once(child, 'close');
    const heard = await told(child.stderr);
    let text = '';
    const buffer = Buffer.alloc(1 << 16);
    while (!text.includes('"n":2999')) text += buffer.toString('utf8', 0, readSync(reader, buffer));
    const [code] = await closed;
    closeSync(reader);
    expect({ code, told: heard.text }).toEqual({ code: 0, told: 'through done' });
    expect(numbers(text)).toEqual(Array.from({ length: 3000 }, (_, n) => n));
  });

  test('that stops reading a socket for too long gets the number of dropped lines', async () => {
    const script = logging(60_000, endsWithItsInput);
    const child = spawn(process.execPath, [...asScript, script], { stdio: ['pipe', 'pipe', 'pipe'] });
    const closed = once(child, 'close');
    await told(child.stderr);
    let text = '';
    child.stdout.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
      // On a busy machine reading takes longer than a second: the process ends once the number of lines has arrived.
      if (text.slice(-2 * piece.length - 100).includes('"log.dropped"')) child.stdin.end();
    });
    const [code] = await closed;
    expect(code).toBe(0);
    const lines = text
      .trimEnd()
      .split('\n')
      .map((line) => JSON.parse(line));
    const lost = lines.filter(({ event }) => event === 'log.dropped');
    expect(lost).toMatchObject([{ level: 'warn', cause: 'EAGAIN' }]);
    expect(lines.length - 1 + lost[0].lines).toBe(60_000);
  });

  test('that stops a terminal, as with Ctrl-S, does not block the daemon', async () => {
    await using folder = await temporaryFolder('terminal');
    const script = join(folder.path, 'logging.mjs');
    const heard = join(folder.path, 'heard');
    writeFileSync(script, logging(3000));
    const command = `'${process.execPath}' '${script}' 2>'${heard}'`;
    const terminal = spawn('script', ['-qfec', command, '/dev/null'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(terminal, 'close');
    const untilMs = performance.now() + 8000;
    while (!(existsSync(heard) && readFileSync(heard, 'utf8') !== '') && performance.now() < untilMs) await wait(20);
    expect(readFileSync(heard, 'utf8')).toContain('through ');
    let text = '';
    terminal.stdout.setEncoding('utf8').on('data', (piece: string) => {
      text += piece;
    });
    expect((await closed)[0]).toBe(0);
    expect(numbers(text)).toEqual(Array.from({ length: 3000 }, (_, n) => n));
  });
});

function numbers(text: string): readonly number[] {
  return text
    .trimEnd()
    .split(/\r?\n/)
    .map((line) => JSON.parse(line).n);
}

test('a log on a full disk does not end the process', () => {
  // /dev/full refuses every write with ENOSPC.
  const full = openSync('/dev/full', 'w');
  try {
    const out = new LineWriter(full, { droppedLine: () => 'lost\n' });
    for (let line = 0; line < 100; line++) out.write('line\n');
    out.flush(10);
  } finally {
    closeSync(full);
  }
  expect(readFileSync('/dev/null', 'utf8')).toBe('');
});
