/**
 * Whether the daemon can do its job, as a value: what `/readyz`, `/metrics`, `status` and `check` are made of.
 *
 * A check is `ok`, `warning` (somebody should look; the work goes on), `failing`, `waiting` (for want of a key) or `unknown`.
 * Times are ISO 8601 in UTC, null where not known.
 */

export type CheckStatus = 'ok' | 'warning' | 'failing' | 'waiting' | 'unknown';

export type Check = {
  readonly status: CheckStatus;
  readonly since: string | null;
  /** `code: sentence`; null when it is ok. */
  readonly reason: string | null;
  readonly hint: string | null;
};

export type MailboxCheck = Check & {
  readonly mailbox: string;
  readonly host: string;
  readonly last_success: string | null;
  readonly next_poll: string | null;
  /** Failed visits in a row. */
  readonly failures: number;
  /** True while this worker holds a connection on which the server announces mail. */
  readonly pushed: boolean;
  /** Reason and hint were read from the table, as these: whoever can write there may have written them. */
  readonly stored?: { readonly code: string; readonly message: string };
};

export type WorkerCheck = {
  readonly host: string;
  readonly pid: number;
  readonly live: boolean;
  readonly seen_at: string | null;
};

/** Connections to the database; null for a SQLite file. */
export type PoolCheck = {
  readonly open: number;
  readonly busy: number;
  /** Who waits for a free one. */
  readonly waiting: number;
  readonly max: number;
};

/** A mail server that is left alone for a while because nothing there could be reached. */
export type ServerCheck = Check & { readonly host: string; readonly port: number; readonly next_try: string };

export type CertificateCheck = {
  readonly host: string;
  readonly port: number;
  readonly valid_until: string;
  readonly days_left: number;
};

export type Readiness = {
  /** It can do its job: database, disk and scheduler are ok, no key is wanting, not every mailbox fails. */
  readonly ready: boolean;
  readonly worker: {
    readonly host: string;
    readonly pid: number;
    readonly name: string;
    readonly version: string;
    readonly started_at: string;
    readonly log_level: string;
  };
  readonly checks: {
    /** `answer_ms`: how long a small question took last. */
    readonly database: Check & { readonly pool: PoolCheck | null; readonly answer_ms: number | null };
    /** The disk under data_dir. */
    readonly disk: Check & { readonly free_bytes: number | null };
    readonly scheduler: Check & {
      /** Milliseconds since the last wake; null before the first. */
      readonly lag_ms: number | null;
      /** Visits under way. */
      readonly visits: number;
      /** Mailboxes that are due and wait for a place. */
      readonly due: number;
      /** How long the first of those has waited. */
      readonly due_ms: number;
    };
    readonly vault: Check & { readonly state: string; readonly key_ids: readonly string[] };
    readonly switch: Check & { readonly state: string; readonly revision: number };
    readonly workers: Check & { readonly live: number; readonly list: readonly WorkerCheck[] };
    readonly servers: Check & { readonly list: readonly ServerCheck[] };
    readonly certificates: Check & { readonly list: readonly CertificateCheck[] };
    /** Whether the configuration that was read last is in force; tables that hold from the next start on. */
    readonly config: Check & { readonly needs_restart: readonly string[] };
    /** How far the clock of this machine is ahead of the database's. */
    readonly clock: Check & { readonly offset_ms: number | null };
    /** Connections on which servers announce mail. */
    readonly push: { readonly open: number; readonly max: number };
    readonly quarantine: Check & {
      readonly count: number;
      readonly oldest: string | null;
      readonly reasons: readonly { readonly reason: string; readonly count: number }[];
    };
    readonly mailboxes: Check & {
      readonly ok: number;
      readonly failing: number;
      /** Cannot be opened for want of a key. */
      readonly waiting: number;
      readonly paused: number;
      /** All active ones; those in trouble first. */
      readonly list: readonly MailboxCheck[];
    };
  };
};

/** What the vault tells about itself; `wants` is true when passwords cannot be opened. */
export type EncryptionChecks = Pick<Readiness['checks'], 'vault' | 'switch'> & { readonly wants: boolean };
