/**
 * The command line: every command with its options, as commander reads it.
 *
 * A command's module is loaded when it is called, so that `--help` and a typing error cost little. What is misused
 * is thrown by commander and told by `main.ts`; nothing here prints or exits.
 */
import { readFileSync } from 'node:fs';
import { Command } from 'commander';
import { type Actions, actionsOf, configured, listing, reporting, type Start } from './command-shape.ts';
import { addAdminCommands } from './program-admin.ts';
import { addEncryptionCommands, addKeyCommands } from './program-encryption.ts';
import { addQuarantineCommands, addReconcileCommand, addReplayCommand } from './program-quarantine.ts';

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
    .action(draining(async () => (await import('./run.ts')).runDaemon));
  const poll = draining(async () => (await import('./poll.ts')).pollMailboxes);
  listing(program, 'poll', 'visit one mailbox, or all that are active, once')
    .argument('[mailbox]', 'name of the mailbox')
    .action((name, options) => poll({ ...options, name }));
  listing(program, 'check', 'try the configuration, the database and every mailbox').action(
    plain(async () => (await import('./check.ts')).check),
  );
  listing(program, 'migrate', 'bring the tables up to date')
    .option('--status', 'only show what is applied')
    .action(plain(async () => (await import('./migrate.ts')).migrate));
}

/** What an operator looks at. */
function addSightCommands(program: Command, { plain, draining }: Actions): void {
  reporting(program, 'status', 'ask the running daemon how it fares; exit code 1 when it is not ready')
    .option('--watch', 'draw it anew every 2 seconds, until Ctrl-C')
    .option('--all', 'with the mailboxes that are fine')
    .option('--address <host:port>', 'where to ask (default: http.listen, else the workers ticketmaild@1 to @9)')
    .action(draining(async () => (await import('./status.ts')).showStatus));
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
  const level = plain(async () => (await import('./log-level.ts')).setLogLevel);
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
    .option('--from <start>', 'which mails: now, all or a date such as 2026-01-31 (default: now)')
    .option('--after <action>', 'then: seen, move:FOLDER, delete or leave (default: seen)')
    .option('--interval <seconds>', 'seconds between two polls (default: poll.interval_s)')
    .option(
      '--address <address>',
      'where it gets its mail; may be repeated (default: the user, if it is an address)',
      repeated,
    )
    .option('--allow-plaintext', 'accept a password in clear to another machine with --tls none')
    .option('--no-probe', 'store it untried')
    .action(plain(async () => (await import('./mailbox-add.ts')).addMailbox));
  listing(mailbox, 'list', 'list the mailboxes and how they fare').action(
    plain(async () => (await import('./mailbox-list.ts')).listMailboxes),
  );
  const show = plain(async () => (await import('./mailbox-list.ts')).showMailbox);
  listing(mailbox, 'show', 'show one mailbox, but for its password')
    .argument(...mailboxName)
    .action((name, options) => show({ ...options, name }));
  const test = plain(async () => (await import('./mailbox-test.ts')).testMailbox);
  listing(mailbox, 'test', 'try to log in and open the folder, changing nothing')
    .argument(...mailboxName)
    .action((name, options) => test({ ...options, name }));
}

function addChangeCommands(mailbox: Command, { plain }: Actions): void {
  const pause = plain(async () => (await import('./mailbox-state.ts')).pauseMailbox);
  configured(mailbox, 'pause', 'poll it no more until it is resumed')
    .argument(...mailboxName)
    .action((name, options) => pause({ ...options, name }));
  const resume = plain(async () => (await import('./mailbox-state.ts')).resumeMailbox);
  configured(mailbox, 'resume', 'poll it again, at once')
    .argument(...mailboxName)
    .action((name, options) => resume({ ...options, name }));
  const remove = plain(async () => (await import('./mailbox-state.ts')).removeMailbox);
  configured(mailbox, 'remove', 'forget its settings, password and cursor; tickets stay')
    .argument(...mailboxName)
    .option('--yes', 'do not ask')
    .action((name, options) => remove({ ...options, name }));
  const set = plain(async () => (await import('./mailbox-set.ts')).setMailbox);
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
    .option('--from <start>', 'where another folder begins: now, all or a date (default: as before)')
    .option('--after <action>', 'seen, move:FOLDER, delete or leave')
    .option('--interval <seconds>', 'seconds between two polls, or default')
    .option('--allow-plaintext', 'accept a password in clear to another machine with --tls none')
    .option('--no-probe', 'store it untried')
    .action((name, options) => set({ ...options, mailbox: name }));
  const setAddresses = plain(async () => (await import('./mailbox-addresses.ts')).setMailboxAddresses);
  configured(mailbox, 'set-addresses', 'tell at which addresses it gets its mail')
    .argument(...mailboxName)
    .argument('[addresses...]', 'all of them (none: the user, if it is an address)')
    .action((name, addresses, options) => setAddresses({ ...options, name, addresses }));
  const setPassword = plain(async () => (await import('./mailbox-state.ts')).setMailboxPassword);
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
    .action(plain(async () => (await import('./ticket-list.ts')).listTickets));
  const show = plain(async () => (await import('./ticket-show.ts')).showTicket);
  listing(ticket, 'show', 'show one ticket with its messages')
    .argument(...ticketRef)
    .action((ref, options) => show({ ...options, ref }));
  const close = plain(async () => (await import('./ticket-state.ts')).closeTicket);
  configured(ticket, 'close', 'close one ticket; an answer opens it again')
    .argument(...ticketRef)
    .action((ref, options) => close({ ...options, ref }));
  const reopen = plain(async () => (await import('./ticket-state.ts')).reopenTicket);
  configured(ticket, 'reopen', 'open one ticket again')
    .argument(...ticketRef)
    .action((ref, options) => reopen({ ...options, ref }));
  const replyAddress = plain(async () => (await import('./ticket-token.ts')).printReplyAddress);
  reporting(ticket, 'reply-address', 'print the address whose answers come into this ticket')
    .argument(...ticketRef)
    .option('--address <address>', 'the address to put the token into (default: the first of the mailbox)')
    .action((ref, options) => replyAddress({ ...options, ref }));
  const messageId = plain(async () => (await import('./ticket-token.ts')).printMessageId);
  reporting(ticket, 'message-id', 'print a new Message-ID whose answers come into this ticket')
    .argument(...ticketRef)
    .option('--domain <domain>', 'what stands behind the @ (default: that of the mailbox)')
    .action((ref, options) => messageId({ ...options, ref }));
  const message = program.command('message').description('list what became of each mail');
  listing(message, 'list', 'list the outcome of every mail of a mailbox')
    .requiredOption('--mailbox <name>', 'name of the mailbox')
    .option('--full', 'with the stored messages')
    .action(plain(async () => (await import('./message-list.ts')).listMessages));
  configured(message, 'source', 'save the raw source of one mail as a file')
    .requiredOption('--mailbox <name>', 'name of the mailbox')
    .requiredOption('--uid <uid>', 'its UID, as message list shows it')
    .requiredOption('--output <file>', 'the file to write; it must not exist yet')
    .action(plain(async () => (await import('./message-source.ts')).saveSource));
  addReplayCommand(message, actions);
}
