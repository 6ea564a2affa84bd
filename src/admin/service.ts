/**
 * Service interface of the admin page: view models and actions. The web adapter knows nothing else.
 *
 * An action runs the same workflow as the command of that name. Times are milliseconds since 1970 (UTC). No value
 * contains a secret but the session token of `SignInResult`.
 */

import type { VerifiedBackup } from '../encryption/backup.ts';
import type { UnopenedSecret } from '../encryption/operations/operation.ts';
import type { ProofCheck } from '../encryption/ports.ts';
import type { EncryptionStatus } from '../encryption/status.ts';
import type { CheckName } from '../ingest/health/describe.ts';
import type { PushState } from '../ingest/readiness.ts';
import type { GrantState, OAuthFlow } from '../oauth/model.ts';
import type { SecretBytes } from '../secret/secret-bytes.ts';
import type { MailboxTexts } from './mailboxes/form.ts';

export type AdminSession = {
  readonly name: string;
  /** Anti-CSRF token of every form that changes something; 43 characters of base64url. */
  readonly csrf: string;
};

export type SignInResult =
  /** `token`: value of the cookie, 43 characters of base64url; only its hash is stored. */
  | { readonly kind: 'signed_in'; readonly token: string; readonly session: AdminSession }
  /** Wrong name or password, without saying which. */
  | { readonly kind: 'refused' }
  | { readonly kind: 'limited'; readonly retryAfterS: number }
  /** Too many sign-ins at this moment. */
  | { readonly kind: 'busy' };

/** Why a request was refused; written to audit and log. */
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
  /** Name of the signed-in admin, or null. */
  readonly who: string | null;
  /** The client's address. */
  readonly address: string;
  /** Name of the form or page, never a text that the client sent. */
  readonly about: string;
};

/** Each is the command of that name; `enable` and `rotate` also complete an unfinished one. */
export type OperationKind = 'enable' | 'rotate' | 'disable';

/** The last operation on the switch that page or control socket started, on any worker of the database. */
export type OperationView = {
  readonly kind: OperationKind;
  readonly by: string;
  readonly startedAtMs: number;
  readonly endedAtMs: number | null;
  readonly state: 'running' | 'done' | 'failed';
  /** Completed steps, one sentence each. */
  readonly steps: readonly string[];
  readonly error: { readonly code: string; readonly message: string; readonly hint: string } | null;
  /** Passwords that could not be opened; mailbox names come from the database. */
  readonly unopened: readonly UnopenedSecret[];
  /** Path of the key file after disabling. */
  readonly setAside: string | null;
  /** The daemon stopped just before the end: what may remain to be done, and the command for it. */
  readonly followUp: { readonly what: string; readonly command: string } | null;
};

export type Diagnostic = {
  readonly title: string;
  /** What happened. */
  readonly description: string;
  /** What works meanwhile. */
  readonly unaffected: string;
  /** What to do. */
  readonly remedy: string;
  /** The exact command; null: there is none. */
  readonly command: string | null;
};

/** A request to disable encryption, which waits for the proof file. */
export type ProofRequest = {
  readonly by: string;
  readonly requestedAtMs: number;
  readonly expiresAtMs: number;
  /** `data/can-disable-encryption.txt`, as an absolute path. */
  readonly path: string;
  readonly command: string;
  /** Result of the last check; null: not checked yet. `why`: what is wrong and what to do. */
  readonly checks: readonly Omit<ProofCheck, 'hint'>[] | null;
};

