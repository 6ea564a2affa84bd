/**
 * Typed errors: one class, `Failure`, whose code determines its domain, its exit code and a hint for the operator.
 *
 * Decisions come from the code or the domain, never from the text of a message. A catch names the codes or the domain
 * that it expects and rethrows the rest.
 */

/** The part of the world that failed. */
export type FailureDomain =
  | 'usage'
  | 'configuration'
  | 'encryption'
  | 'oauth'
  | 'daemon'
  | 'server'
  | 'login'
  | 'mailbox'
  | 'database'
  | 'disk'
  | 'message'
  | 'process';

/** 1: an outside or unexpected failure. 2: usage or configuration. 3: refused by a safety rule. 4: not found. */
type ExitCode = 1 | 2 | 3 | 4;

type FailureMeaning = { readonly domain: FailureDomain; readonly exit: ExitCode; readonly hint: string };

const meanings = {
  // Configuration and usage
  config_invalid: {
    domain: 'configuration',
    exit: 2,
    hint: 'Correct the named line of the configuration file, or the named environment variable.',
  },
  usage: { domain: 'usage', exit: 2, hint: 'See --help of the command.' },
  not_found: { domain: 'usage', exit: 4, hint: 'See ticketmaild mailbox list, or ticketmaild ticket list.' },
  already_exists: { domain: 'usage', exit: 2, hint: 'Choose another name.' },
  password_missing: {
    domain: 'usage',
    exit: 2,
    hint: 'Enter the password at the prompt, or pass it with --password-stdin.',
  },
  // Mailboxes
  mailbox_invalid: {
    domain: 'mailbox',
    exit: 1,
    hint: 'Correct the row in the table mailboxes: tls_mode is implicit, starttls or none; since_kind all or time; on_success seen, move, delete or leave; state active or paused; password_form plain or sealed.',
  },
  lease_lost: { domain: 'mailbox', exit: 1, hint: 'Nothing to do: that worker polls it.' },
  lease_revoked: { domain: 'mailbox', exit: 1, hint: 'Nothing was lost: repeat the command.' },
  mailbox_flooding: {
    domain: 'mailbox',
    exit: 1,
    hint: 'Free some space under data_dir. If the messages are unwanted, pause the mailbox; they stay on the server, and it is polled again within an hour.',
  },
  lease_taken: { domain: 'mailbox', exit: 1, hint: 'Nothing to do: see ticketmaild status.' },
  // Keys, sealed passwords, the encryption switch
  key_file_missing: {
    domain: 'encryption',
    exit: 1,
    hint: 'Restore the key file from its backup; where ticketmaild status shows the vault as orphaned, run ticketmaild key recover.',
  },
  key_file_refused: {
    domain: 'encryption',
    exit: 1,
    hint: 'The key file must be a regular file of 32 to 256 bytes, owned by this user or root, mode 0600.',
  },
  key_file_locked: {
    domain: 'encryption',
    exit: 1,
    hint: 'Provide the passphrase: [encryption] passphrase_file, the systemd credential ticketmaild-key-passphrase, or the prompt.',
  },
  key_unknown: {
    domain: 'encryption',
    exit: 1,
    hint: 'Restore the key file that contains the key of this password, or set the password again.',
  },
  password_damaged: {
    domain: 'encryption',
    exit: 1,
    hint: 'The sealed password was modified: set it again: ticketmaild mailbox set-password NAME (in the table: with password_form plain)',
  },
  password_binding_mismatch: {
    domain: 'encryption',
    exit: 1,
    hint: 'Host, port, TLS, certificate or user changed since the password was sealed, or the row was modified: check where it points (ticketmaild mailbox show NAME), and only if the change is yours set the password again: ticketmaild mailbox set-password NAME',
  },
  switch_changed: {
    domain: 'encryption',
    exit: 1,
    hint: 'The encryption switch changed in the meantime: see ticketmaild encryption status, then run the command again.',
  },
  switch_forged: {
    domain: 'encryption',
    exit: 3,
    hint: 'The row in encryption_switch was not written by ticketmaild; the previous state stays in force. Find out who wrote it; ticketmaild encryption status shows both; to write the one in force back: ticketmaild encryption trust-restored',
  },
  switch_rolled_back: {
    domain: 'encryption',
    exit: 3,
    hint: 'The row in encryption_switch is older than the one accepted before. After restoring a backup of the database: ticketmaild encryption trust-restored',
  },
  operation_running: {
    domain: 'encryption',
    exit: 3,
    hint: 'Wait until it has finished, or see ticketmaild encryption status; the lock of a dead process expires within 30 seconds.',
  },
  workers_lack_key: {
    domain: 'encryption',
    exit: 3,
    hint: 'On another host: copy the key file there (owner, mode 0600), then run the command again. On this host: ticketmaild encryption status and its log show why (missing passphrase?). --force continues without them.',
  },
  // OAuth 2
  token_damaged: {
    domain: 'oauth',
    exit: 1,
    hint: 'Find out who writes to the database. For a refresh token: ticketmaild mailbox authorize NAME',
  },
  token_bound_elsewhere: {
    domain: 'oauth',
    exit: 3,
    hint: 'A token goes only to the servers of its provider ([oauth.NAME] imap_hosts), with their certificates checked: check where the mailbox points (ticketmaild mailbox show NAME), and whether the change is yours.',
  },
  grant_invalid: {
    domain: 'oauth',
    exit: 1,
    hint: 'Correct the row in the table oauth_grant: flow is application, service_account or person; state ready, needs_consent or refused; refresh_form plain or sealed.',
  },
  oauth_provider_unknown: {
    domain: 'oauth',
    exit: 2,
    hint: 'Add the table [oauth.NAME] of this provider to the configuration file and reload, or correct grant_name of the mailbox. A person signs in by: ticketmaild mailbox authorize NAME',
  },
  oauth_provider_failed: {
    domain: 'oauth',
    exit: 1,
    hint: 'The provider did not answer as it should; retried automatically. See ticketmaild oauth test NAME.',
  },
  oauth_provider_refused: {
    domain: 'oauth',
    exit: 1,
    hint: 'The provider refuses the application: check client id, tenant, secret or certificate. ticketmaild oauth test NAME says what to do.',
  },
  oauth_needs_consent: { domain: 'oauth', exit: 1, hint: 'Sign in again: ticketmaild mailbox authorize NAME' },
  oauth_consent_refused: {
    domain: 'oauth',
    exit: 1,
    hint: 'Nothing was stored. Begin again: ticketmaild mailbox authorize NAME',
  },
  oauth_mailbox_not_listed: {
    domain: 'oauth',
    exit: 3,
    hint: 'If this mailbox may be opened, add its user to mailboxes in [oauth.NAME] of the configuration file, and reload.',
  },
  mailbox_not_permitted: {
    domain: 'login',
    exit: 1,
    hint: 'The server took the token and does not open this mailbox with it: the permission on the mailbox is missing. ticketmaild oauth test NAME prints the next step.',
  },
  // The daemon and its addresses
  daemon_unreachable: {
    domain: 'daemon',
    exit: 1,
    hint: 'The daemon listens on data_dir/control.sock, for its own user and root: does it run, with the same data_dir?',
  },
  worker_running: {
    domain: 'daemon',
    exit: 3,
    hint: 'A SQLite file serves one daemon: stop the other one, or use MySQL or MariaDB for several workers.',
  },
  address_unavailable: {
    domain: 'daemon',
    exit: 1,
    hint: 'No network interface has this address yet; otherwise choose another listen address.',
  },
  address_in_use: {
    domain: 'daemon',
    exit: 1,
    hint: 'ss -ltnp shows whose port it is: end that program, or set a free listen address. Type no password there.',
  },
  // The mail server
  name_not_found: { domain: 'server', exit: 1, hint: 'Check the spelling of the name and the DNS of this machine.' },
  connect_refused: {
    domain: 'server',
    exit: 1,
    hint: 'Nothing listens there: check host and port, and that the mail server runs.',
  },
  connect_timeout: {
    domain: 'server',
    exit: 1,
    hint: 'No answer in time: check the network, the firewall, and the port.',
  },
  connection_lost: { domain: 'server', exit: 1, hint: 'The next poll continues from there.' },
  tls_untrusted: {
    domain: 'server',
    exit: 1,
    hint: 'Pass its authority with --ca-file, or pin it with --fingerprint, in ticketmaild mailbox add or set (which keeps the cursor).',
  },
  tls_expired: { domain: 'server', exit: 1, hint: 'Renew it on the mail server.' },
  tls_name_mismatch: { domain: 'server', exit: 1, hint: 'Use a host name that the certificate contains.' },
  tls_pin_mismatch: {
    domain: 'server',
    exit: 1,
    hint: 'Check with the operator of the mail server that the new certificate is genuine, then: ticketmaild mailbox set NAME --fingerprint FINGERPRINT',
  },
  tls_failed: { domain: 'server', exit: 1, hint: 'Check --tls (implicit, starttls) against the port.' },
  starttls_missing: { domain: 'server', exit: 1, hint: 'Use --tls implicit, usually port 993.' },
  plaintext_refused: {
    domain: 'configuration',
    exit: 3,
    hint: 'The password would cross the network unencrypted: use TLS, or add --allow-plaintext if you accept that.',
  },
  not_imap: { domain: 'server', exit: 1, hint: 'Check the port and --tls.' },
  login_refused: {
    domain: 'login',
    exit: 1,
    hint: 'Set it again: ticketmaild mailbox set-password NAME. If the account was corrected at the server: ticketmaild mailbox resume NAME',
  },
  login_unsupported: {
    domain: 'login',
    exit: 1,
    hint: 'The server offers no supported password login (PLAIN, LOGIN).',
  },
  folder_missing: {
    domain: 'server',
    exit: 1,
    hint: 'The folders of the server are listed by: ticketmaild mailbox test NAME',
  },
  session_closed: {
    domain: 'server',
    exit: 1,
    hint: 'The log of the mail server shows why it cannot open this account.',
  },
  session_expired: {
    domain: 'server',
    exit: 1,
    hint: 'Nothing is lost: the daemon signs in again with a new token; repeat a command.',
  },
  server_referral: {
    domain: 'server',
    exit: 1,
    hint: 'Ask the operator of the mail server. If that host is right, name it: --host HOST (ticketmaild mailbox add), or ticketmaild mailbox set NAME --host HOST. The password is sent to no host that a server names.',
  },
  server_busy: {
    domain: 'server',
    exit: 1,
    hint: 'The server asks for a slower rate: polls are retried later; repeat a command after a while.',
  },
  server_refused: {
    domain: 'server',
    exit: 1,
    hint: 'The message has the status and the response code, if it is a known one; the log of the mail server shows the reason.',
  },
  server_timeout: { domain: 'server', exit: 1, hint: 'The poll is retried later.' },
  server_protocol_error: {
    domain: 'server',
    exit: 1,
    hint: 'If it persists, report it with the log.',
  },
  // The database
  database_unavailable: {
    domain: 'database',
    exit: 1,
    hint: 'Check that the database runs, that it accepts writes (is not read-only), and the [database] url.',
  },
  database_denied: {
    domain: 'database',
    exit: 1,
    hint: 'Check user, password and grants of the account.',
  },
  database_login_insecure: {
    domain: 'database',
    exit: 1,
    hint: 'In [database], set fingerprint to the SHA-256 of the certificate of the server (run there, with the file in ssl_cert: openssl x509 -in /var/lib/mysql/server-cert.pem -noout -fingerprint -sha256), or set tls = "verify", or pin its key with server_key_file, or name the unix socket in url (?socket=/run/mysqld/mysqld.sock). If the login worked before, see what listens there now.',
  },
  database_login_unsupported: {
    domain: 'database',
    exit: 1,
    hint: 'Let the account use caching_sha2_password (MySQL) or mysql_native_password (MariaDB). If the login worked before, see what listens there now.',
  },
  database_pin_mismatch: {
    domain: 'database',
    exit: 1,
    hint: 'Check on the database server that the new certificate is genuine, then set [database] fingerprint to it and reload.',
  },
  database_outdated: {
    domain: 'database',
    exit: 1,
    hint: 'The tables are missing, older or newer than this program: run ticketmaild migrate, or install the matching version.',
  },
  database_conflict: {
    domain: 'database',
    exit: 1,
    hint: 'Two writers conflicted; the transaction is retried at once.',
  },
  copy_unfinished: {
    domain: 'database',
    exit: 3,
    hint: 'Run the same ticketmaild database copy again, which continues where it ended, or use another [database] url.',
  },
  copy_refused: {
    domain: 'database',
    exit: 3,
    hint: 'Create an empty database for the copy, with CHARACTER SET utf8mb4, or name a new SQLite file.',
  },
  copy_mismatch: {
    domain: 'database',
    exit: 1,
    hint: 'Let no other program write to either database, then run the same ticketmaild database copy again.',
  },
  database_failed: {
    domain: 'database',
    exit: 1,
    hint: 'The database reported an unexpected error; its code is in the field "cause".',
  },
  // The disk
  disk_full: { domain: 'disk', exit: 1, hint: 'Free some space on the disk of data_dir; nothing is lost meanwhile.' },
  disk_failed: {
    domain: 'disk',
    exit: 1,
    hint: 'A file under data_dir cannot be written: check owner, mode and the disk; EROFS under systemd: ReadWritePaths= in the unit.',
  },
  // One message
  row_refused: {
    domain: 'message',
    exit: 1,
    hint: 'The database refused the content of one row; the message is quarantined.',
  },
  source_missing: {
    domain: 'message',
    exit: 1,
    hint: 'See [raw] retention_days; the mail server may still have the message.',
  },
  source_refused: {
    domain: 'message',
    exit: 3,
    hint: 'The row or the file of this message was changed: find out who writes to the database and to data_dir. To fetch the message from the server again: ticketmaild quarantine requeue ID, or ticketmaild reconcile NAME --repair',
  },
  parse_timeout: {
    domain: 'message',
    exit: 1,
    hint: 'It is quarantined with its source: to try again: ticketmaild quarantine requeue ID',
  },
  parse_memory: {
    domain: 'message',
    exit: 1,
    hint: 'It is quarantined with its source; a higher [message] parse_memory_mb may help, then: ticketmaild quarantine requeue ID',
  },
  parse_failed: {
    domain: 'message',
    exit: 1,
    hint: 'It is quarantined with its source: to store its header: ticketmaild quarantine release ID',
  },
  // This process
  program_damaged: {
    domain: 'process',
    exit: 1,
    hint: 'Install it again: npm ci in a checkout, systemd/install for a service from one, else the package. Data stays.',
  },
  parser_unavailable: {
    domain: 'process',
    exit: 1,
    hint: 'Check memory and load of this machine. No message is touched meanwhile.',
  },
  interrupted: { domain: 'process', exit: 1, hint: 'Stopped on request; the next start continues from there.' },
  check_failed: { domain: 'process', exit: 1, hint: 'See the lines above.' },
  refused: { domain: 'process', exit: 3, hint: 'A safety rule refused this.' },
  unexpected: {
    domain: 'process',
    exit: 1,
    hint: 'This is a defect of ticketmaild: please report it with the log line.',
  },
} as const satisfies Record<string, FailureMeaning>;

