/**
 * Circuit breaker and rate limit per OAuth provider: while one fails, a single request probes for all of its grants.
 *
 * A provider that fails (network, 5xx, 429) is probed after 2 s, 4 s, 8 s … 60 s, and never sooner than it asks for
 * (Retry-After); one that refuses the application every hour. A grant whose attempt failed lets another one probe next,
 * since the failure may be its own. A reload of the configuration forgets all that, so that each is asked at once.
 * State is held in memory, of each worker alone.
 */
import type { Clock } from '../async/clock.ts';
import { Failure } from '../errors.ts';
import { events, type Log } from '../events.ts';
import { concernsGrant } from './provider-errors.ts';

/** A provider whose token requests do not succeed. */
export type ProviderTrouble = {
  readonly kind: 'failing' | 'refused';
  readonly failure: Failure;
  /** Milliseconds since 1970, by the clock of this machine. */
  readonly sinceMs: number;
  readonly nextAttemptMs: number;
};

/** One token request; disposing it without a result leaves the circuit as it was. */
export interface ProviderAttempt extends Disposable {
  /**
   * null: the provider answered. `oauth_provider_failed` and `oauth_provider_refused` open the circuit, unless they
   * concern the grant alone.
   */
  ended(failure: Failure | null): void;
}

export interface ProviderCircuits {
  /** Waits for its turn. Throws the failure in force, without a request, while the circuit is open and no probe due. */
  begin(provider: string, grantId: string): Promise<ProviderAttempt>;
  /** null: its token requests succeed, or none was tried. */
  troubleOf(provider: string): ProviderTrouble | null;
  /** Forgets all, so that each provider is asked at once. */
  reset(): void;
}

type CircuitPorts = {
  readonly clock: Clock;
  readonly log: Log;
  /** From 0 to 1: jitter shortens the wait before a probe by up to a quarter. */
  readonly random: () => number;
  /** A circuit was closed, or forgotten: what waited for it can continue. */
  readonly onClosed: () => void;
};

type OpenCircuit = {
  kind: ProviderTrouble['kind'];
  failure: Failure;
  sinceMs: number;
  failures: number;
  /** On the monotonic clock. */
  nextProbeMs: number;
  isProbing: boolean;
  /** Grant whose attempt failed last. */
  grantId: string;
  /** Another grant was turned away since. */
  isOtherWaiting: boolean;
};

const probeMsMin = 2000;
const probeMsMax = 60_000;
const refusedMs = 3_600_000;
/** So long after a probe is due it is left to the grants that did not fail last. */
const yieldMsMax = 60_000;
/** A longer Retry-After is not believed. */
const retryAfterMsMax = 3_600_000;
/** At most 18 requests a second to one provider, from this process. */
const spacingMs = 55;

export function createProviderCircuits(ports: CircuitPorts): ProviderCircuits {
  const { clock, log, onClosed } = ports;
  const open = new Map<string, OpenCircuit>();
  const turns = createTurns(clock);
  const close = (provider: string): void => {
    const circuit = open.get(provider);
    if (!open.delete(provider) || circuit === undefined) return;
    log.info({ provider, after_failures: circuit.failures }, events.oauthProviderRecovered);
    onClosed();
  };
  const fail = (provider: string, grantId: string, failure: Failure, isProbe: boolean): void => {
    const circuit = open.get(provider);
    // Attempts that were in progress when the circuit opened add nothing.
    if (circuit !== undefined && !isProbe) return;
    const next = afterFailure(circuit, grantId, failure, ports);
    open.set(provider, next);
    if (next.kind === circuit?.kind) return;
    if (next.kind === 'refused') log.error({ provider, error: failure }, events.oauthProviderRefused);
    else log.warn({ provider, error: failure }, events.oauthProviderFailing);
  };
  return {
    begin: async (provider, grantId) => {
      checkOpen(open.get(provider), grantId, clock);
      // A probe has no others beside it.
      if (!open.has(provider)) await turns(provider);
      const circuit = open.get(provider);
      checkOpen(circuit, grantId, clock);
      if (circuit !== undefined) circuit.isProbing = true;
      const free = () => {
        if (circuit !== undefined) circuit.isProbing = false;
      };
      return {
        ended: (failure) => {
          free();
          if (failure === null || isAnswer(failure)) close(provider);
          else if (kindOf(failure) !== null) fail(provider, grantId, failure, circuit !== undefined);
        },
        [Symbol.dispose]: free,
      };
    },
    troubleOf: (provider) => {
      const circuit = open.get(provider);
      return circuit === undefined ? null : troubleOf(circuit, clock);
    },
    reset: () => {
      open.clear();
      onClosed();
    },
  };
}

