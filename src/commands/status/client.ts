/**
 * One question to the HTTP side of a running daemon, and where that listens.
 *
 * The answer is limited in time and size. Whatever keeps it away is `daemon_unreachable`, with the hint that helps: the
 * daemon does not run, it listens elsewhere, or something else listens there.
 */

import { request } from 'node:http';
import type { Config } from '../../config/config.ts';
import { causeCode, Failure } from '../../errors.ts';
import type { Check, CheckStatus, Readiness } from '../../ingest/readiness.ts';
import type { Answer } from '../context.ts';

const answerBytesMax = 8 * 1024 * 1024;

/** `http://HOST:PORT` of what the configuration says. Throws `daemon_unreachable` where it says too little. */
export function configuredAddress(http: Config['http']): string {
  if (http === null)
    throw new Failure('daemon_unreachable', 'the daemon answers nobody: [http] listen = "off" in the configuration', {
      hint: 'Set [http] listen, such as "127.0.0.1:8025", and start the daemon anew; or see ticketmaild check.',
    });
  if (http.port === 0)
    throw new Failure('daemon_unreachable', 'the daemon listens on any free port: [http] listen has port 0', {
      hint: 'Its event http.listening says on which: give that with --address.',
    });
  return `http://${hostInUrl(reachable(http.host))}:${http.port}`;
}

/** What listens on every address of this machine answers on its loopback. */
function reachable(host: string): string {
  if (host === '0.0.0.0') return '127.0.0.1';
  return host === '::' ? '::1' : host;
}

function hostInUrl(host: string): string {
  return host.includes(':') ? `[${host}]` : host;
}

/** The same of the option `--address`, which is HOST:PORT. Throws `usage`. */
export function givenAddress(address: string): string {
  const wrong = new Failure('usage', `--address must be HOST:PORT, such as 127.0.0.1:8025, not "${address}"`);
  if (!/^(\[[0-9a-fA-F:.]+\]|[\w.-]+):\d{1,5}$/.test(address) || !URL.canParse(`http://${address}`)) throw wrong;
  return `http://${address}`;
}

/** GET of JSON. Throws `daemon_unreachable`. */
export async function fetchJson(url: string, timeoutMs: number): Promise<Answer> {
  const { status, text } = await fetchText(url, timeoutMs);
  try {
    return { status, body: JSON.parse(text) };
  } catch (error) {
    if (error instanceof SyntaxError) throw notOurs(url, `its answer (HTTP ${status}) is not JSON`);
    throw error;
  }
}

async function fetchText(url: string, timeoutMs: number): Promise<{ status: number; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; text: string }>();
  const signal = AbortSignal.timeout(timeoutMs);
  const asked = request(url, { agent: false, signal, headers: { accept: 'application/json' } }, (response) => {
    const pieces: Buffer[] = [];
    let bytes = 0;
    response.on('data', (piece: Buffer) => {
      pieces.push(piece);
      bytes += piece.length;
      if (bytes > answerBytesMax) response.destroy(notOurs(url, 'its answer is too long'));
    });
    response.on('error', reject);
    response.on('end', () => resolve({ status: response.statusCode ?? 0, text: Buffer.concat(pieces).toString() }));
  });
  asked.on('error', reject);
  asked.end();
  try {
    return await promise;
  } catch (error) {
    throw error instanceof Failure ? error : unreachable(url, signal.aborted ? null : error, timeoutMs);
  }
}

/** `error` null: the time was up. */
function unreachable(url: string, error: unknown, timeoutMs: number): Failure {
  const { host } = new URL(url);
  if (error === null)
    return new Failure('daemon_unreachable', `the daemon at ${host} does not answer within ${timeoutMs / 1000} s`, {
      hint: 'It hangs or is overloaded, or something else listens there: see ticketmaild logs and the load of the machine.',
    });
  const code = causeCode(error);
  if (/^HPE_|^ECONNRESET$|^EPROTO$/.test(code)) return notOurs(url, `it does not speak HTTP properly (${code})`);
  return new Failure('daemon_unreachable', `no daemon answers at ${host} (${code})`, {
    cause: error,
    hint: "Does it run? systemctl status 'ticketmaild*'. It listens where [http] listen said when it started, the workers ticketmaild@1 to @9 at 127.0.0.1:8031 to 8039: another address with --address HOST:PORT.",
  });
}

/** It answers, but not how it is. */
export function tooLate(url: string): Failure {
  const { host } = new URL(url);
  return new Failure('daemon_unreachable', `the daemon at ${host} is there, and could not say in time how it is`, {
    hint: 'Most likely its database hangs: look at the database server (SHOW PROCESSLIST) and ticketmaild logs.',
  });
}

/** What answers is no ticketmaild, or one of another version. */
export function notOurs(url: string, why: string): Failure {
  return new Failure('daemon_unreachable', `what answers at ${new URL(url).host} is not this ticketmaild: ${why}`, {
    hint: 'Compare the address with [http] listen of the daemon, and the versions: ticketmaild --version.',
  });
}

/**
 * The answer of `/readyz`, made fit to be shown: whatever listens at that address could have sent it.
 *
 * It is ticketmaild's when it says whether it is ready, who it is and how its checks are. Within that a value of another type
 * than expected, as from another version or out of a damaged row, is replaced by a neutral one and named in `strange`: one
 * odd value must not hide the rest. More than that may be there.
 */

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
