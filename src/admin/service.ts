/**
 * What the admin page shows and does, as values and one interface: the web adapter knows nothing else.
 *
 * A page is made of one of these values; what a person does there is one of these calls, which runs the same workflow as the
 * command of that name. Times are milliseconds since 1970 (UTC). No value here holds a secret but `SignedIn.token`.
 */
import type { UnopenedPassword } from '../encryption/operations/operation.ts';
import type { EncryptionStatus } from '../encryption/status.ts';
import type { CheckName } from '../ingest/health/describe.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';

/** Somebody who is signed in. */
export type AdminSession = {
  readonly accountId: string;
  readonly name: string;
  /** Every form that changes something carries it; 43 characters of base64url. */
  readonly csrf: string;
  readonly signedInAtMs: number;
};

export type SignInResult =
  /** `token`: what the browser's cookie holds, 43 characters of base64url; only its hash is stored. */
  | { readonly kind: 'signed_in'; readonly token: string; readonly session: AdminSession }
  /** Wrong name or password: which of the two is not told. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'limited'; readonly retryAfterS: number }
  /** Too many are signing in at this moment. */
  | { readonly kind: 'busy' };

/** Why a request was turned away; it goes into the audit and the log. */
export type RefusalReason =
  | 'not_signed_in'
  | 'csrf'
  | 'foreign_origin'
  | 'foreign_host'
  | 'method'
  | 'not_found'
  | 'bad_request'
  | 'too_large'
  | 'not_acknowledged'
  | 'proof_refused'
  | 'operation_running'
  | 'not_possible_now';

export type Refusal = {
  readonly reason: RefusalReason;
  /** The name of who is signed in, or null. */
  readonly who: string | null;
  /** The client's address. */
  readonly address: string;
  /** What it was about: the name of a form or page of ours, never what the client sent. */
  readonly about: string;
};

/** `enable` finishes what was begun, `rotate` too: each is the command of that name. */
export type OperationKind = 'enable' | 'rotate' | 'disable';

/** The operation on the switch that somebody started here last, whichever worker of the database served the page. */
export type OperationView = {
  readonly kind: OperationKind;
  readonly by: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  readonly state: 'running' | 'done' | 'failed';
  /** What was done so far, a sentence of ours each. */
  readonly steps: readonly string[];
  /** Why it failed, in words of ours. */
  readonly error: { readonly code: string; readonly message: string; readonly hint: string } | null;
  /** Passwords that could not be opened; the names of the mailboxes are as the database has them. */
  readonly unopened: readonly UnopenedPassword[];
  /** Where the key file was put, after switching off. */
  readonly setAside: string | null;
  /** The daemon ended just before the end: what may be left to do, and the command that does it. */
  readonly followUp: { readonly what: string; readonly command: string } | null;
};

/** One thing that is wrong. */
export type Diagnostic = {
  readonly title: string;
  /** What happened. */
  readonly description: string;
  /** What still works meanwhile. */
  readonly unaffected: string;
  /** What to do. */
  readonly remedy: string;
  /** The exact command; null: none helps. */
  readonly command: string | null;
};

/** Switching off was asked for, and waits for the proof file. */
export type ProofRequest = {
  readonly by: string;
  readonly requestedAtMs: number;
  readonly expiresAtMs: number;
  /** `data/can-disable-encryption.txt`, as an absolute path. */
  readonly path: string;
  readonly command: string;
  /** As it was looked at last; null: nobody has said yet that it is there. `why` says what is wrong and what to do. */
  readonly checks:
    | readonly { readonly name: 'exists' | 'owner' | 'newer'; readonly ok: boolean; readonly why: string | null }[]
    | null;
};

export type BackupVerified = { readonly atMs: number; readonly by: string; readonly keyIds: readonly string[] };

export type EncryptionView = {
  /**
   * What the page is mainly about. `working`: passwords are being sealed, resealed or made readable, or that was cut off half
   * way. `disabling`: encryption is on, and switching it off waits for the proof file (`proofRequest`).
   */
  readonly mode: 'off' | 'working' | 'on' | 'disabling';
  readonly status: EncryptionStatus;
  /** Not empty: something is wrong, and that comes first. */
  readonly diagnostics: readonly Diagnostic[];
  readonly operation: OperationView | null;
  /** Of the passwords, as the database has them now; null: nothing is under way. */
  readonly progress: { readonly done: number; readonly total: number } | null;
  /** The switch is half way and nobody works on it: `enable`, `rotate` or `disable` would go on. */
  readonly unfinished: OperationKind | null;
  readonly proofRequest: ProofRequest | null;
  readonly keyFile: {
    readonly path: string;
    /** A passphrase protects it. */
    readonly isProtected: boolean;
    /** Every key in it. */
    readonly keyIds: readonly string[];
  };
  /** The last backup that somebody compared, if it holds the keys of now. */
  readonly backup: BackupVerified | null;
  /** For a shell on the host of the daemon. */
  readonly commands: { readonly backup: string; readonly verify: string; readonly status: string };
  /** Where passwords may still be found that stood readable, and what clears it; while it is off, what to have done before. */
  readonly leftovers: readonly string[];
};

