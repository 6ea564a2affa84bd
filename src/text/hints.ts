/**
 * Hint catalogue: the fixed hints of checks, of the control socket and of failures that a poll or the database has,
 * which a reader of a table or of an answer compares a hint with.
 *
 * A command shows hints of this program alone, from here or from the table of error codes (errors.ts), and never the
 * words of the process that answered: people run what a hint says, often as root.
 */

import { commandOrNotice, shellCommand } from './shell.ts';

/** `auto` means no TLS to this machine. */
const databaseTls =
  'Set tls = "verify" in [database], and ca_file to the authority of its certificate, or fingerprint to the certificate itself, if the system does not know it.';

const databaseCertificateUntrusted =
  'The certificate of the database is not trusted: name the file of its authority in [database] ca_file, or correct the host in url.';

const compareFingerprint =
  'It shows SHA-256 FINGERPRINT. Compare that on the database server, with the file in ssl_cert (openssl x509 -in /var/lib/mysql/server-cert.pem -noout -fingerprint -sha256); only if it is the same, set fingerprint in [database] to it';

export const hints = {
  actionWithoutEffect:
    'Give the user the right to change and delete messages of this folder on the mail server (ACL: s, t and e), or choose another action: ticketmaild mailbox set NAME --on-success leave',
  alreadyRequested: 'Request it again.',
  certificateExpiring: 'Have it renewed on the mail server.',
  checkKey: 'Check it with ticketmaild key show',
  checkSwitch: 'Check it with ticketmaild encryption status',
  clockWrong:
    'Check the time service (timedatectl) on both. Leases and due times use the database clock, the log does not.',
  configRefused:
    'The former configuration stays in force until the next start, which would fail: correct the file and reload.',
  diskLow: 'Free some space before it runs out.',
  enableOrTrust:
    'Run ticketmaild encryption enable. If it was enabled on another host, run ticketmaild encryption trust-restored there: its row is gone.',
  keyBack: 'Put the key file back from its backup.',
  keyBackOrRecover:
    'Put the key file back from its backup, or let the running daemon write it: ticketmaild key recover.',
  keyWithIdBack: 'Put the key file with that key back from its backup.',
  keyWithIdBackOrRecover:
    'Put the key file with that key back from its backup, or let the running daemon write it: ticketmaild key recover.',
  keyFromWorker: 'Put the key file that contains this key on this host: from its backup, or from a worker that has it.',
  keyRestore: 'Restore the key file from its backup.',
  keyLocked:
    'Configure the passphrase ([encryption] passphrase_file), or move that file away and run the command again.',
  lateMessages:
    'Nothing is lost or stored twice: stored messages are recognized. The mail server showed a part of the folder before: tell its operator.',
  mailboxesMissing: 'Add one: ticketmaild mailbox add. If there should be some, check [database] url.',
  mailboxOverdue: 'A poll takes very long, or all slots are in use: see the log and [poll] concurrency_max.',
  mailboxUnconfirmed: 'Check its settings, and confirm them if they are yours: ticketmaild mailbox confirm NAME',
  mailboxUnstable:
    'After each change all its messages are fetched again to be recognized, so it is polled once an hour. Fix the server (its index files, or the storage of the folder).',
  mailboxWaiting: 'Put the key file with that key back from its backup, or set the password again.',
  nodeOutdated: 'Use the Node that comes with the program; in a checkout: npm ci',
  oauthCredentialEnding:
    'Create a new secret or certificate at the provider, put it into the file that [oauth.NAME] names, and reload. No restart is needed.',
  passwordMechanismMissing: 'Sign in with OAuth 2: ticketmaild mailbox set NAME --oauth PROVIDER',
  nothingChanged: 'Nothing was changed.',
  passwordsReadable: 'Seal them, without a restart: ticketmaild encryption enable',
  passwordsUnsealed:
    'Seal them: ticketmaild encryption reseal. The log says why the worker did not (passwords.seal_failed).',
  processCrashed:
    "See how it ended: journalctl -u 'ticketmaild*' --since -15min (in a container, its log). It is ready again once fewer than three are within five minutes.",
  pushSuspended:
    'Nothing to do for the mail: polls fetch it. If it persists, something between ends idle connections: see the log of the mail server, and proxies and firewalls on the way.',
  quarantineWaiting: 'See ticketmaild quarantine list.',
  restartNeeded: 'Restart the daemon when convenient.',
  sealGivenAway:
    'The settings were sealed for the database: a writer of it may make them act all the same, until you run ticketmaild encryption rotate.',
  schedulerStuck: 'The process is stuck or starved: see its CPU use and log.',
  slotsTaken:
    'See which mailboxes are slow: ticketmaild logs --event poll.preempted. Pause these, or raise [poll] concurrency_max and concurrency_per_host_max.',
  switchWithdrawn:
    'A running daemon of this host writes the switch in force back within seconds; so does ticketmaild encryption reseal.',
  tokenLacksScope:
    'The token is not good for IMAP: check scopes in [oauth.NAME] and the permissions of the application, then: ticketmaild oauth test NAME',
  tokenMechanismMissing:
    'This server takes no OAuth token here: check host and port (ticketmaild mailbox show NAME), or give the mailbox a password.',
  tokenRefused:
    'IMAP may be off for this mailbox, user and mailbox may differ, or the permission on the mailbox is missing: ticketmaild oauth test NAME finds out which.',
  tokenTooLong:
    'Some servers take no token beyond 4 to 8 KB (Dovecot: 8 KiB for the whole response): let the provider put fewer roles or groups into the token.',
  exchangeImapOff:
    'IMAP is off for this mailbox: switch it on in Exchange Online PowerShell. It takes effect within an hour.',
  exchangePermission:
    'The application may not open this mailbox: give it the permission in Exchange Online PowerShell. It takes effect within an hour.',
  exchangePerson:
    'IMAP is off for this mailbox, or the account that signed in may not open it: in Exchange Online PowerShell. Changes take up to an hour.',
  exchangeRefused:
    'Exchange knows the application under another object id (its ObjectId must be that of the enterprise application), or the permission is missing, or IMAP is off. Run in Exchange Online PowerShell what is missing; changes take up to an hour.',
  exchangeRole:
    'In Entra, App registrations, API permissions: add IMAP.AccessAsApp (Office 365 Exchange Online, application permission), then Grant admin consent.',
  googleImapOff:
    'Google took the token and refuses IMAP for this user: in admin.google.com, Apps, Google Workspace, Gmail, End user access, switch IMAP on for its organizational unit.',
  oauthClockWrong:
    'Check the time service (timedatectl). Tokens are requested by the clock of the provider until then.',
  oauthUnused: 'Add one: ticketmaild mailbox add --oauth PROVIDER',
  tokenLacksScopeNow:
    'The token is not good for IMAP: compare scopes in [oauth.NAME] with what the mail server asks for, and the permissions of the application.',
  tokenNotTaken:
    'The mail server refuses the token: check that it trusts this provider (introspection, or its keys), the scope that it asks for, and the claim that it compares with the user.',
  tryAgainSoon: 'Try again in a moment.',
  workerSilent: 'Other workers poll its mailboxes. See its log; a worker that is gone for good is removed after a day.',
  workersFromDatabase:
    'The list of workers comes from the database: believe only in hosts that you know, and copy a key to no other.',
  workerUnrecorded:
    'Its log says why (worker.heartbeat_failed). Other workers count it as dead and poll its mailboxes.',
  microsoftMailboxClosed:
    'Microsoft accepted the login, but opens no mailbox. If it persists, check that IMAP is enabled for the mailbox and the user owns it.',
  imapDisabled: 'IMAP is disabled for this account: enable it in the account settings at the provider.',
  webLoginNeeded:
    'The provider requires one login to this account with a web browser; then it accepts the password again.',
  appPasswordNeeded:
    'The account needs an app password: create one at the provider, then: ticketmaild mailbox set-password NAME',
  microsoftPasswords: 'Microsoft no longer supports passwords for IMAP: this mailbox cannot be read with a password.',
  microsoftWrongPassword:
    'Set the password: ticketmaild mailbox set-password NAME. Microsoft 365 no longer supports passwords for IMAP, and refuses all.',
  accountLocked:
    'The server has locked the login after too many attempts. It is retried later; if the password is wrong: ticketmaild mailbox set-password NAME',
  loginNeedsTls: 'Many servers allow a login over TLS only: use --tls implicit or --tls starttls.',
  tooMuchData:
    'Another client may have changed many messages at once; if it persists, report it to the operator of the mail server.',
  commandWrong: 'The server takes a command of ticketmaild for wrong: if it persists, report it with the log.',
  contactOperator: 'The server asks that its operator be contacted: its log has the reason.',
  folderInvisible:
    'The folder is there, and the user may not see it: grant the right on the mail server, or name another folder: ticketmaild mailbox set NAME --on-success move:FOLDER',
  folderNamedMissing:
    'The folder that the command names is not on the server: create it there, or name another one with ticketmaild mailbox set.',
  folderReadOnly:
    'The user may only read this folder: grant the right on the mail server, or choose another action: ticketmaild mailbox set NAME --on-success leave',
  loginUnauthorized:
    'The server knows the login and does not let it open this mailbox: check --user, or ask the operator of the mail server for the permission.',
  mailboxCorrupt:
    'The mailbox is damaged on the mail server: tell its operator, who can repair it or restore it from a backup.',
  mailboxInUse: 'Another program holds the mailbox: close it there, or wait. Polls are retried.',
  messagesExpunged: 'Another program deleted messages meanwhile: the next poll lists the folder again.',
  neverAllowed:
    'The server allows this to no user: choose another folder or action with ticketmaild mailbox set, or ask its operator.',
  overQuota:
    'The account is over a limit of the mail server, of space or of traffic: free space there, or have the quota raised. Polls are retried.',
  passwordExpired:
    'The password or the account has expired: have it renewed at the mail server, then set the new password.',
  rightMissing:
    'The user lacks a right on this folder: have it granted on the mail server (ACL), or choose another folder or action with ticketmaild mailbox set.',
  serverAlert: 'The server has a message for the user of this account: log in with a mail program to read it.',
  serverBug: 'The mail server reports a defect of its own: tell its operator, whose log has the reason.',
  serverLimit:
    'A limit of the mail server is reached, such as its number of connections: have it raised there, or lower [poll] concurrency_per_host_max. Polls are retried.',
  serverPartDown:
    'A part of the mail server is down, such as its user directory or storage: if it persists, tell its operator. Polls are retried.',
  setPassword: 'Set the password: ticketmaild mailbox set-password NAME',
  caFileUnreadable: 'Name the file (PEM) of the issuing authority: --ca-file FILE',
  certificateNotYetValid:
    'Check the clock of this machine (timedatectl); if it is right, the mail server shows a certificate too early.',
  databaseAccountDenied: `Check user, password and grants of the account. If it requires TLS (REQUIRE SSL): ${databaseTls}`,
  databaseCertificateShown: `${databaseCertificateUntrusted} Or pin it. ${compareFingerprint}.`,
  databaseCertificateUntrusted,
  databaseDiskFull: 'Free space on the disk of the database server; nothing is lost meanwhile.',
  databaseFileRequest:
    'No statement of ticketmaild loads a file: see what listens at that address, and who changed the server.',
  databasePinMismatch: `${compareFingerprint}, and reload.`,
  databaseTls,
  databaseTlsMissing: 'Enable TLS in the database server, or set tls = "off" in [database].',
  dnsFailing: 'Check the DNS configuration of this machine: resolvectl status',
  fileMissing: 'The file or its folder does not exist: check the path.',
  folderUncreated: 'Make it on the server, or name another one: ticketmaild mailbox set NAME --on-success move:FOLDER',
  implicitTlsExpected: 'The port may expect implicit TLS, as 993 does: try --tls implicit.',
  listingEmpty:
    'The index of the folder may be broken on the mail server: tell its operator. Other mail programs may not see the messages either.',
  memoryShort: 'Check the free memory of this machine: free -m',
  openFilesOfMachine: 'Raise fs.file-max of this machine, or lower the number of connections.',
  openFilesOfService: 'Raise LimitNOFILE of the service, or lower the number of connections.',
  programFilesMissing:
    'Files of ticketmaild are missing: reinstall it, or restart it after an upgrade. No message is touched meanwhile.',
  starttlsExpected: 'The port answers without TLS: try --tls starttls.',
  uidImpossible: 'All other messages are fetched. The mail server contradicts itself: tell its operator.',
} as const;

