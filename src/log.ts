/**
 * Structured logger (pino): one JSON line per event on standard output, for journald with its priority, or lines for
 * people.
 *
 * The event name is in the field `event`. Redaction is the second wall only: secrets are `SecretBytes`, which print as
 * a fixed word, and are not passed to the log. A failure is logged as code, message, hint and fields; of its cause only
 * the code, because texts of foreign errors may quote values.
 */

import { constants, fstatSync, openSync, writeSync } from 'node:fs';
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import { asFailure, causeCode } from './errors.ts';
import { events, type LogLevel } from './events.ts';

export type LogOptions = {
  readonly level: LogLevel;
  /** Formats a JSON line for people, without the final line end; false: the JSON line. */
  readonly pretty: false | ((json: string) => string);
  /** True: each line begins with its priority, `<6>`, which journald strips (sd-daemon(3)). */
  readonly journal?: boolean;
  /** Default: standard output. */
  readonly destination?: DestinationStream;
};

const secretNames = ['password', 'pass', 'secret', 'passphrase', 'authorization', 'accessToken', 'token', 'auth'];

/** The level may be changed at run time. `flush` waits up to a second for the reader of buffered lines. */
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
    outputOf(options),
  );
}

/** The stack is logged for unexpected errors only. */
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

type LogOutput = DestinationStream & { flush(done: () => void): void };

const flushMsMax = 1000;

function outputOf(options: LogOptions): LogOutput {
  const { destination } = options;
  if (destination !== undefined)
    return { write: (line) => destination.write(formatted(line, options)), flush: (done) => done() };
  const writer = new LineWriter(stdoutDescriptor(), {
    droppedLine: (count, code) => formatted(droppedLine(count, code), options),
  });
  return {
    write: (line) => writer.write(formatted(line, options)),
    flush(done) {
      writer.flush(flushMsMax);
      done();
    },
  };
}

/**
 * Standard output in non-blocking mode. Node sets it for a pipe or a socket on first use, but not for a terminal, which
 * would block the daemon while it is stopped (Ctrl-S, a hanging connection): a terminal is opened again.
 */
