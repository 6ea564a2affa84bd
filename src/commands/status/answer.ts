/**
 * Validation of a readiness (zod) that a daemon sent: it may be of another version, or broken into.
 *
 * An answer is accepted when it says whether it is ready, which worker it is, and has checks. A value of another type
 * is replaced by a neutral one and listed in `strange`, so that one odd value does not hide the rest. A hint is shown
 * only if it is one of this program (hints.ts, errors.ts, provider-errors.ts); a reason with an unknown code becomes
 * `unknown`.
 */

import * as z from 'zod/mini';
import { failureHint, hintOf } from '../../errors.ts';
import { reasonCode } from '../../ingest/health/describe.ts';
import { checkStatuses, pushCodes, pushStates, type Readiness } from '../../ingest/readiness.ts';
import { providerHint } from '../../oauth/provider-errors.ts';
import { fingerprintHint, knownHint } from '../../text/hints.ts';

/** Codes of reasons that are no error codes (mailbox-checks.ts, crashes.ts, reload.ts). */
const checkCodes: ReadonlySet<string> = new Set([
  ...[
    'crashed',
    'crash_loop',
    'idle_broken_off',
    'idle_refused',
    'no_mailboxes',
    'overdue',
    'passwords_readable',
    'restart_needed',
    'uidvalidity_unstable',
    'waiting',
  ],
]);

export type Status = Readiness & {
  /** Mailboxes that were left off the list. */
  readonly notListed: number;
  /** Paths of values that were replaced, such as `checks.workers.list.1.pid`. */
  readonly strange: readonly string[];
};

/** The answer, or the path where it is not one of ticketmaild. */
export function readStatus(body: unknown): { readonly status: Status } | { readonly wrongAt: string } {
  if (!isObject(body) || typeof body['ready'] !== 'boolean') return { wrongAt: 'ready' };
  const { worker, checks } = body;
  if (!isObject(worker)) return { wrongAt: 'worker' };
  if (!isObject(checks)) return { wrongAt: 'checks' };
  const { mailboxes } = checks;
  const notListed = isObject(mailboxes) ? mailboxes['not_listed'] : undefined;
  const issues = strict.safeParse(body).error?.issues ?? [];
  return {
    status: {
      ...withOwnHints(lenient.parse(body)),
      notListed: typeof notListed === 'number' ? notListed : 0,
      strange: issues.map(({ path }) => path.join('.')),
    },
  };
}

/** True for the answer of a daemon that could not determine its readiness in time. */
export function isLate(body: unknown): boolean {
  return isObject(body) && body['ready'] === false && body['late'] === true;
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Replaces the hints of all checks by those of this program, and reasons whose code is unknown. */
function withOwnHints<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withOwnHints) as T;
  if (!isObject(value)) return value;
  const entries = Object.entries(value).map(([name, one]) => [name, withOwnHints(one)]);
  const replaced = 'hint' in value && 'reason' in value ? ownWords(value['reason'], value['hint']) : {};
  return { ...Object.fromEntries(entries), ...replaced };
}

function ownWords(reason: unknown, hint: unknown): { readonly reason: string | null; readonly hint: string | null } {
  const text = typeof reason === 'string' ? reason : null;
  const code = reasonCode(text);
  const isKnown = code === null || checkCodes.has(code) || hintOf(code) !== null;
  const byCode = code === null ? null : hintOf(code);
  const known = knownHint(hint) ?? fingerprintHint(hint) ?? failureHint(hint) ?? providerHint(hint);
  const own = hint === null ? null : (known ?? byCode);
  return { reason: isKnown ? text : 'unknown: the reason has a code that this version does not know', hint: own };
}

/** Replaces what does not match `schema` by `neutral`; the identity in the strict schema. */
type Mend = <T extends z.ZodMiniType>(
  schema: T,
  neutral: (value: unknown) => z.output<T>,
) => z.ZodMiniType<z.output<T>>;

const strict = readinessSchema((schema) => schema as never);
const lenient = readinessSchema((schema, neutral) => z.catch(schema, ({ value }) => neutral(value)));

