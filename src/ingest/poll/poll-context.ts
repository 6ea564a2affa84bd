/**
 * Types of one poll: its ports, settings, options, observer and result, and the session and rounds inside it.
 *
 * A poll takes the lease of a mailbox, opens a session and runs one round; where its connection idles afterwards, it
 * runs another round after each announcement of new messages.
 */
import type { Failure } from '../../errors.ts';
import type { IsolationStates } from '../fetch/poison-message.ts';
import type { RoundEvent, RoundOptions, RoundPorts, RoundSettings } from '../fetch/round-context.ts';
import type { Mailbox, Outcome } from '../model.ts';
import type { AnswerWatch, Credentials, Session, Sessions, WorkerIdentity } from '../ports.ts';
import type { FolderStore, Lease } from '../stores.ts';
import type { HandledCounts } from './late-messages.ts';
import type { FolderCheckSchedule, UidValidityChanges } from './uidvalidity-changes.ts';

export type PollPorts = RoundPorts & {
  readonly store: FolderStore;
  readonly credentials: Credentials;
  readonly sessions: Sessions;
  readonly leases: Leases;
  readonly isolations: IsolationStates;
  readonly worker: WorkerIdentity;
  /** From 0 to 1, for jitter. */
  readonly random: () => number;
};

/** The leases of this process. */
export interface Leases {
  /** Renews `lease` until disposed. `lost` fires when another worker has acquired it. */
  autoRenew(lease: Lease): Disposable & { readonly lost: AbortSignal };
}

export type PollSettings = RoundSettings & {
  readonly intervalMs: number;
  readonly backoffMsMax: number;
  readonly leaseMs: number;
  readonly loginFailuresMax: number;
  readonly loginSuspendMs: number;
};

export type PollOptions = RoundOptions & {
  /** Absent: not counted, as by a command. */
  readonly uidValidityChanges?: UidValidityChanges;
  /** Absent: the folder is checked in every poll. */
  readonly folderCheckSchedule?: FolderCheckSchedule;
  /** Absent: the database is asked in every poll. */
  readonly handledCounts?: HandledCounts;
  /** Absent: silence of the server is not observed. */
  readonly watch?: ServerWatch;
  /** Absent: the poll is not preempted. */
  readonly preemption?: Preemption;
  /** Asks for a slot in which the connection idles after the first round; null, or absent: the session is closed. */
  readonly requestIdleSlot?: (request: IdleSlotRequest) => IdleSlot | null;
};

/** `isOffered`: the server offers IDLE in this session. */
export type IdleSlotRequest = { readonly hadMessages: boolean; readonly isOffered: boolean };

/** Observes whether the server answers on the connection of a poll. */
export type ServerWatch = AnswerWatch & {
  /** Until it is disposed `verify` may be called, which returns false while the connection does not idle. */
  idles(verify: () => boolean): Disposable;
};

/** Ends a poll that others wait for; the next one continues at the cursor. */
export type Preemption = {
  readonly signal: AbortSignal;
  /** Messages were committed. Otherwise the mailbox rests, as after a failure. */
  readonly hasCommitted: boolean;
};

/** A slot for one connection that idles (IDLE, RFC 2177), until it is disposed. */
export type IdleSlot = Disposable & {
  /** Fires when the poll must end. */
  readonly end: AbortSignal;
  /** True when the mailbox is to be polled at once after that, by any worker. */
  isDueAtOnce(): boolean;
  /** Runs one round once there is room for it. `hadMessages` of its result is remembered. */
  runRound<T extends { readonly hadMessages: boolean }>(work: () => Promise<T>): Promise<T>;
  /**
   * The server has ended the idle connection or, `isRefused`, rejected the IDLE command. True when the mailbox may idle
   * again soon.
   */
  connectionEnded(isRefused?: boolean): boolean;
};

/** One round, from the list to the commit. */
export type RoundReport = {
  /** Names the round in all its log lines. */
  readonly roundId: string;
  readonly mailbox: string;
  readonly outcomes: Readonly<Record<Outcome, number>>;
  readonly durationMs: number;
};

/** What happens while a poll runs. */
export type PollEvent =
  | { readonly what: 'connected'; readonly certificateEndsAtMs: number | null }
  | RoundEvent
  /** A round succeeded: the first one, or one after an announcement. */
  | { readonly what: 'round_finished'; readonly report: RoundReport };

export type PollObserver = (event: PollEvent) => void;

/** How a poll ended. */
export type PollSummary = {
  /** The failure that ended it, which the schedule has by now where that was possible; null: success. */
  readonly failure: Failure | null;
  /** Names the last round; null: the lease was not acquired. */
  readonly roundId: string | null;
  /** True when the session was open: the failure says nothing about whether the server can be reached. */
  readonly wasConnected: boolean;
  /** The last round that began to fetch, also where it failed; null: none did. */
  readonly lastRound: RoundReport | null;
  /** The next poll proceeds in another way (poison-message.ts), so that polling again at once may help. */
  readonly changesCourse: boolean;
  /** Until the mailbox is due again; null after a failure or a stop. */
  readonly dueAfterMs: number | null;
  readonly durationMs: number;
};

/** A poll whose session is open. */
export type OpenPoll = {
  readonly mailbox: Mailbox;
  readonly lease: Lease;
  readonly session: Session;
  readonly options: PollOptions;
  readonly observe: PollObserver;
  readonly ports: PollPorts;
  /** The settings in force: a reload changes them while the connection idles. */
  readonly settings: () => PollSettings;
  /** Fires when another worker has acquired the lease. */
  readonly lost: AbortSignal;
  readonly folderVerification: FolderVerification;
};

/** The result of checks in this session so far. */
export type FolderVerification = {
  /** The messages handled last were compared: this is the folder that they are in. */
  isVerified: boolean;
};

/** True when the round had any message to decide about. */
export function hadMessages({ outcomes }: RoundReport): boolean {
  return Object.values(outcomes).some((count) => count > 0);
}
