/**
 * Control protocol: HTTP/1.1 with JSON over a unix socket. `POST /status`, `/recover`, `/disable` and `/log_level` with
 * `{who, level?}`.
 *
 * Status 200 answers with an object, any other with `{code, message, hint}`. A client shows no hint that is not its own
 * (hints.ts), and a message as quoted words of the daemon, so that one that was broken into cannot tell root what to
 * run in the name of the command. While a request is worked on, the daemon sends `102 Processing` (RFC 2518, section
 * 10.1) every second as a heartbeat, which tells a busy daemon from one that hangs. No request and no answer holds a
 * secret.
 */

import { Failure, type FailureCode, failureHint, failureMeanings } from '../../errors.ts';
import { type LogLevel, logLevels } from '../../events.ts';
import { fingerprintHint, knownHint } from '../../text/hints.ts';

/** `who`: the user who asks, as `user@host`. */
export type ControlRequest =
  | { readonly command: 'status' | 'recover' | 'disable'; readonly who: string }
  | { readonly command: 'log_level'; readonly who: string; readonly level: LogLevel };

export const requestBytesMax = 4096;
/** A status lists 200 mailboxes. */
export const answerBytesMax = 1024 * 1024;
/** For a request to arrive, and between two signs of life of the daemon. */
export const silenceMs = 5000;
export const heartbeatMs = 1000;
/** A daemon that is busy for longer is not waited for. */
const answerMs = 15 * 60_000;
/** A daemon answers these at once, or a status after 4.5 s: heartbeats of another program hold no command longer. */
const promptAnswerMs = 6_000;

/** For the whole answer. */
export function answerMsMax(command: ControlRequest['command']): number {
  return command === 'status' || command === 'log_level' ? promptAnswerMs : answerMs;
}

/** The shortest limit of the systems there are is 104 bytes with the NUL at its end (unix(7), unix(4)). */
const pathBytesMax = 100;
const whoLengthMax = 200;

/** Throws `config_invalid` for a path that a socket cannot have. */
export function checkPath(path: string): void {
  const sizeBytes = Buffer.byteLength(path);
  if (sizeBytes <= pathBytesMax) return;
  throw new Failure(
    'config_invalid',
    `the path of the control socket has ${sizeBytes} bytes, at most ${pathBytesMax}: ${path}`,
    { hint: 'Choose a data_dir with a shorter path.' },
  );
}

/** The user in the body of a request; null for anything else. */
export function whoIn(body: Record<string, unknown> | null): string | null {
  const who = body?.who;
  return typeof who !== 'string' || who === '' || who.length > whoLengthMax || /\p{C}/u.test(who) ? null : who;
}

/** The log level in the body of a request; null for anything else. */
export function logLevelIn(body: Record<string, unknown> | null): LogLevel | null {
  return logLevels.find((level) => level === body?.level) ?? null;
}

/** The object in a JSON text; null for anything else. */
export function readObject(text: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

const failureCodes = Object.keys(failureMeanings) as readonly FailureCode[];

const wordsLengthMax = 500;

/** Free text of the daemon as a quotation, which it cannot end. */
export function quotedWords(text: string): string {
  return `the daemon reports: ${JSON.stringify(text.slice(0, wordsLengthMax))}`;
}

/**
 * The failure in an answer, with its message as a quotation; an unknown code is taken for `unexpected`, a foreign hint
 * replaced by that of the code.
 */
export function answeredFailure({ code, message, hint }: Record<string, unknown>): Failure {
  const known = failureCodes.find((one) => one === code) ?? 'unexpected';
  const text =
    typeof message === 'string' ? quotedWords(message) : 'the daemon answered with a failure that it does not explain';
  const own = knownHint(hint) ?? fingerprintHint(hint) ?? failureHint(hint);
  return new Failure(known, text, own === null ? {} : { hint: own });
}
