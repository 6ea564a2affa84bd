/** What is stored about mailboxes, their settings and their passwords, as a port. */
import type { Author, Cursor, Mailbox, MailboxHealth, NewPassword, StoredPassword } from './mailbox.ts';

/** A mailbox as it is stored: `version` changes with every change of the row but the sealing of its password. */
export type Versioned = {
  readonly mailbox: Mailbox;
  readonly version: string;
  readonly password: MailboxHealth['password'];
};

/** Where a password is stored, `switch_changed` is thrown when the switch is not at the revision that it is prepared for. */
export interface MailboxStore {
  /** Throws `exists_already` when the name is taken. `cursor` is the baseline that a probe found, or null. Audited. */
  addMailbox(mailbox: Mailbox, password: NewPassword, cursor: Cursor | null, by: Author): Promise<void>;
  /** Throws `not_found`. */
  mailboxByName(name: string): Promise<Mailbox>;
  mailboxById(id: string): Promise<Mailbox | null>;
  listMailboxes(): Promise<readonly (Mailbox & { readonly health: MailboxHealth })[]>;
  /** Those with a lease in force, and whose it is. */
  leasedMailboxes(): Promise<readonly { readonly id: string; readonly name: string; readonly owner: string }[]>;
  /** Pausing stops polls from the next one on; resuming makes the mailbox due at once. */
  setMailboxState(id: string, state: 'active' | 'paused'): Promise<void>;
  /** None: the user name counts, where it is an address. Throws `not_found`. */
  setAddresses(id: string, addresses: readonly string[]): Promise<void>;
  /** Also makes the mailbox due at once and forgets its failures. Audited. */
  setPassword(id: string, password: NewPassword, by: Author): Promise<void>;
  /**
   * Writes what differs between two states of a mailbox, and its password unless that is null, in one statement; makes it
   * due at once and forgets its failures. A new password is audited. Throws `exists_already` when the name is taken,
   * `refused` when the row, or how its password is sealed, is not as in `before` any more.
   */
  changeMailbox(before: Versioned, after: Mailbox, password: NewPassword | null, by: Author): Promise<void>;
  /** Throws `not_found`. */
  versionedMailbox(name: string): Promise<Versioned>;
  /** Removes settings, password, cursor and outcomes; tickets and messages stay. Audited. */
  removeMailbox(id: string, by: Author): Promise<void>;
  /** Gives mailboxes that somebody else wrote into the table their schedule, due at once; tells how many. */
  adoptMailboxes(): Promise<number>;
  /** null when the mailbox is gone. */
  readPassword(id: string): Promise<StoredPassword | null>;
}
