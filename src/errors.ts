/**
 * The one error class, and the one table that says what each failure means.
 *
 * A failure has a code; everything else follows from the code: whether trying again later can help, which exit
 * code a command ends with, and a hint that tells the operator what to do. Nothing reads the text of a message to
 * decide what to do next. Each catch names the codes it expects and rethrows the rest.
 */

/** `later`: the same try may succeed without anybody doing anything. `never`: somebody must change something. */
type Retry = 'later' | 'never';

type Meaning = { readonly retry: Retry; readonly exit: 1 | 2 | 3; readonly hint: string };

const meanings = {
  // Configuration and usage
  config_invalid: { retry: 'never', exit: 2, hint: 'Correct the file or the environment variable that is named.' },
  usage: { retry: 'never', exit: 2, hint: 'See --help of the command.' },
  not_found: { retry: 'never', exit: 2, hint: 'See ticketmaild mailbox list, or ticketmaild ticket list.' },
  exists_already: { retry: 'never', exit: 2, hint: 'Choose another name.' },
  password_missing: { retry: 'never', exit: 2, hint: 'Give the password at the prompt, or with --password-stdin.' },
  mailbox_invalid: {
    retry: 'later',
    exit: 1,
    hint: 'Correct the row in the table mailboxes: tls_mode is implicit, starttls or none; start_from all or time; after_kind seen, move, delete or leave; state active or paused; password_form plain or sealed.',
  },
  // Keys, sealed passwords, the switch
  key_file_missing: {
    retry: 'later',
    exit: 1,
    hint: 'Put the key file back from its backup; or, where ticketmaild status says orphaned, ticketmaild key rescue.',
  },
  key_file_refused: {
    retry: 'later',
    exit: 1,
    hint: 'The key file must be a regular file of 32 to 256 bytes that belongs to this user or root, mode 0600.',
  },
  key_file_locked: {
    retry: 'later',
    exit: 1,
    hint: 'Give the passphrase: [encryption] passphrase_file, the systemd credential ticketmaild-key-passphrase, or the prompt.',
  },
  key_unknown: {
    retry: 'later',
    exit: 1,
    hint: 'The key that sealed this is not in the key file: put the key file with that key back, or set the password anew.',
  },
  password_damaged: {
    retry: 'later',
    exit: 1,
    hint: 'The sealed password is not what was stored: set it anew with mailbox set-password. Who writes a readable password into the table sets password_form to plain.',
  },
  password_bound_elsewhere: {
    retry: 'later',
    exit: 1,
    hint: 'Host, port, TLS, certificate or user changed since the password was sealed, or somebody changed the row: look first where it points (mailbox show NAME), and only if the change is yours set the password anew with mailbox set-password.',
  },
  switch_changed: {
    retry: 'later',
    exit: 1,
    hint: 'Somebody changed the encryption switch meanwhile: see encryption status, then run the command again.',
  },
  switch_forged: {
    retry: 'later',
    exit: 3,
    hint: 'The row in encryption_switch is not ours: the state before it stays in force. Find out who wrote it; encryption status shows both, and encryption accept-restored puts the one in force back.',
  },
  switch_rolled_back: {
    retry: 'later',
    exit: 3,
    hint: 'The row in encryption_switch is older than the one accepted before. After restoring a backup of the database: encryption accept-restored.',
  },
  operation_running: {
    retry: 'later',
    exit: 3,
    hint: 'Wait until it has ended, or see encryption status; what a dead process began is freed within 30 seconds.',
  },
  workers_lack_key: {
    retry: 'later',
    exit: 3,
    hint: 'On another host: copy the key file there (owner, mode 0600), then run the command again. On this one: see why in encryption status and its log (a passphrase that it lacks?). --force goes on without them.',
  },
  daemon_unreachable: {
    retry: 'later',
    exit: 1,
    hint: 'The daemon answers on data_dir/control.sock, to its own user and root: does it run, with the same data_dir?',
  },
  worker_running: {
    retry: 'later',
    exit: 3,
    hint: 'A SQLite file is for one daemon: stop the other one, or use MySQL or MariaDB for several workers.',
  },
  address_missing: { retry: 'later', exit: 1, hint: 'No interface has that address yet. Else choose another listen.' },
  address_in_use: { retry: 'later', exit: 1, hint: 'Does ticketmaild run already? Else choose another [http] listen.' },
  // The mail server
  name_not_found: {
    retry: 'later',
    exit: 1,
    hint: 'The host name does not resolve: check its spelling and the DNS of this machine.',
  },
  connect_refused: {
    retry: 'later',
    exit: 1,
    hint: 'Nothing listens there: check host and port, and that the mail server runs.',
  },
  connect_timeout: { retry: 'later', exit: 1, hint: 'No answer in time: check the network, a firewall, and the port.' },
  connection_lost: {
    retry: 'later',
    exit: 1,
    hint: 'The connection broke; the next poll goes on where this one ended.',
  },
  tls_untrusted: {
    retry: 'later',
    exit: 1,
    hint: 'The certificate is not from a trusted authority: give its CA with --ca-file, or pin it with --fingerprint.',
  },
  tls_expired: { retry: 'later', exit: 1, hint: 'The certificate is out of date: renew it on the mail server.' },
  tls_name_mismatch: {
    retry: 'later',
    exit: 1,
    hint: 'The certificate is for another host name: use the name that it carries.',
  },
  tls_pin_mismatch: {
    retry: 'later',
    exit: 1,
    hint: 'The server shows another certificate than the pinned one: if it was renewed on purpose, remove the mailbox and add it with the new one.',
  },
  tls_failed: {
    retry: 'later',
    exit: 1,
    hint: 'TLS could not be agreed: check --tls (implicit, starttls) against the port.',
  },
  starttls_missing: {
    retry: 'later',
    exit: 1,
    hint: 'The server offers no STARTTLS on this port: use --tls implicit, usually port 993.',
  },
  plaintext_refused: {
    retry: 'never',
    exit: 3,
    hint: 'A password would cross the network unencrypted: use TLS, or add --allow-plaintext if you accept that.',
  },
  not_imap: { retry: 'later', exit: 1, hint: 'What answers there does not speak IMAP: check the port and --tls.' },
  login_refused: {
    retry: 'later',
    exit: 1,
    hint: 'The server refused user or password: set it anew with mailbox set-password.',
  },
  login_unsupported: {
    retry: 'later',
    exit: 1,
    hint: 'The server offers no password login that this program knows (PLAIN, LOGIN).',
  },
  folder_missing: {
    retry: 'later',
    exit: 1,
    hint: 'The folder does not exist: mailbox test lists the folders of the server.',
  },
  server_busy: { retry: 'later', exit: 1, hint: 'The server asks to slow down; it is tried again later.' },
  server_refused: {
    retry: 'later',
    exit: 1,
    hint: 'The server refused a command; its response code, if it gave a known one, is in the field "response_code".',
  },
  server_timeout: {
    retry: 'later',
    exit: 1,
    hint: 'The server stopped answering in the middle; it is tried again later.',
  },
  server_nonsense: {
    retry: 'later',
    exit: 1,
    hint: 'The server answered something that is not IMAP; if it stays, report it with the log.',
  },
  // The database
  database_unavailable: {
    retry: 'later',
    exit: 1,
    hint: 'Check that the database runs, that it takes writes (is not read-only), and the [database] url.',
  },
  database_denied: {
    retry: 'later',
    exit: 1,
    hint: 'The database refused the login or a right: check user, password and grants.',
  },
  database_outdated: {
    retry: 'later',
    exit: 1,
    hint: 'The tables are missing, older or newer than this program: run ticketmaild migrate, or install the matching version.',
  },
  database_conflict: { retry: 'later', exit: 1, hint: 'Two writers met; it is tried again at once.' },
  database_failed: {
    retry: 'later',
    exit: 1,
    hint: 'The database reported an unexpected error; its code is in the field "cause".',
  },
  row_refused: {
    retry: 'never',
    exit: 1,
    hint: 'The database refused the content of one row; the message is quarantined.',
  },
  lease_lost: { retry: 'later', exit: 1, hint: 'Another worker took this mailbox over; it goes on from there.' },
  lease_taken: {
    retry: 'later',
    exit: 1,
    hint: 'The worker that holds it fetches its mail, at once where the server announces it: see ticketmaild status.',
  },
  // The disk
  disk_full: { retry: 'later', exit: 1, hint: 'No space left under data_dir: free some; nothing is lost meanwhile.' },
  disk_failed: {
    retry: 'later',
    exit: 1,
    hint: 'A file under data_dir cannot be written: check owner, mode and the disk; EROFS under systemd: ReadWritePaths= in the unit.',
  },
  source_gone: { retry: 'never', exit: 1, hint: 'The raw source is no longer kept (see [raw] keep_days).' },
  // One message
  parse_timeout: {
    retry: 'never',
    exit: 1,
    hint: 'The message took too long to parse; it is quarantined with its source.',
  },
  parse_memory: {
    retry: 'never',
    exit: 1,
    hint: 'The message took too much memory to parse; it is quarantined with its source.',
  },
  parse_failed: {
    retry: 'never',
    exit: 1,
    hint: 'The message could not be parsed; it is quarantined with its source.',
  },
  parser_unavailable: {
    retry: 'later',
    exit: 1,
    hint: 'The parse threads do not work: look at memory and load of this machine. No mail is touched meanwhile.',
  },
  // Ourselves
  interrupted: { retry: 'later', exit: 1, hint: 'Stopped on request; the next start goes on where this one ended.' },
  check_failed: { retry: 'never', exit: 1, hint: 'See the lines above.' },
  refused: { retry: 'never', exit: 3, hint: 'A safety rule refused this.' },
  unexpected: { retry: 'later', exit: 1, hint: 'This is a defect of ticketmaild: please report it with the log line.' },
} as const satisfies Record<string, Meaning>;

