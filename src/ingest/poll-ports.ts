/**
 * What one visit needs and gives back: the ports it works with, its settings, its report.
 */

import type { Clock } from '../async/clock.ts';
import type { Failure } from '../errors.ts';
import type { Log } from '../events.ts';
import type { ArrivalLimits } from './arrivals.ts';
import type { Leases } from './lease.ts';
import type { DeskRules } from './maker.ts';
import type { Meter } from './meter.ts';
import type { Narrowings } from './narrowing.ts';
import type { NumberingStore } from './numbering-ports.ts';
import type {
  Blobs,
  Digester,
  DueMailbox,
  IngestStore,
  Passwords,
  RawSources,
  Session,
  Sessions,
  Workers,
} from './ports.ts';
import type { PushPlace } from './push.ts';
import type { Outcome } from './rows.ts';

export type PollPorts = {
  readonly store: IngestStore & NumberingStore;
  readonly passwords: Passwords;
  readonly sessions: Sessions;
  readonly leases: Leases;
  readonly narrowings: Narrowings;
  readonly digester: Digester;
  readonly blobs: Blobs;
  readonly raw: RawSources;
  readonly workers: Workers;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
  readonly newId: () => string;
  readonly newRef: () => string;
  /** From 0 to 1, for jitter. */
  readonly random: () => number;
};

export type PollSettings = {
  readonly intervalMs: number;
  readonly backOffMsMax: number;
  readonly leaseMs: number;
  readonly loginRefusalsMax: number;
  readonly loginPauseMs: number;
  readonly limits: ArrivalLimits;
  readonly desk: DeskRules;
};

/** One round of a visit: what was new, from the list to the commit. */
export type PollReport = {
  /** Names this round in every log line about it. */
  readonly poll: string;
  readonly mailbox: string;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  readonly durationMs: number;
};

export type ActionRefusal = {
  readonly poll: string;
  readonly action: string;
  /** Of how many mails. */
  readonly count: number;
  readonly failure: Failure;
};

export type PollProgress = { readonly done: number; readonly total: number };

/** What is known of earlier visits, and who wants to know about this one. */
export type PollContext = {
  /** How the schedule has it; null: somebody asked for this visit. */
  readonly due: DueMailbox['due'] | null;
  readonly stop: AbortSignal;
  readonly onProgress?: (progress: PollProgress) => void;
  /** A round begins under that name; the first one before the login. */
  readonly onBegun?: (poll: string) => void;
  /** The server refused to mark, move or delete. */
  readonly onRefused?: (refusal: ActionRefusal) => void;
  /** The session is open. */
  readonly onOpened?: (session: Session) => void;
  /** After each round: the first one, and those that the server's announcements begin. */
  readonly onRound?: (report: PollReport) => void;
  /** Of this mailbox's folder: one more, and how many there were within a day. */
  readonly renumberings?: { readonly note: () => number; readonly count: () => number };
  /** When it was last looked whether its folder is the one that was handled; left out: never. */
  readonly looks?: { readonly isDue: () => boolean; readonly note: () => void };
  /** A round ended such that the next visit goes another way; what it has stored. */
  readonly onSetBack?: (report: PollReport) => void;
  /** A place for the session to stay after the first round; null, or absent: none. */
  readonly stay?: (hadMail: boolean) => PushPlace | null;
};
