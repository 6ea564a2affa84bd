/**
 * What the workflows count as it happens. What can be looked up when somebody asks is in the readiness (health.ts).
 */
import type { FailureCode } from '../errors.ts';
import type { Outcome } from './rows.ts';

export type VisitCounted = {
  readonly mailbox: string;
  readonly host: string;
  /** `ok`, or the failure that ended it. */
  readonly result: 'ok' | FailureCode;
  readonly durationMs: number;
  /** How long after it was due it began; null for a round that the server's announcement began. */
  readonly lagMs: number | null;
};

export interface Meter {
  visit(visit: VisitCounted): void;
  outcome(mailbox: string, outcome: Outcome): void;
  /** From the server's announcement of mail to the commit of what it announced. */
  pushed(ms: number): void;
}

/** For commands, whose numbers nobody asks for. */
export const noMeter: Meter = { visit: () => undefined, outcome: () => undefined, pushed: () => undefined };