function stdoutDescriptor(): number {
  if (process.stdout.isTTY !== true) return 1;
  try {
    return openSync('/dev/fd/1', constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // The terminal of another user, as after su, can be written to but not opened.
    return 1;
  }
}

function droppedLine(lines: number, cause: string): string {
  const line = { level: 'warn', time: new Date().toISOString(), lines, cause, event: events.logDropped };
  return `${JSON.stringify(line)}\n`;
}

function formatted(line: string, { pretty, journal }: LogOptions): string {
  if (pretty !== false) return `${pretty(line.trimEnd())}\n`;
  return journal === true ? `<${priorityOf(line)}>${line}` : line;
}

/** Priorities of syslog(3). */
const priorities: Readonly<Record<string, number>> = { error: 3, warn: 4, info: 6, debug: 7, trace: 7 };

/** The level is the first field of each line. */
function priorityOf(line: string): number {
  const [, level = ''] = /^\{"level":"([a-z]+)"/.exec(line) ?? [];
  return priorities[level] ?? 6;
}

/**
 * True when the descriptor is the journal: JOURNAL_STREAM is "DEVICE:INODE" of the stream that systemd connected
 * (systemd.exec(5)). A child process with another output inherits the variable, so both are compared.
 */
export function isJournal(journalStream: string | undefined, fd = 1): boolean {
  if (journalStream === undefined || journalStream === '') return false;
  const { dev, ino } = fstatSync(fd, { bigint: true });
  return journalStream === `${dev}:${ino}`;
}

export type LineWriterOptions = {
  /** The line, with its line end, that reports `count` dropped lines. */
  readonly droppedLine: (count: number, code: string) => string;
  readonly bufferBytesMax?: number;
  /** As `fs.writeSync`: returns the number of bytes written. */
  readonly writeBytes?: (fd: number, bytes: Uint8Array) => number;
};

/** `lines`: how many are lost when the chunk is dropped; a report counts the lines that it reports. */
type LineChunk = { readonly bytes: Buffer; readonly lines: number };

const retryMs = 50;

/**
 * Non-blocking writer of log lines with a bounded buffer: a slow, full or closed reader neither blocks nor ends the
 * daemon.
 *
 * Each line is written at once, so a crash right after it loses nothing. What a full pipe rejects (EAGAIN) is buffered
 * up to `bufferBytesMax` and retried in order. Beyond that, and on other errors (EPIPE, ENOSPC, EIO), lines are
 * dropped; a line reports their number as soon as writing succeeds again. Never throws.
 */
export class LineWriter {
  readonly #fd: number;
  readonly #options: Required<LineWriterOptions>;
  readonly #buffer: LineChunk[] = [];
  #bufferBytes = 0;
  /** True when the last line is written in part. */
  #isWithinLine = false;
  #dropped = { count: 0, code: '' };
  #retry: NodeJS.Timeout | null = null;

  constructor(fd: number, options: LineWriterOptions) {
    this.#fd = fd;
    this.#options = { bufferBytesMax: 4 * 1024 * 1024, writeBytes: writeSync, ...options };
  }

  /** One line, with its line end. */
  write(text: string): void {
    const bytes = Buffer.from(text);
    if (this.#bufferBytes + bytes.length > this.#options.bufferBytesMax) this.#drop(1, 'EAGAIN');
    else {
      this.#appendReport();
      this.#append({ bytes, lines: 1 });
    }
    this.#drain();
  }

  /** Retries to write the buffer for at most `waitMs`, blocking the thread: for the end of the process. */
  flush(waitMs: number): void {
    const untilMs = performance.now() + waitMs;
    this.#appendReport();
    while (!this.#drain() && performance.now() < untilMs) Atomics.wait(neverNotified, 0, 0, 10);
  }

  #append({ bytes, lines }: LineChunk): void {
    // A line that broke off is ended first.
    const isAfterBroken = this.#isWithinLine && this.#buffer.length === 0;
    const whole = isAfterBroken ? Buffer.concat([Buffer.from('\n'), bytes]) : bytes;
    this.#buffer.push({ bytes: whole, lines });
    this.#bufferBytes += whole.length;
  }

  #appendReport(): void {
    const { count, code } = this.#dropped;
    if (count === 0) return;
    this.#dropped = { count: 0, code: '' };
    this.#append({ bytes: Buffer.from(this.#options.droppedLine(count, code)), lines: count });
  }

  #drop(count: number, code: string): void {
    this.#dropped = { count: this.#dropped.count + count, code };
  }

  /** Writes the buffer, in order. False when the reader accepts nothing more now; a retry is scheduled then. */
  #drain(): boolean {
    for (let first = this.#buffer[0]; first !== undefined; first = this.#buffer[0]) {
      try {
        const written = this.#options.writeBytes(this.#fd, first.bytes);
        this.#advance(first, written);
      } catch (error) {
        const code = causeCode(error);
        if (code === 'EAGAIN') {
          this.#scheduleRetry();
          return false;
        }
        if (code !== 'EINTR') this.#dropBuffer(code);
      }
    }
    return true;
  }

  #advance(first: LineChunk, written: number): void {
    this.#bufferBytes -= written;
    this.#isWithinLine = written < first.bytes.length;
    if (this.#isWithinLine) this.#buffer[0] = { ...first, bytes: first.bytes.subarray(written) };
    else this.#buffer.shift();
  }

  #dropBuffer(code: string): void {
    this.#drop(
      this.#buffer.splice(0).reduce((sum, { lines }) => sum + lines, 0),
      code,
    );
    this.#bufferBytes = 0;
  }

  /** The timer does not keep the process alive. */
  #scheduleRetry(): void {
    this.#retry ??= setTimeout(() => {
      this.#retry = null;
      if (!this.#drain()) return;
      this.#appendReport();
      this.#drain();
    }, retryMs).unref();
  }
}

/** Waiting on it is a blocking sleep. */
const neverNotified = new Int32Array(new SharedArrayBuffer(4));
