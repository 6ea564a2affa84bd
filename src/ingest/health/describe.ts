/**
 * Wording of the readiness checks, the only one: for the status command, the admin page, the systemd status line and
 * the metrics.
 *
 * A check that is added to `Readiness` does not compile until the table here describes it.
 */

import { ageText, agoText, bytesText, countText, expiryText, inText, numberText, spanText } from '../../text/units.ts';
import type { TlsMode } from '../model.ts';
import type { Endpoint } from '../poll/server-failures.ts';
import type { Check, CheckStatus, ListenerName, Readiness } from '../readiness.ts';

type Checks = Readiness['checks'];

export type CheckName = keyof Checks;

export type CheckDescription = Check & {
  readonly name: CheckName;
  /** For a heading: `Key file`. */
  readonly title: string;
  /** That of the reason, else that of the status (`statusCodes`); null: it is ok. */
  readonly code: string | null;
  /** The figures of the check, in one line. */
  facts(nowMs: number): string;
};

type Wording<Name extends CheckName> = {
  readonly title: string;
  readonly facts: (check: Checks[Name], nowMs: number) => string;
};

const wordings = {
  database: { title: 'Database', facts: databaseFacts },
  disk: { title: 'Disk', facts: diskFacts },
  scheduler: { title: 'Scheduler', facts: schedulerFacts },
  vault: {
    title: 'Key file',
    facts: ({ state, key_ids: keys }) => (keys.length === 0 ? state : `${state}, key ${keys.join(', ')}`),
  },
  switch: {
    title: 'Encryption switch',
    facts: ({ state, revision }) =>
      state === 'unknown' ? 'state unknown' : `encryption ${state}, revision ${numberText(revision)}`,
  },
  passwords: { title: 'Passwords', facts: passwordsFacts },
  workers: { title: 'Workers', facts: workersFacts },
  servers: { title: 'Mail servers', facts: serversFacts },
  certificates: { title: 'Certificates', facts: certificatesFacts },
  oauth: { title: 'OAuth 2', facts: oauthFacts },
  listeners: { title: 'Listeners', facts: listenersFacts },
  config: { title: 'Configuration', facts: configFacts },
  clock: { title: 'Clock', facts: clockFacts },
  crashes: { title: 'Crashes', facts: crashesFacts },
  push: { title: 'Push (IDLE)', facts: pushFacts },
  quarantine: { title: 'Quarantine', facts: quarantineFacts },
  mailboxes: { title: 'Mailboxes', facts: mailboxesFacts },
} as const satisfies { readonly [Name in CheckName]: Wording<Name> };

/** Every check, in the order of the table. */
export function describeChecks(checks: Checks): readonly CheckDescription[] {
  return (Object.keys(wordings) as CheckName[]).map((name) => describeCheck(name, checks[name]));
}

function describeCheck<Name extends CheckName>(name: Name, check: Checks[Name]): CheckDescription {
  const { title, facts } = wordings[name] as Wording<Name>;
  const { status, since, reason, hint } = check;
  return {
    ...{ name, title, status, since, reason, hint },
    code: status === 'ok' ? null : (reasonCode(reason) ?? codeOfStatus(name, status)),
    facts: (nowMs) => facts(check, nowMs),
  };
}

/** Codes of checks whose reason begins with none: that of a failure (errors.ts) or a code of the table below. */
export const statusCodes = {
  database: { unknown: 'database_starting' },
  disk: { warning: 'disk_low', unknown: 'disk_not_probed' },
  scheduler: { failing: 'scheduler_stuck', warning: 'slots_taken', unknown: 'scheduler_starting' },
  vault: {},
  switch: {},
  passwords: { unknown: 'database_unavailable' },
  workers: { warning: 'worker_silent' },
  servers: { failing: 'circuit_open' },
  certificates: { warning: 'certificate_expiring' },
  oauth: { failing: 'oauth_credential_ended', warning: 'oauth_credential_ending' },
  listeners: { unknown: 'listener_starting' },
  config: {},
  clock: { warning: 'clock_off', unknown: 'clock_not_compared' },
  crashes: {},
  push: { unknown: 'database_unavailable' },
  quarantine: { warning: 'quarantine_waiting', unknown: 'database_unavailable' },
  mailboxes: { failing: 'mailboxes_failing', waiting: 'mailboxes_waiting', unknown: 'database_unavailable' },
} as const satisfies Readonly<Record<CheckName, Partial<Readonly<Record<CheckStatus, string>>>>>;

