/** ticketmaild(8): commands with their arguments, options and examples, exit codes, files, environment and signals. */
import type { Command } from 'commander';
import { examplesOf, leafCommands, listedCommands } from '../../../src/commands/help/help.ts';
import { buildProgram } from '../../../src/commands/program.ts';
import {
  bold,
  entry,
  example,
  head,
  italic,
  type PageFacts,
  paragraphs,
  roffText,
  section,
  subsection,
} from './roff.ts';

export function commandPage(facts: PageFacts): string {
  const program = buildProgram(
    async () => undefined,
    () => undefined,
  );
  return `${[
    head(facts, 'TICKETMAILD', 8),
    section('Name', 'ticketmaild \\- turn the mail of a helpdesk into tickets'),
    section(
      'Synopsis',
      `${bold('ticketmaild')}\n${italic('COMMAND')}\n[${italic('ARGUMENT')} ...]\n[${italic('OPTION')} ...]`,
    ),
    section('Description', paragraphs(...description.map(roffText))),
    section('Options of several commands', ...commonOptions.map(([term, meaning]) => entry(term, roffText(meaning)))),
    section('Commands', ...commandParts(program)),
    section('Exit status', ...exitCodes.map(([code, meaning]) => entry(bold(code), roffText(meaning)))),
    section('Files', ...files.map(([path, meaning]) => entry(italic(path), roffText(meaning)))),
    section('Environment', ...environment.map(([name, meaning]) => entry(bold(name), roffText(meaning)))),
    section('Signals', ...signals.map(([name, meaning]) => entry(bold(name), roffText(meaning)))),
    section(
      'Examples',
      roffText('Add a mailbox, look whether all is well, and watch what happens:'),
      example(walk),
      '.PP',
      roffText('Store the passwords of mail accounts encrypted, and back the key file up elsewhere:'),
      example(encryptionWalk),
    ),
    section('See also', `${bold('ticketmaild.toml')}(5),\n${bold('journalctl')}(1),\n${bold('systemctl')}(1)`),
  ].join('\n')}\n`;
}

const description = [
  'ticketmaild reads the mailboxes of a helpdesk over IMAP and turns each message into a ticket, or into a reply on one, in MySQL, MariaDB or SQLite. "ticketmaild run" is the daemon, which systemd starts; every other command works beside it, and a change takes effect without a restart.',
  'Mail servers want the real password. Without encryption the database holds it in plain text; after "ticketmaild encryption enable" each password is sealed (AES-256-GCM) with a key file that is never in the database.',
  'Run by root, a command becomes the owner of the data folder before it opens a file there. A command line never contains a password: it is asked for, or read from standard input.',
  '"ticketmaild help COMMAND" shows the help of one command. "ticketmaild completion SHELL" prints the completion script of bash, zsh or fish.',
];

const commonOptions = [
  [`${bold('--config')} ${italic('FILE')}`, 'The configuration file, instead of the one that is found (see FILES).'],
  [
    bold('--json'),
    'Print JSON: one object, for lists one a line. A failure is an object too, {"error":{"code","message","hint"}}, on standard output.',
  ],
  [`${bold('-h')}, ${bold('--help')}`, 'Show the help of the command, with examples.'],
  [`${bold('-V')}, ${bold('--version')}`, 'Show the version.'],
] as const;

const exitCodes = [
  ['0', 'Done; help and version too.'],
  [
    '1',
    'Something outside failed (network, server, database, disk), a check found a problem, or a question was answered with no.',
  ],
  ['2', 'Usage or configuration.'],
  ['3', 'Refused by a safety rule.'],
  ['4', 'Not found: there is no mailbox, ticket, message, grant or file of that name.'],
  ['128 + N', 'Ended by signal N: 130 after Ctrl-C, 143 after SIGTERM.'],
] as const;

const files = [
  ['/etc/ticketmaild/ticketmaild.toml', 'Configuration; see ticketmaild.toml(5).'],
  [
    '/var/lib/ticketmaild',
    'Data of the service (data_dir): raw sources, attachments, the embedded database, the key file and the control socket.',
  ],
  ['/var/lib/ticketmaild/encryption-key.bin', 'Key file. Back it up, and never together with the database.'],
  ['/etc/credstore.encrypted', 'Credentials of the service, encrypted by systemd-creds(1).'],
] as const;

const environment = [
  ['TICKETMAILD_CONFIG', 'The configuration file, if there is no --config.'],
  ['TICKETMAILD_*', 'Each key of the configuration, such as TICKETMAILD_DATA_DIR; it takes precedence over the file.'],
  ['CREDENTIALS_DIRECTORY', 'Folder of the credentials that systemd passes.'],
  ['NO_COLOR', 'If not empty, no colours are used.'],
] as const;

const signals = [
  [
    'SIGTERM, SIGINT',
    'The first one ends the daemon after the polls in progress, within [shutdown] timeout_s; the second one at once. Any other command ends at once. Nothing is lost with SIGKILL either.',
  ],
  ['SIGHUP', 'The daemon reads its configuration again; an invalid one is refused, and the former stays in force.'],
] as const;

const walk = [
  'ticketmaild mailbox add --name support --host mail.example.org \\\n    --user support@example.org --since now',
  'ticketmaild check',
  'ticketmaild logs --follow',
];

const encryptionWalk = ['ticketmaild encryption enable', 'ticketmaild key backup /media/safe/encryption-key.bin'];

/** Groups are subsections; the commands without a group come first. */
function commandParts(program: Command): readonly string[] {
  const groups = listedCommands(program).filter(({ command }) => command.commands.length > 0);
  const alone = leafCommands(program).filter(({ path }) => !path.includes(' '));
  return [
    subsection('Daemon and machine', ...alone.map(({ path, command }) => commandPart(path, command))),
    ...groups.map(({ path, command }) =>
      subsection(
        path,
        roffText(`${command.description()}.`),
        ...leafCommands(command).map((one) => commandPart(`${path} ${one.path}`, one.command)),
      ),
    ),
  ];
}

function commandPart(path: string, command: Command): string {
  const args = command.registeredArguments.map((one) => {
    const text = italic(one.name().toUpperCase()) + (one.variadic ? ' ...' : '');
    return one.required ? ` ${text}` : ` [${text}]`;
  });
  const common = new Set(['--help', '--config', '--json']);
  const own = command.options.filter(({ long }) => !common.has(long ?? ''));
  const taken = command.options.filter(({ long }) => long === '--json').length > 0 ? ' Takes --json.' : '';
  const entries = [
    ...command.registeredArguments.map((one) => [italic(one.name().toUpperCase()), one.description] as const),
    ...own.map(
      (one) => [optionTerm(one.flags), one.mandatory ? `${one.description} (required)` : one.description] as const,
    ),
  ];
  const lines = examplesOf(path).map((line) => `ticketmaild ${line.replaceAll('\n', '\n    ')}`);
  return [
    entry(`${bold(path)}${args.join('')}`, roffText(`${command.description()}.${taken}`)),
    ...(entries.length === 0
      ? []
      : ['.RS', ...entries.map(([term, text]) => entry(term, roffText(`${text}.`))), '.RE']),
    ...(lines.length === 0 ? [] : [example(lines, '')]),
  ].join('\n');
}

/** `-v, --verbose`, `--limit <count>`. */
function optionTerm(flags: string): string {
  return flags
    .split(/(<[^>]+>|\[[^\]]+\])/)
    .map((part) => (/^[<[]/.test(part) ? italic(part.slice(1, -1).toUpperCase()) : part === '' ? '' : bold(part)))
    .join('');
}
