/**
 * Every event that the daemon logs, by its constant name. The README lists them; a test compares the two.
 *
 * A log line is one name and fields; no values inside a sentence. An operator searches for the name, a machine
 * groups by it, and neither breaks when a wording changes.
 */
export const events = {
  daemonStarting: 'daemon.starting',
  daemonReady: 'daemon.ready',
  daemonStopping: 'daemon.stopping',
  daemonStopped: 'daemon.stopped',
  daemonFailed: 'daemon.failed',
  httpListening: 'http.listening',
  httpListenFailed: 'http.listen_failed',
  adminListening: 'admin.listening',
  adminListenFailed: 'admin.listen_failed',
  adminRequestFailed: 'admin.request_failed',
  adminSignedIn: 'admin.signed_in',
  adminRefused: 'admin.refused',
  adminOperationStarted: 'admin.operation_started',
  adminOperationFinished: 'admin.operation_finished',
  adminOperationFailed: 'admin.operation_failed',
  databaseMigrated: 'database.migrated',
  databaseUnavailable: 'database.unavailable',
  databaseRecovered: 'database.recovered',
  databaseClockStepped: 'database.clock_stepped',
  diskFailed: 'disk.failed',
  diskRecovered: 'disk.recovered',
  configReloaded: 'config.reloaded',
  configReloadFailed: 'config.reload_failed',
  serverCircuitOpen: 'server.circuit_open',
  serverCircuitClosed: 'server.circuit_closed',
  schedulerFailed: 'scheduler.failed',
  leaseReclaimed: 'lease.reclaimed',
  workerHeartbeatFailed: 'worker.heartbeat_failed',
  folderInitialized: 'folder.initialized',
  folderReset: 'folder.reset',
  folderRestoredFromBackup: 'folder.restored_from_backup',
  folderUidvalidityUnstable: 'folder.uidvalidity_unstable',
  mailboxInvalid: 'mailbox.invalid',
  pollStarted: 'poll.started',
  pollFinished: 'poll.finished',
  pollEmpty: 'poll.empty',
  pollFailed: 'poll.failed',
  loginSuspended: 'login.suspended',
  pollRecovered: 'poll.recovered',
  idleStarted: 'idle.started',
  idleEnded: 'idle.ended',
  messageTicketOpened: 'message.ticket_opened',
  messageReplyAdded: 'message.reply_added',
  messageRecorded: 'message.recorded',
  messageDuplicate: 'message.duplicate',
  messageQuarantined: 'message.quarantined',
  messageVanished: 'message.vanished',
  quarantineResolved: 'quarantine.resolved',
  ticketReopened: 'ticket.reopened',
  ticketMerged: 'ticket.merged',
  actionFailed: 'action.failed',
  vaultOpened: 'vault.opened',
  vaultClosed: 'vault.closed',
  vaultMissing: 'vault.missing',
  vaultRefused: 'vault.refused',
  vaultOrphaned: 'vault.orphaned',
  switchChanged: 'switch.changed',
  switchForged: 'switch.forged',
  switchRolledBack: 'switch.rolled_back',
  switchUnverified: 'switch.unverified',
  switchStateFileInvalid: 'switch.state_file_invalid',
  switchRecovered: 'switch.recovered',
  passwordsSealed: 'passwords.sealed',
  passwordsSealFailed: 'passwords.seal_failed',
  keyRecovered: 'key.recovered',
  controlFailed: 'control.failed',
  logLevelChanged: 'log.level_changed',
  logDropped: 'log.dropped',
  retentionFinished: 'retention.finished',
  retentionFailed: 'retention.failed',
} as const;

export type EventName = (typeof events)[keyof typeof events];

/** Values of a log line: short texts and numbers; never a secret, never the text of a mail. */
export type LogFields = Readonly<Record<string, unknown>>;

/** The log as the workflows see it; a pino logger is one. */
export interface Log {
  debug(fields: LogFields, event: EventName): void;
  info(fields: LogFields, event: EventName): void;
  warn(fields: LogFields, event: EventName): void;
  error(fields: LogFields, event: EventName): void;
}

/** A log whose level can be set while the program runs: `trace`, `debug`, `info`, `warn` or `error`. */
export type AdjustableLog = Log & { level: string };
