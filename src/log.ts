/**
 * The pino factory: one JSON line per event on standard output, for the journal with its priority, or lines for people.
 *
 * The event name stands in the field `event`. Redaction is the second wall only: no secret is handed to the log in
 * the first place (secrets are `SecretBytes`, which print as a fixed word). A failure is logged as its code, message,
 * hint and fields; the cause as a code alone, because the texts of outside errors may quote values.
 */
import { constants, fstatSync, openSync } from 'node:fs';
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import { asFailure, causeCode } from './errors.ts';
import { events } from './events.ts';
import { LineWriter } from './log/line-writer.ts';

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