function readinessSchema(mend: Mend): z.ZodMiniType<Readiness> {
  const string = mend(z.string().check(z.maxLength(255)), () => '?');
  const word = mend(z.string().check(z.regex(/^[\w.:+@-]{0,255}$/)), () => '?');
  const number = mend(z.number(), toNumber);
  const boolean = mend(z.boolean(), () => false);
  const textOrNull = mend(z.nullable(z.string()), () => null);
  const numberOrNull = mend(z.nullable(z.number()), () => null);
  const object = <T extends z.core.$ZodLooseShape>(shape: T) => {
    const schema = z.looseObject(shape);
    return mend(schema, () => schema.parse({}));
  };
  const list = <T extends z.ZodMiniType>(item: T) => mend(z.array(item), () => []);
  const oneOf = <const T extends string>(words: readonly T[], neutral: T) => mend(z.enum(words), () => neutral);
  const check = { status: oneOf(checkStatuses, 'unknown'), since: textOrNull, reason: textOrNull, hint: textOrNull };
  const pushCode = mend(z.nullable(z.enum(pushCodes)), () => null);
  const push = { state: oneOf(pushStates, 'polled'), code: pushCode, until: textOrNull };
  const quarantined = { reason: word, count: number };
  const suspended = { ...push, mailbox: string };
  const pool = z.looseObject({ open: number, busy: number, waiting: number, max: number });
  const worker = { host: word, pid: number };
  const server = { host: word, port: number };
  const tls = oneOf(['implicit', 'starttls', 'none'], 'none');
  const listener = oneOf(['health', 'page'], 'health');
  return z.looseObject({
    ready: boolean,
    worker: object({ ...worker, name: word, version: word, started_at: string, log_level: word }),
    checks: object({
      database: object({ ...check, pool: mend(z.nullable(pool), () => null), ping_ms: numberOrNull }),
      disk: object({ ...check, free_bytes: numberOrNull }),
      scheduler: object({
        ...{ ...check, lag_ms: numberOrNull, polls: number, polls_long: number },
        ...{ due: number, due_oldest_age_ms: number },
      }),
      vault: object({ ...check, state: word, key_ids: list(word) }),
      switch: object({ ...check, state: word, revision: number }),
      passwords: object({ ...check, readable: numberOrNull, readable_tokens: numberOrNull }),
      workers: object({
        ...check,
        live: number,
        list: list(object({ ...worker, live: boolean, seen_at: textOrNull })),
      }),
      servers: object({ ...check, list: list(object({ ...check, ...server, tls, next_attempt: textOrNull })) }),
      certificates: object({ ...check, list: list(object({ ...server, not_after: string, days_left: number })) }),
      oauth: object({
        ...check,
        providers: list(
          object({ ...check, provider: word, next_attempt: textOrNull, credential_days_left: numberOrNull }),
        ),
        grants: object({ ready: number, needs_consent: number, refused: number }),
        list: list(object({ ...check, grant: string, provider: string, state: word })),
      }),
      listeners: object({ ...check, list: list(object({ ...check, address: string, listener })) }),
      config: object({ ...check, needs_restart: list(word) }),
      clock: object({ ...check, offset_ms: numberOrNull }),
      crashes: object({ ...check, count: number, last: textOrNull }),
      push: object({ ...check, open: number, max: number, suspended: number, list: list(object(suspended)) }),
      quarantine: object({ ...check, count: number, oldest: textOrNull, reasons: list(object(quarantined)) }),
      mailboxes: object({
        ...{ ...check, ok: number, failing: number, waiting: number, paused: number },
        list: list(
          object({
            ...{ ...check, mailbox: string, host: string, last_success: textOrNull, next_poll: textOrNull },
            ...{ failures: number, push: object(push) },
          }),
        ),
      }),
    }),
  });
}

/** A number beyond the range of JSON numbers, such as one of 64 bits, arrives as a string of digits. */
function toNumber(value: unknown): number {
  return typeof value === 'string' && /^\d{1,20}$/.test(value) ? Number(value) : Number.NaN;
}
