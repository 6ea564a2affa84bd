/**
 * What a window asks of the database before it is decided, and the answer, as values.
 *
 * All mails of a window ask together, so that the number of queries does not grow with them; what no mail asks for is not
 * looked up. Ticket references are in upper case, addresses and Message-IDs as `mail/clues.ts` gives them.
 */

/** Of which senders arrivals are to be counted, by the minute; `fromMs` to `toMs` hold all that matter. */
export type SenderSpan = { readonly addresses: readonly string[]; readonly fromMs: number; readonly toMs: number };

export type Question = {
  readonly mailboxId: string;
  /** Own Message-IDs, and those that the mails name: who has them, and who names them. */
  readonly messageIds: readonly string[];
  /** Tickets that are named by a tag or a reply token. */
  readonly refs: readonly string[];
  /** Whether that sender takes part in that ticket. */
  readonly claims: readonly { readonly ref: string; readonly address: string }[];
  readonly identities: readonly string[];
  /** null: nobody's. */
  readonly senders: SenderSpan | null;
  /** Of tickets that were closed before that: which ones continue them. null: of none. */
  readonly overBeforeMs: number | null;
  /** Whether there are reply tokens to check. */
  readonly asksKey: boolean;
};

/** A ticket as far as threading asks. One that was merged is never here: the one that it went into is. */
export type KnownTicket = {
  readonly id: string;
  readonly ref: string;
  readonly mailboxId: string;
  readonly status: string;
  readonly createdAtMs: number;
  /** Of a closed one. */
  readonly closedAtMs: number | null;
  readonly isOrphan: boolean;
  readonly requesterAddress: string;
};

/** A message that is stored already. `ticket`: null for one that is recorded without, and when the ticket was deleted. */
export type KnownMessage = {
  readonly id: string;
  readonly mailboxId: string;
  readonly messageId: string;
  readonly contentHash: string;
  readonly ticket: KnownTicket | null;
};

/** A message of this mailbox that names a Message-ID which was missing then. */
export type NamingMessage = {
  readonly named: string;
  readonly ticket: KnownTicket | null;
  readonly from: string;
  /** Its recipients (To, Cc). */
  readonly recipients: readonly string[];
};

/** A mail that was handled before in this mailbox; `isKept`: it is in quarantine, not stored. */
export type Handled = { readonly identity: string; readonly isKept: boolean };

/** `count` stored messages of that sender arrived in the minute that begins at `atMs`. */
export type SentCount = { readonly address: string; readonly atMs: number; readonly count: number };

export type Known = {
  /** Oldest first. */
  readonly messages: readonly KnownMessage[];
  readonly naming: readonly NamingMessage[];
  readonly tickets: readonly { readonly ref: string; readonly ticket: KnownTicket }[];
  /** The claims that are true, by ticket. */
  readonly participants: readonly { readonly ticketId: string; readonly address: string }[];
  /** Tickets that continue a closed one (`continues`), oldest first. */
  readonly continuations: readonly { readonly closedId: string; readonly ticket: KnownTicket }[];
  readonly handled: readonly Handled[];
  readonly sent: readonly SentCount[];
  /** When the mailbox was added; what arrived before that is no flood, and is not counted. 0 where nobody asks. */
  readonly addedAtMs: number;
  /** Addresses of all mailboxes, lower-case, without plus part. */
  readonly ownAddresses: ReadonlySet<string>;
  /** null: there are no tokens, since nobody has asked for one. */
  readonly replyKey: Uint8Array | null;
};

/** The same mail in another mailbox. */
export type Copy = { readonly messageId: string; readonly contentHash: string; readonly ticketId: string };

export interface KnownStore {
  lookUp(question: Question): Promise<Known>;
  /**
   * Links the tickets of `copies` with those of the same mails in other mailboxes, after all of them are committed. What two
   * workers commit at the same moment they do not see before.
   */
  linkCopies(mailboxId: string, copies: readonly Copy[]): Promise<void>;
}
