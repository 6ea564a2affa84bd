/**
 * The command line: every command with its options, as commander reads it.
 *
 * A command's module is loaded when it is called, so that `--help` and a typing error cost little. What is misused
 * is thrown by commander and told by `main.ts`; nothing here prints or exits.
 */

import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import type { Context } from './context.ts';

/** Where help and the version are written. */
export type Print = (text: string) => void;

const ticketRef = ['<ref>', 'reference of the ticket'] as const;
const mailboxName = ['<name>', 'name of the mailbox'] as const;
const passwordStdin = ['--password-stdin', 'read the password from standard input instead of asking for it'] as const;

/** The whole command line; parsing it calls `start` for the command that is meant. */
export function buildProgram(start: Start, print: Print): Command {
  const program = new Command('ticketmaild')
    .description('Reads ticket mailboxes over IMAP and turns each mail into a ticket.')
    .version(version(), '--version', 'show the version')
    .helpOption('--help', 'show this help')
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => undefined, outputError: () => undefined });
  const actions = actionsOf(start);
  addDaemonCommands(program, actions);
  addSightCommands(program, actions);
  const mailbox = program.command('mailbox').description('add, list, test and change mailboxes');
  addMailboxCommands(mailbox, actions);
  addChangeCommands(mailbox, actions);
  addTicketCommands(program, actions);
  addReconcileCommand(program, actions);
  addQuarantineCommands(program, actions);
  addKeyCommands(program, actions);
  addEncryptionCommands(program, actions);
  addAdminCommands(program, actions);
  return program;
}

function version(): string {
  const { version: text } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return text;
}

function addDaemonCommands(program: Command, { plain, draining }: Actions): void {
  configured(program, 'run', 'run the daemon: poll every mailbox when it is due')
    .option('--pretty', 'log lines for people instead of JSON')
    .option('--no-migrate', 'leave the tables as they are')
    .action(draining(async () => (await import('./service.ts')).runDaemon));
  const poll = draining(async () => (await import('./poll.ts')).pollMailboxes);
  listing(program, 'poll', 'visit one mailbox, or all that are active, once')
    .argument('[mailbox]', 'name of the mailbox')
    .action((name, options) => poll({ ...options, name }));
  listing(program, 'check', 'try the configuration, the database and every mailbox').action(
    plain(async () => (await import('./check.ts')).check),
  );
  listing(program, 'migrate', 'bring the tables up to date')
    .option('--status', 'only show what is applied')
    .action(plain(async () => (await import('./service.ts')).migrate));
}

/** What an operator looks at. */
function addSightCommands(program: Command, { plain, draining }: Actions): void {
  reporting(program, 'status', 'ask the running daemon how it fares; exit code 1 when it is not ready')
    .option('--watch', 'draw it anew every 2 seconds, until Ctrl-C')
    .option('--all', 'with the mailboxes that are fine')
    .option('--address <host:port>', 'where to ask (default: http.listen, else the workers ticketmaild@1 to @9)')
    .action(draining(async () => (await import('./status/status.ts')).showStatus));
  const logs = plain(async () => (await import('./logs.ts')).showLogs);
  program
    .command('logs')
    .description('show the log for people: the journal, a file, or what is piped in')
    .argument('[file]', 'a file of JSON log lines')
    .option('--follow', 'go on as lines are added')
    .option('--since <time>', 'from then on: 15min, 2h, 08:30, today, 2026-01-31, "2026-01-31 08:30"')
    .option('--lines <count>', 'only the last ones')
    .option('--mailbox <name>', 'only of this mailbox')
    .option('--level <level>', 'only of this level and above')
    .option('--event <prefix>', 'only events that begin so, such as poll. or poll.failed')
    .option('--unit <unit>', 'the unit of the journal (default: ticketmaild and ticketmaild@*)')
    .action((file, options) => logs({ ...options, ...(file === undefined ? {} : { file }) }));
  const level = plain(async () => (await import('./service.ts')).setLogLevel);
  reporting(program, 'log-level', 'let the running daemon log more or less, until it starts or reloads')
    .argument('<level>', 'trace, debug, info, warn or error')
    .action((name, options) => level({ ...options, level: name }));
}

