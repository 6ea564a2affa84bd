/**
 * Readiness value: the JSON of `/readyz`, from which `/metrics`, `status`, the admin page and systemd's status line are
 * made.
 *
 * A check is `ok`, `warning` (works, and needs attention), `failing`, `waiting` (a key is missing) or `unknown`. Times
 * are ISO 8601 in UTC, null where unknown. `health/describe.ts` words the checks.
 */
import type { Endpoint } from './poll/server-failures.ts';

export const checkStatuses = ['ok', 'warning', 'failing', 'waiting', 'unknown'] as const;

export type CheckStatus = (typeof checkStatuses)[number];

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
  /** Consecutive failed polls. */
  readonly failures: number;
  readonly push: PushState;
  /** The mail server whose outage it is, such as `mail.example.org:993 with implicit TLS`; absent: no outage. */
  readonly server?: string;
  /** Delete or move waits for a confirmation; absent: it does not. */
  readonly isUnconfirmed?: true;
  /** Set when reason and hint come from the database, whose writers are not trusted. */
  readonly stored?: { readonly code: string; readonly message: string };
};

export const pushStates = ['idling', 'polled', 'suspended'] as const;

/** Why a mailbox does not idle, at the worker that answers. */
export const pushCodes = [
  ...['idle_off', 'other_worker', 'idle_unsupported', 'idle_slots_taken', 'not_connected'],
  ...['idle_refused', 'idle_broken_off'],
] as const;

/**
 * Push of a mailbox (IDLE, RFC 2177). `idling`: the server announces new messages on a connection of this worker.
 * `polled`: polls find them, once an interval. `suspended`: polled until `until`, since idle connections failed.
 */
export type PushState = {
  readonly state: (typeof pushStates)[number];
  /** null: it idles. */
  readonly code: (typeof pushCodes)[number] | null;
  readonly until: string | null;
};

type WorkerCheck = {
  readonly host: string;
  readonly pid: number;
  readonly live: boolean;
  readonly seen_at: string | null;
};

/** Connections to the database; null for a SQLite file. */
export type PoolCheck = {
  readonly open: number;
  readonly busy: number;
  /** Requests that wait for a free connection. */
  readonly waiting: number;
  readonly max: number;
};

/** Health endpoints or admin page. */
export type ListenerName = 'health' | 'page';

/** `ok`: it listens. `address` is that of the configuration, HOST:PORT or unix:PATH. */
export type ListenerCheck = Check & { readonly listener: ListenerName; readonly address: string };

/**
 * A mail server that is away, for the mailboxes with this TLS mode. `next_attempt`: of a connection while its circuit
 * breaker is open; null: it is closed, and the server does not answer on connections that are open.
 */
export type ServerCheck = Check & Endpoint & { readonly next_attempt: string | null };

export type CertificateCheck = {
  readonly host: string;
  readonly port: number;
  readonly not_after: string;
  readonly days_left: number;
};

/** An OAuth provider of the configuration. `failing`: it refuses the application, or its credential has ended. */
export type OAuthProviderCheck = Check & {
  readonly provider: string;
  /** Of a token request, while they fail. */
  readonly next_attempt: string | null;
  /** Days until the client secret or certificate ends, negative when it has; null: unknown. */
  readonly credential_days_left: number | null;
};

/** An OAuth grant whose tokens cannot be renewed: a person has to sign in again, or the application is refused. */
export type OAuthGrantCheck = Check & { readonly grant: string; readonly provider: string; readonly state: string };

export type Readiness = {
  /** Database, disk and scheduler are ok, no key is missing, not every mailbox fails, and there is no crash loop. */
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
    /** `ping_ms`: duration of the last ping. */
    readonly database: Check & { readonly pool: PoolCheck | null; readonly ping_ms: number | null };
    /** The disk under data_dir. */
    readonly disk: Check & { readonly free_bytes: number | null };
    readonly scheduler: Check & {
      /** Milliseconds since the last tick; null before the first. */
      readonly lag_ms: number | null;
      /** Polls in progress. */
      readonly polls: number;
      /** Those of them that have taken long (scheduler/long-polls.ts). */
      readonly polls_long: number;
      /** Mailboxes that are due and wait for a free slot. */
      readonly due: number;
      /** Waiting time of the first of those. */
      readonly due_oldest_age_ms: number;
    };
    readonly vault: Check & { readonly state: string; readonly key_ids: readonly string[] };
    readonly switch: Check & { readonly state: string; readonly revision: number };
    /** A warning while a password or refresh token in the database is readable. Counts are null where unknown. */
    readonly passwords: Check & { readonly readable: number | null; readonly readable_tokens: number | null };
    readonly workers: Check & { readonly live: number; readonly list: readonly WorkerCheck[] };
    readonly servers: Check & { readonly list: readonly ServerCheck[] };
    readonly certificates: Check & { readonly list: readonly CertificateCheck[] };
    readonly oauth: Check & {
      /** Those of the configuration. */
      readonly providers: readonly OAuthProviderCheck[];
      readonly grants: { readonly ready: number; readonly needs_consent: number; readonly refused: number };
      /** Grants that are not ready. */
      readonly list: readonly OAuthGrantCheck[];
    };
    /** Those that are configured. A warning while one of them cannot listen. */
    readonly listeners: Check & { readonly list: readonly ListenerCheck[] };
    /** Result of the last reload; tables of the file that take effect with the next start. */
    readonly config: Check & { readonly needs_restart: readonly string[] };
    /** Offset of this machine's clock from the database's; positive when ahead. */
    readonly clock: Check & { readonly offset_ms: number | null };
    /**
     * Ends of this worker's process without a shutdown, within ten minutes: a warning, `failing` for a crash loop.
     * `last`: the start that noticed the last of them.
     */
    readonly crashes: Check & { readonly count: number; readonly last: string | null };
    /** Connections in IDLE. A warning while push is suspended for a mailbox. */
    readonly push: Check & {
      readonly open: number;
      readonly max: number;
      readonly suspended: number;
      /** Those mailboxes, 200 at most: the first to end comes first. */
      readonly list: readonly (PushState & { readonly mailbox: string })[];
    };
    readonly quarantine: Check & {
      readonly count: number;
      readonly oldest: string | null;
      readonly reasons: readonly { readonly reason: string; readonly count: number }[];
    };
    readonly mailboxes: Check & {
      readonly ok: number;
      readonly failing: number;
      /** Their password is sealed under a key that is not open. */
      readonly waiting: number;
      readonly paused: number;
      /** All active ones; failing ones first. */
      readonly list: readonly MailboxCheck[];
    };
  };
};

/**
 * The checks of vault and switch. `needsKey`: passwords cannot be opened. `sealing`: `off`, nothing seals a readable
 * password; `overdue`, it should be sealed by now; `running`, it is within a moment, or an operation reports it.
 */
export type EncryptionChecks = Pick<Readiness['checks'], 'vault' | 'switch'> & {
  readonly needsKey: boolean;
  readonly sealing: 'off' | 'overdue' | 'running';
};

/** A readiness as `/readyz` returns it: with 200 mailboxes at most. The failing ones come first, so they remain. */
export function listedReadiness(
  readiness: Readiness,
): Readiness & { readonly checks: { readonly mailboxes: { readonly not_listed: number } } } {
  const { checks } = readiness;
  const { list } = checks.mailboxes;
  const mailboxes = {
    ...checks.mailboxes,
    list: list.slice(0, listedMax),
    not_listed: Math.max(0, list.length - listedMax),
  };
  return { ...readiness, checks: { ...checks, mailboxes } };
}

const listedMax = 200;