/** True for a hint with a command on a stored mailbox. */
export function namesMailbox(hint: string): boolean {
  return / NAME\b/.test(hint);
}

/** A command on a stored mailbox, with options after its name. */
const namedCommand = /ticketmaild (mailbox [a-z-]+|reconcile) NAME((?: --[a-z-]+(?: [A-Za-z:]+)?)*)/g;

/** Puts the name of a mailbox into the commands of a hint. */
export function withMailboxName(hint: string, name: string): string {
  return hint.replaceAll(namedCommand, (_, words, rest) => commandOrNotice(shellCommand(words, name, rest)));
}

/** Puts the id of a quarantined message, which begins with the name of its mailbox, into the commands of a hint. */
export function withQuarantineId(hint: string, id: string): string {
  return hint.replaceAll(/ticketmaild (quarantine [a-z]+) ID\b/g, (_, words) =>
    commandOrNotice(shellCommand(words, id)),
  );
}

/** The same for a mailbox that is not stored: no poll follows, and no setting of it can be changed. */
export function beforeStored(hint: string): string {
  const now = hint.replace(' Polls are retried.', '').replace(' with ticketmaild mailbox set', '');
  return now === hint ? hint : `${now} Nothing was stored: try again later.`;
}

const known: ReadonlySet<unknown> = new Set(Object.values(hints));

/** The hint, if it is in this catalogue; null: it is the text of another program. */
export function knownHint(hint: unknown): string | null {
  return typeof hint === 'string' && known.has(hint) ? hint : null;
}

/** A hint that names the certificate that the database shows; `fingerprint`: 64 hex digits. */
export function withFingerprint(hint: string, fingerprint: string): string {
  return hint.replace('FINGERPRINT', fingerprint);
}

/** The hint, if it is one of this catalogue with a fingerprint; null: it is the text of another program. */
export function fingerprintHint(hint: unknown): string | null {
  if (typeof hint !== 'string') return null;
  const isKnown = known.has(hint.replace(/\b[0-9a-f]{64}\b/, 'FINGERPRINT'));
  return isKnown ? hint : null;
}