/** A status without an entry has a reason that begins with a code. */
function codeOfStatus(name: CheckName, status: CheckStatus): string {
  const codes: Partial<Readonly<Record<CheckStatus, string>>> = statusCodes[name];
  return codes[status] ?? 'unexpected';
}

export function titleOf(name: CheckName): string {
  return wordings[name].title;
}

/** The word before the colon of `code: sentence`; null where there is none. */
export function reasonCode(reason: string | null): string | null {
  return /^([a-z][a-z_]{0,39}): /.exec(reason ?? '')?.[1] ?? null;
}

/** True when an operator has something to do. */
export function needsAttention({ status }: Pick<Check, 'status'>): boolean {
  return status === 'failing' || status === 'waiting' || status === 'warning';
}

function databaseFacts({ pool }: Checks['database']): string {
  if (pool === null) return 'a SQLite file';
  const waiting = pool.waiting === 0 ? '' : `, ${numberText(pool.waiting)} waiting`;
  return `${numberText(pool.busy)} busy, ${numberText(pool.open)} open of ${countText(pool.max, 'connection')}${waiting}`;
}

/** The free space of a failing disk was measured before the failure. */
function diskFacts({ status, free_bytes: free }: Checks['disk']): string {
  if (status === 'failing') return 'not writable';
  return free === null ? 'free space unknown' : `${bytesText(free)} free`;
}

function passwordsFacts({ readable, readable_tokens: tokens }: Checks['passwords']): string {
  if (readable === null) return 'unknown';
  const more = tokens === null || tokens === 0 ? '' : `, ${countText(tokens, 'refresh token')}`;
  return `${numberText(readable)} readable in the database${more}`;
}

const lagShownMsMin = 3000;

function schedulerFacts(check: Checks['scheduler']): string {
  const { lag_ms: lag, polls, polls_long: pollsLong, due, due_oldest_age_ms: dueMs } = check;
  const long = pollsLong === 0 ? '' : ` (${numberText(pollsLong)} long)`;
  const waiting = due === 0 ? '0 due' : `${numberText(due)} due for up to ${spanText(dueMs)}`;
  const late = lag === null ? ', no tick yet' : lag >= lagShownMsMin ? `, last tick ${spanText(lag)} ago` : '';
  return `${countText(polls, 'poll')} in progress${long}, ${waiting}${late}`;
}

const namesShown = { workers: 3, servers: 5, certificates: 3, grants: 3, suspended: 3 };

function workersFacts({ live, list }: Checks['workers'], nowMs: number): string {
  const lost = list.filter((worker) => !worker.live);
  const named = lost
    .slice(0, namesShown.workers)
    .map(({ host, pid, seen_at: seen }) => `${host}:${numberText(pid)} ${agoText(seen, nowMs)}`);
  const more = lost.length > named.length ? ', …' : '';
  // The first heartbeat follows a moment after the first answer.
  const alive = live === 0 ? 'no heartbeat yet' : `${numberText(live)} live`;
  return `${alive}${lost.length === 0 ? '' : `, ${lost.length} lost (${named.join(', ')}${more})`}`;
}

function serversFacts({ list }: Checks['servers'], nowMs: number): string {
  if (list.length === 0) return 'no circuit open';
  const named = list.slice(0, namesShown.servers).map(({ next_attempt: next, ...one }) => {
    return next === null
      ? `${endpointName(one)} (silent)`
      : `${endpointName(one)} (next attempt ${inText(next, nowMs)})`;
  });
  const more = list.length > named.length ? `, and ${list.length - named.length} more` : '';
  const hasCircuit = list.some(({ next_attempt: next }) => next !== null);
  return `${hasCircuit ? 'circuit open' : 'no answer'}: ${named.join(', ')}${more}`;
}

