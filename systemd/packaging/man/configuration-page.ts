/** ticketmaild.toml(5): every key of the configuration with its values, default, environment variable and meaning. */
import { allSettings, providerSettings, type Setting } from '../../../src/config/schema.ts';
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

export function configurationPage(facts: PageFacts): string {
  const tables = Map.groupBy(allSettings, ({ path }) => path.toReversed()[1] ?? '');
  return `${[
    head(facts, 'TICKETMAILD.TOML', 5),
    section('Name', 'ticketmaild.toml \\- configuration of ticketmaild'),
    section('Synopsis', italic('/etc/ticketmaild/ticketmaild.toml')),
    section('Description', paragraphs(...description.map(roffText))),
    section('Keys', ...[...tables].map(([name, settings]) => tablePart(name, settings))),
    section(
      'Providers',
      roffText(
        'A table [oauth.NAME] is a provider of OAuth 2; mailboxes name it by NAME. Its keys have no environment variables.',
      ),
      ...providerSettings.map((setting) => settingPart({ ...setting, variable: '' })),
    ),
    section(
      'Examples',
      roffText('MariaDB on this machine, over its unix socket; a poll every 30 seconds:'),
      example(sample, '1'),
    ),
    section('Files', ...files.map(([path, meaning]) => entry(italic(path), roffText(meaning)))),
    section('See also', `${bold('ticketmaild')}(8)`),
  ].join('\n')}\n`;
}

const description = [
  'The file is TOML. Every key has a default, so that an empty file is valid. An unknown key, a wrong type or an impossible value is an error that names file and line. "ticketmaild config check" finds all of them without a connection; "ticketmaild config show" prints what is in force, and from where.',
  'Each key is also an environment variable, which takes precedence: TICKETMAILD_ and the path in upper case. Lists are separated by commas there.',
  'A relative path is relative to the folder of its file, in a variable to the working directory. Files below /etc must contain absolute paths. A file with a secret may be readable by its owner, root and at most its group.',
  '"systemctl reload ticketmaild" (SIGHUP) reads the file again. An invalid file is refused, and the former configuration stays in force.',
];

const sample = [
  'data_dir = "/var/lib/ticketmaild"',
  '',
  '[database]',
  'url = "mysql://desk@localhost/mail?socket=/run/mysqld/mysqld.sock"',
  'password_file = "/etc/ticketmaild/database-password"',
  '',
  '[poll]',
  'interval_s = 30',
];

const files = [
  ['/etc/ticketmaild/ticketmaild.toml', 'Read if it exists, unless --config or TICKETMAILD_CONFIG names another file.'],
  [
    '/etc/credstore.encrypted',
    'Secrets that no file of the configuration names: ticketmaild-database-password, ticketmaild-key-passphrase and ticketmaild-oauth-NAME.',
  ],
] as const;

function tablePart(name: string, settings: readonly Setting[]): string {
  return subsection(name === '' ? 'Top of the file' : `[${name}]`, ...settings.map(settingPart));
}

function settingPart({ path, allowed, default: value, meaning, more, variable }: Setting): string {
  const shown = value === '' ? 'empty' : JSON.stringify(value);
  const facts = `Value: ${allowed}. Default: ${shown}.`;
  const named = variable === '' ? '' : `\n.br\nVariable: ${bold(variable)}`;
  return entry(bold(path.at(-1) ?? ''), `${roffText(`${meaning} ${more}`)}\n.br\n${roffText(facts)}${named}`);
}
