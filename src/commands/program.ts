/**
 * Command line parser (commander): every command with its arguments, options and the module that implements it.
 *
 * That module is imported when its command is called, so that `--help` and usage errors stay fast. commander throws
 * usage errors and `main.ts` prints them; nothing here prints (but help) or exits.
 */

import { readFileSync } from 'node:fs';
import type { Command } from 'commander';
import { programName } from '../text/program-name.ts';
import type { Context } from './context.ts';
import { addExamples, addHelpCommand, HelpedCommand } from './help/help.ts';
import { addMailboxFlags, consentFlags, passwordStdin } from './mailbox/flags.ts';

/** Writes help and the version. */
export type Print = (text: string) => void;

/** Runs a called command. `drains`: the first signal to stop lets it finish the item in progress. */
export type Start = (
  command: (context: Context) => Promise<number>,
  how: { readonly drains: boolean },
) => Promise<void>;

/** Parsing this program calls `start` for the command that the arguments name. */
export function buildProgram(start: Start, print: Print): Command {
  const program = new HelpedCommand(programName())
    .description('Reads ticket mailboxes over IMAP and turns each message into a ticket.')
    .version(version(), '-V, --version', 'show the version')
    .helpOption('-h, --help', 'show this help')
    .helpCommand('help [command]', 'show the help of a command')
    .configureHelp({ subcommandTerm: (command) => command.name(), minWidthToWrap: 20 })
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => undefined, outputError: () => undefined });
  const add = createAddTo(start);
  addDaemonCommands(program, add);
  addConfigCommands(program, add);
  addMailboxCommands(program, add);
  addTicketCommands(program, add);
  addMessageCommands(program, add);
  addQuarantineCommands(program, add);
  addKeyCommands(program, add);
  addEncryptionCommands(program, add);
  addAdminCommands(program, add);
  addOAuthCommands(program, add);
  addDatabaseCommands(program, add);
  addCompletionCommands(program, add, start);
  addHelpCommand(program);
  addExamples(program);
  return program;
}

function version(): string {
  const { version: text } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return text;
}

type Handler<O> = (options: O, context: Context) => Promise<number>;
type HandlerName<M> = { [K in keyof M]: M[K] extends Handler<never> ? K : never }[keyof M];

/** Adds a command to a group. Its handler gets each argument under the argument's name, beside the options. */
type Add<M> = (name: string, description: string, handler: HandlerName<M>, mode?: 'drains') => Command;

/** `plain`: no common option; `configured`: `--config`; `listing` and `reporting`: `--json` as well. */
type Adders<M> = { readonly [kind in 'plain' | 'configured' | 'listing' | 'reporting']: Add<M> };

/** The handlers of the added commands are in the module that `load` imports. */
type AddTo = <M>(group: Command, load: () => Promise<M>) => Adders<M>;

const config = ['--config <file>', 'the configuration file'] as const;
const jsonLines = ['--json', 'print JSON, one object a line'] as const;
const jsonObject = ['--json', 'print the result as one JSON object'] as const;

function createAddTo(start: Start): AddTo {
  return <M>(group: Command, load: () => Promise<M>) => {
    const adder =
      (...common: readonly (readonly [flags: string, description: string])[]): Add<M> =>
      (name, description, handler, mode) => {
        const command = group.command(name).description(description);
        for (const option of common) command.option(...option);
        return command.action(async () => {
          const values = command.registeredArguments.map((one, index) => [one.name(), command.processedArgs[index]]);
          const options: object = { ...command.opts(), ...Object.fromEntries(values) };
          const run = async (context: Context) => await ((await load())[handler] as Handler<object>)(options, context);
          await start(run, { drains: mode === 'drains' });
        });
      };
    return {
      plain: adder(),
      configured: adder(config),
      listing: adder(config, jsonLines),
      reporting: adder(config, jsonObject),
    };
  };
}

const mailboxName = ['<name>', 'name of the mailbox'] as const;
const yes = ['--yes', 'do not ask for confirmation'] as const;
const limit = ['--limit <count>', 'at most this many (default: 50, with --json all)'] as const;