function addMailboxCommands(mailbox: Command, { plain }: Actions): void {
  listing(mailbox, 'add', 'add a mailbox, once a probe of it succeeds')
    .option('--name <name>', 'what it is to be called (required)')
    .option('--host <host>', 'the IMAP server (required)')
    .option('--port <port>', 'its port (default: 993, or 143 with starttls and none)')
    .option('--tls <mode>', 'implicit, starttls or none (default: implicit)')
    .option('--ca-file <file>', 'certificates (PEM) to trust instead of those of the system')
    .option('--fingerprint <sha256>', 'the one certificate to trust')
    .option('--user <user>', 'the login name (required)')
    .option(...passwordStdin)
    .option('--folder <folder>', 'the folder to poll (default: INBOX)')
    .option('--since <start>', 'which mails: now, all or a date such as 2026-01-31 (default: now)')
    .option('--on-success <action>', 'then: seen, move:FOLDER, delete or leave (default: seen)')
    .option('--interval <seconds>', 'seconds between two polls (default: poll.interval_s)')
    .option(
      '--address <address>',
      'where it gets its mail; may be repeated (default: the user, if it is an address)',
      repeated,
    )
    .option('--allow-plaintext', 'accept a password in clear to another machine with --tls none')
    .option('--no-probe', 'store it untried')
    .action(plain(async () => (await import('./mailbox/add.ts')).addMailbox));
  listing(mailbox, 'list', 'list the mailboxes and how they fare').action(
    plain(async () => (await import('./mailbox/view.ts')).listMailboxes),
  );
  const show = plain(async () => (await import('./mailbox/view.ts')).showMailbox);
  listing(mailbox, 'show', 'show one mailbox, but for its password')
    .argument(...mailboxName)
    .action((name, options) => show({ ...options, name }));
  const test = plain(async () => (await import('./mailbox/probe.ts')).testMailbox);
  listing(mailbox, 'test', 'try to log in and open the folder, changing nothing')
    .argument(...mailboxName)
    .action((name, options) => test({ ...options, name }));
}

function addChangeCommands(mailbox: Command, { plain }: Actions): void {
  const pause = plain(async () => (await import('./mailbox/state.ts')).pauseMailbox);
  configured(mailbox, 'pause', 'poll it no more until it is resumed')
    .argument(...mailboxName)
    .action((name, options) => pause({ ...options, name }));
  const resume = plain(async () => (await import('./mailbox/state.ts')).resumeMailbox);
  configured(mailbox, 'resume', 'poll it again, at once')
    .argument(...mailboxName)
    .action((name, options) => resume({ ...options, name }));
  const remove = plain(async () => (await import('./mailbox/state.ts')).removeMailbox);
  configured(mailbox, 'remove', 'forget its settings, password and cursor; tickets stay')
    .argument(...mailboxName)
    .option('--yes', 'do not ask')
    .action((name, options) => remove({ ...options, name }));
  const set = plain(async () => (await import('./mailbox/set.ts')).setMailbox);
  listing(mailbox, 'set', 'change settings, once a probe of the new ones succeeds')
    .argument(...mailboxName)
    .option('--name <name>', 'what it is to be called')
    .option('--host <host>', 'the IMAP server')
    .option('--port <port>', 'its port')
    .option('--tls <mode>', 'implicit, starttls or none')
    .option('--ca-file <file>', 'certificates (PEM) to trust instead of those of the system')
    .option('--fingerprint <sha256>', 'the one certificate to trust')
    .option('--system-ca', 'trust the authorities of the system again')
    .option('--user <user>', 'the login name')
    .option('--new-password', 'ask for another password, too')
    .option(...passwordStdin)
    .option('--folder <folder>', 'the folder to poll')
    .option('--since <start>', 'where another folder begins: now, all or a date (default: as before)')
    .option('--on-success <action>', 'seen, move:FOLDER, delete or leave')
    .option('--interval <seconds>', 'seconds between two polls, or default')
    .option('--allow-plaintext', 'accept a password in clear to another machine with --tls none')
    .option('--no-probe', 'store it untried')
    .action((name, options) => set({ ...options, mailbox: name }));
  const setAddresses = plain(async () => (await import('./mailbox/set.ts')).setMailboxAddresses);
  configured(mailbox, 'set-addresses', 'tell at which addresses it gets its mail')
    .argument(...mailboxName)
    .argument('[addresses...]', 'all of them (none: the user, if it is an address)')
    .action((name, addresses, options) => setAddresses({ ...options, name, addresses }));
  const setPassword = plain(async () => (await import('./mailbox/state.ts')).setMailboxPassword);
  configured(mailbox, 'set-password', 'store another password')
    .argument(...mailboxName)
    .option(...passwordStdin)
    .option('--accept-connection', 'the server is yours, although the stored password does not vouch for it')
    .action((name, options) => setPassword({ ...options, name }));
}

