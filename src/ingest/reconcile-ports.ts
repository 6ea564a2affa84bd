/** What `reconcile` reads and writes beside its counts, as a port. */
import type { ParsedMessage } from '../mail/message.ts';
import type { KeptRaw } from './keep.ts';
import type { Outcome, Reconciliation } from './rows.ts';

/** An outcome as far as it is compared with the server. */
export type ComparedOutcome = {
  readonly uid: number;
  readonly outcome: Outcome;
  /** In quarantine, and nobody has resolved it. */
  readonly waits: boolean;
  readonly actionPending: boolean;
};

/** A mail that was stored, whose message is not there any more, and was not deleted together with its ticket. */
export type LostMessage = {
  readonly mailboxId: string;
  readonly numbering: number;
  readonly uid: number;
  readonly ticketId: string | null;
  /** Reference of its ticket. */
  readonly ticket: string | null;
  readonly messageId: string;
  readonly sizeBytes: number;
  /** Where the server did not tell: when it was stored. */
  readonly receivedAtMs: number;
  readonly raw: KeptRaw | null;
  readonly identity: string | null;
};

/** One row that is wrong; what it has nothing to do with is null. */
export type WrongRow = {
  /** Which of the counts it is in. */
  readonly count: keyof Reconciliation;
  readonly mailbox: string | null;
  readonly uid: number | null;
  readonly ticket: string | null;
  /** Id of the message row. */
  readonly message: string | null;
};

/** A file of an attachment that messages name. */
export type NamedBlob = { readonly sha256: string; readonly sizeBytes: number; readonly messageId: string };

/** A file of raw sources that outcomes name. */
export type NamedSegment = {
  readonly segment: string;
  /** Where the last source that is named ends. */
  readonly endOffset: number;
  readonly mails: number;
  /** Of them, those that wait in quarantine: for these the source is all there is. */
  readonly waiting: number;
};

export interface ReconcileStore {
  countNamedBlobs(): Promise<number>;
  /** Each file once, by its hash, page after page. */
  namedBlobs(): AsyncIterable<NamedBlob>;
  namedSegments(): Promise<readonly NamedSegment[]>;

  /** The first `limit` rows of each count that is to be 0. */
  wrongRows(counts: readonly (keyof Reconciliation)[], limit: number): Promise<readonly WrongRow[]>;
  /** Of all numberings. */
  lostMessages(mailboxId: string): AsyncIterable<LostMessage>;
  /** Puts it back under its id and its ticket. False: it is there again, or its ticket is gone by now. */
  restoreMessage(lost: LostMessage, parsed: ParsedMessage): Promise<boolean>;
  /** By UID, page after page. */
  comparedOutcomes(mailboxId: string, numbering: number): AsyncIterable<ComparedOutcome>;
  /** Puts a mail that has no outcome into quarantine, as `missed`. False: it has one. */
  holdMissed(
    mailboxId: string,
    numbering: number,
    mail: { readonly uid: number; readonly sizeBytes: number; readonly receivedAtMs: number | null },
  ): Promise<boolean>;
}
