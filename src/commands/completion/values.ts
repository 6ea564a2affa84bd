/**
 * Completion values: the words, files or names that may follow an option, or stand for an argument.
 *
 * An option means the same in every command, unless the table has it together with the path of a command.
 */

import { quarantineReasons } from '../../ingest/quarantine/reasons.ts';

/** Names that only the database or the configuration knows. */
export const nameKinds = ['mailboxes', 'providers', 'grants', 'admins'] as const;

export type NameKind = (typeof nameKinds)[number];

export type ValueKind =
  | { readonly kind: 'words'; readonly words: readonly string[] }
  | { readonly kind: 'names'; readonly of: readonly NameKind[] }
  /** `commands`: the commands of a group, for `help`. */
  | { readonly kind: 'files' | 'folders' | 'commands' | 'none' };

const words = (...all: readonly string[]): ValueKind => ({ kind: 'words', words: all });
const names = (...of: readonly NameKind[]): ValueKind => ({ kind: 'names', of });
const files: ValueKind = { kind: 'files' };
const none: ValueKind = { kind: 'none' };
const levels = words('trace', 'debug', 'info', 'warn', 'error');

const values: Readonly<Record<string, ValueKind>> = {
  '--config': files,
  '--mailbox': names('mailboxes'),
  '--oauth': names('providers'),
  '--provider': names('providers'),
  '--grant': names('grants'),
  '--tls': words('implicit', 'starttls', 'none'),
  '--port': words('993', '143'),
  '--ca-file': files,
  '--on-success': words('seen', 'move:', 'delete', 'leave'),
  '--since': words('now', 'all'),
  'logs --since': words('today', 'yesterday', '15min', '2h'),
  'message reprocess --since': words('today', '2h', '3d'),
  '--level': levels,
  '--unit': words('ticketmaild'),
  '--reason': words(...quarantineReasons),
  '--output': files,
  'quarantine export --folder': { kind: 'folders' },
  'poll name': names('mailboxes'),
  'reconcile name': names('mailboxes'),
  'logs file': files,
  'log-level level': levels,
  'help command': { kind: 'commands' },
  'completion shell': words('bash', 'zsh', 'fish'),
  'mailbox set mailbox': names('mailboxes'),
  'mailbox set --interval': words('default'),
  'key backup file': files,
  'key verify file': files,
  'admin set-password name': names('admins'),
  'admin remove name': names('admins'),
  'oauth show name': names('providers', 'grants'),
  'oauth test name': names('providers', 'grants'),
  'oauth revoke name': names('grants'),
};

/** Of the option `--mailbox` or the argument `name` of a command. */
export function valuesOf(path: string, name: string): ValueKind {
  const own = values[`${path} ${name}`] ?? (name.startsWith('--') ? values[name] : undefined);
  if (own !== undefined) return own;
  return /^mailbox (?!add)/.test(path) && name === 'name' ? names('mailboxes') : none;
}