function repeated(value: string, before: readonly string[] = []): readonly string[] {
  return [...before, value];
}

function addTicketCommands(program: Command, actions: Actions): void {
  const { plain } = actions;
  const ticket = program.command('ticket').description('list, show and close tickets, make reply tokens');
  listing(ticket, 'list', 'list tickets, the newest first')
    .option('--limit <count>', 'at most so many (default: 50, with --json all)')
    .action(plain(async () => (await import('./ticket.ts')).listTickets));
  const show = plain(async () => (await import('./ticket.ts')).showTicket);
  listing(ticket, 'show', 'show one ticket with its messages')
    .argument(...ticketRef)
    .action((ref, options) => show({ ...options, ref }));
  const close = plain(async () => (await import('./ticket.ts')).closeTicket);
  configured(ticket, 'close', 'close one ticket; an answer opens it again')
    .argument(...ticketRef)
    .action((ref, options) => close({ ...options, ref }));
  const reopen = plain(async () => (await import('./ticket.ts')).reopenTicket);
  configured(ticket, 'reopen', 'open one ticket again')
    .argument(...ticketRef)
    .action((ref, options) => reopen({ ...options, ref }));
  const replyAddress = plain(async () => (await import('./ticket.ts')).printReplyAddress);
  reporting(ticket, 'reply-address', 'print the address whose answers come into this ticket')
    .argument(...ticketRef)
    .option('--address <address>', 'the address to put the token into (default: the first of the mailbox)')
    .action((ref, options) => replyAddress({ ...options, ref }));
  const messageId = plain(async () => (await import('./ticket.ts')).printMessageId);
  reporting(ticket, 'message-id', 'print a new Message-ID whose answers come into this ticket')
    .argument(...ticketRef)
    .option('--domain <domain>', 'what stands behind the @ (default: that of the mailbox)')
    .action((ref, options) => messageId({ ...options, ref }));
  const message = program.command('message').description('list what became of each mail');
  listing(message, 'list', 'list the outcome of every mail of a mailbox')
    .requiredOption('--mailbox <name>', 'name of the mailbox')
    .option('--full', 'with the stored messages')
    .action(plain(async () => (await import('./message.ts')).listMessages));
  configured(message, 'source', 'save the raw source of one mail as a file')
    .requiredOption('--mailbox <name>', 'name of the mailbox')
    .requiredOption('--uid <uid>', 'its UID, as message list shows it')
    .requiredOption('--output <file>', 'the file to write; it must not exist yet')
    .action(plain(async () => (await import('./message.ts')).saveSource));
  addReprocessCommand(message, actions);
}

/**
 * What the commands have in common as commander declares them: their options, and how their actions are run.
 */

/** How a called command is run. `drains`: the first signal to stop lets it finish what is under way. */
export type Start = (
  command: (context: Context) => Promise<number>,
  how: { readonly drains: boolean },
) => Promise<void>;

/** Makes the action of a command of the function that `load` gives. */
type Action = <T>(load: () => Promise<(args: T, context: Context) => Promise<number>>) => (args: T) => Promise<void>;

export type Actions = { readonly plain: Action; readonly draining: Action };

/** A command's module is loaded when the command is called, so that the others do not pay for it. */
function actionsOf(start: Start): Actions {
  const action =
    (drains: boolean): Action =>
    (load) =>
    (args) =>
      start(async (context) => (await load())(args, context), { drains });
  return { plain: action(false), draining: action(true) };
}

function configured(parent: Command, name: string, purpose: string): Command {
  return parent.command(name).description(purpose).option('--config <file>', 'the configuration file');
}

function listing(parent: Command, name: string, purpose: string): Command {
  return configured(parent, name, purpose).option('--json', 'print JSON, one object a line');
}

function reporting(parent: Command, name: string, purpose: string): Command {
  return configured(parent, name, purpose).option('--json', 'print the result as one JSON object');
}

/**
 * The commands of the admin page's accounts, with their options, as commander reads them.
 */

const adminName = ['<name>', 'name of the admin'] as const;

