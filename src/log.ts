/**
 * The pino factory: one JSON line per event on standard output, for the journal with its priority, or lines for people.
 *
 * The event name stands in the field `event`. Redaction is the second wall only: no secret is handed to the log in
 * the first place (secrets are `SecretBytes`, which print as a fixed word). A failure is logged as its code, message,
 * hint and fields; the cause as a code alone, because the texts of outside errors may quote values.
 */

import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import { asFailure, causeCode } from './errors.ts';
import { events } from './events.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

export type LogOptions = {
  readonly level: LogLevel;
  /** Makes the lines for people of a JSON line, without the last line end; false: JSON as it is. */
  readonly pretty: false | ((json: string) => string);
  /** True: each line begins with its priority, `<6>`, which journald takes off again (sd-daemon(3)). */
  readonly journal?: boolean;
  /** Where the lines go; standard output unless told otherwise. */
  readonly destination?: DestinationStream;
};

const secretNames = ['password', 'pass', 'secret', 'passphrase', 'authorization', 'accessToken', 'token', 'auth'];

/** How long lines that are held are waited for at the end. */
const flushMs = 1000;

/** Of syslog(3). */
const priorities: Readonly<Record<string, number>> = { error: 3, warn: 4, info: 6, debug: 7, trace: 7 };

/** An error as fields. The stack is kept for what nobody expected, since only there it helps. */
function errorFields(error: unknown): Record<string, unknown> {
  const failure = asFailure(error);
  return {
    code: failure.code,
    message: failure.message,
    hint: failure.hint,
    ...failure.fields,
    ...(failure.cause === undefined ? {} : { cause: causeCode(failure.cause) }),
    ...(failure.code === 'unexpected' && failure.cause instanceof Error ? { stack: failure.cause.stack } : {}),
  };
}

/** Its level may be set while it is in use; `flush` gives lines that the reader has not taken yet a last second. */
export function createLog(options: LogOptions): Logger {
  return pino(
    {
      level: options.level,
      messageKey: 'event',
      errorKey: 'error',
      base: null,
      timestamp: stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { error: errorFields },
      redact: { paths: secretNames.flatMap((name) => [name, `*.${name}`, `*.*.${name}`]), censor: '[secret]' },
    },
    outlet(options),
  );
}

type Outlet = DestinationStream & { flush(done: () => void): void };

function outlet(options: LogOptions): Outlet {
  const { destination } = options;
  if (destination !== undefined)
    return { write: (line) => destination.write(formed(line, options)), flush: (done) => done() };
  const writer = new LineWriter(stdoutFd(), { lostLine: (count, code) => formed(lostLine(count, code), options) });
  return {
    write: (line) => writer.write(formed(line, options)),
    flush(done) {
      writer.flush(flushMs);
      done();
    },
  };
}

/**
 * Standard output, such that no write waits for its reader. Node makes a pipe or a socket so as it is first looked at, but no
 * terminal: one that is stopped (Ctrl-S, a hanging connection) would stop the daemon, so it is opened once more.
 */
