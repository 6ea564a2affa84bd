/**
 * Server outages: mail servers from which no message can come in now, and the failure that all their mailboxes show.
 *
 * A worker knows an outage by its circuit breaker. The table shows it to everyone else, a worker on another host or a
 * command while no worker runs: two mailboxes did not reach the server, and none was polled successfully since. Pure.
 */
import type { Clock } from '../../async/clock.ts';
import type { Failure, FailureCode } from '../../errors.ts';
import type { Mailbox, MailboxHealth } from '../model.ts';
import { type Endpoint, endpointKey, unreachedCodes } from '../poll/server-failures.ts';
import type { Readiness, ServerCheck } from '../readiness.ts';
import { endpointName } from './describe.ts';

export type ServerOutage = Endpoint & {
  readonly failure: Pick<Failure, 'code' | 'message' | 'hint'>;
  readonly sinceMs: number;
  /** The last evidence: a mailbox that was polled successfully later is not concerned. */
  readonly atMs: number;
  /** The failure is that of a row, whose writers are not trusted. */
  readonly isStored?: true;
};

/** What the circuit breaker knows. */
export type OpenCircuit = ServerOutage & { readonly nextProbeMs: number };

/** What this worker knows: open circuit breakers, then servers that do not answer. Each endpoint once. */
export function knownOutages(
  circuits: readonly OpenCircuit[],
  silent: readonly ServerOutage[],
): readonly (ServerOutage & Partial<OpenCircuit>)[] {
  const open = new Set(circuits.map(endpointKey));
  return [...circuits, ...silent.filter((one) => !open.has(endpointKey(one)))];
}

/** As the circuit breaker: one failed connection may be an accident. */
const mailboxesMin = 2;

type Row = Pick<Mailbox, 'connection'> & { readonly health: MailboxHealth };
type FailedRow = Row & { readonly health: { readonly lastError: NonNullable<MailboxHealth['lastError']> } };

/** Times are those of the table. */
export function outagesInRows(rows: readonly Row[]): readonly ServerOutage[] {
  const failed = Map.groupBy(rows.filter(didNotReach), ({ connection }) => endpointKey(connection));
  const several = new Map([...failed].filter(([, group]) => group.length >= mailboxesMin));
  if (several.size === 0) return [];
  const successes = lastSuccesses(rows, several);
  return [...several].flatMap(([key, group]) => {
    const since = group.filter(({ health }) => health.lastError.atMs > (successes.get(key) ?? 0));
    return since.length < mailboxesMin ? [] : [outageOf(since)];
  });
}

function didNotReach(row: Row): row is FailedRow {
  const { failures, lastError } = row.health;
  return failures > 0 && lastError !== null && unreachedCodes.includes(lastError.code as FailureCode);
}

function lastSuccesses(rows: readonly Row[], endpoints: ReadonlyMap<string, unknown>): ReadonlyMap<string, number> {
  const last = new Map<string, number>();
  for (const { connection, health } of rows) {
    const key = endpointKey(connection);
    if (endpoints.has(key)) last.set(key, Math.max(last.get(key) ?? 0, health.lastSuccessAtMs ?? 0));
  }
  return last;
}

function outageOf(failed: readonly FailedRow[]): ServerOutage {
  const newest = failed.reduce((a, b) => (b.health.lastError.atMs > a.health.lastError.atMs ? b : a));
  const { code, message, hint, atMs } = newest.health.lastError;
  const { host, port, tls } = newest.connection;
  const sinceMs = Math.min(...failed.map(({ health }) => health.failingSinceMs ?? health.lastError.atMs));
  return { host, port, tls, failure: { code: code as FailureCode, message, hint }, sinceMs, atMs, isStored: true };
}

/** The outage of the server of a mailbox; the first one given for an endpoint counts. */
export function outageLookup(outages: readonly ServerOutage[]): (row: Row) => ServerOutage | null {
  if (outages.length === 0) return () => null;
  const byKey = new Map(outages.toReversed().map((one) => [endpointKey(one), one]));
  return ({ connection, health }) => {
    const outage = byKey.get(endpointKey(connection));
    return outage === undefined || (health.lastSuccessAtMs ?? 0) > outage.atMs ? null : outage;
  };
}

/** Times of `outages` are on the monotonic clock. */
export function serversCheck(
  outages: ReturnType<typeof knownOutages>,
  clock: Pick<Clock, 'nowMs' | 'monotonicMs'>,
): Readiness['checks']['servers'] {
  const list = outages.map((one) => serverCheck(one, clock));
  const [first] = list;
  if (first === undefined) return { status: 'ok', since: null, reason: null, hint: null, list };
  const which = list.length === 1 ? endpointName(first) : `${list.length} mail servers`;
  return {
    status: 'failing',
    since: first.since,
    reason: `${first.next_attempt === null ? 'no answer of' : 'circuit open for'} ${which}: ${first.reason}`,
    hint: first.hint,
    list,
  };
}

function serverCheck(
  { host, port, tls, failure, sinceMs, nextProbeMs }: ServerOutage & Partial<OpenCircuit>,
  clock: Pick<Clock, 'nowMs' | 'monotonicMs'>,
): ServerCheck {
  const [nowMs, monotonicMs] = [clock.nowMs(), clock.monotonicMs()];
  return {
    ...{ host, port, tls },
    status: 'failing',
    since: new Date(nowMs - (monotonicMs - sinceMs)).toISOString(),
    reason: `${failure.code}: ${failure.message}`,
    hint: failure.hint,
    next_attempt:
      nextProbeMs === undefined ? null : new Date(nowMs + Math.max(0, nextProbeMs - monotonicMs)).toISOString(),
  };
}