function addAdminCommands(program: Command, { plain }: Actions): void {
  const admin = program.command('admin').description('who may sign in to the admin page');
  const add = plain(async () => (await import('./admin.ts')).addAdmin);
  configured(admin, 'add', 'let somebody sign in to the admin page')
    .argument(...adminName)
    .option(...passwordStdin)
    .action((name, options) => add({ ...options, name }));
  listing(admin, 'list', 'list who may sign in, and when they last did').action(
    plain(async () => (await import('./admin.ts')).listAdmins),
  );
  const setPassword = plain(async () => (await import('./admin.ts')).setAdminPassword);
  configured(admin, 'set-password', 'store another password, and sign out whoever used the former one')
    .argument(...adminName)
    .option(...passwordStdin)
    .action((name, options) => setPassword({ ...options, name }));
  const remove = plain(async () => (await import('./admin.ts')).removeAdmin);
  configured(admin, 'remove', 'remove an admin, and sign them out')
    .argument(...adminName)
    .option('--yes', 'do not ask')
    .action((name, options) => remove({ ...options, name }));
  configured(admin, 'unlock', 'let every address and name try to sign in again, which tried too often').action(
    plain(async () => (await import('./admin.ts')).unlockAdmins),
  );
  listing(admin, 'log', 'show who signed in or was refused, and what changed about accounts')
    .option('--limit <count>', 'at most so many (default: 50, with --json all)')
    .action(plain(async () => (await import('./audit-log.ts')).listAdminLog));
}

/**
 * The commands of the key file and of encryption, with their options, as commander reads them.
 */

const yes = ['--yes', 'do not ask'] as const;
const wait = ['--wait <seconds>', 'how long to wait for workers that lack the key (default: 30)'] as const;
const force = ['--force', 'go on although a worker that runs lacks the key'] as const;

function addKeyCommands(program: Command, { plain }: Actions): void {
  const key = program.command('key').description('show, back up, protect and recover the key file');
  reporting(key, 'show', 'show the fingerprints and the state of the key file, never its bytes').action(
    plain(async () => (await import('./key.ts')).showKey),
  );
  const backup = plain(async () => (await import('./key.ts')).backUpKey);
  reporting(key, 'backup', 'copy the key file as it is, for its owner alone')
    .argument('<file>', 'the copy to write; it must not exist yet')
    .action((file, options) => backup({ ...options, file }));
  const verify = plain(async () => (await import('./key.ts')).verifyKey);
  reporting(key, 'verify', 'compare a backup with the key in use; exit code 1 when it is not the same')
    .argument('<file>', 'the backup')
    .action((file, options) => verify({ ...options, file }));
  reporting(key, 'protect', 'protect the key file with a passphrase')
    .option('--passphrase-stdin', 'read the passphrase from standard input instead of asking for it')
    .action(plain(async () => (await import('./key.ts')).protectKey));
  reporting(key, 'unprotect', 'write the key file without its passphrase').action(
    plain(async () => (await import('./key.ts')).unprotectKey),
  );
  reporting(key, 'recover', 'let the running daemon write a lost key file back').action(
    plain(async () => (await import('./key.ts')).recoverKey),
  );
}

function addEncryptionCommands(program: Command, { plain, draining }: Actions): void {
  const encryption = program.command('encryption').description('seal the passwords in the database under a key file');
  reporting(encryption, 'status', 'show what is sealed, under which key, and what is wrong').action(
    plain(async () => (await import('./encryption/status.ts')).showEncryption),
  );
  reporting(encryption, 'enable', 'switch encryption on: make a key file and seal every password')
    .option('--accept-key-loss', 'acknowledge that who loses the key file loses the passwords')
    .option('--backup-prepared', 'acknowledge that a safe backup of the key file is prepared')
    .option(...force)
    .option(...wait)
    .action(draining(async () => (await import('./encryption/change.ts')).enableEncryption));
  reporting(encryption, 'rotate', 'seal every password under a new key')
    .option(...force)
    .option(...wait)
    .action(draining(async () => (await import('./encryption/change.ts')).rotateKey));
  reporting(
    encryption,
    'reseal',
    'seal what is not sealed under the key in use, and drop keys that nothing needs',
  ).action(draining(async () => (await import('./encryption/change.ts')).resealPasswords));
  reporting(encryption, 'disable', 'switch encryption off: store every password readable')
    .option(...yes)
    .action(draining(async () => (await import('./encryption/change.ts')).disableEncryption));
  reporting(encryption, 'trust-restored', 'put the switch in force again after a restored backup or a foreign row')
    .option(...yes)
    .option('--accept-off', 'acknowledge that encryption, which was on, may be off afterwards')
    .action(plain(async () => (await import('./encryption/change.ts')).trustRestoredSwitch));
  reporting(encryption, 'replace-lost-key', 'put a new key in the place of one that is lost for good')
    .option('--accept-password-loss', 'acknowledge that passwords under the lost key have to be set anew')
    .option(...force)
    .option(...wait)
    .action(draining(async () => (await import('./encryption/change.ts')).replaceKey));
  listing(encryption, 'log', 'list what was changed, by whom, the newest first')
    .option('--limit <count>', 'at most so many (default: 50, with --json all)')
    .action(plain(async () => (await import('./audit-log.ts')).listAudit));
}

