/**
 * Circuit breaker per mail server and TLS mode: opens after two failed connections in a row, for all its mailboxes.
 *
 * The mode is part of the key as it is all that a mailbox sets for itself before a failure that counts: a refused
 * certificate, login or folder shows that the server works. A server that is away is probed once for each mode.
 * While it is open, one mailbox at a time probes after 2 s, 4 s, 8 s … 60 s; the first that gets through closes it. An
 * outage costs one connection at a time instead of one per mailbox, and ends everywhere within a minute.
 */
import type { Clock } from '../../async/clock.ts';
import { asFailure, type Failure } from '../../errors.ts';
import type { OpenCircuit } from '../health/server-outages.ts';
import {
  type Endpoint,
  endpointKey,
  isServerFailure,
  isUnrelatedToServer,
  serverRetryMsMax,
} from '../poll/server-failures.ts';

export interface CircuitBreaker {
  /**
   * True when a mailbox there may be polled now: the circuit is closed, or a probe is due. A person's request, on the
   * monotonic clock, is answered by one probe that began after it: it makes one due.
   */
  allows(endpoint: Endpoint, requestedAtMs?: number | null): boolean;
  attemptStarted(endpoint: Endpoint, mailboxId: string): void;
  /**
   * Call once an attempt: `failure` is null as soon as its session is open. Returns how that changed the circuit; null
   * for no change.
   */
  attemptEnded(endpoint: Endpoint, mailboxId: string, failure: Failure | null): 'opened' | 'closed' | null;
  /** Times on the monotonic clock. */
  openCircuits(): readonly OpenCircuit[];
}

type Circuit = {
  readonly endpoint: Endpoint;
  failure: Failure;
  readonly sinceMs: number;
  atMs: number;
  /** In a row. */
  failures: number;
  /** When the next probe is allowed, on the monotonic clock. */
  nextProbeMs: number;
  /** When the last probe began, on that clock. */
  lastProbeMs: number;
  /** Mailbox id of the probe in progress. */
  probe: string | null;
};

const failuresToOpen = 2;

/** `random` is from 0 to 1: jitter shortens the wait before a probe by up to a quarter. */
export function createCircuitBreaker(clock: Clock, random: () => number): CircuitBreaker {
  const circuits = new Map<string, Circuit>();
  const recordFailure = (endpoint: Endpoint, failure: Failure, isProbe: boolean): 'opened' | null => {
    const key = endpointKey(endpoint);
    const nowMs = clock.monotonicMs();
    const circuit = circuits.get(key) ?? newCircuit(endpoint, failure, nowMs);
    circuits.set(key, circuit);
    const wasOpen = isOpen(circuit);
    // Attempts that were in progress when the circuit opened add nothing.
    if (wasOpen && !isProbe) return null;
    circuit.failure = asFailure(failure);
    circuit.failures += 1;
    circuit.atMs = nowMs;
    circuit.nextProbeMs = nowMs + probeDelayMs(circuit.failures, random());
    return isOpen(circuit) && !wasOpen ? 'opened' : null;
  };
  return {
    allows: (endpoint, requestedAtMs = null) => {
      const circuit = circuits.get(endpointKey(endpoint));
      if (circuit === undefined || !isOpen(circuit)) return true;
      const isRequested = requestedAtMs !== null && requestedAtMs > circuit.lastProbeMs;
      return circuit.probe === null && (isRequested || clock.monotonicMs() >= circuit.nextProbeMs);
    },
    attemptStarted: (endpoint, mailboxId) => {
      const circuit = circuits.get(endpointKey(endpoint));
      if (circuit === undefined || !isOpen(circuit) || circuit.probe !== null) return;
      circuit.probe = mailboxId;
      circuit.lastProbeMs = clock.monotonicMs();
    },
    attemptEnded: (endpoint, mailboxId, failure) => {
      const key = endpointKey(endpoint);
      const circuit = circuits.get(key) ?? null;
      const isProbe = circuit?.probe === mailboxId;
      if (circuit !== null && isProbe) circuit.probe = null;
      if (failure !== null && isUnrelatedToServer(failure)) return null;
      if (failure !== null && isServerFailure(failure)) return recordFailure(endpoint, failure, isProbe);
      const wasOpen = circuit !== null && isOpen(circuit);
      // A failure beside the probe may be from before the server went away.
      if (failure !== null && wasOpen && !isProbe) return null;
      circuits.delete(key);
      return wasOpen ? 'closed' : null;
    },
    openCircuits: () => [...circuits.values()].filter(isOpen).map(openCircuit),
  };
}

function newCircuit(endpoint: Endpoint, failure: Failure, nowMs: number): Circuit {
  const times = { sinceMs: nowMs, atMs: nowMs, nextProbeMs: 0, lastProbeMs: Number.NEGATIVE_INFINITY };
  return { ...times, endpoint, failure, failures: 0, probe: null };
}

function isOpen({ failures }: Circuit): boolean {
  return failures >= failuresToOpen;
}

function probeDelayMs(failures: number, random: number): number {
  const full = Math.min(serverRetryMsMax, 1000 * 2 ** Math.min(failures - 1, 16));
  return full * (1 - 0.25 * random);
}

function openCircuit({ endpoint: { host, port, tls }, failure, sinceMs, atMs, nextProbeMs }: Circuit): OpenCircuit {
  return { host, port, tls, failure, sinceMs, atMs, nextProbeMs };
}
