/** Mails in quarantine as rows: what is read of them, and what is written but for taking them in (a batch does that). */
import type { HeldName } from './quarantine-id.ts';
import type { RawPlace } from './rows.ts';

/** A mail that is in quarantine: it waits, or it was discarded. */
export type HeldMail = {
  readonly mailboxId: string;
  /** Name of the mailbox. */
  readonly mailbox: string;
  /** See numbering.ts. */
  readonly numbering: number;
  readonly uid: number;
  readonly reason: string;
  readonly sinceMs: number;
  /** null: it waits. */
  readonly discardedAtMs: number | null;
  readonly receivedAtMs: number | null;
  /** As the server told it. */
  readonly sizeBytes: number;
  /** What is kept of it: the whole mail, its header alone, or nothing (see quarantine-reasons.ts). */
  readonly raw: (RawPlace & { readonly sha256: string }) | null;
};

/** null: any. `discarded`: those that were discarded, instead of those that wait. */
export type HeldFilter = {
  readonly mailboxId: string | null;
  readonly reason: string | null;
  readonly discarded?: boolean;
};

/** What another look at a mail found, while it stays in quarantine. */
export type HeldAgain = Pick<HeldMail, 'reason' | 'raw' | 'sizeBytes'>;

export interface QuarantineStore {
  /** By mailbox, numbering and UID, page after page. */
  heldMails(filter: HeldFilter): AsyncIterable<HeldMail>;
  /** Those of that UID that wait, or that were discarded; `numbering` null: in any numbering. */
  heldMail(mailboxId: string, numbering: number | null, uid: number, discarded?: boolean): Promise<readonly HeldMail[]>;
  /** The same by the name of the mailbox. */
  heldNamed(name: HeldName, discarded: boolean): Promise<readonly HeldMail[]>;
  /**
   * Of those that wait, from the `offset`th on, no more than `limit`: the newest first, and of one time the highest mailbox
   * id, numbering and UID. `reason` null: any.
   */
  heldPage(reason: string | null, offset: number, limit: number): Promise<readonly HeldMail[]>;
  /** Ends its waiting without taking it in. False: it did not wait any more. */
  discardHeld(mail: HeldMail): Promise<boolean>;
  /** One that was discarded waits again. False: it is not discarded any more. */
  holdDiscarded(mail: HeldMail): Promise<boolean>;
  /** False: it did not wait any more. */
  holdAgain(mail: HeldMail, found: HeldAgain): Promise<boolean>;
}
