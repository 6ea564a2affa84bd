/**
 * What one visit needs and gives back: the ports it works with, its settings, its report.
 */
import type { Log } from '../events.ts';
import type { ArrivalLimits } from './arrivals.ts';
import type { Blobs, Clock, Digester, IngestStore, Passwords, RawSources, Sessions, Workers } from './ports.ts';
import type { Outcome } from './rows.ts';

export type PollPorts = {
  readonly store: IngestStore;
  readonly passwords: Passwords;
  readonly sessions: Sessions;
  readonly digester: Digester;
  readonly blobs: Blobs;
  readonly raw: RawSources;
  readonly workers: Workers;
  readonly clock: Clock;
  readonly log: Log;
  readonly newId: () => string;
  readonly newRef: () => string;
  /** From 0 to 1, for jitter. */
  readonly random: () => number;
};

export type PollSettings = {
  readonly intervalMs: number;
  readonly backOffMsMax: number;
  readonly leaseMs: number;
  readonly limits: ArrivalLimits;
};

export type PollReport = {
  readonly mailbox: string;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  readonly durationMs: number;
};

export type PollProgress = { readonly done: number; readonly total: number };

/** What is known of earlier visits, and who wants to know about this one. */
export type PollContext = {
  /** Failed polls in a row before this one. */
  readonly failures: number;
  readonly stop: AbortSignal;
  readonly onProgress?: (progress: PollProgress) => void;
};