function addDaemonCommands(program: Command, add: AddTo): void {
  const { configured, listing, reporting } = add(program, () => import('./service.ts'));
  configured('run', 'Run the daemon: poll every mailbox when it is due', 'runDaemon', 'drains')
    .option('--pretty', 'write human-readable log lines instead of JSON')
    .option('--no-migrate', 'do not migrate the tables');
  add(program, () => import('./poll.ts'))
    .listing('poll', 'Poll one mailbox, or all active ones, once', 'pollMailboxes', 'drains')
    .argument('[name]', 'name of the mailbox');
  add(program, () => import('./check.ts')).listing(
    'check',
    'Check the configuration, the database and every mailbox',
    'check',
  );
  listing('migrate', 'Apply pending migrations to the tables', 'migrate').option('--status', 'only list them');
  add(program, () => import('./status/status.ts'))
    .reporting(
      'status',
      'Show the health of the running daemon; exit code 1 unless it is ready',
      'showStatus',
      'drains',
    )
    .option('--watch', 'redraw every 2 seconds, until Ctrl-C')
    .option('--all', 'include healthy mailboxes');
  add(program, () => import('./logs.ts'))
    .plain('logs', 'Format log lines from the journal, a file or standard input', 'showLogs')
    .argument('[file]', 'a file of JSON log lines')
    .option('--follow', 'continue as lines are appended')
    .option('--since <time>', 'start at: 15min, 2h, 08:30, today, 2026-01-31, "2026-01-31 08:30"')
    .option('--lines <count>', 'only the last lines')
    .option('--mailbox <name>', 'only lines about this mailbox')
    .option('--level <level>', 'only lines of this level and above')
    .option('--event <prefix>', 'only events with this prefix, such as poll. or poll.failed')
    .option('--unit <unit>', 'unit of the journal (default: ticketmaild and ticketmaild@*)');
  reporting(
    'log-level',
    'Change the log level of the running daemon until its next start or reload',
    'setLogLevel',
  ).argument('<level>', 'trace, debug, info, warn or error');
}

function addConfigCommands(program: Command, add: AddTo): void {
  const group = program.command('config').description('Show and check the configuration');
  const { listing, reporting } = add(group, () => import('./config/config.ts'));
  listing('show', 'Show every key that is in force, and where its value comes from', 'showConfig').option(
    '--changed',
    'only values that differ from the default',
  );
  reporting('check', 'Check the configuration without any connection; lists all problems', 'checkConfig');
}

function addMailboxCommands(program: Command, add: AddTo): void {
  const mailbox = program.command('mailbox').description('Add, list, test and change mailboxes');
  const { listing } = add(mailbox, () => import('./mailbox/view.ts'));
  const adding = add(mailbox, () => import('./mailbox/add.ts'));
  addMailboxFlags(adding.listing('add', 'Probe a mailbox and add it', 'addMailbox'), 'add');
  listing('list', 'List the mailboxes and their health', 'listMailboxes');
  listing('show', 'Show one mailbox, without its password', 'showMailbox').argument(...mailboxName);
  add(mailbox, () => import('./mailbox/probe.ts'))
    .listing('test', 'Log in and open the folder, read-only', 'testMailbox')
    .argument(...mailboxName);
  addMailboxChanges(mailbox, add);
}

function addMailboxChanges(mailbox: Command, add: AddTo): void {
  const { configured } = add(mailbox, () => import('./mailbox/state.ts'));
  const settings = add(mailbox, () => import('./mailbox/set.ts'));
  configured('pause', 'Stop polling a mailbox until it is resumed', 'pauseMailbox').argument(...mailboxName);
  configured('resume', 'Resume polling a mailbox, at once', 'resumeMailbox').argument(...mailboxName);
  add(mailbox, () => import('./mailbox/retry.ts'))
    .listing('retry', 'Poll a mailbox, or all of a host, at once in the running daemon', 'retryMailboxes')
    .argument('[name]', mailboxName[1])
    .option('--host <host>', 'all active mailboxes of this mail server');
  configured('remove', 'Remove the settings, password and cursor of a mailbox; its tickets stay', 'removeMailbox')
    .argument(...mailboxName)
    .option(...yes);
  addMailboxFlags(
    settings
      .listing('set', 'Probe changed settings of a mailbox and store them', 'setMailbox')
      .argument('<mailbox>', 'name of the mailbox'),
    'set',
  );
  settings
    .configured('set-addresses', 'Set the addresses whose mail a mailbox receives', 'setMailboxAddresses')
    .argument(...mailboxName)
    .argument('[addresses...]', 'all of them (none: the user, if it is an address)');
  configured('set-password', 'Probe another password and store it', 'setMailboxPassword')
    .argument(...mailboxName)
    .option(...passwordStdin)
    .option('--no-probe', 'store it without a probe')
    .option('--accept-connection', 'acknowledge that the server is yours, although no command has confirmed it');
  add(mailbox, () => import('./mailbox/confirm.ts'))
    .configured('confirm', 'Confirm the settings of a mailbox, so that delete and move act', 'confirmMailbox')
    .argument(...mailboxName)
    .option(...yes);
  const authorize = add(mailbox, () => import('./mailbox/authorize.ts'))
    .reporting('authorize', 'Have a person sign in again for the OAuth 2 grant of a mailbox', 'authorizeMailbox')
    .argument(...mailboxName);
  for (const [flags, text] of Object.values(consentFlags)) authorize.option(flags, text);
  authorize.option('--provider <provider>', 'provider of a grant without a consent yet');
}