export type EncryptionView = {
  /**
   * Main content of the page. `working`: an operation runs or is unfinished. `disabling`: encryption is on, and a
   * request to disable it waits for the proof file (`proofRequest`).
   */
  readonly mode: 'off' | 'working' | 'on' | 'disabling';
  readonly status: EncryptionStatus;
  /** Shown first. */
  readonly diagnostics: readonly Diagnostic[];
  readonly operation: OperationView | null;
  /** Passwords and tokens, as counted in the database now; null: no operation runs or is unfinished. */
  readonly progress: { readonly done: number; readonly total: number } | null;
  /** The switch shows an unfinished operation that no worker runs. */
  readonly unfinished: OperationKind | null;
  readonly proofRequest: ProofRequest | null;
  readonly keyFile: {
    readonly path: string;
    /** A passphrase protects it. */
    readonly isProtected: boolean;
    /** Every key in it. */
    readonly keyIds: readonly string[];
  };
  /** The last verified backup, if it holds every key that is required now. */
  readonly backup: VerifiedBackup | null;
  /** For a shell on the host of the daemon. */
  readonly commands: { readonly backup: string; readonly verify: string; readonly status: string };
  /** Where plain-text passwords may remain, and what clears them; while encryption is off, what to prepare. */
  readonly leftovers: readonly string[];
};

/** `refused`: nothing was changed. */
export type OperationStart = { readonly kind: 'started' } | { readonly kind: 'refused'; readonly sentence: string };

export type MailboxLine = {
  readonly name: string;
  readonly host: string;
  /** `unknown`: no poll has ended yet, and no failure is known. */
  readonly state: 'ok' | 'failing' | 'waiting' | 'paused' | 'unknown';
  readonly lastSuccessMs: number | null;
  readonly nextPollMs: number | null;
  /** null: it is not polled. */
  readonly push: PushState | null;
  /** Delete or move waits for a confirmation. */
  readonly isUnconfirmed: boolean;
  /** A person has to sign in at the provider. */
  readonly needsConsent: boolean;
  readonly error: {
    readonly reason: string;
    /** The message in the database, which may be forged; null: there is none beside `reason`. */
    readonly storedMessage: string | null;
    /** A text of this program, never of the database or a server. */
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
  /** Headers as a stranger wrote them; null: not stored. */
  readonly from: string | null;
  readonly subject: string | null;
};

/** Pages are numbered from 1. */
export type ListPage<T> = {
  readonly list: readonly T[];
  readonly page: number;
  readonly pages: number;
  readonly total: number;
};

export type OverviewQuery = {
  readonly page: number;
  readonly show: 'all' | 'failing' | 'waiting' | 'paused';
  /** Substring of the name or host, lower-case; '': any. */
  readonly search: string;
};

/** Full hours in UTC, oldest first; the last one has not ended. */
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
  readonly isWarning: boolean;
  readonly reason: string;
  readonly hint: string | null;
};

export type OverviewView = {
  readonly atMs: number;
  readonly isReady: boolean;
  /** Checks that are not ok, as on /readyz. */
  readonly failingChecks: readonly FailingCheck[];
  /** `unknown`: not polled yet. */
  readonly counts: Readonly<Record<'ok' | 'failing' | 'waiting' | 'paused' | 'unknown', number>>;
  readonly query: OverviewQuery;
  readonly mailboxes: ListPage<MailboxLine>;
  /** The last 24 hours; null: not counted yet. */
  readonly activity: HourlyActivity | null;
  readonly quarantine: { readonly count: number; readonly reasons: readonly ReasonLine[] };
  readonly workers: readonly WorkerLine[];
};

export type QuarantineQuery = { readonly page: number; readonly reason: string | null };

export type QuarantineView = {
  readonly query: QuarantineQuery;
  readonly reasons: readonly ReasonLine[];
  readonly messages: ListPage<QuarantinedLine>;
  /** `[message] max_size_mb`, in bytes. */
  readonly sizeBytesMax: number;
};

/** `isDone` false: nothing was changed. */
export type ActionResult = { readonly isDone: boolean; readonly sentence: string };

/** The settings of a mailbox that a confirmation covers. */
export type MailboxSettingsView = {
  readonly name: string;
  /** As `serverText` shows it. */
  readonly server: string;
  readonly folder: string;
  /** null: all messages. */
  readonly startMs: number | null;
  readonly action: 'seen' | 'move' | 'delete' | 'leave';
  /** The folder of `move`; null: another action. */
  readonly target: string | null;
  /** What the action does, one clause. */
  readonly effect: string;
  /** Names these settings in the form. */
  readonly digest: string;
  /** `off`: encryption is off, and nothing needs a confirmation. */
  readonly state: 'off' | 'confirmed' | 'unconfirmed';
  readonly signIn: MailboxSignIn;
  /** Names the row as it is shown. */
  readonly version: string;
  readonly isPaused: boolean;
  /** All settings, as the form shows them. */
  readonly texts: MailboxTexts;
  /** Why nothing vouches for the server, one sentence; null: something does. */
  readonly doubt: string | null;
  readonly providers: readonly ProviderChoice[];
};

