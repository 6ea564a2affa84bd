/**
 * Renewal loop of a running daemon: renews access tokens at half their life time, before a login needs them.
 *
 * So a provider may be down for as long as tokens last and no mail is late. All workers run it; the claim in the
 * database decides who renews. Every failure, also of the database, is waited out. It logs grants that end and recover,
 * as the table has them, since a command or another worker may have found that. Once an hour it forgets access tokens
 * that no mailbox uses any more.
 */
import type { Clock } from '../async/clock.ts';
import type { OAuthProvider } from '../config/oauth-provider.ts';
import { asFailure, type Failure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import { type GrantDirectory, providerOfGrant } from './grant-directory.ts';
import type { AccessUse, Grant } from './model.ts';
import { checkUserListed } from './permission.ts';
import type { GrantStore } from './ports.ts';
import type { ProviderCircuits } from './provider-circuits.ts';
import { credentialDaysLeft, credentialDaysMin, firstMailbox, grantTrouble } from './readiness-check.ts';
import type { Renewals } from './renewal.ts';
import { useKey } from './stored-tokens.ts';

type GrantReading = Pick<GrantStore, 'troubledGrants' | 'grantByName' | 'mailboxesOfGrant'>;

export type RenewalLoopPorts = {
  readonly store: Pick<GrantStore, 'dueRenewals' | 'nextRenewalInMs' | 'forgetUnusedAccess'> & GrantReading;
  readonly grants: GrantDirectory;
  readonly renewals: Pick<Renewals, 'renewDue'>;
  readonly circuits: Pick<ProviderCircuits, 'troubleOf'>;
  readonly clock: Clock;
  readonly log: Log;
  /** False until the tables are up to date. */
  readonly isReady: () => boolean;
  /** Run once at the start, until it succeeds. */
  readonly prepare: () => Promise<void>;
};

const parallelMax = 4;
const batchMax = 40;
const pauseMsMin = 250;
/** A login or another worker may have stored a token whose renewal is due sooner than was known. */
const pauseMsMax = 5000;
/** The table is asked that often which grants are not ready. */
const grantsMs = 2000;
/** Grants in trouble that have a line in the log; `/readyz` counts all. */
const loggedMax = 1000;
const hourMs = 3_600_000;
const holdMsMin = 15_000;
const holdMsMax = 15 * 60_000;
const probeMsMax = 60_000;

type DueRenewal = { readonly name: string; readonly use: AccessUse };

/** A renewal that failed, until when it is left out (monotonic clock), and its failures in a row. */
type Hold = { readonly untilMs: number; readonly failures: number };

/** Runs until disposed, which waits for the renewals in progress. */
export function startRenewalLoop(ports: RenewalLoopPorts): AsyncDisposable {
  const { clock } = ports;
  const ended = new AbortController();
  const holds = new Map<string, Hold>();
  const hourly = createHourlyTask(ports);
  const logGrants = createGrantLogger(ports);
  let isPrepared = false;
  const iterate = async (): Promise<number> => {
    if (!ports.isReady()) return pauseMsMin;
    try {
      if (!isPrepared) await ports.prepare();
      isPrepared = true;
      const found = await ports.store.dueRenewals(holds.size + batchMax);
      const due = found.filter(({ use }) => (holds.get(useKey(use))?.untilMs ?? 0) <= clock.monotonicMs());
      await inParallel(due.slice(0, batchMax), (one) => renewOne(one, holds, ports), ended.signal);
      await logGrants();
      await hourly();
      if (due.length > 0) return pauseMsMin;
      const nextMs = (await ports.store.nextRenewalInMs()) ?? pauseMsMax;
      // 0: those that are due are held.
      return nextMs === 0 ? pauseMsMin * 4 : Math.min(pauseMsMax, Math.max(pauseMsMin, nextMs));
    } catch (error) {
      // The scheduler logs an unavailable database.
      asFailure(error);
      return pauseMsMax;
    }
  };
  const loop = (async () => {
    while (!ended.signal.aborted) await clock.sleep(await iterate(), ended.signal);
  })();
  return {
    [Symbol.asyncDispose]: async () => {
      ended.abort();
      await loop;
    },
  };
}

async function renewOne({ name, use }: DueRenewal, holds: Map<string, Hold>, ports: RenewalLoopPorts): Promise<void> {
  const key = useKey(use);
  try {
    const { grant, provider } = await providerOfGrant(name, ports.grants);
    if (provider.flow === 'service_account') checkUserListed(use.username, provider, null);
    await ports.renewals.renewDue(grant, provider, use.username);
    holds.delete(key);
  } catch (error) {
    const failures = (holds.get(key)?.failures ?? 0) + 1;
    holds.set(key, { failures, untilMs: ports.clock.monotonicMs() + holdMs(asFailure(error), failures) });
  }
}

/** While the circuit of a provider is open, until its next probe; any of its grants may make it. */
function holdMs({ code, fields }: Failure, failures: number): number {
  const msMax = code === 'oauth_provider_failed' ? probeMsMax : holdMsMax;
  const backoffMs = Math.min(msMax, holdMsMin * 2 ** Math.min(failures - 1, 16));
  const waitMs = fields['retry_after_ms'];
  return typeof waitMs === 'number' ? Math.min(backoffMs, Math.max(1000, waitMs)) : backoffMs;
}

async function inParallel<T>(items: readonly T[], work: (item: T) => Promise<void>, stop: AbortSignal): Promise<void> {
  const waiting = [...items];
  const run = async (): Promise<void> => {
    for (let item = waiting.shift(); item !== undefined && !stop.aborted; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: parallelMax }, run));
}