const ticketRef = ['<ref>', 'reference of the ticket'] as const;

function addTicketCommands(program: Command, add: AddTo): void {
  const ticket = program.command('ticket').description('List, show and close tickets, create reply tokens');
  const { configured, listing, reporting } = add(ticket, () => import('./ticket/ticket.ts'));
  listing('list', 'List tickets, newest first', 'listTickets').option(...limit);
  listing('show', 'Show one ticket with its messages', 'showTicket')
    .argument(...ticketRef)
    .option('--full', 'include what messages quote, and signatures');
  add(ticket, () => import('./ticket/attachment.ts'))
    .configured('attachment', 'Save one attachment as a file', 'saveAttachment')
    .argument(...ticketRef)
    .argument('<number>', 'number of the attachment, as ticket show prints it')
    .requiredOption('--output <file>', 'file to write; it must not exist yet; - for standard output');
  configured('close', 'Close one ticket; a reply reopens it', 'closeTicket').argument(...ticketRef);
  configured('reopen', 'Reopen one ticket', 'reopenTicket').argument(...ticketRef);
  reporting('reply-address', 'Print an address whose replies join this ticket', 'printReplyAddress')
    .argument(...ticketRef)
    .option('--address <address>', 'address to put the token into (default: the first of the mailbox)');
  reporting('message-id', 'Print a new Message-ID whose replies join this ticket', 'printMessageId')
    .argument(...ticketRef)
    .option('--domain <domain>', 'domain after the @ (default: that of the mailbox)');
}

function addMessageCommands(program: Command, add: AddTo): void {
  const message = program.command('message').description('List the outcome of each message, reprocess stored ones');
  const { configured, listing } = add(message, () => import('./message.ts'));
  listing('list', 'List the outcome of every message of a mailbox', 'listMessages')
    .requiredOption('--mailbox <name>', 'name of the mailbox')
    .option('--full', 'include the stored messages');
  configured('source', 'Save the raw source of one message as a file', 'saveSource')
    .requiredOption('--mailbox <name>', 'name of the mailbox')
    .requiredOption('--uid <uid>', 'UID of the message, as message list shows it')
    .requiredOption('--output <file>', 'file to write; it must not exist yet');
  listing(
    'reprocess',
    'Parse stored messages again from their sources, under the present rules',
    'reprocessMessages',
    'drains',
  )
    .argument('[id]', 'id of one message, as message list --full --json shows it')
    .option('--mailbox <name>', 'all messages of this mailbox')
    .option('--since <time>', 'of those, messages received since: 2h, 3d, today, 2026-01-31');
  add(program, () => import('./reconcile.ts'))
    .listing(
      'reconcile',
      'Verify that every message has one outcome and every outcome its message',
      'reconcile',
      'drains',
    )
    .argument('[name]', 'compare the outcomes with the folder of this mailbox on its server')
    .option('--repair', 'fetch skipped messages of that mailbox and restore lost ones')
    .option('--files', 'verify that attachments and raw sources exist on disk');
}

const discarded = ['--discarded', 'select discarded messages instead of waiting ones'] as const;
const verbose = ['-v, --verbose', 'print a line for each of many messages'] as const;