const tlsModes: Readonly<Record<TlsMode, string>> = {
  implicit: 'implicit TLS',
  starttls: 'STARTTLS',
  none: 'no TLS',
};

/** `mail.example.org:993 with implicit TLS`. */
export function endpointName({ host, port, tls }: Endpoint): string {
  return `${host}:${numberText(port)} with ${tlsModes[tls]}`;
}

const certificateDaysShown = 30;

/** The first one to expire, and others that expire soon. */
function certificatesFacts({ list }: Checks['certificates']): string {
  if (list.length === 0) return 'none verified by an authority so far';
  const first = list.toSorted((a, b) => a.days_left - b.days_left).slice(0, namesShown.certificates);
  const soon = first.filter((one, index) => index === 0 || one.days_left <= certificateDaysShown);
  const named = soon.map(({ host, port, days_left: days }) => `${host}:${numberText(port)} ${expiryText(days)}`);
  return `${list.length} seen, ${named.join(', ')}`;
}

function oauthFacts({ providers, grants, list }: Checks['oauth']): string {
  const { ready, needs_consent: waiting, refused } = grants;
  if (providers.length === 0 && ready + waiting + refused === 0) return 'not used';
  const named = list.slice(0, namesShown.grants).map(({ grant, state }) => `${grant} ${state.replace('_', ' ')}`);
  const more = list.length > named.length ? ', …' : '';
  const troubled = list.length === 0 ? '' : ` (${named.join(', ')}${more})`;
  return `${countText(providers.length, 'provider')}, ${numberText(ready)} of ${countText(ready + waiting + refused, 'grant')} ready${troubled}`;
}

const listenerTitles: Readonly<Record<ListenerName, string>> = { health: 'health endpoints', page: 'admin page' };

function listenersFacts({ list }: Checks['listeners']): string {
  if (list.length === 0) return 'off';
  return list
    .map(({ listener, address, status }) => {
      return `${listenerTitles[listener]} ${status === 'ok' ? 'at' : 'not at'} ${address}`;
    })
    .join(', ');
}

function configFacts({ status, needs_restart: tables }: Checks['config']): string {
  if (tables.length > 0) return `restart needed for: ${tables.join(', ')}`;
  return status === 'ok' ? 'in force as read' : 'the previous one stays in force';
}

function clockFacts({ offset_ms: offset }: Checks['clock']): string {
  if (offset === null) return 'not compared yet';
  if (Math.abs(offset) < 1000) return 'agrees with the database';
  return `${spanText(Math.abs(offset))} ${offset > 0 ? 'ahead of' : 'behind'} the database`;
}

function crashesFacts({ count, last }: Checks['crashes'], nowMs: number): string {
  return count === 0
    ? 'none within 10 minutes'
    : `${numberText(count)} within 10 minutes, the last ${agoText(last, nowMs)}`;
}

function pushFacts({ open, max, suspended, list }: Checks['push'], nowMs: number): string {
  if (max === 0) return 'off';
  const named = list
    .slice(0, namesShown.suspended)
    .map(({ mailbox, until }) => `${mailbox}, again ${inText(until, nowMs)}`);
  const more = suspended > named.length ? '; …' : '';
  const off = suspended === 0 ? '' : `, suspended for ${numberText(suspended)} (${named.join('; ')}${more})`;
  return `${numberText(open)} of ${countText(max, 'connection')} open${off}`;
}

function quarantineFacts({ status, count, oldest }: Checks['quarantine'], nowMs: number): string {
  if (status === 'unknown') return 'unknown';
  if (count === 0) return 'empty';
  return `${countText(count, 'message')}${oldest === null ? '' : `, the oldest ${ageText(oldest, nowMs)} old`}`;
}

function mailboxesFacts({ status, ok: fine, failing, waiting, paused }: Checks['mailboxes']): string {
  if (status === 'unknown') return 'unknown';
  const parts = [
    `${numberText(fine)} ok`,
    `${numberText(failing)} failing`,
    waiting > 0 && `${waiting} waiting for a key`,
    paused > 0 && `${paused} paused`,
  ];
  return parts.filter((part) => part !== false).join(', ');
}
