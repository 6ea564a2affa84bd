/**
 * Event catalogue of the structured log: every event with its levels, its fields and its meaning.
 *
 * A log line is one event name and fields, without values inside a sentence: an operator searches for the name, a
 * machine groups by it. The list in `systemd/README.md` is generated from it (`npm run reference`).
 */

type LogLevelName = 'debug' | 'info' | 'warn' | 'error';

type EventDefinition = {
  readonly name: string;
  readonly levels: readonly LogLevelName[];
  /** Present where they apply. */
  readonly fields: readonly string[];
  readonly meaning: string;
};

function event<const Name extends string>(
  name: Name,
  levels: LogLevelName | readonly LogLevelName[],
  fields: string,
  meaning: string,
) {
  return {
    name,
    levels: typeof levels === 'string' ? [levels] : levels,
    fields: fields.split(' ').filter((field) => field !== ''),
    meaning,
  };
}

const poll = 'mailbox poll';
const handled = `${poll} uid_validity uid size_bytes message ticket reason`;
const suspended = 'mailbox server code until suspensions';
const switchRow = 'state key_id next_key_id revision changed_by';

const definitions = {
  daemonStarting: event('daemon.starting', 'info', 'worker', 'The process starts.'),
  daemonReady: event('daemon.ready', 'info', '', 'The scheduler runs.'),
  daemonStopping: event('daemon.stopping', 'info', 'timeout_ms', 'A shutdown was requested.'),
  daemonStopped: event('daemon.stopped', 'info', 'drained', 'The process ends; `drained`: all polls finished in time.'),
  daemonFailed: event('daemon.failed', 'error', 'error', 'The process could not start, or ends unexpectedly.'),
  daemonCrashed: event('daemon.crashed', 'warn', 'crashes hint', 'The process before ended without a shutdown.'),
  httpListening: event('http.listening', 'info', 'address', 'The health endpoints accept connections.'),
  httpListenFailed: event(
    'http.listen_failed',
    'warn',
    'error',
    'Their address is unavailable or in use; retried every 5 seconds. Polling does not wait for it.',
  ),
  socketUnused: event(
    'systemd.socket_unused',
    'warn',
    'socket reason',
    'systemd passed a socket (`health`, `page`) that is not at the configured address: the daemon opens its own.',
  ),
  localhostTaken: event(
    'listen.localhost_taken',
    'warn',
    'address',
    'Another process has the port at the other loopback address, and may be `http://localhost:PORT`. Use 127.0.0.1, and end that process; retried every 5 seconds.',
  ),
  adminListening: event('admin.listening', 'info', 'address', 'The admin page accepts connections.'),
  adminListenFailed: event(
    'admin.listen_failed',
    'warn',
    'error',
    'Its address is in use, or its certificate is unreadable; retried every 5 seconds. A renewed certificate that is invalid is not used.',
  ),
  adminRequestFailed: event(
    'admin.request_failed',
    'error',
    'page who error',
    'A request failed unexpectedly; the browser sees no details.',
  ),
  adminSignedIn: event('admin.signed_in', 'info', 'who address', 'A sign-in to the admin page.'),
  adminRefused: event(
    'admin.refused',
    ['info', 'warn'],
    'reason who address about repeated',
    'A request was refused. Of equal ones the first is logged, the others of the same minute as one line with their number in `repeated`.',
  ),
  adminOperationStarted: event(
    'admin.operation_started',
    'info',
    'operation by resumed',
    'An operation on the encryption switch starts, or is resumed after its daemon died.',
  ),
  adminOperationFinished: event(
    'admin.operation_finished',
    'info',
    'operation by unopened duration_ms cut_short',
    'It finished; `cut_short`: its daemon died after the last change of the switch.',
  ),
  adminOperationNotResumed: event(
    'admin.operation_not_resumed',
    'warn',
    'operation by',
    'A row says that an operation runs, and its worker is gone; no daemon of this host began it. Continue it if it is yours.',
  ),
  adminOperationFailed: event('admin.operation_failed', 'error', 'operation by error', 'It failed.'),
  databaseMigrated: event('database.migrated', 'info', 'applied', 'The tables were upgraded at the start.'),
  databaseUnavailable: event('database.unavailable', 'error', 'error', 'It is unavailable, or the reason changed.'),
  databaseRecovered: event('database.recovered', 'info', '', 'The database is available again.'),
  databaseClockStepped: event(
    'database.clock_stepped',
    'warn',
    'stepped_ms',
    'The clock of the database was stepped; due times were corrected.',
  ),
  diskFailed: event(
    'disk.failed',
    'error',
    'error',
    'Nothing can be written below `data_dir` (full, read-only); no poll starts meanwhile.',
  ),
  diskRecovered: event('disk.recovered', 'info', '', 'Files can be written again.'),
  configReloaded: event(
    'config.reloaded',
    'info',
    'changed needs_restart level_now',
    'The configuration was reloaded: what changed, and what of it needs a restart.',
  ),
  configReloadFailed: event(
    'config.reload_failed',
    'error',
    'error',
    'The new configuration is invalid; the previous one stays in force.',
  ),
  serverCircuitOpen: event(
    'server.circuit_open',
    'warn',
    'host port tls error',
    'Two connections in a row failed: the circuit breaker of the mail server is open for the mailboxes with this TLS mode, and one of them probes for all.',
  ),
  serverSilent: event('server.silent', 'warn', 'host port tls error', 'It does not answer: its mailboxes fail.'),
  serverAnswering: event('server.answering', 'info', 'host port tls', 'It answers again.'),
  serverCircuitClosed: event(
    'server.circuit_closed',
    'info',
    'host port tls',
    'The mail server is reachable again; its mailboxes are polled at once.',
  ),
  schedulerFailed: event('scheduler.failed', 'error', 'error failures', 'The query for due mailboxes failed.'),
  leaseReclaimed: event(
    'lease.reclaimed',
    ['info', 'warn'],
    'mailbox worker',
    'Leases of a dead worker, or left over from a database outage, were released.',
  ),
  workerHeartbeatFailed: event(
    'worker.heartbeat_failed',
    'warn',
    'failures error',
    'The heartbeat of this worker cannot be stored, although the database is available.',
  ),
  folderInitialized: event('folder.initialized', 'info', `${poll} uid_validity uid`, 'The first poll of a folder.'),
  folderReset: event(
    'folder.reset',
    ['info', 'warn'],
    `${poll} uid_validity uid uid_validity_before reason`,
    'A folder is read from its start: `uidvalidity_changed`, or `other_folder` (the row names another server, account or folder).',
  ),
  folderRestoredFromBackup: event(
    'folder.restored_from_backup',
    'warn',
    `${poll} uid_validity uid uid_next uid_before`,
    'A folder was restored from a backup under the same UIDVALIDITY: it is read from its start.',
  ),
  folderLateMessages: event(
    'folder.late_messages',
    'warn',
    `${poll} uid_validity uid uid_next uid_before hint`,
    'Messages below the last UID that was read were never shown before, the first of them at `uid`: the folder is read from its start.',
  ),
  folderUidvalidityUnstable: event(
    'folder.uidvalidity_unstable',
    'warn',
    `${poll} count`,
    'UIDVALIDITY changed more than three times within a day: the folder is polled once an hour.',
  ),
  mailboxInvalid: event(
    'mailbox.invalid',
    'warn',
    'mailbox code reason hint',
    'A row of `mailboxes` has an invalid value; the mailbox is not polled until it is corrected.',
  ),
  mailboxUnconfirmed: event(
    'mailbox.unconfirmed',
    'warn',
    'mailbox action hint',
    'Delete or move is not confirmed while encryption is on: messages are fetched, and stay on the server.',
  ),
  mailboxFlooding: event(
    'mailbox.flooding',
    'warn',
    `${poll} server failures error`,
    'Free space is low, and this mailbox stored more than its share within the hour: it rests, for an hour at most; its messages stay on the server.',
  ),
  mailboxActionSkipped: event(
    'mailbox.action_skipped',
    'warn',
    'mailbox poll action count',
    'Pending delete or move of messages that are older than the start point, or arrived at another time than was stored: they stay on the server, and are not tried again.',
  ),
  outcomeReplaced: event(
    'mailbox.outcome_replaced',
    'warn',
    'mailbox poll uid count',
    'Another program had written rows of `outcome` for messages that were not fetched yet: they are replaced, the messages stored.',
  ),
  pollStarted: event('poll.started', 'debug', `${poll} new_messages`, 'Logged in, and new messages listed.'),
  pollFinished: event(
    'poll.finished',
    'info',
    `${poll} duration_ms ticket_opened reply_added recorded duplicate quarantined vanished`,
    'A poll that handled messages, with the number of each outcome.',
  ),
  pollEmpty: event('poll.empty', 'debug', `${poll} duration_ms`, 'A poll without new messages.'),
  pollFailed: event(
    'poll.failed',
    ['debug', 'warn', 'error'],
    `${poll} server failures error`,
    'A poll failed. Logged when the reason changes and at its 2nd, 4th, 8th … repetition; the others at level debug.',
  ),
  pollPreempted: event(
    'poll.preempted',
    'info',
    `${poll} duration_ms`,
    'A long poll ended as another mailbox waited for its slot, or for a connection to its host; it continues at the cursor.',
  ),
  pollRestarted: event(
    'poll.restarted',
    'info',
    `${poll} duration_ms`,
    'A poll ended as another folder of its account was added, whose messages it has to know; it is polled again at once.',
  ),
  loginSuspended: event(
    'login.suspended',
    'warn',
    'mailbox server login_failures suspended_h',
    'Logins are suspended after consecutive refusals, until the row changes (`mailbox set-password`, `mailbox resume`); `mailbox retry` tries once.',
  ),
  pollRecovered: event('poll.recovered', 'info', `${poll} after_failures`, 'The first successful poll after failures.'),
  idleStarted: event('idle.started', 'debug', 'mailbox', 'A connection stays open in IDLE.'),
  idleEnded: event('idle.ended', ['debug', 'info'], 'mailbox error', 'The server ended a connection in IDLE.'),
  pushSuspended: event('push.suspended', ['debug', 'warn'], suspended, 'IDLE fails: it is only polled for an hour.'),
  pushResumed: event('push.resumed', 'info', 'mailbox server', 'The first one there has idled for a minute again.'),
  messageTicketOpened: event('message.ticket_opened', 'info', handled, 'A message opened a ticket.'),
  messageReplyAdded: event('message.reply_added', 'info', handled, 'A message was added to a ticket.'),
  messageRecorded: event('message.recorded', 'info', handled, 'A message was stored without a ticket.'),
  messageDuplicate: event('message.duplicate', 'info', handled, 'A message was stored before.'),
  messageQuarantined: event('message.quarantined', 'warn', handled, 'A message was quarantined.'),
  messageVanished: event('message.vanished', 'info', handled, 'A listed message was gone when it was fetched.'),
  quarantineResolved: event(
    'quarantine.resolved',
    'info',
    'quarantine_id action result ticket by',
    'A quarantined message was requeued, released or discarded on the admin page, or fetched by the hourly retry.',
  ),
  ticketReopened: event('ticket.reopened', 'info', `${poll} message ticket`, 'A reply reopened a closed ticket.'),
  ticketMerged: event(
    'ticket.merged',
    'info',
    `${poll} message ticket into`,
    'A message showed that a ticket belongs to an older one.',
  ),
  actionFailed: event(
    'action.failed',
    ['debug', 'warn'],
    `${poll} action count failures error`,
    'The server refused to mark, move or delete stored messages; retried with the next poll.',
  ),
  vaultOpened: event('vault.opened', 'info', 'key_ids', 'The keys of the key file are loaded.'),
  vaultClosed: event('vault.closed', 'info', '', 'No key is needed any more.'),
  vaultMissing: event('vault.missing', 'error', 'error', 'Encryption is on without its key file: mailboxes wait.'),
  vaultRefused: event('vault.refused', 'error', 'key_ids error', 'The key file cannot be used: mailboxes wait.'),
  vaultOrphaned: event(
    'vault.orphaned',
    'error',
    'key_ids error',
    'The key file vanished or became invalid; the daemon continues with the keys in memory (see `key recover`).',
  ),
  vaultKeyWeak: event(
    'vault.key_weak',
    'warn',
    'key_id error',
    'A key in use is plainly not random; work continues: `encryption rotate` replaces it.',
  ),
  replyKeyUnopened: event(
    'reply_key.unopened',
    'warn',
    'key_id',
    'A key of reply tokens is sealed under a key that the key file lacks: its tokens do not count until that is back.',
  ),
  switchChanged: event('switch.changed', 'info', switchRow, 'The encryption switch changed its state.'),
  switchForged: event(
    'switch.forged',
    'error',
    `${switchRow} error`,
    'The row in `encryption_switch` was not written by ticketmaild; the last valid state stays in force.',
  ),
  switchRolledBack: event('switch.rolled_back', 'error', `${switchRow} error`, 'The row is older than that in force.'),
  switchUnverified: event('switch.unverified', 'error', `${switchRow} error`, 'A key that is not open sealed the row.'),
  switchStateFileInvalid: event(
    'switch.state_file_invalid',
    'error',
    `${switchRow} error`,
    'The file `data/switch-state`, which stores the last valid row, is damaged.',
  ),
  switchRecovered: event('switch.recovered', 'info', switchRow, 'The row is valid again.'),
  switchRenewed: event(
    'switch.renewed',
    'warn',
    'revision',
    'A row of the switch that the database did not store is withdrawn; the one in force was written again above it.',
  ),
  encryptionSyncFailed: event(
    'encryption.sync_failed',
    'error',
    'error failures',
    'Key file and switch row could not be read, or plain-text passwords not be sealed; the next attempt is in 300 ms.',
  ),
  passwordsSealed: event('passwords.sealed', 'info', 'count key_id', 'Plain-text passwords in the table were sealed.'),
  tokensSealed: event('tokens.sealed', 'info', 'count key_id', 'Plain-text refresh tokens in the table were sealed.'),
  passwordsSealFailed: event('passwords.seal_failed', 'warn', 'error', 'Passwords or tokens could not be sealed.'),
  keyRecovered: event('key.recovered', 'info', 'key_ids by', 'The key file was written back from memory.'),
  keyBackupDue: event(
    'key.backup_due',
    'warn',
    'key_ids',
    'The daemon finished a rotation: backups of the key file made before do not hold the new key. Back it up again.',
  ),
  controlFailed: event('control.failed', 'warn', 'error', 'The control socket, or a request on it, failed.'),
  oauthRenewed: event('oauth.renewed', 'debug', 'provider grant duration_ms', 'An access token was renewed.'),
  oauthRenewalFailed: event(
    'oauth.renewal_failed',
    'warn',
    'provider grant failures error',
    'An access token could not be renewed. Logged when the reason changes and at its 2nd, 4th, 8th … repetition.',
  ),
  oauthNeedsConsent: event(
    'oauth.needs_consent',
    'warn',
    'provider grant error',
    'A grant ended, also where another process found it: a person has to sign in again; no login is tried meanwhile. Logged once by each daemon.',
  ),
  oauthGrantRefused: event(
    'oauth.grant_refused',
    'warn',
    'provider grant error',
    'A grant is refused, also where another process found it; no login is tried meanwhile. Logged once, unless `oauth.provider_refused` was.',
  ),
  oauthGrantReady: event('oauth.grant_ready', 'info', 'provider grant', 'An ended or refused grant works again.'),
  oauthProviderFailing: event(
    'oauth.provider_failing',
    'warn',
    'provider error',
    'Token requests to a provider fail: one at a time is tried for all of its grants; stored tokens are used until they end.',
  ),
  oauthProviderRecovered: event(
    'oauth.provider_recovered',
    'info',
    'provider after_failures',
    'Token requests to a provider succeed again.',
  ),
  oauthProviderRefused: event(
    'oauth.provider_refused',
    'error',
    'provider error',
    'A provider refuses the application: client id, tenant, secret or certificate. Tried again every hour, and after a reload.',
  ),
  oauthCredentialEnding: event(
    'oauth.credential_ending',
    ['warn', 'error'],
    'provider days_left',
    'The client secret or certificate of a provider ends within 30 days, or has ended.',
  ),
  logLevelChanged: event('log.level_changed', 'warn', 'level_before level_now by', 'The log level was changed.'),
  logDropped: event('log.dropped', 'warn', 'lines cause', 'Log lines were dropped because their reader was too slow.'),
  retentionFinished: event(
    'retention.finished',
    'info',
    'segments_removed blobs_removed',
    'Expired raw sources and unused attachment files were deleted.',
  ),
  retentionFailed: event('retention.failed', 'warn', 'error', 'They could not be deleted.'),
};

/** Constant names of the events. */
export const events = Object.fromEntries(
  Object.entries(definitions).map(([constant, { name }]) => [constant, name]),
) as { readonly [Constant in keyof typeof definitions]: (typeof definitions)[Constant]['name'] };

export const eventDefinitions: readonly EventDefinition[] = Object.values(definitions);

export type EventName = (typeof events)[keyof typeof events];

/** Values of a log line: short texts and numbers; never a secret, never message content. */
export type LogFields = Readonly<Record<string, unknown>>;

/** The log port of the workflows; a pino logger implements it. */
export interface Log {
  debug(fields: LogFields, event: EventName): void;
  info(fields: LogFields, event: EventName): void;
  warn(fields: LogFields, event: EventName): void;
  error(fields: LogFields, event: EventName): void;
}

/** From the most lines to the fewest. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error'] as const;

export type LogLevel = (typeof logLevels)[number];

/** A log whose level can be changed at run time, to a `LogLevel`. */
export type AdjustableLog = Log & { level: string };