/**
 * The commands of quarantine and replay, with their options, as commander reads them.
 */

function addReconcileCommand(program: Command, { draining }: Actions): void {
  const reconcile = draining(async () => (await import('./reconcile.ts')).reconcile);
  listing(program, 'reconcile', 'count whether every mail seen is accounted for')
    .argument('[mailbox]', 'compare with the folder of this mailbox on its server')
    .option('--repair', 'fetch the mails of that mailbox that were passed over, and put lost messages back')
    .option('--files', 'look whether attachments and raw sources are on the disk, too')
    .action((name, options) => reconcile({ ...options, name }));
}

function addQuarantineCommands(program: Command, { plain, draining }: Actions): void {
  const quarantine = program.command('quarantine').description('look at mails that were kept aside, and resolve them');
  filtered(listing(quarantine, 'list', 'list the mails that wait in quarantine, and why'))
    .option('--discarded', 'those that were discarded, instead of those that wait')
    .action(plain(async () => (await import('./quarantine.ts')).listQuarantine));
  const show = plain(async () => (await import('./quarantine.ts')).showHeldMail);
  listing(quarantine, 'show', 'show one mail in quarantine')
    .argument('<id>', 'as quarantine list shows it')
    .action((id, options) => show({ ...options, id }));
  const requeue = draining(async () => (await import('./quarantine.ts')).retryHeldMails);
  settling(listing(quarantine, 'requeue', 'parse and decide mails again, under the rules and limits of now')).action(
    (ids, options) => requeue({ ...options, ids }),
  );
  const release = draining(async () => (await import('./quarantine.ts')).releaseHeldMails);
  settling(listing(quarantine, 'release', 'take mails in as they are, whatever held them back')).action(
    (ids, options) => release({ ...options, ids }),
  );
  const discard = draining(async () => (await import('./quarantine.ts')).discardHeldMails);
  selecting(listing(quarantine, 'discard', 'give mails up, without a ticket'))
    .option('--yes', 'do not ask')
    .action((ids, options) => discard({ ...options, ids }));
  const save = plain(async () => (await import('./quarantine.ts')).exportHeldMails);
  selecting(configured(quarantine, 'export', 'save what was kept of mails as files'))
    .option('--output <file>', 'the file to write, for one id; it must not exist yet')
    .option('--folder <dir>', 'the folder to write files into; it is made where there is none')
    .action((ids, options) => save({ ...options, ids }));
  listing(quarantine, 'log', 'show who took what out of quarantine, or discarded it')
    .option('--limit <count>', 'at most so many (default: 50, with --json all)')
    .action(plain(async () => (await import('./audit-log.ts')).listQuarantineLog));
}

function addReprocessCommand(message: Command, { draining }: Actions): void {
  const reprocess = draining(async () => (await import('./message.ts')).reprocessMessages);
  listing(message, 'reprocess', 'read stored mails again from their sources, under the rules of now')
    .argument('[id]', 'id of one message, as message list --full --json shows it')
    .option('--mailbox <name>', 'all of this mailbox')
    .option('--since <time>', 'of those, what arrived since: 2h, 3d, today, 2026-01-31')
    .action((id, options) => reprocess({ ...options, id }));
}

function filtered(command: Command): Command {
  return command
    .option('--mailbox <name>', 'those of this mailbox')
    .option('--reason <code>', 'those with this reason, such as too_large')
    .option('--sender <address>', 'those from this address');
}

function selecting(command: Command): Command {
  return filtered(command.argument('[ids...]', 'ids, as quarantine list shows them')).option('--all', 'all there are');
}

function settling(command: Command): Command {
  return selecting(command)
    .option('--discarded', 'of those that were discarded, instead of those that wait')
    .option('-v, --verbose', 'a line for each of many mails');
}