export type FailureCode = keyof typeof meanings;

/** What to do about a failure that is known by its code alone, as a table has it; null: the code is none of ours. */
export function hintOf(code: string): string | null {
  return Object.hasOwn(meanings, code) ? meanings[code as FailureCode].hint : null;
}

/** Values for the log line of a failure: numbers, booleans and short texts; never a secret, never mail content. */
export type FailureFields = Readonly<Record<string, string | number | boolean | null>>;

/** What went wrong, as data. `message` is one sentence for people; `hint` says what to do about it. */
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

  get retry(): Retry {
    return meanings[this.code].retry;
  }

  /** 1 unexpected or outside trouble, 2 usage or configuration, 3 refused by a safety rule. */
  get exitCode(): 1 | 2 | 3 {
    return meanings[this.code].exit;
  }
}

/** True when `error` is a failure with one of `codes`; the only way to ask. */
export function isFailure(error: unknown, ...codes: readonly FailureCode[]): error is Failure {
  return error instanceof Failure && (codes.length === 0 || codes.includes(error.code));
}

/** Any thrown thing as a failure: itself if it is one, else `unexpected` with the thing as its cause. */
export function asFailure(error: unknown): Failure {
  if (error instanceof Failure) return error;
  const text = error instanceof Error ? error.message : String(error);
  return new Failure('unexpected', text, { cause: error });
}

/** The short code of an outside error (`ECONNREFUSED`, `ER_DUP_ENTRY`), or its class; for the field `cause`. */
export function causeCode(error: unknown): string {
  if (typeof error === 'object' && error !== null && 'code' in error && typeof error.code === 'string')
    return error.code;
  return error instanceof Error ? error.name : typeof error;
}

/** Turns errors of the file system into failures; the paths they name are ours, not secrets. */

const full = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Runs `task`; what the file system refuses becomes `disk_full` or `disk_failed`, naming `what`. */
export async function onDisk<T>(what: string, task: () => Promise<T>): Promise<T> {
  try {
    return await task();
  } catch (error) {
    if (isFailure(error)) throw error;
    const code = causeCode(error);
    throw new Failure(full.has(code) ? 'disk_full' : 'disk_failed', `${what} cannot be written or read (${code})`, {
      cause: error,
    });
  }
}