/** The provider works, and refused one grant. */
function isAnswer(failure: Failure): boolean {
  return failure.code === 'oauth_needs_consent' || concernsGrant(failure);
}

function kindOf({ code }: Failure): ProviderTrouble['kind'] | null {
  if (code === 'oauth_provider_refused') return 'refused';
  return code === 'oauth_provider_failed' ? 'failing' : null;
}

function afterFailure(
  circuit: OpenCircuit | undefined,
  grantId: string,
  failure: Failure,
  { clock, random }: Pick<CircuitPorts, 'clock' | 'random'>,
): OpenCircuit {
  const kind = kindOf(failure) ?? 'failing';
  const isSame = circuit?.kind === kind;
  const failures = isSame ? circuit.failures + 1 : 1;
  const backoffMs = Math.min(probeMsMax, probeMsMin * 2 ** Math.min(failures - 1, 16)) * (1 - 0.25 * random());
  const waitMs = kind === 'refused' ? refusedMs : Math.max(backoffMs, retryAfterMs(failure));
  const sinceMs = isSame ? circuit.sinceMs : clock.nowMs();
  const nextProbeMs = clock.monotonicMs() + waitMs;
  return { kind, failure, sinceMs, failures, nextProbeMs, isProbing: false, grantId, isOtherWaiting: false };
}

/** The wait that the provider asked for. */
function retryAfterMs({ fields }: Failure): number {
  const ms = fields['retry_after_ms'];
  return typeof ms === 'number' && ms > 0 ? Math.min(ms, retryAfterMsMax) : 0;
}

function checkOpen(circuit: OpenCircuit | undefined, grantId: string, clock: Clock): void {
  if (circuit === undefined) return;
  const isOther = circuit.grantId !== grantId;
  const yieldMs = !isOther && circuit.isOtherWaiting ? yieldMsMax : 0;
  const waitMs = Math.ceil(Math.max(0, circuit.nextProbeMs + yieldMs - clock.monotonicMs()));
  if (waitMs === 0 && !circuit.isProbing) return;
  circuit.isOtherWaiting ||= isOther;
  const { code, message, fields, hint } = circuit.failure;
  throw new Failure(code, message, { hint, fields: { ...fields, retry_after_ms: waitMs, was_asked: false } });
}

function troubleOf({ kind, failure, sinceMs, nextProbeMs }: OpenCircuit, clock: Clock): ProviderTrouble {
  const nextAttemptMs = clock.nowMs() + Math.max(0, nextProbeMs - clock.monotonicMs());
  return { kind, failure, sinceMs, nextAttemptMs };
}

/** Spaces the requests to each provider. */
function createTurns(clock: Clock): (provider: string) => Promise<void> {
  const nextMs = new Map<string, number>();
  return async (provider) => {
    const nowMs = clock.monotonicMs();
    const atMs = Math.max(nowMs, nextMs.get(provider) ?? nowMs);
    nextMs.set(provider, atMs + spacingMs);
    if (atMs > nowMs) await clock.sleep(atMs - nowMs, new AbortController().signal);
  };
}