function addQuarantineCommands(program: Command, add: AddTo): void {
  const quarantine = program.command('quarantine').description('Inspect quarantined messages and resolve them');
  const { configured, listing } = add(quarantine, () => import('./quarantine.ts'));
  filtered(listing('list', 'List quarantined messages with their reasons', 'listQuarantine')).option(...discarded);
  listing('show', 'Show one quarantined message', 'showQuarantined').argument(
    '<id>',
    'id, as quarantine list shows it',
  );
  selecting(
    listing(
      'requeue',
      'Requeue quarantined messages: parse and decide again under the present rules',
      'requeueQuarantined',
      'drains',
    ),
  )
    .option(...discarded)
    .option(...verbose);
  selecting(
    listing(
      'release',
      'Release quarantined messages: store them despite their reasons',
      'releaseQuarantined',
      'drains',
    ),
  )
    .option(...discarded)
    .option(...verbose);
  selecting(
    listing('discard', 'Discard quarantined messages, without a ticket', 'discardQuarantined', 'drains'),
  ).option(...yes);
  selecting(configured('export', 'Save the stored sources of quarantined messages as files', 'exportQuarantined'))
    .option('--output <file>', 'file to write, for one id; it must not exist yet')
    .option('--folder <dir>', 'folder to write files into; created if missing');
  add(quarantine, () => import('./audit-log.ts'))
    .listing('log', 'List who released, requeued or discarded quarantined messages', 'listQuarantineLog')
    .option(...limit);
}

function filtered(command: Command): Command {
  return command
    .option('--mailbox <name>', 'those of this mailbox')
    .option('--reason <code>', 'those with this reason, such as too_large')
    .option('--sender <address>', 'those from this address');
}

function selecting(command: Command): Command {
  return filtered(command.argument('[ids...]', 'ids, as quarantine list shows them')).option('--all', 'all of them');
}

const wait = ['--wait <seconds>', 'how long to wait for workers that lack the key (default: 30)'] as const;
const force = ['--force', 'continue although a running worker lacks the key'] as const;

function addKeyCommands(program: Command, add: AddTo): void {
  const key = program.command('key').description('Show, back up, protect and recover the key file');
  const { reporting } = add(key, () => import('./key.ts'));
  reporting('show', 'Show the key ids and the state of the key file, never its bytes', 'showKey');
  reporting('backup', 'Copy the key file, readable by its owner alone', 'backUpKey').argument(
    '<file>',
    'copy to write; it must not exist yet',
  );
  reporting(
    'verify',
    'Compare a backup with the key in use; exit code 1 unless they are the same',
    'verifyKey',
  ).argument('<file>', 'backup of the key file');
  reporting('protect', 'Protect the key file with a passphrase', 'protectKey').option(
    '--passphrase-stdin',
    'read the passphrase from standard input instead of asking for it',
  );
  reporting('unprotect', 'Remove the passphrase of the key file', 'unprotectKey');
  reporting('recover', 'Have the running daemon write a lost key file back', 'recoverKey');
}

function addEncryptionCommands(program: Command, add: AddTo): void {
  const encryption = program
    .command('encryption')
    .description('Encrypt the passwords in the database under a key file');
  const { reporting } = add(encryption, () => import('./encryption/change.ts'));
  add(encryption, () => import('./encryption/status.ts')).reporting(
    'status',
    'Show how passwords are stored, under which key, and any problem',
    'showEncryption',
  );
  reporting('enable', 'Enable encryption: create a key file and encrypt every password', 'enableEncryption', 'drains')
    .option('--accept-key-loss', 'acknowledge that losing the key file loses the passwords')
    .option('--backup-prepared', 'acknowledge that a safe backup of the key file is prepared')
    .option('--accept-plaintext-remnants', 'acknowledge that MariaDB keeps passwords in freed undo pages')
    .option(...force)
    .option(...wait);
  reporting('rotate', 'Re-encrypt every password under a new key', 'rotateKey', 'drains')
    .option(...force)
    .option(...wait);
  reporting(
    'reseal',
    'Encrypt passwords that are not under the key in use, and drop unused keys',
    'resealPasswords',
    'drains',
  );
  reporting('disable', 'Disable encryption: store every password in plain text', 'disableEncryption', 'drains').option(
    ...yes,
  );
  reporting(
    'trust-restored',
    'Trust the encryption switch again after a restored backup or a foreign row',
    'trustRestoredSwitch',
  )
    .option(...yes)
    .option('--accept-off', 'acknowledge that encryption, which was on, may be off afterwards');
  reporting(
    'replace-lost-key',
    'Replace a key that is lost for good by a new one',
    'replaceLostEncryptionKey',
    'drains',
  )
    .option('--accept-password-loss', 'acknowledge that passwords under the lost key must be set again')
    .option(...force)
    .option(...wait);
  add(encryption, () => import('./audit-log.ts'))
    .listing('log', 'List changes of keys, passwords and the switch, newest first', 'listEncryptionLog')
    .option(...limit);
}

