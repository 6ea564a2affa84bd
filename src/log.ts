/**
 * The pino factory: one JSON line per event on standard output, or lines for people with `pretty`.
 *
 * The event name stands in the field `event`. Redaction is the second wall only: no secret is handed to the log in
 * the first place (secrets are `SecretBytes`, which print as a fixed word). A failure is logged as its code, message,
 * hint and fields; the cause as a code alone, because the texts of outside errors may quote values.
 */
import { type DestinationStream, type Logger, pino, stdTimeFunctions } from 'pino';
import { PinoPretty } from 'pino-pretty';
import { asFailure, causeCode } from './errors.ts';

export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error';

const secretNames = ['password', 'pass', 'secret', 'passphrase', 'authorization', 'accessToken', 'token', 'auth'];

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

/** `destination` is where the lines go; standard output unless told otherwise. */
export function createLog(options: { level: LogLevel; pretty: boolean; destination?: DestinationStream }): Logger {
  const destination = options.destination ?? pino.destination({ dest: 1, sync: true });
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
    options.pretty ? prettyStream(destination) : destination,
  );
}

/** For people: time, event, mailbox and ticket in front, ids that only machines want left out. */
function prettyStream(destination: DestinationStream): DestinationStream {
  return PinoPretty({
    messageKey: 'event',
    translateTime: 'SYS:yyyy-mm-dd HH:MM:ss',
    ignore: 'message,uid_validity,mailbox,ticket',
    messageFormat: (line, key) =>
      [line[key], line['mailbox'], line['ticket']].filter((word) => word !== undefined).join('  '),
    singleLine: true,
    sync: true,
    destination: destination as never,
  });
}