function stdoutFd(): number {
  if (process.stdout.isTTY !== true) return 1;
  try {
    return openSync('/dev/fd/1', constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // That of another user, as after su, may be written to and not opened: then it stays as it is.
    return 1;
  }
}

function lostLine(lines: number, cause: string): string {
  const line = { level: 'warn', time: new Date().toISOString(), lines, cause, event: events.logLost };
  return `${JSON.stringify(line)}\n`;
}

function formed(line: string, { pretty, journal }: LogOptions): string {
  if (pretty !== false) return `${pretty(line.trimEnd())}\n`;
  return journal === true ? `<${priorityOf(line)}>${line}` : line;
}

/** The level is the first field of each line. */
function priorityOf(line: string): number {
  const [, level = ''] = /^\{"level":"([a-z]+)"/.exec(line) ?? [];
  return priorities[level] ?? 6;
}

/**
 * True when standard output is the journal: `journalStream` is the variable JOURNAL_STREAM, "DEVICE:INODE" of what
 * systemd connected (systemd.exec(5)). A child whose output went elsewhere inherits the variable, so both are compared.
 */
export function isJournal(journalStream: string | undefined, fd = 1): boolean {
  if (journalStream === undefined || journalStream === '') return false;
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return journalStream === `${dev}:${ino}`;
}

/**
 * Writes log lines to a file descriptor, so that a reader who is slow, gone or full never stops or ends the daemon.
 *
 * Each line is written at once: a crash right after it loses nothing. What a full pipe does not take (EAGAIN) is held, up to
 * `heldBytesMax`, and written in order as soon as there is room. Beyond that, and where writing fails (EPIPE, ENOSPC, EIO),
 * lines are lost; a line of its own tells how many as soon as one can be written again. Nothing is thrown.
 */

export type LineWriterOptions = {
  /** The line that tells of `count` lines that were lost, with its line end. */
  readonly lostLine: (count: number, code: string) => string;
  readonly heldBytesMax?: number;
  /** As `fs.writeSync`: returns how many bytes were taken. */
  readonly writeBytes?: (fd: number, bytes: Uint8Array) => number;
};

/** `lines`: how many are lost when it is; for the line that tells of lost ones, those too. */
type Piece = { readonly bytes: Buffer; readonly lines: number };

const retryMs = 50;

export class LineWriter {
  readonly #fd: number;
  readonly #options: Required<LineWriterOptions>;
  readonly #held: Piece[] = [];
  #heldBytes = 0;
  /** True when only a part of a line is written yet. */
  #isWithinLine = false;
  #lost = { count: 0, code: '' };
  #retry: NodeJS.Timeout | null = null;

  constructor(fd: number, options: LineWriterOptions) {
    this.#fd = fd;
    this.#options = { heldBytesMax: 4 * 1024 * 1024, writeBytes: writeSync, ...options };
  }

  /** One entry, with the line end at its end. */
  write(text: string): void {
    const bytes = Buffer.from(text);
    if (this.#heldBytes + bytes.length > this.#options.heldBytesMax) this.#lose(1, 'EAGAIN');
    else {
      this.#holdLost();
      this.#hold({ bytes, lines: 1 });
    }
    this.#push();
  }

  /** Gives what is held a last chance, for at most `waitMs`: for the end of the process. */
  flush(waitMs: number): void {
    const untilMs = performance.now() + waitMs;
    this.#holdLost();
    while (!this.#push() && performance.now() < untilMs) Atomics.wait(nobody, 0, 0, 10);
  }

  #hold({ bytes, lines }: Piece): void {
    // A line that broke off for good is ended first.
    const isAfterBroken = this.#isWithinLine && this.#held.length === 0;
    const whole = isAfterBroken ? Buffer.concat([Buffer.from('\n'), bytes]) : bytes;
    this.#held.push({ bytes: whole, lines });
    this.#heldBytes += whole.length;
  }

  #holdLost(): void {
    const { count, code } = this.#lost;
    if (count === 0) return;
    this.#lost = { count: 0, code: '' };
    this.#hold({ bytes: Buffer.from(this.#options.lostLine(count, code)), lines: count });
  }

  #lose(count: number, code: string): void {
    this.#lost = { count: this.#lost.count + count, code };
  }

  /** Writes what is held, in order. False when there is no room now: then it is tried again by itself. */
  #push(): boolean {
    for (let first = this.#held[0]; first !== undefined; first = this.#held[0]) {
      try {
        const taken = this.#options.writeBytes(this.#fd, first.bytes);
        this.#advance(first, taken);
      } catch (error) {
        const code = causeCode(error);
        if (code === 'EAGAIN') {
          this.#pushLater();
          return false;
        }
        if (code !== 'EINTR') this.#giveUp(code);
      }
    }
    return true;
  }

  #advance(first: Piece, taken: number): void {
    this.#heldBytes -= taken;
    this.#isWithinLine = taken < first.bytes.length;
    if (this.#isWithinLine) this.#held[0] = { ...first, bytes: first.bytes.subarray(taken) };
    else this.#held.shift();
  }

  #giveUp(code: string): void {
    this.#lose(
      this.#held.splice(0).reduce((sum, { lines }) => sum + lines, 0),
      code,
    );
    this.#heldBytes = 0;
  }

  /** Keeps no process alive. */
  #pushLater(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      if (!this.#push()) return;
      this.#holdLost();
      this.#push();
    }, retryMs).unref();
  }
}

/** Nobody ever wakes who waits here. */
const nobody = new Int32Array(new SharedArrayBuffer(4));