/** A stage of a probe. */
export type ProbeStage = {
  readonly stage: 'name' | 'connect' | 'tls' | 'login' | 'folder';
  readonly result: 'passed' | 'failed' | 'not_reached';
};

/** The result of a probe of a mail server. Certificate and folders are texts of the server. */
export type ProbeView = {
  readonly stages: readonly ProbeStage[];
  /** null: every stage passed. */
  readonly failure: { readonly code: string; readonly message: string; readonly hint: string } | null;
  readonly address: string | null;
  /** The one that the server showed; null: none. */
  readonly certificate: {
    readonly subject: string;
    readonly issuer: string;
    readonly validFromMs: number | null;
    readonly validUntilMs: number | null;
    /** SHA-256, 64 hex digits. */
    readonly fingerprint: string;
  } | null;
  readonly mechanism: string | null;
  readonly messages: number | null;
  /** Folders of the account; empty: not listed. */
  readonly folders: readonly string[];
  /** Number of folders and capabilities that are not shown, since their names contain the password or token. */
  readonly leftOut: number;
  /** What an admin would not expect of the post-action on this server, in sentences. */
  readonly notes: readonly string[];
};

/** The result of a form of a mailbox. `name`: of the mailbox afterwards. */
export type MailboxResult =
  | { readonly kind: 'done'; readonly name: string; readonly sentence: string; readonly probe: ProbeView | null }
  | { readonly kind: 'refused'; readonly sentence: string }
  | { readonly kind: 'probe_failed'; readonly probe: ProbeView };

/** Who sent a form of a mailbox. `ownPassword`: that of the admin; null: not given. Both secrets are borrowed. */
export type MailboxRequest = {
  readonly by: string;
  readonly address: string;
  readonly password: SecretBytes | null;
  readonly ownPassword: SecretBytes | null;
  /** False: it is stored without a probe. */
  readonly isProbed: boolean;
  /** The person vouches for a server that nothing else vouches for. */
  readonly acceptsServer: boolean;
};

/** A stored mailbox as a form showed it: `version` changes with any of its settings. */
export type ShownMailbox = { readonly name: string; readonly version: string };

/** A provider of OAuth 2 to choose from. */
export type ProviderChoice = { readonly name: string; readonly label: string };

/** How a mailbox signs in. User, grant, account and error code are texts of the table. */
export type MailboxSignIn =
  | { readonly kind: 'password'; readonly user: string }
  | {
      readonly kind: 'oauth';
      readonly user: string;
      readonly grant: string;
      /** As people call it; null: not known yet. */
      readonly provider: string | null;
      /** Its name in the configuration; null: not known, or not there. */
      readonly providerName: string | null;
      readonly flow: OAuthFlow | null;
      /** Who consented. */
      readonly account: string | null;
      /** `no_provider`: the configuration lacks it; `no_grant`: no person signed in; `unused`: no token yet. */
      readonly state: GrantState | 'no_provider' | 'no_grant' | 'unused';
      readonly sinceMs: number | null;
      /** Begin of a renewal whose answer was lost. */
      readonly cutOffAtMs: number | null;
      readonly errorCode: string | null;
      /** Where a person can sign in for it. */
      readonly connect: readonly { readonly provider: string; readonly label: string }[];
      /** The command that does the same. */
      readonly command: string;
    };

/** A sign-in at a provider that was begun: what the browser opens. */
export type ProviderSignIn = {
  readonly mailbox: string;
  readonly label: string;
  readonly user: string;
  readonly url: string;
  readonly redirectUri: string;
};

/** `mailbox` null: not known. `isDone` false: nothing was stored. */
export type FinishedSignIn = ActionResult & { readonly mailbox: string | null };

