/**
 * The answer of `/readyz`, made fit to be shown: whatever listens at that address could have sent it.
 *
 * It is ticketmaild's when it says whether it is ready, who it is and how its checks are. Within that a value of another type
 * than expected, as from another version or out of a damaged row, is replaced by a neutral one and named in `strange`: one
 * odd value must not hide the rest. More than that may be there.
 */
import type { Check, CheckStatus, Readiness } from '../ingest/readiness.ts';

/**
 * A word that ends with `?` may be null; an array is a list of such things. What is not of its type becomes null, else `?`,
 * NaN, false, the status `unknown`, an empty list, or a thing of such values.
 */
type Shape =
  | 'string'
  | 'number'
  | 'boolean'
  | 'status'
  | 'string?'
  | 'number?'
  | readonly [Shape]
  | { readonly [name: string]: Shape };

const check = { status: 'status', since: 'string?', reason: 'string?', hint: 'string?' } as const;

const shape: Shape = {
  ready: 'boolean',
  worker: {
    host: 'string',
    pid: 'number',
    name: 'string',
    version: 'string',
    started_at: 'string',
    log_level: 'string',
  },
  checks: {
    database: check,
    disk: { ...check, free_bytes: 'number?' },
    scheduler: { ...check, lag_ms: 'number?', visits: 'number', due: 'number', due_ms: 'number' },
    vault: { ...check, state: 'string', key_ids: ['string'] },
    switch: { ...check, state: 'string', revision: 'number' },
    workers: {
      ...check,
      live: 'number',
      list: [{ host: 'string', pid: 'number', live: 'boolean', seen_at: 'string?' }],
    },
    servers: { ...check, list: [{ ...check, host: 'string', port: 'number', next_try: 'string' }] },
    certificates: { ...check, list: [{ host: 'string', port: 'number', valid_until: 'string', days_left: 'number' }] },
    clock: { ...check, offset_ms: 'number?' },
    push: { open: 'number', max: 'number' },
    quarantine: { ...check, count: 'number', oldest: 'string?' },
    mailboxes: {
      ...{ ...check, ok: 'number', failing: 'number', waiting: 'number', paused: 'number' },
      list: [
        {
          ...check,
          mailbox: 'string',
          host: 'string',
          last_success: 'string?',
          next_poll: 'string?',
          failures: 'number',
          pushed: 'boolean',
        },
      ],
    },
  },
};

const poolShape: Shape = { open: 'number', busy: 'number', waiting: 'number', max: 'number' };
const configShape: Shape = { ...check, needs_restart: ['string'] };

/** How a reload went, and the settings that were changed since and wait for a restart. */
export type ConfigCheck = Check & { readonly needs_restart: readonly string[] };

export type Checks = Omit<Readiness['checks'], 'config' | 'quarantine'> & {
  /** How many there are for each reason is told in its reason. */
  readonly quarantine: Omit<Readiness['checks']['quarantine'], 'reasons'>;
  /** null: the daemon does not tell. */
  readonly config: ConfigCheck | null;
};

export type Status = Omit<Readiness, 'checks'> & {
  readonly checks: Checks;
  /** How many mailboxes were left off the list. */
  readonly notListed: number;
  /** Where the answer held what is not understood, such as `checks.workers.list.1.pid`. */
  readonly strange: readonly string[];
};

/** The answer, or where it is not one of ticketmaild. */
export function readStatus(body: unknown): { readonly status: Status } | { readonly wrongAt: string } {
  if (!isThing(body) || typeof body['ready'] !== 'boolean') return { wrongAt: 'ready' };
  const { worker, checks } = body;
  if (!isThing(worker)) return { wrongAt: 'worker' };
  if (!isThing(checks)) return { wrongAt: 'checks' };
  const strange: string[] = [];
  const readiness = mended(body, shape, '', strange) as Readiness;
  const pool = isThing(checks['database']) ? (checks['database']['pool'] ?? null) : null;
  const left = isThing(checks['mailboxes']) ? checks['mailboxes']['not_listed'] : undefined;
  return {
    status: {
      ...readiness,
      checks: {
        ...readiness.checks,
        database: { ...readiness.checks.database, pool: optional(pool, poolShape, 'checks.database.pool', strange) },
        config: optional(checks['config'] ?? null, configShape, 'checks.config', strange),
      },
      notListed: typeof left === 'number' ? left : 0,
      strange,
    },
  };
}

/** True for the answer of a ticketmaild that could not find out in time how it fares. */
export function isLate(status: number, body: unknown): boolean {
  return status === 503 && isThing(body) && body['ready'] === false && typeof body['reason'] === 'string';
}

/** null for null; the caller names the type that `wanted` describes. */
function optional<T>(value: unknown, wanted: Shape, at: string, strange: string[]): T | null {
  return value === null ? null : (mended(value, wanted, at, strange) as T);
}

type Thing = Readonly<Record<string, unknown>>;

/** `value` in that shape; where it was not is added to `strange`. */
function mended(value: unknown, wanted: Shape, at: string, strange: string[]): unknown {
  if (typeof wanted === 'string') {
    if (isWord(value, wanted)) return value;
    strange.push(at);
    return neutral(wanted, value);
  }
  if (isList(wanted)) {
    if (Array.isArray(value)) return value.map((one, index) => mended(one, wanted[0], `${at}.${index}`, strange));
    strange.push(at);
    return [];
  }
  if (isThing(value)) return mendedThing(value, wanted, at, strange);
  strange.push(at);
  // All within it is missing: that is said once.
  return mendedThing({}, wanted, at, []);
}

function mendedThing(value: Thing, wanted: { readonly [name: string]: Shape }, at: string, strange: string[]): Thing {
  const parts = Object.entries(wanted).map(([name, part]) => {
    return [name, mended(value[name], part, at === '' ? name : `${at}.${name}`, strange)] as const;
  });
  return Object.fromEntries(parts);
}

const neutrals: Readonly<Record<string, unknown>> = { string: '?', number: Number.NaN, boolean: false };

function neutral(wanted: string, value: unknown): unknown {
  if (wanted === 'status') return 'unknown' satisfies CheckStatus;
  // A number that JSON numbers cannot hold, such as one of 64 bits, is a text of digits.
  if (wanted === 'number' && typeof value === 'string' && /^\d{1,20}$/.test(value)) return Number(value);
  return wanted.endsWith('?') ? null : neutrals[wanted];
}

function isThing(value: unknown): value is Thing {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isList(wanted: Shape): wanted is readonly [Shape] {
  return Array.isArray(wanted);
}

const statuses: readonly unknown[] = ['ok', 'warning', 'failing', 'waiting', 'unknown'] satisfies CheckStatus[];

function isWord(value: unknown, wanted: string): boolean {
  if (wanted === 'status') return statuses.includes(value);
  return wanted.endsWith('?') && value === null ? true : typeof value === wanted.replace('?', '');
}
