/** Stored messages as they are replayed from their raw sources: what is read of them, and what is written. */
import type { ParsedMessage } from '../mail/message.ts';
import type { KeptRaw } from './keep.ts';
import type { Batch, Outcome } from './rows.ts';

/** A stored message with the place of its source. */
export type StoredMail = {
  readonly id: string;
  readonly mailboxId: string;
  readonly ticketId: string | null;
  readonly receivedAtMs: number;
  /** null when its outcome or its source is not kept any more. */
  readonly source: {
    readonly numbering: number;
    readonly uid: number;
    readonly outcome: Outcome;
    readonly sizeBytes: number;
    readonly raw: KeptRaw;
  } | null;
};

/** What a message becomes. */
export type Replacement = {
  readonly parsed: ParsedMessage;
  /** Of one that was recorded and belongs to a ticket now: all that goes with that. `messages` has it under its id. */
  readonly joined: Omit<Batch, 'cursor'> | null;
};

export interface ReplayStore {
  /** Throws `not_found`. */
  storedMail(id: string): Promise<StoredMail>;
  /** Ids of the messages of a mailbox that arrived since then, oldest first; null: all. */
  storedMails(mailboxId: string, sinceMs: number | null): AsyncIterable<string>;
  /**
   * One transaction: the message, its attachments and its outcome as they are now. Gives the names of what changed; writes
   * nothing when that is nothing. Throws `database_conflict` when its ticket is not what `mail` says any more.
   */
  replaceMessage(mail: StoredMail, replacement: Replacement): Promise<readonly string[]>;
}