export type FailureCode = keyof typeof meanings;

/** Every code, for the reference in `systemd/README.md`. */
export const failureMeanings: Readonly<Record<FailureCode, FailureMeaning>> = meanings;

export function domainOf(code: FailureCode): FailureDomain {
  return meanings[code].domain;
}

/** The hint of a code that was read from a table; null for an unknown code. */
export function hintOf(code: string): string | null {
  return Object.hasOwn(meanings, code) ? meanings[code as FailureCode].hint : null;
}

const failureHints: ReadonlySet<unknown> = new Set(Object.values(meanings).map(({ hint }) => hint));

/** The hint, if it is that of a code; null: it is the text of another program. */
export function failureHint(hint: unknown): string | null {
  return typeof hint === 'string' && failureHints.has(hint) ? hint : null;
}

/** Values for the log line of a failure: numbers, booleans and short texts; never a secret, never message content. */
export type FailureFields = Readonly<Record<string, string | number | boolean | null>>;

/** A typed error. `message` is one sentence for people; `hint` is what the operator can do. */
export class Failure extends Error {
  readonly code: FailureCode;
  readonly fields: FailureFields;
  readonly hint: string;

  constructor(
    code: FailureCode,
    message: string,
    more: { fields?: FailureFields; cause?: unknown; hint?: string } = {},
  ) {
    super(message, more.cause === undefined ? undefined : { cause: more.cause });
    this.name = 'Failure';
    this.code = code;
    this.fields = more.fields ?? {};
    this.hint = more.hint ?? meanings[code].hint;
  }

  get domain(): FailureDomain {
    return domainOf(this.code);
  }

  get exitCode(): ExitCode {
    return meanings[this.code].exit;
  }
}

/** True when `error` is a failure with one of `codes`; without codes, any failure. */
export function isFailure(error: unknown, ...codes: readonly FailureCode[]): error is Failure {
  return error instanceof Failure && (codes.length === 0 || codes.includes(error.code));
}

/** True when no connection to the database can be opened right now: retried, and shown as the state of the database. */
export function hasNoConnection({ code }: Failure): boolean {
  return code === 'database_unavailable' || code === 'database_pin_mismatch' || code.startsWith('database_login_');
}

/** Any thrown value as a failure: itself if it is one, else `unexpected` with the value as its cause. */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new Failure('unexpected', text, { cause: error });
}

/** The code of a foreign error (`ECONNREFUSED`, `ER_DUP_ENTRY`), or its class; for the field `cause`. */
export function causeCode(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string')
    return error.code;
  return error instanceof Error ? error.name : typeof error;
}
