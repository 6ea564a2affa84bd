/**
 * Context of one round of a poll: what the fetch pipeline uses, observes and counts, from the list to the post-actions.
 *
 * A poll extends these types (poll/poll-context.ts): the pipeline depends on no part of the poll around it.
 */
import type { Clock } from '../../async/clock.ts';
import type { Failure } from '../../errors.ts';
import type { Log } from '../../events.ts';
import type { OpenReplyKeys } from '../batch-lookup.ts';
import type { TicketRules } from '../decide/batch-context.ts';
import type { Mailbox, Outcome, PostAction } from '../model.ts';
import type { Blobs, MessageParser, Meter, PostActionGuard, RawSources, Session } from '../ports.ts';
import type { DueMailbox, IngestStore, Lease } from '../stores.ts';
import type { FetchLimits } from './batches.ts';
import type { Isolation } from './poison-message.ts';
import type { StorageQuota } from './storage-quota.ts';

export type RoundPorts = {
  readonly store: IngestStore;
  readonly parser: MessageParser;
  readonly blobs: Blobs;
  readonly raw: RawSources;
  readonly storageQuota: StorageQuota;
  readonly postActionGuard: PostActionGuard;
  readonly clock: Clock;
  readonly log: Log;
  readonly meter: Meter;
  readonly newId: () => string;
  readonly newRef: () => string;
  readonly openReplyKeys: OpenReplyKeys;
};

export type RoundSettings = { readonly limits: FetchLimits; readonly rules: TicketRules };

export type RoundOptions = {
  /** The entry of the mailbox in the schedule; null: a command started this poll. */
  readonly due: DueMailbox['due'] | null;
  /** Ends the login at once, and a round after the batch in progress. */
  readonly stop: AbortSignal;
};

/** A post-action that the server refused. */
export type ActionRefusal = {
  readonly roundId: string;
  readonly action: PostAction['kind'];
  /** Number of messages. */
  readonly count: number;
  readonly failure: Failure;
};

/** What happens while a round runs. */
export type RoundEvent =
  | { readonly what: 'progress'; readonly done: number; readonly total: number }
  | ({ readonly what: 'action_refused' } & ActionRefusal);

export type RoundContext = {
  /** Names the round in all its log lines. */
  readonly roundId: string;
  readonly mailbox: Mailbox;
  readonly lease: Lease;
  readonly session: Session;
  readonly folderEpoch: number;
  readonly isolation: Isolation;
  /** Counted as batches are committed. */
  readonly outcomes: Record<Outcome, number>;
  readonly options: RoundOptions;
  readonly observe: (event: RoundEvent) => void;
  readonly ports: RoundPorts;
  /** The settings in force: a reload changes them while the connection idles. */
  readonly settings: () => RoundSettings;
  /** Fires when another worker has acquired the lease. */
  readonly lost: AbortSignal;
};
