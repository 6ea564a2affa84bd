/**
 * The one request to switch off that a daemon can have: who asked, until when it waits, and how its proof was found.
 *
 * Both the control socket and the admin page ask by it. It ends when it is carried out, taken back, or after 15 minutes.
 */
import type { Clock } from '../async/clock.ts';
import type { ProofCheck, ProofFile } from './ports.ts';

/** Somebody asked to switch off, and it waits for its proof. */
export type DisableRequest = {
  /** As in the audit table. */
  readonly by: string;
  readonly askedAtMs: number;
  readonly expiresAtMs: number;
  /** The proof as it was looked at last; null: it was not yet. */
  readonly checks: readonly ProofCheck[] | null;
};

export type DisableRequests = {
  /** null: there is none, or its time is over. */
  current(): DisableRequest | null;
  ask(who: string): Promise<DisableRequest>;
  /** At its proof; the request remembers what was seen. */
  look(request: DisableRequest): Promise<readonly ProofCheck[]>;
  /** It is carried out: takes its proof away. */
  end(): Promise<void>;
  cancel(who: string): Promise<void>;
};

export type DisableRequestPorts = {
  readonly proof: ProofFile;
  readonly clock: Pick<Clock, 'nowMs'>;
  /** In the audit table. */
  record(who: string, action: string): Promise<void>;
};

const requestMs = 15 * 60_000;

export function createDisableRequests({ proof, clock, record }: DisableRequestPorts): DisableRequests {
  let request: DisableRequest | null = null;
  const current = () => (request !== null && clock.nowMs() < request.expiresAtMs ? request : null);
  return {
    current,
    ask: async (who) => {
      const askedAtMs = clock.nowMs();
      const made: DisableRequest = { by: who, askedAtMs, expiresAtMs: askedAtMs + requestMs, checks: null };
      request = made;
      await record(who, 'switch.disable_asked');
      return made;
    },
    look: async (waiting) => {
      const checks = await proof.checks(waiting.askedAtMs);
      request = { ...waiting, checks };
      return checks;
    },
    end: async () => {
      request = null;
      await proof.remove();
    },
    cancel: async (who) => {
      if (current() === null) return;
      request = null;
      await record(who, 'switch.disable_cancelled');
    },
  };
}

/** What is wrong with a proof, one sentence; null: nothing is. */
export function problemIn(checks: readonly ProofCheck[]): string | null {
  const failing = checks.find(({ ok }) => !ok);
  return failing === undefined ? null : (failing.why ?? 'it could not be looked at');
}
