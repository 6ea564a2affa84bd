/**
 * What one visit needs and gives back: the ports it works with, its settings, its report.
 */

import type { Clock } from '../../async/clock.ts';
import { Failure } from '../../errors.ts';
import type { Log } from '../../events.ts';
import type { DeskRules } from '../decide/batch-context.ts';
import type { ArrivalLimits } from '../fetch/pipeline.ts';
import type { Narrowings } from '../fetch/poison-message.ts';
import type { Mailbox, Outcome } from '../model.ts';
import type { Blobs, Digester, Meter, Passwords, RawSources, Session, Sessions, Workers } from '../ports.ts';
import type { DueMailbox, IngestStore, Lease, NumberingStore } from '../stores.ts';

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

/** A visit whose session is open: what poll.ts and rest.ts share. */

export type Visit = {
  readonly mailbox: Mailbox;
  readonly lease: Lease;
  readonly session: Session;
  readonly context: PollContext;
  readonly ports: PollPorts;
  /** Those in force: a reload changes them while the visit rests. */
  readonly settings: () => PollSettings;
  /** Fires when another worker has the lease. */
  readonly lost: AbortSignal;
  readonly found: Found;
};

/** True when the round had any mail to decide about. */
export function hadMail({ outcomes }: PollReport): boolean {
  return Object.values(outcomes).some((count) => count > 0);
}

export function leaseLost(mailbox: Mailbox): Failure {
  return new Failure('lease_lost', `mailbox ${mailbox.name} was taken over by another worker`);
}

/**
 * Where a round begins.
 *
 * A cursor of the folder's present numbering is taken as it is. A folder that is new to us, that was rebuilt under
 * another UIDVALIDITY (RFC 9051 section 2.3.1.1), that was set back under the same one (restored from a backup, so that
 * UIDs will be used again), or that is another one than before (somebody changed the row) begins where the mailbox's
 * start says: at its first mail, or at the first that arrived since a time. What is there already is recognised by
 * Message-ID and content later on.
 */

/** What was found out in a session so far. */
export type Found = {
  /** The mails that were handled last were looked at: the folder is the one that they are of. */
  isTheSame: boolean;
};

/**
 * Keeps the leases of this process while its visits last, and takes over what dead processes of this machine left behind.
 *
 * All leases are prolonged together, three times in their length, which is asked anew each time. Losing one is told by a signal; what is written after that
 * is refused by the fence in the database anyway. A database that cannot be reached is no loss: the lease runs until
 * its end, and the fence decides.
 */

type KeptLease = Disposable & { readonly lost: AbortSignal };

export interface Leases {
  /** Prolongs `lease` until disposed. `lost` fires when another worker has it. */
  keep(lease: Lease): KeptLease;
}

/**
 * Which visits stay: a connection that rests in IDLE hears of new mail at once, and there is room for so many of them.
 *
 * A place is for the worker that the mailbox is at home with. Its row is looked at every two seconds: when it changed, was
 * paused or is gone, or another worker has become its home, the visit ends and the mailbox is due. When all places are
 * taken, a mailbox that has just had mail gets that of the one that has been quiet for longest; when limits are lowered, the
 * quietest go. Where servers end resting connections again and again, the mailbox is only polled for an hour.
 */

/** A place for one resting visit, until it is disposed. */
export type PushPlace = Disposable & {
  /** Fires when the visit must end. */
  readonly end: AbortSignal;
  /** Whether the mailbox is to be visited at once after that, by whomever. */
  isDueAfter(): boolean;
  /** Does one round when there is room for it. `hadMail` of its result is remembered. */
  round<T extends { readonly hadMail: boolean }>(work: () => Promise<T>): Promise<T>;
  /**
   * The server has ended the connection while it rested, or, `isRefused`, will not let it rest. True when the mailbox may
   * rest again soon.
   */
  broke(isRefused?: boolean): boolean;
};