export interface AdminService {
  /** `password` is wiped. Throws `database_*`. */
  signIn(name: string, password: SecretBytes, address: string): Promise<SignInResult>;
  /** null: the token has no session. `isUse` false: an automatic refresh, which does not extend the session. */
  session(token: string, isUse: boolean): Promise<AdminSession | null>;
  signOut(token: string): Promise<void>;
  /** True while there is no account yet. */
  hasNoAccount(): Promise<boolean>;
  /** Writes to audit and log, rate-limited. Never rejects, and does not wait for the database. */
  recordRefusal(refusal: Refusal): void;

  encryption(): Promise<EncryptionView>;
  /** Starts or completes `enable` or `rotate`, or completes a proven `disable`, in the background. */
  startOperation(kind: OperationKind, by: string): Promise<OperationStart>;
  requestDisable(by: string): Promise<void>;
  /** Checks the proof file, and starts to disable when it is accepted. */
  confirmDisable(by: string): Promise<OperationStart>;
  cancelDisable(by: string): Promise<void>;
  /** `keyIds`: fingerprints that a browser computed of a copy. */
  verifyBackup(keyIds: readonly string[], by: string): Promise<BackupVerdict>;

  overview(query: OverviewQuery): Promise<OverviewView>;
  quarantine(query: QuarantineQuery): Promise<QuarantineView>;
  /** The settings of a mailbox that a confirmation covers; null: there is none of that name, or its row is invalid. */
  mailboxSettings(name: string): Promise<MailboxSettingsView | null>;
  /** Confirms the settings with that digest. `isDone` false: they are others by now. */
  confirmMailbox(name: string, digest: string, by: string): Promise<ActionResult>;
  /**
   * Begins the sign-in of a person for the grant of a mailbox, bound to the session with that token. Throws `refused`,
   * `oauth_*`, `token_*`, `key_*`.
   */
  connectMailbox(
    name: string,
    provider: string,
    from: { readonly redirectUri: string; readonly token: string; readonly by: string },
  ): Promise<ProviderSignIn>;
  /** `answer`: query of the address that the provider sent the browser to. */
  finishSignIn(answer: string, session: { readonly token: string }): Promise<FinishedSignIn>;
  /** For the form of a new mailbox. */
  providers(): readonly ProviderChoice[];
  /** Probes and stores a mailbox, as `mailbox add`. Throws `database_*`. */
  addMailbox(texts: MailboxTexts, request: MailboxRequest): Promise<MailboxResult>;
  /** As `mailbox set`: refused when the row is another one by now. Throws `database_*`. */
  changeMailbox(shown: ShownMailbox, texts: MailboxTexts, request: MailboxRequest): Promise<MailboxResult>;
  /** As `mailbox set-password`. */
  setMailboxPassword(shown: ShownMailbox, request: MailboxRequest): Promise<MailboxResult>;
  /** As `mailbox test`. */
  testMailbox(shown: ShownMailbox): Promise<MailboxResult>;
  /** As `mailbox pause` and `mailbox resume`. */
  setMailboxState(shown: ShownMailbox, state: 'active' | 'paused', by: string): Promise<MailboxResult>;
  /** As `mailbox retry`, without waiting for a result for more than some seconds. */
  retryMailbox(name: string, by: string): Promise<ActionResult>;
  /** As `mailbox retry --host`. */
  retryHost(host: string, by: string): Promise<ActionResult>;
  /** As `mailbox remove`; takes the password of the admin. */
  removeMailbox(shown: ShownMailbox, request: MailboxRequest): Promise<MailboxResult>;
  resolveQuarantined(id: string, way: 'requeue' | 'release' | 'discard', by: string): Promise<ActionResult>;
}

/** `same`: the backup holds every key of the key file. Else it lacks `keyIds` (encryption/backup.ts). */
export type BackupVerdict =
  | { readonly kind: 'same' }
  | {
      readonly kind: 'lacks' | 'former' | 'other';
      readonly keyIds: readonly string[];
      readonly formerKeyIds: readonly string[];
    }
  /** There is no key to compare with. */
  | { readonly kind: 'no_key' };