/** `refused`: nothing was changed; `sentence` says why. */
export type OperationStart = { readonly kind: 'started' } | { readonly kind: 'refused'; readonly sentence: string };

export type MailboxLine = {
  readonly name: string;
  readonly host: string;
  /** `unknown`: nobody has finished a visit yet, and nothing is known to be wrong. */
  readonly state: 'ok' | 'failing' | 'waiting' | 'paused' | 'unknown';
  readonly lastSuccessMs: number | null;
  readonly nextPollMs: number | null;
  readonly isIdling: boolean;
  readonly error: {
    readonly reason: string;
    /** What the database has of it, which whoever can write there may have written; null: nothing beside `reason`. */
    readonly storedMessage: string | null;
    /** Words of this program, never of the database or a server. */
    readonly hint: string | null;
    readonly sinceMs: number | null;
  } | null;
};

export type QuarantinedLine = {
  readonly id: string;
  readonly mailbox: string;
  readonly reason: string;
  readonly sinceMs: number;
  readonly sizeBytes: number;
  /** What a stranger wrote; null where nothing is kept. */
  readonly from: string | null;
  readonly subject: string | null;
};

/** One part of a list. Pages count from 1. */
export type ListPage<T> = {
  readonly list: readonly T[];
  readonly page: number;
  readonly pages: number;
  readonly total: number;
};

export type OverviewQuery = {
  readonly page: number;
  readonly show: 'all' | 'failing' | 'waiting' | 'paused';
  /** A part of the name or host, lower-case; '': any. */
  readonly search: string;
};

/** Whole hours in UTC, the oldest first; the last one is not over. */
export type HourlyActivity = readonly {
  readonly startMs: number;
  readonly messages: number;
  readonly tickets: number;
}[];

export type ReasonLine = {
  readonly reason: string;
  readonly count: number;
  readonly meaning: string;
  readonly hint: string;
};

export type WorkerLine = {
  readonly host: string;
  readonly pid: number;
  readonly isLive: boolean;
  readonly isThisOne: boolean;
  readonly seenAtMs: number | null;
};

/** `overview`: the page itself shows outdated figures. */
export type FailingCheck = {
  readonly check: CheckName | 'overview';
  readonly reason: string;
  readonly hint: string | null;
};

export type OverviewView = {
  readonly atMs: number;
  readonly isReady: boolean;
  /** Checks that are not ok, as on /readyz. */
  readonly failingChecks: readonly FailingCheck[];
  /** `unknown`: not visited yet. */
  readonly counts: Readonly<Record<'ok' | 'failing' | 'waiting' | 'paused' | 'unknown', number>>;
  readonly query: OverviewQuery;
  readonly mailboxes: ListPage<MailboxLine>;
  /** The last 24 hours; null: not known yet. */
  readonly activity: HourlyActivity | null;
  readonly quarantine: { readonly count: number; readonly reasons: readonly ReasonLine[] };
  readonly workers: readonly WorkerLine[];
};

export type QuarantineQuery = { readonly page: number; readonly reason: string | null };

export type QuarantineView = {
  readonly query: QuarantineQuery;
  readonly reasons: readonly ReasonLine[];
  readonly messages: ListPage<QuarantinedLine>;
};

/** What became of one mail in quarantine, as one sentence; `isDone` false: it still waits, or there is no such mail. */
export type QuarantineActionResult = { readonly isDone: boolean; readonly sentence: string };

export interface AdminService {
  /** `password` is wiped. Throws `database_*`. */
  signIn(name: string, password: SecretBytes, address: string): Promise<SignInResult>;
  /** null: nobody is signed in by that token. `isUse` false: a page that refreshes itself, which keeps nobody signed in. */
  session(token: string, isUse: boolean): Promise<AdminSession | null>;
  signOut(token: string): Promise<void>;
  /** True while there is no account yet. */
  hasNoAccount(): Promise<boolean>;
  /** Tells audit and log, within bounds. Never rejects, and does not wait for the database. */
  recordRefusal(refusal: Refusal): void;

  encryption(): Promise<EncryptionView>;
  /** Begins or goes on with `enable` or `rotate`, or goes on with a `disable` that was proven; it runs on by itself. */
  startOperation(kind: OperationKind, by: string): Promise<OperationStart>;
  requestDisable(by: string): Promise<void>;
  /** Looks at the proof file, and begins to switch off when all is well with it. */
  confirmDisable(by: string): Promise<OperationStart>;
  cancelDisable(by: string): Promise<void>;
  /** `keyIds`: fingerprints that a browser computed of a copy. */
  verifyBackup(keyIds: readonly string[], by: string): Promise<BackupVerdict>;

  overview(query: OverviewQuery): Promise<OverviewView>;
  quarantine(query: QuarantineQuery): Promise<QuarantineView>;
  resolveQuarantined(id: string, way: 'requeue' | 'release' | 'discard', by: string): Promise<QuarantineActionResult>;
}

/** `same`: it holds every key of the key file. `lacks`: it does not hold these, which are in use. */
export type BackupVerdict =
  | { readonly kind: 'same' }
  | { readonly kind: 'lacks'; readonly keyIds: readonly string[] }
  /** There is no key here to compare with. */
  | { readonly kind: 'no_key' };