function createHourlyTask(ports: RenewalLoopPorts): () => Promise<void> {
  const { store, grants, clock } = ports;
  const logEnding = createCredentialLogger(ports);
  let nextMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (clock.monotonicMs() < nextMs) return;
    nextMs = clock.monotonicMs() + hourMs;
    for (const provider of grants.providers()) logEnding(provider);
    await store.forgetUnusedAccess();
  };
}

/** A grant that is not ready. A refused provider has its own line; then its grants have none. */
type LoggedGrant = { readonly name: string; readonly change: string; readonly isLogged: boolean };

/** Logs each grant that needs consent or is refused once, and once more when it is ready again. */
function createGrantLogger(ports: RenewalLoopPorts): () => Promise<void> {
  const { store, clock } = ports;
  const known = new Map<string, LoggedGrant>();
  let nextMs = Number.NEGATIVE_INFINITY;
  return async () => {
    if (clock.monotonicMs() < nextMs) return;
    nextMs = clock.monotonicMs() + grantsMs;
    const troubled = await store.troubledGrants(loggedMax);
    for (const grant of troubled) {
      const change = `${grant.state} ${grant.stateSinceMs}`;
      if (known.get(grant.id)?.change === change) continue;
      known.set(grant.id, { name: grant.name, change, isLogged: await logTrouble(grant, ports) });
    }
    const ids = new Set(troubled.map(({ id }) => id));
    for (const [id, logged] of [...known].filter(([id]) => !ids.has(id))) {
      // First, so that a row which cannot be read fails this once.
      known.delete(id);
      if (logged.isLogged) await logRecovery(id, logged.name, ports);
    }
  };
}

/** False: the line of its provider tells it. */
async function logTrouble(grant: Grant, { store, circuits, log }: RenewalLoopPorts): Promise<boolean> {
  const { name, provider, state } = grant;
  if (state !== 'needs_consent' && circuits.troubleOf(provider)?.kind === 'refused') return false;
  const error = grantTrouble(grant, await firstMailbox(grant, store));
  log.warn(
    { provider, grant: name, error },
    state === 'needs_consent' ? events.oauthNeedsConsent : events.oauthGrantRefused,
  );
  return true;
}

async function logRecovery(id: string, name: string, { store, log }: RenewalLoopPorts): Promise<void> {
  const grant = await store.grantByName(name);
  if (grant?.id === id && grant.state === 'ready')
    log.info({ provider: grant.provider, grant: name }, events.oauthGrantReady);
}

/** Logs each credential that ends soon once, and once more when it has ended. */
function createCredentialLogger({ clock, log }: RenewalLoopPorts): (provider: OAuthProvider) => void {
  const logged = new Map<string, 'ending' | 'ended'>();
  return (provider) => {
    const daysLeft = credentialDaysLeft(provider, clock.nowMs());
    if (daysLeft === null || daysLeft >= credentialDaysMin) return void logged.delete(provider.name);
    const stage = daysLeft < 0 ? 'ended' : 'ending';
    if (logged.get(provider.name) === stage) return;
    logged.set(provider.name, stage);
    const fields = { provider: provider.name, days_left: daysLeft };
    if (stage === 'ended') log.error(fields, events.oauthCredentialEnding);
    else log.warn(fields, events.oauthCredentialEnding);
  };
}
