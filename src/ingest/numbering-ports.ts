/** What is stored about the numbering of a mailbox's folder (numbering.ts), as a port. */
import type { Cursor } from './mailbox.ts';
import type { Lease, Listed } from './ports.ts';

/** How far a mailbox is. `life`: the last one that was used for any of its numberings. */
export type Place = {
  readonly cursor: Cursor | null;
  readonly life: number;
  /** Where the first visit in this numbering began; null where that was before this was kept. */
  readonly startUid: number | null;
  /** Of which folder the cursor is (`folderKey`); null where that was not kept. */
  readonly folder: string | null;
};

/** A numbering that begins, with the folder that it is of (`folderKey`). */
export type Beginning = { readonly cursor: Cursor; readonly life: number; readonly folder: string };

/** `Cursor.uidValidity` is a numbering here and everywhere else. */
export interface NumberingStore {
  /** Throws `not_found` when the mailbox is gone. */
  readPlace(mailboxId: string): Promise<Place>;
  /** True when an outcome is kept under that numbering. */
  isNumberingUsed(mailboxId: string, numbering: number): Promise<boolean>;
  /** The last mails up to that cursor that have an outcome, at most `limit`. */
  lastHandled(mailboxId: string, cursor: Cursor, limit: number): Promise<readonly Listed[]>;
  /** Throws `lease_lost`. */
  beginNumbering(lease: Lease, beginning: Beginning): Promise<void>;
  /** Keeps of which folder the cursor is, which goes on. Throws `lease_lost`. */
  nameFolder(lease: Lease, folder: string): Promise<void>;
  /**
   * Forgets what only the numberings before `numbering` needed: outcomes of duplicates, whose mail is told by another
   * outcome; mails in quarantine of which nothing was kept; after-actions, whose mails have other UIDs now. Throws
   * `lease_lost`.
   */
  forgetNumberings(lease: Lease, numbering: number): Promise<void>;
}