const adminName = ['<name>', 'name of the admin'] as const;

function addAdminCommands(program: Command, add: AddTo): void {
  const admin = program.command('admin').description('Manage the accounts of the admin page');
  const { configured, listing } = add(admin, () => import('./admin.ts'));
  configured('add', 'Add an account for the admin page', 'addAdmin')
    .argument(...adminName)
    .option(...passwordStdin);
  listing('list', 'List the accounts and their last sign-ins', 'listAdmins');
  configured('set-password', 'Store another password, and end the sessions of the account', 'setAdminPassword')
    .argument(...adminName)
    .option(...passwordStdin);
  configured('remove', 'Remove an account, and end its sessions', 'removeAdmin')
    .argument(...adminName)
    .option(...yes);
  configured('unlock', 'Clear the failed sign-in attempts of all addresses and names', 'unlockAdmins');
  add(admin, () => import('./audit-log.ts'))
    .listing('log', 'List sign-ins, refusals and changes of accounts, newest first', 'listAdminLog')
    .option(...limit);
}

const oauthName = ['<name>', 'name of a provider of the configuration, or of a grant'] as const;

function addOAuthCommands(program: Command, add: AddTo): void {
  const oauth = program.command('oauth').description('Show and test OAuth 2 providers, import and revoke grants');
  const { listing, reporting } = add(oauth, () => import('./oauth/view.ts'));
  listing('list', 'List the grants and their states', 'listGrants');
  reporting('show', 'Show one provider with its grants, never a token or a secret', 'showOAuth').argument(...oauthName);
  add(oauth, () => import('./oauth/import.ts'))
    .reporting('import', 'Take over a refresh token, proved by one renewal', 'importGrant')
    .argument('<name>', 'name of the grant')
    .requiredOption('--provider <provider>', 'provider of the configuration that issued it')
    .option('--account <account>', 'who consented, where the provider does not say')
    .option('--refresh-token-stdin', 'read the refresh token from standard input instead of asking for it');
  add(oauth, () => import('./oauth/revoke.ts'))
    .reporting('revoke', 'Revoke the grant of a person at its provider, and here', 'revokeGrant')
    .argument('<name>', 'name of the grant')
    .option(...yes)
    .option('--force', 'remove it here although it cannot be revoked at its provider');
  add(oauth, () => import('./oauth/test.ts'))
    .listing('test', 'Test a provider, its credential and every mailbox that uses it', 'testOAuth')
    .argument(...oauthName);
}

function addDatabaseCommands(program: Command, add: AddTo): void {
  const database = program.command('database').description('Copy everything into another database');
  add(database, () => import('./database/copy.ts'))
    .reporting('copy', 'Copy everything into an empty database, or continue such a copy', 'copyDatabase')
    .requiredOption('--to <url>', 'the other database: sqlite:PATH, or mysql://USER@HOST/NAME without the password')
    .option('--to-password-file <file>', 'file that contains its password (default: asked for at a terminal)')
    .option('--to-tls <mode>', 'auto, verify or off, as [database] tls (default: auto)')
    .option('--to-ca-file <file>', 'authorities (PEM) to trust for it')
    .option('--to-fingerprint <sha256>', 'the only certificate to trust for it')
    .option('--to-server-key-file <file>', 'RSA public key (PEM) to encrypt the password to without TLS');
}

function addCompletionCommands(program: Command, add: AddTo, start: Start): void {
  program
    .command('completion')
    .description('Print the completion script of a shell')
    .argument('<shell>', 'bash, zsh or fish')
    .action(async (shell: string) => {
      const { printCompletion } = await import('./completion/completion.ts');
      await start((context) => printCompletion({ shell }, program, context), { drains: false });
    });
  const { configured } = add(new HelpedCommand(), () => import('./completion/names.ts'));
  const names = configured('complete-names', 'Names for completion', 'printNames').argument('<kind>');
  program.addCommand(names, { hidden: true });
}
